"""An unfolding run as a program: the cells' traces found or made, run, and put on the tape as one node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from .. import ops, tape
from ..cell import State, name_of
from ..now import Scope, mode, within
from ..schedule import Schedule
from ..structure import Ids, Structure
from ..tape import Node, Row
from ..tensor import Tensor
from ..unfold import Unfolding, begin, step_through
from . import numpy_target, plan
from .c.target import CTarget
from .capture import Reach
from .graph import Untraceable
from .layout import Layout
from .machine import Machine
from .merge import merged
from .run import Run, rest, take
from .trace import Signature, Spec, Trace, trace

KEPT = 256  # cells, and traces, that are remembered
FORMS = 16  # forms of one cell that are traced, as in training and in evaluation; any other runs eagerly
_reaches: WeakKeyDictionary[Any, Reach] = WeakKeyDictionary()
_traces: dict[Any, Trace | str] = {}  # of cells that have a fingerprint


def run(unfolding: Unfolding, structure: Structure, schedule: Schedule, ids: Ids, rows: Tensor | None) -> bool:
    """Compute an unfolding by programs; False, and nothing done, if it must run eagerly."""
    try:
        prepared = Prepared(unfolding, structure, schedule, ids, rows)
    except Untraceable:
        return False
    prepared.run(unfolding)
    return True


class Prepared:
    """What a run of an unfolding needs: its layout, machines and arrays.

    Raises:
        Untraceable: it must run eagerly; the message says why.
    """

    def __init__(
        self, unfolding: Unfolding, structure: Structure, schedule: Schedule, ids: Ids, rows: Tensor | None
    ) -> None:
        now = tape.thread.now
        _refuse(unfolding, structure, rows)
        self.structure, self.ids, self.inputs = structure, ids, rows
        self.initial = _initial(unfolding, structure)
        self.cells = {kind: unfolding._cells.of(kind)[0] for kind in structure.kinds_used}
        self.reaches = {kind: reach_of(cell) for kind, cell in self.cells.items()}
        zero = all(v.node is None and len(v.data) == 1 and not v.data.any() for v in self.initial)
        arity = {kind: cell.arity for kind, cell in self.cells.items()}
        self.layout = _layout(structure, schedule, arity, zero, len(self.initial[0].data))
        context = {} if unfolding.context is None else _flat(unfolding.context)
        self.context: dict[tuple[Any, ...], Tensor] = context
        tensors = [t for reach in self.reaches.values() for t in reach.tensors]
        given = [*tensors, *self.initial, *context.values(), *(() if rows is None else (rows,))]
        if any(len(t.data) < structure.examples for t in context.values()):
            raise Untraceable("its context has too few rows")
        for t in given:
            if type(t.data) is not np.ndarray:
                raise Untraceable(f"it computes on {t.device}; programs are for the CPU so far")
        self.recorded = now.recording and any(t.node is not None for t in given)
        missing = unfolding._no_input.data
        # What the machines depend on; of one cell they are remembered by it.
        looks = tuple([(t.data.shape, t.data.dtype, t.node is None) for t in given])
        key = (self.layout.alike, looks, tuple(context), missing.shape[1:], missing.dtype, self.recorded, _numpy_only())
        first, *others = self.reaches.values()
        known = None if others else first.machines.get(key)
        self.machines: list[Machine] = known or self._machines(unfolding, missing)
        if not others:
            first.machines = {} if len(first.machines) > KEPT else first.machines
            first.machines[key] = self.machines

    def _machines(self, unfolding: Unfolding, missing: np.ndarray) -> list[Machine]:
        """A machine for each variant of the layout."""
        rows = self.inputs
        states = tuple(Spec(v.data.shape[1:], v.data.dtype.str, self.recorded) for v in self.initial)
        x = None if rows is None else self._spec(rows, rows.data.shape[1:])
        tree = None if unfolding.context is None else _specs(unfolding.context, self._spec)
        traces: list[Trace] = []
        for variant in self.layout.variants:
            reach = self.reaches[variant.kind]
            parameters = tuple([self._spec(t, t.data.shape) for t in reach.tensors])
            signature = Signature(
                x if variant.has_input else None, (missing.shape[1:], missing.dtype.str), variant.filled, states,
                parameters, tree, self.recorded,
            )  # fmt: skip
            traces.append(_trace(self.cells[variant.kind], reach, signature, _frozen(tree), unfolding.fields))
        recurrent = frozenset(v.options[-1] for t in traces for v in t.reads)
        return [_machine(found, recurrent) for found in traces]

    def _spec(self, t: Tensor, shape: tuple[int, ...]) -> Spec:
        return Spec(shape, t.data.dtype.str, self.recorded and t.node is not None)

    def run(self, unfolding: Unfolding) -> None:
        """Compute the states, and leave them in the unfolding as one block."""
        layout = self.layout
        self.order = None  # of the input rows, in the order of the layout; None: as they are
        inputs: list[np.ndarray | None] = [None] * len(layout.variants)
        if self.inputs is not None:
            data = self.inputs.data
            if not (layout.in_order and (self.ids[1:] > self.ids[:-1]).all()):  # else the rows are read as they lie
                row_of = np.full(layout.size, -1)
                row_of[self.ids] = np.arange(len(self.ids))
                order = [row_of[layout.order[v.start : v.start + v.size]] for v in layout.variants if v.has_input]
                self.order = np.concatenate(order or [self.ids])
                data = data[self.order]
            at = 0
            for i, v in enumerate(layout.variants):
                if v.has_input:
                    inputs[i] = data[at : at + v.size]
                    at += v.size
        contexts: list[dict[tuple[Any, ...], np.ndarray]] = []
        for v in layout.variants:
            examples = self.structure.example[layout.order[v.start : v.start + v.size]] if self.context else None
            contexts.append({path: t.data[examples] for path, t in self.context.items()})
        seed = unfolding._streams.seed
        initial = [v.data for v in self.initial]
        running = take(layout, self.machines, initial)
        parameters = [[t.data for t in self.reaches[v.kind].tensors] for v in layout.variants]
        running.start(parameters, initial, inputs, contexts, unfolding._streams)
        running.forward()
        states = [state[layout.initials :] for state in running.states]
        if running.lasts:
            states = [state.copy() for state in states]
        for state in states if not running.lasts else ():
            state.flags.writeable = False  # the backward pass reads it
        node = None
        if self.recorded:
            replay = _replay(unfolding, self.structure, self.ids, self.inputs, seed)
            sources = [*([] if self.inputs is None else [self.inputs]), *self.initial, *self._differentiated()]
            parents = list(dict.fromkeys(t.node for t in sources if t.node is not None))
            if parents:
                work = Backward(self, running, parents, replay)
                # All that the pass reads, differentiated or not, so that a write to it in between is noticed.
                reached = [t for reach in self.reaches.values() for t in reach.tensors]
                kept = [t.data for t in (*sources, *self.context.values(), *reached)]
                names = " and ".join(dict.fromkeys(name_of(cell) for cell in self.cells.values()))
                scope = Scope(names, -1, tape.thread.now.scope, line=f"cell {names}")
                node = Node(PROGRAM, tuple(parents), (work, kept), None, scope)
        if node is None:
            rest(running)
        seeds = {f for m in self.machines for f in m.plan.trace.seeds}
        whole = [ops.output(s, node, f) if node is not None and f in seeds else Tensor(s) for f, s in enumerate(states)]
        unfolding._compiled(layout.row, layout.moved, type(self.initial)(*whole))

    def _differentiated(self) -> list[Tensor]:
        """The parameters and contexts that the cells' derivatives reach."""
        found = []
        for variant, machine in zip(self.layout.variants, self.machines, strict=True):
            for key in machine.plan.trace.gradients:
                if key[0] == "parameter":
                    found.append(self.reaches[variant.kind].tensors[key[1]])
                elif key[0] == "context":
                    found.append(self.context[key[1:]])
        return found


