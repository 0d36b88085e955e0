"""The Tree: a view on post-order arrays that all trees of one corpus share. No recursion, at any depth."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, SupportsIndex, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]
Label = int | str
Node = TypeVar("Node")

_TOKEN = re.compile(r"[^() \t\r\n]+")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")


class TreeError(ValueError):
    """A text, a graph or an argument that is no tree; where a file is to blame, with the place in it."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    found: str | None = None
    expected: str | None = None


def as_label(text: str) -> Label:
    """A label from its text: an int where Python would write it so (18 digits at most), else the text.

    >>> as_label("3"), as_label("NP"), as_label("03")
    (3, 'NP', '03')
    """
    return int(text) if _INTEGER.fullmatch(text) else text


class PostOrder(NamedTuple):
    """One tree in post-order, N nodes: labels, words (None: no word), sizes of the subtrees (int64 [N])."""

    labels: tuple[Label, ...]
    words: tuple[str | None, ...]
    sizes: Ids


class Forest:
    """Trees one after another, in post-order, N nodes in all: immutable, shared by the Trees that look at it.

    Sizes alone say the shape: the subtree of node v is the nodes v - sizes[v] + 1 to v.
    """

    def __init__(self, labels: Iterable[Label], words: Iterable[str | None], sizes: Sequence[int] | Ids) -> None:
        self.labels, self.words = tuple(labels), tuple(words)
        self.sizes: Ids = np.array(sizes, np.int64)
        self.sizes.flags.writeable = False
        self.encoded: WeakKeyDictionary[object, Ids] = WeakKeyDictionary()  # by vocabulary, see trees.batch

    @cached_property
    def columns(self) -> Ids:
        """[7, N]: distance to the parent, slot, label (-1: no integer), height, depth, is inner, has a word."""
        n = len(self.sizes)
        nodes = np.arange(n)
        # How many ancestors: the subtrees opened up to a node less those closed before it.
        depths = np.bincount(nodes + 1 - self.sizes, minlength=n).cumsum() - nodes - 1
        order = np.argsort(depths, kind="stable")
        keys = depths * n + nodes
        # The parent is the first node behind that lies one level higher.
        parents = order[np.searchsorted(keys[order], keys - n)]
        up = np.where(depths > 0, parents - nodes, 0)
        parents = np.where(depths > 0, parents, n)
        family = parents[order]  # siblings stand side by side in this order
        first = np.concatenate(([True], family[1:] != family[:-1]))[:n]
        slots = np.empty(n, np.int64)
        slots[order] = nodes - np.maximum.accumulate(np.where(first, nodes, 0))
        heights = [0] * (n + 1)
        for node, parent in enumerate(parents.tolist()):
            heights[parent] = max(heights[parent], heights[node] + 1)
        labels = [label if isinstance(label, int) else -1 for label in self.labels]
        has_word = [word is not None for word in self.words]
        inner = self.sizes > 1
        return np.array([up, slots * (depths > 0), labels, heights[:n], depths, inner, has_word], np.int64)


