"""A small cell for tests of programs to change, and what compares its runs with the eager loop."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.cells import numbers, run, same
from tinygrad_rnn import nn
from tinygrad_rnn.native import toolchain

W = 3
targets = pytest.mark.parametrize(
    "target",
    ["NumPy", pytest.param("C", marks=pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler"))],
)
State = namedtuple("State", ["h"])


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.asarray(numbers(*shape, seed=seed) * 0.5).requires_grad_()


def gradients(states: Any, by: list[tg.Tensor], **options: Any) -> list[np.ndarray]:
    loss = sum((value * tg.asarray(numbers(*value.shape))).sum() for value in states)
    return [g.numpy() for g in tg.grad(loss, by, **options)]


def agrees(cell: Any, by: list[tg.Tensor], compiles: bool | None = True, width: int = W, **options: Any) -> None:
    """On a batch of chains, the NumPy target gives what the eager loop gives; the cell compiles, or it does not."""
    s, x = tg.chain([3, 0, 2]), leaf(5, width, seed=9)
    eager = run(cell, s, x, [x, *by], **options)
    same(run(cell, s, x, [x, *by], "NumPy", compiles, **options), eager, 1e-11)


class Plain(nn.Module):
    """tanh(x + h W) with whatever a test adds."""

    arity = 1

    def __init__(self, width: int = W) -> None:
        self.w, self.b = leaf(width, width), leaf(1, width, seed=3)
        self.p = 0.5
        self.drop = nn.Dropout(0.5)

    def initial(self) -> State:
        return State(tg.zeros((1, self.w.shape[0]), dtype="float64"))

    def forward(self, x: Any, kids: Any, context: Any = None) -> State:
        return State(tg.tanh(x + kids[0].h @ self.w * self.p + self.b))
