"""Contributions to a gradient that wait: what they add up to, and how much of them is held meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import NUMPY
from tinygrad_rnn.gradient import TALL, Bag, Product, unbroadcast


def test_waiting_products_add_up_and_are_multiplied_before_they_hold_much() -> None:
    rng = np.random.default_rng(0)
    bag, expected = Bag(np.ones((3, 2))), np.ones((3, 2))
    for _ in range(40):
        left, right = rng.standard_normal((TALL // 16, 3)), rng.standard_normal((TALL // 16, 2))
        bag.add(Product(left, right))
        expected += left.T @ right
        assert sum(len(p.left) for p in bag.products) < TALL, "a long chain would hold all its levels' rows"
    np.testing.assert_allclose(bag.total(bag.xp, (3, 2)), expected)


def test_a_product_meets_another_and_a_dense_gradient_in_any_order() -> None:
    w, x = tg.ones((2, 3)).requires_grad_(), tg.tensor([[0.0, 2.0, 1.0], [1.0, 0.0, 2.0]])
    ones = tg.ones((2, 2))  # a gradient of rows that are repeated would be multiplied at once

    def product() -> tg.Tensor:
        return (tg.linear(x, w) * ones).sum()

    def dense() -> tg.Tensor:
        return (w * 10).sum()

    for parts, expected in (
        ([product], [1, 2, 3]),
        ([product, product], [2, 4, 6]),
        ([product, dense], [11, 12, 13]),
        ([dense, product], [11, 12, 13]),
        ([dense, dense, product, product], [22, 24, 26]),
    ):
        w.grad = None
        sum(part() for part in parts).backward()
        assert w.grad.tolist() == [expected] * 2


@pytest.mark.parametrize("shape", [(4, 3), (3,), (5, 4, 3)])
def test_a_gradient_that_fits_no_broadcast_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cannot reshape"):
        unbroadcast(NUMPY, np.ones(shape), (2, 3))
