"""Contributions to a gradient that wait: what they add up to, and how much of them is held meanwhile."""

from __future__ import annotations

import numpy as np

from tinygrad_rnn.gradient import TALL, Bag, Product


def test_waiting_products_add_up_and_are_multiplied_before_they_hold_much() -> None:
    rng = np.random.default_rng(0)
    bag = Bag(None)
    expected = np.zeros((3, 2))
    for _ in range(40):
        left, right = rng.standard_normal((TALL // 16, 3)), rng.standard_normal((TALL // 16, 2))
        bag.add(Product(left, right))
        expected += left.T @ right
        assert sum(len(p.left) for p in bag.products) < TALL, "a long chain would hold all its levels' rows"
    np.testing.assert_allclose(bag.total(bag.xp, (3, 2)), expected)
