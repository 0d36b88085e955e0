"""Matrix products."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import backend
from ..tensor import Tensor
from .derivatives import TABLE
from .elementwise import multiply
from .recording import Like, as_tensor, explain, promote, record, same_place
from .reduction import sum
from .shape import broadcast_to, expand_dims, permute_dims, reshape, squeeze

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def matmul(x1: Like, x2: Like, /) -> Tensor:
    """The matrix product over the last two axes, broadcast over the others; a vector is a row (x1) or a column (x2).

    Raises:
        ValueError: the inner lengths differ, or an operand has no axis.
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        reason = ValueError("the last axis of x1 must be as long as the last but one of x2")
        raise explain(reason, "matmul", a, b)
    if a.data.dtype != b.data.dtype or a.data.__class__ is not b.data.__class__:
        a, b = promote("matmul", a, b)
    if a.ndim == 1 or b.ndim == 1:
        out = matmul(expand_dims(a, axis=0) if a.ndim == 1 else a, expand_dims(b, axis=1) if b.ndim == 1 else b)
        out = squeeze(out, -1) if b.ndim == 1 else out
        return squeeze(out, -1 if b.ndim == 1 else -2) if a.ndim == 1 else out
    if b.ndim == 2 and _is_nothing(a):
        return _zeros(a, b.shape[1])
    try:
        out = backend.of(a.data).matmul(a.data, b.data)
    except Exception as error:
        raise explain(error, "matmul", a, b) from error
    return record(TABLE["matmul"], out, (a.node, b.node), (a.data, b.data))


def _is_nothing(x: Tensor) -> bool:
    """Whether x is one row of zeros, repeated, and no one asks for its gradient: a missing input, or an empty slot.

    A product with it is zero and is not computed, nor does the other operand get a gradient from it.
    """
    a = x.data
    return x.node is None and a.ndim == 2 and len(a) > 0 and not a.strides[0] and not bool(a[:1].any())


def _zeros(like: Tensor, width: int) -> Tensor:
    xp = backend.of(like.data)
    return Tensor(xp.broadcast_to(xp.zeros((1, width), dtype=like.data.dtype), (len(like), width)))


def linear(x: Like, weight: Like, bias: Like | None = None) -> Tensor:
    """x @ weight^T + bias in one pass: x [..., I], weight [H, I], bias [H] -> [..., H].

    Raises:
        ValueError: the lengths of the last axes differ.

    >>> linear([[1.0, 2.0]], [[3.0, 4.0]], [0.5])
    Tensor([[11.5]], dtype=float32)
    """
    given = [as_tensor(v) for v in ((x, weight) if bias is None else (x, weight, bias))]
    a, w, *rest = same_place("linear", given)
    shape, wide = a.data.shape, w.data.shape
    if len(wide) != 2 or not shape or shape[-1] != wide[1] or (rest and rest[0].data.shape != wide[:1]):
        reason = ValueError("x [..., I], weight [H, I] and bias [H] must have the same I and H")
        raise explain(reason, "linear", *given)
    if len(shape) != 2:
        return reshape(linear(reshape(a, (math.prod(shape[:-1]), shape[-1])), w, *rest), (*shape[:-1], wide[0]))
    if _is_nothing(a):
        return broadcast_to(reshape(rest[0], (1, len(w))), (len(a), len(w))) if rest else _zeros(a, len(w))
    xp = backend.of(a.data)
    out = xp.matmul(a.data, w.data.T)
    if rest and not out.strides[0] and len(out) > 1:
        out = xp.broadcast_to(out[:1] + rest[0].data, out.shape)  # one row, repeated, stays one
    elif rest:
        out += rest[0].data
    return record(TABLE["linear"], out, (a.node, w.node, rest[0].node if rest else None), (a.data, w.data))


def vecdot(x1: Like, x2: Like, /, *, axis: int = -1) -> Tensor:
    """The sum of products along an axis, of complex numbers those of x1 conjugated."""
    a = as_tensor(x1)
    return sum(multiply(Tensor(a.data.conj()) if a.dtype.kind == "c" else a, x2), axis=axis)


