"""Traces: what the graph of a cell holds, and why a cell has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.program.traces import W, ops, recurrent, traced
from tinygrad_rnn.program.graph import Untraceable, ancestors


def test_a_graph_has_each_computation_once() -> None:
    found = traced(lambda x, kids: tg.tanh(x + kids[0].h) * tg.tanh(x + kids[0].h))
    assert ops(v for v in ancestors(found.states)) == ["add", "input", "kid", "multiply", "tanh"]


def test_the_gradients_are_of_all_that_is_read_and_recorded() -> None:
    found = traced(recurrent)
    assert set(found.gradients) == {("input",), ("kid", 0, 0), ("parameter", 0)}
    assert {key: g.shape[1:] for key, g in found.gradients.items()} == dict.fromkeys(found.gradients, (W,))
    assert found.gradients["parameter", 0].shape == (W, W)


def test_a_missing_input_and_an_empty_slot_cost_no_product() -> None:
    assert ops(ancestors(traced(recurrent).states)).count("matmul") == 2
    assert ops(ancestors(traced(recurrent, x=False).states)).count("matmul") == 1
    assert ops(ancestors(traced(recurrent, filled=(False,)).states)).count("matmul") == 1


def test_a_concat_that_is_cut_again_leaves_no_trace() -> None:
    found = traced(lambda x, kids: tg.concat([x, kids[0].h], axis=1)[:, W:] * 2.0)
    assert ops(ancestors(found.states)) == ["kid", "multiply"]


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x, kids: x + tg.flip(x, axis=0), "flip along axis 0"),
        (lambda x, kids: x + x.sum(axis=0, keepdims=True), "sums over rows"),
        (lambda x, kids: x @ (x.T @ kids[0].h), "sums over rows"),
        (lambda x, kids: x + tg.einsum("ni,nj->ij", x, x)[0], "sums over rows"),
        (lambda x, kids: x + x.max(axis=0), "max over axis 0"),
        (lambda x, kids: x + x[0], "index 0 mixes rows"),
        (lambda x, kids: x[1:], "mixes rows"),
        (lambda x, kids: tg.reshape(tg.reshape(x, (-1, 2 * W)), (-1, W)), "mixes rows"),
        (lambda x, kids: x * len(x), "two traces of it differ"),
        (lambda x, kids: x if x.sum() > 0 else kids[0].h, "branches on a value"),
        (lambda x, kids: x * np.random.default_rng().random(), "two traces of it differ"),
        (lambda x, kids: x + tg.asarray(np.arange(W, dtype=np.float32)), "an array that it can't find again"),
        (lambda x, kids: x[:, :2], "another shape or dtype"),
        (lambda x, kids: x.astype("float64"), "another shape or dtype"),
        (lambda x, kids: x + tg.random.uniform(W), "not one row per vertex"),
        (lambda x, kids: x.oops, "AttributeError.*test_trace.py"),
    ],
)
def test_why_there_is_no_trace(function: Any, why: str) -> None:
    with pytest.raises(Untraceable, match=why):
        traced(function)


def test_a_multiset_without_edges_has_a_trace_too() -> None:
    def cell(x: Any, kids: Any) -> Any:
        weights = kids.softmax(kids.each.h + kids.spread(x))
        return kids.sum(weights * kids.each.h) + kids.max(kids.each.h) + kids.mean(weights) + x

    assert "segment_sum" in ops(ancestors(traced(cell, arity=None).states))
    bare = traced(cell, arity=None, filled=(False,))
    assert not {"segment_sum", "segment_max", "spread", "each"} & set(ops(ancestors(bare.states)))
