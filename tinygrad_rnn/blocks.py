"""Blocks: the states of the vertices computed so far, one block per call of a cell, and how they are read.

Each read gathers only from the blocks that it needs, so that work and memory are linear in the vertices whatever the
depth: one growing buffer would be copied at each level, forward and backward.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import backend, ops
from .cell import State
from .schedule import Place, places
from .structure import Ids, Rows
from .tensor import Tensor


class Blocks:
    """The states by internal row: row r is row r - start of the last block that starts at or before r."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self._starts: list[int] = []

    def append(self, start: int, state: State) -> None:
        """Add the states of the rows from `start` on."""
        self._starts.append(start)
        self.states.append(state)

    def places(self, group: Ids, where: Ids, rows: Ids) -> dict[int, list[Place]]:
        """Where the states of some rows lie that go to the rows `where` of each group."""
        one = len(self._starts) == 1 and len(rows) > 0
        if one and (group == group[0]).all() and (np.diff(rows) == 1).all() and (np.diff(where) == 1).all():
            place = Place(0, slice(int(where[0]), int(where[-1]) + 1), slice(int(rows[0]), int(rows[-1]) + 1))
            return {int(group[0]): [place]}
        block = np.asarray([bisect_right(self._starts, row) - 1 for row in rows.tolist()], np.int64)
        starts = np.asarray([self._starts[b] for b in block.tolist()], np.int64)
        return places(group, where, block, rows - starts)

    def reader(self, found: Sequence[Place], examples: Ids, initial: State) -> Callable[[int], Tensor]:
        """A function that reads a field of the states found, for as many vertices as there are examples.

        A vertex that no place leads to reads the initial state: its example's, where each has one of its own.
        """
        count = len(examples)
        if not found:
            return lambda field: _initial_rows(initial[field], examples)
        block, where, rows = found[0]
        if len(found) == 1 and type(where) is slice and _length(where) == count:
            return lambda field: _rows_of(self.states[block][field], rows)
        keys = [(beside(initial[0], p.where), beside(initial[0], p.rows)) for p in found]
        empty = np.zeros(0, np.int64)
        if sum(_length(place.where) for place in found) < count:
            is_empty = np.ones(count, bool)
            for place in found:
                is_empty[place.where] = False
            empty = np.flatnonzero(is_empty)

        def read(field: int) -> Tensor:
            blocks = [self.states[place.call][field] for place in found]
            if not len(empty):
                return ops.gather_blocks(blocks, keys, count)
            start = initial[field]
            spare = examples[empty] if len(start.data) > 1 else empty * 0
            key = beside(start, empty), beside(start, spare)
            return ops.gather_blocks([*blocks, start], [*keys, key], count)

        return read


def beside(x: Tensor, index: Rows) -> Any:
    """Integers on the device of a Tensor; slices as they are."""
    return index if type(index) is slice else backend.of(x.data).from_numpy(index)


def _rows_of(block: Tensor, rows: Rows) -> Tensor:
    if type(rows) is not slice:
        return ops.gather_rows(block, beside(block, rows))
    return block if _length(rows) == len(block.data) else ops.span(block, 0, rows.start, rows.stop)


def _length(rows: Rows) -> int:
    return rows.stop - rows.start if type(rows) is slice else len(rows)


def _initial_rows(initial: Tensor, examples: Ids) -> Tensor:
    if len(initial.data) > 1:
        return ops.gather_rows(initial, beside(initial, examples))
    return ops.broadcast_to(initial, (len(examples), *initial.data.shape[1:]))
