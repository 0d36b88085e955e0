"""Elementwise ops, by the array API's names. Each takes Tensors, arrays or scalars and gives a Tensor."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..tensor import Tensor
from .derivatives import TABLE
from .recording import (
    DEFAULT_FLOAT,
    Like,
    as_tensor,
    astype,
    binary,
    explain,
    one_device,
    plain,
    promote,
    record,
    unary,
)


def positive(x: Like) -> Tensor:
    """+x, a copy."""
    return unary(TABLE["positive"], x)


def negative(x: Like) -> Tensor:
    """-x."""
    return unary(TABLE["negative"], x)


def abs(x: Like) -> Tensor:
    """The absolute value; its derivative at 0 is 0."""
    return unary(TABLE["abs"], x)


def sign(x: Like) -> Tensor:
    """-1, 0 or 1; its derivative is 0 everywhere, as for the other step functions."""
    return unary(TABLE["sign"], x)


def floor(x: Like) -> Tensor:
    """The largest integer not above x."""
    return unary(TABLE["floor"], x)


def ceil(x: Like) -> Tensor:
    """The smallest integer not below x."""
    return unary(TABLE["ceil"], x)


def round(x: Like) -> Tensor:
    """The nearest integer, halves to even."""
    return unary(TABLE["round"], x)


def trunc(x: Like) -> Tensor:
    """The integer part."""
    return unary(TABLE["trunc"], x)


def square(x: Like) -> Tensor:
    """x * x."""
    return unary(TABLE["square"], x)


def reciprocal(x: Like) -> Tensor:
    """1 / x."""
    return unary(TABLE["reciprocal"], x)


def exp(x: Like) -> Tensor:
    """e ** x."""
    return unary(TABLE["exp"], x)


def expm1(x: Like) -> Tensor:
    """e ** x - 1, exact for small x."""
    return unary(TABLE["expm1"], x)


def log(x: Like) -> Tensor:
    """The natural logarithm."""
    return unary(TABLE["log"], x)


def log1p(x: Like) -> Tensor:
    """log(1 + x), exact for small x."""
    return unary(TABLE["log1p"], x)


def log2(x: Like) -> Tensor:
    """The logarithm to base 2."""
    return unary(TABLE["log2"], x)


def log10(x: Like) -> Tensor:
    """The logarithm to base 10."""
    return unary(TABLE["log10"], x)


def sqrt(x: Like) -> Tensor:
    """The square root."""
    return unary(TABLE["sqrt"], x)


def sin(x: Like) -> Tensor:
    """The sine of radians."""
    return unary(TABLE["sin"], x)


def cos(x: Like) -> Tensor:
    """The cosine of radians."""
    return unary(TABLE["cos"], x)


def tan(x: Like) -> Tensor:
    """The tangent of radians."""
    return unary(TABLE["tan"], x)


def asin(x: Like) -> Tensor:
    """The inverse sine, in radians."""
    return unary(TABLE["asin"], x)


def acos(x: Like) -> Tensor:
    """The inverse cosine, in radians."""
    return unary(TABLE["acos"], x)


def atan(x: Like) -> Tensor:
    """The inverse tangent, in radians."""
    return unary(TABLE["atan"], x)


def sinh(x: Like) -> Tensor:
    """The hyperbolic sine."""
    return unary(TABLE["sinh"], x)


def cosh(x: Like) -> Tensor:
    """The hyperbolic cosine."""
    return unary(TABLE["cosh"], x)


def tanh(x: Like) -> Tensor:
    """The hyperbolic tangent.

    >>> tanh([0.0, 2.0])
    Tensor([0.       , 0.9640276], dtype=float32)
    """
    return unary(TABLE["tanh"], x)


def asinh(x: Like) -> Tensor:
    """The inverse hyperbolic sine."""
    return unary(TABLE["asinh"], x)


def acosh(x: Like) -> Tensor:
    """The inverse hyperbolic cosine."""
    return unary(TABLE["acosh"], x)


def atanh(x: Like) -> Tensor:
    """The inverse hyperbolic tangent."""
    return unary(TABLE["atanh"], x)


def sigmoid(x: Like) -> Tensor:
    """1 / (1 + exp(-x)), for any x without overflow.

    >>> sigmoid([0.0, -1000.0])
    Tensor([0.5, 0. ], dtype=float32)
    """
    return unary(TABLE["sigmoid"], x)


def relu(x: Like) -> Tensor:
    """max(x, 0); its derivative at 0 is 0."""
    x = as_tensor(x)
    out = backend.of(x.data).maximum(x.data, 0)
    return record(TABLE["relu"], backend.of(out).asarray(out), (x.node,), (out,))


def softplus(x: Like) -> Tensor:
    """log(1 + exp(x)), for any x without overflow."""
    x = as_tensor(x)
    x = astype(x, DEFAULT_FLOAT) if x.dtype.kind in "biu" else x
    xp = backend.of(x.data)
    return record(TABLE["softplus"], xp.asarray(xp.logaddexp(x.data, 0)), (x.node,), (x.data,))


def erf(x: Like) -> Tensor:
    """The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x (on the CPU, one element at a time)."""
    return unary(TABLE["erf"], x)


def add(x1: Like, x2: Like) -> Tensor:
    """x1 + x2."""
    return binary(TABLE["add"], x1, x2)


def subtract(x1: Like, x2: Like) -> Tensor:
    """x1 - x2."""
    return binary(TABLE["subtract"], x1, x2)


def multiply(x1: Like, x2: Like) -> Tensor:
    """x1 * x2."""
    return binary(TABLE["multiply"], x1, x2)


def divide(x1: Like, x2: Like) -> Tensor:
    """x1 / x2; integers divide to the default float32."""
    x1, x2 = promote("divide", x1, x2)
    x1 = astype(x1, DEFAULT_FLOAT) if isinstance(x1, Tensor) and x1.dtype.kind in "biu" else x1
    x2 = astype(x2, DEFAULT_FLOAT) if isinstance(x2, Tensor) and x2.dtype.kind in "biu" else x2
    return binary(TABLE["divide"], x1, x2)


def floor_divide(x1: Like, x2: Like) -> Tensor:
    """The floor of x1 / x2; its derivative is 0."""
    return binary(TABLE["floor_divide"], x1, x2)


def remainder(x1: Like, x2: Like) -> Tensor:
    """x1 - floor(x1 / x2) * x2, with the sign of x2."""
    return binary(TABLE["remainder"], x1, x2)


def pow(x1: Like, x2: Like) -> Tensor:
    """x1 ** x2. The derivative by x2 is taken as 0 where x1 is 0."""
    if type(x2) in (int, float) and x2 == 2 and isinstance(x1, Tensor) and x1.dtype.kind == "f":
        return square(x1)
    return binary(TABLE["pow"], x1, x2)


def maximum(x1: Like, x2: Like) -> Tensor:
    """The larger of each pair; at a tie both get half the gradient."""
    return binary(TABLE["maximum"], x1, x2)


def minimum(x1: Like, x2: Like) -> Tensor:
    """The smaller of each pair; at a tie both get half the gradient."""
    return binary(TABLE["minimum"], x1, x2)


def atan2(x1: Like, x2: Like) -> Tensor:
    """The angle of the point (x2, x1), in radians."""
    return binary(TABLE["atan2"], x1, x2)


def hypot(x1: Like, x2: Like) -> Tensor:
    """sqrt(x1^2 + x2^2)."""
    return binary(TABLE["hypot"], x1, x2)


def logaddexp(x1: Like, x2: Like) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow."""
    return binary(TABLE["logaddexp"], x1, x2)


