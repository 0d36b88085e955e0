"""Runs that are over and rest: the next run over the same layout takes one with all its arrays.

Fresh memory is dear, since the system clears each page of it, and so is finding out where everything lies.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .layout import Layout
from .machine import Machine
from .run import LASTING, Run

_resting: dict[Layout, list[Run]] = {}  # by layout, that which was left last at the end; of one, the latest run too
_arriving: deque[Run] = deque()  # those that are not among them yet: the garbage collector may bring some at any time
_lock = threading.Lock()
_held = 0  # bytes of all that rest


def take(layout: Layout, machines: Sequence[Machine], initial: Sequence[np.ndarray], owners: Sequence[Any]) -> Run:
    """A run over a layout, that was at rest or is new.

    Its owners are what the parameters belong to. It is theirs until others take it, or they are gone: one that was
    theirs before still knows where the parameters lie.
    """
    global _held
    layout.runs += 1
    with _lock:
        _settle()
        waiting = _resting.get(layout, [])
        fitting = [run for run in waiting if run.machines == machines]
        mine = [run for run in fitting if all(ref() is o for ref, o in zip(run.owners, owners, strict=True))]
        if fitting:
            found = (mine or fitting)[-1]
            waiting.remove(found)
            if not waiting:
                _resting.pop(layout)
            _held -= found.size
            found.resting = False
    if not fitting:
        found = Run(layout, machines, initial)
    if not mine:
        gone = partial(_let_go, weakref.ref(found))
        found.owners = [weakref.ref(owner, gone) for owner in owners]
    return found


def _let_go(run: weakref.ref[Run], _: Any) -> None:
    """Let a run that is at rest, and whose owner is gone, forget the parameters."""
    if _lock.acquire(blocking=False):  # else it forgets them when it is taken, or goes
        try:
            found = run()
            if found is not None and found.resting:
                found.let_go()
        finally:
            _lock.release()


def rest(run: Run) -> None:
    """Let a run wait for the next one over its layout, and drop those that have waited longest if they are too many."""
    if not run.lasts:
        return
    run.rest()
    _arriving.append(run)
    if _lock.acquire(blocking=False):  # else whoever has the lock, or comes next, sees to it
        try:
            _settle()
        finally:
            _lock.release()


def _settle() -> None:
    """Put those that have arrived among the others."""
    global _held
    while _arriving:
        run = _arriving.popleft()
        run.resting = True
        waiting = _resting.pop(run.layout, [])
        waiting.append(run)
        _resting[run.layout] = waiting
        _held += run.size
        while _held > LASTING and _resting:
            layout, waiting = next(iter(_resting.items()))
            oldest = waiting.pop(0)
            if not waiting:
                _resting.pop(layout)
            _held -= oldest.size
            oldest.let_go()
