"""Reductions, cumulative ops, sorting and the softmax family. `axis=None` means all axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from ..native import functions as native
from ..tensor import Axis, Tensor
from .derivatives import TABLE
from .elementwise import divide, multiply, not_equal, sqrt, square, subtract
from .indexing import gather
from .recording import DEFAULT_FLOAT, INTEGERS, Like, as_tensor, astype, axis_of, explain, one_device, plain, record
from .shape import broadcast_to, concat


def _axes(name: str, x: Tensor, axis: Axis) -> tuple[int, ...]:
    """The axes as a tuple of numbers >= 0."""
    if axis is None:
        return tuple(range(x.data.ndim))
    axes = tuple([axis_of(name, x, a) for a in ((axis,) if isinstance(axis, INTEGERS) else axis)])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: an axis is named twice in axis={axis}")
    return axes


def _reduce(name: str, x: Tensor, axis: Axis, keepdims: bool) -> tuple[Any, tuple[int, ...], Any]:
    """(result, axes, backend) of a reduction by the backend."""
    axes = _axes(name, x, axis)
    xp = backend.of(x.data)
    try:
        return xp.asarray(getattr(xp, name)(x.data, axis=axes, keepdims=keepdims)), axes, xp
    except Exception as error:
        raise explain(error, name, x) from error


def sum(x: Like, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The sum over axes, in a dtype.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.], dtype=float32)
    """
    x = as_tensor(x) if dtype is None else astype(x, dtype)
    out, axes, _ = _reduce("sum", x, axis, keepdims)
    made = record(TABLE["sum"], out, (x.node,), (axes, x.data.shape))
    return made if dtype is None else astype(made, dtype)  # of small integers it is int64