def _backward(xp: Any, g: dict[int, Any], needed: list[bool], work: Any, kept: Any) -> list[Any]:
    return work(xp, g, needed)  # type: ignore[no-any-return]


PROGRAM = Row("program", (), joint=_backward)


class Backward:
    """The derivative of a run."""

    def __init__(self, prepared: Prepared, running: Run, parents: list[Node], replay: Any) -> None:
        self.prepared, self.running, self.parents, self.replay = prepared, running, parents, replay

    def __del__(self) -> None:
        rest(self.running)

    def __call__(self, xp: Any, g: dict[int, Any], needed: list[bool]) -> list[Any]:
        """The gradients of the parents, from those of the states by field."""
        if xp is tape.tensors:
            return self._eagerly(g, needed)
        p, layout = self.prepared, self.prepared.layout
        found, initial = self.running.backward(g)
        total: dict[Node, Any] = {}

        def add(t: Tensor | None, gradient: Any) -> None:
            if t is not None and t.node is not None and gradient is not None:
                before = total.get(t.node)
                total[t.node] = gradient if before is None else before + gradient

        for f, value in enumerate(p.initial):
            if value.node is not None:
                own = initial[f]
                add(value, own if len(own) == len(value.data) else own.sum(axis=0, keepdims=True))
        add(p.inputs, self._inputs(found))
        for v, gradients in zip(layout.variants, found, strict=True):
            tensors = p.reaches[v.kind].tensors
            examples = p.structure.example[layout.order[v.start : v.start + v.size]]
            for key, gradient in gradients.items():
                if key[0] == "parameter":
                    add(tensors[key[1]], gradient)
                elif key[0] == "context":
                    t = p.context[key[1:]]
                    rows = np.zeros(t.data.shape, t.data.dtype)
                    np.add.at(rows, examples, gradient)
                    add(t, rows)
        return [total.get(node) if need else None for node, need in zip(self.parents, needed, strict=True)]

    def _inputs(self, found: Sequence[dict[Any, Any]]) -> Any:
        """The gradient of the input rows, as they were given."""
        p = self.prepared
        if p.inputs is None or p.inputs.node is None:
            return None
        pieces = [
            gradients.get(("input",), np.zeros((v.size, *p.inputs.data.shape[1:]), p.inputs.data.dtype))
            for v, gradients in zip(p.layout.variants, found, strict=True)
            if v.has_input
        ]
        if not pieces:
            return None
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if p.order is not None:
            back = np.empty_like(rows)
            back[p.order] = rows
            rows = back
        return rows

    def eager(self) -> list[Tensor]:
        """The states as the eager unfolding of the same inputs records them, by field, in the order of the layout."""
        order = self.prepared.layout.order
        states = self.replay({kind: self._as_it_was(kind, cell) for kind, cell in self.prepared.cells.items()}).all()
        return [value if (np.diff(order) == 1).all() else ops.gather_rows(value, order) for value in states]

    def _as_it_was(self, kind: int, cell: Any) -> Any:
        """A cell with the Tensors that it reached when it was unfolded.

        Raises:
            GraphError: something else of it has changed since.
        """
        before = self.prepared.reaches[kind]
        if before.valid():
            return cell
        now = reach_of(cell)
        if before.fingerprint is None or now.fingerprint != before.fingerprint:
            raise tape.GraphError(
                f"cell {name_of(cell)} has changed since it was unfolded, and a backward pass that is recorded "
                "(create_graph=True) calls it again; run it before the change"
            )
        return now.twin(cell, before.tensors.__getitem__).cell

    def _eagerly(self, g: dict[int, Any], needed: list[bool]) -> list[Any]:
        """The derivative recorded: of the eager unfolding of the same inputs."""
        since = tape.next_serial()
        states = self.eager()
        starts = [(node, value) for f, value in g.items() if (node := states[f].node) is not None]
        wanted = [node for node, need in zip(self.parents, needed, strict=True) if need]
        found = tape.run_backward([n for n, _ in starts], [v for _, v in starts], wanted, True, True, since)
        return [found.get(node) for node in self.parents]


