"""Functions of large float32 arrays in C: NumPy has vectors for tanh only where there is AVX-512, and passes over what
one pass can do."""

from __future__ import annotations

import ctypes
import operator
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..backend import NUMPY

LARGE = 1024  # elements from which on a call into C is paid for
NAMES = ("tanh", "sigmoid")
_FLOAT, _INT = np.dtype(np.float32), np.dtype(np.int64)
VIEW = ctypes.c_char * 0  # of an array: the quickest way to its address
Function = Callable[[np.ndarray], np.ndarray]


def _fits(x: np.ndarray) -> bool:
    return x.size >= LARGE and x.dtype is _FLOAT and x.flags.carray


def _in_one_piece(array: np.ndarray) -> np.ndarray:
    return array if array.flags.carray else array.copy()  # writeable too, or no view can be had of it


def in_c(name: str, otherwise: Function) -> Function:
    """A function of `NAMES` (of relative error 3.5e-7), in C where that pays and there is a compiler.

    >>> in_c("tanh", np.tanh)(np.zeros(LARGE, "f4")).max().item()
    0.0
    """

    def function(x: np.ndarray) -> np.ndarray:
        library = _library() if _fits(x) else None
        if library is None:
            return otherwise(x)
        out = np.empty_like(x)
        library[name](VIEW.from_buffer(x), VIEW.from_buffer(out), x.size)  # type: ignore[arg-type]
        return out

    return function


def cross_entropy(x: Any, ids: Any) -> tuple[Any, ...] | None:
    """-log softmax(x)[id] of each row of x [N, C], its largest element and the sum of exp beside that: [N] each.

    None, and nothing done, where C is no help, or where an id is no column.

    >>> cross_entropy(np.zeros((512, 2), "f4"), np.zeros(512, "i8") + 2) is None
    True
    """
    library = _library() if x.__class__ is np.ndarray and _fits(x) and ids.dtype is _INT else None
    if library is None:
        return None
    made = [np.empty(len(x), _FLOAT) for _ in range(3)]
    wrong = library["cross_entropy"](*map(VIEW.from_buffer, (x, _in_one_piece(ids), *made)), *x.shape)
    return None if wrong >= 0 else tuple(made)


def cross_entropy_back(x: Any, ids: Any, top: Any, total: Any, g: Any) -> Any:
    """The gradient of x, from what `cross_entropy` gave and the gradient g [N]; None where C is no help."""
    library = _library() if x.__class__ is np.ndarray and _fits(x) else None
    if library is None:
        return None
    out = np.empty_like(x)
    given = x, _in_one_piece(ids), top, total, _in_one_piece(g), out
    library["cross_entropy_back"](*map(VIEW.from_buffer, given), *x.shape)
    return out


# Functions of NumPy's arrays, by the names of the ops: for the operators are a little faster than the ufuncs they call.
FASTER: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "tanh": in_c("tanh", np.tanh), "sigmoid": in_c("sigmoid", NUMPY.sigmoid),
}  # fmt: skip


@cache
def _library() -> dict[str, Any] | None:
    """The functions by name; None without a compiler, or if the environment said when first asked: no C."""
    if os.environ.get("TINYGRAD_RNN_COMPILE") in ("0", "numpy"):
        return None
    from importlib.resources import files  # not before they are needed: they take their time to import

    from . import toolchain
    from .prelude import prelude

    made = toolchain.load(prelude("float") + (files(__package__) / "functions.c").read_text("utf-8"))
    if made is None:
        return None
    found = {name: getattr(made, f"{name}_all") for name in NAMES}
    found |= {"cross_entropy": made.cross_entropy, "cross_entropy_back": made.cross_entropy_back}
    for name, function in found.items():
        arrays, numbers = {"cross_entropy": (5, 2), "cross_entropy_back": (6, 2)}.get(name, (2, 1))
        function.argtypes = [ctypes.c_void_p] * arrays + [ctypes.c_long] * numbers
        function.restype = ctypes.c_long if name == "cross_entropy" else None
    return found
