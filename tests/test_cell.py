"""What a cell sees: slots, multisets, contexts; and plain functions as cells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.cells import cycles_left_by
from tinygrad_rnn import Multiset, StructureError


def ids(*values: int) -> Any:
    return tg.tensor(list(values), dtype="int64").data


def multiset(lengths: list[int]) -> Multiset:
    return Multiset(None, tg.tensor(np.repeat(np.arange(len(lengths)), lengths)).data, len(lengths))


E = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]])


def test_a_multiset_reduces_its_rows_to_vertices_and_an_empty_one_to_0() -> None:
    m, e = multiset([1, 0, 2]), tg.asarray(E)
    assert m.sum(e).tolist() == [[1, -2], [0, 0], [2, 4.5]]
    assert m.mean(e).tolist() == [[1, -2], [0, 0], [1, 2.25]]
    assert m.max(e).tolist() == [[1, -2], [0, 0], [3, 4]]
    assert m.spread(tg.tensor([[1], [2], [3]])).tolist() == [[1], [3], [3]]
    expected = np.concatenate([np.ones((1, 2)), np.exp(E[1:]) / np.exp(E[1:]).sum(0)])
    np.testing.assert_allclose(m.softmax(e).numpy(), expected, rtol=1e-14)
    assert m.mean(tg.asarray(E[:, 0])).tolist() == [1, 0, 1]


def test_a_multiset_without_any_row() -> None:
    m, e = multiset([0, 0]), tg.zeros((0, 3))
    for reduced in (m.sum(e), m.mean(e), m.max(e)):
        assert reduced.tolist() == [[0, 0, 0]] * 2
    assert m.spread(tg.ones((2, 3))).shape == m.softmax(e).shape == (0, 3)


def test_softmax_over_rows_does_not_overflow() -> None:
    m = multiset([2, 1])
    assert m.softmax(tg.tensor([[1000.0], [-1000.0], [-1e30]])).tolist() == [[1], [0], [1]]


@pytest.mark.parametrize("name", ["sum", "mean", "max", "softmax"])
def test_reductions_of_a_multiset_pass_gradcheck(name: str) -> None:
    m = multiset([2, 0, 1])
    weights = tg.asarray(np.random.default_rng(0).standard_normal((3, 2)))
    tg.gradcheck(lambda e: getattr(m, name)(e * e) * weights, [tg.asarray(E).requires_grad_()])
    tg.gradcheck(lambda v: m.spread(v * v), [tg.asarray(E).requires_grad_()])


def test_a_function_is_a_cell_with_a_name_and_zeros_as_its_initial_state() -> None:
    @tg.cell(arity=2, state={"h": 3, "m": (2, 2)})
    def both(x: tg.Tensor, kids: tg.Kids) -> Any:
        """Its docstring."""

    assert (both.__name__, both.__doc__, both.arity) == ("both", "Its docstring.", 2)
    initial = both.initial()
    assert initial._fields == ("h", "m")
    assert (initial.h.shape, initial.m.shape) == ((1, 3), (1, 2, 2))
    assert not initial.m.any()


def test_a_function_may_give_a_tensor_a_tuple_or_its_state() -> None:
    def unfolded(give: Any, fields: dict[str, int]) -> Any:
        cell = tg.cell(arity=1, state=fields)(lambda x, kids: give(x))
        return tg.unfold(cell, tg.chain(2), tg.ones((2, 1))).all()

    one, two = {"h": 1}, {"h": 1, "c": 1}
    assert unfolded(lambda x: x, one).h.tolist() == [[1], [1]]
    assert unfolded(lambda x: (x, x * 2), two).c.tolist() == [[2], [2]]
    assert unfolded(lambda x: [x, x * 2], two).c.tolist() == [[2], [2]]
    assert unfolded(lambda x: {"c": x * 2, "h": x}, two).c.tolist() == [[2], [2]]
    with pytest.raises(TypeError, match=r"cell <lambda> returned \['h'\], not Tensors for \['h', 'c'\]"):
        unfolded(lambda x: {"h": x}, two)
    with pytest.raises(ValueError, match=r"cell <lambda> returned 1 Tensors for the state \['h', 'c'\]"):
        unfolded(lambda x: x, two)
    with pytest.raises(TypeError, match=r"cell <lambda> returned NoneType, not Tensors for \['h', 'c'\]"):
        unfolded(lambda x: None, two)


@pytest.mark.parametrize("by_kind", [False, True])
def test_what_is_no_cell_is_refused_with_the_remedy(by_kind: bool) -> None:
    class Half:
        arity = 1

    def plain(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return x

    for given, name, lacks in ((plain, "plain", r"arity and initial\(\)"), (Half(), "Half", r"initial\(\)")):
        message = rf"{name} is no cell: make it a cell with @tg\.cell\(.*, or give it {lacks}"
        with pytest.raises(TypeError, match=message):
            tg.unfold({0: given} if by_kind else given, tg.chain(2), tg.ones((2, 1)))


def test_a_class_of_cells_is_no_cell() -> None:
    with pytest.raises(TypeError, match=r"LSTMCell is a class: make a cell of it, as LSTMCell\(\.\.\.\)"):
        tg.unfold(tg.nn.LSTMCell, tg.chain(2), tg.ones((2, 1)))


@pytest.mark.parametrize("width", [3.5, None, -2, "4", True, (2, 1.0)])
def test_a_width_that_is_none_is_refused_where_the_cell_is_made(width: Any) -> None:
    with pytest.raises(ValueError, match=rf"state c: a width is an integer from 0, .*, not {re.escape(repr(width))}"):
        tg.cell(arity=1, state={"h": 2, "c": width})(lambda x, kids: x)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda kids: kids["h"], r"kids\['h'\]: slots are numbers from 0, and states .*, as kids\[0\]\.h"),
        (lambda kids: tg.tanh(kids[0]), r"a state of h, c is no Tensor: read one of them, as \.h"),
        (lambda kids: kids[0] + 1.0, "unsupported operand"),
    ],
)  # fmt: skip
def test_a_state_read_by_other_ways_than_slot_and_name_is_refused(read: Any, message: str) -> None:
    cell = tg.cell(arity=1, state={"h": 1, "c": 1})(lambda x, kids: (read(kids), x))
    with pytest.raises(TypeError, match=message):
        tg.unfold(cell, tg.chain(2), tg.ones((2, 1)))


def test_an_initial_of_the_cell_that_is_no_state_is_refused_with_the_remedy() -> None:
    class Tuple:
        arity = 1

        def initial(self) -> Any:
            return (tg.zeros((1, 1)),)

        def __call__(self, x: tg.Tensor, kids: tg.Kids, context: Any = None) -> Any:
            return (x,)

    with pytest.raises(TypeError, match=r"initial is no State but tuple: let cell\.initial\(\) return a NamedTuple"):
        tg.unfold(Tuple(), tg.chain(2), tg.ones((2, 1)))


def test_an_initial_that_is_no_state_is_refused_with_the_remedy() -> None:
    add = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    for initial, name in ((tg.ones((1, 1)), "Tensor"), ((tg.ones((1, 1)),), "tuple")):
        message = rf"initial is no State but {name}: give cell\.initial\(\)\._replace\(h=\.\.\.\)"
        with pytest.raises(TypeError, match=message):
            tg.unfold(add, tg.chain(2), tg.ones((2, 1)), initial=initial)


def test_slots_of_another_shape_than_a_vector() -> None:
    @tg.cell(arity=1, state={"m": (2, 2), "s": ()})
    def cell(x: tg.Tensor, kids: tg.Kids) -> Any:
        return kids[0].m @ kids[0].m + tg.reshape(x, (-1, 1, 1)), kids[0].s + x[:, 0]

    last = tg.unfold(cell, tg.chain([3, 1]), tg.ones((4, 1))).last()
    assert last.m.tolist() == [[[19, 19], [19, 19]], [[1, 1], [1, 1]]]
    assert last.s.tolist() == [3, 1]


def test_a_state_reads_only_the_fields_it_has() -> None:
    def reading(name: str) -> Any:
        cell = tg.cell(arity=1, state={"h": 1, "c": 1})(lambda x, kids: (getattr(kids[0], name), x))
        return tg.unfold(cell, tg.chain(2), tg.ones((2, 1)))

    with pytest.raises(AttributeError, match="the state has no 'hh'; it has h, c"):
        reading("hh")
    assert reading("c").last().h.tolist() == [[1]]


def test_a_slot_beyond_the_arity_is_refused() -> None:
    for slot in (1, -1):
        cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids, slot=slot: kids[slot].h)
        with pytest.raises(StructureError, match=f"the cell reads slot {slot}, but its arity is 1"):
            tg.unfold(cell, tg.chain(1), tg.ones((1, 1)))


def test_a_cell_with_slots_that_asks_for_each_edge_is_told_what_to_read() -> None:
    for read, name in ((lambda x, kids: kids.each.h, "each"), (lambda x, kids: kids.sum(x), "edges to sum over")):
        cell = tg.cell(arity=1, state={"h": 1})(read)
        with pytest.raises(AttributeError, match=rf"kids has no '?{name}'?: with slots read kids\[k\]\.h, with"):
            tg.unfold(cell, tg.chain([2]), tg.ones((2, 1)))


def test_kids_are_gone_through_slot_by_slot() -> None:
    add = tg.cell(arity=2, state={"h": 1})(lambda x, kids: sum(kid.h for kid in kids) + x)
    tree = tg.Structure(3, [0, 1], [2, 2], [0, 1])
    assert tg.unfold(add, tree, tg.ones((3, 1))).roots().h.tolist() == [[3]]


def test_kids_have_a_length_and_states_unpack() -> None:
    seen = []

    @tg.cell(arity=2, state={"h": 1, "c": 2})
    def cell(x: tg.Tensor, kids: tg.Kids) -> Any:
        h, c = kids[1]
        seen.append((len(kids), h.shape, c.shape))
        return x, tg.concat([x, x], axis=1)

    tg.unfold(cell, tg.grid(2, 2), tg.ones((4, 1)))
    assert seen == [(2, (1, 1), (1, 2)), (2, (2, 1), (2, 2)), (2, (1, 1), (1, 2))]


@pytest.mark.parametrize("state", [{}, ["h"], 3])
def test_a_cell_names_its_states(state: Any) -> None:
    with pytest.raises(TypeError, match="state names the Tensors of a cell's state and their widths"):
        tg.cell(arity=1, state=state)(lambda x, kids: x)


@pytest.mark.parametrize("arity", [1.0, "2", -1, True])
def test_an_arity_is_a_number_of_slots(arity: Any) -> None:
    with pytest.raises(ValueError, match="arity is how many slots a cell reads, or None for a multiset, not"):
        tg.cell(arity=arity, state={"h": 1})(lambda x, kids: x)
    assert tg.cell(arity=np.int64(1), state={"h": 1})(lambda x, kids: x).arity == 1


def test_cells_of_several_kinds_have_one_state() -> None:
    cells = {0: tg.nn.RNNCell(3, 4), 1: tg.nn.LSTMCell(3, 4)}
    with pytest.raises(TypeError, match=r"kind 1: its cell's state has other fields than the first's, \('h',\)"):
        tg.unfold(cells, tg.Structure(2, [0], [1], [0], kind=[0, 1]), tg.ones((2, 3)))


def test_cells_made_anew_leave_no_cycles() -> None:
    def run() -> None:
        w = tg.ones((1, 1)).requires_grad_()
        cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h @ w + x)
        tg.unfold(cell, tg.chain(2), tg.ones((2, 1))).last().h.sum().backward()

    assert cycles_left_by(run) == 0


def test_what_is_a_cell_can_be_asked() -> None:
    assert isinstance(tg.cell(arity=1, state={"h": 1})(lambda x, kids: x), tg.Cell)
    assert isinstance(tg.nn.LSTMCell(1, 1), tg.Cell)
    assert not isinstance(tg.nn.Linear(1, 1), tg.Cell)


def test_an_initial_state_may_hold_arrays() -> None:
    cell = tg.cell(arity=1, state={"h": 2})(lambda x, kids: kids[0].h + x)
    start = cell.initial()._replace(h=tg.asarray(np.array([[1.0, 2.0]], "f4")).data)
    assert tg.unfold(cell, tg.chain([2]), tg.ones((2, 2)), initial=start).last().h.tolist() == [[3, 4]]


def test_kinds_whose_states_differ_in_width_are_refused() -> None:
    one, other = (tg.cell(arity=1, state={"h": width})(lambda x, kids: kids[0].h) for width in (2, 5))
    structure = tg.Structure(2, source=[0], target=[1], slot=[0], kind=[0, 1])
    with pytest.raises(ValueError, match=r"kind 1: h \(1, 5\), but of the first kind it is \(1, 2\)"):
        tg.unfold({0: one, 1: other}, structure, None)


def test_a_cell_shows_what_it_reads_and_what_its_state_is() -> None:
    @tg.cell(arity=2, state={"h": 3, "c": (2, 4)})
    def lstm(x: Any, kids: Any) -> Any:
        return kids[0]

    assert repr(lstm) == "<cell lstm: arity 2, state h 3, c 2x4>"


def test_cells_of_several_kinds_need_a_structure_with_kinds() -> None:
    cells = {kind: tg.cell(arity=1, state={"h": 2})(lambda x, kids: kids[0].h) for kind in (0, 1)}
    with pytest.raises(StructureError, match=r"cells for kinds \[0, 1\], and the structure has no kinds: give it"):
        tg.unfold(cells, tg.chain(3), None)
