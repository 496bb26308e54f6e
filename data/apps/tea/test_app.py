import unittest

from app import total


class Price(unittest.TestCase):
    def test_one(self):
        self.assertEqual(total(1), 4)

    def test_ten_costs_nine(self):
        self.assertEqual(total(10), 36)

    def test_nothing_costs_nothing(self):
        self.assertEqual(total(0), 0)


if __name__ == "__main__":
    unittest.main()
