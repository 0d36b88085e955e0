"""What is remembered of cells: what each reaches, its traces, and the machines that run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..cell import State
from ..tensor import Tensor
from . import numpy_target, plan
from .c.target import CTarget
from .capture import Reach
from .graph import Untraceable
from .layout import Layout
from .machine import Machine
from .merge import merged
from .trace import Signature, Spec, Trace, trace

KEPT = 256  # cells, traces and programs of one cell that are remembered
FORMS = 16  # forms of one cell that are traced, as in training and in evaluation; any other runs eagerly
_reaches: WeakKeyDictionary[Any, Reach] = WeakKeyDictionary()
_traces: dict[Any, Trace | str] = {}  # of cells that have a fingerprint


class Program(NamedTuple):
    """What runs of cells have in common whose layouts and Tensors look alike.

    `machines` are those of the variants; `derived` the fields of the state that have a derivative, and `reached` what
    it is of beside inputs and initial states: the number of the variant, what it reads.
    """

    machines: list[Machine]
    derived: frozenset[int]
    reached: list[tuple[int, Any]]


class Looks(NamedTuple):
    """What a program depends on: the cells by kind and what they reach, and what all that is given looks like."""

    cells: Mapping[int, Any]
    reaches: Mapping[int, Reach]
    rows: Tensor | None
    initial: State
    context: Any
    missing: tuple[tuple[int, ...], Any]
    recorded: bool


def program_of(given: Looks, layout: Layout, tensors: Sequence[Tensor], numpy_only: bool) -> Program:
    """The program for a layout, remembered where there is one cell; `tensors` are all that is given.

    Raises:
        Untraceable: a cell can't be traced.
    """
    first, *others = given.reaches.values()
    looks = tuple([(t.data.shape, t.data.dtype, t.node is None) for t in tensors])
    tree = _specs(given.context, given)
    key = layout.alike, looks, _frozen(tree), given.missing, given.recorded, numpy_only
    found = None if others else first.programs.get(key)
    if found is None:
        machines = _machines(given, layout, tree, numpy_only)
        derived = frozenset(f for m in machines for f in m.plan.trace.seeds)
        reached = [
            (i, key)
            for i, m in enumerate(machines)
            for key in m.plan.trace.gradients
            if key[0] in ("parameter", "context")
        ]
        found = Program(machines, derived, reached)
        if len(first.programs) >= KEPT:
            first.programs.clear()
        if not others:
            first.programs[key] = found
    return found


def _machines(given: Looks, layout: Layout, tree: Any, numpy_only: bool) -> list[Machine]:
    """A machine for each variant of the layout."""
    rows = given.rows
    states = tuple(Spec(v.data.shape[1:], v.data.dtype.str, given.recorded) for v in given.initial)
    x = None if rows is None else _spec(given, rows, rows.data.shape[1:])
    traces: list[Trace] = []
    missing = given.missing[0], given.missing[1].str
    for variant in layout.variants:
        reach = given.reaches[variant.kind]
        parameters = tuple([_spec(given, t, t.data.shape) for t in reach.tensors])
        signature = Signature(
            x if variant.has_input else None, missing, variant.filled, states,
            parameters, tree, given.recorded,
        )  # fmt: skip
        traces.append(_trace(given.cells[variant.kind], reach, signature, _frozen(tree), given.initial._fields))
    recurrent = frozenset(v.options[-1] for t in traces for v in t.reads)
    return [_machine(found, recurrent, numpy_only) for found in traces]


def _spec(given: Looks, t: Tensor, shape: tuple[int, ...]) -> Spec:
    return Spec(shape, t.data.dtype.str, given.recorded and t.node is not None)


def reach_of(cell: Any) -> Reach:
    """What a cell reaches, looked up anew if anything has changed.

    Raises:
        Untraceable: the cell can't be remembered, or was another one in too many runs.
    """
    try:
        found = _reaches.get(cell)
        if found is None or found.cell() is not cell or not found.valid():  # cells may be equal
            while len(_reaches) >= KEPT:  # a cell that refers to itself is kept by what is remembered of it
                _reaches.pop(next(iter(_reaches)))
            before = found.before if found is not None and found.cell() is cell else set()
            found = _reaches[cell] = Reach(cell)
            found.before = before
    except TypeError as error:
        raise Untraceable(f"a {type(cell).__name__} can't be referred to weakly: {error}") from error
    if found.fingerprint is not None and len(found.before) < FORMS:
        found.before.add(found.fingerprint)
    elif found.fingerprint is not None and found.fingerprint not in found.before:
        raise Untraceable(
            f"it was traced in {FORMS} forms, and each change of a number that it reads makes another: "
            "make one that changes from run to run a Tensor"
        )
    return found


def _trace(cell: Any, reach: Reach, signature: Signature, tree: Any, fields: tuple[str, ...]) -> Trace:
    """The trace of a cell."""
    key = reach.fingerprint, signature._replace(context=tree)  # without dicts, which can't be hashed
    known: Any = reach.traces if reach.fingerprint is None else _traces
    found = known.get(key)
    if found is None:
        try:
            found = trace(cell, reach, signature, fields)
        except Untraceable as error:
            found = str(error)  # the error itself would hold the frames it came through
        known[key] = found
        if len(known) > KEPT:
            known.pop(next(iter(known)))
    if isinstance(found, str):
        raise Untraceable(found)
    return found  # type: ignore[no-any-return]


def _machine(found: Trace, recurrent: frozenset[int], numpy_only: bool) -> Machine:
    """The machine of a trace, of whose state the fields `recurrent` are read."""
    key = recurrent, numpy_only
    machine: Machine | None = found.machines.get(key)
    if machine is None:
        made = plan.make(merged(found, recurrent), recurrent)
        real = {v.dtype.str[1:] for v in found.states}
        target: Any = numpy_target if key[1] or real not in ({"f4"}, {"f8"}) else CTarget(real.pop())
        machine = Machine(made, target)
        if not target.load():
            machine = Machine(made, numpy_target)
        found.machines[key] = machine
    return machine


def _specs(context: Any, given: Looks) -> Any:
    if context is None:
        return None
    if isinstance(context, Tensor):
        return _spec(given, context, context.data.shape[1:])
    if isinstance(context, dict):
        return {name: _specs(part, given) for name, part in context.items()}
    parts = [_specs(part, given) for part in context]
    return type(context)(*parts) if hasattr(context, "_fields") else tuple(parts)


def _frozen(tree: Any) -> Any:
    if isinstance(tree, dict):
        return tuple((k, _frozen(v)) for k, v in tree.items())
    return tree if tree is None or isinstance(tree, Spec) else tuple(map(_frozen, tree))
