"""How a structure is run: which vertices one call of a cell computes, and where the states that they read lie.

Vertices are numbered by call: one call for all vertices of one level, one kind, and with or without an input. Within a
call they stand in the order of the vertices that read them, so that most reads are slices.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .structure import Ids, Rows, Structure, ranges


class Place(NamedTuple):
    """Where rows come from: `rows` of the block of call `call` go to `where`."""

    call: int
    where: Rows
    rows: Rows


class Call(NamedTuple):
    """One call of a cell: rows `start` to `stop` of the internal order, and the example of each."""

    level: int
    kind: int
    has_input: bool
    start: int
    stop: int
    examples: Ids


class Schedule:
    """How a structure is run: its calls, and for each call where the states it reads lie."""

    def __init__(self, structure: Structure, has_input: np.ndarray) -> None:
        # The arrays, not the structure that keeps this schedule: the two must not keep each other alive.
        self._source, self._target, self._slot = structure.source, structure.target, structure.slot
        self._slots = structure.slots
        level, kind = structure.level, structure.kinds
        kinds, nth = np.unique(kind, return_inverse=True)
        _, firsts, call = np.unique((level * len(kinds) + nth) * 2 + has_input, return_index=True, return_inverse=True)
        counts = np.bincount(call, minlength=len(firsts))
        stops = np.cumsum(counts)
        self._call, self._position = call, self._positions(structure, call, counts)
        self.rank: Ids = (stops - counts)[call] + self._position  # public id -> internal row
        self.order: Ids = np.argsort(self.rank)  # internal row -> public id
        self.layouts: dict[Any, Any] = {}  # how programs run it, for the next time
        example = structure.example[self.order]
        columns = (level[firsts], kind[firsts], has_input[firsts], stops - counts, stops)
        self.runs = [
            Call(level, kind, there, start, stop, example[start:stop])
            for level, kind, there, start, stop in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _positions(self, s: Structure, call: Ids, counts: Ids) -> Ids:
        """The place of each vertex within its call: in the order of (reading call, slot, place of the reader)."""
        place = np.zeros(s.size, np.int64)
        if s.within is not None:
            place[np.lexsort((s.within, call))] = ranges(0, counts)
            return place
        reader = np.full(s.size, -1, np.int64)
        slot = np.zeros(s.size, np.int64)
        first = np.lexsort((-s.slot, -call[s.target]))  # written last: the earliest reader, lowest slot
        reader[s.source[first]] = s.target[first]
        slot[s.source[first]] = s.slot[first]
        reading = np.where(reader < 0, len(counts), call[reader]) if s.size else reader
        for members in np.split(np.argsort(call, kind="stable"), np.cumsum(counts)[:-1])[::-1]:
            keys = (place[reader[members]], slot[members], reading[members])
            place[members[np.lexsort(keys)]] = np.arange(len(members))
        return place

    @cached_property
    def filled(self) -> set[tuple[int, int]]:
        """(call, slot) of all edges; slot -1 for those of multisets."""
        call, slot = self._call[self._target], np.maximum(self._slot, -1)
        return set(zip(call.tolist(), slot.tolist(), strict=True))

    @cached_property
    def slots(self) -> list[dict[int, list[Place]]]:
        """For each call and each slot that any of its vertices fills, where the predecessors' rows lie."""
        named = self._slot >= 0  # the other edges are those of cells of multisets
        source, target = self._source[named], self._target[named]
        group = self._call[target] * self._slots + self._slot[named]
        plan: list[dict[int, list[Place]]] = [{} for _ in self.runs]
        for g, found in places(group, self._position[target], self._call[source], self._position[source]).items():
            plan[g // self._slots][g % self._slots] = found
        return plan

    @cached_property
    def edges(self) -> list[tuple[list[Place], Ids]]:
        """For each call of a cell of multisets: where the rows of its edges lie, and which vertex each belongs to."""
        call = self._call[self._target]
        order = np.lexsort((self._source, self._slot, self._position[self._target], call))
        source, segments = self._source[order], self._position[self._target[order]]
        counts = np.bincount(call, minlength=len(self.runs))
        found = places(call[order], ranges(0, counts), self._call[source], self._position[source])
        pieces = np.split(segments, np.cumsum(counts))
        return [(found.get(i, []), pieces[i]) for i in range(len(self.runs))]


def places(group: Ids, where: Ids, call: Ids, row: Ids) -> dict[int, list[Place]]:
    """Reads (row `where` of a group wants row `row` of the block of `call`) gathered by group and by call."""
    found: dict[int, list[Place]] = {}
    if not len(group):
        return found
    order = np.lexsort((where, row, call, group))
    group, call, row, where = group[order], call[order], row[order], where[order]
    starts = np.flatnonzero(np.concatenate(([True], (np.diff(group) != 0) | (np.diff(call) != 0))))
    stops = np.append(starts[1:], len(group))
    to_slice, from_slice = _are_runs(where, starts, stops), _are_runs(row, starts, stops)
    columns = (group[starts], call[starts], starts, stops, where[starts], row[starts], to_slice, from_slice)
    for g, c, a, b, w, r, in_turn, rows_in_turn in zip(*(column.tolist() for column in columns), strict=True):
        to = slice(w, w + b - a) if in_turn else where[a:b]
        rows = slice(r, r + b - a) if rows_in_turn else row[a:b]
        found.setdefault(g, []).append(Place(c, to, rows))
    return found


def _are_runs(values: Ids, starts: Ids, stops: Ids) -> Any:
    """For each piece of `values`, whether it counts up by one."""
    breaks = np.concatenate(([0], np.cumsum(np.diff(values) != 1)))
    return breaks[stops - 1] == breaks[starts]


def plan(structure: Structure, ids: Ids | None = None) -> Schedule:
    """How to run a structure of which these vertices have an input (None: all); kept for the next time."""
    has_input = None
    key = b""  # of all
    if ids is not None and ids is not structure.ids and len(ids) < structure.size:
        has_input = np.zeros(structure.size, bool)
        has_input[ids] = True
        key = np.packbits(has_input).tobytes()
    found: Schedule | None = structure.schedules.get(key)
    if found is None:
        if len(structure.schedules) > 8:
            structure.schedules.clear()
        found = Schedule(structure, np.ones(structure.size, bool) if has_input is None else has_input)
        structure.schedules[key] = found
    return found
