"""What becomes of a cell on a structure: how its program runs, or why it has none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..cell import Cell, State, name_of
from ..native import toolchain
from ..ops.recording import INTEGERS
from ..structure import Ids, Structure
from ..tensor import Tensor
from ..unfold import begin
from .capture import Reach
from .compiled import Prepared, setting
from .graph import Untraceable, Value, ancestors
from .layout import Variant
from .machine import Machine
from .plan import LANES, PRODUCT, SUM, Section, Step
from .recall import reach_of
from .trace import PRIMES, Trace

STAGES = ("before", "step", "after", "early", "back", "late")  # the sections of a plan, in the order they run in
SHOWN = 12  # calls whose rows are told one by one
LEGEND = """before, step, after: the states; early, back, late: their derivative. step and back run once for each call,
the others once over all rows. n, e: rows, edges. %k: value k of the graph."""
# What to do about it, by words of the reason.
REMEDIES = {
    "can't find again": "pass it as context, or make it an attribute of the cell",
    "branches on a value": "compute both sides, and choose between them row by row with tg.where",
    "is not traced": "use ops of tinygrad_rnn on rows alone; look at numbers outside of the cell, in run.all()",
    "writes to an attribute": "return what the next vertices need as a part of the state",
    "it changes": "return what the next vertices need as a part of the state",
    "own random numbers": "take tg.random: every vertex, or a Tensor that is computed outside, has a draw of its own",
    "two traces of it differ": "let the cell compute the same at every call; give it what changes as inputs or context",
    "axis 0": "compute each row from the same row of x, kids and context alone",
    "one row per vertex": "draw n rows of random numbers, as many as x has",
    "anomalies": "none is needed: outside tg.detect_anomaly() it runs as a program",
    "are kept": "unfold without keep=(...) where these gradients are not looked at",
    "COMPILE=0": "take TINYGRAD_RNN_COMPILE out of the environment",
    "has a hook": "register the hook on a result of the unfolding",
    "referred to weakly": "give the class of the cell no __slots__, or add '__weakref__' to them",
    "another shape or dtype": "return each state as wide as its initial state: eagerly another width is an error",
    "it raises ": "unfold it: if that is a mistake in the cell, it is raised there, with its line",
    "start from different states": "give all cells the same initial(), or pass initial=...",
}


class Work(NamedTuple):
    """Something done in one go.

    `kind` is "product" (`text` as it would be written, `shapes`), "sum" (over rows), "kernel" (elementwise ops that one
    C function does, `ops` of them), "elementwise" (the same, one after the other by NumPy), or "rows": another op.
    `gradient_of` are the parameters whose gradient it is.
    """

    kind: str
    text: str
    shapes: str = ""
    ops: int = 1
    gradient_of: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Group:
    """The vertices of one variant of a cell: of one kind, with or without inputs, with the same slots filled.

    `target` is "C" or "NumPy", and `why_not_c` tells why it is not C; `calls` are the rows of each call, `stages` what
    is done in each section of the plan. `loop` is the most rows of a call with which the loop over the calls is C too;
    0 if it is Python in any case, for the reason `why_no_loop`. `slices` and `gathers` count the calls that read a slot
    (-1: the edges of a multiset) from rows that follow each other, and from others; `empty` the vertices that read an
    initial state there. `machine` has the graph (`machine.plan.trace.graph`), the plan, and the target with its source.
    """

    title: str
    variant: Variant
    machine: Machine
    target: str
    why_not_c: str
    calls: list[int]
    loop: int
    why_no_loop: str
    slices: dict[int, int]
    gathers: dict[int, int]
    empty: dict[int, int]
    stages: dict[str, list[Work]]

    def products(self, stage: str) -> list[Work]:
        """The products of a stage."""
        return [work for work in self.stages[stage] if work.kind == "product"]

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {label:<8}{text}" for label, text in self._lines())])

    def _lines(self) -> Iterator[tuple[str, str]]:
        plan, n = self.machine.plan, self.variant.size
        yield "target", self.target + (f": {self.why_not_c}" if self.why_not_c else "")
        if self.stages["step"] or self.stages["back"]:
            least, most = min(self.calls), max(self.calls)
            varied = f"{least} / {np.median(self.calls):g} / {most} rows (least / median / most)"
            if len(self.calls) <= SHOWN:
                varied = f"{', '.join(map(str, self.calls))} rows"
            rows = _count(most, "row") if least == most else varied
            yield "calls", f"{len(self.calls)}, a level each: {rows}"
            if self.loop:
                thin = sum(count <= self.loop for count in self.calls)
                yield "loop", f"in C for {thin} of {_count(len(self.calls), 'call')}: those of up to {self.loop} rows"
            elif self.target == "C":
                yield "loop", f"in Python: {self.why_no_loop}"
        else:
            yield "calls", f"1, of {_count(n, 'row')}: none waits for another"
        for slot in self.slices:
            read = [plan.trace.fields[v.options[-1]] for v in plan.trace.reads if slot < 0 or v.options[0] == slot]
            what = f"{'edges' if slot < 0 else f'slot {slot}'} ({', '.join(read) or 'nothing is read'})"
            counts = f"{_count(self.slices[slot], 'slice')}, {_count(self.gathers[slot], 'gather')}"
            some = f"; {_count(self.empty[slot], 'row')} of the initial state" if self.empty[slot] else ""
            yield "reads", f"{what}: {counts}{some}"
        sites = len(self.machine.leaves["random"])
        if sites:
            yield "random", f"{_count(sites, 'draw')} for each call, in the order in which the eager loop draws"
        if plan.once:
            yield "once", f"{_count(len(plan.once), 'op')} of parameters alone"
        for name, works in self.stages.items():
            for i, work in enumerate(works):
                over = _count(self.variant.edges, "edge") if "e" in work.shapes else _count(n, "row")
                at_once = "" if name in ("step", "back") else f", over {over} at once"
                yield "" if i else name, _line(work, at_once)
        if not plan.trace.seeds:
            yield "back", "no derivative: nothing that it reads requires a gradient, or nothing is recorded"


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` found, as a page (`str`) and in parts.

    `reason` is empty, or why the cell has no program; `remedy` what to do about it.

    `parameters` are the Tensors that the cell of each kind reaches by name, `groups` how their vertices are computed.
    """

    title: str
    parameters: dict[int, list[tuple[str, tuple[int, ...]]]]
    groups: list[Group]
    reason: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.reason:
            remedy = f"\n  remedy  {self.remedy}" if self.remedy else ""
            return f"{self.title}: no program, it runs eagerly\n  why     {self.reason}{remedy}"
        lines = [f"{self.title}: a program, the cell in {_count(len(self.groups), 'variant')}"]
        for kind, found in self.parameters.items():
            shown = ", ".join(f"{name} {[*shape]}" for name, shape in found) or "none"
            lines.append(f"Tensors found by name{f' (kind {kind})' if len(self.parameters) > 1 else ''}: {shown}")
        for group in self.groups:
            lines += ["", str(group)]
        return "\n".join([*lines, "", LEGEND])

    def __repr__(self) -> str:
        return f"<Explanation of {self.title}: {'it runs eagerly' if self.reason else 'a program'}>"


