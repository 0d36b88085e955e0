"""What a step does to a parameter: a function that changes arrays in place, run in two ways.

NumPy and CuPy call it on whole arrays, which defines what it means. C runs it element by element, where there is a
compiler and the arrays are large enough: the same to rounding, but each array passes through the processor once.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array
from ..gradient import Rows

# Of (xp, numbers, g, p, states by their names): changes p and the states by `add` and `*=`, and nothing else. Of xp it
# may use sqrt.
Rule = Callable[..., None]
Named = Mapping[str, Any]

CHUNK = 1 << 20  # bytes of a parameter that NumPy moves at a time: what is computed in between stays in the cache
SMALLEST = 1024  # elements of a parameter; for fewer a call of C gains little or nothing

_REALS = {np.dtype("f4"): ("float", ctypes.c_float), np.dtype("f8"): ("double", ctypes.c_double)}
_View: Any = ctypes.c_char * 0  # the cheapest thing that ctypes passes as an array's address

# What lanes share is at most an element (two arrays may be one), so simd is safe.
_SOURCE = """\
#include <tgmath.h>
typedef {} real;
void step(long long n{}) {{
    #pragma omp simd
    for (long long i = 0; i < n; i++) {{
        {}
    }}
}}
"""


# fmt: off
class _Nothing:
    """The gradient of rows that nobody read: a 0, with which nothing is computed."""

    def __add__(self, other: Any) -> Any: return other
    def __mul__(self, other: Any) -> _Nothing: return self
    __rmul__ = __mul__


class _Number:
    """A number in C: what is computed with it becomes a line of C."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name, self.lines = name, lines

    def _new(self, text: str) -> _Number:
        self.lines.append(f"const real x{len(self.lines)} = {text};")
        return _Number(f"x{len(self.lines) - 1}", self.lines)

    def _become(self, new: _Number) -> _Number:
        self.name = new.name
        return self

    def sqrt(self) -> _Number: return self._new(f"sqrt({self.name})")
    def __add__(self, other: _Number) -> _Number: return self._new(f"{self.name} + {other.name}")
    def __sub__(self, other: _Number) -> _Number: return self._new(f"{self.name} - {other.name}")
    def __mul__(self, other: Any) -> Any: return other if other is NOTHING else self._new(f"{self.name} * {other.name}")
    def __truediv__(self, other: _Number) -> _Number: return self._new(f"{self.name} / {other.name}")
    def __iadd__(self, other: _Number) -> _Number: return self._become(self + other)
    def __imul__(self, other: Any) -> Any: return self._become(self * other)
# fmt: on


NOTHING = _Nothing()


def add(target: Array, values: Array) -> None:
    """target += values in place, unless they are NOTHING."""
    if values is not NOTHING:
        target += values


def move(rule: Rule, numbers: Named, g: Any, arrays: Named) -> None:
    """Move a parameter "p" and its states in place by a gradient: an array, Rows or NOTHING."""
    if type(g) is Rows:
        index, values, _ = g.coalesced()
        rows = {name: array[index] for name, array in arrays.items()}
        move(rule, numbers, values, rows)
        move(rule, numbers, NOTHING, arrays)  # what decays, and moves by it, everywhere
        for name, array in arrays.items():
            array[index] = rows[name]
    elif not run_in_c(rule, numbers, g, arrays):
        p, n = arrays["p"], SimpleNamespace(**numbers)
        large = type(p) is np.ndarray and p.nbytes > CHUNK
        count = CHUNK * len(p) // p.nbytes or 1 if large else 0
        for key in [slice(i, i + count) for i in range(0, len(p), count)] if large else [...]:
            part = {name: array[key] for name, array in arrays.items()}
            rule(backend.of(p), n, g if g is NOTHING else g[key], **part)


def run_in_c(rule: Rule, numbers: Named, g: Array, arrays: Named) -> bool:
    """`move` in C; False, and nothing done, if that is left to NumPy.

    Which of the two it is depends on the machine and the arrays alone, so a run that is repeated gives the same bits.
    """
    p, given = arrays["p"], [*arrays.values()] if g is NOTHING else [g, *arrays.values()]
    fit = type(p) is np.ndarray and p.size >= SMALLEST and p.dtype in _REALS
    fit = fit and os.environ.get("TINYGRAD_RNN_COMPILE") not in ("0", "numpy")
    fit = fit and all(a.dtype == p.dtype and a.shape == p.shape for a in given)
    fit = fit and all(a.flags.carray for a in arrays.values())
    function = _c(rule, g is NOTHING, tuple(arrays), tuple(numbers), p.dtype) if fit else None
    if function:
        views = [_View.from_buffer(a if a.flags.carray else a.copy()) for a in given]
        function(p.size, *views, *numbers.values())
    return function is not None


@functools.cache
def _c(rule: Rule, nothing: bool, arrays: tuple[str, ...], numbers: tuple[str, ...], dtype: np.dtype) -> Any:
    """The rule compiled, or None."""
    from ..native import toolchain  # not before it is needed: it takes its time to import

    real, number = _REALS[dtype]
    read = arrays if nothing else ("g", *arrays)
    lines = [f"const real {name} = {name}_[i];" for name in read]
    known = {name: _Number(name, lines) for name in (*read, *numbers)}
    n = SimpleNamespace(**{name: known.pop(name) for name in numbers})
    rule(_Number, n, **{"g": NOTHING, **known})
    lines += [f"{name}_[i] = {known[name].name};" for name in arrays]
    parameters = [*(f", real *{name}_" for name in read), *(f", real {name}" for name in numbers)]
    library = toolchain.load(_SOURCE.format(real, "".join(parameters), "\n        ".join(lines)))
    function = getattr(library, "step", None)
    if function:
        function.argtypes = [ctypes.c_longlong, *[ctypes.c_void_p] * len(read), *[number] * len(numbers)]
        function.restype = None
    return function
