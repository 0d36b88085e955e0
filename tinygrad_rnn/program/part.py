"""A section of a plan made ready for a target: what it reads, which arrays it needs, and what it does.

What a target brings is how elementwise steps are done, and perhaps whole loops over thin levels; products are NumPy's
otherwise, and so is whatever no target looks into.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import EDGE, PARAMETER, READS, Value, ancestors, borrowed, given
from .meaning import compute
from .plan import LANES, PRODUCT, ROWS, Plan, Section, Step

Arrays = list[Any]  # the array of each Value by its number; at the end where the table of their addresses is
Do = Callable[[Arrays, int, int], None]  # compute so many rows, from so many rows after the first of the variant's
Homes = dict[Value, tuple[Value, int]]  # the concat that a Value is a piece of, and at which column


class Part:
    """A section made ready.

    What it reads: `outside` are Values of other sections with a row for each vertex or edge, among them the `reads` of
    predecessors' states; `borrowed` are views of these that some step wants. `writes` are the gradients of
    predecessors' states that it adds up (key of the read, Value), `early` those of them that another section has made.

    Its arrays: `kept` have all rows; `room` is for those of one call alone, in `lots` that share an array; `slices` are
    pieces of concats, which lie in the whole's; `guests` have all rows too, and lie in arrays that nobody reads any
    more; `views` are views of what is kept, and `passing` those of what is given for one run.

    What it does: `do` are its steps in order, each with whether its rows are edges; `loop` is the target's own loop
    over the calls, if it has one. `touched` are the Values that some step wants as an array, `addressed` those whose
    address compiled steps want, and `moving` those of them whose arrays are others in every run.
    """

    def __init__(self, section: Section, plan: Plan, target: Any, homes: Homes) -> None:
        looped = section is plan.step or section is plan.back
        self._read(section, plan)
        own, stored = self._place(section, plan, target, homes)
        homes.update(own)  # later parts read what is kept there
        scratch = {*self.room, *self.reads}
        self._make(section, own, stored, scratch, target, homes)
        self.loop: Any = target.loop(section, self, homes, scratch) if looped else None
        self.moving = [v for v in self.addressed if v.op in ("input", "context")]

    def _read(self, section: Section, plan: Plan) -> None:
        """Find what comes from other sections, and what is added to their gradients."""
        made = section.values
        inside = set(made)
        arguments = dict.fromkeys(a for v in made for a in v.values)
        found = [a for a in arguments if a not in inside and a.domain != PARAMETER]
        # Views of predecessors' states that another part has made are made again, each after its source.
        lent = ancestors(v for v in found if borrowed(v))
        self.borrowed = [v for v in lent if v.is_view]
        self.outside = [*(v for v in found if not borrowed(v)), *(v for v in lent if not v.is_view)]
        self.reads = [v for v in self.outside if v.op in READS]
        self.writes = [(k, g) for k, g in plan.trace.gradients.items() if k[0] in READS] if section is plan.back else []
        self.early = [g for _, g in self.writes if g not in inside]

    def _place(self, section: Section, plan: Plan, target: Any, homes: Homes) -> tuple[Homes, list[Value]]:
        """Find which Values need an array, and which of what kind: (those that lie in another one's, all of them)."""
        made = section.values
        inside = set(made)
        step_of = {v: step for step in section.steps for v in step.values}
        crossing = {a for v in made for a in v.values if a in inside and step_of[a] is not step_of[v]}
        crossing |= {g for g in plan.trace.gradients.values() if g in inside} | inside & plan.kept
        for v in reversed(made):
            if v in crossing and v.is_view:
                crossing.update(a for a in v.values if a in inside)
        stored: list[Value] = []
        for step in section.steps:
            stored += target.stored(step, crossing) if step.kind == LANES else step.values
        own = _homes(stored, plan.kept, inside - {*plan.trace.states})  # these have arrays of their own
        lodged = _lodged(section, plan, target, [v for v in stored if v not in own], {**homes, **own})
        self.guests = [(v, *host) for v, host in lodged.items()]
        rows = [v for v in stored if v.domain != PARAMETER and v not in own and v not in lodged and not v.is_view]
        self.kept = [v for v in rows if v in plan.kept]
        self.room = [
            v for v in rows if v not in plan.kept and (step_of[v].kind in (LANES, PRODUCT) or target.addresses)
        ]
        self.lots = _lots(self.room, section, own, [g for _, g in self.writes], target.addresses)
        self.slices = [(v, *own[v]) for v in reversed(stored) if v in own]  # a whole before its pieces
        self.views = [v for v in made if v.is_view and v in plan.kept]
        self.passing = [v for v in self.views if given(v)]
        return own | lodged, stored

    def _make(
        self, section: Section, own: Homes, stored: list[Value], scratch: set[Value], target: Any, homes: Homes
    ) -> None:
        """Make what is done, and find which arrays and which addresses it wants."""
        ready = {*self.kept, *self.room, *own}
        self.addressed: set[Value] = set()
        self.touched = {g for _, g in self.writes}
        done: list[tuple[Step, Do, set[Value]]] = []
        for step in section.steps:
            lanes = step.kind == LANES
            do, addressed = target.lanes(step, homes, set(stored), scratch) if lanes else (_step(step, ready), set())
            if not addressed:
                self.touched.update(step.values, *(v.values for v in step.values))
            self.addressed |= addressed
            done.append((step, do, addressed))
        for v in (*reversed(section.values), *reversed(self.borrowed)):
            if v in self.touched:
                self.touched.update(v.values if v.is_view else [own[v][0]] if v in own else [])
        self.borrowed = [v for v in self.borrowed if v in self.touched]
        self.do: list[tuple[Do, bool]] = []
        for step, do, addressed in done:
            self.do.append((do, step.values[0].domain == EDGE))
            if addressed:
                self.do += [(_look(v), v.domain == EDGE) for v in step.values if v.is_view and v in self.touched]

    def make_room(self, vertices: int, edges: int = 0) -> dict[Value, np.ndarray]:
        """Arrays for what the part needs room for, of so many rows."""
        found: dict[Value, np.ndarray] = {}
        for lot in self.lots:
            shape = (edges if lot[0].domain == EDGE else vertices, *lot[0].shape[1:])
            found.update(dict.fromkeys(lot, np.empty(shape, lot[0].dtype)))
        return found


def root(v: Value, homes: Homes) -> tuple[Value, int, bool]:
    """Where the elements of a Value lie: in which array, from which column, and whether one column serves for all."""
    column, one = 0, False
    while v in homes or (v.is_view and v.domain != PARAMETER):  # views of parameters are arrays of their own
        if v in homes:
            v, shift = homes[v]
            column += shift
            continue
        (a,) = v.values
        if v.op == "broadcast_to" and a.width != v.width:
            column, one = 0, True
        column += v.options[1] if v.op == "cut" else 0
        v = a
    return v, column, one


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


def _lodged(section: Section, plan: Plan, target: Any, stored: list[Value], homes: Homes) -> Homes:
    """Which array, and from which column, kept Values are computed into that others were kept in and no one reads now.

    They may be read by the very step that computes the new ones: so gate gradients are written over the gates.
    """
    steps = [(i, k, step) for i, part in enumerate(plan.sections) for k, step in enumerate(part.steps)]
    place = {v: (i, k) for i, k, step in steps for v in step.values}
    ends = {root(v, homes)[0] for v in (*plan.trace.states, *plan.trace.gradients.values())}
    first: dict[Value, tuple[int, int]] = {}  # when an array is written for the first time: pieces before their whole
    last: dict[Value, tuple[int, int]] = {}  # when it is read for the last time
    columns: dict[tuple[Value, tuple[int, int]], set[int]] = {}  # from where it is read in a step
    for v in place:
        array = root(v, homes)[0]
        first[array] = min(first.get(array, place[v]), place[v])
        for a in () if v.is_view else v.values:
            array, column, _ = root(a, homes)
            last[array] = max(last.get(array, (0, 0)), place[v])
            columns.setdefault((array, place[v]), set()).add(column)
    number = plan.sections.index(section)
    hosts = [v for v in plan.kept if place[v][0] < number and not v.is_view and v not in homes and v not in ends]
    hosts.sort(key=lambda v: (v.width, v.number))
    filled: dict[Value, int] = {}  # columns
    found: Homes = {}
    for v in stored:
        if v not in plan.kept or v in ends or v.domain == PARAMETER or v.is_view or v.ndim != 2:
            continue
        step, now = section.steps[place[v][1]], first[v]
        length = target.at_once(step) if now == place[v] else 0
        for host in hosts if step.kind == LANES else ():
            at = filled.get(host, 0)
            over = length and last.get(host) == now and not any(c % length for c in (at, *columns[host, now]))
            fits = at + v.width <= host.width if target.addresses else v.shape == host.shape and not at
            alike = (v.domain, v.dtype, 2) == (host.domain, host.dtype, host.ndim)
            if (over or last.get(host, (0, 0)) < now) and fits and alike:
                found[v], filled[host] = (host, at), at + v.width
                break
    return found


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
