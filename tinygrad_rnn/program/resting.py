"""Runs that are over and rest: the next run over the same layout takes one with all its arrays.

Fresh memory is dear, since the system clears each page of it, and so is finding out where everything lies.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .layout import Layout
from .machine import Machine
from .run import LASTING, Run

_resting: dict[Layout, list[Run]] = {}  # by layout, that which was left last at the end; of one, the latest run too
_lock = threading.RLock()  # reentrant: a run may come to rest wherever the garbage collector runs
_held = 0  # bytes of all of them


def take(layout: Layout, machines: Sequence[Machine], initial: Sequence[np.ndarray], owners: Sequence[Any]) -> Run:
    """A run over a layout, that was at rest or is new.

    Its owners are what the parameters belong to. It is theirs until others take it, or they are gone: one that was
    theirs before still knows where the parameters lie.
    """
    global _held
    layout.runs += 1
    with _lock:
        waiting = _resting.pop(layout, [])  # so that nobody else, nor the garbage collector, sees them meanwhile
        fitting = [run for run in waiting if run.machines == machines]
        mine = [run for run in fitting if all(ref() is o for ref, o in zip(run.owners, owners, strict=True))]
        if fitting:
            found = (mine or fitting)[-1]
            waiting.remove(found)
            _held -= found.size
            found.resting = False
        if waiting:
            _resting[layout] = [*waiting, *_resting.pop(layout, [])]
    if not fitting:
        found = Run(layout, machines, initial)
    if not mine:
        gone = partial(_let_go, weakref.ref(found))
        found.owners = [weakref.ref(owner, gone) for owner in owners]
    return found


def _let_go(run: weakref.ref[Run], _: Any) -> None:
    """Let a run that is at rest, and whose owner is gone, forget the parameters."""
    with _lock:
        found = run()
        if found is not None and found.resting:
            found.let_go()


def rest(run: Run) -> None:
    """Let a run wait for the next one over its layout, and go those that have waited longest if they are too many."""
    global _held
    if not run.lasts:
        return
    run.rest()
    with _lock:
        run.resting = True
        _resting[run.layout] = [*_resting.pop(run.layout, []), run]
        _held += run.size
        while _held > LASTING and _resting:
            layout = next(iter(_resting))
            oldest, *others = _resting.pop(layout)
            if others:
                _resting[layout] = others
            _held -= oldest.size
            oldest.let_go()
