"""A cell is traced in as many forms as it is used in, but not anew in every run."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn.cells import HiddenState


class Warm(nn.Module):
    arity = 1

    def __init__(self) -> None:
        self.tau, self.drop = 1.0, nn.Dropout(0.5)
        self.w = nn.Parameter(np.eye(3), dtype="float64")

    def initial(self) -> HiddenState:
        return HiddenState(tg.zeros((1, 3), dtype="float64"))

    def forward(self, x: tg.Tensor, kids: tg.Kids, context: object = None) -> HiddenState:
        return HiddenState(self.drop(tg.tanh((x + kids[0].h @ self.w) / self.tau)))


def why(cell: Warm) -> str:
    return tg.explain(cell, tg.chain([4, 3]), tg.ones((7, 3), dtype="float64")).reason


def test_a_number_that_changes_from_run_to_run_makes_a_cell_run_eagerly_in_the_end_and_says_why() -> None:
    cell = Warm()
    reasons = []
    for step in range(20):
        cell.tau = 1.0 + step
        reasons.append(why(cell))
    assert reasons[:16] == [""] * 16
    assert "(of tau, at last): make a number that it reads a Tensor" in reasons[16]
    assert all(reasons[16:])
    cell.tau = 3.0
    assert why(cell), "what it reaches is not looked up anew in every run"
    assert "" in [why(cell) for _ in range(16)]  # a form that was traced before, looked for now and then
    assert why(cell) == ""


def test_training_and_evaluation_by_turns_stay_compiled() -> None:
    cell = Warm()
    for _ in range(40):
        assert why(cell.train()) == ""
        assert why(cell.eval()) == ""


def test_a_column_spread_over_a_product_is_what_it_is_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    w = tg.tensor(np.random.default_rng(0).standard_normal((4, 4)), requires_grad=True)

    @tg.cell(arity=1, state={"h": 4})
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        first = tg.broadcast_to(kids[0].h[:, :1], (len(x), 4)) @ w
        total = tg.broadcast_to(tg.sum(kids[0].h, axis=1, keepdims=True), (len(x), 4)) @ w.T
        return tg.tanh(x + first + total)

    x = tg.tensor(np.random.default_rng(1).standard_normal((10, 4)), requires_grad=True)
    found = []
    for how in ("1", "numpy", "0"):
        monkeypatch.setenv("TINYGRAD_RNN_COMPILE", how)
        h = tg.unfold(cell, tg.chain([5, 5]), x).all().h
        found.append([h.numpy(), *(g.numpy() for g in tg.grad(tg.sum(h * h), [w, x]))])
    for ours in found[:2]:
        for a, b in zip(ours, found[2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("how", ["static", "class"])
def test_what_a_static_or_a_class_method_reads_is_watched(how: str) -> None:
    scale = 2.0

    class Scaled(nn.Module):
        arity = 1

        def initial(self) -> HiddenState:
            return HiddenState(tg.zeros((1, 3)))

        def forward(self, x: tg.Tensor, kids: tg.Kids, context: object = None) -> HiddenState:
            return HiddenState(self.scaled(x) + kids[0].h)  # type: ignore[attr-defined]

    if how == "static":
        Scaled.scaled = staticmethod(lambda v: v * scale)  # type: ignore[attr-defined]
    else:
        Scaled.scaled = classmethod(lambda cls, v: v * scale)  # type: ignore[attr-defined]

    cell, found = Scaled(), []
    for value in (2.0, 5.0):
        scale = value
        found.append(tg.unfold(cell, tg.chain([1]), tg.ones((1, 3))).all().h.tolist())
    assert found == [[[2.0] * 3], [[5.0] * 3]]
