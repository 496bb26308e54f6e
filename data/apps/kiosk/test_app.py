import unittest

import app


class Cup(unittest.TestCase):
    def test_prices_are_whole_coins(self):
        self.assertTrue(all(isinstance(price, int) for price in app.PRICES.values()))


if __name__ == "__main__":
    unittest.main()
