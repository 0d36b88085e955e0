"""The machine: a plan made ready for a target, in parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import LEAVES, PARAMETER, given
from .part import Homes, Part, root
from .plan import ROWS, Plan


class Machine:
    """A plan with a target, ready to run."""

    def __init__(self, plan: Plan, target: Any) -> None:
        self.plan, self.target = plan, target
        self.homes: Homes = {}
        self.parts = [Part(section, plan, target, self.homes) for section in plan.sections]
        self.before, self.step, self.after, self.early, self.back, self.late = self.parts
        self.addressed = set().union(*(part.addressed for part in self.parts))
        self.values = plan.trace.graph.values
        self.size = len(self.values)
        self.constants = [(v.number, np.full(v.shape, v.args[0], v.dtype)) for v in self.values if v.op == "full"]
        self.leaves = {op: [v for v in self.values if v.op == op] for op in ("parameter", "input", "context", "random")}
        self.segments = [v.number for v in self.values if v.op == "segments"]
        lodged = {host for part in self.parts[3:] for _, host, _ in part.guests}
        held = (
            plan.saved | lodged | {*plan.trace.gradients.values()}
        )  # a gradient of zeros may be a Value of the cell's
        # Whether the backward pass writes over what it reads: a second one needs the forward pass once more.
        self.spoils = any(root(v, self.homes)[0] in lodged for v in plan.saved)
        for v in reversed(self.values):
            if v in held and v.is_view:
                held.update(v.values)
            if v in held and v in self.homes:
                held.add(self.homes[v][0])
        # What is computed and the derivative does not read: its arrays are let go of after the forward pass.
        rows = [v for v in self.values if v.domain != PARAMETER and v.op not in LEAVES]
        self.forgotten = [v.number for v in rows if v not in held]
        # What is given for one run, or given away by it.
        lasting = {*plan.once, *plan.once_back, *(v for v in self.values if v.domain == PARAMETER and v.op in LEAVES)}
        placed = {v for p in self.parts for v in (*p.kept, *p.room, *p.views, *(v for v, *_ in (*p.slices, *p.guests)))}
        rowwise = {v for s in plan.sections for step in s.steps if step.kind == ROWS for v in step.values} - placed
        self.passing = [v.number for v in self.values if v not in lasting and (given(v) or v in rowwise)]
