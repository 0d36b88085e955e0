"""Initialisers: each writes a leaf Tensor in place, with numbers from the generator that `tg.manual_seed` seeds, and
gives it back. A weight is [out, in]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, ops, tape
from ..ops.random import generator
from ..tape import GraphError
from ..tensor import Tensor


def _write(tensor: Tensor, values: np.ndarray | float) -> Tensor:
    if not tensor.is_leaf:
        raise GraphError(
            f"only leaves are initialised, and this Tensor was computed by {tensor.node!r}; detach() it first"
        )
    tensor.data[...] = backend.of(tensor.data).from_numpy(np.asarray(values, dtype=tensor.dtype))
    tape.wrote(tensor.data)
    return tensor


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs and outputs each element connects: a weight is [out, in, ...]."""
    if tensor.ndim < 2:
        raise ValueError(f"this initialiser needs a weight [out, in], not shape {tensor.shape}; use uniform_ or zeros_")
    inner = math.prod(tensor.shape[2:])
    return tensor.shape[1] * inner, tensor.shape[0] * inner


def constant_(tensor: Tensor, value: float) -> Tensor:
    """One value everywhere."""
    return _write(tensor, value)


def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return _write(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return _write(tensor, 1.0)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Drawn evenly from a to b.

    >>> from tinygrad_rnn import nn
    >>> bool((uniform_(nn.Parameter([0.0, 0.0]), 2.0, 3.0) >= 2.0).all())
    True
    """
    return _write(tensor, generator().uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Drawn from a normal distribution."""
    return _write(tensor, generator().normal(mean, std, tensor.shape))


def parameter(shape: tuple[int, ...], bound: float, device: str | None = None, dtype: Any = None) -> Tensor:
    """A new parameter, drawn evenly from -+ bound.

    Raises:
        ValueError: a width is no integer from 0.
    """
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in shape):
        raise ValueError(f"the widths of a module are integers from 0: a parameter can't have the shape {shape}")
    return uniform_(ops.empty(shape, dtype=dtype, device=device).requires_grad_(), -bound, bound)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Even between -+ gain sqrt(6 / (in + out)) (Glorot & Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Normal with the standard deviation gain sqrt(2 / (in + out)) (Glorot & Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))))


def kaiming_uniform_(tensor: Tensor, a: float = 0.0) -> Tensor:
    """Even between -+ sqrt(6 / ((1 + a^2) in)), a the slope of the leaky relu that follows (He et al. 2015, eq. 15)."""
    bound = math.sqrt(6 / ((1 + a * a) * _fans(tensor)[0]))
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(tensor: Tensor, a: float = 0.0) -> Tensor:
    """Normal with the standard deviation sqrt(2 / ((1 + a^2) in)) (He et al. 2015, eq. 15)."""
    return normal_(tensor, 0.0, math.sqrt(2 / ((1 + a * a) * _fans(tensor)[0])))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """A matrix whose rows, or columns if it has more rows than columns, are orthogonal and `gain` long.

    Saxe et al. 2013, arXiv 1312.6120; axes after the first count as one.
    """
    _fans(tensor)
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    q, r = np.linalg.qr(generator().standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # QR leaves the signs open; this makes every orthogonal matrix equally likely
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))