def _replay(unfolding: Unfolding, structure: Structure, ids: Ids, rows: Tensor | None, seed: int) -> Any:
    several = bool(unfolding.cells)
    context, initial = unfolding.context, unfolding._cells.initial if unfolding._cells._given else None
    outer = tape.thread.now.scope

    def again(cells: Any) -> Unfolding:
        cell = cells if several else next(iter(cells.values()))
        with within(outer), mode(recording=True):
            inputs = None if rows is None else (ids, rows)
            eager, schedule, vertices, rows_of = begin(cell, structure, inputs, context, initial, (), seed)
            step_through(eager, schedule, vertices, rows_of)
        return eager

    return again


def _numpy_only() -> bool:
    return os.environ.get("TINYGRAD_RNN_COMPILE") == "numpy"


def _refuse(unfolding: Unfolding, structure: Structure, rows: Tensor | None) -> None:
    if os.environ.get("TINYGRAD_RNN_COMPILE", "1") == "0":
        raise Untraceable("TINYGRAD_RNN_COMPILE=0 switches programs off")
    if tape.thread.now.anomaly:
        raise Untraceable("anomalies are looked for op by op")
    if unfolding._kept.states is not None or unfolding._kept.parameters is not None:
        raise Untraceable("gradients of single states or levels are kept")
    if not structure.size:
        raise Untraceable("there is nothing to compute")
    if rows is not None and rows.data.dtype.kind != "f":
        raise Untraceable("its inputs are no floating numbers")


