"""What the array API (2024.12) names beside the ops: types and their limits, sets, searches, and arrays made to fit.

None of these has a row in the table of derivatives: what can be differentiated is made of ops.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
from numpy import isdtype

from . import backend, ops
from .ops.recording import Like, explain, one_device, plain, promote, result_dtype, same_place
from .tensor import Tensor

__all__ = [
    "bitwise_left_shift", "bitwise_right_shift", "broadcast_arrays", "can_cast", "diff", "empty_like", "finfo", "iinfo",
    "isdtype", "meshgrid", "nonzero", "result_type", "searchsorted", "unique_all", "unique_counts", "unique_inverse",
    "unique_values",
]  # fmt: skip

UniqueAllResult = namedtuple("UniqueAllResult", ["values", "indices", "inverse_indices", "counts"])
UniqueCountsResult = namedtuple("UniqueCountsResult", ["values", "counts"])
UniqueInverseResult = namedtuple("UniqueInverseResult", ["values", "inverse_indices"])


# Types.
def _dtype(x: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(x.dtype if isinstance(x, Tensor) or backend.known(x) else x)
    return dtype


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that Tensors, dtypes and scalars are computed in together; scalars are weak.

    >>> result_type("float32", "int64")
    dtype('float32')
    """
    dtypes = [_dtype(x) for x in arrays_and_dtypes if not isinstance(x, bool | int | float | complex)]
    scalars = [x for x in arrays_and_dtypes if isinstance(x, bool | int | float | complex)]
    if not dtypes:
        return ops.as_tensor(scalars).dtype
    found = result_dtype(*dtypes)
    for scalar in scalars:
        found = promote("result_type", Tensor(np.zeros((), found)), scalar)[0].dtype
    return found


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether a dtype, or that of a Tensor, goes into another one without loss by the rules of promotion."""
    return np.can_cast(_dtype(from_), np.dtype(to))


def finfo(type: Any, /) -> Any:
    """The limits of a floating dtype, or of a Tensor's: .bits, .eps, .max, .min, .smallest_normal, .dtype."""
    return np.finfo(_dtype(type))


def iinfo(type: Any, /) -> Any:
    """The limits of an integer dtype, or of a Tensor's: .bits, .max, .min, .dtype."""
    return np.iinfo(_dtype(type))


# Sets and searches: of values, without derivatives.
def nonzero(x: Like, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, one Tensor for each axis.

    >>> [i.tolist() for i in nonzero([[0, 1], [1, 0]])]
    [[0, 1], [1, 0]]
    """
    x = ops.as_tensor(x)
    if not x.ndim:
        raise explain(ValueError("it needs at least one axis"), "nonzero", x)
    return tuple(map(Tensor, backend.of(x.data).nonzero(x.data)))


def searchsorted(x1: Like, x2: Like, /, *, side: str = "left", sorter: Like | None = None) -> Tensor:
    """Where in the rising x1 [N] each element of x2 would have to stand: before equal ones, or behind them ("right").

    >>> searchsorted([0, 2, 5], [2, 3]).tolist()  # of which example rows 2 and 3 are, where these begin at 0, 2 and 5
    [1, 2]
    """
    x1, x2 = same_place("searchsorted", [ops.as_tensor(x1), ops.as_tensor(x2)])
    order = None if sorter is None else ops.as_tensor(sorter)
    if order is not None:
        one_device("searchsorted", (x1, order))
        x1 = ops.gather_rows(x1, order)
    xp = backend.of(x1.data)
    try:
        return Tensor(xp.asarray(xp.searchsorted(x1.data, x2.data, side=side)))
    except Exception as error:
        raise explain(error, "searchsorted", x1, x2) from error


def _unique(x: Like) -> list[Tensor]:
    x = ops.as_tensor(x)
    xp = backend.of(x.data)
    values, first, back, counts = xp.unique(
        xp.reshape(x.data, (-1,)), return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return [*map(Tensor, (values, first, xp.reshape(back, x.shape), counts))]


def unique_all(x: Like, /) -> UniqueAllResult:
    """The distinct elements, rising; where each comes first, which one each element is, and how often each comes."""
    return UniqueAllResult(*_unique(x))


def unique_counts(x: Like, /) -> UniqueCountsResult:
    """The distinct elements, rising, and how often each comes."""
    values, _, _, counts = _unique(x)
    return UniqueCountsResult(values, counts)


def unique_inverse(x: Like, /) -> UniqueInverseResult:
    """The distinct elements, rising, and which of them each element is.

    >>> unique_inverse([7, 5, 7]).inverse_indices.tolist()
    [1, 0, 1]
    """
    values, _, back, _ = _unique(x)
    return UniqueInverseResult(values, back)


def unique_values(x: Like, /) -> Tensor:
    """The distinct elements, rising."""
    return _unique(x)[0]


# Shifts.
def bitwise_left_shift(x1: Like, x2: Like, /) -> Tensor:
    """x1 * 2^x2, of integers."""
    return plain("bitwise_left_shift", x1, x2)


def bitwise_right_shift(x1: Like, x2: Like, /) -> Tensor:
    """x1 / 2^x2 rounded down, of integers."""
    return plain("bitwise_right_shift", x1, x2)


# Arrays made to fit.
def empty_like(x: Like, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor of x's shape, dtype and device, whose elements are whatever the memory held."""
    x = ops.as_tensor(x)
    return ops.empty(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def broadcast_arrays(*arrays: Like) -> tuple[Tensor, ...]:
    """Tensors broadcast to one shape."""
    tensors = [*map(ops.as_tensor, arrays)]
    try:
        shape = np.broadcast_shapes(*(x.shape for x in tensors))
    except ValueError as error:
        raise explain(error, "broadcast_arrays", *tensors) from error
    return tuple(ops.broadcast_to(x, shape) for x in tensors)


def meshgrid(*arrays: Like, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid of points from those along each of its axes: each [N] -> [N1, N2, ...].

    With indexing "xy" the first two axes of the result are exchanged.

    Raises:
        ValueError: another indexing, or an array that is not of one axis.
    """
    tensors = [*map(ops.as_tensor, arrays)]
    if indexing not in ("xy", "ij") or any(x.ndim != 1 for x in tensors):
        raise explain(ValueError("indexing is 'xy' or 'ij', and each array has one axis"), "meshgrid", *tensors)
    axes = [*range(len(tensors))]
    if indexing == "xy":
        axes[:2] = axes[:2][::-1]
    lines = [ops.reshape(x, [-1 if i == at else 1 for i in range(len(axes))]) for at, x in zip(axes, tensors)]
    return broadcast_arrays(*lines)


def diff(x: Like, /, *, axis: int = -1, n: int = 1, prepend: Like | None = None, append: Like | None = None) -> Tensor:
    """Each element less the one before it along an axis, n times over.

    >>> diff([1.0, 4.0, 9.0]).tolist()
    [3.0, 5.0]
    """
    x = ops.concat([ops.as_tensor(a) for a in (prepend, x, append) if a is not None], axis=axis)
    for _ in range(n):
        at, count = axis % x.ndim, x.shape[axis]
        x = ops.span(x, at, min(1, count), count) - ops.span(x, at, 0, max(count - 1, 0))
    return x
