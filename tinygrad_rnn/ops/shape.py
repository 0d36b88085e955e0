"""Ops that move elements and change none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from .. import backend
from ..tensor import Tensor
from .derivatives import TABLE
from .indexing import gather_rows, span
from .recording import INTEGERS, Like, as_tensor, astype, axis_of, explain, record, same_place


def reshape(x: Like, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape; one length may be -1. With `copy` they share no memory with those of x."""
    x = as_tensor(x)
    x = astype(x, x.dtype, copy=True) if copy else x
    try:
        out = backend.of(x.data).reshape(x.data, shape if isinstance(shape, INTEGERS) else tuple(shape))
    except Exception as error:
        raise explain(error, "reshape", x, shape) from error
    return record(TABLE["reshape"], out, (x.node,), (x.data.shape,))


def expand_dims(x: Like, /, *, axis: int | tuple[int, ...] = 0) -> Tensor:
    """A new axis of length 1 at a position of the result."""
    x = as_tensor(x)
    if isinstance(axis, int) and 0 <= axis <= x.ndim:  # as nearly always
        shape = x.data.shape
        return reshape(x, (*shape[:axis], 1, *shape[axis:]))
    new = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    total = x.ndim + len(new)
    for a in new:
        if not -total <= a < total:
            raise IndexError(f"expand_dims: axis {a} is out of range for a result of {total} axes")
    at = {a % total for a in new}
    rest = iter(x.shape)
    return reshape(x, [1 if i in at else next(rest) for i in range(total)])


def squeeze(x: Like, /, axis: int | tuple[int, ...]) -> Tensor:
    """Axes of length 1 removed."""
    x = as_tensor(x)
    gone = {a % x.ndim if -x.ndim <= a < x.ndim else a for a in ((axis,) if isinstance(axis, INTEGERS) else axis)}
    for a in gone:
        if not 0 <= a < x.ndim or x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} of shape {x.shape} is no axis of length 1")
    return reshape(x, [n for i, n in enumerate(x.shape) if i not in gone])


def permute_dims(x: Like, /, axes: Sequence[int]) -> Tensor:
    """The axes in another order."""
    x = as_tensor(x)
    order = tuple(a % x.ndim if x.ndim else a for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ValueError(f"permute_dims: axes {tuple(axes)} do not name each axis of shape {x.shape} once")
    back = tuple(order.index(i) for i in range(x.ndim))
    return record(TABLE["permute_dims"], backend.of(x.data).permute_dims(x.data, order), (x.node,), (back,))


def matrix_transpose(x: Like, /) -> Tensor:
    """The last two axes exchanged."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose needs two axes or more, not shape {x.shape}")
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def moveaxis(x: Like, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Tensor:
    """One axis, or several, moved to other positions."""
    x = as_tensor(x)
    start, end = ([axis_of("moveaxis", x, int(a)) for a in np.ravel(axes)] for axes in (source, destination))
    if not len(start) == len(end) == len({*start}) == len({*end}):
        raise explain(ValueError("as many axes must come from as go to, each once"), "moveaxis", x)
    order = [i for i in range(x.ndim) if i not in start]
    for at, axis in sorted(zip(end, start, strict=True)):
        order.insert(at, axis)
    return permute_dims(x, order)


def broadcast_to(x: Like, /, shape: Sequence[int]) -> Tensor:
    """x repeated along axes of length 1, without a copy."""
    x = as_tensor(x)
    try:
        out = backend.of(x.data).broadcast_to(x.data, tuple(shape))
    except Exception as error:
        raise explain(error, "broadcast_to", x, tuple(shape)) from error
    return record(TABLE["broadcast_to"], out, (x.node,), ())


def flip(x: Like, /, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """The order of elements along axes reversed."""
    x = as_tensor(x)
    xp = backend.of(x.data)
    try:
        out = xp.asarray(xp.flip(x.data, axis=axis))
    except Exception as error:
        raise explain(error, "flip", x) from error
    return record(TABLE["flip"], out, (x.node,), (axis,))


def roll(x: Like, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Elements moved along axes, those that leave at one end entering at the other."""
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, axis=0), x.shape)
    shifts = (shift,) if isinstance(shift, int) else tuple(shift)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    try:
        out = backend.of(x.data).roll(x.data, shifts, axis=axes)
    except Exception as error:
        raise explain(error, "roll", x) from error
    return record(TABLE["roll"], out, (x.node,), (shifts, axes))


def tril(x: Like, /, *, k: int = 0) -> Tensor:
    """Zeros above the k-th diagonal of the last two axes."""
    return _triangle("tril", x, k)


def triu(x: Like, /, *, k: int = 0) -> Tensor:
    """Zeros below the k-th diagonal of the last two axes."""
    return _triangle("triu", x, k)


