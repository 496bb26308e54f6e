"""Business logic: what is for sale."""


def answer(path, ask):
    return {name: f"{price} coins" for name, price in ask("store", "products").items()}
