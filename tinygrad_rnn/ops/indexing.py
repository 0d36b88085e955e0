"""Reading parts of Tensors, and putting parts together: indexing, gathers and their adjoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..backend import Array, Backend, Index, Span
from ..tensor import Tensor
from .derivatives import TABLE
from .recording import Like, as_tensor, explain, one_device, record, same_place


def raw_index(key: Any, xp: Backend) -> Any:
    """An index with Tensors as their arrays, and lists as arrays of `xp`, as that backend takes it."""
    if isinstance(key, tuple):
        return tuple(raw_index(list(k) if isinstance(k, tuple | range) else k, xp) for k in key)
    if isinstance(key, Tensor):
        return key.data
    if not isinstance(key, list | range):
        return key
    array = np.asarray(key)
    return xp.from_numpy(array if array.size else array.astype(np.int64))  # an empty list is no list of floats


def getitem(x: Like, key: Any) -> Tensor:
    """x[key] for ints, slices, None, Ellipsis, boolean and integer arrays (or Tensors), mixed as in NumPy.

    An array in the key is read again by the backward pass: do not write to it before.

    Raises:
        IndexError: the index does not fit; the message names shape and index.
    """
    x = as_tensor(x)
    items = key if type(key) is tuple else (key,)
    cut = _one_cut(items, x.data.shape)
    if cut is not None:
        return span(x, *cut)
    key = raw_index(key, backend.of(x.data))
    items = key if type(key) is tuple else (key,)
    arrays = [k for k in items if backend.known(k) and (k.ndim or k.dtype.kind == "b")]
    if len(items) == 1 and arrays and arrays[0].dtype.kind in "iu" and arrays[0].ndim == 1:
        return gather_rows(x, arrays[0])
    one_device("getitem", [x, *map(Tensor, arrays)])
    try:
        out = x.data[key]
    except Exception as error:
        text = f"index {key if not arrays else '(with arrays)'} does not fit shape {x.shape}: {error}"
        raise explain(IndexError(text), "getitem", x) from error
    out = backend.of(x.data).asarray(out)
    repeats = any(a.dtype.kind in "iu" for a in arrays)
    return record(TABLE["index"], out, (x.node,), (Index(key, repeats),))


def _one_cut(items: tuple[Any, ...], shape: tuple[int, ...]) -> Span | None:
    """The span that an index of slices is, if it cuts one axis in steps of 1: the commonest index has a shorter way."""
    found = None
    if len(items) > len(shape):
        return None
    for axis, item in enumerate(items):
        if type(item) is not slice or item.step not in (None, 1):
            return None
        if item.start is not None or item.stop is not None:
            if found is not None:
                return None
            start, stop, _ = item.indices(shape[axis])
            found = (axis, start, max(start, stop))
    return found


def span(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """x[..., start:stop, ...] along one axis."""
    a = x.data
    axis %= a.ndim
    out = a[start:stop] if not axis else a[(slice(None),) * axis + (slice(start, stop),)]
    return record(TABLE["span"], out, (x.node,), ((axis, start, stop),))


def part(x: Tensor, key: Any) -> Tensor:
    """The part of x at a key as `assemble` has them: a span, row indices or an index."""
    if type(key) is tuple:
        return span(x, *key)
    return getitem(x, key.index) if type(key) is Index else gather_rows(x, key)


def _row_index(name: str, index: Any, count: int, like: Array) -> Array:
    """Row indices as an array, checked: integers, one axis, 0 <= i < count (negative ones count from the end)."""
    array = index.data if isinstance(index, Tensor) else index
    if not backend.known(array):
        array = raw_index(list(array), backend.of(like))
    if array.dtype.kind in "iu" and array.dtype != np.int64:
        array = backend.of(array).astype(array, np.int64)  # differences of unsigned numbers would wrap around
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(f"{name}: the index must be integers of one axis, not {array.dtype} of shape {array.shape}")
    if array.__class__ is not like.__class__:
        raise backend.DeviceError(f"{name}: the index is on {backend.device_of(array)}, x on {backend.device_of(like)}")
    if array.size and array.__class__ is np.ndarray:
        low, high = int(array.min()), int(array.max())
        if low < -count or high >= count:
            raise IndexError(f"{name}: index {low if low < -count else high} is out of range for {count} rows")
        if low < 0:
            array = np.where(array < 0, array + count, array)
    return array


def _one_index_per_row(name: str, rows: Tensor, index: Array) -> None:
    if rows.shape[:1] != index.shape:
        raise ValueError(f"{name}: rows of shape {rows.shape} for {index.shape[0]} indices")


def gather_rows(x: Like, index: Like) -> Tensor:
    """x[index] along axis 0: x [N, ...], index [E] of integers -> [E, ...].

    Its gradient stays rows until it reaches x: a table of N rows costs E.
    """
    x = as_tensor(x)
    if not x.ndim:
        raise ValueError("gather_rows needs at least one axis")
    at = _row_index("gather_rows", index, x.data.shape[0], x.data)
    return record(TABLE["gather_rows"], backend.of(x.data).gather_rows(x.data, at), (x.node,), (at,))


def scatter_add_rows(rows: Like, index: Like, count: int) -> Tensor:
    """The adjoint of `gather_rows`: out [count, ...], out[i] the sum of the rows whose index is i.

    >>> scatter_add_rows([[1.0], [2.0], [3.0]], [0, 2, 0], 3)
    Tensor([[4.],
            [0.],
            [2.]], dtype=float32)
    """
    rows = as_tensor(rows)
    at = _row_index("scatter_add_rows", index, count, rows.data)
    _one_index_per_row("scatter_add_rows", rows, at)
    out = backend.of(rows.data).scatter_add_rows(rows.data, at, count)
    return record(TABLE["scatter_add_rows"], out, (rows.node,), (at,))


segment_sum = scatter_add_rows  # the sums of segments are that adjoint with a sorted index


def segment_max(rows: Like, index: Like, count: int, initial: float = 0.0) -> Tensor:
    """out [count, ...]: out[i] is the maximum of the rows whose index is i, `initial` if none is above -inf."""
    rows = as_tensor(rows)
    at = _row_index("segment_max", index, count, rows.data)
    _one_index_per_row("segment_max", rows, at)
    xp = backend.of(rows.data)
    kind = rows.dtype.kind
    least = float("-inf") if kind == "f" else False if kind == "b" else np.iinfo(rows.dtype).min
    out = xp.segment_max(rows.data, at, count, least)
    if kind == "f":
        out = xp.where(out == least, initial, out)
    else:
        empty = xp.reshape(xp.bincount(at, minlength=count) == 0, (-1, *(1,) * (out.ndim - 1)))
        out = xp.where(empty, xp.asarray(initial, dtype=out.dtype), out)
    return record(TABLE["segment_max"], out, (rows.node,), (out, rows.data, at))


def gather_blocks(blocks: Sequence[Tensor], places: Sequence[tuple[Any, Any]], count: int) -> Tensor:
    """Rows of several blocks as one Tensor [count, ...]: out[where] = blocks[b][rows], (where, rows) = places[b].

    `where` and `rows` are slices or integer arrays; together the `where` name each row of the result once.
    """
    tensors = same_place("gather_blocks", blocks)
    out = backend.of(tensors[0].data).gather_blocks([b.data for b in tensors], places, count)
    return record(TABLE["gather_blocks"], out, tuple(b.node for b in tensors), (places,))


def assemble(keys: Sequence[Any], values: Sequence[Like], shape: tuple[int, ...]) -> Tensor:
    """The sum of parts, each added to zeros of `shape` at its key (see `Backend.assemble`)."""
    tensors = same_place("assemble", [as_tensor(v) for v in values])
    out = backend.of(tensors[0].data).assemble(keys, [t.data for t in tensors], shape)
    return record(TABLE["assemble"], out, tuple(t.node for t in tensors), (keys,))


def gather(x: Like, indices: Like, /, *, axis: int = -1) -> Tensor:
    """One element of x per index along an axis, as `take_along_axis` of the array API.

    >>> gather([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], axis=1)
    Tensor([[2.],
            [3.]], dtype=float32)
    """
    x, indices = as_tensor(x), as_tensor(indices)
    if indices.ndim != x.ndim or not -x.ndim <= axis < x.ndim:
        raise ValueError(f"gather: indices of shape {indices.shape} do not fit x of shape {x.shape} along axis {axis}")
    xp = backend.of(x.data)
    at = axis % x.ndim
    key = tuple(
        indices.data if i == at else xp.reshape(xp.arange(n), [n if j == i else 1 for j in range(x.ndim)])
        for i, n in enumerate(x.shape)
    )
    return getitem(x, key)


take_along_axis = gather
