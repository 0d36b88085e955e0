"""Parts: what is computed into arrays that nobody reads any more, and what a second backward pass then does."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.cells import numbers, run, running, same
from tests.program.plain import targets
from tinygrad_rnn import nn
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.program.machine import Machine
from tinygrad_rnn.program.recall import reach_of

needs_c = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")
H = 4
SQUARE = tg.asarray(numbers(H, H).astype("f4")).requires_grad_()


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


def weights(*shapes: tuple[int, int], dtype: str = "float64") -> list[tg.Tensor]:
    return [tg.asarray(numbers(*shape, seed=i).astype(dtype)).requires_grad_() for i, shape in enumerate(shapes)]


def with_early_pieces() -> Any:
    """A concat is written piece by piece, the first ones while another array is still read."""
    a, b, w, v = by = weights((6, 4), (6, 4), (1, 5), (4, 6))

    def cell(x: Any, kids: Any) -> Any:
        i, g = tg.tanh(kids[0].h @ a), tg.tanh(kids[0].h @ b)
        return (g * i - i)[:, 3:] @ w, tg.tanh(g @ v) + x

    return cell, {"y": 5, "h": 6}, 6, by


def with_a_piece_as_a_gradient() -> Any:
    """The gradient of a predecessor's state is a piece of an early product."""
    w, u, v, a, b, q = by = weights((3, 4), (4, 4), (4, 4), (2, 5), (4, 5), (4, 2))

    def cell(x: Any, kids: Any) -> Any:
        h = tg.tanh(x @ w + kids[0].h @ u)
        y = tg.tanh(kids[0].c @ b + tg.tanh(kids[0].h @ q) @ a)
        return h, tg.tanh(tg.tanh(h @ v) @ v), y

    return cell, {"h": 4, "c": 4, "y": 5}, 3, by


def with_a_piece_as_the_inputs_gradient() -> Any:
    """The gradient of the inputs is a piece of an early product."""
    u, v, a, b, q = by = weights((4, 4), (4, 4), (2, 5), (4, 5), (4, 2))

    def cell(x: Any, kids: Any) -> Any:
        h = tg.tanh(tg.tanh(tg.tanh(kids[0].h @ u) @ v) @ v)
        return h + 0.1, tg.tanh(x @ b + tg.tanh(kids[0].h @ q) @ a)

    return cell, {"h": 4, "y": 5}, 4, by


def with_shifted_columns() -> Any:
    """A gate lies in a concat at columns that are no multiple of its width."""
    u1, u2, u3, u4, wy = by = weights((4, 4), (4, 4), (4, 4), (4, 4), (8, 2))
    frozen = tg.asarray(numbers(8, 4))

    def cell(x: Any, kids: Any) -> Any:
        k = kids[0]
        b = tg.tanh(k.h @ u1)
        v = tg.concat([x[:, :3] * 0.5, b, x[:, 3:] * 0.5], axis=1).detach()
        h = b * (k.g @ u2) + 0.5 * (k.c @ u3) + 0.7 * (k.e @ u4) + (v @ frozen) * 0.3
        return h, k.h * 0.9, k.c * 0.8, k.e * 0.7, v @ wy

    return cell, {"h": 4, "c": 4, "e": 4, "g": 4, "y": 2}, 4, by


def with_one_gate_for_a_row() -> Any:
    """A column of an array, which NumPy's negative misreads."""
    a, b, c = by = weights((4, 4), (3, 4), (1, 4), dtype="float32")

    def cell(x: Any, kids: Any) -> Any:
        g = tg.sigmoid((kids[0].h @ a)[:, 2:3])
        return tg.tanh((x * g) @ b + g @ c)

    return cell, {"h": 4}, 3, by


def with_a_column_turned_round() -> Any:
    """The same, of negative itself."""
    a, b, c = by = weights((4, 4), (3, 4), (4, 4), dtype="float32")

    def cell(x: Any, kids: Any) -> Any:
        z = kids[0].h @ a
        return tg.tanh(x @ b + tg.concat([-z[:, 2:3], z[:, :3]], axis=1) @ c)

    return cell, {"h": 4}, 3, by