def _triangle(name: str, x: Like, k: int) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"{name} needs two axes or more, not shape {x.shape}")
    return record(TABLE[name], getattr(backend.of(x.data), name)(x.data, k=k), (x.node,), (k,))


def concat(arrays: Sequence[Like], /, *, axis: int | None = 0) -> Tensor:
    """Tensors one behind the other along an axis (None: flattened first).

    >>> concat([[1.0], [2.0]], axis=0)
    Tensor([1., 2.], dtype=float32)
    """
    given = [as_tensor(x) for x in arrays]
    if not given:
        raise ValueError("concat needs at least one Tensor")
    tensors = same_place("concat", given)
    if axis is None:
        tensors, axis = [reshape(x, -1) for x in tensors], 0
    first = tensors[0]
    at = axis_of("concat", first, axis)
    arrays_ = [x.data for x in tensors]
    xp = backend.of(first.data)
    rows = first.shape[0]
    try:
        if at and rows > 1 and all(a.shape[0] == rows and not a.strides[0] for a in arrays_):
            # Operands that repeat one row make a result that repeats one row (see Backend.matmul).
            one = xp.concat([a[:1] for a in arrays_], axis=at)
            out = xp.broadcast_to(one, (rows, *one.shape[1:]))
        else:
            out = xp.concat(arrays_, axis=at)
    except Exception as error:
        raise explain(error, "concat", *tensors) from error
    ends = list(accumulate(x.data.shape[at] for x in tensors))
    return record(TABLE["concat"], out, tuple(x.node for x in tensors), (at, ends))


def stack(arrays: Sequence[Like], /, *, axis: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    tensors = [as_tensor(x) for x in arrays]
    if len({x.shape for x in tensors}) > 1:
        raise ValueError(f"stack: the shapes differ: {[x.shape for x in tensors]}; concat joins such Tensors")
    pieces = [expand_dims(x, axis=axis) for x in tensors]
    return concat(pieces, axis=axis) if len(pieces) != 1 else pieces[0]


def split(x: Like, /, parts: int | Sequence[int], *, axis: int = 0) -> tuple[Tensor, ...]:
    """The Tensor cut along an axis into `parts` equal pieces, or into pieces of the lengths `parts`.

    >>> [p.shape for p in split([1.0, 2.0, 3.0], [1, 2])]
    [(1,), (2,)]
    """
    x = as_tensor(x)
    at = axis_of("split", x, axis)
    length = x.shape[at]
    if isinstance(parts, int):
        if parts < 1 or length % parts:
            raise ValueError(f"split: an axis of length {length} is not {parts} equal parts; give their lengths")
        parts = [length // parts] * parts
    ends = list(accumulate(parts))
    if min(parts, default=0) < 0 or (ends[-1] if ends else 0) != length:
        raise ValueError(f"split: lengths {list(parts)} do not add up to {length}, the length of axis {axis}")
    return tuple(span(x, at, end - n, end) for n, end in zip(parts, ends, strict=True))


def unstack(x: Like, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The pieces along an axis, without that axis."""
    x = as_tensor(x)
    at = axis_of("unstack", x, axis)
    return tuple(squeeze(piece, at) for piece in split(x, [1] * x.shape[at], axis=at))


def repeat(x: Like, repeats: int | Like, /, *, axis: int | None = None) -> Tensor:
    """Each piece along an axis `repeats` times in a row, a number for all or one for each; None: all elements, flat."""
    x = as_tensor(x)
    if axis is None:
        return repeat(reshape(x, -1), repeats, axis=0)
    xp, counts = backend.of(x.data), repeats.data if isinstance(repeats, Tensor) else repeats
    try:
        index = xp.repeat(xp.arange(x.shape[axis]), counts)
    except (ValueError, IndexError) as error:
        raise ValueError(f"repeat: {repeats} times along axis {axis} does not fit shape {x.shape}") from error
    return moveaxis(gather_rows(moveaxis(x, axis, 0), index), 0, axis)


def tile(x: Like, repetitions: Sequence[int], /) -> Tensor:
    """The whole Tensor repeated along each axis."""
    x = as_tensor(x)
    counts = (1,) * (x.ndim - len(repetitions)) + tuple(repetitions)
    shape = (1,) * (len(counts) - x.ndim) + x.shape
    paired = [n for n in shape for n in (1, n)]
    wide = broadcast_to(reshape(x, paired), [m for c, n in zip(counts, shape, strict=True) for m in (c, n)])
    return reshape(wide, [c * n for c, n in zip(counts, shape, strict=True)])


def take(x: Like, indices: Like, /, *, axis: int = 0) -> Tensor:
    """The pieces of x along an axis at the indices [E]."""
    x = as_tensor(x)
    at = axis_of("take", x, axis)
    return moveaxis(gather_rows(moveaxis(x, at, 0), indices), 0, at) if at else gather_rows(x, indices)
