"""The layout of a program's run: which vertices each variant of the cell computes, and where the states they read lie.

The vertices of a *variant* (one kind of cell, with or without inputs, the same slots filled) follow each other, level
by level, so that work over all of them is done on slices. In front of all states stand the initial ones, which empty
slots read like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..schedule import Schedule
from ..structure import Ids, Structure

FEW = 8  # of how many vertices one must have an empty slot for a variant of their own to pay


class Call(NamedTuple):
    """One call of a variant: rows `start` to `stop` of the variant's vertices, and of its edges."""

    variant: int
    start: int
    stop: int
    first_edge: int
    last_edge: int
    number: int  # among the variant's calls


class Reads:
    """Where the states lie that a slot (or the edges) of a variant reads: one row of the states per row.

    `starts[i]` is the first such row of call i, which has the rows `bounds[i]`, where they follow each other, and -1
    otherwise; `distinct[i]` tells whether no row is read twice.
    """

    def __init__(self, index: Ids, bounds: list[tuple[int, int]]) -> None:
        self.index = index
        self.starts: list[int] = []
        self.distinct: list[bool] = []
        steps = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.diff(index) != 1)))
        for a, b in bounds:
            together = b > a and steps[b - 1] == steps[a]
            self.starts.append(int(index[a]) if together else -1)
            self.distinct.append(together or len(np.unique(index[a:b])) == b - a)
        self.whole = int(index[0]) if len(index) and steps[-1] == 0 else -1  # as starts, over all calls
        self.starts_array = np.asarray(self.starts, np.int64)


@dataclass
class Variant:
    """Vertices that are computed alike: `start` is the first row of theirs among all vertices."""

    kind: int
    has_input: bool
    filled: tuple[bool, ...]
    start: int = 0
    size: int = 0
    edges: int = 0
    calls: list[Call] = field(default_factory=list)
    slots: dict[int, Reads] = field(default_factory=dict)  # by slot; -1: the edges of a cell of multisets
    starts: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # the first row of each call, and how many
    counts: Ids = field(default_factory=lambda: np.zeros(0, np.int64))
    segments: Ids = field(default_factory=lambda: np.zeros(0, np.int64))  # the vertex of each edge


def foldable(schedule: Schedule, arity: dict[int, int | None]) -> bool:
    """Whether so many vertices are in calls with an empty slot throughout that a variant of their own pays."""
    filled = schedule.filled
    empty = sum(c.stop - c.start for i, c in enumerate(schedule.runs)
                if any((i, k) not in filled for k in range(arity[c.kind] or 0)))  # fmt: skip
    return empty * FEW > len(schedule.rank)


class Layout:
    """The variants of a structure, and the order in which they are called.

    Args:
        structure, schedule: what is run, and its calls.
        arity: of the cell of each kind.
        folded: whether vertices of a call with an empty slot throughout, as the leaves of trees, are a variant of their
            own, without products with zeros; empty slots must read zeros that nobody differentiates, see `foldable`.
        initials: how many initial states there are, 1 or one for each example.
    """

    def __init__(
        self, structure: Structure, schedule: Schedule, arity: dict[int, int | None], folded: bool, initials: int
    ) -> None:
        calls = schedule.runs
        self.size = structure.size
        self.runs = 0  # how often it was run
        starts = np.asarray([c.start for c in calls], np.int64)
        counts = np.asarray([c.stop - c.start for c in calls], np.int64)
        call = np.repeat(np.arange(len(calls)), counts)  # of each row of the schedule
        call_of = call[schedule.rank]  # of each vertex
        present = schedule.filled
        fed = {c for c, _ in present}
        # As many as examples, where they are read: before the first rows of a batch of chains then lie their own.
        self.initials = 1 if folded else max(initials, structure.examples)
        known: dict[tuple[int, bool, tuple[bool, ...]], int] = {}  # what tells variants apart: their numbers
        variant_of = np.zeros(len(calls), np.int64)
        for i, c in enumerate(calls):
            slots = arity[c.kind]
            filled = (i in fed,) if slots is None else tuple(not folded or (i, k) in present for k in range(slots))
            variant_of[i] = known.setdefault((c.kind, c.has_input, filled), len(known))
        self.alike, self.variants = tuple(known), [Variant(*key) for key in known]
        order = np.argsort(variant_of, kind="stable")
        at = np.zeros(len(calls), np.int64)  # the first row of each call
        at[order] = np.cumsum(counts[order]) - counts[order]
        self.row: Ids = at[call_of] + schedule.rank - starts[call_of]
        self.order: Ids = np.empty(structure.size, np.int64)  # row -> vertex
        self.order[self.row] = np.arange(structure.size)
        self.in_order = bool((self.row == structure.ids).all())
        if self.in_order:
            self.row = structure.ids  # by which it is known to be
        edge_variant = variant_of[call_of[structure.target]]
        for v, variant in enumerate(self.variants):
            mine = variant_of == v
            variant.start, variant.size = int(at[mine].min()), int(counts[mine].sum())
            variant.starts, variant.counts = at[mine] - variant.start, counts[mine]
            edges = np.flatnonzero(edge_variant == v) if arity[variant.kind] is None else np.zeros(0, np.int64)
            self._calls(structure, v, edges)
        calls_of = [iter(variant.calls) for variant in self.variants]
        self.calls = [next(calls_of[v]) for v in variant_of.tolist()]
        self._slots(structure, arity)
        # (variant, first, last) of calls of one variant that follow each other.
        self.stretches: list[tuple[int, int, int]] = []
        for v, same in groupby(self.calls, lambda call: call.variant):
            numbers = [call.number for call in same]
            self.stretches.append((v, numbers[0], numbers[-1] + 1))
        # The schedule's calls, in the order of these rows.
        placed = zip(calls, at.tolist(), (at + counts).tolist(), strict=True)
        moved = [run._replace(start=start, stop=stop) for run, start, stop in placed]
        self.moved = sorted(moved, key=lambda run: (run.start, run.stop))

    def _calls(self, s: Structure, number: int, edges: Ids) -> None:
        """The calls of a variant; of multisets, with these edges, by vertex."""
        variant = self.variants[number]
        if len(edges):
            edges = edges[np.lexsort((s.source[edges], s.slot[edges], self.row[s.target[edges]]))]
            variant.edges, variant.segments = len(edges), self.row[s.target[edges]] - variant.start
        stops = variant.starts + variant.counts
        first, last = np.searchsorted(variant.segments, (variant.starts, stops)).tolist()
        bounds = zip(variant.starts.tolist(), stops.tolist(), first, last, strict=True)
        variant.calls = [Call(number, a, b, c, d, i) for i, (a, b, c, d) in enumerate(bounds)]
        if len(edges):
            index = self.initials + self.row[s.source[edges]]
            variant.slots[-1] = Reads(index, [(c.first_edge, c.last_edge) for c in variant.calls])

    def _slots(self, s: Structure, arity: dict[int, int | None]) -> None:
        """Where the rows lie that each slot reads; an empty slot reads its initial state."""
        empty = np.zeros(self.size, np.int64) if self.initials == 1 else s.example[self.order]
        for k in range(max((a or 0 for a in arity.values()), default=0)):
            rows = empty.copy()
            edges = np.flatnonzero(s.slot == k)
            rows[self.row[s.target[edges]]] = self.initials + self.row[s.source[edges]]
            for variant in self.variants:
                if k < len(variant.filled) and variant.filled[k] and arity[variant.kind] is not None:
                    index = rows[variant.start : variant.start + variant.size]
                    variant.slots[k] = Reads(index, [(c.start, c.stop) for c in variant.calls])
