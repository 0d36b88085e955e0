"""Data sets of trees: the Stanford Sentiment Treebank, and ListOps, read or made."""

from __future__ import annotations

import hashlib
import math
import os
import random
import re
import statistics
import zipfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from .brackets import parse_all, read
from .tree import Forest, Label, Tree, TreeError, view

SST_URL = "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip"
SST_SHA256 = {
    "train": "e2f3f41b0b1e6d4dddc0effe3bfc2d27ed8928079aa9a03d652311614fc5feb7",
    "dev": "0e9336aed6e4730e19f58d00a77b3f0297efdb755f7b5e598c98a05e3f97ea40",
    "test": "6e54806dee95cf80cd918e7dfb3f6770f6df24bf826f289a4d1f709e1c8f6761",
}


class SST(NamedTuple):
    """The three parts of the Stanford Sentiment Treebank."""

    train: list[Tree]
    dev: list[Tree]
    test: list[Tree]


def sst(root: str | os.PathLike[str] | None = None) -> SST:
    """The Stanford Sentiment Treebank (Socher et al. 2013): binary trees, a label from 0 to 4 at every node.

    Args:
        root: a folder with train.txt, dev.txt and test.txt, any trees in brackets. None: the official
            archive,
            downloaded once into the user's cache; its three files are checked by SHA-256.

    Raises:
        OSError: a file is missing, or nothing can be downloaded. TreeError: the archive is damaged, or bad
            brackets, or a leaf without a word.
    """
    if root is not None:
        return SST(*(read(Path(root) / f"{part}.txt", has_words=True) for part in SST._fields))
    import pooch

    try:  # the archive's own hash was never published: its content is checked below
        archive = pooch.retrieve(SST_URL, None, fname=Path(SST_URL).name, path=pooch.os_cache("tinygrad_rnn"))
    except OSError as error:
        remedy = "pass root=FOLDER with train.txt, dev.txt and test.txt"
        raise OSError(f"can't download {SST_URL}: {remedy} ({error})") from error
    parts = []
    for part in SST._fields:
        try:
            with zipfile.ZipFile(archive) as file:
                data = file.read(f"trees/{part}.txt")
        except (zipfile.BadZipFile, KeyError):
            data = b""
        if hashlib.sha256(data).hexdigest() != SST_SHA256[part]:
            remedy = "delete it and try again, or pass root=FOLDER"
            raise TreeError(f"{archive} does not hold the official trees/{part}.txt: {remedy}")
        parts.append(parse_all(data.decode("utf-8"), f"{archive}, trees/{part}.txt"))
    return SST(*parts)


OPERATORS: dict[str, Callable[[Sequence[int]], int]] = {
    "MAX": max,
    "MIN": min,
    "MED": lambda values: int(statistics.median(values)),
    "SM": lambda values: sum(values) % 10,
    "FIRST": lambda values: values[0],
    "LAST": lambda values: values[-1],
    "PM": lambda values: math.prod(values) % 10,
    "FLSUM": lambda values: (values[0] + values[-1]) % 10,
}

_PATIENCE = 10_000  # expressions drawn in a row that were all known
_DIGITS = {str(digit): digit for digit in range(10)}


def listops(n: int, max_depth: int, seed: int, operators: Sequence[str] = ("MAX", "MIN", "MED", "SM")) -> list[Tree]:
    """`n` different ListOps expressions as trees, after Nangia & Bowman 2018 (arXiv 1804.06028).

    An expression is an operator with 2 to 5 arguments, each a digit with probability 3/4 and an expression
    otherwise; at `max_depth` (the outermost operator is at depth 1) all are digits. The tree of `[MAX 2 9 ]`
    is the paper's binarised bracketing `((([MAX 2) 9) ])`. Labels: the value, 0 to 9, at each whole
    expression and each digit; the empty label at the tokens `[MAX` and `]` and at beginnings of expressions,
    which have no value.

    Operators: MAX, MIN, MED (median, rounded down), SM (sum modulo 10), FIRST, LAST, and not in the paper PM
    (product modulo 10) and FLSUM (first + last, modulo 10). The same seed gives the same trees on every
    machine.

    >>> print(*listops(2, max_depth=2, seed=3), sep="\\n")
    (4 ( ( [MED (3 3)) (6 6)) ])
    (8 ( ( ( ( [MAX (0 0)) (8 8)) (2 2)) (2 2)) ])

    Raises:
        ValueError: an unknown operator, `max_depth` below 2, or fewer different expressions than `n` found.
    """
    unknown = [name for name in operators if name not in OPERATORS]
    if unknown or not operators:
        raise ValueError(f"unknown operators {unknown}: choose from {', '.join(OPERATORS)}")
    if max_depth < 2:
        raise ValueError(f"max_depth is {max_depth}: the outermost operator is at depth 1, so 2 is the least")
    draw = random.Random(seed).random  # the one method whose stream Python promises to keep
    texts: dict[str, None] = {}
    misses = 0
    while len(texts) < n:
        before = len(texts)
        texts[_expression(max_depth, operators, draw)] = None
        misses = misses + 1 if len(texts) == before else 0
        if misses == _PATIENCE:
            raise ValueError(f"found only {before} different expressions for n={n}: raise max_depth")
    return _evaluated(parse_all("\n".join(texts)))


