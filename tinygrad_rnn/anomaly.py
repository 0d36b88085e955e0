"""Anomaly detection: the first NaN or Inf stops the program, and the error says which op made it, on which line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from . import backend
from .backend import Array
from .now import Scope, mode, thread

_PACKAGE = os.path.dirname(__file__)  # not pathlib, which takes its time to import


class AnomalyError(ArithmeticError):
    """The first NaN or Inf, found under `detect_anomaly()`."""


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Stop at the first NaN or Inf, forward or backward, and name the op and the line of the forward pass.

    Raises:
        AnomalyError: inside the block, at the operation that made it.
    """
    with mode(anomaly=True), np.errstate(all="ignore"):  # what NumPy would warn of is what is looked for
        yield


def user_line() -> str:
    """'file.py:12: code' of the innermost line that is not this package's."""
    import traceback  # not before it is needed: it takes its time to import

    for frame in reversed(traceback.extract_stack()):
        if not frame.filename.startswith(_PACKAGE):
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "<unknown line>"


def check_finite(row: Any, out: Array, node: Any) -> None:
    """Note the line of the forward pass on the node of a new result, and refuse one that is not finite."""
    outer = thread.now.scope
    scope = Scope(row.name, -1 if outer is None else outer.level, outer, user_line())
    scope.observer = None if outer is None else outer.observer
    if node is not None:
        node.scope = scope
    refuse_non_finite(out, f"the result of {row.name}", scope)


def refuse_non_finite(value: Any, what: str, scope: Scope | None) -> None:
    """Raise AnomalyError if an array, a Tensor, or the values of a Part or of Rows hold NaN or Inf."""
    value = getattr(value, "values", value)
    value = value.data if hasattr(value, "node") else value  # NumPy's scalars have a .data too
    xp = backend.of(value)
    if value.dtype.kind in "fc" and not bool(xp.isfinite(value).all()):
        raise AnomalyError(f"{what} (shape {tuple(value.shape)}) holds NaN or Inf; computed at {scope or 'top level'}")
