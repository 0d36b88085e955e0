"""A run of a program: the states of all vertices of a structure, and the gradients of all that was read for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.random import Streams
from .graph import READS
from .layout import Layout, Variant
from .machine import Frame, Machine, stepper


class Run:
    """One run over a layout.

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
        self.layout = layout
        rows = layout.initials + layout.size
        self.states = [np.empty((rows, *value.shape[1:]), value.dtype) for value in initial]
        for state, value in zip(self.states, initial, strict=True):
            state[: layout.initials] = value
        self.frames = [Frame(m, v) for m, v in zip(machines, layout.variants, strict=True)]
        for frame, own, x, context in zip(self.frames, parameters, inputs, contexts, strict=True):
            arrays, leaves = frame.arrays, frame.machine.leaves
            for v in leaves["parameter"]:
                arrays[v.number] = own[v.options[0]]
            for v in leaves["input"]:
                arrays[v.number] = np.ascontiguousarray(x)
            for v in leaves["context"]:
                arrays[v.number] = np.ascontiguousarray(context[v.options])
            for f, v in enumerate(frame.machine.plan.trace.states):
                arrays[v.number] = self._rows(self.states[f], frame.variant)
        if any(frame.machine.leaves["random"] for frame in self.frames):
            self._draw(streams)

    def _rows(self, whole: np.ndarray, variant: Variant) -> np.ndarray:
        """The rows of a variant's vertices, of an array that has the initial states in front."""
        first = self.layout.initials + variant.start
        return whole[first : first + variant.size]

    def _draw(self, streams: Streams) -> None:
        """Draw all random numbers, call by call, as the eager loop does."""
        for frame in self.frames:
            for v in frame.machine.leaves["random"]:
                frame.arrays[v.number] = np.empty((frame.rows(v), *v.shape[1:]), v.dtype)
        for call in self.layout.calls:
            frame = self.frames[call.variant]
            streams.site = 0
            for v in frame.machine.leaves["random"]:
                a, b = call[3:5] if v.domain == "edge" else call[1:3]
                _, method, args = v.options
                shape = (b - a, *v.shape[1:])
                generator = streams.next()
                drawn = generator.integers(*args, shape) if args else getattr(generator, method)(shape, dtype=v.dtype)
                frame.arrays[v.number][a:b] = drawn

    def forward(self) -> None:
        """Compute the states of all vertices."""
        for frame in self.frames:
            machine = frame.machine
            frame.once(machine.plan.once)
            frame.make(machine.before)
            frame.all(machine.before, self.states)
            frame.make(machine.step)
            frame.make(machine.after)
        self._loop("step", None)
        for frame in self.frames:
            frame.all(frame.machine.after, self.states)
            for number in frame.machine.forgotten:
                frame.arrays[number] = None

    def backward(self, gradients: dict[int, np.ndarray]) -> tuple[list[dict[Any, np.ndarray]], list[np.ndarray]]:
        """The gradients of what was read, from those of the states (by field, in the order of the layout).

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
        for frame in self.frames:
            machine = frame.machine
            for f, seed in machine.plan.trace.seeds.items():
                frame.arrays[seed.number] = self._rows(total[f], frame.variant)
            frame.once(machine.plan.once_back)
            frame.make(machine.early)
            frame.all(machine.early, self.states)
            frame.make(machine.back)
            frame.make(machine.late)
        self._loop("back", total)
        found: list[dict[Any, np.ndarray]] = []
        for frame in self.frames:
            frame.all(frame.machine.late, self.states)
            frame.once(frame.machine.plan.finish)
            gradients_of = frame.machine.plan.trace.gradients.items()
            found.append({key: frame.arrays[g.number] for key, g in gradients_of if key[0] not in READS})
        return found, [g[:first] for g in total]

    def _loop(self, name: str, total: list[np.ndarray] | None) -> None:
        """Run one part of every plan call by call: forward, or backward where there are gradients to add up."""
        steps = []
        for frame in self.frames:
            part = getattr(frame.machine, name)
            steps.append(stepper(frame, part, self.states, total) if part.do or part.writes else None)
        for variant, first, last in self.layout.stretches if total is None else self.layout.stretches[::-1]:
            step = steps[variant]
            if step is not None:
                step(first, last, 1) if total is None else step(last - 1, first - 1, -1)
