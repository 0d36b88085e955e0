from __future__ import annotations

from typing import Any

import networkx
import numpy as np
import pytest

import tinygrad_rnn as tg
import trees
import viz
from viz import engine
from viz.picture import DEEP

from .models import KOREAN, WORDS


def test_the_picture_is_the_tree_with_words_below_its_leaves() -> None:
    tree = trees.parse(WORDS)
    graph = viz.tree(tree).to_networkx()
    assert networkx.is_arborescence(graph)
    nodes = {i: data["id"] for i, data in graph.nodes(data=True) if data["kind"] == "label"}
    assert {nodes[i]: graph.nodes[i]["label"] for i in nodes} == dict(enumerate(map(str, tree.arrays().labels)))
    words = {data["id"]: data["label"] for _, data in graph.nodes(data=True) if data["kind"] == "word"}
    assert [words[i] for i in sorted(words)] == tree.words()
    branches = {nodes[v]: (nodes[u], slot) for u, v, slot in graph.edges(data="slot") if v in nodes}
    assert branches[8] == (9, 1)
    assert branches[7] == (9, 0)


def test_words_stand_in_a_row_in_the_order_of_the_sentence() -> None:
    picture = viz.tree(trees.parse(WORDS))
    row = next(line for line in picture.dot.splitlines() if "rank=same" in line)
    ids = [int(i) for i in row.partition("invis]; ")[2].rstrip(" }").split(" -> ")]
    assert [picture.vertices[i].label for i in ids] == ["The", "movie", "was", "very", "good", "."]


def test_right_and_wrong_predictions_differ_in_colour_shape_and_text() -> None:
    picture = viz.tree(trees.parse("(3 (2 It) (4 works))"), predictions=np.array([2, 3, 3]))
    kinds = {v.facts["id"]: (v.kind, v.label) for v in picture.vertices if v.kind != "word"}
    assert kinds == {0: ("right", "2"), 1: ("wrong", "3 ≠ 4"), 2: ("right", "3")}
    styles = [line for line in picture.dot.splitlines() if "#d55e00" in line]
    assert len(styles) == 1
    assert "shape=box" in styles[0]
    assert picture.dot.count("shape=ellipse") == 2


def test_a_node_without_a_prediction_is_neither_right_nor_wrong() -> None:
    picture = viz.tree(trees.parse("(S (A a) (B b))"), predictions=["A", None, "NP"])
    assert [v.kind for v in picture.vertices if v.kind != "word"] == ["wrong", "right", "label"]


def test_depth_leaves_dots_where_the_rest_would_be() -> None:
    picture = viz.tree(trees.parse("(3 (2 (2 a) (2 b)) (4 c))"), depth=1)
    assert [v.label for v in picture.vertices] == ["3", "2", "…", "…", "4", "c"]
    assert networkx.is_arborescence(picture.to_networkx())
    with pytest.raises(ValueError, match=r"depth=-1: the root is at depth 0, so give 0 or more"):
        viz.tree(trees.parse("(1 a)"), depth=-1)


def test_too_few_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2 predictions for 3 nodes; give one per node in post-order"):
        viz.tree(trees.parse("(3 (2 a) (4 b))"), predictions=[1, 2])


def test_words_are_shown_as_people_write_them() -> None:
    assert 'label="("' in viz.tree(trees.parse("(2 -LRB-)")).dot
    assert 'label="영화는"' in viz.tree(trees.parse(KOREAN)).dot


def deep(levels: int) -> trees.Tree:
    """A tree that branches to the left."""
    sizes = [1, *(size for i in range(levels) for size in (1, 3 + 2 * i))]
    return trees.Tree.from_arrays([0] * len(sizes), ["w" if size == 1 else None for size in sizes], sizes)


def test_a_tree_deeper_than_the_recursion_limit_is_drawn() -> None:
    assert viz.tree(deep(5000)).dot.count("arrowhead=none") == 15_001


@pytest.mark.skipif(engine.find() is None, reason="neither Graphviz nor graphviz-pure is installed")
def test_a_deep_tree_is_laid_out_in_seconds_for_its_words_stand_in_no_line() -> None:
    assert "rank=same" in viz.tree(deep(DEEP)).dot
    picture = viz.tree(deep(300))
    assert "rank=same" not in picture.dot
    assert engine.render(picture.dot, "svg", len(picture.vertices), timeout=20)


def test_a_node_without_a_label_shows_what_was_predicted_and_is_not_judged() -> None:
    picture = viz.tree(trees.parse("( (2 a) ( b))"), [1, 2, 3][::-1])
    assert [(v.label, v.kind) for v in picture.vertices if v.kind != "word"] == [
        ("1", "label"), ("3 ≠ 2", "wrong"), ("2", "label"),
    ]  # fmt: skip
    assert "predicted" in picture.dot
    assert "predicted" not in viz.tree(trees.parse("( ( a) ( b))"), [1, 2, 3]).dot


def each_alone(values: list[int]) -> list[tg.Tensor]:
    return [tg.asarray(value) for value in values]


@pytest.mark.parametrize("wrap", [tg.asarray, np.asarray, list, each_alone, lambda values: [float(v) for v in values]])
def test_predictions_may_be_a_tensor_an_array_or_a_list(wrap: Any) -> None:
    tree = trees.parse("(3 (2 It) (4 works))")
    graph = viz.tree(tree, wrap([2, 3, 3])).to_networkx()
    assert [data["label"] for _, data in graph.nodes(data=True)] == ["3", "2", "It", "3 ≠ 4", "works"]
