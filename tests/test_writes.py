"""Writes in place: what was recorded of the old values is refused, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import GraphError
from tinygrad_rnn.writes import written_since, wrote


def leaf(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


def written(t: tg.Tensor) -> None:
    t.data += 1.0
    wrote(t.data)


def test_a_saved_array_that_was_written_since_is_refused_by_op_and_shape() -> None:
    w = leaf([1.0, 2.0])
    y = (w * w).sum()
    written(w)
    with pytest.raises(
        GraphError, match=r"multiply \(result shape \(2,\)\) saved an array of shape \(2,\) .* in place"
    ):
        y.backward()
    (w * w).sum().backward()
    assert w.grad.tolist() == [4, 6]


def test_a_write_to_what_was_not_saved_is_no_error() -> None:
    w = leaf([1.0, 2.0])
    y = (w + 1).sum()
    written(w)
    y.backward()
    assert w.grad.tolist() == [1, 1]


def test_a_write_is_seen_through_a_view_and_names_the_cell_and_level(device: str, eagerly: None) -> None:
    if device == "strict":
        pytest.skip("the double's views do not know whose views they are")
    w = leaf([[1.0], [2.0]])

    @tg.cell(arity=1, state={"h": 1})
    def step(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return tg.linear(x, w.T) + kids[0].h

    run = tg.unfold(step, tg.chain(2), tg.ones((2, 2), dtype="float64"))
    written(w)
    with pytest.raises(GraphError, match=r"cell step, level 1\) saved an array of shape \(1, 2\) .* before the update"):
        run.last().h.sum().backward()


@pytest.mark.parametrize("which", ["argument", "captured"])
def test_a_write_between_a_checkpoint_and_its_backward_pass_is_noticed(which: str) -> None:
    x, w = tg.tensor([3.0], requires_grad=True), tg.tensor([2.0], requires_grad=True)
    y = tg.checkpoint(lambda v: (v * v * w * w).sum(), x)
    written = x if which == "argument" else w
    written.data += 1
    wrote(written.data)
    with pytest.raises(GraphError, match="checkpoint.* saved an array of shape .* that was written in place since"):
        y.backward()


def test_an_array_was_written_since_if_its_buffer_was() -> None:
    whole, other = np.zeros((2, 3)), np.zeros(3)
    before = tg.tape.next_serial()
    wrote(whole[1])
    after = tg.tape.next_serial()
    assert written_since((2, "axis", other, [other, whole.T]), before) is not None
    assert written_since((other,), before) is None
    assert written_since((whole,), after) is None
