"""networkx and nltk."""

from __future__ import annotations

import sys
from typing import Any

import networkx
import nltk
import pytest
from hypothesis import given

from tests.trees import strategies
from tinygrad_rnn import structure
from trees import Tree, TreeError, batch, from_networkx, from_nltk, parse, to_networkx, to_nltk


@given(strategies.trees)
def test_networkx_gives_the_tree_back_whatever_its_nodes_are_called(tree: Tree) -> None:
    graph = to_networkx(tree)
    assert from_networkx(graph) == tree
    names = {node: f"n{-node}" for node in graph}
    turned = networkx.relabel_nodes(graph, names)
    shuffled = networkx.DiGraph()
    shuffled.add_nodes_from(reversed(list(turned.nodes(data=True))))
    shuffled.add_edges_from(reversed(list(turned.edges(data=True))))
    assert from_networkx(shuffled) == tree


@given(strategies.trees)
def test_a_subtree_makes_a_graph_of_its_own(tree: Tree) -> None:
    for node in tree.subtrees():
        assert from_networkx(to_networkx(node)) == node


def test_edges_point_from_children_to_parents_as_the_engine_reads_them() -> None:
    tree = parse("(3 (2 a) (4 (1 b) (0 c)))")
    graph = to_networkx(tree)
    assert sorted(graph.edges(data="slot")) == [(0, 4, 0), (1, 3, 0), (2, 3, 1), (3, 4, 1)]
    assert graph.nodes[1] == {"label": 1, "word": "b"}
    ours, theirs = batch([tree])[0], structure.from_networkx(graph, slot="slot")
    for name in ("source", "target", "slot", "level"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()


def test_a_graph_without_attributes_keeps_the_order_of_its_edges() -> None:
    graph = networkx.DiGraph([("b", "root"), ("a", "root"), ("c", "a")])
    networkx.set_node_attributes(graph, {name: name for name in graph}, "label")
    assert str(from_networkx(graph)) == "(root (b) (a (c)))"


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], r"a tree has one root, .*; the graph has 0: \[\]"),
        ([(1, 3, 0), (2, 4, 0)], r"the graph has 2: \[3, 4\]"),
        ([(1, 2, 0), (1, 3, 0), (2, 4, 0), (3, 4, 1)], r"node 1 has 2 parents: \[2, 3\]"),
        ([(1, 3, 0), (2, 3, 2)], r"the children of node 3 have the slots \[0, 2\], expected 0 to 1"),
        ([(1, 3, 1), (2, 3, 1)], r"the children of node 3 have the slots \[1, 1\], expected 0 to 1"),
        ([(1, 2, 0), (3, 4, 0), (4, 3, 0)], "2 nodes do not lead to the root 2: they are on a cycle"),
    ],
)
def test_a_graph_that_is_no_tree_is_refused(edges: list[tuple[int, int, int]], message: str) -> None:
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from(edges, weight="slot")
    with pytest.raises(TreeError, match=message):
        from_networkx(graph)


@given(strategies.trees)
def test_nltk_gives_the_tree_back(tree: Tree) -> None:
    assert from_nltk(to_nltk(tree)) == tree


def nested(tree: Any) -> Any:
    return (tree.label(), [nested(child) for child in tree]) if isinstance(tree, nltk.Tree) else tree


@pytest.mark.parametrize(
    "text",
    ["( (S (NP (DT the) (NN cat)) (VP (V sat)) (. .)))", "(S (NP the/DT cat/NN) sat/VBD)", "(3 (2 a) (X))", "(A)"],
)
def test_nltk_reads_the_same_text_as_the_same_tree(text: str) -> None:
    theirs = nltk.Tree.fromstring(text)
    assert nested(to_nltk(parse(text))) == nested(theirs)
    assert from_nltk(theirs) == parse(text)
    assert parse(str(theirs)) == parse(text)


def test_a_leaf_of_nltk_that_is_no_token_is_refused() -> None:
    with pytest.raises(TreeError, match=r"the leaf \('the', 'DT'\) is of type tuple: make it a string"):
        from_nltk(nltk.Tree("NP", [("the", "DT"), "cat"]))
    with pytest.raises(TreeError, match="see trees.escape"):
        from_nltk(nltk.Tree("NP", ["(", "cat"]))


def test_a_missing_nltk_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(ImportError, match="pip install nltk"):
        to_nltk(parse("(A a)"))


def test_an_undirected_graph_is_no_tree() -> None:
    with pytest.raises(TreeError, match="the graph is undirected; a tree needs edges from child to parent"):
        from_networkx(networkx.Graph([(1, 2)]))  # type: ignore[arg-type]
