"""The plan of a traced cell: what is computed once, over all rows at once, and level by level; and what is kept.

Forward, what needs no predecessor comes *before* the loop over the levels, over all vertices at once; what predecessors
are read for and what their readers need is the *step*; outputs that nobody reads come *after* it. Backward is the same
cut of the gradients' graph: there the reads are the gradients of the states, the writes those of the predecessors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .graph import ELEMENTWISE, LEAVES, PARAMETER, READS, SUMS, Value, ancestors, borrowed, dependents, users
from .trace import Trace

LANES, PRODUCT, ROWS, SUM = "lanes", "product", "rows", "sum"


@dataclass(frozen=True, eq=False)
class Step:
    """Something done in one go: a run of elementwise work (lanes), a product, one op of whole rows, a sum over rows."""

    kind: str
    values: list[Value]


@dataclass
class Section:
    """Steps done together: once over all rows of the variant, or once for each level."""

    steps: list[Step] = field(default_factory=list)

    @property
    def values(self) -> list[Value]:
        """All that is computed in it."""
        return [v for step in self.steps for v in step.values]


@dataclass
class Plan:
    """How a trace is run. `kept` are the Values that have an array of all rows; the others live in a step."""

    trace: Trace
    once: list[Value]  # of parameters alone, forward
    before: Section
    step: Section
    after: Section
    once_back: list[Value]  # of parameters alone, for the derivative
    early: Section  # gradients that wait for no one
    back: Section
    late: Section
    finish: list[Value]  # of sums over rows
    kept: set[Value] = field(default_factory=set)
    saved: set[Value] = field(default_factory=set)  # of those and the leaves, what the derivative reads again

    @property
    def sections(self) -> tuple[Section, ...]:
        """In the order they run in."""
        return self.before, self.step, self.after, self.early, self.back, self.late


def lane(v: Value) -> bool:
    """Whether an op computes each element of a row [n, W] from the elements beside it, or folds the row."""
    if v.domain == PARAMETER or v.ndim > 2 or v.op in LEAVES:
        return False
    if v.op not in ELEMENTWISE and v.op not in ("cut", "concat", "broadcast_to", "reshape", "sum", "max", "min"):
        return False
    flat = all(
        (a.domain == v.domain and a.ndim <= 2) or (a.domain == PARAMETER and a.size == (a.shape or (1,))[-1])
        for a in v.values
    )
    kinds = {a.dtype for a in (v, *v.values) if a.dtype.kind != "b"}
    return flat and len(kinds) <= 1 and all(k.kind == "f" for k in kinds)


def make(trace: Trace, recurrent: frozenset[int]) -> Plan:
    """The plan of a trace, of whose state the fields `recurrent` are read by other vertices."""
    order = ancestors(trace.outputs)
    forward = set(ancestors(trace.states))
    summed = dependents([v for v in order if v.op in SUMS], order)
    parameters = [v for v in order if v.domain == PARAMETER and v not in summed and v.op not in LEAVES]
    before, step, after, early, back, late = (Section(_steps(part)) for part in parts(trace, recurrent))
    found = Plan(
        trace=trace,
        once=[v for v in parameters if v in forward],
        before=before,
        step=step,
        after=after,
        once_back=[v for v in parameters if v not in forward],
        early=early,
        back=back,
        late=late,
        finish=[v for v in order if v in summed and v.op not in SUMS],
    )
    _keep(found, order)
    return found


def parts(trace: Trace, recurrent: frozenset[int]) -> tuple[list[Value], ...]:
    """What is computed in each section of the plan, in the order they run in."""
    order = ancestors(trace.outputs)
    forward = set(ancestors(trace.states))
    front = [v for v in order if v in forward and v.domain != PARAMETER and v.op not in LEAVES]
    rear = [v for v in order if v not in forward and (v.domain != PARAMETER or v.op in SUMS) and v.op not in LEAVES]
    writes = [trace.states[f] for f in sorted(recurrent)]
    reads = [seed for f, seed in trace.seeds.items() if f in recurrent]
    targets = [g for key, g in trace.gradients.items() if key[0] in READS]
    return *_cut(front, [v for v in order if v.op in READS], writes), *_cut(rear, reads, targets)


def _cut(values: list[Value], reads: list[Value], writes: list[Value]) -> tuple[list[Value], list[Value], list[Value]]:
    """(before, step, after) of a loop that reads and writes the given Values."""
    dependent = dependents(reads, values)
    needed = set(ancestors(writes))
    step = {v for v in values if v in dependent and v in needed}
    after = {v for v in dependent if v not in needed}
    used, ends = users(values), set(writes)
    for v in reversed(values):
        # Elementwise work for a later part alone is done in it: no array of all rows is written and read for it.
        mine = () if v in ends else used.get(v, ())  # what the loop writes must be there when it does
        if lane(v) and v not in dependent and mine and all(u in step or u in after for u in mine):
            (step if any(u in step for u in mine) else after).add(v)
    before = [v for v in values if v not in step and v not in after]
    return before, [v for v in values if v in step], [v for v in values if v in after]


def _steps(values: list[Value]) -> list[Step]:
    """Values in steps: all elementwise work between two products in one step for each domain."""
    level: dict[Value, int] = {}  # how many barriers must have been passed
    for v in values:
        level[v] = max((level[a] + (not lane(a)) for a in v.values if a in level), default=0)
    used = users(values)
    for v in reversed(values):
        # As late as it can be: then it is done with its reader, and nothing is stored in between.
        if lane(v) and v in used:
            level[v] = min(level[u] for u in used[v])
    groups: dict[tuple[int, bool, str | int], list[Value]] = {}
    for v in values:
        groups.setdefault((level[v], False, v.domain) if lane(v) else (level[v], True, v.number), []).append(v)
    ordered = sorted(groups.items(), key=lambda item: (item[0][:2], item[1][0].number))
    return [Step(_barrier(members[0]) if barrier else LANES, members) for (_, barrier, _of), members in ordered]


def _barrier(v: Value) -> str:
    if v.op in SUMS:
        return SUM
    plain = v.op == "matmul" and v.ndim == 2 and v.args[1].domain == PARAMETER
    return PRODUCT if plain else ROWS


def _keep(plan: Plan, order: list[Value]) -> None:
    """Find what needs an array of all rows: what is read in another section than it is made in, and the outputs."""
    home = {v: section for section in plan.sections for v in section.values}
    gradients = plan.trace.gradients.items()
    outputs = [*plan.trace.states, *(g for key, g in gradients if key[0] not in READS or home.get(g) is not plan.back)]
    plan.kept.update(v for v in outputs if v in home and v.domain != PARAMETER)
    behind = {v for section in plan.sections[3:] for v in section.values}
    for v in reversed(order):
        for a in v.values:
            if a in home and (home[a] is not home.get(v) or (v in plan.kept and v.is_view)) and not borrowed(a):
                plan.kept.add(a)
            if v in behind and a not in behind and a.domain != PARAMETER:
                plan.saved.add(a)
