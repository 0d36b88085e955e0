"""The table of derivatives: one row per op, one vector-Jacobian product (VJP) per argument.

Read `g` as the gradient of the result, `out` as the result, the other names as the op's arguments. `xp` is one of three
namespaces with the same names: the raw backend, the ops on Tensors (so that a recorded backward pass has derivatives of
any order) or the trace of a compiled cell. Rows branch on shapes, dtypes and parameters, never on values; the walk sums
a gradient over axes that were broadcast, so no row does.
"""

from __future__ import annotations

import math
from typing import Any

from ..backend import Backend, of
from ..gradient import TALL, Part, Product
from ..native.functions import cross_entropy_back
from ..tape import Row, Vjp

TABLE: dict[str, Row] = {}


def row(name: str, tensors: str, *vjps: Vjp | None, joint: Vjp | None = None) -> None:
    """Add one row to the table; `tensors` names the arguments that have derivatives."""
    TABLE[name] = Row(name, tuple(tensors.split()), vjps, joint)


def zero(xp: Any, g: Any) -> Any:
    """The derivative of a step function."""
    return xp.zeros_like(g)


# Elementwise, one argument.
row("positive", "x", lambda xp, g: g)
row("negative", "x", lambda xp, g: -g)
row("abs", "x", lambda xp, g, x: g * xp.sign(x))
row("exp", "x", lambda xp, g, out: g * out)
row("expm1", "x", lambda xp, g, out: g * (out + 1))
row("log", "x", lambda xp, g, x: g / x)
row("log1p", "x", lambda xp, g, x: g / (x + 1))
row("log2", "x", lambda xp, g, x: g / (x * math.log(2)))
row("log10", "x", lambda xp, g, x: g / (x * math.log(10)))
row("sqrt", "x", lambda xp, g, out: g * 0.5 / out)
row("square", "x", lambda xp, g, x: g * x * 2)
row("reciprocal", "x", lambda xp, g, out: -g * out * out)
row("sin", "x", lambda xp, g, x: g * xp.cos(x))
row("cos", "x", lambda xp, g, x: -g * xp.sin(x))
row("tan", "x", lambda xp, g, out: g * (1 + out * out))
row("asin", "x", lambda xp, g, x: g / xp.sqrt(1 - x * x))
row("acos", "x", lambda xp, g, x: -g / xp.sqrt(1 - x * x))
row("atan", "x", lambda xp, g, x: g / (1 + x * x))
row("sinh", "x", lambda xp, g, x: g * xp.cosh(x))
row("cosh", "x", lambda xp, g, x: g * xp.sinh(x))
row("tanh", "x", lambda xp, g, out: g - g * out * out)  # three array ops: a scalar costs NumPy more
row("asinh", "x", lambda xp, g, x: g / xp.sqrt(x * x + 1))
row("acosh", "x", lambda xp, g, x: g / (xp.sqrt(x - 1) * xp.sqrt(x + 1)))
row("atanh", "x", lambda xp, g, x: g / (1 - x * x))
row("sigmoid", "x", lambda xp, g, out: g * (out * (1 - out)))
row("relu", "x", lambda xp, g, out: xp.where(out > 0, g, 0.0))
row("softplus", "x", lambda xp, g, x: g * xp.sigmoid(x))
row("erf", "x", lambda xp, g, x: g * xp.exp(-x * x) * (2 / math.sqrt(math.pi)))
for name in ("sign", "floor", "ceil", "round", "trunc"):
    row(name, "x", zero)

# Elementwise, two arguments. At a tie the gradient is shared, as in torch.amax.
row("add", "x1 x2", lambda xp, g: g, lambda xp, g: g)
row("subtract", "x1 x2", lambda xp, g: g, lambda xp, g: -g)
row("multiply", "x1 x2", lambda xp, g, x1, x2: g * x2, lambda xp, g, x1, x2: g * x1)
row("divide", "x1 x2", lambda xp, g, x1, x2: g / x2, lambda xp, g, x1, x2: -g * x1 / (x2 * x2))
row("remainder", "x1 x2", lambda xp, g, x1, x2: g, lambda xp, g, x1, x2: -g * xp.floor(x1 / x2))
row("floor_divide", "x1 x2", zero, zero)
row("atan2", "x1 x2",
    lambda xp, g, x1, x2: g * x2 / (x1 * x1 + x2 * x2),
    lambda xp, g, x1, x2: -g * x1 / (x1 * x1 + x2 * x2))  # fmt: skip
row("hypot", "x1 x2", lambda xp, g, out, x1, x2: g * x1 / out, lambda xp, g, out, x1, x2: g * x2 / out)
row("logaddexp", "x1 x2",
    lambda xp, g, out, x1, x2: g * xp.exp(x1 - out),
    lambda xp, g, out, x1, x2: g * xp.exp(x2 - out))  # fmt: skip


