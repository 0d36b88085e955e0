"""Parts: what is computed into arrays that nobody reads any more, and what a second backward pass then does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.program.machine import Machine
from tinygrad_rnn.program.recall import reach_of

needs_c = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")
H = 4


def machine_of(cell: Any, rows: int = 3) -> Machine:
    """The machine that ran the later steps of a chain."""
    tg.unfold(cell, tg.chain([3] * rows), tg.ones((3 * rows, H))).all()[0].sum().backward()
    (program,) = reach_of(cell).programs.values()
    found: Machine = program.machines[-1]
    return found


def guests(machine: Machine) -> dict[str, list[tuple[str, str, int]]]:
    """(what, over what, from which column), by the section of the plan."""
    names = ("before", "step", "after", "early", "back", "late")
    return {
        name: [(v.op, host.op, at) for v, host, at in part.guests]
        for name, part in zip(names, machine.parts, strict=True)
        if part.guests
    }


@needs_c
def test_gates_are_computed_over_the_projected_inputs_and_their_gradients_over_the_gates() -> None:
    assert guests(machine_of(nn.LSTMCell(H, H))) == {
        "step": [("sigmoid", "matmul", 0), ("tanh", "matmul", 2 * H), ("sigmoid", "matmul", 3 * H)],
        "back": [("concat", "matmul", 0)],
    }


@needs_c
def test_a_step_that_folds_rows_writes_over_nothing_that_it_reads() -> None:
    w = tg.tensor(np.eye(H, dtype="f4"), requires_grad=True)

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        s = tg.softmax(x @ w + kids[0].h, axis=1)  # its gradient needs s, summed over the row
        return s * tg.tanh(s) @ w

    assert not machine_of(cell).spoils


def test_numpy_takes_over_whole_arrays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "numpy")
    assert guests(machine_of(nn.LSTMCell(H, H))) == {"back": [("concat", "matmul", 0)]}
    assert not machine_of(nn.LSTMCell(H, H)).spoils


@pytest.mark.parametrize("target", ["1", "numpy"])
@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("runs", [1, 3], ids=["a run alone", "a run like those before"])
def test_a_second_backward_pass_finds_what_the_first_one_wrote_over(
    layer: Any, target: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", target)
    rng = np.random.default_rng(0)
    net = layer(H, H)
    for _ in range(runs):
        x = tg.tensor(rng.standard_normal((5, 3, H)).astype("f4"), requires_grad=True)
        output, _ = net(x)
        before = output.numpy().copy()
        loss = (output * output).sum()
        by = [x, *net.parameters()]
        first, second = (tg.grad(loss, by, retain_graph=True) for _ in range(2))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        np.testing.assert_array_equal(output.numpy(), before)