class Tree:
    """A node with all that is below it.

    Args:
        label: an int or a str. Text that is an integer becomes that int, so `Tree("3")` equals `Tree(3)`:
            labels of SST and ListOps are ints, those of the Penn Treebank strings; no label is "".
        word: the word of a leaf, as brackets write it (see `trees.escape`), or None.
        children: Trees; a node with children has no word.

    A Tree is immutable. One that was read is a view on the arrays of its whole file and keeps them alive.
    Equality, hash, `str` (one line of brackets) and pickling look at the subtree alone and take time linear
    in its size.

    >>> tree = Tree(3, children=[Tree(2, "a"), Tree(4, "dog")])
    >>> tree
    (3 (2 a) (4 dog))
    >>> tree.size, tree.height, tree.words(), tree.children[1].label
    (3, 1, ['a', 'dog'], 4)
    """

    __slots__ = ("_forest", "_index", "_new")

    # Until someone asks for arrays a new Tree keeps its parts: building bottom-up one node at a time is
    # linear.
    _new: tuple[Label, str | None, tuple[Tree, ...], int] | None
    _forest: Forest
    _index: int

    def __init__(
        self, label: str | SupportsIndex, word: str | None = None, children: Iterable[Tree] | None = ()
    ) -> None:
        label = label if isinstance(label, str) else str(operator.index(label))
        children = tuple(children or ())
        for child in children:
            if not isinstance(child, Tree):
                raise TreeError(f"child {child!r} of node {label!r} is not a Tree: give a word a leaf of its own")
        if children and word is not None:
            raise TreeError(f"node {label!r} has both a word, {word!r}, and children: give the word its own leaf")
        for what, token in (("label", label), ("word", word)):
            if token is not None and not _TOKEN.fullmatch(token) and (what, token) != ("label", ""):
                problem = "is empty" if token == "" else "holds a bracket or white space"
                raise TreeError(f"{what} {token!r} {problem}: brackets can't hold it; see trees.escape")
        self._new = as_label(label), word, children, 1 + sum(child.size for child in children)

    @classmethod
    def from_arrays(cls, labels: Iterable[Label], words: Iterable[str | None], sizes: Sequence[int] | Ids) -> Tree:
        """The Tree of post-order arrays, N nodes with the root last; the arrays are not checked.

        >>> Tree.from_arrays(["A", 1, "S"], ["a", "b", None], [1, 1, 3])
        (S (A a) (1 b))
        """
        forest = Forest(labels, words, sizes)
        return view(forest, len(forest.sizes) - 1)

    @property
    def forest(self) -> Forest:
        """The shared arrays."""
        if self._new:
            chunks: list[PostOrder] = []  # in reverse post-order: a node, then its children from the last
            waiting = [self]
            while waiting:
                tree = waiting.pop()
                if tree._new:
                    label, word, children, size = tree._new
                    chunks.append(PostOrder((label,), (word,), np.array([size])))
                    waiting += children
                else:
                    chunks.append(tree.arrays())
            chunks.reverse()
            labels = (label for chunk in chunks for label in chunk.labels)
            words = (word for chunk in chunks for word in chunk.words)
            self._forest = Forest(labels, words, np.concatenate([chunk.sizes for chunk in chunks]))
            self._index, self._new = self._new[3] - 1, None
        return self._forest

    @property
    def span(self) -> slice:
        """The nodes of this subtree in the shared arrays."""
        forest = self.forest
        return slice(self._index + 1 - int(forest.sizes[self._index]), self._index + 1)

    def arrays(self) -> PostOrder:
        """This subtree's own piece of the shared arrays."""
        forest, span = self.forest, self.span
        return PostOrder(forest.labels[span], forest.words[span], forest.sizes[span])

    @property
    def label(self) -> Label:
        """The label: an int, or a str that is no integer."""
        return self._new[0] if self._new else self._forest.labels[self._index]

    @property
    def word(self) -> str | None:
        """The word of a leaf, as brackets write it; None for an inner node."""
        return self._new[1] if self._new else self._forest.words[self._index]

    @property
    def children(self) -> tuple[Tree, ...]:
        """The children, first to last."""
        if self._new:
            return self._new[2]
        found, child = [], self._index - 1
        while child > self._index - self.size:
            found.append(view(self._forest, child))
            child -= int(self._forest.sizes[child])
        return tuple(reversed(found))

    @property
    def size(self) -> int:
        """How many nodes there are, this one included."""
        return self._new[3] if self._new else int(self._forest.sizes[self._index])

    @property
    def height(self) -> int:
        """How many edges the longest way down to a leaf has; 0 for a leaf."""
        return int(self.forest.columns[3, self._index])

    @property
    def is_leaf(self) -> bool:
        """Whether there are no children."""
        return self.size == 1

    def subtrees(self) -> Iterator[Tree]:
        """Every node as a Tree, in post-order: children before parents, this one last."""
        forest, span = self.forest, self.span
        return (view(forest, index) for index in range(span.start, span.stop))

    def leaves(self) -> list[Tree]:
        """The leaves, left to right."""
        return [tree for tree in self.subtrees() if tree.is_leaf]

    def words(self) -> list[str]:
        """The words, left to right."""
        return [word for word in self.forest.words[self.span] if word is not None]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        mine, theirs = self.arrays(), other.arrays()
        return mine[:2] == theirs[:2] and np.array_equal(mine.sizes, theirs.sizes)

    def __hash__(self) -> int:
        labels, words, sizes = self.arrays()
        return hash((labels, words, sizes.tobytes()))

    def __reduce__(self) -> tuple[Callable[..., Tree], tuple[Any, ...]]:
        return Tree.from_arrays, tuple(self.arrays())

    def __repr__(self) -> str:
        labels, words, sizes = self.arrays()
        lengths = sizes.tolist()
        pieces: list[str] = []  # from the last bracket to the first
        opened: list[int] = []
        for node in range(len(lengths) - 1, -1, -1):
            label, word, size = labels[node], words[node], lengths[node]
            if size > 1:
                pieces.append(")")
                opened.append(node)
                continue
            if word is None:
                pieces.append(f" ({label})")
            elif label == "" and opened and lengths[opened[-1]] > 2:
                pieces.append(f" {word}")  # one of several children; alone it would be its parent's word
            else:
                pieces.append(f" ({label} {word})")
            while opened and opened[-1] + 1 - lengths[opened[-1]] == node:
                pieces.append(f" ({labels[opened.pop()]}")
        return "".join(reversed(pieces))[1:]


def view(forest: Forest, index: int) -> Tree:
    """The Tree of one node of a forest."""
    tree = Tree.__new__(Tree)
    tree._forest, tree._index, tree._new = forest, index, None
    return tree


def grow(root: Node, expand: Callable[[Node], tuple[Label, str | None, Sequence[Node]]]) -> Tree:
    """The Tree of any nested thing: `expand` gives the label, the word and the children of one node of it.

    >>> grow(3, lambda n: (n, None, range(n)))
    (3 (0) (1 (0)) (2 (0) (1 (0))))
    """
    parts, waiting = [], [root]  # in reverse post-order
    while waiting:
        label, word, below = expand(waiting.pop())
        parts.append((label, word, len(below)))
        waiting += below
    built: list[Tree] = []
    for label, word, count in reversed(parts):
        children = built[len(built) - count :]
        del built[len(built) - count :]
        built.append(Tree(label, word, children))
    return built[0]
