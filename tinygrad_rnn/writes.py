"""Writes in place: only optimisers and initialisers make them, and each spoils what was recorded of the old values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import backend
from .backend import Array
from .now import next_serial

_writes: dict[int, int] = {}  # id of a buffer -> serial of the last write to it
last_write = 0


def _buffer(array: Array) -> int:
    """The identity of the buffer that an array is a view of."""
    while getattr(array, "base", None) is not None and backend.known(array.base):
        array = array.base
    return id(array)


def wrote(array: Array) -> None:
    """Say that `array` was written in place: a later backward pass over a node that saved it is refused."""
    global last_write
    last_write = _writes[_buffer(array)] = next_serial()


def written_since(saved: Iterable[Any], serial: int) -> Array | None:
    """The first array, among those that a node of this serial saved, that was written to after the node was made."""
    # Ids are safe here: a saved array lives from its node's creation until now, so no other buffer had its id then.
    for value in saved:
        for array in value if isinstance(value, list | tuple) else (value,):
            if backend.known(array) and _writes.get(_buffer(array), 0) > serial:
                return array
    return None
