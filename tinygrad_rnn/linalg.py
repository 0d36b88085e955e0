"""Linear algebra by the names of the array API's extension: what tells how a weight matrix stretches a state.

Norms, diagonals and traces have derivatives. Decompositions, inverses and determinants are forward only.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from . import backend, ops
from .ops import matmul, matrix_transpose, outer, tensordot, vecdot
from .ops.recording import DEFAULT_FLOAT, Like, explain
from .tape import GraphError, thread
from .tensor import Axis, Tensor

__all__ = [
    "cholesky", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot",
    "vector_norm",
]  # fmt: skip

EighResult = namedtuple("EighResult", ["eigenvalues", "eigenvectors"])
QRResult = namedtuple("QRResult", ["Q", "R"])
SlogdetResult = namedtuple("SlogdetResult", ["sign", "logabsdet"])
SVDResult = namedtuple("SVDResult", ["U", "S", "Vh"])


def _floating(x: Like) -> Tensor:
    x = ops.as_tensor(x)
    return x if x.dtype.kind in "fc" else ops.astype(x, DEFAULT_FLOAT)


def _forward(name: str, *operands: Like, **options: Any) -> Any:
    """A function of the backend's linalg: a Tensor, or a tuple of Tensors.

    Raises:
        GraphError: an operand is recorded, for there is no derivative.
        ValueError: no such matrix, or a singular one.
    """
    tensors = [_floating(x) for x in operands]
    if thread.now.recording and any(x.node is not None for x in tensors):
        raise GraphError(f"linalg.{name} is forward only: it has no derivative; give it .detach(), or use no_grad()")
    ops.recording.one_device(f"linalg.{name}", tensors)
    function = getattr(backend.of(tensors[0].data).linalg, name)
    try:
        found = function(*(x.data for x in tensors), **options)
    except Exception as error:
        raise explain(error, f"linalg.{name}", *tensors) from error
    return tuple(map(ops.wrap, found)) if isinstance(found, tuple) else ops.wrap(found)


def svd(x: Like, /, *, full_matrices: bool = True) -> SVDResult:
    """x = U diag(S) Vh, S falling: x [..., M, N]; with `full_matrices` U and Vh are square. Forward only.

    Raises:
        GraphError: x is recorded.

    >>> svd([[3.0, 0.0], [0.0, 4.0]]).S
    Tensor([4., 3.], dtype=float32)
    """
    return SVDResult(*_forward("svd", x, full_matrices=full_matrices))


def svdvals(x: Like, /) -> Tensor:
    """The singular values of matrices [..., M, N], falling: [..., min(M, N)]. Forward only."""
    return _forward("svd", x, compute_uv=False)  # type: ignore[no-any-return]


def eigh(x: Like, /) -> EighResult:
    """The eigenvalues, rising, and eigenvectors, in columns, of symmetric matrices [..., M, M]. Forward only."""
    return EighResult(*_forward("eigh", x))


def eigvalsh(x: Like, /) -> Tensor:
    """The eigenvalues of symmetric matrices [..., M, M], rising. Forward only."""
    return _forward("eigvalsh", x)  # type: ignore[no-any-return]


def qr(x: Like, /, *, mode: str = "reduced") -> QRResult:
    """x = Q R, the columns of Q orthonormal, R upper triangular; `mode` may be "complete". Forward only."""
    if mode not in ("reduced", "complete"):
        raise ValueError(f"linalg.qr knows the modes 'reduced' and 'complete', not {mode!r}")
    return QRResult(*_forward("qr", x, mode=mode))


def pinv(x: Like, /, *, rtol: float | None = None) -> Tensor:
    """The pseudo-inverse; singular values below `rtol` times the largest (by default max(M, N) eps) count as 0.

    Forward only.
    """
    x = _floating(x)
    eps = np.finfo(x.dtype).eps
    return _forward("pinv", x, rcond=max(x.shape[-2:]) * eps if rtol is None else rtol)  # type: ignore[no-any-return]


def inv(x: Like, /) -> Tensor:
    """The inverse of matrices [..., M, M]. Forward only."""
    return _forward("inv", x)  # type: ignore[no-any-return]


def det(x: Like, /) -> Tensor:
    """The determinant of matrices [..., M, M]. Forward only."""
    return _forward("det", x)  # type: ignore[no-any-return]


def slogdet(x: Like, /) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its absolute value. Forward only."""
    return SlogdetResult(*_forward("slogdet", x))


