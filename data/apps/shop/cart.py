"""Business logic: what the visitor has chosen."""


def answer(path, ask):
    return ask("store", "cart")