def where(condition: Like, x1: Like, x2: Like) -> Tensor:
    """x1 where the condition holds, x2 elsewhere; the other one's gradient there is 0."""
    condition = as_tensor(condition)
    x1, x2 = promote("where", x1, x2)
    one_device("where", [condition, *(x for x in (x1, x2) if isinstance(x, Tensor))])
    a, n1 = (x1.data, x1.node) if isinstance(x1, Tensor) else (x1, None)
    b, n2 = (x2.data, x2.node) if isinstance(x2, Tensor) else (x2, None)
    try:
        out = backend.of(condition.data).where(condition.data, a, b)
    except Exception as error:
        raise explain(error, "where", condition, x1, x2) from error
    return record(TABLE["where"], out, (n1, n2), (condition.data,))


def clip(x: Like, min: float | None = None, max: float | None = None) -> Tensor:
    """x kept between two scalars; its derivative is 1 from `min` to `max`, both included."""
    low = float("-inf") if min is None else min
    high = float("inf") if max is None else max
    x = as_tensor(x)
    for limit in (min, max):
        if limit is not None:
            if isinstance(limit, Tensor) or backend.known(limit):  # type: ignore[unreachable]
                raise TypeError("clip takes scalars as limits; use maximum and minimum for Tensors")
            x, _ = promote("clip", x, limit)
    xp = backend.of(x.data)
    out = xp.astype(xp.asarray(xp.clip(x.data, min, max)), x.data.dtype)
    return record(TABLE["clip"], out, (x.node,), (x.data, low, high))


