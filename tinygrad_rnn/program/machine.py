"""The machine: a plan made ready for a target, and the frame in which it runs over the vertices of a variant.

What a target brings is how elementwise steps are done, and perhaps whole loops over thin levels; products are NumPy's
otherwise, and so is whatever no target looks into.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from .graph import EDGE, LEAVES, PARAMETER, READS, Value, ancestors, borrowed
from .layout import Call, Variant
from .meaning import compute
from .plan import LANES, PRODUCT, ROWS, Plan, Section, Step

Arrays = list[Any]  # the array of each Value by its number; at the end where the table of their addresses is
Do = Callable[[Arrays, int, int], None]  # compute so many rows, from so many rows after the first of the variant's
Homes = dict[Value, tuple[Value, int]]  # the concat that a Value is a piece of, and at which column


class Part:
    """A section made ready: what it reads from outside, what it needs room for, what it does.

    `touched` are the Values that some step wants as an array, `addressed` those whose address compiled steps want.
    """

    def __init__(self, section: Section, plan: Plan, target: Any, homes: Homes) -> None:
        made = section.values
        inside = set(made)
        self.outside = [v for v in dict.fromkeys(a for v in made for a in v.values)
                        if v not in inside and v.domain != PARAMETER]  # fmt: skip
        # Views of predecessors' states that another part has made are made again, each after its source.
        lent = ancestors(v for v in self.outside if borrowed(v))
        self.borrowed = [v for v in lent if v.is_view]
        self.outside = [*(v for v in self.outside if not borrowed(v)), *(v for v in lent if not v.is_view)]
        self.reads = [v for v in self.outside if v.op in READS]
        self.writes = [(k, g) for k, g in plan.trace.gradients.items() if k[0] in READS] if section is plan.back else []
        self.given = [g for _, g in self.writes if g not in inside]  # computed before the loop
        step_of = {v: step for step in section.steps for v in step.values}
        crossing = {a for v in made for a in v.values if a in inside and step_of[a] is not step_of[v]}
        crossing |= {g for g in plan.trace.gradients.values() if g in inside} | inside & plan.kept
        for v in reversed(made):
            if v in crossing and v.is_view:
                crossing.update(a for a in v.values if a in inside)
        stored = [v for step in section.steps
                  for v in (target.stored(step, crossing) if step.kind == LANES else step.values)]  # fmt: skip
        own = _homes(stored, plan.kept, inside - {*plan.trace.states})  # these have arrays of their own
        homes.update(own)  # later parts read what is kept there
        rows = [v for v in stored if v.domain != PARAMETER and v not in own and not v.is_view]
        self.kept = [v for v in rows if v in plan.kept]
        self.room = [
            v for v in rows if v not in plan.kept and (step_of[v].kind in (LANES, PRODUCT) or target.addresses)
        ]
        self.lots = _lots(self.room, section, own, [g for _, g in self.writes], target.addresses)
        self.slices = [(v, *own[v]) for v in reversed(stored) if v in own]  # a whole before its pieces
        self.views = [v for v in made if v.is_view and v in plan.kept]
        scratch = {*self.room, *self.reads}
        ready = {*self.kept, *self.room, *own}
        done: list[tuple[Do, set[Value]]] = [
            target.lanes(step, homes, set(stored), scratch) if step.kind == LANES else (_step(step, ready), set())
            for step in section.steps
        ]
        self.addressed: set[Value] = set().union(*(addressed for _, addressed in done))
        self.touched = {g for _, g in self.writes}
        for step, (_, addressed) in zip(section.steps, done, strict=True):
            if not addressed:
                self.touched.update(step.values, *(v.values for v in step.values))
        for v in (*reversed(made), *reversed(self.borrowed)):
            if v in self.touched:
                self.touched.update(v.values if v.is_view else [own[v][0]] if v in own else [])
        self.do: list[tuple[Do, bool]] = []
        for step, (do, addressed) in zip(section.steps, done, strict=True):
            self.do.append((do, step.values[0].domain == EDGE))
            if addressed:
                self.do += [(_look(v), v.domain == EDGE) for v in step.values if v.is_view and v in self.touched]
        looped = section is plan.step or section is plan.back
        self.loop: Any = target.loop(section, self, homes, scratch) if looped else None
        # Whose arrays are others in every run, even of a frame that lasts.
        self.moving = [v for v in self.addressed if v.op in ("input", "context")]

    def make_room(self, vertices: int, edges: int = 0) -> dict[Value, np.ndarray]:
        """Arrays for what the part needs room for, of so many rows."""
        found: dict[Value, np.ndarray] = {}
        for lot in self.lots:
            shape = (edges if lot[0].domain == EDGE else vertices, *lot[0].shape[1:])
            found.update(dict.fromkeys(lot, np.empty(shape, lot[0].dtype)))
        return found


def _lots(room: list[Value], section: Section, own: Homes, ends: list[Value], by_step: bool) -> list[list[Value]]:
    """Values of which one array has room, each being done with before the next is computed.

    A compiled step reads and writes at once (`by_step`), any other one Value after the other.
    """
    place: dict[Value, int] = {}
    alias: set[Value] = set()  # what may be a view of its arguments
    for i, step in enumerate(section.steps):
        for v in step.values:
            place[v] = i if by_step else len(place)
            if v.is_view or step.kind == ROWS:
                alias.add(v)
    first, last = dict(place), dict.fromkeys(ends, len(place))
    for v in reversed(place):
        for a in v.values:
            last[a] = max(last.get(a, -1), place[v], last.get(v, -1) if v in alias else -1)
    for v in place:  # pieces come before their whole
        if v in own:
            whole, _ = own[v]
            first[whole] = min(first[whole], first[v])
            last[whole] = max(last.get(whole, -1), last.get(v, -1))
    lots: list[list[Value]] = []
    for v in sorted(room, key=lambda v: first[v]):
        for lot in lots:
            u = lot[-1]
            if (u.domain, u.shape, u.dtype) == (v.domain, v.shape, v.dtype) and last.get(u, -1) < first[v]:
                lot.append(v)
                break
        else:
            lots.append([v])
    return lots


def _homes(stored: list[Value], kept: set[Value], inside: set[Value]) -> Homes:
    """Pieces of concats that are computed where they belong."""
    homes: Homes = {}
    able = {v for v in stored if not v.is_view and v in inside}
    for v in stored:
        if v.op != "concat" or v.ndim != 2 or v.options[0] != 1:
            continue
        at = 0
        for piece in v.values:
            if piece in able and piece not in homes and (v in kept or piece not in kept):
                homes[piece] = v, at
            at += piece.shape[1]
    return homes


def _look(v: Value) -> Do:
    """A view of what a compiled step has computed."""
    o, a = v.number, v.values[0].number

    def look(arrays: Arrays, rows: int, start: int) -> None:
        arrays[o] = compute(v, [arrays[a]], rows)

    return look


def _step(step: Step, ready: set[Value]) -> Do:
    """A product, or an op of whole rows; into the array that is ready for it, if there is one."""
    (v,) = step.values
    o = v.number
    numbers = [(a.number, None) if isinstance(a, Value) else (-1, a) for a in v.args]
    if step.kind == PRODUCT:
        a, b = numbers[0][0], numbers[1][0]

        def product(arrays: Arrays, rows: int, start: int) -> None:
            np.matmul(arrays[a], arrays[b], out=arrays[o])

        return product

    def whole(arrays: Arrays, rows: int, start: int) -> None:
        result = compute(v, [c if n < 0 else arrays[n] for n, c in numbers], rows)
        if v in ready:
            arrays[o][...] = result
        else:
            arrays[o] = result

    return whole


class Machine:
    """A plan with a target, ready to run."""

    def __init__(self, plan: Plan, target: Any) -> None:
        self.plan, self.target = plan, target
        homes: Homes = {}
        self.parts = [Part(section, plan, target, homes) for section in plan.sections]
        self.before, self.step, self.after, self.early, self.back, self.late = self.parts
        self.addressed = set().union(*(part.addressed for part in self.parts))
        self.values = plan.trace.graph.values
        self.size = len(self.values)
        self.constants = [(v.number, np.full(v.shape, v.args[0], v.dtype)) for v in self.values if v.op == "full"]
        self.leaves = {op: [v for v in self.values if v.op == op] for op in ("parameter", "input", "context", "random")}
        self.segments = [v.number for v in self.values if v.op == "segments"]
        held = set(plan.saved)
        for v in reversed(self.values):
            if v in held and v.is_view:
                held.update(v.values)
            if v in held and v in homes:
                held.add(homes[v][0])
        # What the derivative does not read: its arrays are let go of after the forward pass.
        self.forgotten = [v.number for v in self.values if v.domain != PARAMETER and v not in held]
        # What is given for one run, or given away by it.
        lasting = {*plan.once, *plan.once_back}
        self.passing = [
            v.number
            for v in self.values
            if v.op in ("input", "context") or (v.domain == PARAMETER and v.op not in LEAVES and v not in lasting)
        ]


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
        renewed = self._renewed[which] = []
        for v in getattr(self.machine.plan, which):
            found = self._computed(v)
            scattered = v in self.machine.addressed and not found.flags.c_contiguous
            if scattered or not any(np.may_share_memory(found, arrays[a.number]) for a in v.values):
                renewed.append(v)
            arrays[v.number] = found.copy() if scattered else found

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
        if part in self._made:
            return
        arrays = self.arrays
        for v in part.kept:
            if arrays[v.number] is None:
                arrays[v.number] = np.empty((self.rows(v), *v.shape[1:]), v.dtype)
        for v, whole, at in part.slices:
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
        for v in ready.views:
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
        views = [v for v in part.borrowed if v in part.touched]
        return Ready(table, 0 if table is None else table.ctypes.data, gathers, views)

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
            at = first
            while at != last:
                end = at
                while end != last and flags[end] == flags[at]:
                    end += by
                (quick if flags[at] else thick)(at, end, by)
                at = end

        return step

    def where(self, v: Value) -> tuple[Any, int]:
        """(which rows, of which field of the state) a Value reads."""
        return (
            (self.variant.slots[v.options[0]], v.options[1])
            if v.op == "kid"
            else (self.variant.slots[-1], v.options[0])
        )

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
    """What a part is run with: the table of addresses and where it lies, reads to gather, views of reads to make."""

    table: np.ndarray | None
    pointer: int
    gathers: list[tuple[Value, Any, np.ndarray]]
    views: list[Value]


def address(array: np.ndarray) -> int:
    """Where an array's elements lie."""
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
    whole = [v for v in (*part.outside, *part.kept, *part.given)
             if v in part.touched and v.op not in READS and v.op != "segments"]  # fmt: skip
    views = [v for v in part.borrowed if v in part.touched]
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
            for v in views:
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
