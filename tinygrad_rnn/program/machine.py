"""The machine: runs the sections of a plan, over all rows of a variant at once or call by call.

What a target brings is how elementwise steps are done; products are NumPy's in every target, and so is whatever no
target looks into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .graph import EDGE, PARAMETER, VIEWS, Value
from .layout import Call, Variant
from .meaning import compute
from .plan import LANES, PRODUCT, Plan, Section, Step

Arrays = list[Any]  # the array of each Value, by its number
Do = Callable[[Arrays, int], None]


class Part:
    """A section made ready: what it reads from outside, what it needs room for, what it does."""

    def __init__(self, section: Section, plan: Plan, target: Any) -> None:
        made = section.values
        inside = set(made)
        self.outside = [v for v in dict.fromkeys(a for v in made for a in v.values)
                        if v not in inside and v.domain != PARAMETER]  # fmt: skip
        step_of = {v: i for i, step in enumerate(section.steps) for v in step.values}
        ends = {g for key, g in plan.trace.gradients.items() if g in inside}
        crossing = {a for v in made for a in v.values if a in inside and step_of[a] != step_of[v]} | ends
        crossing |= inside & plan.kept
        for v in reversed(made):
            if v in crossing and v.op in VIEWS:
                crossing.update(a for a in v.values if a in inside)
        stored = [v for step in section.steps
                  for v in (target.stored(step, crossing) if step.kind == LANES else step.values)]  # fmt: skip
        self.homes = _homes(stored, plan.kept, inside)
        self.kept = [v for v in stored if v in plan.kept]
        self.room = [v for v in stored if v not in plan.kept and v not in self.homes and _writes(v, step_of, section)]
        self.slices = [(v, *self.homes[v]) for v in reversed(stored) if v in self.homes]  # a whole before its pieces
        self.views = [v for v in made if v.op in VIEWS and v in plan.kept]
        self.do = [(_step(step, self.homes, target, plan.kept), step.values[0].domain == EDGE)
                   for step in section.steps]  # fmt: skip


def _writes(v: Value, step_of: dict[Value, int], section: Section) -> bool:
    """Whether it is computed into an array made ready for it."""
    return v.domain != PARAMETER and section.steps[step_of[v]].kind in (LANES, PRODUCT)


def _homes(stored: list[Value], kept: set[Value], inside: set[Value]) -> dict[Value, tuple[Value, int]]:
    """Pieces of concats that are computed where they belong: (the concat, the column) of each."""
    homes: dict[Value, tuple[Value, int]] = {}
    able = {v for v in stored if v.op not in VIEWS}
    for v in stored:
        if v.op != "concat" or v.ndim != 2 or v.options[0] != 1:
            continue
        at = 0
        for piece in v.values:
            if piece in able and piece in inside and piece not in homes and (v in kept or piece not in kept):
                homes[piece] = v, at
            at += piece.shape[1]
    return homes


def _step(step: Step, homes: dict[Value, tuple[Value, int]], target: Any, kept: set[Value]) -> Do:
    if step.kind == LANES:
        return target.lanes(step, homes)  # type: ignore[no-any-return]
    (v,) = step.values
    o = v.number
    numbers = [(a.number, None) if isinstance(a, Value) else (-1, a) for a in v.args]
    if step.kind == PRODUCT:
        a, b = numbers[0][0], numbers[1][0]

        def product(arrays: Arrays, rows: int) -> None:
            np.matmul(arrays[a], arrays[b], out=arrays[o])

        return product
    held = (v in kept or v in homes) and v.op not in VIEWS

    def whole(arrays: Arrays, rows: int) -> None:
        result = compute(v, [c if n < 0 else arrays[n] for n, c in numbers], rows)
        if held and v.domain != PARAMETER:
            arrays[o][...] = result
        else:
            arrays[o] = result

    return whole


class Machine:
    """A plan with a target, ready to run."""

    def __init__(self, plan: Plan, target: Any) -> None:
        self.plan, self.target = plan, target
        self.before, self.step, self.after, self.early, self.back, self.late = (
            Part(section, plan, target) for section in plan.sections
        )
        self.size = len(plan.trace.graph.values)

    def once(self, values: Iterable[Value], arrays: Arrays) -> None:
        """Compute what hangs on parameters alone."""
        for v in values:
            arrays[v.number] = compute(v, [arrays[a.number] if isinstance(a, Value) else a for a in v.args], 0)

    def make(self, part: Part, arrays: Arrays, variant: Variant) -> None:
        """Arrays of all rows for what the part computes and others read; those of the states are there already."""
        for v in part.kept:
            if arrays[v.number] is None and v not in part.homes and v.domain != PARAMETER and v.op not in VIEWS:
                arrays[v.number] = np.empty((_rows(v, variant), *v.shape[1:]), v.dtype)
        for v, whole, at in part.slices:
            if whole in self.plan.kept and arrays[whole.number] is not None:
                arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        for v in part.views:
            arrays[v.number] = compute(v, [arrays[v.args[0].number]], _rows(v, variant))

    def all(self, part: Part, arrays: Arrays, variant: Variant) -> None:
        """Run a part over all rows of a variant."""
        for v in part.room:
            arrays[v.number] = np.empty((_rows(v, variant), *v.shape[1:]), v.dtype)
        for v, whole, at in part.slices:
            arrays[v.number] = arrays[whole.number][:, at : at + v.shape[1]]
        for do, edges in part.do:
            do(arrays, variant.edges if edges else variant.size)
        for v in part.room:
            arrays[v.number] = None

    def call(self, part: Part, now: Arrays, all_rows: Arrays, room: dict[Value, Any], call: Call) -> None:
        """Run a part over the rows of one call; what it reads of predecessors is in `now` already."""
        _, a, b, c, d, _ = call
        for v in part.outside:
            if v.op not in ("kid", "each", "segments"):
                now[v.number] = all_rows[v.number][c:d] if v.domain == EDGE else all_rows[v.number][a:b]
        for v in part.kept:
            if v not in part.homes and v.op not in VIEWS:
                now[v.number] = all_rows[v.number][c:d] if v.domain == EDGE else all_rows[v.number][a:b]
        for v in part.room:
            now[v.number] = room[v][: d - c if v.domain == EDGE else b - a]
        for v, whole, at in part.slices:
            now[v.number] = now[whole.number][:, at : at + v.shape[1]]
        for do, edges in part.do:
            do(now, d - c if edges else b - a)


def _rows(v: Value, variant: Variant) -> int:
    return variant.edges if v.domain == EDGE else variant.size
