"""A run of a program: the states of all vertices of a structure, and the gradients of all that was read for them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ops.random import Streams
from .frame import Frame
from .graph import READS
from .layout import Layout, Variant
from .machine import Machine

LASTING = 1 << 27  # bytes of all runs that are kept for later ones, about
OBJECTS = 1 << 14  # bytes of what is no array, of a small run of one variant


class Run:
    """One run over a layout; over a layout that is run again, one run after the other with the same arrays.

    Args:
        layout: where the vertices stand.
        machines: one for each variant of the layout.
        initial: arrays like those of the initial state, by field.
    """

    def __init__(self, layout: Layout, machines: Sequence[Machine], initial: Sequence[np.ndarray]) -> None:
        self.layout, self.machines = layout, machines
        rows = layout.initials + layout.size
        widths = 2 * sum(value[:1].size for value in initial)
        widths += sum(v.width for m in machines for part in m.parts for v in part.kept)
        packed = sum(2 * v.size for m in machines if m.step.loop is not None for v in m.leaves["parameter"])
        self.size = (rows * widths + packed) * initial[0].itemsize + OBJECTS * len(machines)
        self.lasts = layout.runs > 1 and self.size <= LASTING  # most structures run only once
        self.total: list[np.ndarray] = []
        self.owners: list[weakref.ref[Any]] = []
        self.resting = False
        self.lock = threading.Lock()  # who differentiates it holds it
        self.spoiled = False  # the backward pass has written over what it read
        self.frames = [Frame(m, v, self.lasts) for m, v in zip(machines, layout.variants, strict=True)]
        self._take_states([np.empty((rows, *value.shape[1:]), value.dtype) for value in initial])

    def _take_states(self, states: list[np.ndarray]) -> None:
        self.states = states
        for frame in self.frames:
            for f, v in enumerate(frame.machine.plan.trace.states):
                frame.arrays[v.number] = self._rows(states[f], frame.variant)

    def rest(self) -> None:
        """Keep nothing of what was given for this run, or given away by it."""
        for frame in self.frames:
            frame.rest()

    def let_go(self) -> None:
        """Forget the parameters too; what steps through a frame holds it: now it goes at once, not at a collection."""
        for frame in self.frames:
            frame.let_go()

    def start(
        self,
        parameters: Sequence[list[np.ndarray]],
        initial: Sequence[np.ndarray],
        inputs: Sequence[np.ndarray | None],
        contexts: Sequence[dict[tuple[Any, ...], np.ndarray]],
        streams: Streams,
    ) -> None:
        """Take what is given.

        Args:
            parameters: of each variant, the arrays its cell reaches.
            initial: the initial state by field, [1 or B, W].
            inputs: of each variant, the rows x [n, I] or None.
            contexts: of each variant, the rows of the context by path.
            streams: what random ops draw from.
        """
        self.spoiled = False
        for state, value in zip(self.states, initial, strict=True):
            state[: self.layout.initials] = value
        for frame, own, x, context in zip(self.frames, parameters, inputs, contexts, strict=True):
            frame.start(own, x, context)
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
                if frame.arrays[v.number] is None:
                    frame.arrays[v.number] = np.empty((frame.rows(v), *v.shape[1:]), v.dtype)
        for call in self.layout.calls:
            frame = self.frames[call.variant]
            for v in frame.machine.leaves["random"]:
                a, b = call[3:5] if v.domain == "edge" else call[1:3]
                streams.site, method, args = v.options
                draw = getattr(streams.next(), method)
                frame.arrays[v.number][a:b] = draw(*args, (b - a, *v.shape[1:]), dtype=v.dtype)

    def forward(self) -> None:
        """Compute the states of all vertices."""
        for frame in self.frames:
            machine = frame.machine
            frame.once("once")
            frame.make(machine.before)
            frame.all(machine.before, self.states)
            frame.make(machine.step)
            frame.make(machine.after)
        self._loop("step", [])
        for frame in self.frames:
            frame.all(frame.machine.after, self.states)
            for number in frame.machine.forgotten if not self.lasts else ():
                frame.arrays[number] = None

    def backward(self, gradients: dict[int, np.ndarray]) -> tuple[list[dict[Any, np.ndarray]], list[np.ndarray]]:
        """The gradients of what was read, from those of the states (by field, in the order of the layout).

        Returns:
            for each variant its gradients by key, and those of the initial states by field.
        """
        if self.spoiled:
            if not self.lasts:  # the states were given away
                self._take_states([state.copy() for state in self.states])
            self.forward()
        self.spoiled = any(machine.spoils for machine in self.machines)
        first = self.layout.initials
        if not self.total or not self.lasts:
            self.total = [np.empty(state.shape, state.dtype) for state in self.states]
        total = self.total
        for f, g in enumerate(total):
            g[:first] = 0
            g[first:] = gradients.get(f, 0)
        for frame in self.frames:
            machine = frame.machine
            for f, seed in machine.plan.trace.seeds.items():
                frame.arrays[seed.number] = self._rows(total[f], frame.variant)
            frame.once("once_back")
            frame.make(machine.early)
            frame.all(machine.early, self.states)
            frame.make(machine.back)
            frame.make(machine.late)
        self._loop("back", total)
        found: list[dict[Any, np.ndarray]] = []
        for frame in self.frames:
            frame.all(frame.machine.late, self.states)
            frame.finish()
            gradients_of = frame.machine.plan.trace.gradients.items()
            found.append({key: frame.arrays[g.number] for key, g in gradients_of if key[0] not in READS})
            self._give(frame, found[-1])
        return found, [g[:first].copy() if self.lasts else g[:first] for g in total]

    def _give(self, frame: Frame, found: dict[Any, np.ndarray]) -> None:
        """Let go of the gradient of the inputs: a later backward pass, or run, must not write into it."""
        rows = found.get(("input",))
        if rows is not None and (self.lasts or rows.base is not None):
            found["input",] = rows.copy()
        elif rows is not None:
            frame.arrays[frame.machine.plan.trace.gradients["input",].number] = None

    def _loop(self, name: str, total: list[np.ndarray]) -> None:
        """Run one part of every plan call by call: forward, or backward where there are gradients to add up."""
        steps = [frame.stepper(getattr(frame.machine, name), self.states, total) for frame in self.frames]
        for variant, first, last in self.layout.stretches[::-1] if total else self.layout.stretches:
            step = steps[variant]
            if step is not None:
                step(last - 1, first - 1, -1) if total else step(first, last, 1)
