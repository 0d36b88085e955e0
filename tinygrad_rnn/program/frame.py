"""The frame: the arrays in which a machine runs over the vertices of a variant, and the steps through its calls."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from ..native.functions import VIEW
from .graph import EDGE, PARAMETER, READS, Value
from .layout import Call, Variant
from .machine import Machine
from .meaning import compute
from .part import Arrays, Part


class Frame:
    """The arrays of one run of a machine over the vertices of a variant.

    A frame that `lasts` keeps them, and the tables of their addresses, for the next run.
    """

    def __init__(self, machine: Machine, variant: Variant, lasts: bool) -> None:
        self.machine, self.variant, self.lasts = machine, variant, lasts
        self.arrays: Arrays = [None] * (machine.size + 1)
        for number, array in machine.constants:
            self.arrays[number] = array
        for number in machine.segments:
            self.arrays[number] = variant.segments
        self._made: set[Part] = set()
        # What hangs on where the parameters lie, and stays while they do.
        self._parameters: list[np.ndarray] = []
        self._renewed: dict[str, list[Value]] = {}
        self._ready: dict[Part, Ready] = {}
        self._steppers: dict[Part, tuple[Any, Any]] = {}

    def start(self, parameters: list[np.ndarray], x: np.ndarray | None, context: dict[Any, np.ndarray]) -> None:
        """Take the arrays that the cell reaches, the rows of the input, and those of the context by path."""
        arrays, leaves = self.arrays, self.machine.leaves
        if not all(map(operator.is_, parameters, self._parameters)) or len(parameters) != len(self._parameters):
            self.let_go()
            copied = False  # and if so, copied anew for every run
            for v in leaves["parameter"]:
                array = parameters[v.options[0]]
                if v in self.machine.addressed and not array.flags.c_contiguous:
                    array, copied = array.copy(), True
                arrays[v.number] = array
            self._parameters = [] if copied else parameters
        for v in leaves["input"]:
            arrays[v.number] = np.ascontiguousarray(x)
        for v in leaves["context"]:
            arrays[v.number] = np.ascontiguousarray(context[v.options])

    def rest(self) -> None:
        """Keep nothing of what was given for this run, or given away by it."""
        for number in self.machine.passing:
            self.arrays[number] = None

    def let_go(self) -> None:
        """Keep no parameters, nor what hangs on where they lie; steppers hold the frame itself."""
        self._parameters = []
        self._renewed.clear()
        self._ready.clear()
        self._steppers.clear()
        for v in self.machine.values:
            if v.domain == PARAMETER and v.op not in ("full", "segments"):
                self.arrays[v.number] = None

    def once(self, which: str) -> None:
        """Compute what hangs on parameters alone, the plan's `once` or `once_back`: in place, but views, which stay."""
        arrays = self.arrays
        if which in self._renewed:
            for v in self._renewed[which]:
                if v.op == "concat":
                    np.concatenate([arrays[a.number] for a in v.values], axis=v.options[0], out=arrays[v.number])
                else:
                    arrays[v.number][...] = self._computed(v)
            return
        renewed = []
        for v in getattr(self.machine.plan, which):
            found = self._computed(v)
            scattered = v in self.machine.addressed and not found.flags.c_contiguous
            if scattered or not any(np.may_share_memory(found, arrays[a.number]) for a in v.values):
                renewed.append(v)
            arrays[v.number] = found.copy() if scattered else found
        self._renewed[which] = renewed  # not before all is there: an interrupt may come

    def finish(self) -> None:
        """Compute what is made of sums over rows: it is given away."""
        for v in self.machine.plan.finish:
            self.arrays[v.number] = self._computed(v)

    def _computed(self, v: Value) -> np.ndarray:
        return compute(v, [self.arrays[a.number] if isinstance(a, Value) else a for a in v.args], 0)

    def rows(self, v: Value) -> int:
        """How many rows a Value has."""
        return self.variant.edges if v.domain == EDGE else self.variant.size

    def make(self, part: Part) -> None:
        """Arrays of all rows for what the part computes and others read; those of the states are there already."""
        arrays = self.arrays
        if part in self._made:
            for v in part.passing:
                arrays[v.number] = compute(v, [arrays[v.args[0].number]], self.rows(v))
            return
        for v in part.kept:
            if arrays[v.number] is None:
                arrays[v.number] = np.empty((self.rows(v), *v.shape[1:]), v.dtype)
        for v, whole, at in (*part.guests, *part.slices):
            if whole in self.machine.plan.kept:
                arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        for v in part.views:
            arrays[v.number] = compute(v, [arrays[v.args[0].number]], self.rows(v))
        if self.lasts:
            self._made.add(part)

    def all(self, part: Part, states: list[np.ndarray]) -> None:
        """Run a part over all rows."""
        if not part.do:
            return
        arrays = self.arrays
        ready = self._ready.get(part)
        if ready is None:
            ready = self._make_ready(part, states)
            if self.lasts:
                self._ready[part] = ready
        else:
            self.address(ready.table, part.moving)
        for v, where, state in ready.gathers:
            arrays[v.number] = state[where.index]
        for v in part.borrowed:
            arrays[v.number] = compute(v, [arrays[v.args[0].number]], self.rows(v))
        arrays[-1] = ready.pointer
        for do, edges in part.do:
            do(arrays, self.variant.edges if edges else self.variant.size, 0)
        if not self.lasts:
            for v in (*part.room, *part.reads, *part.borrowed):
                arrays[v.number] = None

    def _make_ready(self, part: Part, states: list[np.ndarray]) -> Ready:
        """The arrays and addresses that a part needs, but for what must be looked up anew in every run."""
        arrays, gathers = self.arrays, []
        for v, array in part.make_room(self.variant.size, self.variant.edges).items():
            arrays[v.number] = array
        for v, whole, at in part.slices:
            arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        table = self.table(part, {})
        for v in part.reads:
            where, f = self.where(v)
            if v in part.touched and where.whole >= 0:
                arrays[v.number] = states[f][where.whole : where.whole + len(where.index)]
            elif v in part.touched:
                gathers.append((v, where, states[f]))
            if table is not None and v in part.addressed:
                self.point(table, v, address(states[f]), where.whole, address(where.index))
        return Ready(table, 0 if table is None else table.ctypes.data, gathers)

    def stepper(
        self, part: Part, states: list[np.ndarray], total: list[np.ndarray]
    ) -> Callable[[int, int, int], None] | None:
        """A function that runs a part over calls (first, last, by); None if there is nothing to do."""
        if part in self._steppers:
            known, renew = self._steppers[part]
            renew()
            return known  # type: ignore[no-any-return]
        if not part.do and not part.writes:
            return None
        counts = self.variant.counts
        thin = counts <= part.loop.most if part.loop is not None else counts < 0
        if thin.all():
            bound = part.loop.bind(self, part, states, total, int(counts.max(initial=0)))
            if self.lasts:
                self._steppers[part] = bound
            return bound[0]  # type: ignore[no-any-return]
        thick = _stepper(self, part, states, total)
        if not thin.any():
            return thick
        quick = part.loop.bind(self, part, states, total, int(counts[thin].max()))[0]
        flags = thin.tolist()

        def step(first: int, last: int, by: int) -> None:
            for is_thin, numbers in groupby(range(first, last, by), flags.__getitem__):
                calls = [*numbers]
                (quick if is_thin else thick)(calls[0], calls[-1] + by, by)

        return step

    def where(self, v: Value) -> tuple[Any, int]:
        """(which rows, of which field of the state) a Value reads."""
        return self.variant.slots[v.options[0] if v.op == "kid" else -1], v.options[-1]

    def point(self, table: np.ndarray, v: Value, states: int, start: int, index: int) -> None:
        """Let compiled steps read states: rows from `start` on or, if that is -1, those that an index names."""
        table[v.number] = states + (start * v.width * v.dtype.itemsize if start >= 0 else 0)
        table[v.number + self.machine.size] = 0 if start >= 0 else index

    def table(self, part: Part, room: dict[Value, np.ndarray], extra: int = 0) -> np.ndarray | None:
        """The addresses of what a part's compiled steps read and write."""
        if not part.addressed and not extra:
            return None
        table = np.zeros(2 * self.machine.size + extra, np.int64)
        self.address(table, [v for v in part.addressed if v.op not in READS], room)
        return table

    def address(self, table: np.ndarray | None, values: Iterable[Value], room: Any = ()) -> None:
        """Write where the arrays of Values lie into a table."""
        for v in values if table is not None else ():
            table[v.number] = address(room[v] if v in room else self.arrays[v.number])  # type: ignore[index]