def explain(
    cell: Cell | Mapping[int, Cell],
    structure: Structure,
    inputs: Tensor | tuple[Any, Tensor | int] | int | None = None,
    context: Any = None,
    initial: State | None = None,
    keep: Sequence[str] = (),
) -> Explanation:
    """Print how `tg.unfold` would run a cell on a structure, or why it would run it op by op; nothing is run.

    Args:
        cell, structure, context, initial, keep: as in `tg.unfold`.
        inputs: as in `tg.unfold`, or with the width I in place of rows, `I` or `(ids, I)`. None: the `input_size` of
            the cell, at the vertices whose cell has one other than 0; if none has, no inputs, or such as make a cell
            work that reads some: as wide as an axis of a Tensor that it reaches.

    Returns:
        what was printed, in parts.

    >>> import tinygrad_rnn as tg
    >>> @tg.cell(arity=1, state={"h": 4})
    ... def stubborn(x, kids):
    ...     return kids[0].h if float(tg.sum(x)) > 0 else x
    >>> found = tg.explain(stubborn, tg.chain([5]), 4)
    stubborn on 5 vertices in 5 levels: no program, it runs eagerly
      why     it branches on a value (...return kids[0].h if float(tg.sum(x)) > 0 else x)
      remedy  compute both sides, and choose between them row by row with tg.where
    """
    cells = dict(cell) if isinstance(cell, Mapping) else {0: cell}
    rows = _fed(cells, cell, structure) if inputs is None else inputs
    found = _explained(cell, cells, structure, rows, context, initial, keep)
    if rows is None and "Error: " in found.reason:  # it reads inputs
        lengths = dict.fromkeys(n for t in _reached(cells) for n in t.shape)
        tried = (_explained(cell, cells, structure, width, context, initial, keep) for width in lengths)
        found = next((other for other in tried if not other.reason), found)
    print(found)  # noqa: T201 - that is what it is for
    return found


