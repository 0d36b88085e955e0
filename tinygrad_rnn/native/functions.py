"""Elementwise functions of large float32 arrays in C: NumPy has vectors for them only where there is AVX-512."""

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
_FLOAT = np.dtype(np.float32)
_SOURCE = """
void {0}_all(const float *x, float *out, long n) {{
    for (long i = 0; i < n; i++) out[i] = real_{0}(x[i]);
}}
"""
_View = ctypes.c_char * 0  # of an array: the quickest way to its address
Function = Callable[[np.ndarray], np.ndarray]


def in_c(name: str, otherwise: Function) -> Function:
    """A function of `NAMES` (of relative error 3.5e-7), in C where that pays and there is a compiler.

    >>> in_c("tanh", np.tanh)(np.zeros(LARGE, "f4")).max().item()
    0.0
    """

    def function(x: np.ndarray) -> np.ndarray:
        if x.size < LARGE or x.dtype is not _FLOAT or not x.flags.carray:
            return otherwise(x)
        library = _library()
        if library is None:
            return otherwise(x)
        out = np.empty_like(x)
        library[name](_View.from_buffer(x), _View.from_buffer(out), x.size)  # type: ignore[arg-type]
        return out

    return function


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
    from . import toolchain  # not before it is needed: it takes its time to import
    from .prelude import prelude

    made = toolchain.load(prelude("float") + "".join(map(_SOURCE.format, NAMES)))
    if made is None:
        return None
    found = {name: getattr(made, f"{name}_all") for name in NAMES}
    for function in found.values():
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long], None
    return found
