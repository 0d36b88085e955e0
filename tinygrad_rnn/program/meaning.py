"""What each op of a graph means, on arrays: how the NumPy target computes what it has no shorter way for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import NUMPY
from .graph import Value
from .tracer import index_of


def compute(v: Value, args: list[Any], rows: int) -> np.ndarray:
    """The array of a Value from those of its arguments (Python scalars as they are); `rows` stands for axis 0."""
    op = v.op
    shape = v.shape if v.domain == "parameter" else (rows, *v.shape[1:])
    if op in ("sum", "max", "min", "prod"):
        return getattr(NUMPY, op)(args[0], axis=v.options[0], keepdims=True)  # type: ignore[no-any-return]
    if op in _SPECIAL:
        return _SPECIAL[op](v, args, shape)  # type: ignore[no-any-return]
    if op == "astype":
        return args[0].astype(v.dtype)  # type: ignore[no-any-return]
    return np.asarray(getattr(NUMPY, op)(*args, **dict(v.options)))


def _contract(v: Value, args: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    left, right = args
    if right.shape[1] < 32 <= len(right) // 32 and right.shape[1] % 16:  # which OpenBLAS does quicker the other way
        return np.ascontiguousarray(NUMPY.matmul(right.T, left).T)
    return NUMPY.matmul(left.T, right)  # type: ignore[no-any-return]


def _place(v: Value, args: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, v.dtype)
    out[index_of(v.options[0])] = args[0]
    return out


_SPECIAL: dict[str, Any] = {
    "full": lambda v, args, shape: np.full(shape, args[0], v.dtype),
    "cut": lambda v, args, shape: NUMPY.part(args[0], v.options),
    "place": _place,
    "index": lambda v, args, shape: args[0][index_of(v.options[0])],
    "reshape": lambda v, args, shape: args[0].reshape(shape),
    "broadcast_to": lambda v, args, shape: np.broadcast_to(args[0], shape),
    "permute_dims": lambda v, args, shape: args[0].transpose(v.options[0]),
    "concat": lambda v, args, shape: np.concatenate(args, axis=v.options[0]),
    "matmul": lambda v, args, shape: NUMPY.matmul(args[0], args[1]),
    "contract": _contract,
    "sum_rows": lambda v, args, shape: NUMPY.sum(args[0], axis=0, keepdims=True),
    "einsum": lambda v, args, shape: np.einsum(v.options[0], *args, optimize=len(args) > 1),
    "einsum_rows": lambda v, args, shape: np.einsum(v.options[0], *args, optimize=len(args) > 1),
    "spread": lambda v, args, shape: args[0][args[1]],
    "segment_sum": lambda v, args, shape: NUMPY.scatter_add_rows(args[0], args[1], shape[0]),
    "segment_max": lambda v, args, shape: NUMPY.segment_max(args[0], args[1], shape[0], *v.options),
    "edge_counts": lambda v, args, shape: np.bincount(args[0], minlength=shape[0]),
    "positive": lambda v, args, shape: np.positive(args[0]),
}
