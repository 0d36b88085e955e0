"""What a step does to a parameter, written once and run in two ways.

A rule is a text of assignments that Python and C read alike. NumPy and CuPy run it on whole arrays, which defines what
it means. C runs it element by element: the same to rounding, but each array passes through the processor once.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend import Array

SMALLEST = 1024  # elements of a parameter; for fewer a call of C gains little or nothing

_REALS: dict[np.dtype, tuple[str, type]] = {
    np.dtype("f4"): ("float", ctypes.c_float),
    np.dtype("f8"): ("double", ctypes.c_double),
}
_View: Any = ctypes.c_char * 0  # the cheapest thing that ctypes passes as an array's address

# Without an index the parameter is one long row. What lanes share is at most an element, so simd is safe.
_TEMPLATE = """\
#include <stdint.h>
#include <tgmath.h>

typedef {real} real;

void step(int64_t rows, int64_t width, const int64_t *index, const real *g_{parameters})
{{
    for (int64_t row = 0; row < rows; row++) {{
        const int64_t from = row * width, to = (index ? index[row] : row) * width;
        #pragma omp simd
        for (int64_t i = 0; i < width; i++) {{
            real g = g_[from + i];
            {read}
            {text}
            {write}
        }}
    }}
}}
"""


class Rule(NamedTuple):
    """What a step does.

    Args:
        text: assignments that change the parameter p and its states in place (`+=`), by the gradient g and by numbers.
            g itself may only be assigned anew, for its array may belong to others.
        states: the names of the arrays that are remembered.
        first: what these hold before the first step.
        rows: whether elements whose gradient is 0 stay as they are, states too.
    """

    text: str
    states: tuple[str, ...] = ()
    first: float = 0.0
    rows: bool = False


def run(rule: Rule, numbers: Mapping[str, float], rows: Array | None, g: Array, arrays: Sequence[Array]) -> None:
    """Move a parameter by its gradient g, or its distinct `rows` by theirs.

    Args:
        rows: of a gather, whose indices were checked.
        arrays: the parameter's and those of its states.
    """
    parts = arrays if rows is None else [array[rows] for array in arrays]
    _python(rule.text, rule.states, tuple(numbers))(backend.of(g).sqrt, g, *parts, *numbers.values())
    if rows is not None:
        for array, part in zip(arrays, parts, strict=True):
            array[rows] = part


def compiling() -> bool:
    """Whether the user lets programs be compiled."""
    return os.environ.get("TINYGRAD_RNN_COMPILE") != "0"


def run_in_c(rule: Rule, numbers: Mapping[str, float], rows: Array | None, g: Array, arrays: Sequence[Array]) -> bool:
    """`run` in C; False, and nothing done, if that is left to NumPy.

    Which of the two it is depends on the machine and the arrays alone, so a run that is repeated gives the same bits.
    """
    data = arrays[0]
    if data.__class__ is not np.ndarray or data.size < SMALLEST or data.dtype not in _REALS:
        return False
    if g.shape != (data.shape if rows is None else (len(rows), *data.shape[1:])):
        return False
    if g.dtype != data.dtype or not all(a.flags.carray and a.dtype == data.dtype for a in arrays):
        return False
    function = _c(rule.text, rule.states, tuple(numbers), data.dtype)
    if function is None:
        return False
    if not g.flags.carray:
        g = np.array(g, order="C")
    count, width, index = 1, data.size, None
    if rows is not None:
        count, width = len(rows), data.size // len(data)
        index = _View.from_buffer(np.ascontiguousarray(rows, np.int64))
    function(count, width, index, *(_View.from_buffer(array) for array in (g, *arrays)), *numbers.values())
    return True


@functools.cache
def _python(text: str, states: tuple[str, ...], numbers: tuple[str, ...]) -> Callable[..., None]:
    made: dict[str, Any] = {}
    exec(f"def move({', '.join(('sqrt', 'g', 'p', *states, *numbers))}): {text}", made)
    return made["move"]  # type: ignore[no-any-return]


@functools.cache
def _c(text: str, states: tuple[str, ...], numbers: tuple[str, ...], dtype: np.dtype) -> Callable[..., None] | None:
    from ..program.c import toolchain  # not before it is needed: it takes its time to import

    real, number = _REALS[dtype]
    arrays = ("p", *states)
    source = _TEMPLATE.format(
        real=real,
        parameters="".join([*(f", real *{name}_" for name in arrays), *(f", real {name}" for name in numbers)]),
        read=" ".join(f"real {name} = {name}_[to + i];" for name in arrays),
        text=text,
        write=" ".join(f"{name}_[to + i] = {name};" for name in arrays),
    )
    library = toolchain.load(source)
    if library is None:
        return None
    pointers = [ctypes.c_void_p] * (2 + len(arrays))
    library.step.argtypes = [ctypes.c_int64, ctypes.c_int64, *pointers, *[number] * len(numbers)]
    library.step.restype = None
    return library.step
