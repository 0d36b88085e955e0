"""Structures: constructors, levels, and errors that name the vertex and the slot."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.graphs import batches, dags
from tinygrad_rnn import StructureError


def edges(s: tg.Structure) -> list[tuple[int, int, int]]:
    return sorted(zip(s.source.tolist(), s.target.tolist(), s.slot.tolist()))


def same(a: tg.Structure, b: tg.Structure) -> bool:
    return (a.size, a.examples, edges(a), a.example.tolist(), a.level.tolist()) == (
        (b.size, b.examples, edges(b), b.example.tolist(), b.level.tolist())
    )


# Constructors


def test_a_chain_stands_example_after_example() -> None:
    s = tg.chain([2, 0, 3])
    assert edges(s) == [(0, 1, 0), (2, 3, 0), (3, 4, 0)]
    assert (s.example.tolist(), s.examples, s.level.tolist()) == ([0, 0, 2, 2, 2], 3, [0, 1, 0, 1, 2])
    assert same(tg.chain(3), tg.chain([3]))
    assert same(tg.chain(np.int64(3)), tg.chain(np.array([3])))


@pytest.mark.parametrize("lengths", [0, [], [0], [0, 0]])
def test_a_chain_without_steps_is_empty(lengths: Any) -> None:
    s = tg.chain(lengths)
    assert (s.size, s.levels, s.examples) == (0, 0, 1 if lengths == 0 else len(lengths))


def test_a_grid_reads_from_above_in_slot_0_and_from_the_left_in_slot_1() -> None:
    s = tg.grid([2, 0, 1], [2, 3, 2])
    assert edges(s) == [(0, 1, 1), (0, 2, 0), (1, 3, 0), (2, 3, 1), (4, 5, 1)]
    assert (s.example.tolist(), s.examples) == ([0, 0, 0, 0, 2, 2], 3)
    assert s.level.tolist() == [0, 1, 1, 2, 0, 1]
    assert same(tg.grid(2, 3), tg.grid([2], [3]))
    assert tg.grid([], []).size == 0


@given(structures=st.lists(dags(), max_size=3))
def test_a_union_shifts_ids_and_examples(structures: list[tg.Structure]) -> None:
    s = tg.union(structures)
    assert (s.size, s.examples) == (sum(x.size for x in structures), sum(x.examples for x in structures))
    expected, vertices, examples = [], 0, []
    for i, x in enumerate(structures):
        expected += [(u + vertices, v + vertices, k) for u, v, k in edges(x)]
        examples += [i] * x.size
        vertices += x.size
    assert edges(s) == sorted(expected)
    assert s.example.tolist() == examples


def test_a_union_keeps_kinds_and_refuses_some_without() -> None:
    a, b = tg.Structure(1, kind=[3]), tg.Structure(2, kind=[0, 1])
    assert tg.union([a, b]).kind.tolist() == [3, 0, 1]
    with pytest.raises(StructureError, match="some of the structures have kinds and some have none"):
        tg.union([a, tg.chain(1)])


def test_a_reversed_chain_is_a_chain_from_the_end_and_reversed_again_the_chain() -> None:
    s = tg.chain([3, 0, 2])
    assert s.reversed().level.tolist() == [2, 1, 0, 1, 0]
    assert same(s.reversed().reversed(), s)


@given(s=batches(shared=False))
def test_reversing_a_tree_keeps_slots_and_twice_is_nothing(s: tg.Structure) -> None:
    r = s.reversed()
    assert edges(r) == sorted((v, u, k) for u, v, k in edges(s))
    assert edges(r.reversed()) == edges(s)


def test_reversing_a_graph_whose_vertex_fills_a_slot_twice_leaves_no_slots() -> None:
    s = tg.Structure(3, [0, 0], [1, 2], [0, 0])
    assert s.reversed().slot.tolist() == [-1, -1]
    assert tg.Structure(3, [0, 0], [1, 2], [0, 1]).reversed().slot.tolist() == [0, 1]


def test_arrays_are_immutable_copies() -> None:
    source = np.array([0])
    s = tg.Structure(2, source, [1])
    source[0] = 1
    assert s.source.tolist() == [0]
    for array in (s.source, s.target, s.slot, s.example, s.level, s.predecessors):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    with pytest.raises(AttributeError, match="a Structure is immutable: make another one, with another size"):
        s.size = 3


# networkx


def test_a_networkx_graph_in_its_order_of_nodes_with_slots_and_kinds() -> None:
    g = nx.DiGraph()
    g.add_node("root", kind=1)
    g.add_node("left", kind=0)
    g.add_node("right", kind=0)
    g.add_edge("right", "root", slot=0)
    g.add_edge("left", "root", slot=1)
    s = tg.from_networkx(g)
    assert (edges(s), s.kind.tolist()) == ([(1, 0, 1), (2, 0, 0)], [1, 0, 0])
    assert tg.from_networkx(g, slot="other").slot.tolist() == [-1, -1]
    del g.nodes["root"]["kind"]
    with pytest.raises(tg.StructureError, match="node 'root' has no kind, and others have one"):
        tg.from_networkx(g)


def test_a_networkx_tree_drawn_from_its_root_is_read_in_reverse() -> None:
    g = nx.DiGraph()
    g.add_edge("S", "NP", position=0)
    g.add_edge("S", "VP", position=1)
    s = tg.from_networkx(g, slot="position", reverse=True)
    assert (edges(s), s.level.tolist()) == ([(1, 0, 0), (2, 0, 1)], [1, 0, 0])


def test_a_multigraph_may_read_one_vertex_in_two_slots() -> None:
    g = nx.MultiDiGraph()
    g.add_edge(0, 1, slot=0)
    g.add_edge(0, 1, slot=1)
    assert edges(tg.from_networkx(g)) == [(0, 1, 0), (0, 1, 1)]


def test_graphs_without_edges_or_nodes() -> None:
    assert tg.from_networkx(nx.DiGraph()).size == 0
    g = nx.DiGraph()
    g.add_nodes_from("ab")
    assert tg.from_networkx(g).level.tolist() == [0, 0]


def test_one_predecessor_without_a_slot_fills_slot_0() -> None:
    assert tg.Structure(4, [0, 1, 2], [1, 3, 3]).slot.tolist() == [0, -1, -1]


# Levels


def longest_paths(s: tg.Structure) -> list[int]:
    longest = [0] * s.size
    for _ in range(s.size):
        for u, v, _slot in edges(s):
            longest[v] = max(longest[v], longest[u] + 1)
    return longest


@given(s=st.one_of(dags(), dags(shared=False)))
def test_a_vertex_stands_above_all_it_reads_and_no_graph_is_deeper_than_its_longest_path(s: tg.Structure) -> None:
    longest = longest_paths(s)
    assert s.levels == max(longest, default=-1) + 1
    assert (s.level[s.source] < s.level[s.target]).all()
    assert (s.level[s.predecessors == 0] == 0).all()
    if (np.bincount(s.source, minlength=s.size) > 1).any():
        assert s.level.tolist() == longest


def test_an_inner_vertex_of_a_tree_waits_for_the_one_that_reads_it() -> None:
    #        6
    #      5   \\
    #    4   3   2(reads 0, 1): it could be computed at level 1 and is at 2
    s = tg.Structure(8, [0, 1, 2, 5, 4, 3, 7], [2, 2, 6, 6, 5, 5, 4], [0, 1, 1, 0, 0, 1, 0])
    assert s.level.tolist() == [0, 0, 2, 0, 1, 2, 3, 0]


def test_a_path_of_100_000_vertices_is_built_at_the_default_recursion_limit() -> None:
    n = 100_000
    path = tg.from_networkx(nx.path_graph(n, create_using=nx.DiGraph))
    assert (path.levels, path.level[0], path.level[-1]) == (n, 0, n - 1)


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tg.Structure(3, [0, 1, 2], [1, 2, 0]), r"has a cycle: (\d) -> (\d \(slot 0\) -> ){2}\1 \(slot 0\); a"),
        (lambda: tg.Structure(2, [0, 1], [1, 1]), r"has a cycle: 1 -> 1 \(slot -1\); a structure must be acyclic"),
        (lambda: tg.Structure(4, [0, 1, 2, 2], [1, 2, 1, 3]), r"has a cycle: 2 -> 1 \(slot -1\) -> 2 \(slot 0\);"),
        (lambda: tg.Structure(2, [0, 2], [1, 1]), "vertex 1, slot -1: source 2 is no vertex; ids go from 0 to 1"),
        (lambda: tg.Structure(3, [0, 7], [2, 2], [0, 1]), "vertex 2, slot 1: source 7 is no vertex"),
        (lambda: tg.Structure(2, level=[0, -1]), "vertex 1: level -1; levels count from 0"),
        (
            lambda: tg.from_networkx(nx.DiGraph([("x", "z", {"slot": 0}), ("y", "z", {"slot": 0})])),
            "'z': slot 0 is filled by 'x' and by 'y'",
        ),
        (lambda: tg.Structure(2, [0], [-1]), "edge 0, slot -1: target -1 is no vertex; ids go from 0 to 1"),
        (lambda: tg.Structure(3, [0, 1], [2, 2], [1, 1]), "vertex 2: slot 1 is filled by 0 and by 1"),
        (lambda: tg.Structure(2, [0, 0], [1]), "target has 1 entries for 2"),
        (lambda: tg.Structure(2, [0], [1], [0, 1]), "slot has 2 entries for 1"),
        (lambda: tg.Structure(2, [0.5], [1]), "source must be integers of one axis, not float64"),
        (lambda: tg.Structure(2, [[0]], [[1]]), r"source must be integers of one axis, not int64 of shape \(1, 1\)"),
        (lambda: tg.Structure(2, example=[0]), "example has 1 entries for 2"),
        (lambda: tg.Structure(2, example=[0, 2], examples=2), r"example must lie in 0\.\.1"),
        (lambda: tg.Structure(1, example=[-1]), r"example must lie in 0\.\."),
        (lambda: tg.Structure(2, kind=[0]), "kind has 1 entries for 2"),
        (lambda: tg.Structure(-1), "a structure can't have -1 vertices"),
        (lambda: tg.chain([2, -1]), "a chain can't have the length -1"),
        (lambda: tg.chain([1.5]), "lengths must be integers of one axis, not float64"),
        (lambda: tg.grid([2], [-1]), "a grid can't have a negative height or width"),
        (lambda: tg.grid([2], [1, 1]), "widths has 2 entries for 1"),
        (lambda: tg.from_networkx(nx.Graph([(0, 1)])), "the graph is undirected; a structure needs directed edges"),
        (lambda: tg.from_networkx(nx.DiGraph([("a", "b", {"slot": 2}), ("b", "a")])),
         r"has a cycle: 'a' -> 'b' \(slot 2\) -> 'a' \(slot -1\);"),
        (lambda: tg.Structure(2, [0], [1], slot=[-7]), "vertex 1: slot -7; slots count from 0, -1 names none"),
        (lambda: tg.Structure(2, [0], [1], level=[0, 0]), "vertex 1: level 0 is not above that of what it reads"),
        (lambda: tg.from_networkx(nx.DiGraph([(0, 1, {"slot": "l"})])), "edge 0 -> 1: slot 'l' is no integer"),
        (lambda: tg.grid([-1], [2]), "a grid can't have a negative height or width"),
        (lambda: tg.grid([2], [1.5]), "widths must be integers of one axis, not float64"),
        (lambda: tg.Structure(2, kind=["leaf", "inner"]), "kind must be integers of one axis, not <U5"),
        (lambda: tg.Structure(0, [0], [0]), "edge 0, slot -1: target 0 is no vertex"),
    ],
)  # fmt: skip
def test_an_error_names_the_vertex_and_the_slot(make: Any, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        make()


def test_a_long_cycle_is_shown_in_short() -> None:
    n = 100_000
    with pytest.raises(
        StructureError, match=r"has a cycle: \d+ -> (\d+ \(slot 0\) -> ){4}\.\.\.( -> \d+ \(slot 0\)){5}; a"
    ):
        tg.Structure(n, np.arange(n), np.roll(np.arange(n), -1))


def test_a_cycle_is_found_behind_a_path_that_leads_to_it() -> None:
    with pytest.raises(StructureError, match=r"has a cycle: 5 -> 4 \(slot -1\) -> 5 \(slot 0\);"):
        tg.Structure(7, [0, 1, 2, 3, 4, 5, 5], [1, 2, 3, 4, 5, 4, 6])


def test_repr_counts() -> None:
    assert repr(tg.chain([2, 1])) == "Structure(3 vertices, 1 edge, 2 levels, 2 examples)"
    assert repr(tg.chain(1)) == "Structure(1 vertex, 0 edges, 1 level, 1 example)"


def test_a_reversed_graph_keeps_the_slots_of_all_but_those_who_would_read_one_twice() -> None:
    s = tg.Structure(6, [0, 0, 3, 4], [1, 2, 5, 5], [0, 0, 0, 1]).reversed()
    assert dict(zip(s.source.tolist(), s.slot.tolist(), strict=True)) == {1: -1, 2: -1, 5: 1}
    assert s.slot.tolist() == [-1, -1, 0, 1]


def test_an_empty_graph_is_an_example_and_a_union_takes_what_gives_structures() -> None:
    graphs = [nx.DiGraph([("a", "b")]), nx.DiGraph(), nx.DiGraph([("a", "b")])]
    joined = tg.union(tg.from_networkx(graph) for graph in graphs)  # type: ignore[arg-type]
    assert joined.examples == 3
    assert joined.example.tolist() == [0, 0, 2, 2]
