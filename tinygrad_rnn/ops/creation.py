"""Making Tensors. Floats default to float32, integers to int64, the device to `default_device()`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor
from .recording import DEFAULT_FLOAT, INTEGERS, Like, as_tensor

Shape = int | Sequence[int]


def tensor(data: Any, dtype: Any = None, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of its own from lists, scalars, arrays or another Tensor's values: always a copy.

    Raises:
        TypeError: the elements are no numbers, or `requires_grad` with a dtype that is not real floating.

    >>> tensor([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    made = asarray(data, dtype, device, copy=True)
    return made.requires_grad_() if requires_grad else made


def asarray(data: Any, dtype: Any = None, device: str | None = None, *, copy: bool | None = None) -> Tensor:
    """A Tensor of these values, not recorded; without `copy` it may share the memory of an array it is given.

    Whoever writes to that array afterwards changes the Tensor, unnoticed.
    """
    if isinstance(data, np.ndarray) and backend.named(device) is not backend.NUMPY:
        data = backend.named(device).from_numpy(np.asarray(data, data.dtype.newbyteorder("=")))
    made = as_tensor(data, dtype).detach()
    if dtype is not None and made.dtype != np.dtype(dtype):
        made = Tensor(backend.of(made.data).astype(made.data, np.dtype(dtype)))
    made = made if device in (None, made.device) else Tensor(backend.of(made.data).to(made.data, device))
    return Tensor(made.data.copy()) if copy else made


def _filled(name: str, shape: Shape, dtype: Any, device: str | None, *fill: Any) -> Tensor:
    xp = backend.named(device)
    lengths = (shape,) if isinstance(shape, INTEGERS) else tuple(shape)
    return Tensor(getattr(xp, name)(lengths, *fill, dtype=np.dtype(dtype or DEFAULT_FLOAT)))


def zeros(shape: Shape, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor of zeros."""
    return _filled("zeros", shape, dtype, device)


def ones(shape: Shape, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor of ones."""
    return _filled("ones", shape, dtype, device)


def empty(shape: Shape, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor whose elements are whatever the memory held."""
    return _filled("empty", shape, dtype, device)


def full(shape: Shape, fill_value: complex, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor of one value, whose kind gives the dtype."""
    return _filled("full", shape, dtype or as_tensor(fill_value).dtype, device, fill_value)


def zeros_like(x: Like, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Zeros of x's shape, dtype and device."""
    x = as_tensor(x)
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def ones_like(x: Like, /, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """Ones of x's shape, dtype and device."""
    x = as_tensor(x)
    return ones(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def full_like(x: Like, /, fill_value: complex, *, dtype: Any = None, device: str | None = None) -> Tensor:
    """One value in x's shape, dtype and device."""
    x = as_tensor(x)
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)


def arange(
    start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: str | None = None
) -> Tensor:
    """The numbers from start (0 if only one is given) up to stop, which is not reached."""
    first, last = (0, start) if stop is None else (start, stop)
    floating = any(isinstance(v, float | np.floating) for v in (first, last, step))
    dtype = np.dtype(dtype or (DEFAULT_FLOAT if floating else np.int64))
    return Tensor(backend.named(device).arange(first, last, step, dtype=dtype))


def linspace(
    start: float, stop: float, /, num: int, *, dtype: Any = None, device: str | None = None, endpoint: bool = True
) -> Tensor:
    """`num` numbers at equal steps from start to stop, which is the last of them, or without `endpoint` left out."""
    return Tensor(backend.named(device).linspace(start, stop, num, endpoint, dtype=np.dtype(dtype or DEFAULT_FLOAT)))


def eye(
    rows: int, columns: int | None = None, /, *, k: int = 0, dtype: Any = None, device: str | None = None
) -> Tensor:
    """Ones on the k-th diagonal, zeros elsewhere."""
    return Tensor(backend.named(device).eye(rows, columns, k=k, dtype=np.dtype(dtype or DEFAULT_FLOAT)))


def one_hot(index: Like, count: int, *, dtype: Any = None) -> Tensor:
    """index [...] of integers -> [..., count] with a 1 at each index.

    >>> one_hot([2, 0], 3)
    Tensor([[0., 0., 1.],
            [1., 0., 0.]], dtype=float32)
    """
    index = as_tensor(index)
    xp = backend.of(index.data)
    if index.dtype.kind not in "iu":
        raise TypeError(f"one_hot takes integers, not {index.dtype}")
    if index.size and not (int(index.data.min()) >= 0 and int(index.data.max()) < count):
        raise IndexError(f"one_hot: an index is outside 0..{count - 1}")
    return Tensor(xp.astype(index.data[..., None] == xp.arange(count), np.dtype(dtype or DEFAULT_FLOAT)))