def _expression(max_depth: int, operators: Sequence[str], draw: Callable[[], float]) -> str:
    pieces: list[str] = []
    waiting: list[str | int] = [1]  # text, or the depth of an argument to be drawn
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif item > 1 and (item == max_depth or draw() < 0.75):
            pieces.append(str(int(draw() * 10)))
        else:
            count = 2 + int(draw() * 4)
            operator = operators[int(draw() * len(operators))]
            begin = f"{'( ' * (count + 1)}[{operator}"
            arguments: list[str | int] = [" )", item + 1, " "]
            waiting += [" ] )", *arguments * count, begin]
    return "".join(pieces)


def read_listops(path: str | os.PathLike[str]) -> list[Tree]:
    """The trees of a file of lines "value TAB bracketing", as the paper's; labelled as by `listops`.

    Raises:
        TreeError: with file and line: no value, bad brackets, an unknown operator, or a value that is not
            ours.
    """
    text = Path(path).read_text("utf-8")
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not re.match(r"[0-9]\t", line):
            raise TreeError(f"{path}, line {number}: found {line[:40]!r}, expected a value from 0 to 9 and a tab")
    # A lone digit has no brackets; blanks for the value keep the columns that errors name.
    texts = (" " + line[1:] if "(" in line else f"( {line[2:]})" for line in lines)
    trees = parse_all("\n".join(texts), str(path))
    if len(trees) != len(lines):
        raise TreeError(f"{path}: found {len(trees)} trees on {len(lines)} lines, expected one on each")
    labelled = _evaluated(trees, str(path))
    for number, (line, tree) in enumerate(zip(lines, labelled), 1):
        if tree.label != int(line[0]):
            raise TreeError(f"{path}, line {number}: found the value {line[0]}, expected {tree.label}")
    return labelled


def _evaluated(trees: list[Tree], file: str = "listops") -> list[Tree]:
    """Trees of one forest, labelled with the values of their expressions; tree i is on line i of the file."""
    if not trees:
        return []
    values = (_values(tree.arrays().words, f"{file}, line {i}") for i, tree in enumerate(trees, 1))
    old = trees[0].forest
    forest = Forest(chain.from_iterable(values), old.words, old.sizes)
    return [view(forest, tree.span.stop - 1) for tree in trees]


def _values(words: Sequence[str | None], where: str) -> list[Label]:
    """The label of each node of an expression in post-order: its value, or "" where there is none."""
    labels: list[Label] = [""] * len(words)
    opened: list[tuple[str, list[int]]] = []  # operators and their arguments so far
    for node, word in enumerate(words):
        if word is None:
            continue
        if word[0] == "[" and word[1:] in OPERATORS:
            opened.append((word[1:], []))
            continue
        if word in _DIGITS:
            labels[node] = value = _DIGITS[word]
        elif word == "]" and opened and opened[-1][1]:
            operator, arguments = opened.pop()
            labels[node + 1] = value = OPERATORS[operator](arguments)
        else:
            raise TreeError(f"{where}: found {word!r}, expected an operator, a digit or the end of an operator's list")
        if opened:
            opened[-1][1].append(value)
    if labels[-1] == "":
        raise TreeError(f"{where}: found an expression without end, expected ']' as its last token")
    return labels
