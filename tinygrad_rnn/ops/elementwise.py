"""Elementwise ops, by the array API's names. Each takes Tensors, arrays or scalars and gives a Tensor.

Most are declared: `_unary` and `_binary` make the op that a name, arguments and docstring announce. One function, and
no call between, is what keeps a small op cheap.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from numpy import ndarray

from .. import backend
from ..tape import Node, next_serial, thread
from ..tensor import Tensor
from .derivatives import TABLE
from .recording import DEFAULT_FLOAT, Like, as_tensor, astype, explain, one_device, plain, promote, record

Op = TypeVar("Op", bound=Callable[..., Tensor])
FLOATS = frozenset(["divide", "atan2", "hypot", "logaddexp"])
_new: Any = object.__new__


def _made(op: Any, declared: Op) -> Op:
    """An op under the name that it was declared by, in tracebacks and profiles too."""
    op.__code__ = op.__code__.replace(co_name=declared.__name__, co_qualname=declared.__qualname__)
    made: Any = wraps(declared)(op)
    return made  # type: ignore[no-any-return]


def _unary(declared: Op) -> Op:
    """The declared op of one argument; where it makes floats of integers, they are the default float32."""
    name = declared.__name__
    row = TABLE[name]
    on_numpy, keeps_out, keeps_x = row.on_numpy, row.keeps_out, row.keeps_tensors

    def op(x: Like) -> Tensor:
        if x.__class__ is not Tensor:
            x = as_tensor(x)
        a = x.data
        try:
            out = on_numpy(a) if a.__class__ is ndarray else getattr(backend.of(a), name)(a)
        except Exception as error:
            raise explain(error, name, x) from error
        if out.__class__ is not a.__class__:
            out = backend.of(a).asarray(out)
        if out.dtype is not a.dtype and a.dtype.kind in "biu" and out.dtype.kind == "f":
            return op(astype(x, DEFAULT_FLOAT))
        node, now = x.node, thread.now
        saved = (out,) if keeps_out else (a,) if keeps_x else ()
        if now.plain:  # what `record` would do, for most; objects are made by hand, for a call of __init__ costs more
            made: Tensor = _new(Tensor)
            made.data, made.node = out, None
            if node is not None:
                made.node = new = _new(Node)
                new.row, new.parents, new.saved = row, (node,), saved
                new.shape, new.scope, new.serial = node.shape, now.scope, next_serial()
            return made
        return record(row, out, (node,), saved)

    return _made(op, declared)


def _floats(name: str, x1: Any, x2: Any) -> Any:
    """Promoted operands, of which integers are the default float32."""
    pair = promote(name, x1, x2)
    return [astype(x, DEFAULT_FLOAT) if isinstance(x, Tensor) and x.dtype.kind in "biu" else x for x in pair]


def _binary(declared: Op) -> Op:
    """The declared op of two arguments, with broadcasting and promotion; those of `FLOATS` make floats of integers."""
    name = declared.__name__.removeprefix("_")
    row = TABLE[name]
    on_numpy, keeps_out, keeps_both = row.on_numpy, row.keeps_out, row.keeps_tensors
    floats = name in FLOATS
    fit = _floats if floats else promote

    def op(x1: Like, x2: Like) -> Tensor:
        if x1.__class__ is not Tensor or x2.__class__ is not Tensor:
            return mixed(*fit(name, x1, x2))
        a, b = x1.data, x2.data
        if a.__class__ is not b.__class__ or a.dtype is not b.dtype or (floats and a.dtype.kind in "biu"):
            return mixed(*fit(name, x1, x2))
        try:
            out = on_numpy(a, b) if a.__class__ is ndarray else getattr(backend.of(a), name)(a, b)
        except Exception as error:
            raise explain(error, name, x1, x2) from error
        if out.__class__ is not a.__class__:
            out = backend.of(a).asarray(out)
        n1, n2, now = x1.node, x2.node, thread.now
        saved = (a, b) if keeps_both else ()
        if keeps_out:
            saved = (out, *saved)
        if now.plain:  # by hand, as in `_unary`
            made: Tensor = _new(Tensor)
            made.data, made.node = out, None
            if n1 is not None or n2 is not None:
                made.node = new = _new(Node)
                shape, near = out.shape, (n2 if n1 is None else n1).shape  # type: ignore[union-attr]
                new.row, new.parents, new.saved = row, (n1, n2), saved
                new.shape = near if near == shape else shape  # one tuple for equal shapes, which the walk asks for
                new.scope, new.serial = now.scope, next_serial()
            return made
        return record(row, out, (n1, n2), saved)

    def mixed(x1: Any, x2: Any) -> Tensor:
        """The op of promoted operands, one of which may be a scalar."""
        if isinstance(x1, Tensor) and isinstance(x2, Tensor):
            if x1.data.dtype is x2.data.dtype:
                return op(x1, x2)
            return op(x1, Tensor(x2.data.view(x1.data.dtype), x2.node))  # equal dtypes, two objects
        a, n1 = (x1.data, x1.node) if isinstance(x1, Tensor) else (x1, None)
        b, n2 = (x2.data, x2.node) if isinstance(x2, Tensor) else (x2, None)
        xp = backend.of(a if isinstance(x1, Tensor) else b)
        try:
            out = xp.asarray(getattr(xp, name)(a, b))
        except Exception as error:
            raise explain(error, name, x1, x2) from error
        saved = (a, b) if keeps_both else ()
        return record(row, out, (n1, n2), (out, *saved) if keeps_out else saved)

    return _made(op, declared)


@_unary
def positive(x: Like) -> Tensor:
    """+x, a copy."""


@_unary
def negative(x: Like) -> Tensor:
    """-x."""


@_unary
def abs(x: Like) -> Tensor:
    """The absolute value; its derivative at 0 is 0."""


@_unary
def sign(x: Like) -> Tensor:
    """-1, 0 or 1; its derivative is 0 everywhere, as for the other step functions."""


@_unary
def floor(x: Like) -> Tensor:
    """The largest integer not above x."""


@_unary
def ceil(x: Like) -> Tensor:
    """The smallest integer not below x."""


@_unary
def round(x: Like) -> Tensor:
    """The nearest integer, halves to even."""


@_unary
def trunc(x: Like) -> Tensor:
    """The integer part."""


@_unary
def square(x: Like) -> Tensor:
    """x * x."""


@_unary
def reciprocal(x: Like) -> Tensor:
    """1 / x."""


@_unary
def exp(x: Like) -> Tensor:
    """e ** x."""


@_unary
def expm1(x: Like) -> Tensor:
    """e ** x - 1, exact for small x."""


@_unary
def log(x: Like) -> Tensor:
    """The natural logarithm."""


@_unary
def log1p(x: Like) -> Tensor:
    """log(1 + x), exact for small x."""


@_unary
def log2(x: Like) -> Tensor:
    """The logarithm to base 2."""


@_unary
def log10(x: Like) -> Tensor:
    """The logarithm to base 10."""


@_unary
def sqrt(x: Like) -> Tensor:
    """The square root."""


@_unary
def sin(x: Like) -> Tensor:
    """The sine of radians."""


@_unary
def cos(x: Like) -> Tensor:
    """The cosine of radians."""


@_unary
def tan(x: Like) -> Tensor:
    """The tangent of radians."""


@_unary
def asin(x: Like) -> Tensor:
    """The inverse sine, in radians."""


@_unary
def acos(x: Like) -> Tensor:
    """The inverse cosine, in radians."""


@_unary
def atan(x: Like) -> Tensor:
    """The inverse tangent, in radians."""


@_unary
def sinh(x: Like) -> Tensor:
    """The hyperbolic sine."""


@_unary
def cosh(x: Like) -> Tensor:
    """The hyperbolic cosine."""


@_unary
def tanh(x: Like) -> Tensor:
    """The hyperbolic tangent.

    >>> tanh([0.0, 2.0])
    Tensor([0.       , 0.9640276], dtype=float32)
    """


@_unary
def asinh(x: Like) -> Tensor:
    """The inverse hyperbolic sine."""


@_unary
def acosh(x: Like) -> Tensor:
    """The inverse hyperbolic cosine."""


@_unary
def atanh(x: Like) -> Tensor:
    """The inverse hyperbolic tangent."""


@_unary
def sigmoid(x: Like) -> Tensor:
    """1 / (1 + exp(-x)), for any x without overflow.

    >>> sigmoid([0.0, -1000.0])
    Tensor([0.5, 0. ], dtype=float32)
    """


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


@_unary
def erf(x: Like) -> Tensor:
    """The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x (on the CPU, one element at a time)."""


@_binary
def add(x1: Like, x2: Like) -> Tensor:
    """x1 + x2."""


@_binary
def subtract(x1: Like, x2: Like) -> Tensor:
    """x1 - x2."""


@_binary
def multiply(x1: Like, x2: Like) -> Tensor:
    """x1 * x2."""


@_binary
def divide(x1: Like, x2: Like) -> Tensor:
    """x1 / x2; integers divide to the default float32."""


@_binary
def floor_divide(x1: Like, x2: Like) -> Tensor:
    """The floor of x1 / x2; its derivative is 0."""


@_binary
def remainder(x1: Like, x2: Like) -> Tensor:
    """x1 - floor(x1 / x2) * x2, with the sign of x2."""


@_binary
def _pow(x1: Like, x2: Like) -> Tensor: ...


def pow(x1: Like, x2: Like) -> Tensor:
    """x1 ** x2. The derivative by x2 is taken as 0 where x1 is 0."""
    if type(x2) in (int, float) and x2 == 2 and isinstance(x1, Tensor) and x1.dtype.kind == "f":
        return square(x1)
    return _pow(x1, x2)


@_binary
def maximum(x1: Like, x2: Like) -> Tensor:
    """The larger of each pair; at a tie both get half the gradient."""


@_binary
def minimum(x1: Like, x2: Like) -> Tensor:
    """The smaller of each pair; at a tie both get half the gradient."""


@_binary
def atan2(x1: Like, x2: Like) -> Tensor:
    """The angle of the point (x2, x1), in radians."""


@_binary
def hypot(x1: Like, x2: Like) -> Tensor:
    """sqrt(x1^2 + x2^2)."""


@_binary
def logaddexp(x1: Like, x2: Like) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow."""


