"""Unfoldings that grow level by level, by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.cells import Bag, Binary, H, Unary, agree, leaf
from tests.graphs import batches, predecessors, renumbered
from tinygrad_rnn import StructureError


@settings(max_examples=25)
@given(s=batches(), make=st.sampled_from([Binary, Bag]), data=st.data())
def test_advancing_level_by_level_is_unfolding(s: tg.Structure, make: Any, data: st.DataObject) -> None:
    cell, x = make(), leaf(s.size, H)
    context = leaf(s.examples, H, seed=2) if make is Binary else None
    rows = [data.draw(st.booleans()) if level else True for level in range(s.levels)]
    mask = np.asarray([rows[level] for level in s.level], bool)
    ids = np.flatnonzero(mask)
    whole = tg.unfold(cell, s, (ids, tg.gather_rows(x, tg.tensor(ids, dtype="int64"))), context=context)
    run, number, kids = tg.Unfolding(cell, context=context), {}, predecessors(s)
    for level in range(s.levels):
        members = np.flatnonzero(s.level == level)
        below = [[number[kids[v][k]] if k in kids[v] else -1 for k in (0, 1)] for v in members.tolist()]
        number |= {v: run.size + i for i, v in enumerate(members.tolist())}
        index = tg.tensor(members, dtype="int64")
        state = run.advance(tg.gather_rows(x, index) if rows[level] else None, below, s.example[members])
        assert state.h.shape == (len(members), H)
    assert (run.size, run.levels) == (s.size, s.levels)
    if s.size:
        new = np.asarray([number[v] for v in range(s.size)])
        agree(run.rows(new), whole.all(), [x, *cell.weights])
        grown, expected = run.structure, renumbered(s, new)
        assert edges(grown, slots=cell.arity is not None) == edges(expected, slots=cell.arity is not None)
        assert (grown.level.tolist(), grown.example.tolist()) == (expected.level.tolist(), expected.example.tolist())
        assert run.has_input[new].tolist() == whole.has_input.tolist() == mask.tolist()


def edges(s: tg.Structure, slots: bool) -> list[Any]:
    return sorted(zip(s.source.tolist(), s.target.tolist(), s.slot.tolist() if slots else [0] * len(s.slot)))


def test_levels_by_hand_choose_their_cell_by_kind() -> None:
    cells = {0: Unary(0), 1: Bag(1)}
    x, s = leaf(4, H), tg.Structure(4, [0, 0, 1, 2], [2, 3, 3, 3], [0, 0, 1, 2], kind=[0, 0, 0, 1])
    run = tg.Unfolding(cells)
    run.advance(x[:2], [[-1], [-1]])
    run.advance(x[2:3], [[0]])
    run.advance(x[3:], [[0, 1, 2]], kind=1)
    agree(run.all(), tg.unfold(cells, s, x).all(), [x, *cells[0].weights, *cells[1].weights])
    assert run.structure.kind.tolist() == [0, 0, 0, 1]
    assert run.structure.slot.tolist() == [0, -1, -1, -1]
    with pytest.raises(StructureError, match=r"no cell for vertices of kind 2; the cells are for kinds \[0, 1\]"):
        run.advance(x[:1], [[0]], kind=2)


def test_a_grown_unfolding_knows_its_structure_and_the_examples_of_its_vertices() -> None:
    @tg.cell(arity=1, state={"h": 1})
    def step(x: tg.Tensor, kids: tg.Kids, context: tg.Tensor) -> tg.Tensor:
        return kids[0].h + context

    run = tg.Unfolding(step, context=tg.tensor([[1.0], [10.0]]))
    assert (run.size, run.levels, run.structure.size) == (0, 0, 0)
    run.advance(tg.zeros((2, 1)), [[-1], [-1]])
    run.advance(tg.zeros((1, 1)), [[1]])  # the second example goes on
    run.advance(None, [[2], [2]])  # in two ways, as beams do
    assert run.all().h.tolist() == [[1], [10], [20], [30], [30]]
    assert run.structure.example.tolist() == [0, 1, 1, 1, 1]
    assert run.structure.source.tolist() == [1, 2, 2]
    assert run.roots().h.tolist() == [[1], [30], [30]]
    assert run.rows([3, 0]).h.tolist() == [[30], [1]]
    with pytest.raises(
        StructureError, match=r"example 1 has 2 final vertices; last\(\) needs one, roots\(\) gives all"
    ):
        run.last()


def test_a_new_vertex_belongs_to_its_first_predecessors_example() -> None:
    cell = tg.cell(arity=2, state={"h": 1})(lambda x, kids, context: context)
    run = tg.Unfolding(cell, context=tg.tensor([[10.0], [20.0], [30.0]]))
    run.advance(None, [[-1, -1], [-1, -1]])
    assert run.advance(None, [[1, 0], [-1, 0], [-1, -1]]).h.tolist() == [[20], [10], [30]]  # or to its own number's
    assert run.structure.example.tolist() == [0, 1, 1, 0, 2]


def test_advance_refuses_what_is_not_there_and_goes_on_after_an_error() -> None:
    run = tg.Unfolding(Unary())
    run.advance(leaf(2, H), [[-1], [-1]])
    with pytest.raises(StructureError, match="vertex 3, slot 0: predecessor 2 is not computed yet"):
        run.advance(leaf(2, H), [[0], [2]])
    with pytest.raises(StructureError, match="vertex 2, slot 0: predecessor -2 is not computed yet"):
        run.advance(leaf(1, H), [[-2]])
    with pytest.raises(StructureError, match="vertex 2: slot 1, but the cell's arity is 1"):
        run.advance(leaf(1, H), [[0, 1]])
    with pytest.raises(ValueError, match="matmul"):
        run.advance(leaf(2, H + 1), [[0], [1]])
    run.advance(leaf(1, H), [[1]])
    assert run.structure.source.tolist() == [1]
    assert run.size == 3


def test_an_unfolding_of_a_known_structure_goes_on_by_advance() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run = tg.unfold(add, tg.chain([2, 3]), tg.tensor([[1.0], [1.0], [10.0], [10.0], [10.0]]))
    assert run.advance(tg.zeros((2, 1)), [[1], [4]]).h.tolist() == [[2], [30]]
    run.advance(tg.ones((1, 1)), [[6]])
    assert run.all().h.tolist() == [[1], [2], [10], [20], [30], [2], [30], [31]]
    assert run.rows([7, 0, 5]).h.tolist() == [[31], [1], [2]]
    assert run.last().h.tolist() == [[2], [31]]
    assert run.structure.example.tolist() == [0, 0, 1, 1, 1, 0, 1, 1]
    assert list(zip(run.structure.source, run.structure.target, strict=True))[3:] == [(1, 5), (4, 6), (6, 7)]
    assert run.has_input.all()


@pytest.mark.parametrize("given", [[0, -1], np.array([0, -1]), (np.int64(0), -1)], ids=["list", "array", "integers"])
def test_with_one_slot_predecessors_may_be_single_ids(given: Any) -> None:
    run = tg.Unfolding(tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x))
    assert run.advance(tg.ones((2, 1)), None).h.tolist() == [[1], [1]]
    assert run.advance(tg.ones((2, 1)), given).h.tolist() == [[2], [1]]
    assert run.structure.source.tolist() == [0]
    assert run.advance(None, None).h.shape == (0, 1)


@pytest.mark.parametrize("predecessors", [[0, 1], np.array([[0.5], [1.0]]), [["a"], [0]]], ids=str)
def test_advance_refuses_predecessors_that_are_no_lists_of_ids(predecessors: Any) -> None:
    run = tg.Unfolding(tg.cell(arity=2, state={"h": 1})(lambda x, kids: kids[0].h + x))
    run.advance(tg.ones((2, 1)), [[-1], [-1]])
    with pytest.raises(tg.StructureError, match="predecessors are a list of ids for each new vertex"):
        run.advance(tg.ones((2, 1)), predecessors)
    assert run.size == 2


def test_advance_takes_arrays_and_lists_too() -> None:
    cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run = tg.Unfolding(cell)
    assert run.advance(np.ones((2, 1), "f4"), [[-1], [-1]]).h.dtype == np.float32
    assert run.advance([[2.0], [3.0]], np.array([[0], [1]])).h.tolist() == [[3], [4]]


def test_a_step_costs_the_same_however_many_came_before() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run, row, calls = tg.Unfolding(add), tg.ones((1, 1)), []
    for number in range(400):
        seen = 0

        def count(*_: Any) -> None:
            nonlocal seen
            seen += 1

        sys.setprofile(count)
        run.advance(row, [[number - 1]])
        sys.setprofile(None)
        calls.append(seen)
    assert calls[-1] == calls[10]
    assert (run.levels, run.last().h.item()) == (400, 400)


def test_what_grows_has_the_dtype_of_its_first_inputs() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    assert tg.Unfolding(add).advance(tg.ones((1, 1), dtype="float64"), [[-1]]).h.dtype == np.float64


def test_a_call_that_fails_leaves_the_unfolding_as_it_was() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run = tg.Unfolding(add)
    run.advance(tg.ones((1, 1)), [[-1]])
    with pytest.raises(ValueError, match="returned h of shape"):
        run.advance(tg.ones((1, 3)), [[0]])
    assert run.roots().h.tolist() == [[1]]


def test_growth_keeps_examples_without_vertices_and_refuses_a_wrong_number_of_examples() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run = tg.unfold(add, tg.chain([1, 0]), tg.ones((1, 1)))
    run.advance(tg.ones((1, 1)), [[0]])
    assert run.structure.examples == 2
    assert run.last().h.tolist() == [[2], [0]]
    with pytest.raises(tg.StructureError, match="examples has 2 entries for 1"):
        run.advance(tg.ones((1, 1)), [[1]], examples=[0, 0])
    with pytest.raises(tg.StructureError, match="vertex 2: there is no example -1"):
        run.advance(tg.ones((1, 1)), [[1]], examples=[-1])
    with pytest.raises(tg.StructureError, match="examples must be integers of one axis, not float64"):
        run.advance(tg.ones((1, 1)), [[1]], examples=[0.7])
    assert run.advance(tg.ones((1, 1)), [[1]]).h.tolist() == [[3]], "the refused call left nothing behind"
