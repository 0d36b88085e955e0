"""A step of an optimiser as one pass over memory, in C.

NumPy's rules in this package define what a step computes. Each is written a second time as C statements about one
element, which are compiled when they are first needed: the same to rounding, but no array is read twice.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array

SMALLEST = 1024  # elements; for fewer a call of C gains little or nothing

_REALS: dict[np.dtype, tuple[str, type]] = {
    np.dtype("f4"): ("float", ctypes.c_float),
    np.dtype("f8"): ("double", ctypes.c_double),
}
_View: Any = ctypes.c_char * 0  # the cheapest thing that ctypes passes as an array's address

# Without an index the rows are those of the whole parameter. Lanes only ever meet in one element, so simd is safe.
_TEMPLATE = """\
#include <stdint.h>
#include <tgmath.h>

typedef {real} real;

void step(int64_t rows, int64_t width, const int64_t *index, real *p_, const real *g_{parameters})
{{
    for (int64_t row = 0; row < rows; row++) {{
        const int64_t from = row * width, to = (index ? index[row] : row) * width;
        #pragma omp simd
        for (int64_t i = 0; i < width; i++) {{
            real p = p_[to + i], g = g_[from + i];
            {read}
            p *= keep;
            g += decay != 0 ? decay * p : 0;
            {text}
            {write}
            p_[to + i] = p;
        }}
    }}
}}
"""


class Rule(NamedTuple):
    """What a step does to one element.

    Args:
        text: C statements about the parameter p, its gradient g, its states and numbers by their names.
        states: the names of the arrays that are remembered.
        rows: whether elements whose gradient is 0 stay as they are, states too.
    """

    text: str
    states: tuple[str, ...] = ()
    rows: bool = False


def wanted() -> bool:
    """Whether the user lets programs be compiled."""
    return os.environ.get("TINYGRAD_RNN_COMPILE") != "0"


@functools.cache
def _compiled(
    text: str, states: tuple[str, ...], numbers: tuple[str, ...], dtype: np.dtype
) -> Callable[..., None] | None:
    from ..program.c import toolchain  # not before it is needed: it takes its time to import

    real, number = _REALS[dtype]
    source = _TEMPLATE.format(
        real=real,
        parameters="".join([*(f", real *{name}_" for name in states), *(f", real {name}" for name in numbers)]),
        read=" ".join(f"real {name} = {name}_[to + i];" for name in states),
        text=text,
        write=" ".join(f"{name}_[to + i] = {name};" for name in states),
    )
    library = toolchain.load(source)
    if library is None:
        return None
    function = library.step
    arrays = [ctypes.c_void_p] * (3 + len(states))
    function.argtypes = [ctypes.c_int64, ctypes.c_int64, *arrays, *[number] * len(numbers)]
    function.restype = None
    return function


def step(rule: Rule, numbers: Mapping[str, float], rows: Array | None, g: Array, arrays: Sequence[Array]) -> bool:
    """Move a parameter by its gradient g, or its distinct `rows` by theirs; False if that is left to NumPy.

    Which of the two it is depends on the machine and the arrays alone, so a run that is repeated gives the same bits.

    Args:
        rows: of a gather, whose indices were checked.
        arrays: the parameter's and those of its states.
    """
    data = arrays[0]
    if data.__class__ is not np.ndarray or data.size < SMALLEST or data.dtype not in _REALS:
        return False
    if g.shape != (data.shape if rows is None else (len(rows), *data.shape[1:])):
        return False
    if g.dtype != data.dtype or not all(a.flags.carray and a.dtype == data.dtype for a in arrays):
        return False
    function = _compiled(rule.text, rule.states, tuple(numbers), data.dtype)
    if function is None:
        return False
    if not g.flags.carray:
        g = np.array(g, order="C")
    count, width, index = 1, data.size, None
    if rows is not None:
        count, width = len(rows), data.size // len(data)
        index = _View.from_buffer(np.ascontiguousarray(rows, np.int64))
    views = [_View.from_buffer(array) for array in (data, g, *arrays[1:])]
    function(count, width, index, *views, *numbers.values())
    return True
