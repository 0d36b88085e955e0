"""Penn brackets: text to trees and back.

    tree := "(" [label] item* ")"        item := word | tree

The label is what stands at the bracket without a space, so that `( (S ...))` and `( a b)` have the empty
label. One word alone belongs to its node, `(DT the)`; words beside other items are leaves with the empty
label, as in NLTK's chunks and in the bracketings of SNLI and ListOps. A node without items is a leaf without
a word, `(2 )`, as in NLTK; training data must have none (`has_words`). Space, tab, CR and LF separate, and
nothing else: a no-break space is part of a token. Tokens are kept as they stand, escapes too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from .tree import Forest, Tree, TreeError, as_label, view

_TOKENS = re.compile(r"\([^() \t\r\n]*|\)|[^() \t\r\n]+")
_ESCAPES = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
_ESCAPES |= {"\\/": "/", "\\*": "*"}
_ESCAPED = re.compile("|".join(map(re.escape, _ESCAPES)))


def unescape(token: str) -> str:
    r"""A token of the Penn Treebank as people write it.

    >>> unescape("-LRB-"), unescape(r"and\/or")
    ('(', 'and/or')
    """
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], token)


def escape(token: str) -> str:
    """A token that brackets can hold: round ones become -LRB- and -RRB-, white space a no-break space.

    >>> escape("(sic)")
    '-LRB-sic-RRB-'
    """
    return re.sub(r"[ \t\r\n]", "\u00a0", token).replace("(", "-LRB-").replace(")", "-RRB-")


def parse(text: str) -> Tree:
    """The one tree of a text.

    >>> parse("(3 (2 It) (4 works))").words()
    ['It', 'works']

    Raises:
        TreeError: the text is not one tree; says where, what was found and what was expected.
    """
    if not isinstance(text, str):
        raise TypeError(f"parse takes the text of a tree, not {type(text).__name__}; trees.read(path) reads a file")
    trees, starts = _parse(text, None)
    if not trees:
        raise _error(text, len(text), None, "the end of the text", "'(', the beginning of a tree")
    if len(trees) > 1:
        raise _error(text, _offset(text, starts[1]), None, "another tree", "the end (parse_all reads many)")
    return trees[0]


def parse_all(text: str | bytes, file: str | None = None) -> list[Tree]:
    """All trees of a text (bytes are UTF-8), views on one set of arrays; `file` is the name for errors.

    Raises:
        TreeError: with file, line, column, what was found and what was expected.
    """
    return _parse(_decoded(text, file) if isinstance(text, bytes) else text, file)[0]


def read(path: str | os.PathLike[str], has_words: bool = False) -> list[Tree]:
    """All trees of a UTF-8 file, on one line each or on several; raises as `parse_all`, and OSError.

    With `has_words`, a leaf without a word is an error, too.
    """
    return _parse(_decoded(Path(path).read_bytes(), str(path)), str(path), has_words)[0]


def _decoded(data: bytes, file: str | None) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        found = f"the byte 0x{data[error.start]:02x}"
        raise _error(before, len(before), file, found, "text in UTF-8") from None


def write(path: str | os.PathLike[str], trees: Iterable[Tree]) -> None:
    """Writes trees, one a line, for `read` to give back. The file is the old or the new one, never half."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{tree}\n" for tree in trees)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _parse(text: str, file: str | None, has_words: bool = False) -> tuple[list[Tree], list[int]]:
    """The trees, and for each the number of its first token."""
    labels: list[str] = []  # with their brackets
    words: list[str | None] = []
    sizes: list[int] = []
    opened: list[tuple[str, int]] = []  # brackets, and how many nodes stood before each
    roots: list[int] = []
    starts: list[int] = []
    after_word = False
    number = -1
    for number, token in enumerate(_TOKENS.findall(text)):
        if token[0] == "(":
            if not opened:
                starts.append(number)
            opened.append((token, len(labels)))
            after_word = False
        elif not opened:
            raise _error(text, _offset(text, number), file, repr(token[:40]), "'(', the beginning of a tree")
        elif token == ")":
            label, start = opened.pop()
            if after_word and len(labels) == start + 1:
                labels[start] = label
            else:
                if has_words and len(labels) == start:
                    place = _offset(text, number)
                    raise _error(text, place, file, "')'", f"a word or a tree in the node {label + ')'!r}")
                labels.append(label)
                words.append(None)
                sizes.append(len(labels) - start)
            after_word = False
            if not opened:
                roots.append(len(labels) - 1)
        else:
            labels.append("(")
            words.append(token)
            sizes.append(1)
            after_word = True
    if opened:
        begin = _offset(text, starts[-1])
        line, column = _place(text, begin)
        expected = f"{len(opened)} more ')' for the tree that begins at line {line}, column {column}"
        raise _error(text, len(text.rstrip(" \t\r\n")), file, "the end of the text", expected)
    meanings = {label: as_label(label[1:]) for label in set(labels)}
    forest = Forest(map(meanings.__getitem__, labels), words, sizes)
    return [view(forest, root) for root in roots], starts


def _offset(text: str, number: int) -> int:
    """Where token `number` begins; only errors ask."""
    return next(islice(_TOKENS.finditer(text), number, None)).start()


def _place(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _error(text: str, offset: int, file: str | None, found: str, expected: str) -> TreeError:
    line, column = _place(text, offset)
    where = f"{file}, line {line}" if file else f"line {line}"
    error = TreeError(f"{where}, column {column}: found {found}, expected {expected}")
    error.file, error.line, error.column, error.found, error.expected = file, line, column, found, expected
    return error