class Ready(NamedTuple):
    """What a part is run with: the table of addresses and where it lies, and the reads to gather."""

    table: np.ndarray | None
    pointer: int
    gathers: list[tuple[Value, Any, np.ndarray]]


def address(array: np.ndarray) -> int:
    """Where an array's elements lie."""
    if array.flags.carray:
        return ctypes.addressof(VIEW.from_buffer(array))  # type: ignore[arg-type]
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _stepper(
    frame: Frame, part: Part, states: list[np.ndarray], total: list[np.ndarray]
) -> Callable[[int, int, int], None]:
    """A function that steps through calls from Python, with all that it needs made ready once."""
    variant, arrays, machine = frame.variant, frame.arrays, frame.machine
    most = max((c.stop - c.start for c in variant.calls), default=0)
    edges = max((c.last_edge - c.first_edge for c in variant.calls), default=0)
    room = part.make_room(most, edges)
    now: Arrays = [a if v.domain == PARAMETER else None for a, v in zip(arrays, machine.values, strict=False)]
    table = frame.table(part, room)
    now.append(0 if table is None else table.ctypes.data)
    reads = [(v, *frame.where(v)) for v in part.reads]
    lies = [(address(where.index), address(states[f])) for _, where, f in reads]
    writes = [(g, variant.slots[key[1] if key[0] == "kid" else -1], key[-1]) for key, g in part.writes]
    whole = [v for v in (*part.outside, *part.kept, *(v for v, *_ in part.guests), *part.early)
             if v in part.touched and v.op not in READS and v.op != "segments"]  # fmt: skip
    inner = [v for v in part.room if v in part.touched]
    pieces = [(v, w, at) for v, w, at in part.slices if v in part.touched]
    segments = [v for v in part.outside if v.op == "segments"]

    def run(first: int, last: int, by: int) -> None:
        for number in range(first, last, by):
            call: Call = variant.calls[number]
            _, a, b, c, d, _ = call
            for (v, where, f), (index, state) in zip(reads, lies, strict=True):
                start, stop = (c, d) if v.domain == EDGE else (a, b)
                at = where.starts[number]
                if v in part.touched:
                    now[v.number] = states[f][at : at + stop - start] if at >= 0 else states[f][where.index[start:stop]]
                if table is not None and v in part.addressed:
                    frame.point(table, v, state, at, index + start * where.index.itemsize)
            for v in part.borrowed:
                now[v.number] = compute(v, [now[v.args[0].number]], d - c if v.domain == EDGE else b - a)
            for v in segments:
                now[v.number] = variant.segments[c:d] - a
            for v in whole:
                now[v.number] = arrays[v.number][c:d] if v.domain == EDGE else arrays[v.number][a:b]
            for v in inner:
                now[v.number] = room[v][: d - c if v.domain == EDGE else b - a]
            for v, w, at in pieces:
                now[v.number] = now[w.number][:, at : at + v.shape[1]]
            for do, of_edges in part.do:
                do(now, *((d - c, c) if of_edges else (b - a, a)))
            for g, where, f in writes:
                start, stop = (c, d) if g.domain == EDGE else (a, b)
                at = where.starts[number]
                if at >= 0:
                    total[f][at : at + stop - start] += now[g.number]
                elif where.distinct[number]:
                    total[f][where.index[start:stop]] += now[g.number]
                else:
                    np.add.at(total[f], where.index[start:stop], now[g.number])

    return run
