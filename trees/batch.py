"""Trees to a structure and the integers that a model reads beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tinygrad_rnn.structure import Structure

from .tree import Forest, Ids, Tree
from .vocabulary import Vocabulary


class Batch(NamedTuple):
    """What a model reads beside the structure of B trees with N nodes, L of them with a word: int64 arrays.

    labels [N]: the label of each vertex; -1 where it is no integer (encode others with a `Vocabulary` of
    labels).
    leaves [L]: the vertices with a word.
    words [L]: the ids of these words; empty if no vocabulary was given.
    roots [B]: the vertex of each tree's root.
    """

    labels: Ids
    leaves: Ids
    words: Ids
    roots: Ids


def batch(trees: Iterable[Tree], vocabulary: Vocabulary | None = None) -> tuple[Structure, Batch]:
    """The disjoint union of trees as a structure, and the integers beside it.

    Vertices are numbered in post-order, one tree after another. Edges go from children to parents, the slot
    says which child, the example which tree; the kind of a leaf is 0, of an inner node 1. One tree is a batch of one.

    Raises:
        TypeError: something is no tree, or the vocabulary none.

    >>> from trees import parse
    >>> structure, integers = batch([parse("(3 (2 a) (4 b))"), parse("(1 c)")], Vocabulary(["?", "a", "b"]))
    >>> structure.source, structure.target, structure.slot
    (array([0, 1]), array([2, 2]), array([0, 1]))
    >>> integers
    Batch(labels=array([2, 4, 3, 1]), leaves=array([0, 1, 3]), words=array([1, 2, 0]), roots=array([2, 3]))
    """
    if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
        raise TypeError(f"batch takes a trees.Vocabulary, not {type(vocabulary).__name__}: trees.Vocabulary(words)")
    given = [trees] if isinstance(trees, Tree) else list(trees)
    for tree in given:
        if not isinstance(tree, Tree):
            raise TypeError(f"a batch is of trees, not {type(tree).__name__}; trees.parse(text) makes one of brackets")
    spans = [(tree.forest, tree.span) for tree in given]
    nothing = np.empty((7, 0), np.int64)
    pieces = [forest.columns[:, span] for forest, span in spans]
    up, slot, labels, height, depth, kind, has_word = np.concatenate([nothing, *pieces], axis=1)
    lengths = np.array([piece.shape[1] for piece in pieces], np.int64)
    roots = lengths.cumsum() - 1
    leaves = np.flatnonzero(has_word)
    words = nothing[0]
    if vocabulary is not None:
        ids = [_encoded(forest, vocabulary)[span] for forest, span in spans]
        words = np.concatenate([nothing[0], *ids])[leaves]
    is_child = np.ones(len(up), bool)
    is_child[roots] = False  # a root may have a parent outside the batch
    source = np.flatnonzero(is_child)
    example = np.repeat(np.arange(len(roots)), lengths)
    # Leaves first, all at once; the others as late as can be, so that each reads the level just before it, or a leaf.
    below = depth - np.repeat(depth[roots], lengths)
    level = np.where(kind == 1, height[roots].max(initial=0) - below, 0)
    structure = Structure(len(up), source, source + up[source], slot[source], example, kind, len(roots), level=level)
    return structure, Batch(labels, leaves, words, roots)


def _encoded(forest: Forest, vocabulary: Vocabulary) -> Ids:
    """The word ids of all nodes of a forest, remembered as long as both live; -1 where there is no word."""
    if vocabulary not in forest.encoded:
        ids = [-1 if word is None else vocabulary.ids.get(word, 0) for word in forest.words]
        forest.encoded[vocabulary] = np.array(ids, np.int64)
    return forest.encoded[vocabulary]
