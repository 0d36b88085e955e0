"""The machine: runs the sections of a plan, over all rows of a variant at once or call by call.

What a target brings is how elementwise steps are done; products are NumPy's in every target, and so is whatever no
target looks into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .graph import EDGE, PARAMETER, READS, Value
from .layout import Call, Variant
from .meaning import compute
from .plan import LANES, PRODUCT, Plan, Section, Step

Arrays = list[Any]  # the array of each Value by its number; at the end the table of their addresses
Do = Callable[[Arrays, int, int], None]  # compute so many rows, from so many rows after the first of the variant's


class Part:
    """A section made ready: what it reads from outside, what it needs room for, what it does."""

    def __init__(self, section: Section, plan: Plan, target: Any, homes: dict[Value, tuple[Value, int]]) -> None:
        made = section.values
        inside = set(made)
        self.outside = [v for v in dict.fromkeys(a for v in made for a in v.values)
                        if v not in inside and v.domain != PARAMETER]  # fmt: skip
        step_of = {v: i for i, step in enumerate(section.steps) for v in step.values}
        crossing = {a for v in made for a in v.values if a in inside and step_of[a] != step_of[v]}
        crossing |= {g for g in plan.trace.gradients.values() if g in inside}
        crossing |= inside & plan.kept
        for v in reversed(made):
            if v in crossing and v.is_view:
                crossing.update(a for a in v.values if a in inside)
        stored = [v for step in section.steps
                  for v in (target.stored(step, crossing) if step.kind == LANES else step.values)]  # fmt: skip
        self.homes = _homes(stored, plan.kept, inside)
        homes.update(self.homes)  # later parts read what is kept there
        self.kept = [v for v in stored if v in plan.kept and v not in self.homes and not v.is_view
                     and v.domain != PARAMETER]  # fmt: skip
        self.room = [v for v in stored if v not in plan.kept and v not in self.homes and _writes(v, section.steps[step_of[v]], target)]
        self.slices = [(v, *self.homes[v]) for v in reversed(stored) if v in self.homes]  # a whole before its pieces
        self.views = [v for v in made if v.is_view and v in plan.kept]
        scratch = {*self.room, *(v for v in self.outside if v.op in READS)}
        done = [
            target.lanes(step, homes, set(stored), scratch) if step.kind == LANES
            else (_step(step, {*self.kept, *self.room, *self.homes}), set())
            for step in section.steps
        ]  # fmt: skip
        self.addressed: set[Value] = set().union(*(addressed for _, addressed in done))
        # What is wanted as an array, not only as an address.
        self.touched = {g for key, g in plan.trace.gradients.items() if key[0] in READS}
        for step, (_, addressed) in zip(section.steps, done, strict=True):
            if not addressed:
                self.touched.update(step.values, *(v.values for v in step.values))
        for v in reversed(made):
            if v in self.touched and v in self.homes:
                self.touched.add(self.homes[v][0])
            if v in self.touched and v.is_view:
                self.touched.update(v.values)
        self.do: list[tuple[Do, bool]] = []
        for step, (do, addressed) in zip(section.steps, done, strict=True):
            self.do.append((do, step.values[0].domain == EDGE))
            if addressed:
                self.do += [(_look(v), v.domain == EDGE) for v in step.values if v.is_view and v in self.touched]


def _look(v: Value) -> Do:
    """A view of what a compiled step has computed."""
    o, a = v.number, v.values[0].number

    def look(arrays: Arrays, rows: int, start: int) -> None:
        arrays[o] = compute(v, [arrays[a]], rows)

    return look


def _writes(v: Value, step: Step, target: Any) -> bool:
    """Whether it is computed into an array made ready for it."""
    return v.domain != PARAMETER and not v.is_view and (step.kind in (LANES, PRODUCT) or target.addresses)


def _homes(stored: list[Value], kept: set[Value], inside: set[Value]) -> dict[Value, tuple[Value, int]]:
    """Pieces of concats that are computed where they belong: (the concat, the column) of each."""
    homes: dict[Value, tuple[Value, int]] = {}
    able = {v for v in stored if not v.is_view}
    for v in stored:
        if v.op != "concat" or v.ndim != 2 or v.options[0] != 1:
            continue
        at = 0
        for piece in v.values:
            if piece in able and piece in inside and piece not in homes and (v in kept or piece not in kept):
                homes[piece] = v, at
            at += piece.shape[1]
    return homes


def _step(step: Step, ready: set[Value]) -> Do:
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
        homes: dict[Value, tuple[Value, int]] = {}
        self.before, self.step, self.after, self.early, self.back, self.late = (
            Part(section, plan, target, homes) for section in plan.sections
        )
        self.size = len(plan.trace.graph.values)

    def once(self, values: Iterable[Value], arrays: Arrays) -> None:
        """Compute what hangs on parameters alone."""
        for v in values:
            arrays[v.number] = compute(v, [arrays[a.number] if isinstance(a, Value) else a for a in v.args], 0)

    def make(self, part: Part, arrays: Arrays, variant: Variant) -> None:
        """Arrays of all rows for what the part computes and others read; those of the states are there already."""
        for v in part.kept:
            if arrays[v.number] is None:
                arrays[v.number] = np.empty((_rows(v, variant), *v.shape[1:]), v.dtype)
        for v, whole, at in part.slices:
            if whole in self.plan.kept:
                arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        for v in part.views:
            arrays[v.number] = compute(v, [arrays[v.args[0].number]], _rows(v, variant))

    def all(self, part: Part, arrays: Arrays, variant: Variant) -> None:
        """Run a part over all rows of a variant."""
        for v in part.room:
            arrays[v.number] = np.empty((_rows(v, variant), *v.shape[1:]), v.dtype)
        for v, whole, at in part.slices:
            arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        table = self.table(part, arrays, {})
        arrays[-1] = table.ctypes.data if table is not None else 0
        for do, edges in part.do:
            do(arrays, variant.edges if edges else variant.size, 0)
        for v in part.room:
            arrays[v.number] = None

    def table(self, part: Part, arrays: Arrays, room: dict[Value, np.ndarray]) -> np.ndarray | None:
        """The addresses of what a part's compiled steps read and write."""
        if not part.addressed:
            return None
        table = np.zeros(self.size, np.int64)
        for v in part.addressed:
            array = room.get(v)
            if array is None:
                array = arrays[v.number]
            if array is None:
                continue  # what predecessors are read: its address is set call by call
            if v.domain == PARAMETER and not array.flags.c_contiguous:
                array = arrays[v.number] = np.ascontiguousarray(array)
            table[v.number] = address(array)
        return table

    def loop(self, part: Part, arrays: Arrays, variant: Variant, now: Arrays, room: dict[Value, Any], call: Call) -> None:
        """Run a part over the rows of one call; what it reads of predecessors is in `now` already."""
        _, a, b, c, d, _ = call
        touched = part.touched
        for v in part.outside:
            if v in touched and v.op not in ("kid", "each", "segments"):
                now[v.number] = arrays[v.number][c:d] if v.domain == EDGE else arrays[v.number][a:b]
        for v in part.kept:
            if v in touched:
                now[v.number] = arrays[v.number][c:d] if v.domain == EDGE else arrays[v.number][a:b]
        for v in part.room:
            if v in touched:
                now[v.number] = room[v][: d - c if v.domain == EDGE else b - a]
        for v, whole, at in part.slices:
            if v in touched:
                now[v.number] = now[whole.number][:, at : at + v.shape[1]]
        for do, edges in part.do:
            do(now, *((d - c, c) if edges else (b - a, a)))


def address(array: np.ndarray) -> int:
    """Where an array's elements lie."""
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]


def _rows(v: Value, variant: Variant) -> int:
    return variant.edges if v.domain == EDGE else variant.size