def prod(x: Like, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    """The product over axes, in a dtype; its derivative is exact at zeros."""
    x = as_tensor(x) if dtype is None else astype(x, dtype)
    out, axes, _ = _reduce("prod", x, axis, keepdims)
    made = record(TABLE["prod"], out, (x.node,), (x.data, axes))
    return made if dtype is None else astype(made, dtype)


def max(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes; ties share the gradient."""
    x = as_tensor(x)
    out, axes, _ = _reduce("max", x, axis, keepdims)
    return record(TABLE["max"], out, (x.node,), (out, x.data, axes))


def min(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes; ties share the gradient."""
    x = as_tensor(x)
    out, axes, _ = _reduce("min", x, axis, keepdims)
    return record(TABLE["min"], out, (x.node,), (out, x.data, axes))


def mean(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over axes; integers give the default float32."""
    x = as_tensor(x)
    x = astype(x, DEFAULT_FLOAT) if x.dtype.kind in "biu" else x
    count = math.prod(x.shape[a] for a in _axes("mean", x, axis))
    total = sum(x, axis=axis, keepdims=keepdims)
    return multiply(total, 1 / count) if count else divide(total, 0)


def var(x: Like, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance over axes, divided by count - correction."""
    x = as_tensor(x)
    count = math.prod(x.shape[a] for a in _axes("var", x, axis))
    centred = subtract(x, mean(x, axis=axis, keepdims=True))
    return divide(sum(square(centred), axis=axis, keepdims=keepdims), float(count - correction))


def std(x: Like, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard deviation over axes; see `var`."""
    return sqrt(var(x, axis=axis, correction=correction, keepdims=keepdims))


def any(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is true."""
    return plain("any", x, axis=axis, keepdims=keepdims)


def all(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are true."""
    return plain("all", x, axis=axis, keepdims=keepdims)


def count_nonzero(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not zero."""
    return sum(astype(not_equal(x, 0), np.int64), axis=axis, keepdims=keepdims)


def argmax(x: Like, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the (first) maximum."""
    return plain("argmax", x, axis=axis, keepdims=keepdims)


def argmin(x: Like, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the (first) minimum."""
    return plain("argmin", x, axis=axis, keepdims=keepdims)


def cumulative_sum(x: Like, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running sums along an axis (which may be left out for one axis), in a dtype."""
    return _cumulative("cumulative_sum", x, axis, dtype, include_initial, 0)


def cumulative_prod(x: Like, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Tensor:
    """The running products along an axis; the derivative is exact at zeros and costs the square of the length."""
    return _cumulative("cumulative_prod", x, axis, dtype, include_initial, 1)


def _cumulative(name: str, x: Like, axis: int | None, dtype: Any, include_initial: bool, initial: int) -> Tensor:
    x = as_tensor(x) if dtype is None else astype(x, dtype)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"{name}: name the axis, since the shape is {x.shape}")
        axis = 0
    (at,) = _axes(name, x, axis)
    xp = backend.of(x.data)
    saved = (x.data, at) if TABLE[name].keeps_tensors else (at,)
    out = record(TABLE[name], getattr(xp, name)(x.data, axis=at), (x.node,), saved)
    out = out if dtype is None else astype(out, dtype)
    if not include_initial:
        return out
    first = Tensor(xp.full((), initial, dtype=out.dtype))
    return concat([broadcast_to(first, (*x.shape[:at], 1, *x.shape[at + 1 :])), out], axis=at)


def sort(x: Like, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements of each line along an axis in order: values only."""
    x = as_tensor(x)
    return gather(x, argsort(x, axis=axis, descending=descending, stable=stable), axis=axis)


def argsort(x: Like, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort each line along an axis."""
    x = as_tensor(x)
    (at,) = _axes("argsort", x, axis)
    xp = backend.of(x.data)
    if not descending:
        return Tensor(xp.argsort(x.data, axis=at, **({"stable": True} if stable and xp.name == "cpu" else {})))
    # Sorting the reversed line and counting from its end keeps equal elements in their first order.
    backwards = xp.argsort(xp.flip(x.data, axis=at), axis=at, **({"stable": True} if xp.name == "cpu" else {}))
    return Tensor(xp.flip(x.shape[at] - 1 - backwards, axis=at))


def softmax(x: Like, /, *, axis: int = -1) -> Tensor:
    """exp(x) / sum of exp(x) along an axis.

    >>> softmax([0.0, 0.0])
    Tensor([0.5, 0.5], dtype=float32)
    """
    return _softmax("softmax", x, axis)


def log_softmax(x: Like, /, *, axis: int = -1) -> Tensor:
    """log(softmax(x)), exact where softmax rounds to 0."""
    return _softmax("log_softmax", x, axis)


def _softmax(name: str, x: Like, axis: int) -> Tensor:
    x = as_tensor(x)
    x = astype(x, DEFAULT_FLOAT) if x.dtype.kind in "biu" else x
    (at,) = _axes(name, x, axis)
    if not x.shape[at]:
        return record(TABLE[name], x.data, (x.node,), (x.data, at))
    xp = backend.of(x.data)
    shifted = x.data - xp.max(x.data, axis=at, keepdims=True)
    powers = xp.exp(shifted)
    total = xp.sum(powers, axis=at, keepdims=True)
    out = powers / total if name == "softmax" else shifted - xp.log(total)
    return record(TABLE[name], out, (x.node,), (out, at))


def cross_entropy(x: Tensor, ids: Tensor) -> Tensor:
    """-log softmax(x)[id] of each row: x [N, C], ids [N] from 0 to C - 1 -> [N]."""
    one_device("cross_entropy", (x, ids))
    x = astype(x, DEFAULT_FLOAT) if x.dtype.kind in "biu" else x
    losses, *scale = native.cross_entropy(x.data, ids.data) or _cross_entropy(x.data, ids.data)
    return record(TABLE["cross_entropy"], losses, (x.node,), (x.data, ids.data, *scale))


def _cross_entropy(x: Any, ids: Any) -> tuple[Any, ...]:
    """(the loss of each row, its largest element, the sum of exp beside that)."""
    xp = backend.of(x)
    top = xp.max(x, axis=1, keepdims=True)
    shifted = x - top
    total = xp.sum(xp.exp(shifted), axis=1)
    return xp.log(total) - shifted[xp.arange(len(ids)), ids], top[:, 0], total


def logsumexp(x: Like, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum of exp(x)) over axes without overflow."""
    x = as_tensor(x)
    x = astype(x, DEFAULT_FLOAT) if x.dtype.kind in "biu" else x
    axes = _axes("logsumexp", x, axis)
    xp = backend.of(x.data)
    if math.prod(x.shape[a] for a in axes):
        top = xp.max(x.data, axis=axes, keepdims=True)
    else:
        top = xp.full([1 if i in axes else n for i, n in enumerate(x.shape)], -xp.inf, dtype=x.dtype)
    # A line of nothing or of -inf gives -inf, without NaN and without the logarithm of 0.
    total = xp.sum(xp.exp(x.data - xp.where(xp.isfinite(top), top, 0)), axis=axes, keepdims=True)
    out = xp.log(xp.where(total == 0, 1, total)) + top
    if not keepdims:
        out = xp.reshape(out, tuple(n for i, n in enumerate(x.shape) if i not in axes))
    out = xp.asarray(out)
    return record(TABLE["logsumexp"], out, (x.node,), (out, x.data, axes))