def _reached(cells: Mapping[int, Cell]) -> list[Tensor]:
    """The floating Tensors that cells reach."""
    try:
        return [t for cell in cells.values() for t in reach_of(cell).tensors if t.dtype.kind == "f"]
    except Untraceable:
        return []


def _explained(cell: Any, cells: Any, structure: Structure, rows: Any, *how: Any) -> Explanation:
    """What is found with these rows, or with zeros where there is but their width."""
    if isinstance(rows, INTEGERS):
        rows = structure.ids, rows
    if isinstance(rows, tuple) and isinstance(rows[1], INTEGERS):
        like = next(iter((*_reached(cells), next(iter(cells.values())).initial()[0])))
        rows = rows[0], ops.zeros((len(rows[0]), int(rows[1])), dtype=like.dtype, device=like.device)
    context, initial, keep = how
    run, schedule, ids, given = begin(cell, structure, rows, context, initial, keep, 0)
    names = " and ".join(dict.fromkeys(map(name_of, cells.values())))
    title = f"{names} on {_count(structure.size, 'vertex', 'vertices')} in {_count(structure.levels, 'level')}"
    try:
        prepared = Prepared(run, structure, schedule, ids, given)
    except Untraceable as error:
        reason = re.sub(rf"\b{PRIMES[0]}\b", "n", re.sub(rf"\b{PRIMES[1]}\b", "e", str(error)))
        remedy = next((text for words, text in REMEDIES.items() if words in reason), "")
        if rows is None and "Error: " in reason:
            remedy = "if its vertices have inputs, give their rows or their width: tg.explain(cell, structure, 3)"
        return Explanation(title, {}, [], reason, remedy)
    reaches = prepared.reaches
    parameters = {
        kind: [(name, t.shape) for name, t in zip(reach.names, reach.tensors, strict=True)]
        for kind, reach in reaches.items()
    }
    pairs = zip(prepared.layout.variants, prepared.program.machines, strict=True)
    groups = [_group(v, machine, prepared.layout.initials, reaches[v.kind]) for v, machine in pairs]
    return Explanation(title, parameters, groups)


def _fed(cells: Mapping[int, Cell], other: Any, structure: Structure) -> tuple[Ids, int] | None:
    """The vertices whose cell has an input, and its width; None: there is none."""
    widths = {kind: getattr(cells.get(kind, other), "input_size", 0) for kind in structure.kinds_used}
    wide = {w for w in widths.values() if w}
    if len(wide) > 1:
        raise ValueError(f"explain: the cells have inputs of {len(wide)} widths, {sorted(wide)}; an unfolding has one")
    ids = np.flatnonzero(np.isin(structure.kinds, [kind for kind, w in widths.items() if w]))
    return (ids, wide.pop()) if wide else None


def _group(variant: Variant, machine: Machine, initials: int, reach: Reach) -> Group:
    reads = variant.slots.items()
    sections = zip(STAGES, machine.plan.sections, strict=True)
    part = machine.step if machine.step.do else machine.back
    return Group(
        _title(variant, reach.arity), variant, machine, machine.target.name, _why_not_c(machine),
        [c.stop - c.start for c in variant.calls], 0 if part.loop is None else part.loop.most, _why_no_loop(machine),
        {slot: sum(start >= 0 for start in r.starts) for slot, r in reads},
        {slot: sum(start < 0 for start in r.starts) for slot, r in reads},
        {slot: int(np.sum(r.index < initials)) for slot, r in reads},
        {name: list(_works(section, machine, reach.names)) for name, section in sections},
    )  # fmt: skip


def _title(v: Variant, arity: int | None) -> str:
    kind = f" of kind {v.kind}" if v.kind else ""
    x = "with an input" if v.has_input else "without an input (nothing of x is multiplied)"
    empty = " and ".join([str(k) for k, filled in enumerate(v.filled) if not filled])
    named = "no predecessors" if arity is None else f"slot{'s' if ' ' in empty else ''} {empty} empty"
    return f"{_count(v.size, 'vertex', 'vertices')}{kind} {x}" + (f", {named} (folded away)" if empty else "")


