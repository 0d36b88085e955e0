"""Words and their ids, and vectors for them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .brackets import unescape
from .tree import Ids, Tree

Floats = np.ndarray[Any, np.dtype[np.float32]]
_HEADER = re.compile(r"\d+ \d+")


class Vocabulary:
    """Words with the ids 0 to V - 1; id 0 stands for every unknown word. Immutable.

    Args:
        words: all words in the order of their ids, the name of the unknown one first. `.words` gives them
            back: JSON of it holds the whole vocabulary.

    >>> vocabulary = Vocabulary(["<unk>", "a", "dog"])
    >>> vocabulary.encode(["dog", "cat", "a"])
    array([2, 0, 1])
    >>> vocabulary.decode([2, 0])
    ['dog', '<unk>']
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.ids = {word: i for i, word in enumerate(self.words)}
        if not self.words:
            raise ValueError("a vocabulary needs a word for id 0, the unknown word")
        if len(self.ids) < len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise ValueError(f"the word {twice!r} stands more than once in the vocabulary")

    @classmethod
    def from_trees(cls, trees: Tree | Iterable[Tree], minimum: int = 1, unknown: str = "<unk>") -> Vocabulary:
        """The words that occur at least `minimum` times, the most frequent first, ties in alphabetical order.

        >>> from trees import parse
        >>> Vocabulary.from_trees([parse("(S b a b c)")]).words
        ('<unk>', 'b', 'a', 'c')
        """
        given = [trees] if hasattr(trees, "words") else trees
        counts = Counter(word for tree in given for word in tree.words())
        del counts[unknown]
        words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([unknown, *(word for word, count in words if count >= minimum)])

    def __repr__(self) -> str:
        return f"<Vocabulary of {len(self)} words: {', '.join(self.words[:4])}{', ...' if len(self) > 4 else ''}>"

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        return word in self.ids

    def encode(self, words: Iterable[str]) -> Ids:
        """The ids of words, int64, 0 for those unknown."""
        return np.array([self.ids.get(word, 0) for word in words], np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of ids; raises IndexError for an id that is none."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < len(self.words):
                raise IndexError(f"id {i} is not in a vocabulary of {len(self.words)} words")
        return [self.words[i] for i in ids]


class Vectors(NamedTuple):
    """Vectors of a vocabulary of V words: rows float32 [V, D]; found, bool [V]: whether the file had it."""

    rows: Floats
    found: np.ndarray[Any, np.dtype[np.bool_]]


def load_vectors(
    path: str | os.PathLike[str], vocabulary: Vocabulary, missing: np.ndarray | None = None, seed: int = 0
) -> Vectors:
    """The vectors of a vocabulary's words, row i for id i.

    A word is looked up as it stands, without its escapes (`trees.unescape`), and both in lower case. Words
    that the file lacks get their row of `missing` [V, D], or normal draws of standard deviation 0.05 by
    `seed`.

    Args:
        path: an .npz archive of plain arrays `words` [W] and `vec` [W, D], or a text in UTF-8 of lines
            "word x1 ... xD", as of GloVe; a first line "W D", as of word2vec, is skipped.

    Raises:
        ValueError: the file is neither, or a vector is not finite; names the line or the word. Or `missing` has another
            shape. OSError.
    """
    path = Path(path)
    words = [(word, unescape(word)) for word in vocabulary.words]
    spellings = [dict.fromkeys((*pair, *(word.lower() for word in pair))) for pair in words]
    wanted = {spelling for each in spellings for spelling in each}
    table, width = (_from_npz if path.suffix == ".npz" else _from_text)(path, wanted)
    if missing is None:
        missing = np.random.default_rng(seed).normal(0, 0.05, (len(words), width))
    if missing.shape != (len(words), width):
        raise ValueError(f"missing has the shape {missing.shape}; {path} needs {(len(words), width)}")
    rows = missing.astype(np.float32)
    found = np.zeros(len(words), bool)
    for i, each in enumerate(spellings):
        for spelling in each:
            if spelling in table:
                rows[i], found[i] = table[spelling], True
                break
    if not np.isfinite(rows).all():
        word = vocabulary.words[int(np.argmin(np.isfinite(rows).all(axis=1)))]
        raise ValueError(f"{path}: the vector of {word!r} holds NaN or Inf")
    return Vectors(rows, found)


def _from_npz(path: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            words, vectors = archive["words"], archive["vec"]
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # of many kinds, where a file is damaged
        # Not NumPy's own words: they advise to unpickle.
        remedy = "numpy.savez(path, words=[...], vec=[[...], ...]) writes one"
        raise ValueError(f"{path} is no archive of plain arrays 'words' and 'vec'; {remedy}") from error
    if words.ndim != 1 or vectors.ndim != 2 or len(words) != len(vectors) or not vectors.size:
        shapes = f"words {words.shape} and vec {vectors.shape}"
        raise ValueError(f"{path}: {shapes} do not fit, expected [W] and [W, D], neither W nor D being 0")
    if words.dtype.kind != "U":
        raise ValueError(f"{path}: words holds {words.dtype}, expected text")
    if vectors.dtype.kind not in "fiu":
        raise ValueError(f"{path}: vec holds {vectors.dtype}, expected real numbers")
    return {word: row for word, row in zip(words.tolist(), vectors) if word in wanted}, vectors.shape[1]


def _from_text(path: Path, wanted: set[str]) -> tuple[dict[str, np.ndarray], int]:
    table: dict[str, np.ndarray] = {}
    width = 0
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:  # a word may be no UTF-8
        for number, line in enumerate(file, 1):
            if number == 1 and _HEADER.fullmatch(line.rstrip()):
                continue
            is_first = not width
            width = width or max(line.rstrip().count(" "), 1)
            word, *numbers = line.rstrip().rsplit(" ", width)  # a word may hold spaces
            if word not in wanted and len(numbers) == width and not is_first:
                continue
            try:
                table[word] = np.array(numbers, np.float32).reshape(width)
            except ValueError:
                found = f"{line.strip()[:40]!r}"
                expected = f"a word and {width if width > 1 else 'its'} numbers, with single spaces between"
                raise ValueError(f"{path}, line {number}: {found}: expected {expected}") from None
    if not width:
        raise ValueError(f"{path} holds no vectors: expected lines of a word and its numbers")
    return table, width
