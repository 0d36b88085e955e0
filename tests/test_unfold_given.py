"""What an unfolding takes and what it refuses, and that nothing is left of a cell that fails."""

from __future__ import annotations

import copy
from collections import namedtuple
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.cells import Binary, C, H, State, Unary, leaf
from tinygrad_rnn import StructureError


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x: tg.unfold(Unary(), tg.grid(2, 2), x), "vertex 1: slot 1 is filled, but cell Unary has arity 1"),
        (lambda x: tg.unfold(Binary(), tg.Structure(4, [0, 1], [3, 3]), x),
         "vertex 3 has predecessors without slots, but cell Binary reads 2 slots; give all edges slots, or use"),
        (lambda x: tg.unfold(Unary(), tg.chain(3), x), r"4 input rows for 3 vertices; give \(ids, rows\) if some"),
        (lambda x: tg.unfold(Unary(), tg.chain(9), ([0, 1], x)), "2 vertex ids for 4 input rows"),
        (lambda x: tg.unfold(Unary(), tg.chain(4), ([0, 1, 2, 4], x)), "the inputs name vertex 4; ids go from 0 to 3"),
        (lambda x: tg.unfold(Unary(), tg.chain(4), ([0, 1, 2, -1], x)), "the inputs name vertex -1; ids go from 0"),
        (lambda x: tg.unfold(Unary(), tg.chain(4), ([0, 1, 2, 0], x)), "the inputs name a vertex twice"),
        (lambda x: tg.unfold({0: Unary()}, tg.Structure(4, kind=[0, 0, 2, 0]), x),
         r"no cell for vertices of kind 2; the cells are for kinds \[0\]"),
    ],
)  # fmt: skip
def test_a_structure_that_does_not_fit_is_refused_by_vertex_and_slot(act: Any, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        act(leaf(4, H))


@pytest.mark.parametrize(
    ("error", "give", "message"),
    [
        (
            ValueError,
            lambda x: State(x, x),
            r"cell wrong, level 0: it returned c of shape \(2, 3\), but takes \(2, 2\)",
        ),
        (
            ValueError,
            lambda x: State(x[:, :1].sum(), x),
            r"cell wrong, level 0: it returned h of shape \(\), but takes",
        ),
        (ValueError, lambda x: State(tg.concat([x, x]), x), r"level 0: it returned h of shape \(4, 3\), .* 2 vertices"),
        (
            TypeError,
            lambda x: namedtuple("Other", "a b")(x, x),
            r"cell wrong returned Other with \('a', 'b'\); it must",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_cell_and_level(error: Any, give: Any, message: str) -> None:
    @tg.cell(arity=1, state={"h": H, "c": C})
    def wrong(x: tg.Tensor, kids: tg.Kids) -> Any:
        return give(x)

    with pytest.raises(error, match=message):
        tg.unfold(wrong, tg.chain([2, 1]), leaf(3, H))


def test_one_row_for_all_vertices_is_repeated() -> None:
    row = leaf(1, H)
    cell = tg.cell(arity=1, state={"h": H})(lambda x, kids: row)
    run = tg.unfold(cell, tg.chain([2, 1]), leaf(3, H))
    assert run.all().h.shape == (3, H)
    run.all().h.sum().backward()
    assert row.grad.tolist() == [[3] * H]


def test_after_an_error_in_a_cell_nothing_of_it_is_left() -> None:
    @tg.cell(arity=1, state={"h": 1})
    def failing(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        raise KeyError

    with pytest.raises(KeyError):
        tg.unfold(failing, tg.chain(2), tg.ones((2, 1)))
    now = tg.tape.thread.now
    assert (now.scope, now.streams) == (None, None)


def test_an_unfolding_may_stand_in_a_cell() -> None:
    """A cell that reads a word letter by letter."""
    inner = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)

    @tg.cell(arity=1, state={"h": 1})
    def outer(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        word = tg.unfold(inner, tg.chain([2] * len(x)), tg.repeat(x, 2, axis=0)).last().h
        return kids[0].h + word

    x = tg.ones((3, 1)).requires_grad_()
    last = tg.unfold(outer, tg.chain([2, 1]), x).last().h
    assert last.tolist() == [[4], [2]]
    last.sum().backward()
    assert x.grad.tolist() == [[2]] * 3


def test_ids_of_inputs_are_integers() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    for ids in ([0.5, 1.0], [True, False]):
        with pytest.raises(tg.StructureError, match=r"ids must be integers of one axis, not (float64|bool)"):
            tg.unfold(add, tg.chain([2]), (ids, tg.ones((2, 1))))


def test_inputs_may_be_lists_and_where_the_cell_is_on_the_cpu_arrays(device: str) -> None:
    add = tg.cell(arity=1, state={"h": 2})(lambda x, kids: kids[0].h + x)
    rows = np.arange(6, dtype=np.float64).reshape(3, 2)
    kinds = [(np.ndarray.tolist, np.float32), (np.asarray, np.float64), (np.float32, np.float32)]
    for make, dtype in kinds if device == "cpu" else kinds[:1]:
        for inputs in (make(rows), ([2, 0, 1], make(rows[[2, 0, 1]]))):
            h = tg.unfold(add, tg.chain(3), inputs).all().h
            assert (h.tolist(), h.dtype) == (rows.cumsum(axis=0).tolist(), dtype)
    with pytest.raises(tg.StructureError, match="2 input rows for 3 vertices"):
        tg.unfold(add, tg.chain(3), rows[:2])
    with pytest.raises(TypeError, match="a Tensor holds numbers, not str"):
        tg.unfold(add, tg.chain(3), "abc")


def test_what_is_no_structure_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a cell unfolds over a Structure, not list: tg\.chain\(lengths\), "):
        tg.unfold(Unary(), [3], tg.ones((3, H)))  # type: ignore[arg-type]


def test_rows_that_do_not_fit_are_refused() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids, context=None: kids[0].h + x)
    pair, x = tg.chain([1, 1]), tg.ones((2, 1))
    with pytest.raises(tg.StructureError, match="initial h has 5 rows for 2 examples; give 1 or all"):
        tg.unfold(add, pair, x, initial=type(add.initial())(tg.ones((5, 1))))
    with pytest.raises(tg.StructureError, match="the context has 5 rows for 2 examples"):
        tg.unfold(add, pair, x, context=tg.ones((5, 1)))
    with pytest.raises(tg.StructureError, match="1 input rows for 2 new vertices"):
        tg.Unfolding(add).advance(tg.ones((1, 1)), [[-1], [-1]])
    with pytest.raises(tg.StructureError, match="no cells: give a cell, or"):
        tg.Unfolding({})


def test_inputs_without_a_width_are_refused_unless_they_are_ids() -> None:
    with pytest.raises(StructureError, match=r"inputs are rows \[N, I\], not \[3\]; of numbers make rows of one"):
        tg.unfold(Unary(), tg.chain([2, 1]), tg.arange(3.0))
    with pytest.raises(StructureError, match=r"inputs are rows \[N, I\], not \[2\]"):
        tg.Unfolding(Unary()).advance(tg.ones(2), [[-1], [-1]])
    assert tg.unfold(tg.nn.RNNCell(0, 3), tg.chain([0, 0]), []).all().h.shape == (0, 3)
    table = tg.tensor([[1.0], [2.0]])
    embedding = tg.cell(arity=1, state={"h": 1})(lambda x, kids: tg.gather_rows(table, x) + kids[0].h)
    assert tg.unfold(embedding, tg.chain(3), tg.tensor([0, 1, 1])).last().h.tolist() == [[5.0]]


def test_any_error_inside_a_cell_says_in_which_and_at_which_level() -> None:
    @tg.cell(arity=1, state={"h": 2})
    def split(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return tg.split(x, [1, 2], axis=1)[0]

    with pytest.raises(ValueError, match="split") as caught:
        tg.unfold(split, tg.chain(2), tg.ones((2, 2)))
    assert caught.value.__notes__ == ["in cell split, level 0"]


def test_the_errors_of_a_cell_survive_whatever_they_are() -> None:
    class Refusing(Exception):
        def add_note(self, note: str) -> None:
            raise TypeError

    kept = ValueError("mine")
    for error in (Refusing(), kept, kept):

        @tg.cell(arity=1, state={"h": 2})
        def failing(x: tg.Tensor, kids: tg.Kids, error: Exception = error) -> tg.Tensor:
            raise error

        with pytest.raises(type(error)):
            tg.unfold(failing, tg.chain(2), tg.ones((2, 2)))
    assert kept.__notes__ == ["in cell failing, level 0"]


def test_a_state_asked_of_the_unfolding_itself_is_pointed_to() -> None:
    run = tg.unfold(Unary(), tg.chain(2), leaf(2, 3))
    with pytest.raises(AttributeError, match=r"an Unfolding has no 'h'; states are read as \.all\(\)\.h, "):
        run.h
    with pytest.raises(AttributeError, match="an Unfolding has no 'outputs'$"):
        run.outputs


def test_an_unfolding_is_copied_and_slots_are_read_by_numpys_integers() -> None:
    cell = tg.cell(arity=1, state={"h": 3})(lambda x, kids: kids[np.int64(0)].h + x)
    run = tg.unfold(cell, tg.chain(2), tg.ones((2, 3)))
    assert copy.copy(run).all().h.tolist() == run.all().h.tolist() == [[1.0] * 3, [2.0] * 3]
    assert not hasattr(tg.Unfolding.__new__(tg.Unfolding), "h")
