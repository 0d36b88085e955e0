"""What happens to a cell, its Tensors and its results between a run and its backward pass, or the next run."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn.cells import HiddenState


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


class Plain(nn.Module):
    arity = 1

    def __init__(self) -> None:
        self.w, self.tau = nn.Parameter(numbers(3, 3)), 1.0

    def initial(self) -> HiddenState:
        return HiddenState(tg.zeros((1, 3), dtype="float64"))

    def forward(self, x: tg.Tensor, kids: tg.Kids, context: object = None) -> HiddenState:
        return HiddenState(tg.tanh((x + kids[0].h @ self.w) / self.tau))


def total(cell: Plain, x: tg.Tensor) -> tg.Tensor:
    return tg.sum(tg.square(tg.unfold(cell, tg.chain([4, 3]), x).all().h))


def inputs() -> tg.Tensor:
    return tg.tensor(numbers(7, 3), requires_grad=True)


def test_a_write_to_a_frozen_parameter_is_noticed_too() -> None:
    cell, x = Plain(), inputs()
    cell.w.requires_grad = False
    loss = total(cell, x)
    nn.init.uniform_(cell.w, 0.0, 1.0)
    with pytest.raises(tg.GraphError, match=r"cell Plain.* written in place since"):
        loss.backward()


def test_a_recorded_backward_pass_has_the_tensors_that_the_cell_had() -> None:
    first = tg.tensor(numbers(3, 3), requires_grad=True)
    found = []
    for how in ("1", "0"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TINYGRAD_RNN_COMPILE", how)
            cell, x = Plain(), inputs()
            cell.w, own = first * 2.0, cell.w  # one step of an inner loop
            loss = total(cell, x)
            cell.w = own
            (g,) = tg.grad(loss, first, create_graph=True)
            found.append([g.numpy(), *(v.numpy() for v in tg.grad(tg.sum(g * g), [first, x]))])
    for ours, eager in zip(*found, strict=True):
        np.testing.assert_allclose(ours, eager, rtol=1e-10, atol=1e-12)


def test_a_recorded_backward_pass_of_a_cell_that_is_another_one_now_is_refused() -> None:
    cell, x = Plain(), inputs()
    loss = total(cell, x)
    cell.tau = 3.0
    with pytest.raises(tg.GraphError, match=r"cell Plain has changed since it was unfolded.* before the change"):
        tg.grad(loss, x, create_graph=True)


def test_states_that_the_backward_pass_reads_are_read_only() -> None:
    states = tg.unfold(Plain(), tg.chain([7]), inputs()).all().h  # in the order they lie in, so without a copy
    with pytest.raises(ValueError, match="read-only"):
        states.data[...] = 0.0


@pytest.mark.parametrize("width", [4, 300])
def test_rows_that_meet_themselves_a_column_further_are_right_and_soon_compiled(width: int) -> None:
    @tg.cell(arity=1, state={"h": width})
    def stencil(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        h = kids[0].h
        return tg.tanh(x + tg.concat([h[:, 1:] - h[:, :-1], h[:, :1]], axis=1))

    x = tg.tensor(numbers(5, width), requires_grad=True)
    found = []
    for how in ("1", "0"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TINYGRAD_RNN_COMPILE", how)
            h = tg.unfold(stencil, tg.chain([3, 2]), x).all().h
            found.append((h.numpy(), tg.grad(tg.sum(h * h), x)[0].numpy()))
    for ours, eager in zip(*found, strict=True):
        np.testing.assert_allclose(ours, eager, rtol=1e-11, atol=1e-12)


def test_clip_with_its_limits_crossed_is_numpys() -> None:
    @tg.cell(arity=1, state={"h": 2})
    def crossed(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return tg.clip(x + kids[0].h, 2.5, 1.0)

    h = tg.unfold(crossed, tg.chain([3]), tg.tensor(numbers(3, 2))).all().h
    assert (h.numpy() == 1.0).all()


@pytest.mark.parametrize("what", ["an input", "a parameter"])
def test_a_recorded_backward_pass_after_an_assignment_is_refused(what: str) -> None:
    cell, x = Plain(), tg.asarray(numbers(7, 3))
    loss = total(cell, x)
    (before,) = tg.grad(loss, cell.w, retain_graph=True)
    changed = x if what == "an input" else cell.w
    changed.data = changed.data * 2.0
    with pytest.raises(tg.GraphError, match=r"a Tensor that Plain was unfolded with was assigned to since"):
        tg.grad(loss, cell.w, create_graph=True)
    np.testing.assert_array_equal(tg.grad(loss, cell.w)[0].numpy(), before.numpy())
