"""An unfolding run as a program: the cells' program found or made, run, and put on the tape as one node."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from .. import ops, tape
from ..backend import NUMPY
from ..cell import State, name_of
from ..now import Scope, mode, within
from ..schedule import Schedule
from ..structure import Ids, Structure
from ..tape import Leaf, Node, Row
from ..tensor import Tensor
from ..unfold import Unfolding, begin, step_through
from .graph import Untraceable
from .layout import Layout, foldable
from .recall import program_of, reach_of
from .resting import rest, take
from .run import Run


def run(unfolding: Unfolding, structure: Structure, schedule: Schedule, ids: Ids, rows: Tensor | None) -> bool:
    """Compute an unfolding by programs; False, and nothing done, if it must run eagerly."""
    try:
        prepared = Prepared(unfolding, structure, schedule, ids, rows)
    except Untraceable:
        return False
    prepared.run(unfolding)
    return True


class Prepared:
    """What a run of an unfolding needs: its layout, its program, and what it is given.

    Raises:
        Untraceable: it must run eagerly; the message says why.
    """

    def __init__(
        self, unfolding: Unfolding, structure: Structure, schedule: Schedule, ids: Ids, rows: Tensor | None
    ) -> None:
        how = setting()
        _refuse(unfolding, structure, rows, how)
        self.structure, self.ids, self.inputs = structure, ids, rows
        self.initial = _initial(unfolding, structure)
        self.context: dict[Any, Tensor] = {} if unfolding.context is None else _flat(unfolding.context)
        self.cells = {kind: unfolding._cells.of(kind)[0] for kind in structure.kinds_used}
        self.reaches = {kind: reach_of(cell) for kind, cell in self.cells.items()}
        # All that the run reads.
        self.given = [t for reach in self.reaches.values() for t in reach.tensors]
        self.given += (*self.initial, *self.context.values(), *(() if rows is None else (rows,)))
        for t in self.given:
            if type(t.data) is not np.ndarray:
                raise Untraceable(f"it computes on {t.device}; programs are for the CPU so far")
        self.layout = _layout(structure, schedule, self.cells, self.initial)
        self.recorded = tape.thread.now.recording and any(t.node is not None for t in self.given)
        self.program = program_of(self, unfolding.context, unfolding._missing, how == "numpy")

    def run(self, unfolding: Unfolding) -> None:
        """Compute the states, and leave them in the unfolding as one block."""
        layout, program = self.layout, self.program
        self.order: Ids | None = None  # of the input rows, in the order of the layout; None: as they are
        initial = [v.data for v in self.initial]
        reaches = [self.reaches[v.kind] for v in layout.variants]
        running = take(layout, program.machines, initial, reaches)
        parameters = [[t.data for t in reach.tensors] for reach in reaches]
        running.start(parameters, initial, self._rows(), self._contexts(), unfolding._streams)
        running.forward()
        states = [state[layout.initials :] for state in running.states]
        if running.lasts:
            states = [state.copy() for state in states]
        for state in states if not running.lasts else ():
            state.flags.writeable = False  # the backward pass reads it
        node = self._node(unfolding, running) if self.recorded else None
        if node is None:
            rest(running)
        derived = () if node is None else program.derived
        whole = [ops.output(s, node, f) if f in derived else Tensor(s) for f, s in enumerate(states)]  # type: ignore[arg-type]
        unfolding._compiled(layout.row, layout.moved, self.structure.levels, type(self.initial)(*whole))

    def _rows(self) -> list[np.ndarray | None]:
        """The input rows of each variant."""
        layout = self.layout
        if self.inputs is None:
            return [None] * len(layout.variants)
        data = self.inputs.data
        if not (layout.in_order and (self.ids is self.structure.ids or (self.ids[1:] > self.ids[:-1]).all())):
            row_of = np.full(layout.size, -1)
            row_of[self.ids] = np.arange(len(self.ids))
            order = row_of[layout.order]
            self.order = order[order >= 0]
            data = data[self.order]
        ends = accumulate(v.size if v.has_input else 0 for v in layout.variants)
        return [data[end - v.size : end] if v.has_input else None for v, end in zip(layout.variants, ends, strict=True)]

    def _contexts(self) -> list[dict[Any, np.ndarray]]:
        """The rows of the context of each variant."""
        if not self.context:
            return [{} for _ in self.layout.variants]
        found = []
        for v in self.layout.variants:
            examples = self.structure.example[self.layout.order[v.start : v.start + v.size]]
            found.append({path: t.data[examples] for path, t in self.context.items()})
        return found

    def _node(self, unfolding: Unfolding, running: Run) -> Node | None:
        """The run on the tape, if its derivative leads to anything."""
        sources = [] if self.inputs is None else [self.inputs]
        sources += self.initial
        for i, key in self.program.reached:
            reached = self.context if key[0] == "context" else self.reaches[self.layout.variants[i].kind].tensors
            sources.append(reached[key[1:] if key[0] == "context" else key[1]])
        parents = list(dict.fromkeys([t.node for t in sources if t.node is not None]))
        if not parents:
            return None
        kept = tuple([t.data for t in self.given])  # so that a write to one in between is noticed
        leaves = [t.data for t in self.given if type(t.node) is Leaf]  # and by a checkpoint around it too
        names = " and ".join(dict.fromkeys([name_of(cell) for cell in self.cells.values()]))
        scope = Scope(names, -1, tape.thread.now.scope, line=f"cell {names}")
        return Node(PROGRAM, tuple(parents), (Backward(self, running, parents, unfolding), kept, leaves), None, scope)


def _backward(xp: Any, g: dict[int, Any], needed: list[bool], work: Any, kept: Any, leaves: Any) -> list[Any]:
    return work.recorded(g, needed, kept) if xp is tape.tensors else work(g, needed)  # type: ignore[no-any-return]


PROGRAM = Row("program", (), joint=_backward)


class Backward:
    """The derivative of a run."""

    def __init__(self, prepared: Prepared, running: Run, parents: list[Node], unfolding: Unfolding) -> None:
        self.prepared, self.running, self.parents = prepared, running, parents
        # What else it is unfolded again from; not the unfolding, whose states lead here.
        self.context, self.seed, self.outer = unfolding.context, unfolding._streams.seed, tape.thread.now.scope
        self.initial = prepared.initial  # what may have been computed, once

    def __del__(self) -> None:
        rest(self.running)

    def __call__(self, g: dict[int, Any], needed: list[bool]) -> list[Any]:
        """The gradients of the parents, from those of the states by field."""
        with self.running.lock:  # one graph may be differentiated by several threads
            return self._of_run(g, needed)

    def _of_run(self, g: dict[int, Any], needed: list[bool]) -> list[Any]:
        p, layout = self.prepared, self.prepared.layout
        found, initial = self.running.backward(g)
        total: dict[Node, Any] = {}

        def add(t: Tensor | None, gradient: Any) -> None:
            if t is not None and t.node is not None and gradient is not None:
                before = total.get(t.node)
                total[t.node] = gradient if before is None else before + gradient

        for f, value in enumerate(p.initial):
            if value.node is not None and f in p.program.read:
                own = initial[f]
                add(value, own if len(own) == len(value.data) else own.sum(axis=0, keepdims=True))
        add(p.inputs, self._inputs(found))
        for v, gradients in zip(layout.variants, found, strict=True):
            tensors = p.reaches[v.kind].tensors
            for key, gradient in gradients.items():
                if key[0] == "parameter":
                    add(tensors[key[1]], gradient)
                elif key[0] == "context":
                    t = p.context[key[1:]]
                    examples = p.structure.example[layout.order[v.start : v.start + v.size]]
                    add(t, NUMPY.scatter_add_rows(gradient, examples, len(t.data)))
        return [total.get(node) if need else None for node, need in zip(self.parents, needed, strict=True)]

    def _inputs(self, found: Sequence[dict[Any, Any]]) -> Any:
        """The gradient of the input rows, as they were given."""
        p = self.prepared
        if p.inputs is None or not any(("input",) in gradients for gradients in found):
            return None
        pieces = [
            gradients.get(("input",), np.zeros((v.size, *p.inputs.data.shape[1:]), p.inputs.data.dtype))
            for v, gradients in zip(p.layout.variants, found, strict=True)
            if v.has_input
        ]
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        if p.order is not None:
            back = np.empty_like(rows)
            back[p.order] = rows
            rows = back
        return rows

    def eager(self) -> list[Tensor]:
        """The states as the eager unfolding of the same inputs records them, by field, in the order of the layout."""
        p, order = self.prepared, self.prepared.layout.order
        cells = {kind: self._as_it_was(kind, cell) for kind, cell in p.cells.items()}
        inputs = None if p.inputs is None else (p.ids, p.inputs)
        with within(self.outer), mode(recording=True):
            run, schedule, ids, rows = begin(cells, p.structure, inputs, self.context, self.initial, (), self.seed)
            step_through(run, schedule, ids, rows)
        return [value if (np.diff(order) == 1).all() else ops.gather_rows(value, order) for value in run.all()]

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

    def recorded(self, g: dict[int, Any], needed: list[bool], kept: tuple[np.ndarray, ...]) -> list[Any]:
        """The derivative recorded: of the eager unfolding of the same Tensors.

        Raises:
            GraphError: one of them has another array than it had when they were unfolded.
        """
        if any(t.data is not array for t, array in zip(self.prepared.given, kept, strict=True)):
            names = " and ".join(map(name_of, self.prepared.cells.values()))
            raise tape.GraphError(
                f"a Tensor that {names} was unfolded with was assigned to since, and a backward pass that is recorded "
                "(create_graph=True) unfolds it again; run it before the assignment"
            )
        since = tape.next_serial()
        states = self.eager()
        starts = [(node, value) for f, value in g.items() if (node := states[f].node) is not None]
        wanted = [node for node, need in zip(self.parents, needed, strict=True) if need]
        found = tape.run_backward([n for n, _ in starts], [v for _, v in starts], wanted, True, True, since)
        return [found.get(node) for node in self.parents]


def setting() -> str:
    """How programs are to run: "1", "0" (not at all) or "numpy" (not in C).

    Raises:
        ValueError: the environment says something else.
    """
    said = os.environ.get("TINYGRAD_RNN_COMPILE") or "1"
    if said not in ("1", "0", "numpy"):
        raise ValueError(f"TINYGRAD_RNN_COMPILE={said} in the environment: it can be 1, 0 (eager) or numpy (no C)")
    return said


def _refuse(unfolding: Unfolding, structure: Structure, rows: Tensor | None, how: str) -> None:
    if how == "0":
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


def _layout(structure: Structure, schedule: Schedule, cells: dict[int, Any], initial: State) -> Layout:
    arity = {kind: cell.arity for kind, cell in cells.items()}
    slots = tuple(sorted(arity.items()))
    folded = schedule.layouts.get(slots)
    if folded is None:
        folded = schedule.layouts[slots] = foldable(schedule, arity)
    if folded:  # if they are zeros that nobody differentiates
        folded = all(v.node is None and len(v.data) == 1 and not v.data.any() for v in initial)
    key = slots, folded, len(initial[0].data)
    found = schedule.layouts.get(key)
    if found is None:
        found = schedule.layouts[key] = Layout(structure, schedule, arity, folded, len(initial[0].data))
    return found


def _flat(context: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Tensor]:
    """The Tensors of a context by their path."""
    if isinstance(context, Tensor):
        return {path: context}
    if not isinstance(context, dict | tuple) or hasattr(context, "lengths"):
        raise Untraceable("its context is ragged")
    items = context.items() if isinstance(context, dict) else enumerate(context)
    return {p: t for name, part in items for p, t in _flat(part, (*path, name)).items()}