def _initial(unfolding: Unfolding, structure: Structure) -> State:
    """The state that empty slots read, of all kinds."""
    states = [unfolding._cells.of(kind)[1] for kind in structure.kinds_used]
    first = states[0]
    for other in states[1:]:
        for a, b in zip(first, other, strict=True):
            if a is not b and (a.node is not None or b.node is not None or a.dtype != b.dtype
                               or not np.array_equal(a.data, b.data)):  # fmt: skip
                raise Untraceable("its kinds of cells start from different states")
    if any(v.dtype.kind != "f" for v in first):
        raise Untraceable("its state is no floating number")
    if len({len(v.data) for v in first}) > 1:
        raise Untraceable("some of its initial states are one for all, and some one for each example")
    return first


def _layout(
    structure: Structure, schedule: Schedule, arity: dict[int, int | None], zero: bool, initials: int
) -> Layout:
    key = (tuple(sorted(arity.items())), zero, initials)
    found = schedule.layouts.get(key)
    if found is None:
        found = schedule.layouts[key] = Layout(structure, schedule, arity, zero, initials)
    return found


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


def _machine(found: Trace, recurrent: frozenset[int]) -> Machine:
    """The machine of a trace, of whose state the fields `recurrent` are read."""
    key = recurrent, _numpy_only()
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


def _flat(context: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Tensor]:
    """The Tensors of a context by their path."""
    if isinstance(context, Tensor):
        return {path: context}
    if not isinstance(context, dict | tuple) or hasattr(context, "lengths"):
        raise Untraceable("its context is ragged")
    items = context.items() if isinstance(context, dict) else enumerate(context)
    return {p: t for name, part in items for p, t in _flat(part, (*path, name)).items()}


def _specs(context: Any, spec: Any) -> Any:
    if isinstance(context, Tensor):
        return spec(context, context.data.shape[1:])
    if isinstance(context, dict):
        return {name: _specs(part, spec) for name, part in context.items()}
    parts = [_specs(part, spec) for part in context]
    return type(context)(*parts) if hasattr(context, "_fields") else tuple(parts)


def _frozen(tree: Any) -> Any:
    if isinstance(tree, dict):
        return tuple((k, _frozen(v)) for k, v in tree.items())
    return tree if tree is None or isinstance(tree, Spec) else tuple(map(_frozen, tree))
