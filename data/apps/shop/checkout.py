"""Business logic: what it costs. Needs the catalogue and the cart."""


def answer(path, ask):
    prices, cart = ask("catalogue", ""), ask("cart", "")
    return {"total": sum(int(prices[name].split()[0]) * count for name, count in cart.items())}
