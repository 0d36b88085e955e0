"""Batches: the structure and the integers beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trees import strategies
from tinygrad_rnn.structure import StructureError
from trees import Tree, Vocabulary, batch, parse, parse_all, to_networkx


def edges(structure: Any) -> set[tuple[int, int, int]]:
    return set(zip(structure.source.tolist(), structure.target.tolist(), structure.slot.tolist(), strict=True))


@given(st.lists(strategies.trees, max_size=5), st.data())
def test_a_batch_is_the_union_of_its_trees(some: list[Tree], data: st.DataObject) -> None:
    # Subtrees of one file, as views, must do as well as whole trees.
    some = [data.draw(st.sampled_from(list(tree.subtrees()))) for tree in some]
    vocabulary = Vocabulary(["?", *sorted({word for tree in some for word in tree.words()[:3]} - {"?"})])
    structure, integers = batch(some, vocabulary)
    nodes = [node for tree in some for node in tree.subtrees()]
    offsets = np.cumsum([0, *(tree.size for tree in some)])
    assert structure.size == len(nodes)
    assert structure.examples == len(some)
    expected = {
        (int(a + begin), int(b + begin), slot)
        for tree, begin in zip(some, offsets)
        for a, b, slot in to_networkx(tree).edges(data="slot")
    }
    assert edges(structure) == expected
    assert structure.example.tolist() == [i for i, tree in enumerate(some) for _ in range(tree.size)]
    assert structure.kind is not None
    assert structure.kind.tolist() == [int(not node.is_leaf) for node in nodes]
    assert structure.levels == 1 + max((tree.height for tree in some), default=-1)
    assert [structure.level[v] for v in integers.roots] == [tree.height and structure.levels - 1 for tree in some]
    assert all(structure.level[u] < structure.level[v] for u, v, _ in expected)
    inner = [v for v, node in enumerate(nodes) if not node.is_leaf]
    assert set(np.flatnonzero(structure.level)) == set(inner), "leaves stand at level 0, all others above"
    late = {int(structure.level[v] - structure.level[u]) for u, v, _ in expected if u in inner}
    assert late <= {1}, "an inner vertex is computed just before the one that reads it"
    assert integers.roots.tolist() == [int(end) - 1 for end in offsets[1:]]
    assert integers.labels.tolist() == [n.label if isinstance(n.label, int) else -1 for n in nodes]
    assert integers.leaves.tolist() == [i for i, node in enumerate(nodes) if node.word is not None]
    assert vocabulary.decode(integers.words) == [w if w in vocabulary else "?" for t in some for w in t.words()]
    assert {array.dtype for array in integers} == {np.dtype(np.int64)}


def test_children_keep_their_order_by_slot() -> None:
    structure, _ = batch([parse("(S (A a) (B (C c) (D d)) (E e))")])
    assert edges(structure) == {(0, 5, 0), (3, 5, 1), (4, 5, 2), (1, 3, 0), (2, 3, 1)}


def test_without_a_vocabulary_there_are_no_words() -> None:
    _, integers = batch([parse("(1 (2 a) (3 b))")])
    assert integers.words.shape == (0,)
    assert integers.leaves.tolist() == [0, 1]


def test_each_vocabulary_has_its_own_ids() -> None:
    trees = parse_all("(1 (2 a) (3 b)) (1 b)")
    assert batch(trees, Vocabulary(["?", "a", "b"]))[1].words.tolist() == [1, 2, 2]
    assert batch(trees, Vocabulary(["?", "b"]))[1].words.tolist() == [0, 1, 1]


def test_a_batch_takes_any_iterable_and_may_mix_files_and_repeat_trees() -> None:
    a, b = parse("(1 (2 a) (3 b))"), Tree(4, "c")
    structure, integers = batch(iter([a, b, a]))
    assert structure.size == 7
    assert integers.labels.tolist() == [2, 3, 1, 4, 2, 3, 1]


def test_no_trees_give_an_empty_structure() -> None:
    structure, integers = batch([], Vocabulary(["?"]))
    assert (structure.size, structure.examples) == (0, 0)
    assert [len(array) for array in integers] == [0, 0, 0, 0]


def test_structure_errors_are_value_errors() -> None:
    assert issubclass(StructureError, ValueError)


def test_one_tree_is_a_batch_of_one_and_what_is_no_tree_is_refused() -> None:
    assert batch(parse("(1 (2 a) (3 b))"))[0].size == 3
    with pytest.raises(TypeError, match=r"a batch is of trees, not str; trees\.parse\(text\) makes one"):
        batch(["(1 a)"])  # type: ignore[list-item]


def test_words_are_no_vocabulary() -> None:
    with pytest.raises(TypeError, match=r"batch takes a trees\.Vocabulary, not list"):
        batch(parse("(1 a)"), ["a"])  # type: ignore[arg-type]
