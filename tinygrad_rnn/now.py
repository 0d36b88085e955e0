"""What a thread does now: whether it records and looks for anomalies, in which call of a cell, with which streams.

Beside it, the garbage collector kept still while a graph grows.
"""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import _GeneratorContextManager, contextmanager, suppress
from typing import Any

next_serial = itertools.count(1).__next__  # the one clock: what was recorded, or written in place, before what


class Scope:
    """Where an op was recorded: a cell call at a level, perhaps inside another; under anomaly detection, a line."""

    __slots__ = ("cell", "level", "line", "observer", "parent")

    def __init__(self, cell: str, level: int, parent: Scope | None, line: str = "") -> None:
        self.cell, self.level, self.parent, self.line = cell, level, parent, line
        # Called as (xp, level, leaf, contribution) for what this scope's operations add to a leaf's gradient.
        self.observer: Callable[[Any, int, Any, Any], None] | None = None

    def note(self, error: Exception) -> None:
        """Say in an error where it came up, unless it says so or takes no notes."""
        with suppress(Exception):
            if str(self) not in f"{error} {getattr(error, '__notes__', '')}":
                error.add_note(f"in {self}")

    def __str__(self) -> str:
        """For messages: 'cell TreeLSTM, level 3', or the line of the forward pass."""
        if not self.line:
            return f"cell {self.cell}, level {self.level}"
        return f"{self.line}, {self.parent}" if self.parent else self.line


class Now:
    """What a thread records now, and the random streams of the unfolding that runs, if one does."""

    __slots__ = ("anomaly", "plain", "recording", "scope", "streams")

    def __init__(self) -> None:
        self.set_mode(recording=True, anomaly=False)
        self.scope: Scope | None = None
        self.streams: Any = None

    def set_mode(self, recording: bool, anomaly: bool) -> None:
        """Whether to record, and whether to look for NaN and Inf."""
        self.recording, self.anomaly = recording, anomaly
        self.plain = recording and not anomaly  # one look for the hot path


class _Thread(threading.local):
    def __init__(self) -> None:
        self.now = Now()


thread = _Thread()


@contextmanager
def mode(recording: bool | None = None, anomaly: bool | None = None) -> Iterator[None]:
    """Inside, record and look for anomalies or not (None: as before); the former mode comes back whatever happens."""
    now = thread.now
    before = now.recording, now.anomaly
    now.set_mode(before[0] if recording is None else recording, before[1] if anomaly is None else anomaly)
    try:
        yield
    finally:
        now.set_mode(*before)


def set_recording(recording: bool) -> _GeneratorContextManager[None]:
    """Whether operations are recorded inside."""
    return mode(recording=recording)


@contextmanager
def within(scope: Scope | None) -> Iterator[None]:
    """Inside, what is recorded belongs to a scope."""
    now = thread.now
    before, now.scope = now.scope, scope
    try:
        yield
    finally:
        now.scope = before


@contextmanager
def without_collections() -> Iterator[None]:
    """Inside, keep the garbage collector from going over a growing graph again and again.

    A graph has no cycles, so nothing would be found, and on a long chain the search would take a good part of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
