"""The NumPy target: elementwise work in place, one ufunc after the other, into arrays planned before."""

from __future__ import annotations

import numpy as np

from ..backend import NUMPY
from .graph import Value
from .meaning import compute
from .part import Arrays, Do, Homes
from .plan import Step

name, addresses = "NumPy", False


def load() -> bool:
    """Ready."""
    return True


def loop(*_: object) -> None:
    """No loop of its own: every level is stepped through from Python."""
    return


def stored(step: Step, crossing: set[Value]) -> list[Value]:
    """The Values of a step that need an array: here all of them."""
    return [v for v in step.values if not v.is_view]


def at_once(step: Step) -> int:
    """The length of the pieces that a step may store over what it reads: none, for it goes op by op."""
    return 0


def lanes(step: Step, homes: Homes, stored: set[Value], scratch: set[Value]) -> tuple[Do, set[Value]]:
    """A step of elementwise work; it wants no addresses."""
    work = [_work(v, homes) for v in step.values]

    def do(arrays: Arrays, rows: int, start: int) -> None:
        for one in work:
            one(arrays, rows, start)

    return do, set()


def _work(v: Value, homes: Homes) -> Do:
    o, op = v.number, v.op
    fetch = [(a.number, None) if isinstance(a, Value) else (-1, a) for a in v.args]
    first = fetch[0][0]
    if v.op == "cut" and v.is_view:
        columns = slice(*v.options[1:])

        def cut(arrays: Arrays, rows: int, start: int) -> None:
            arrays[o] = arrays[first][:, columns]

        return cut
    if v.is_view:

        def view(arrays: Arrays, rows: int, start: int) -> None:
            arrays[o] = compute(v, [arrays[first]], rows)

        return view
    if op == "concat":
        pieces, at = [], 0
        for piece in v.values:
            whole, column = homes.get(piece, (None, 0))
            if whole is not v or column != at:  # else it was computed where it belongs
                pieces.append((piece.number, at, at + piece.shape[1]))
            at += piece.shape[1]

        def concat(arrays: Arrays, rows: int, start: int) -> None:
            for number, start, stop in pieces:
                arrays[o][:, start:stop] = arrays[number]

        return concat
    if op == "sigmoid":

        def sigmoid(arrays: Arrays, rows: int, start: int) -> None:
            # 1 / (1 + e^-x): NumPy's exp takes half the time of its tanh. Where it overflows, the result is 0.
            out = np.multiply(arrays[first], -1, out=arrays[o])  # NumPy 2.4's negative misreads a column of an array
            with np.errstate(over="ignore", under="ignore"):
                np.exp(out, out=out)
            out += 1
            np.divide(1, out, out=out)  # np.reciprocal takes twice as long

        return sigmoid
    if op == "negative":
        op, fetch = "multiply", [*fetch, (-1, -1)]
    function = getattr(NUMPY, op, None)
    if isinstance(function, np.ufunc) and len(fetch) <= 2:
        if len(fetch) == 1:

            def one(arrays: Arrays, rows: int, start: int) -> None:
                function(arrays[first], out=arrays[o])

            return one
        (a, left), (b, right) = fetch

        def two(arrays: Arrays, rows: int, start: int) -> None:
            function(left if a < 0 else arrays[a], right if b < 0 else arrays[b], out=arrays[o])

        return two

    def other(arrays: Arrays, rows: int, start: int) -> None:
        arrays[o][...] = compute(v, [c if n < 0 else arrays[n] for n, c in fetch], rows)

    return other
