"""Runs at rest: what the next run takes over from them, and what they hold meanwhile."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.cells import numbers, run, running, same
from tests.program.plain import W, leaf, targets
from tinygrad_rnn import nn
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.program import resting
from tinygrad_rnn.program.frame import Frame

Function = Callable[..., Any]
weight, bias = leaf(W, W), leaf(W, seed=1)


def cut(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
    y = x[:, :W]
    return tg.tanh(y * kids[0].h + y * y)


def shaped(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
    y = tg.reshape(x, (len(x), 2, 2))[:, 0]
    return tg.tanh(y @ weight[:2] * y[:, :1] + kids[0].h)


def repeated(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
    y = tg.broadcast_to(bias, (len(x), W))
    return tg.tanh(y * x[:, :W] * kids[0].h + y)


def multiplied(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
    return tg.tanh(x[:, :W] + kids[0].h @ weight)


functions = pytest.mark.parametrize("function", [cut, shaped, repeated, multiplied], ids=lambda f: f.__name__)


@pytest.fixture(autouse=True)
def _nobody_rests() -> Iterator[None]:
    resting._resting.clear()
    resting._held = 0
    yield
    resting._resting.clear()
    resting._held = 0


@targets
@functions
def test_every_run_reads_what_it_is_given(function: Function, target: str) -> None:
    cell, s, x = tg.cell(arity=1, state={"h": W})(function), tg.chain([4, 2]), leaf(6, W + 1)
    by = [x, weight, bias] if function is not cut else [x]
    for i in range(5):
        x.data, bias.data = numbers(6, W + 1, seed=i), numbers(W, seed=i)
        same(run(cell, s, x, by, target), run(cell, s, x, by), 1e-11)


@targets
def test_every_run_reads_its_context(target: str) -> None:
    def looking(x: tg.Tensor, kids: tg.Kids, context: tg.Tensor) -> tg.Tensor:
        y = context[:, :W]
        return tg.tanh(y * kids[0].h + x * y)

    cell, s, x, context = tg.cell(arity=1, state={"h": W})(looking), tg.chain([4, 2]), leaf(6, W), leaf(2, W + 1)
    for i in range(5):
        context.data = numbers(2, W + 1, seed=i)
        same(
            run(cell, s, x, [x, context], target, context=context),
            run(cell, s, x, [x, context], context=context),
            1e-11,
        )


def test_a_context_is_told_from_another_by_the_names_of_its_fields() -> None:
    class One(NamedTuple):
        a: tg.Tensor
        b: tg.Tensor

    class Other(NamedTuple):
        b: tg.Tensor
        a: tg.Tensor

    cell = tg.cell(arity=1, state={"h": W})(lambda x, kids, c: tg.tanh(x + kids[0].h * c.a - 2.0 * c.b))
    s, x, left, right = tg.chain([3]), leaf(3, W), leaf(1, W), leaf(1, W, seed=2)
    for kind in (One, Other):
        same(run(cell, s, x, [x, left], "NumPy", context=kind(left, right)),
             run(cell, s, x, [x, left], context=kind(left, right)), 1e-11)  # fmt: skip


def agree(cell: Any, s: tg.Structure, x: tg.Tensor, by: list[tg.Tensor], target: str, **options: Any) -> None:
    same(run(cell, s, x, by, target, **options), run(cell, s, x, by, **options), 1e-11)


@targets
def test_a_program_is_told_by_all_that_it_depends_on(target: str) -> None:
    w, x = leaf(W, W), leaf(20, W)
    cell = tg.cell(arity=1, state={"h": W})(lambda x, kids: tg.tanh(x + kids[0].h @ w))
    short, long = tg.chain([3]), tg.chain([20])
    with tg.no_grad(), running(target):
        tg.unfold(cell, long, x)
    agree(cell, long, x, [x, w], target)  # recorded
    agree(cell, short, x[:3].detach(), [w], target)  # its first vertex is a variant of its own
    w.requires_grad_(False)
    agree(cell, long, x, [x], target)
    w.requires_grad_()
    agree(cell, long, x, [x, w], target)
    agree(cell, long, x, [x, w], target, initial=cell.State(leaf(1, W, seed=3)))


@targets
def test_one_cell_beside_others_is_not_what_it_is_beside_these(target: str) -> None:
    w, x = leaf(W, W), leaf(4, W)
    first, double, half = (
        tg.cell(arity=1, state={"h": W})(lambda x, kids, f=f: tg.tanh(x * f + kids[0].h @ w)) for f in (1.0, 2.0, 0.5)
    )
    s = tg.Structure(4, [0, 1, 2], [1, 2, 3], kind=[0, 1, 0, 1])
    for other in (double, half, double):
        agree({0: first, 1: other}, s, x, [x, w], target)
    agree({0: first, 1: first}, s, x, [x, w], target)


@targets
def test_initial_states_of_one_row_and_of_all(target: str) -> None:
    cell, s, x = tg.cell(arity=2, state={"h": W})(
        lambda x, kids: tg.tanh(x + kids[0].h @ weight + kids[1].h)
    ), tg.union([tg.Structure(3, [0, 1], [2, 2], [0, 1])] * 2), leaf(6, W)  # fmt: skip
    for rows in (1, 2, 1, 2):
        start = leaf(rows, W, seed=rows)
        agree(cell, s, x, [x, weight, start], target, initial=cell.State(start))
    zeros = tg.zeros((1, W), dtype="float64").requires_grad_()
    agree(cell, s, x, [x, weight, zeros], target, initial=cell.State(zeros))


@targets
def test_parameters_that_do_not_lie_in_one_piece_are_read_anew(target: str) -> None:
    wide, square = tg.asarray(numbers(2 * W)[::2]).requires_grad_(), leaf(W, W)
    assert not wide.data.flags.c_contiguous

    def function(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return tg.tanh(x * wide + kids[0].h * square[:, 1] + square.T[0])

    cell, s, x = tg.cell(arity=1, state={"h": W})(function), tg.chain([9]), leaf(9, W)
    for _ in range(5):
        agree(cell, s, x, [x, wide, square], target)
        wide.data *= 0.7
        square.data *= 0.7


def test_what_grows_on_an_unfolding_is_not_in_the_next_one() -> None:
    cell, s, x = nn.LSTMCell(W, W), tg.chain([4, 3]), tg.random.normal((7, W))
    grown = tg.unfold(cell, s, x)
    grown.advance(tg.random.normal((2, W)), [[3], [6]])
    assert (grown.size, tg.unfold(cell, s, x).size) == (9, 7)


@targets
@functions
def test_no_inputs_are_held_once_they_are_used(function: Function, target: str) -> None:
    cell, s, held = tg.cell(arity=1, state={"h": W})(function), tg.chain([7]), []
    for i in range(4):
        x = leaf(7, W + 1, seed=i)
        held.append(weakref.ref(x.data))
        run(cell, s, x, [x], target)
        del x
    gc.collect()
    assert sum(map(len, resting._resting.values())) == 1
    assert [array() for array in held] == [None] * 4


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell], ids=lambda k: k.__name__)
def test_no_model_is_held_that_nobody_has(kind: Any) -> None:
    s, x = tg.chain([4, 3]), tg.random.normal((7, W))
    for _ in range(2):
        cell = kind(W, W)
        held = [weakref.ref(p.data) for p in cell.parameters()]
        for _ in range(3):
            tg.sum(tg.unfold(cell, s, x).all().h).backward()
        del cell
        gc.collect()
        assert sum(map(len, resting._resting.values())) == 1, "it rests without the model"
        assert [array() for array in held] == [None] * len(held)


def test_each_of_two_models_gets_its_own_run_again() -> None:
    s, x = tg.chain([4, 3]), tg.random.normal((7, W))
    cells = [nn.GRUCell(W, W), nn.GRUCell(W, W)]
    seen = []
    for _ in range(4):
        states = [tg.unfold(cell, s, x).all().h for cell in cells]
        for h in states:
            tg.sum(h).backward()
        (rested,) = resting._resting.values()
        seen.append({id(one): id(one.owners[0]()) for one in rested})
    assert len(seen[-1]) == 2
    assert seen[-1] == seen[-2], "the parameters lie where they lay, and nothing is looked up"


def test_a_run_that_was_interrupted_does_not_spoil_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    w, s, x = tg.asarray(np.full((1, W), 4.0)).requires_grad_(), tg.chain([3]), leaf(3, W)
    cell = tg.cell(arity=1, state={"h": W})(lambda x, kids: tg.tanh(kids[0].h / w + x))
    for _ in range(3):
        run(cell, s, x, [x, w], "NumPy")
    w.data = w.data.copy()  # what hangs on it must be found out anew
    once = Frame.once

    def interrupted(frame: Frame, which: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("tinygrad_rnn.program.frame.compute", interrupt)
            once(frame, which)

    def interrupt(*args: Any) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Frame, "once", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(cell, s, x, [x, w], "NumPy")
    for _ in range(2):
        agree(cell, s, x, [x, w], "NumPy")


@pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")
def test_a_run_weighs_the_weights_that_are_packed_for_it() -> None:
    cell, s = nn.RNNCell(8, 256), tg.chain([3])
    for _ in range(3):
        tg.sum(tg.unfold(cell, s, tg.zeros((3, 8))).all().h).backward()
    ((rested,),) = resting._resting.values()
    assert rested.size > 2 * cell.weight_hh.data.nbytes, "forward and backward"


def test_those_that_waited_longest_go_when_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = nn.RNNCell(W, W), tg.random.normal((3, W))
    structures = [tg.chain([3]) for _ in range(6)]
    for s in structures:
        for _ in range(3):
            tg.sum(tg.unfold(cell, s, x).all().h).backward()
    (one,) = next(iter(resting._resting.values()))
    assert resting._held == 6 * one.size
    monkeypatch.setattr(resting, "LASTING", 2 * one.size)
    frames = [weakref.ref(run_.frames[-1]) for waiting in resting._resting.values() for run_ in waiting]
    del one
    gc.collect()
    gc.disable()
    try:
        tg.sum(tg.unfold(cell, structures[3], x).all().h).backward()
    finally:
        gc.enable()
    gone = [frame() is None for frame in frames]
    assert gone == [True, True, True, False, True, False], "those that waited longest, without the garbage collector"
    assert resting._held == sum(run_.size for waiting in resting._resting.values() for run_ in waiting)
    assert list(resting._resting)[-1].size == 3


def test_one_that_is_chosen_can_not_be_let_go_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = nn.RNNCell(W, W), tg.random.normal((3, W))
    first, other = tg.chain([3]), tg.chain([3])
    for s in (first, other):
        for _ in range(3):
            tg.sum(tg.unfold(cell, s, x).all().h).backward()
    monkeypatch.setattr(resting, "LASTING", 0)
    (layout, (run_,)), (_, (second,)) = resting._resting.items()

    class Comparing(list[Any]):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, machines: object) -> bool:  # as if the garbage collector came by
            resting.rest(second)
            return list.__eq__(self, machines)

    owners = [ref() for ref in run_.owners]
    assert resting.take(layout, Comparing(run_.machines), [np.zeros((1, W), "f4")], owners) is run_
    assert not run_.resting
