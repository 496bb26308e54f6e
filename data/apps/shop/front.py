"""Presentation: what a visitor sees."""


def answer(path, ask):
    return {"page": path, "content": ask(path, "")}