CELLS = [
    with_early_pieces, with_a_piece_as_a_gradient, with_a_piece_as_the_inputs_gradient, with_shifted_columns,
    with_one_gate_for_a_row, with_a_column_turned_round,
]  # fmt: skip


@targets
@pytest.mark.parametrize("made", CELLS, ids=lambda f: f.__name__)
def test_what_is_still_read_is_not_written_over(made: Any, target: str) -> None:
    function, state, width, by = made()
    dtype = by[0].dtype.name
    cell, x = tg.cell(arity=1, state=state)(function), weights((12, width), dtype=dtype)[0]
    for s in (tg.chain([7, 5]), tg.chain([3] * 4)):
        same(run(cell, s, x, [x, *by], target), run(cell, s, x, [x, *by]), {"float32": 1e-5, "float64": 1e-11}[dtype])


@targets
def test_states_that_are_equal_are_all_there(target: str) -> None:
    u, a, b, w = by = weights((8, 4), (4, 2), (8, 2), (3, 8))

    def function(x: Any, kids: Any) -> Any:  # without input or predecessor its first and last state are both zeros
        v = tg.exp(kids[0].h)
        return tg.tanh(kids[0].h), tg.tanh(v @ u) @ a + v @ b, tg.tanh(x @ w)

    cell, s = tg.cell(arity=1, state={"h": 8, "y": 2, "g": 8})(function), tg.chain([3] * 50)
    ids = np.flatnonzero(np.arange(s.size) % 3)
    x = weights((len(ids), 3))[0]
    for _ in range(3):
        junk = [np.full((n, 8), 7.0) for n in (100, 150, 200, 50, 151)]
        del junk
        same(run(cell, s, (ids, x), [x, *by], target), run(cell, s, (ids, x), [x, *by]), 1e-11)


def saved_state(x: Any, kids: Any) -> Any:
    """A state that its own derivative reads, beside gates that are written over."""
    f = tg.sigmoid(x @ SQUARE + kids[0].h @ SQUARE)
    return tg.tanh(f * tg.tanh(x @ SQUARE) + kids[0].h * f)


@pytest.mark.parametrize(
    "cell", [nn.LSTMCell(H, H), tg.cell(arity=1, state={"h": H})(saved_state)], ids=["LSTM", "own"]
)
def test_states_given_away_stay_when_the_forward_pass_is_computed_again(cell: Any) -> None:
    shared = numbers(20, H).astype("f4")
    h = tg.unfold(cell, tg.chain([20]), tg.asarray(shared)).all().h
    before = h.numpy().copy()
    h.sum().backward(retain_graph=True)
    shared[...] = 7.0
    h.sum().backward(retain_graph=True)
    np.testing.assert_array_equal(h.numpy(), before)


@targets
def test_threads_may_differentiate_one_graph(target: str) -> None:
    w, u, b = by = weights((8, 8), (8, 8), (4, 8), dtype="float32")
    context, x = weights((30, 4), (30 * 20, 8), dtype="float32")

    @tg.cell(arity=1, state={"h": 8})
    def cell(x: Any, kids: Any, context: Any) -> Any:
        return tg.tanh(x @ w + kids[0].h @ u + context @ b)

    with running(target):
        h = tg.unfold(cell, tg.chain([20] * 30), x, context=context).all().h
    losses = [(h * (i + 1.0)).sum() for i in range(4)]
    by = [context, x, *by]
    expected = [[g.numpy() for g in tg.grad(loss, by, retain_graph=True)] for loss in losses]
    found: list[list[Any]] = [[] for _ in losses]

    def differentiate(i: int) -> None:
        found[i].extend(tg.grad(losses[i], by, retain_graph=True) for _ in range(10))

    threads = [threading.Thread(target=differentiate, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own, wanted in zip(found, expected, strict=True):
        assert len(own) == 10
        for gradients in own:
            for g, one in zip(gradients, wanted, strict=True):
                np.testing.assert_array_equal(g.numpy(), one)