# The operators that cost most are the ops themselves, in place of methods that call them.
Tensor.__add__, Tensor.__sub__, Tensor.__mul__ = add, subtract, multiply  # type: ignore[method-assign]


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


def clip(x: Like, min: Like | None = None, max: Like | None = None) -> Tensor:
    """x kept between two limits; its derivative is 1 from `min` to `max`, both included (half of it at arrays')."""
    if any(isinstance(limit, Tensor) or backend.known(limit) for limit in (min, max)):
        x = x if min is None else maximum(x, min)
        return as_tensor(x) if max is None else minimum(x, max)
    low = float("-inf") if min is None else min
    high = float("inf") if max is None else max
    x = as_tensor(x)
    for limit in (min, max):
        if limit is not None:
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


def to(x: Like, device: Any = None, dtype: Any = None) -> Tensor:
    """x on a device, with elements of a dtype, or both: the Tensor itself if it is there already.

    >>> to([1.0], float).dtype, to([1.0], "cpu", dtype="float64").dtype
    (dtype('float64'), dtype('float64'))
    """
    x = as_tensor(x)
    if device is not None and not isinstance(device, str):  # as PyTorch takes it: a dtype alone
        device, dtype = None, device
    x = x if dtype is None else astype(x, dtype)
    here = x.device
    if device in (None, here, f"{here}:0"):
        return x
    moved: Any = backend.of(x.data).to(x.data, device)
    return record(TABLE["to"], moved, (x.node,), (here,))
