"""What is remembered of cells: what each reaches, its traces, and the machines that run it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..context import mapped
from ..inputs import Missing
from ..tensor import Tensor
from . import numpy_target, plan
from .c.target import CTarget
from .capture import Reach
from .graph import Passing, Untraceable
from .machine import Machine
from .merge import merged
from .trace import Signature, Spec, Trace, trace

if TYPE_CHECKING:
    from .compiled import Prepared

KEPT = 256  # cells, traces and programs of one cell that are remembered
FORMS = 16  # forms of one cell that are traced, as in training and in evaluation; any other runs eagerly
_reaches: dict[int, Reach] = {}  # by the id of the cell: cells may be equal, or have no hash
_traces: dict[Any, Trace | str] = {}  # of cells that have a fingerprint


class Program(NamedTuple):
    """What runs of cells have in common whose layouts and Tensors look alike.

    `machines` are those of the variants; `derived` the fields of the state that have a derivative, `read` those that it
    is of where slots are read, and `reached` what it is of beside inputs and states: the number of the variant,
    what it reads.
    """

    machines: list[Machine]
    derived: frozenset[int]
    read: frozenset[int]
    reached: list[tuple[int, Any]]


def program_of(p: Prepared, context: Any, missing: Missing, numpy_only: bool) -> Program:
    """The program of what is given to a run, remembered where there is one cell.

    Args:
        p: what is given: the cells and what they reach, the layout, the arrays.
        context: as its Tensors hang together.
        missing: the inputs of vertices without one.
        numpy_only: not C.

    Raises:
        Untraceable: a cell can't be traced.
    """
    first, *others = p.reaches.values()
    looks = tuple([(t.data.shape, t.data.dtype, t.node is None) for t in p.given])
    tree = None if context is None else mapped(lambda t: _spec(p, t, t.data.shape[1:]), context)
    key = p.layout.alike, looks, _frozen(tree), p.recorded, numpy_only
    found: Program | None = None if others else first.programs.get(key)
    if found is None:
        machines = _machines(p, tree, (missing.shape, missing.dtype.str), numpy_only)
        keys = [(i, what) for i, m in enumerate(machines) for what in m.plan.trace.gradients]
        reached = [(i, what) for i, what in keys if what[0] in ("parameter", "context")]
        read = frozenset(what[-1] for _, what in keys if what[0] == "kid")
        found = Program(machines, frozenset(f for m in machines for f in m.plan.trace.seeds), read, reached)
        if len(first.programs) >= KEPT:
            first.programs.clear()
        if not others:
            first.programs[key] = found
    return found


def _machines(p: Prepared, tree: Any, missing: tuple[tuple[int, ...], str], numpy_only: bool) -> list[Machine]:
    """A machine for each variant of the layout."""
    states = tuple(Spec(v.data.shape[1:], v.data.dtype.str, p.recorded) for v in p.initial)
    x = None if p.inputs is None else _spec(p, p.inputs, p.inputs.data.shape[1:])
    traces: list[Trace] = []
    for variant in p.layout.variants:
        reach, fed = p.reaches[variant.kind], x if variant.has_input else None
        parameters = tuple([_spec(p, t, t.data.shape) for t in reach.tensors])
        signature = Signature(fed, missing, variant.filled, states, parameters, tree, p.recorded)
        traces.append(_trace(p.cells[variant.kind], reach, signature, p.initial._fields))
    recurrent = frozenset(v.options[-1] for t in traces for v in t.reads)
    return [_machine(found, recurrent, numpy_only) for found in traces]


def _spec(p: Prepared, t: Tensor, shape: tuple[int, ...]) -> Spec:
    return Spec(shape, t.data.dtype.str, p.recorded and t.node is not None)


def _frozen(tree: Any) -> Any:
    """The same without dicts, which can't be hashed."""
    if isinstance(tree, dict):
        return tuple((k, _frozen(v)) for k, v in tree.items())
    if tree is None or isinstance(tree, Spec):
        return tree
    return type(tree), *map(_frozen, tree)  # a NamedTuple is taken apart by the names of its fields


def reach_of(cell: Any) -> Reach:
    """What a cell reaches, looked up anew if anything has changed.

    Raises:
        Untraceable: the cell can't be remembered, or was another one in too many runs.
    """
    known = _reaches.get(id(cell))
    known = known if known is not None and known.cell() is cell else None
    try:
        if known is not None and known.valid():
            return known
        return _reach_anew(cell, known)
    except Untraceable:
        raise
    except Exception as error:  # of the user's objects
        raise Untraceable(f"what it reaches can't be looked at ({type(error).__name__}: {error})") from error


def _reach_anew(cell: Any, known: Reach | None) -> Reach:
    before = set() if known is None else known.before
    over = len(before) >= FORMS
    if known is None or not over or known.refused % FORMS == 0:  # else not every time: it takes longer than a run
        found = Reach(cell, partial(_reaches.pop, id(cell)))
        if not over or found.fingerprint in before:
            before.add(found.fingerprint)
            found.before = before
            while len(_reaches) >= KEPT:  # a cell that refers to itself is kept by what is remembered of it
                _reaches.pop(next(iter(_reaches)))
            _reaches[id(cell)] = found
            return found
    assert known is not None
    known.refused += 1
    what = "how much there is" if known.changed is None else known.changed
    raise Untraceable(
        f"it was traced in {FORMS} forms, and each change of what it reaches makes another (of {what}, at last): "
        "make a number that it reads a Tensor, and let it reach nothing else that changes from run to run"
    )


def _trace(cell: Any, reach: Reach, signature: Signature, fields: tuple[str, ...]) -> Trace:
    """The trace of a cell."""
    key = reach.fingerprint, signature._replace(context=_frozen(signature.context))
    known: Any = reach.traces if reach.fingerprint is None else _traces
    found = known.get(key)
    if found is None:
        try:
            found = trace(cell, reach, signature, fields)
        except Passing:
            raise
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