def _power_base(xp: Any, g: Any, out: Any, x1: Any, x2: Any) -> Any:
    if isinstance(x2, int | float):
        return g * (x2 * x1 ** (x2 - 1)) if x2 else xp.zeros_like(g)
    base = xp.where((x1 == 0) & (x2 == 0), 1.0, x1)  # x ** 0 is constant, and 0 ** -1 would spoil it
    return g * x2 * base ** (x2 - 1)


def _power_exponent(xp: Any, g: Any, out: Any, x1: Any, x2: Any) -> Any:
    if isinstance(x1, int | float):
        return g * out * math.log(x1) if x1 > 0 else xp.zeros_like(g)
    base = xp.where(x1 == 0, 1.0, x1)  # 0 ** x2 is constant for x2 > 0, and log(0) would spoil it
    return g * out * xp.log(base)


row("pow", "x1 x2", _power_base, _power_exponent)


def _larger(xp: Any, g: Any, ours: Any, other: Any) -> Any:
    return xp.where(ours > other, g, xp.where(ours == other, g * 0.5, 0.0))


row("maximum", "x1 x2", lambda xp, g, x1, x2: _larger(xp, g, x1, x2), lambda xp, g, x1, x2: _larger(xp, g, x2, x1))
row("minimum", "x1 x2", lambda xp, g, x1, x2: _larger(xp, g, x2, x1), lambda xp, g, x1, x2: _larger(xp, g, x1, x2))
row("where", "x1 x2",
    lambda xp, g, condition: xp.where(condition, g, 0.0),
    lambda xp, g, condition: xp.where(condition, 0.0, g))  # fmt: skip
row("clip", "x", lambda xp, g, x, low, high: xp.where((x >= low) & (x <= high), g, 0.0))
row("astype", "x", lambda xp, g, dtype: xp.astype(g, dtype))
row("to", "x", lambda xp, g, device: xp.to(g, device))


# Reductions. `axis` is a tuple of axes >= 0, `shape` the argument's.
def _keep(xp: Any, value: Any, axis: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """A reduced array with the reduced axes back, as 1."""
    return xp.reshape(value, tuple(1 if i in axis else n for i, n in enumerate(shape)))


def _extremum(xp: Any, g: Any, out: Any, x: Any, axis: tuple[int, ...]) -> Any:
    here = x == _keep(xp, out, axis, x.shape)
    count = xp.sum(xp.astype(here, g.dtype), axis=axis, keepdims=True)
    return xp.where(here, _keep(xp, g, axis, x.shape) / count, 0.0)


def _others(xp: Any, x: Any) -> Any:
    """For each element of the last axis, the product of those before it."""
    ones = xp.ones_like(x[..., :1])
    return xp.cumulative_prod(xp.concat([ones, x[..., :-1]], axis=-1), axis=-1)


def _prod(xp: Any, g: Any, x: Any, axis: tuple[int, ...]) -> Any:
    # Products of the others, from the left and from the right, need no division: zeros are no exception.
    kept = tuple(i for i in range(len(x.shape)) if i not in axis)
    flat = xp.permute_dims(x, kept + axis)
    shape = flat.shape
    flat = xp.reshape(flat, (*(x.shape[i] for i in kept), math.prod(x.shape[i] for i in axis)))
    others = _others(xp, flat) * xp.flip(_others(xp, xp.flip(flat, axis=-1)), axis=-1)
    back = [(kept + axis).index(i) for i in range(len(shape))]
    return _keep(xp, g, axis, x.shape) * xp.permute_dims(xp.reshape(others, shape), tuple(back))


def _cumulative_prod(xp: Any, g: Any, x: Any, axis: int) -> Any:
    # dL/dx_k = (product before k) * sum over i >= k of g_i * (product of x_j, k < j <= i): O(n^2), exact at zeros.
    last = xp.moveaxis(x, axis, -1)
    later = xp.triu(xp.ones_like(last[..., None, :] * last[..., :, None]), k=1)  # [..., k, j]: j > k
    between = xp.cumulative_prod(xp.where(later > 0, last[..., None, :], 1.0), axis=-1)
    reached = xp.triu(between * xp.moveaxis(g, axis, -1)[..., None, :])
    return xp.moveaxis(_others(xp, last) * xp.sum(reached, axis=-1), -1, axis)


row("sum", "x", lambda xp, g, axis, shape: xp.broadcast_to(_keep(xp, g, axis, shape), shape))
row("max", "x", _extremum)
row("min", "x", _extremum)
row("prod", "x", _prod)
row("cumulative_sum", "x", lambda xp, g, axis: xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis))
row("cumulative_prod", "x", _cumulative_prod)
row("softmax", "x", lambda xp, g, out, axis: out * (g - xp.sum(g * out, axis=axis, keepdims=True)))
row("log_softmax", "x", lambda xp, g, out, axis: g - xp.exp(out) * xp.sum(g, axis=axis, keepdims=True))