def solve(x1: Like, x2: Like, /) -> Tensor:
    """y with x1 y = x2: x1 [..., M, M], x2 [M] or [..., M, K]. Forward only."""
    return _forward("solve", x1, x2)  # type: ignore[no-any-return]


def cholesky(x: Like, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L of x = L L^H, or with `upper` L^H. Forward only."""
    lower: Tensor = _forward("cholesky", x)
    return matrix_transpose(Tensor(lower.data.conj())) if upper else lower


def matrix_power(x: Like, n: int, /) -> Tensor:
    """x times itself, n times in all; the inverse's power where n is negative. Forward only."""
    return _forward("matrix_power", x, n=n)  # type: ignore[no-any-return]


def matrix_rank(x: Like, /, *, rtol: float | None = None) -> Tensor:
    """How many singular values are above `rtol` times the largest (by default max(M, N) eps). Forward only."""
    values = svdvals(x)
    eps = float(np.finfo(values.dtype).eps)
    shape = ops.as_tensor(x).shape[-2:]
    least = ops.max(values, axis=-1, keepdims=True) * (max(shape) * eps if rtol is None else rtol)
    return ops.sum(values > least, axis=-1)


def diagonal(x: Like, /, *, offset: int = 0) -> Tensor:
    """The elements [..., i, i + offset] of x [..., M, N]."""
    x = ops.as_tensor(x)
    rows, columns = x.shape[-2:]
    i = np.arange(max(0, -offset), max(0, -offset, min(rows, columns - offset)))
    flat = ops.reshape(x, (*x.shape[:-2], rows * columns))
    return ops.take(flat, ops.asarray(i * columns + i + offset, device=x.device), axis=-1)


def trace(x: Like, /, *, offset: int = 0) -> Tensor:
    """The sum of a diagonal: x [..., M, N] -> [...]."""
    return ops.sum(diagonal(x, offset=offset), axis=-1)


def vector_norm(x: Like, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The norm (sum |x|^ord)^(1/ord) over some axes, or all; with ord inf and -inf the largest and least |x|.

    Its gradient at x = 0 is 0 for ord 2.

    >>> vector_norm([3.0, 4.0]).item()
    5.0
    """
    size = ops.abs(_floating(x))
    if math.isinf(ord):
        return (ops.max if ord > 0 else ops.min)(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        total = ops.sum(ops.square(size), axis=axis, keepdims=keepdims)
        zero = total == 0  # where the square root has no derivative
        return ops.sqrt(ops.where(zero, 1.0, total)) * ops.astype(~zero, total.dtype)
    if ord == 0:
        return ops.sum(ops.astype(size != 0, size.dtype), axis=axis, keepdims=keepdims)
    return ops.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


def matrix_norm(x: Like, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> Tensor:
    """A norm of matrices [..., M, N]: "fro", "nuc", 1, -1, 2, -2, inf or -inf; "nuc", 2 and -2 are forward only.

    Raises:
        ValueError: no such norm.
    """
    x = _floating(x)
    if ord in ("fro", None):
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        parts = svdvals(x)
    elif ord in (1, -1, math.inf, -math.inf):
        parts = ops.sum(ops.abs(x), axis=-2 if ord in (1, -1) else -1)
    else:
        raise ValueError(f"linalg.matrix_norm knows ord 'fro', 'nuc', 1, -1, 2, -2, inf and -inf, not {ord!r}")
    fold = ops.sum if ord == "nuc" else ops.max if ord in (1, 2, math.inf) else ops.min
    out = fold(parts, axis=-1)
    return ops.expand_dims(ops.expand_dims(out, axis=-1), axis=-1) if keepdims else out