def outer(x1: Like, x2: Like, /) -> Tensor:
    """The products of each element of a vector with each of another."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise explain(ValueError("the arguments must be vectors"), "outer", a, b)
    return multiply(expand_dims(a, axis=1), expand_dims(b, axis=0))


def tensordot(x1: Like, x2: Like, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Tensor:
    """The sum of products over pairs of axes: the last `axes` of x1 with the first of x2, or the axes named."""
    a, b = as_tensor(x1), as_tensor(x2)
    if isinstance(axes, int):
        if not 0 <= axes <= a.ndim or axes > b.ndim:
            raise explain(ValueError(f"there are no {axes} axes to sum over"), "tensordot", a, b)
        axes = (range(a.ndim - axes, a.ndim), range(axes))
    named = [list(given) for given in axes]
    if any(not -x.ndim <= i < x.ndim for x, given in zip((a, b), named, strict=True) for i in given):
        raise explain(ValueError(f"axes {named[0]} and {named[1]} are not all there"), "tensordot", a, b)
    left, right = [i % a.ndim for i in named[0]], [i % b.ndim for i in named[1]]
    if [a.shape[i] for i in left] != [b.shape[i] for i in right]:
        reason = ValueError(f"the axes {left} and {right} have different lengths")
        raise explain(reason, "tensordot", a, b)
    keep_a = [i for i in range(a.ndim) if i not in left]
    keep_b = [i for i in range(b.ndim) if i not in right]
    inner = math.prod(a.shape[i] for i in left)
    rows = reshape(permute_dims(a, keep_a + left), (math.prod(a.shape[i] for i in keep_a), inner))
    columns = reshape(permute_dims(b, right + keep_b), (inner, math.prod(b.shape[i] for i in keep_b)))
    return reshape(matmul(rows, columns), [a.shape[i] for i in keep_a] + [b.shape[i] for i in keep_b])


def einsum(subscripts: str, *operands: Like) -> Tensor:
    """The sum of products in Einstein's notation: a letter per axis, "..." for any others; a length of 1 is broadcast.

    >>> einsum("ij,kj->ik", [[1.0, 2.0]], [[3.0, 4.0]])
    Tensor([[11.]], dtype=float32)
    """
    if not operands:
        raise ValueError(f"einsum({subscripts!r}) needs at least one operand")
    tensors = same_place("einsum", [as_tensor(x) for x in operands])
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    inputs = left.split(",")
    if not arrow:
        output = "..." + "".join(sorted(c for c in {*left} - {*",."} if left.count(c) == 1))
    spare = [c for c in _LETTERS if c not in subscripts]
    others = [x.ndim - len(i) + 3 if "..." in i else 0 for i, x in zip(inputs, tensors, strict=False)]
    spare, dots = spare[max([0, *others]) :], "".join(spare[: max([0, *others])])
    for i, count in enumerate(others):
        inputs[i] = inputs[i].replace("...", dots[len(dots) - count :])
    output = output.replace("...", dots)
    if len(inputs) != len(tensors) or any(len(i) != x.ndim for i, x in zip(inputs, tensors, strict=False)):
        reason = ValueError(f"{subscripts!r} does not name one letter for each axis")
        raise explain(reason, "einsum", *tensors)
    lengths = {c: n for letters, x in zip(inputs, tensors) for c, n in zip(letters, x.shape) if n != 1}
    for i, (letters, x) in enumerate(zip(inputs, tensors)):
        wide = tuple([lengths.get(c, 1) if n == 1 else n for c, n in zip(letters, x.shape)])
        tensors[i] = x if wide == x.shape else broadcast_to(x, wide)  # so that its gradient is summed
    xp = backend.of(tensors[0].data)
    for i, letters in enumerate(list(inputs)):
        for at, c in enumerate(letters):
            if c in letters[:at]:  # a diagonal: the second letter becomes another, tied to the first by an identity
                new = spare.pop()
                inputs[i] = inputs[i][:at] + new + inputs[i][at + 1 :]
                inputs.append(c + new)
                tensors.append(Tensor(xp.eye(tensors[i].shape[at], dtype=tensors[i].dtype)))
    try:
        # optimize=True goes through BLAS where the letters allow it.
        found = xp.einsum(f"{','.join(inputs)}->{output}", *(x.data for x in tensors), optimize=len(tensors) > 1)
    except Exception as error:
        raise explain(error, "einsum", *tensors) from error
    saved = ([x.data for x in tensors], inputs, output)
    return record(TABLE["einsum"], xp.asarray(found), tuple(x.node for x in tensors), saved)