def equal(x1: Like, x2: Like) -> Tensor:
    """x1 == x2, elementwise."""
    return plain("equal", x1, x2)


def not_equal(x1: Like, x2: Like) -> Tensor:
    """x1 != x2, elementwise."""
    return plain("not_equal", x1, x2)


def less(x1: Like, x2: Like) -> Tensor:
    """x1 < x2."""
    return plain("less", x1, x2)


def less_equal(x1: Like, x2: Like) -> Tensor:
    """x1 <= x2."""
    return plain("less_equal", x1, x2)


def greater(x1: Like, x2: Like) -> Tensor:
    """x1 > x2."""
    return plain("greater", x1, x2)


def greater_equal(x1: Like, x2: Like) -> Tensor:
    """x1 >= x2."""
    return plain("greater_equal", x1, x2)


def logical_and(x1: Like, x2: Like) -> Tensor:
    """x1 and x2, as booleans."""
    return plain("logical_and", x1, x2)


def logical_or(x1: Like, x2: Like) -> Tensor:
    """x1 or x2, as booleans."""
    return plain("logical_or", x1, x2)


def logical_xor(x1: Like, x2: Like) -> Tensor:
    """Either x1 or x2, as booleans."""
    return plain("logical_xor", x1, x2)


def logical_not(x: Like) -> Tensor:
    """Not x, as booleans."""
    return plain("logical_not", x)


def bitwise_and(x1: Like, x2: Like) -> Tensor:
    """x1 & x2, of integers or booleans."""
    return plain("bitwise_and", x1, x2)


def bitwise_or(x1: Like, x2: Like) -> Tensor:
    """x1 | x2, of integers or booleans."""
    return plain("bitwise_or", x1, x2)


def bitwise_xor(x1: Like, x2: Like) -> Tensor:
    """x1 ^ x2, of integers or booleans."""
    return plain("bitwise_xor", x1, x2)


def bitwise_invert(x: Like) -> Tensor:
    """~x, of integers or booleans."""
    return plain("bitwise_invert", x)


def isfinite(x: Like) -> Tensor:
    """Neither NaN nor infinite."""
    return plain("isfinite", x)


def isinf(x: Like) -> Tensor:
    """Infinite."""
    return plain("isinf", x)


def isnan(x: Like) -> Tensor:
    """NaN."""
    return plain("isnan", x)


def to(x: Like, device: str) -> Tensor:
    """x on a device: the Tensor itself if it is there already."""
    x = as_tensor(x)
    here = x.device
    if device in (here, f"{here}:0"):
        return x
    moved: Any = backend.of(x.data).to(x.data, device)
    return record(TABLE["to"], moved, (x.node,), (here,))
