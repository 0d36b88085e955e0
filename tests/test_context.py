"""Contexts: dense, ragged, nested; what does not fit is refused."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.cells import H, leaf, values


def test_a_ragged_context_is_the_rows_of_each_vertexs_example() -> None:
    lengths, s = [2, 0, 3], tg.chain([2, 1, 2])
    memory, x, w = leaf(5, H), leaf(5, H), leaf(H, H)

    @tg.cell(arity=1, state={"h": H})
    def attends(x: tg.Tensor, kids: tg.Kids, context: tg.Multiset) -> tg.Tensor:
        scores = tg.sum(context.spread(kids[0].h @ w + x) * context.each, axis=1, keepdims=True)
        return (x + context.sum(context.softmax(scores) * context.each)).tanh()

    ours = tg.unfold(attends, s, x, context=tg.Ragged(memory, lengths)).all().h
    rows, at = [], 0
    for example, steps in enumerate([2, 1, 2]):
        start = sum(lengths[:example])
        mine, h = memory[start : start + lengths[example]], tg.zeros((1, H), dtype="float64")
        for _ in range(steps):
            weights = tg.softmax(mine @ (h @ w + x[at : at + 1])[0])
            h = (x[at : at + 1] + tg.reshape(weights @ mine, (1, H)) if len(mine) else x[at : at + 1]).tanh()
            rows.append(h)
            at += 1
    theirs = tg.concat(rows)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)
    seeds = tg.asarray(values(5, H, seed=3))
    for a, b in zip(tg.grad(ours, [memory, x, w], seeds), tg.grad(theirs, [memory, x, w], seeds)):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11, atol=1e-12)


def test_contexts_nest_in_tuples_and_dicts() -> None:
    Both = namedtuple("Both", ["bias", "memory"])

    @tg.cell(arity=1, state={"h": 1})
    def named(x: tg.Tensor, kids: tg.Kids, context: Any) -> tg.Tensor:
        return kids[0].h + context.bias + context.memory["m"].sum(context.memory["m"].each)

    @tg.cell(arity=1, state={"h": 1})
    def plain(x: tg.Tensor, kids: tg.Kids, context: Any) -> tg.Tensor:
        return kids[0].h + context[0] + context[1].mean(context[1].each)

    bias, memory = tg.tensor([[1.0], [10.0]]), tg.Ragged(tg.tensor([[100.0], [200.0], [400.0]]), [1, 2])
    s = tg.chain([1, 2])
    assert tg.unfold(named, s, tg.zeros((3, 1)), context=Both(bias, {"m": memory})).all().h.tolist() == [
        [101],
        [610],
        [1220],
    ]
    assert tg.unfold(plain, s, tg.zeros((3, 1)), context=(bias, memory)).all().h.tolist() == [[101], [310], [620]]
    with pytest.raises(
        TypeError, match="a context is a Tensor of B rows, a Ragged, or a tuple or dict of these, not .*int"
    ):
        tg.unfold(plain, s, tg.zeros((3, 1)), context=(bias, 7))


@pytest.mark.parametrize("lengths", [[2], [2, 2], [1, 1, 3]])
def test_a_ragged_context_must_have_a_length_for_each_example_and_all_rows(lengths: list[int]) -> None:
    see = tg.cell(arity=1, state={"h": 1})(lambda x, kids, context: context.sum(context.each))
    message = r"a ragged context has 3 rows for \d lengths that sum to \d|the context has \d lengths for 2 examples"
    with pytest.raises(ValueError, match=message):
        tg.unfold(see, tg.chain([1, 1]), None, context=tg.Ragged(tg.ones((3, 1)), lengths))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1.9, 1.1], "the lengths of a ragged context must be integers of one axis, not float64"),
        ([4, -1], "a ragged context has 3 rows for 2 lengths that sum to 3"),
    ],
)
def test_a_ragged_context_has_lengths_that_are_some(lengths: list[float], message: str) -> None:
    see = tg.cell(arity=1, state={"h": 1})(lambda x, kids, context: context.sum(context.each))
    with pytest.raises(ValueError, match=message):
        tg.unfold(see, tg.chain([1, 1]), None, context=tg.Ragged([[1.0], [2.0], [3.0]], lengths))  # type: ignore[arg-type]


def test_a_context_may_be_of_arrays() -> None:
    rows = np.arange(6.0, dtype="f4").reshape(3, 2)
    cell = tg.cell(arity=1, state={"h": 2})(lambda x, kids, c: kids[0].h + c["a"][0] + c["b"].sum(c["b"].each))
    chains, ragged = tg.chain([2, 1, 2]), tg.Ragged(np.ones((4, 2), "f4"), [1, 3, 0])  # type: ignore[arg-type]
    found = tg.unfold(cell, chains, None, context={"a": (rows,), "b": ragged}).last().h
    assert found.tolist() == [[2, 4], [5, 6], [8, 10]]
    with pytest.raises(tg.StructureError, match="the context has 3 rows for 2 examples"):
        tg.unfold(cell, tg.chain([1, 1]), None, context=rows)
    for context, where in (((rows,), r"\[0\]"), ({"a": (rows[:2], rows)}, r"\['a'\]\[1\]")):
        with pytest.raises(tg.StructureError, match=f"the context{where} has 3 rows for 2 examples"):
            tg.unfold(cell, tg.chain([1, 1]), None, context=context)