def _works(section: Section, machine: Machine, names: list[str]) -> Iterator[Work]:
    """What is done in a section, in its order; views cost nothing."""
    trace = machine.plan.trace
    for step in section.steps:
        v, shown = step.values[0], trace.graph.shown
        args = [written(a, trace, names) if isinstance(a, Value) else repr(a) for a in v.args]
        shapes = [shown(a.shape) for a in v.values]
        if all(w.is_view for w in step.values):
            continue
        if step.kind == LANES:
            done = [w.op for w in step.values if not w.is_view and w.op != "concat"]
            text = ", ".join(dict.fromkeys(done or ["concat"]))
            yield Work("kernel" if _in_c(step, machine) else "elementwise", text, "", len(done))
        elif step.kind == PRODUCT:
            yield Work("product", " @ ".join(args), " x ".join(shapes))
        elif step.kind == SUM:
            # A set, as == of Values is an op of the graph.
            of = tuple(
                [names[k[1]] for k, g in trace.gradients.items() if k[0] == "parameter" and v in {*ancestors([g])}]
            )
            if v.op == "contract":
                text = f"{args[0]}.T @ {args[1]}"
                yield Work("product", text, f"{shown(v.args[0].shape[::-1])} x {shapes[1]}", 1, of)
            else:
                yield Work("sum", ", ".join(args), " x ".join(shapes), 1, of)
        else:
            yield Work("rows", f"{v.op}({', '.join(args)})")


def _line(work: Work, rows: str) -> str:
    of = f": the gradient of {' and '.join(work.gradient_of)}" if work.gradient_of else ""
    if work.kind in ("product", "sum"):
        return f"{'sum of' if work.kind == 'sum' else 'product'} {work.text}, {work.shapes}{rows}{of}"
    if work.kind == "rows":
        return work.text
    done = f"{_count(work.ops, 'elementwise op')} ({work.text})" if work.ops else work.text
    return f"kernel: {done}" if work.kind == "kernel" else f"{done}, one after the other"


def written(v: Value, trace: Trace, names: list[str]) -> str:
    """A Value as the cell's author would write it, or by its number in the graph."""
    for state, field in zip(trace.states, trace.fields, strict=True):
        if v is state:
            return field
    if v.op in ("input", "segments"):
        return "x" if v.op == "input" else "edges"
    if v.op == "parameter":
        return str(names[v.options[0]])
    if v.op in ("kid", "each"):
        return f"kids{'.each' if v.op == 'each' else f'[{v.options[0]}]'}.{trace.fields[v.options[-1]]}"
    if v.op == "gradient":
        return f"dL/d{trace.fields[v.options[0]]}"
    if v.op == "context":
        return "context" + "".join([f"[{k!r}]" for k in v.options])
    if v.op in ("permute_dims", "transposed", "reshape", "broadcast_to", "concat", "cut"):
        parts = [written(a, trace, names) for a in v.values]
        if v.op == "concat" and not any("%" in part for part in parts):
            return f"[{', '.join(parts)}]"
        if v.op == "cut":
            axis, start, stop = v.options
            return f"{parts[0]}[{':, ' * axis}{start}:{stop}]"
        if v.op != "concat":
            return parts[0] + (".T" if v.op in ("permute_dims", "transposed") else "")
    return f"%{v.number}"


def _in_c(step: Step, machine: Machine) -> bool:
    return step in getattr(machine.target, "kernels", ())


def _why_not_c(machine: Machine) -> str:
    if machine.target.name == "C":
        return ""
    if setting() == "numpy":
        return "TINYGRAD_RNN_COMPILE=numpy asks for it"
    dtypes = {v.dtype.name for v in machine.plan.trace.states}
    if dtypes not in ({"float32"}, {"float64"}):
        return f"its state is {' and '.join(sorted(dtypes))}; C computes in float32 or float64 alone"
    if toolchain.compiler() is None:
        return "there is no C compiler (remedy: install gcc or clang, or pip install ziglang)"
    return "the C compiler can't be used; a RuntimeWarning has said why"


def _why_no_loop(machine: Machine) -> str:
    """Why Python steps through the calls: the first op that is NumPy's."""
    if any(v.op in ("each", "segments") for v in machine.step.outside):
        return "it reads a multiset of edges"
    for step in (*machine.plan.step.steps, *machine.plan.back.steps):
        if step.kind != PRODUCT and not _in_c(step, machine) and not all(v.is_view for v in step.values):
            return f"{step.values[0].op} is NumPy's"
    return "a gradient that it hands on is known before the loop"


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
