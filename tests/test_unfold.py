"""Unfolding, by what must not change: recursion, loops, unions, numbers, orders, and what depends on what."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.cells import Bag, Binary, C, H, State, Unary, agree, by_recursion, gradients, leaf, loss, values
from tests.graphs import batches, dags, predecessors, renumbered
from tinygrad_rnn import StructureError

few = settings(max_examples=25)


# Level by level is vertex by vertex


@few
@given(s=batches(), make=st.sampled_from([Binary, Bag]), data=st.data())
def test_levels_are_recursion_vertex_by_vertex(s: tg.Structure, make: Any, data: st.DataObject) -> None:
    """With empty slots, learned initial states and partial inputs; in values and gradients."""
    cell, x = make(), leaf(s.size, H)
    some = data.draw(st.sampled_from(["all", "some", "none"]))
    ids = np.flatnonzero(np.asarray(data.draw(st.lists(st.booleans(), min_size=s.size, max_size=s.size)), bool))
    ids = np.random.default_rng(0).permutation(ids)
    ids = {"all": np.arange(s.size), "some": ids, "none": ids[:0]}[some]
    inputs: Any = x if some == "all" else (ids, tg.gather_rows(x, tg.tensor(ids, dtype="int64")))
    rows = {int(v): x[int(v) : int(v) + 1] for v in ids}
    run = tg.unfold(cell, s, inputs)
    agree(run.all(), by_recursion(cell, s, rows, H), [x, *cell.weights])


@few
@given(s=batches(kinds=3))
def test_kinds_choose_among_cells_each_with_its_own_initial_state(s: tg.Structure) -> None:
    cells, x = {0: Binary(0), 1: Binary(1), 2: Binary(2)}, leaf(s.size, H)
    rows = {v: x[v : v + 1] for v in range(s.size)}
    weights = [w for cell in cells.values() for w in cell.weights]
    agree(tg.unfold(cells, s, x).all(), by_recursion(cells, s, rows, H), [x, *weights])


@few
@given(s=batches(kinds=2), data=st.data())
def test_kinds_may_mix_slots_and_multisets_that_name_no_slots(s: tg.Structure, data: st.DataObject) -> None:
    cells, x = {0: Binary(0), 1: Bag(1)}, leaf(s.size, H)
    unnamed = np.where(s.kind[s.target] == 1, -1, s.slot)
    ours = tg.Structure(s.size, s.source, s.target, unnamed, s.example, s.kind, s.examples)
    ids = np.flatnonzero(np.asarray(data.draw(st.lists(st.booleans(), min_size=s.size, max_size=s.size)), bool))
    rows = {v: x[v : v + 1] for v in ids.tolist()}
    run = tg.unfold(cells, ours, (ids, tg.gather_rows(x, tg.tensor(ids, dtype="int64"))))
    agree(run.all(), by_recursion(cells, s, rows, H), [x, *cells[0].weights, *cells[1].weights])


@few
@given(s=batches(), make=st.sampled_from([Binary, Bag]), several=st.booleans())
def test_an_initial_state_given_per_example_and_a_dense_context(s: tg.Structure, make: Any, several: bool) -> None:
    cell, x, b = make(), leaf(s.size, H), s.examples
    initial = State(leaf(b if several else 1, H), leaf(b if several else 1, C))
    context = leaf(b, H, seed=2) if make is Binary else None
    rows = {v: x[v : v + 1] for v in range(s.size)}
    ours = tg.unfold(cell, s, x, context=context, initial=initial).all()
    theirs = by_recursion(cell, s, rows, H, context, initial)
    agree(ours, theirs, [x, *initial, *cell.weights, *([context] if context is not None else [])])


@pytest.mark.parametrize("make", [Binary, Bag])
def test_a_slot_that_some_vertices_of_a_level_fill_reads_each_examples_initial_state_for_the_rest(make: Any) -> None:
    two, one, none = tg.Structure(3, [0, 0], [1, 2], [0, 0]), tg.Structure(3, [0, 1], [2, 2], [0, 1]), tg.Structure(1)
    s = tg.union([two, none, one, two])
    cell, x, initial = make(), leaf(s.size, H), State(leaf(4, H), leaf(4, C))
    rows = {v: x[v : v + 1] for v in range(s.size)}
    theirs = by_recursion(cell, s, rows, H, None, initial)
    agree(tg.unfold(cell, s, x, initial=initial).all(), theirs, [x, *initial])


def test_without_any_input_a_cell_that_needs_none_unfolds() -> None:
    @tg.cell(arity=1, state={"h": 1})
    def count(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return kids[0].h + 1.0

    for inputs in (None, ([], tg.zeros((0, 4)))):
        assert tg.unfold(count, tg.chain([3, 1]), inputs).all().h.tolist() == [[1], [2], [3], [1]]


def test_what_has_no_input_is_never_multiplied() -> None:
    widths = []

    @tg.cell(arity=2, state={"h": 2})
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        widths.append([v.data.strides[0] == 0 for v in (x, kids[0].h, kids[1].h)])
        return tg.linear(x, tg.ones((2, 2))) + kids[0].h @ tg.ones((2, 2)) + kids[1].h

    tree = tg.Structure(6, [0, 1, 3, 4], [2, 2, 5, 5], [0, 1, 0, 1])
    tg.unfold(cell, tree, ([0, 1, 3, 4], tg.ones((4, 2))))
    assert widths == [[False, True, True], [True, False, False]]


# A chain is a loop


@few
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_a_chain_is_a_python_loop(lengths: list[int]) -> None:
    cell, x = Unary(), leaf(sum(lengths), H)
    states, finals, at = [], [], 0
    for steps in lengths:
        state = cell.initial()
        for t in range(at, at + steps):
            state = cell(x[t : t + 1], [state])
            states.append(state)
        at += steps
        finals.append(state)
    run = tg.unfold(cell, tg.chain(lengths), x)
    last = State(*(tg.concat([s[i] for s in finals]) for i in range(2)))
    agree(run.last(), last, [x, *cell.weights])
    if states:
        agree(run.all(), State(*(tg.concat([s[i] for s in states]) for i in range(2))), [x, *cell.weights])


@few
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=4))
def test_a_reversed_chain_runs_from_the_end(lengths: list[int]) -> None:
    cell, x, s = Unary(), leaf(sum(lengths), H), tg.chain(lengths)
    starts = np.cumsum(lengths) - lengths
    back = np.concatenate([*(np.arange(a, a + n)[::-1] for a, n in zip(starts, lengths)), np.zeros(0, int)]).astype(int)
    index = tg.tensor(back, dtype="int64")
    forward = tg.unfold(cell, s, tg.gather_rows(x, index)).all()
    agree(
        tg.unfold(cell, s.reversed(), x).all(),
        State(*(tg.gather_rows(value, index) for value in forward)),
        [x, *cell.weights],
    )
    agree(tg.unfold(cell, s.reversed().reversed(), x).all(), tg.unfold(cell, s, x).all(), [x, *cell.weights])


def test_a_tree_of_unary_vertices_is_a_chain() -> None:
    cell, x = Unary(), leaf(5, H)
    tree = tg.Structure(5, [4, 3, 2, 1], [3, 2, 1, 0], [0, 0, 0, 0])
    index = tg.tensor([4, 3, 2, 1, 0])
    chained = tg.unfold(cell, tg.chain(5), tg.gather_rows(x, index)).all()
    agree(tg.unfold(cell, tree, x).all(), State(*(tg.gather_rows(v, index) for v in chained)), [x, *cell.weights])


def test_a_binary_cell_with_one_filled_slot_folds_a_list_from_the_left() -> None:
    """A left-branching tree whose first leaf is h_0 is an RNN: leaves in slot 1, what was read so far in slot 0."""
    w = leaf(H, H)
    tree_cell = tg.cell(arity=2, state={"h": H})(lambda x, kids: (kids[0].h @ w + kids[1].h + x).tanh())
    leaf_cell = tg.cell(arity=2, state={"h": H})(lambda x, kids: x)
    chain_cell = tg.cell(arity=1, state={"h": H})(lambda x, kids: (kids[0].h @ w + x).tanh())
    x = leaf(3, H)
    tree = tg.Structure(6, [0, 1, 3, 2, 4], [3, 4, 4, 5, 5], [1, 1, 0, 1, 0], kind=[0, 0, 0, 1, 1, 1])
    ours = tg.unfold({0: leaf_cell, 1: tree_cell}, tree, ([0, 1, 2], x)).roots()
    theirs = tg.unfold(chain_cell, tg.chain(3), x).last()
    np.testing.assert_allclose(ours.h.numpy(), theirs.h.numpy(), rtol=1e-14)
    for a, b in zip(gradients(ours.h.sum(), [x, w]), gradients(theirs.h.sum(), [x, w])):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# Batches, numbers, orders


@few
@given(structures=st.lists(dags(), min_size=1, max_size=3), make=st.sampled_from([Binary, Bag]))
def test_a_union_unfolds_to_the_states_of_its_parts_one_behind_the_other(structures: Any, make: Any) -> None:
    cell, x = make(), leaf(sum(s.size for s in structures), H)
    pieces = tg.split(x, [s.size for s in structures])
    parts = [tg.unfold(cell, s, piece).all() for s, piece in zip(structures, pieces)]
    joined = State(*(tg.concat([p[i] for p in parts]) for i in range(2)))
    agree(tg.unfold(cell, tg.union(structures), x).all(), joined, [x, *cell.weights])


@few
@given(s=batches(kinds=2), data=st.data())
def test_renumbering_the_vertices_changes_nothing(s: tg.Structure, data: st.DataObject) -> None:
    cells, x = {0: Binary(0), 1: Binary(1)}, leaf(s.size, H)
    new = np.asarray(data.draw(st.permutations(range(s.size))), np.int64)
    old = tg.tensor(np.argsort(new), dtype="int64")
    moved = tg.unfold(cells, renumbered(s, new), tg.gather_rows(x, old))
    there = State(*(tg.gather_rows(v, old) for v in tg.unfold(cells, s, x).all()))
    agree(moved.all(), there, [x, *cells[0].weights, *cells[1].weights])


def test_the_order_of_edges_changes_nothing() -> None:
    cell, x, bag = Binary(), leaf(4, H), Bag()
    edges = np.array([[0, 2, 0], [1, 2, 1], [2, 3, 0], [0, 3, 1]])
    first = tg.Structure(4, *edges.T)
    second = tg.Structure(4, *edges[::-1].T)
    for c in (cell, bag):
        agree(tg.unfold(c, first, x).all(), tg.unfold(c, second, x).all(), [x, *c.weights])


def test_exchanging_children_changes_slots_and_leaves_a_multiset_as_it_is() -> None:
    x = leaf(3, H)
    one, other = tg.Structure(3, [0, 1], [2, 2], [0, 1]), tg.Structure(3, [0, 1], [2, 2], [1, 0])
    bag, binary = Bag(), Binary()
    agree(tg.unfold(bag, one, x).all(), tg.unfold(bag, other, x).all(), [x, *bag.weights])
    roots = [tg.unfold(binary, s, x).roots().h.numpy() for s in (one, other)]
    assert np.abs(roots[0] - roots[1]).max() > 1e-3


def test_a_multiset_needs_no_slots() -> None:
    x, bag = leaf(5, H), Bag()
    slots = tg.Structure(5, [0, 1, 2, 3], [3, 3, 3, 4], [0, 1, 2, 0])
    none = tg.Structure(5, [0, 1, 2, 3], [3, 3, 3, 4])
    agree(tg.unfold(bag, slots, x).all(), tg.unfold(bag, none, x).all(), [x, *bag.weights])


# What depends on what


@few
@given(s=batches(), make=st.sampled_from([Binary, Bag]), data=st.data())
def test_a_gradient_is_exactly_zero_outside_the_cone_of_ancestors(
    s: tg.Structure, make: Any, data: st.DataObject
) -> None:
    if not s.size:
        return
    cell, x = make(), leaf(s.size, H)
    v = data.draw(st.integers(0, s.size - 1))
    cone, stack, below = {v}, [v], predecessors(s)
    while stack:
        for u in below[stack.pop()].values():
            if u not in cone:
                cone.add(u)
                stack.append(u)
    tg.unfold(cell, s, x).rows([v]).h.sum().backward()
    touched = np.abs(x.grad.numpy()).max(axis=1) > 0
    assert set(np.flatnonzero(touched)) <= cone
    assert touched[v]
    if make is Bag:
        assert set(np.flatnonzero(touched)) == cone


# Results


def test_results_by_public_id() -> None:
    s = tg.Structure(4, [3, 1], [1, 0], [0, 0], examples=1)  # 3 -> 1 -> 0, and 2 alone
    total = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x)
    run = tg.unfold(total, s, tg.tensor([[1.0], [10.0], [100.0], [1000.0]]))
    assert run.all().h.tolist() == [[1011], [1010], [100], [1000]]
    assert run.rows([2, 0, 2]).h.tolist() == [[100], [1011], [100]]
    assert run.rows(np.array([3])).h.tolist() == [[1000]]
    assert run.rows([]).h.shape == (0, 1)
    assert run.roots().h.tolist() == [[1011], [100]]
    for wrong in (4, -1):
        with pytest.raises(StructureError, match=f"vertex {wrong} does not exist; ids go from 0 to 3"):
            run.rows([0, wrong])
    for no_ids in ([True, False, False, True], [1.0]):
        with pytest.raises(StructureError, match="ids must be integers of one axis"):
            run.rows(no_ids)  # type: ignore[arg-type]
    with pytest.raises(
        StructureError, match=r"example 0 has 2 final vertices; last\(\) needs one, roots\(\) gives all"
    ):
        run.last()


@pytest.mark.parametrize("several", [False, True])
def test_the_last_state_of_an_empty_example_is_its_initial_one(several: bool) -> None:
    cell, x = Unary(), leaf(3, H)
    initial = State(leaf(3, H), leaf(3, C)) if several else State(leaf(1, H), leaf(1, C))
    last = tg.unfold(cell, tg.chain([2, 0, 1]), x, initial=initial).last()
    np.testing.assert_array_equal(last.h[1].numpy(), initial.h[1 if several else 0].numpy())
    last.h[1].sum().backward()
    assert np.abs(initial.h.grad.numpy()).sum() == H
    assert tg.unfold(cell, tg.chain([0, 0]), leaf(0, H)).last().h.shape == (2, H)
    assert tg.unfold(cell, tg.chain([]), leaf(0, H)).last().h.shape == (0, H)


def test_an_unfolding_says_what_it_is_of() -> None:
    cells = {0: tg.nn.LSTMCell(2, 3), 1: tg.nn.LSTMCell(2, 3)}
    structure = tg.Structure(3, source=[0, 1], target=[1, 2], slot=[0, 0], kind=[0, 1, 0])
    shown = repr(tg.unfold(cells, structure, tg.ones((3, 2))))
    assert shown == "<Unfolding of LSTMCell: 3 vertices in 3 levels, state (h, c)>"
    assert repr(tg.Unfolding(tg.nn.RNNCell(2, 3))) == "<Unfolding of RNNCell: 0 vertices in 0 levels, state (h)>"


def test_an_empty_structure_unfolds_to_nothing() -> None:
    for s in (tg.Structure(0), tg.chain([0, 0]), tg.union([]), tg.grid(0, 3)):
        run = tg.unfold(Binary(), s, leaf(0, H))
        assert (run.all().h.shape, run.roots().c.shape, run.size, run.levels) == ((0, H), (0, C), 0, 0)


# Higher derivatives, dtypes


TREE = tg.union([tg.Structure(4, [0, 1, 1, 2], [2, 2, 3, 3], [0, 1, 0, 1]), tg.Structure(1)])


@pytest.mark.parametrize(
    ("make", "s"), [(Unary, tg.chain([3, 2])), (Binary, TREE), (Bag, TREE), (Binary, tg.grid(2, 3))]
)
def test_unfoldings_pass_gradcheck_to_order_2(make: Any, s: tg.Structure) -> None:
    cell = make()
    names = ["w", "u", "b", "h0"]

    def unfolded(x: tg.Tensor, *weights: tg.Tensor) -> tg.Tensor:
        for name, w in zip(names, weights):
            setattr(cell, name, w)
        return loss(tg.unfold(cell, s, ([0, 1, 3], x)).all())

    tg.gradcheck(unfolded, [leaf(3, H), *(getattr(cell, name) for name in names)])


def test_a_checkpointed_unfolding_has_the_same_gradients() -> None:
    cell, x, s = Binary(), leaf(4, H), tg.grid(2, 2)
    plain = gradients(loss(tg.unfold(cell, s, x).all()), [x, *cell.weights])
    again = gradients(loss(tg.checkpoint(lambda v: tg.unfold(cell, s, v).all(), x)), [x, *cell.weights])
    for a, b in zip(plain, again):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


def test_a_checkpoint_in_a_cell_draws_the_masks_that_the_cell_drew() -> None:
    def cell(checkpointed: bool) -> Any:
        def body(a: tg.Tensor) -> tg.Tensor:
            return a * a * tg.random.bernoulli(a.shape, 0.5)

        @tg.cell(arity=1, state={"h": H})
        def masked(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
            return (tg.checkpoint(body, x) if checkpointed else body(x)) + kids[0].h

        return masked

    found = []
    for checkpointed in (False, True):
        x = tg.ones((6, H)).requires_grad_()
        tg.manual_seed(1)
        tg.unfold(cell(checkpointed), tg.chain([4, 2]), x).all().h.sum().backward()
        found.append(x.grad.tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_of_the_inputs_is_that_of_states_and_gradients(dtype: str) -> None:
    w = tg.asarray(values(H, H)).astype(dtype).requires_grad_()

    @tg.cell(arity=None, state={"h": H})
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return ((kids.sum(kids.softmax(kids.each.h)) + kids.mean(kids.each.h) + kids.max(kids.each.h)) @ w + x).tanh()

    x = tg.ones((4, H), dtype=dtype).requires_grad_()
    run = tg.unfold(cell, tg.grid(2, 2), (np.arange(4), x), keep=("state_grad", "parameter_grad"))
    states = run.all().h
    states.sum().backward()
    for t in (states, run.last().h, x.grad, w.grad, run.state_grad.h, run.parameter_grad(w)):
        assert t.dtype == np.dtype(dtype)


def test_each_kinds_initial_state_follows_the_dtype_of_the_inputs() -> None:
    def kept(dtype: str) -> Any:
        cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h)
        cell.initial = lambda: cell.State(tg.ones((1, 1), dtype=dtype))  # type: ignore[method-assign]
        return cell

    first = kept("float64")
    other = kept("float32")
    other.State = first.State
    run = tg.unfold({0: first, 1: other}, tg.Structure(2, kind=[0, 1]), tg.ones((2, 1), dtype="float64"))
    assert [block.h.dtype.name for block in run.blocks] == ["float64"] * len(run.blocks)


def test_integers_as_inputs_reach_the_cell_as_they_are() -> None:
    table = tg.asarray(values(5, H)).requires_grad_()
    embed = tg.cell(arity=1, state={"h": H})(lambda x, kids: tg.gather_rows(table, x[:, 0]) + kids[0].h)
    tg.unfold(embed, tg.chain([2, 1]), tg.tensor([[3], [0], [3]])).last().h.sum().backward()
    assert table.grad[:, 0].tolist() == [1, 0, 0, 2, 0]


# Random ops in a cell


def random_cell(seen: list[tg.Tensor], sites: int = 2) -> Any:
    """Draws in each call one mask of two numbers a vertex, and more at a second site."""

    @tg.cell(arity=1, state={"h": 1})
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        mask = tg.random.bernoulli((len(x), 2), 0.5)
        seen.append(mask)
        noise = tg.random.normal((len(x), 1)) if sites > 1 else 0.0
        return kids[0].h * mask[:, :1] + noise + x

    return cell


def masks(structure: tg.Structure, sites: int = 2, **options: Any) -> list[Any]:
    tg.manual_seed(11)
    seen: list[tg.Tensor] = []
    tg.unfold(random_cell(seen, sites), structure, tg.ones((structure.size, 1)), **options)
    return tg.concat(seen).tolist()


def test_a_seed_gives_the_same_masks_however_the_vertices_fall_into_calls() -> None:
    s = tg.chain([4, 2, 1])
    expected = masks(s)
    assert 2 < np.sum(expected) < 12
    assert masks(s) == expected
    assert masks(tg.chain([1] * 7)) == expected  # one call
    assert masks(tg.chain([7])) == expected  # seven
    assert masks(s, sites=1) == expected  # each site has a stream of its own
    assert masks(s, keep=("state_grad", "parameter_grad")) == expected
    assert masks(tg.chain([9, 3, 1]))[:7] == expected  # vertices to come change none before them
    with tg.no_grad():
        assert masks(s) == expected


def test_an_unfolding_by_hand_draws_the_masks_of_one_by_structure() -> None:
    x = tg.ones((6, 1))
    tg.manual_seed(11)
    whole = tg.unfold(random_cell([]), tg.chain([3, 2, 1]), x).all().h
    tg.manual_seed(11)
    run = tg.Unfolding(random_cell([]))
    run.advance(x[:3], [[-1]] * 3)
    run.advance(x[:2], [[0], [1]])
    run.advance(x[:1], [[3]])
    assert run.rows([0, 3, 5, 1, 4, 2]).h.tolist() == whole.tolist()


def test_an_unfolding_takes_one_number_from_the_shared_generator_whatever_its_size() -> None:
    after = []
    for s in (tg.chain([2]), tg.chain([30, 4]), tg.chain([])):
        masks(s) if s.size else (tg.manual_seed(11), tg.unfold(Unary(), s, leaf(0, H)))
        after.append(tg.random.uniform(3).tolist())
    assert after[0] == after[1] == after[2]
    first, second = [], []
    for seen in (first, second):
        tg.unfold(random_cell(seen), tg.chain([20]), tg.ones((20, 1)))
    assert tg.concat(first).tolist() != tg.concat(second).tolist()  # the next unfolding draws others


# Depth


def spine(n: int) -> tg.Structure:
    """A left-branching tree of n leaves: vertex n + i reads what was read so far, and leaf i + 1."""
    inner = np.arange(n, 2 * n - 1)
    before = np.concatenate([[0], inner[:-1]])
    return tg.Structure(
        2 * n - 1, np.concatenate([before, np.arange(1, n)]), np.tile(inner, 2), np.repeat([0, 1], n - 1)
    )


@pytest.mark.parametrize(
    ("make", "build", "depth"), [(Unary, tg.chain, 20_000), (Binary, spine, 3_000), (Bag, spine, 1_500)]
)
def test_deep_unfoldings_neither_recurse_nor_cost_more_than_their_vertices(
    make: Any, build: Any, depth: int, eagerly: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Counted: nodes, what they hold, how often and how much the backward pass puts together."""
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(1000)  # the default
    assembled: list[int] = []
    original = tg.backend.Backend.assemble

    def counting(self: Any, keys: Any, values: Any, shape: tuple[int, ...]) -> Any:
        assembled.append(int(np.prod(shape)))
        return original(self, keys, values, shape)

    monkeypatch.setattr(tg.backend.Backend, "assemble", counting)

    def costs(n: int) -> np.ndarray:
        cell, s = make(), build(n)
        x = leaf(s.size, H)
        assembled.clear()
        before = tg.tape.next_serial()
        out = loss(tg.unfold(cell, s, x).roots())
        made = tg.tape.next_serial() - before
        held = sum(int(np.prod(node.shape or ())) for node in tg.tape.reachable([out.node]))
        out.backward()
        assert x.grad.shape == (s.size, H)
        return np.array([made, held, len(assembled) + 1, sum(assembled) + 1])

    assert (costs(depth) <= 2.05 * costs(depth // 2)).all()