def _cross_entropy(xp: Any, g: Any, x: Any, ids: Any, top: Any, total: Any) -> Any:
    if isinstance(xp, Backend):
        found = cross_entropy_back(x, ids, top, total, g)
        if found is not None:
            return found
        likely = xp.exp(x - top[:, None]) / total[:, None]
    else:
        likely = xp.softmax(x, axis=-1)  # once more differentiable
    columns = of(ids).arange(x.shape[1])
    return (likely - of(ids).astype(ids[:, None] == columns, g.dtype)) * xp.reshape(g, (-1, 1))


row("cross_entropy", "x", _cross_entropy)
row("logsumexp", "x",
    lambda xp, g, out, x, axis: _keep(xp, g, axis, x.shape) * xp.exp(x - _keep(xp, out, axis, x.shape)))  # fmt: skip

# Shape.
row("reshape", "x", lambda xp, g, shape: xp.reshape(g, shape))
row("permute_dims", "x", lambda xp, g, back: xp.permute_dims(g, back))
row("broadcast_to", "x", lambda xp, g: g)
row("flip", "x", lambda xp, g, axis: xp.flip(g, axis=axis))
row("roll", "x", lambda xp, g, shift, axis: xp.roll(g, tuple(-s for s in shift), axis=axis))
row("tril", "x", lambda xp, g, k: xp.tril(g, k=k))
row("triu", "x", lambda xp, g, k: xp.triu(g, k=k))


def _concat(xp: Any, g: Any, needed: list[bool], axis: int, ends: list[int]) -> Any:
    full = (slice(None),) * axis
    return [
        g[(*full, slice(start, stop))] if need else None
        for need, start, stop in zip(needed, [0, *ends[:-1]], ends, strict=True)
    ]


row("concat", "arrays", joint=_concat)

# Parts of arrays: what was read sends its gradient back as a part, and the walk puts the parts together once.
row("span", "x", lambda xp, g, key: Part(key, g))
row("index", "x", lambda xp, g, key: Part(key, g))
row("gather_rows", "x", lambda xp, g, index: Part(index, g))
row("scatter_add_rows", "rows", lambda xp, g, index: xp.gather_rows(g, index))


def _segment_max(xp: Any, g: Any, out: Any, rows: Any, index: Any) -> Any:
    here = rows == xp.gather_rows(out, index)
    count = xp.scatter_add_rows(xp.astype(here, g.dtype), index, len(out))
    return xp.where(here, xp.gather_rows(g / xp.where(count == 0, 1.0, count), index), 0.0)


row("segment_max", "rows", _segment_max)


def _gather_blocks(xp: Any, g: Any, needed: list[bool], places: Any) -> Any:
    return [
        Part((0, rows.start, rows.stop) if type(rows) is slice else rows, g[where]) if need else None
        for need, (where, rows) in zip(needed, places, strict=True)
    ]


def _assemble(xp: Any, g: Any, needed: list[bool], keys: Any) -> Any:
    return [xp.part(g, key) if need else None for need, key in zip(needed, keys, strict=True)]


row("output", "bundle", lambda xp, g, number: Part(number, g))
row("gather_blocks", "blocks", joint=_gather_blocks)
row("assemble", "values", joint=_assemble)


# Products.
def _transposed_product(xp: Any, left: Any, right: Any) -> Any:
    """left^T right. On arrays a thin one waits for others to the same matrix; a repeated row is multiplied once."""
    thin = isinstance(xp, Backend) and left.ndim == 2 == right.ndim and len(left) < TALL
    if thin and left.strides[0] and right.strides[0]:
        return Product(left, right)
    return xp.matmul(xp.matrix_transpose(left), right)


row("matmul", "x1 x2",
    lambda xp, g, x1, x2: xp.matmul(g, xp.matrix_transpose(x2)),
    lambda xp, g, x1, x2: _transposed_product(xp, x1, g))  # fmt: skip
row("linear", "x weight bias",
    lambda xp, g, x, weight: xp.matmul(g, weight),
    lambda xp, g, x, weight: _transposed_product(xp, g, x),
    lambda xp, g, x, weight: g)  # fmt: skip


def _einsum(xp: Any, g: Any, needed: list[bool], tensors: Any, inputs: list[str], output: str) -> Any:
    # The gradient of one operand is the einsum of g with the others, in that operand's letters; letters that nothing
    # else holds were summed alone, so they come back by broadcasting.
    gradients: list[Any] = []
    for i, (need, letters) in enumerate(zip(needed, inputs, strict=True)):
        if not need:
            gradients.append(None)
            continue
        others = [*inputs[:i], *inputs[i + 1 :]]
        present = "".join(c for c in letters if c in output or any(c in o for o in others))
        operands = [g, *tensors[:i], *tensors[i + 1 :]]
        c = xp.einsum(f"{','.join([output, *others])}->{present}", *operands)
        shape = tensors[i].shape
        c = xp.reshape(c, tuple(n if letter in present else 1 for letter, n in zip(letters, shape, strict=True)))
        gradients.append(xp.broadcast_to(c, shape))
    return gradients


row("einsum", "operands", joint=_einsum)
