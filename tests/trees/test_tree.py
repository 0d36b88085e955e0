"""The Tree: its properties, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees.strategies import Spec, build, labels, specs, tokens, trees
from trees import Tree, TreeError, parse


def nodes(spec: Spec) -> list[Spec]:
    """All nodes in post-order, by plain recursion."""
    return [node for child in spec[2] for node in nodes(child)] + [spec]


def height(spec: Spec) -> int:
    return 1 + max(map(height, spec[2])) if spec[2] else 0


@given(specs)
def test_every_node_says_what_plain_recursion_says(spec: Spec) -> None:
    tree = build(spec)
    assert tree.size == len(nodes(spec))  # known before the arrays are
    assert [child.size for child in tree.children] == [len(nodes(child)) for child in spec[2]]
    assert len(list(tree.subtrees())) == tree.size
    for node, expected in zip(tree.subtrees(), nodes(spec), strict=True):
        assert str(node.label) == str(expected[0])
        assert (node.word, node.size, node.height) == (expected[1], len(nodes(expected)), height(expected))
        assert node.is_leaf == (expected[2] == [])
        assert node.words() == [word for _, word, _ in nodes(expected) if word is not None]
        assert node.leaves() == [build(leaf) for leaf in nodes(expected) if not leaf[2]]
        assert node.children == tuple(map(build, expected[2]))


@given(specs)
def test_a_subtree_is_equal_to_the_same_tree_made_anew_in_hash_print_and_pickle(spec: Spec) -> None:
    for node, expected in zip(build(spec).subtrees(), nodes(spec), strict=True):
        fresh = build(expected)
        assert node == fresh
        assert hash(node) == hash(fresh)
        assert str(node) == repr(node) == str(fresh)
        assert pickle.loads(pickle.dumps(node)) == fresh
        assert copy.deepcopy(node) == fresh


@given(specs, st.data())
def test_a_tree_with_one_thing_changed_is_another(spec: Spec, data: st.DataObject) -> None:
    tree = build(spec)
    others = [
        Tree("", children=[tree]),
        Tree(tree.label, None, [*tree.children, Tree("new")]),
        Tree(f"{tree.label}+", tree.word, tree.children),
    ]
    if tree.is_leaf:
        others.append(Tree(tree.label, f"{tree.word}+"))
    assert tree != data.draw(st.sampled_from(others))
    assert tree != str(tree)


def test_shape_alone_makes_trees_differ() -> None:
    assert parse("(a (b) (c (d)))") != parse("(a (b (c (d))))")
    assert parse("(X (A a) (B b))") != parse("(X (B b) (A a))")


def test_a_subtree_is_pickled_without_the_rest_of_its_file() -> None:
    tree = parse("(S " + "(NP (DT the) (NN cat)) " * 1000 + ")")
    assert len(pickle.dumps(tree.children[0])) < 500


def test_a_label_is_an_int_where_its_text_is_one_and_text_otherwise() -> None:
    texts = ["3", "0", "-12", "9" * 18, "03", "-0", "+3", "1.0", "", "9" * 19, "٣", "NP"]
    assert [Tree(text).label for text in texts] == [3, 0, -12, 10**18 - 1, *texts[4:]]
    assert Tree(np.int64(3)) == Tree("3") == Tree(3) == Tree(3, None, None)
    assert Tree(10**30).label == "1" + "0" * 30
    with pytest.raises(TypeError):
        Tree(3.0)  # type: ignore[arg-type]


@given(labels, tokens)
def test_a_leaf_prints_as_label_and_word(label: int | str, word: str) -> None:
    assert str(Tree(label, word)) == f"({label} {word})"


@given(trees, trees)
def test_trees_serve_as_keys(a: Tree, b: Tree) -> None:
    assert len({a, b, parse(str(a)), parse(str(b))}) == (1 if a == b else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("NP", None, ["dog"]), "child 'dog' of node 'NP' is not a Tree: give a word a leaf of its own"),
        (("NP", "dog", [Tree("N")]), "node 'NP' has both a word, 'dog', and children"),
        (("N P",), "label 'N P' holds a bracket or white space"),
        (("NP", "("), r"word '\(' holds a bracket or white space: .* see trees.escape"),
        (("NP", "a\n"), "word 'a.n' holds a bracket or white space"),
        (("NP", ""), "word '' is empty"),
    ],
)
def test_what_is_no_tree_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(TreeError, match=message):
        Tree(*arguments)  # type: ignore[arg-type]


def test_a_tree_and_its_arrays_are_immutable() -> None:
    tree = parse("(S (A a))")
    with pytest.raises(AttributeError):
        tree.label = "X"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        tree.arrays().sizes[0] = 2
