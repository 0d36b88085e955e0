"""The NumPy target: elementwise work in place, one ufunc after the other, into arrays planned before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import NUMPY
from .graph import VIEWS, Value
from .meaning import compute
from .plan import Step

Arrays = list[Any]  # the array of each Value by its number, in the rows that are computed now
Do = Callable[[Arrays, int], None]  # compute a step for so many rows

name = "numpy"


def stored(step: Step, crossing: set[Value]) -> list[Value]:
    """The Values of a step that need an array: here all of them."""
    return [v for v in step.values if v.op not in VIEWS]


def lanes(step: Step, homes: dict[Value, tuple[Value, int]]) -> Do:
    """A step of elementwise work."""
    work = [_work(v, homes) for v in step.values]

    def do(arrays: Arrays, rows: int) -> None:
        for one in work:
            one(arrays, rows)

    return do


def _work(v: Value, homes: dict[Value, tuple[Value, int]]) -> Do:
    o, op = v.number, v.op
    fetch = [(a.number, None) if isinstance(a, Value) else (-1, a) for a in v.args]
    first = fetch[0][0]
    if op in VIEWS:

        def view(arrays: Arrays, rows: int) -> None:
            arrays[o] = compute(v, [arrays[first]], rows)

        return view
    if op == "concat":
        pieces, at = [], 0
        for piece in v.values:
            whole, column = homes.get(piece, (None, 0))
            if whole is not v or column != at:  # else it was computed where it belongs
                pieces.append((piece.number, at, at + piece.shape[1]))
            at += piece.shape[1]

        def concat(arrays: Arrays, rows: int) -> None:
            for number, start, stop in pieces:
                arrays[o][:, start:stop] = arrays[number]

        return concat
    if op in ("sum", "max", "min"):
        fold = getattr(np, op)

        def folded(arrays: Arrays, rows: int) -> None:
            fold(arrays[first], axis=1, keepdims=True, out=arrays[o])

        return folded
    if op == "sigmoid":

        def sigmoid(arrays: Arrays, rows: int) -> None:
            out = arrays[o]
            np.multiply(arrays[first], 0.5, out=out)
            np.tanh(out, out=out)
            out *= 0.5
            out += 0.5

        return sigmoid
    function = getattr(NUMPY, op, None)
    if isinstance(function, np.ufunc) and len(fetch) <= 2:
        if len(fetch) == 1:

            def one(arrays: Arrays, rows: int) -> None:
                function(arrays[first], out=arrays[o])

            return one
        (a, left), (b, right) = fetch

        def two(arrays: Arrays, rows: int) -> None:
            function(left if a < 0 else arrays[a], right if b < 0 else arrays[b], out=arrays[o])

        return two

    def other(arrays: Arrays, rows: int) -> None:
        arrays[o][...] = compute(v, [c if n < 0 else arrays[n] for n, c in fetch], rows)

    return other
