"""Trees to networkx and nltk, and back."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from .tree import Label, Tree, TreeError, grow

if TYPE_CHECKING:
    import networkx
    import nltk


def to_networkx(tree: Tree) -> networkx.DiGraph:
    """The graph of a tree: nodes 0 to N - 1 in post-order with `label` and `word`, edges with `slot`.

    Edges go from child to parent, from what is computed first to what depends on it, as
    `tinygrad_rnn.from_networkx` reads them.

    >>> from trees import parse
    >>> to_networkx(parse("(3 (2 a) (4 b))")).edges(data="slot")
    OutEdgeDataView([(0, 2, 0), (1, 2, 1)])
    """
    import networkx

    labels, words, _ = tree.arrays()
    up, slots = tree.forest.columns[:2, tree.span].tolist()
    graph = networkx.DiGraph()
    nodes = enumerate(zip(labels, words))
    graph.add_nodes_from((node, {"label": label, "word": word}) for node, (label, word) in nodes)
    graph.add_edges_from((node, node + up[node], {"slot": slots[node]}) for node in range(len(labels) - 1))
    return graph


def from_networkx(graph: networkx.DiGraph) -> Tree:
    """The tree of a graph with edges child -> parent.

    Nodes may have `label` (default "") and `word`. Children stand in the order of `slot`, which counts from
    0; where no edge of a parent has one, in the order of the edges.

    Raises:
        TreeError: the graph is no tree; names the node.
    """
    if not graph.is_directed():
        raise TreeError("the graph is undirected; a tree needs edges from child to parent (networkx.DiGraph)")
    roots = [node for node, degree in graph.out_degree() if degree == 0]
    if len(roots) != 1:
        raise TreeError(f"a tree has one root, a node without an edge from it; the graph has {len(roots)}: {roots[:5]}")
    reached = 0

    def expand(node: Hashable) -> tuple[Label, str | None, Sequence[Hashable]]:
        nonlocal reached
        reached += 1
        if graph.out_degree(node) > 1:
            raise TreeError(f"node {node!r} has {graph.out_degree(node)} parents: {list(graph.successors(node))}")
        below = {child: data.get("slot", i) for i, (child, _, data) in enumerate(graph.in_edges(node, data=True))}
        if sorted(below.values()) != list(range(len(below))):
            expected = f"expected 0 to {len(below) - 1}"
            raise TreeError(f"the children of node {node!r} have the slots {[*below.values()]}, {expected}")
        data = graph.nodes[node]
        return data.get("label", ""), data.get("word"), sorted(below, key=below.__getitem__)

    tree = grow(roots[0], expand)
    if reached < len(graph):
        raise TreeError(f"{len(graph) - reached} nodes do not lead to the root {roots[0]!r}: they are on a cycle")
    return tree


def to_nltk(tree: Tree) -> nltk.Tree:
    """The tree as an `nltk.Tree`; labels become strings, and so do leaves without label beside others.

    Raises:
        ImportError: nltk is not installed.
    """
    make = _nltk().Tree
    built: list[tuple[Any, int]] = []
    for label, word, size in zip(*tree.arrays()):
        children: list[Any] = []
        rest = int(size) - 1
        while rest:
            child, count = built.pop()
            children.append(child)
            rest -= count
        if len(children) > 1:
            children = [child[0] if _is_bare(child) else child for child in reversed(children)]
        built.append((make(str(label), children if word is None else [word]), int(size)))
    return built[0][0]


def from_nltk(tree: nltk.Tree) -> Tree:
    """The Tree of an `nltk.Tree`; labels that are integers become ints, strings beside others leaves.

    Raises:
        ImportError: nltk is not installed. TreeError: a leaf is no string, or brackets can't hold it.
    """
    nested = _nltk().Tree

    def expand(node: Any) -> tuple[Label, str | None, Sequence[Any]]:
        if not isinstance(node, nested):
            return "", _word(node), ()
        if len(node) == 1 and not isinstance(node[0], nested):
            return node.label(), _word(node[0]), ()
        return node.label(), None, list(node)

    return grow(tree, expand)


def _is_bare(tree: Any) -> bool:
    return tree.label() == "" and len(tree) == 1 and isinstance(tree[0], str)


def _word(leaf: Any) -> str:
    if not isinstance(leaf, str):
        raise TreeError(f"the leaf {leaf!r} is of type {type(leaf).__name__}: make it a string first")
    return leaf


def _nltk() -> Any:
    try:
        import nltk
    except ImportError as error:
        raise ImportError("nltk is not installed: pip install nltk") from error
    return nltk
