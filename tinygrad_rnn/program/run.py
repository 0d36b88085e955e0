"""A run of a program: the whole unfolding as one node of the tape.

Forward it computes the states of all vertices level by level into one array; its derivative on arrays is the compiled
backward pass. Asked to record that pass, it unfolds the cell eagerly from what it was given and differentiates that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ops.random import Streams
from .graph import PARAMETER, Value
from .layout import Call, Layout, Reads, Variant
from .machine import Arrays, Machine, address


class Run:
    """The arrays of one run.

    Args:
        layout: where the vertices stand.
        machines: one for each variant of the layout.
        parameters: of each variant, the arrays its cell reaches.
        initial: the initial state by field, [1 or B, W].
        inputs: of each variant, the rows x [n, I] or None.
        contexts: of each variant, the rows of the context by path.
        streams: what random ops draw from.
    """

    def __init__(
        self,
        layout: Layout,
        machines: Sequence[Machine],
        parameters: Sequence[Sequence[np.ndarray]],
        initial: Sequence[np.ndarray],
        inputs: Sequence[np.ndarray | None],
        contexts: Sequence[dict[tuple[Any, ...], np.ndarray]],
        streams: Streams,
    ) -> None:
        self.layout, self.machines = layout, machines
        rows = layout.initials + layout.size
        self.states = [np.empty((rows, *value.shape[1:]), value.dtype) for value in initial]
        for state, value in zip(self.states, initial, strict=True):
            state[: layout.initials] = value
        self.arrays: list[Arrays] = []
        for variant, machine, own, x, context in zip(
            layout.variants, machines, parameters, inputs, contexts, strict=True
        ):
            arrays: Arrays = [None] * (machine.size + 1)
            for v in machine.plan.trace.graph.values:
                if v.op == "parameter":
                    arrays[v.number] = own[v.options[0]]
                elif v.op == "full":
                    arrays[v.number] = np.full(v.shape, v.args[0], v.dtype)
                elif v.op == "input":
                    arrays[v.number] = None if x is None else np.ascontiguousarray(x)
                elif v.op == "context":
                    arrays[v.number] = np.ascontiguousarray(context[v.options])
                elif v.op == "segments":
                    arrays[v.number] = variant.segments
            for f, v in enumerate(machine.plan.trace.states):
                arrays[v.number] = self._rows(self.states[f], variant)
            self.arrays.append(arrays)
        self._draw(streams)

    def _rows(self, whole: np.ndarray, variant: Variant) -> np.ndarray:
        """The rows of a variant's vertices, of an array that has the initial states in front."""
        first = self.layout.initials + variant.start
        return whole[first : first + variant.size]

    def _draw(self, streams: Streams) -> None:
        """Draw all random numbers, call by call, as the eager loop does."""
        sites: list[list[Value]] = []
        for machine, arrays, variant in zip(self.machines, self.arrays, self.layout.variants, strict=True):
            found = [v for v in machine.plan.trace.graph.values if v.op == "random"]
            for v in found:
                rows = variant.edges if v.domain == "edge" else variant.size
                arrays[v.number] = np.empty((rows, *v.shape[1:]), v.dtype)
            sites.append(found)
        if not any(sites):
            return
        for call in self.layout.calls:
            streams.site = 0
            for v in sites[call.variant]:
                a, b = call[3:5] if v.domain == "edge" else call[1:3]
                _, method, args = v.options
                shape = (b - a, *v.shape[1:])
                generator = streams.next()
                drawn = generator.integers(*args, shape) if args else getattr(generator, method)(shape, dtype=v.dtype)
                self.arrays[call.variant][v.number][a:b] = drawn

    def forward(self) -> None:
        """Compute the states of all vertices."""
        for i, (machine, arrays, variant) in enumerate(self._each()):
            machine.once(machine.plan.once, arrays)
            machine.make(machine.before, arrays, variant)
            machine.all(machine.before, arrays, variant)
            machine.make(machine.step, arrays, variant)
            machine.make(machine.after, arrays, variant)
        self._loop("step", self.layout.calls, self.states, None)
        for i, (machine, arrays, variant) in enumerate(self._each()):
            self._gather(i, machine.after, self.states)
            machine.all(machine.after, arrays, variant)
            self._release(machine, arrays)

    def _release(self, machine: Machine, arrays: Arrays) -> None:
        """Let go of what the derivative does not read."""
        plan = machine.plan
        held = {v for v in plan.saved}
        for v in list(held):
            while v.is_view:
                v = v.args[0]
                held.add(v)
        for v in plan.trace.graph.values:
            if v.domain != PARAMETER and v not in held:
                arrays[v.number] = None

    def backward(
        self, gradients: dict[int, np.ndarray], wanted: Callable[[int, Any], bool]
    ) -> tuple[list[dict[Any, np.ndarray]], list[np.ndarray]]:
        """The gradients of what was read, from those of the states (by field, without initial rows).

        Returns:
            for each variant its gradients by key, and those of the initial states by field.
        """
        first = self.layout.initials
        total = []
        for f, state in enumerate(self.states):
            g = np.empty(state.shape, state.dtype)
            g[:first] = 0
            g[first:] = gradients.get(f, 0)
            total.append(g)
        for i, (machine, arrays, variant) in enumerate(self._each()):
            for f, seed in machine.plan.trace.seeds.items():
                arrays[seed.number] = self._rows(total[f], variant)
            machine.once(machine.plan.once_back, arrays)
            self._gather(i, machine.early, self.states)
            machine.make(machine.early, arrays, variant)
            machine.all(machine.early, arrays, variant)
            machine.make(machine.back, arrays, variant)
            machine.make(machine.late, arrays, variant)
        self._loop("back", self.layout.calls[::-1], self.states, total)
        found: list[dict[Any, np.ndarray]] = []
        for i, (machine, arrays, variant) in enumerate(self._each()):
            self._gather(i, machine.late, self.states)
            machine.all(machine.late, arrays, variant)
            machine.once(machine.plan.finish, arrays)
            found.append(
                {key: arrays[g.number] for key, g in machine.plan.trace.gradients.items() if key[0] not in ("kid", "each")}
            )
        return found, [g[:first] for g in total]

    def _each(self) -> list[tuple[Machine, Arrays, Variant]]:
        return list(zip(self.machines, self.arrays, self.layout.variants, strict=True))

    def _gather(self, i: int, part: Any, states: list[np.ndarray]) -> None:
        """Predecessors' states of all rows of a variant, for work over all of them."""
        variant, arrays = self.layout.variants[i], self.arrays[i]
        for v in part.outside:
            if v.op in ("kid", "each"):
                reads, f = _reads(v, variant)
                state = states[f]
                arrays[v.number] = (
                    state[reads.whole : reads.whole + len(reads.index)] if reads.whole >= 0 else state[reads.index]
                )

    def _loop(self, name: str, calls: Sequence[Call], states: list[np.ndarray], total: list[np.ndarray] | None) -> None:
        """Run one part of every variant's plan call by call."""
        prepared = []
        for i, (machine, arrays, variant) in enumerate(self._each()):
            part = getattr(machine, name)
            if not part.do:
                prepared.append(None)
                continue
            most = max((c.stop - c.start for c in variant.calls), default=0)
            edges = max((c.last_edge - c.first_edge for c in variant.calls), default=0)
            room = {v: np.empty((edges if v.domain == "edge" else most, *v.shape[1:]), v.dtype) for v in part.room}
            now = [a if v.domain == PARAMETER else None
                   for a, v in zip(arrays, machine.plan.trace.graph.values)]  # fmt: skip
            for v in part.outside:
                if v.op in ("kid", "each"):
                    arrays[v.number] = None  # set call by call
            table = machine.table(part, arrays, room)
            now.append(0 if table is None else table.ctypes.data)
            reads = [(v, *_reads(v, variant)) for v in part.outside if v.op in ("kid", "each")]
            segments = [v for v in part.outside if v.op == "segments"]
            writes = []
            if total is not None:
                for key, g in machine.plan.trace.gradients.items():
                    if key[0] in ("kid", "each"):
                        writes.append((g, variant.slots[key[1] if key[0] == "kid" else -1], total[key[-1]]))
            prepared.append((machine, part, arrays, now, room, reads, segments, writes, table))
        for call in calls:
            ready = prepared[call.variant]
            if ready is None:
                continue
            machine, part, arrays, now, room, reads, segments, writes, table = ready
            for v, where, f in reads:
                a, b = call[3:5] if v.domain == "edge" else call[1:3]
                at = where.starts[call.number]
                now[v.number] = states[f][at : at + b - a] if at >= 0 else states[f][where.index[a:b]]
                if v in part.addressed:
                    table[v.number] = address(now[v.number])
            for v in segments:
                now[v.number] = self.layout.variants[call.variant].segments[call[3] : call[4]] - call.start
            machine.loop(part, arrays, self.layout.variants[call.variant], now, room, call)
            for g, where, into in writes:
                a, b = call[3:5] if g.domain == "edge" else call[1:3]
                at = where.starts[call.number]
                if at >= 0:
                    into[at : at + b - a] += now[g.number]
                elif where.distinct[call.number]:
                    into[where.index[a:b]] += now[g.number]
                else:
                    np.add.at(into, where.index[a:b], now[g.number])


def _reads(v: Value, variant: Variant) -> tuple[Reads, int]:
    """(where the rows lie, the field of the state) of a Value that reads predecessors."""
    return (variant.slots[v.options[0]], v.options[1]) if v.op == "kid" else (variant.slots[-1], v.options[0])

