"""Every differentiable op once: how to call it, which shapes and options it takes, from which interval its values come.

`test_derivatives.py` draws from each row and checks derivatives to order 2, dtypes, and PyTorch's values beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_rnn as tg
from tinygrad_rnn import ops
from tinygrad_rnn.backend import Index

Shapes = tuple[int, ...]
Draw = tuple[list[Shapes], dict[str, Any]]  # the shapes of the arguments, the op's options


@dataclass(frozen=True)
class Case:
    """One row. `torch(torch, *tensors, **options)` computes the same with PyTorch; None: PyTorch has no such op."""

    name: str
    fn: Callable[..., Any]
    draws: st.SearchStrategy[Draw]
    domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-2.0, 2.0)
    torch: Callable[..., Any] | None = None
    eps: float = 1e-6
    atol: float = 1e-6

    def arrays(self, shapes: list[Shapes], seed: int) -> list[np.ndarray]:
        """Values of the domain no two of which are equal, near an integer or near a half: no kink is hit.

        Their memory is laid out in one of several ways: contiguous, transposed, backwards, every second element.
        """
        rng = np.random.default_rng(seed)
        count = sum(int(np.prod(s)) for s in shapes)
        places = (rng.permutation(count) + 0.5 + rng.uniform(-0.2, 0.2, count)) / max(count, 1)
        arrays, at = [], 0
        for i, shape in enumerate(shapes):
            low, high = self.domain[i] if isinstance(self.domain[0], tuple) else self.domain  # type: ignore[misc]
            size = int(np.prod(shape))
            values = low + (high - low) * places[at : at + size].reshape(shape)
            halves = values * 2
            values += np.where(np.abs(halves - np.round(halves)) < 0.02, 0.01 * (high - low), 0.0)
            arrays.append(laid_out(values, rng.integers(4)))
            at += size
        return arrays


def laid_out(values: np.ndarray, layout: int) -> np.ndarray:
    """The same values in memory that is contiguous (0), transposed (1), backwards (2) or every second element (3)."""
    if not values.ndim:
        return values
    if layout == 1:
        return np.asfortranarray(values)
    if layout == 2:
        return np.ascontiguousarray(values[::-1])[::-1]
    if layout == 3:
        wide = np.full((*values.shape[:-1], 2 * values.shape[-1]), np.nan)
        wide[..., ::2] = values
        return wide[..., ::2]
    return values


def classes(x: Any) -> np.ndarray:
    """A class for each row of scores."""
    return np.arange(x.shape[0]) * 2 % x.shape[1]


# Shapes and options.
def shape(min_dims: int = 0, min_side: int = 0, max_dims: int = 3, max_side: int = 3) -> st.SearchStrategy[Shapes]:
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def options(**given: Any) -> Callable[[Shapes], st.SearchStrategy[dict[str, Any]]]:
    """Options as strategies, or as functions of the shape to strategies."""
    return lambda s: st.fixed_dictionaries({k: v(s) if callable(v) else v for k, v in given.items()})


def one(shapes: st.SearchStrategy[Shapes] | None = None, **given: Any) -> st.SearchStrategy[Draw]:
    return (shape() if shapes is None else shapes).flatmap(lambda s: options(**given)(s).map(lambda o: ([s], o)))


def broadcast(count: int = 2, max_dims: int = 3) -> st.SearchStrategy[list[Shapes]]:
    return hnp.mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=3, max_dims=max_dims).map(
        lambda b: list(b.input_shapes)
    )


two = broadcast().map(lambda shapes: (shapes, {}))


def axis(s: Shapes) -> st.SearchStrategy[int]:
    return st.integers(-len(s), len(s) - 1)


def axes(s: Shapes) -> st.SearchStrategy[Any]:
    some = st.lists(st.integers(0, len(s) - 1), unique=True).map(tuple) if s else st.just(())
    return st.one_of(st.none(), axis(s), some) if s else st.one_of(st.none(), some)


def reduction(min_side: int = 0) -> st.SearchStrategy[Draw]:
    return one(shape(min_side=min_side), axis=axes, keepdims=st.booleans())


def reshaped(s: Shapes) -> st.SearchStrategy[Any]:
    size = int(np.prod(s))
    wholes = [(size,), -1 if size else (0,), (1, size), s[::-1], (*s, 1)]
    return st.sampled_from(wholes)


def axes_for(s: Shapes) -> st.SearchStrategy[Any]:
    return st.permutations(range(len(s))).map(tuple)


def dims(x: Any, axis: Any) -> Any:
    """An axis as PyTorch wants it: None is all axes."""
    return tuple(range(x.ndim)) if axis is None else axis


def torch_shape(shape: Any) -> Any:
    return (shape,) if isinstance(shape, int) else shape


def mask(of: Shapes, seed: int) -> tg.Tensor:
    return tg.tensor(np.random.default_rng(seed).random(of) < 0.5)


def index_of(count: int, length: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, length)


def on_device(key: Any) -> Any:
    """An index whose NumPy arrays are Tensors of the run's device."""
    if isinstance(key, tuple):
        return tuple(on_device(k) for k in key)
    return tg.tensor(key) if isinstance(key, np.ndarray) else key


def as_torch(torch: Any, key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(as_torch(torch, k) for k in key)
    return torch.tensor(key) if isinstance(key, np.ndarray) else key


seeds = st.integers(0, 99)
rows = shape(min_dims=1, max_dims=3)
some_rows = shape(min_dims=1, min_side=1, max_dims=3)


@st.composite
def _matmul(draw: st.DrawFn) -> Draw:
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    left, right = draw(broadcast(max_dims=1))
    left, right = (*left, n, k), (*right, k, m)
    if draw(st.integers(0, 3)) == 0:
        left = (k,)
    if draw(st.integers(0, 3)) == 0:
        right = (k,)
    return [left, right], {}


@st.composite
def _linear(draw: st.DrawFn) -> Draw:
    width, hidden = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    shapes = [(*draw(shape(max_dims=2)), width), (hidden, width), (hidden,)]
    return shapes[: draw(st.integers(2, 3))], {}


@st.composite
def _einsum(draw: st.DrawFn) -> Draw:
    spec = draw(
        st.sampled_from(
            ["ij,jk->ik", "ij->ji", "ij->", "ii->i", "ii", "ij,ij->i", "i,j->ij", "bij,bjk->bik", "ij,jk,kl->il",
             "ijk->k", "ij,kj", "i,i->", ",i->i", "iij,j->i", "bi,bj,ijk->bk"]
        )
    )  # fmt: skip
    lengths = {c: draw(st.integers(0, 3)) for c in "bijkl"}
    one = st.sampled_from([False, False, False, True])  # a length of 1 is broadcast, but on a diagonal
    terms = spec.partition("->")[0].split(",")
    return [tuple(1 if t.count(c) == 1 and draw(one) else lengths[c] for c in t) for t in terms], {"spec": spec}


@st.composite
def _tensordot(draw: st.DrawFn) -> Draw:
    joint, left, right = (draw(shape(max_dims=2)) for _ in range(3))
    if draw(st.booleans()):
        return [left + joint, joint + right], {"axes": len(joint)}
    n = len(joint)
    first = tuple(range(len(left), len(left) + n))
    return [left + joint, joint[::-1] + right], {"axes": (first, tuple(range(n))[::-1])}


@st.composite
def _concat(draw: st.DrawFn) -> Draw:
    s = draw(rows)
    at = draw(axis(s))
    parts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    return [tuple(n if i == at % len(s) else k for i, k in enumerate(s)) for n in parts], {"axis": at}


@st.composite
def _split(draw: st.DrawFn) -> Draw:
    s = draw(rows)
    at = draw(axis(s))
    first = draw(st.integers(0, s[at]))
    return [s], {"parts": draw(st.sampled_from([1, (first, s[at] - first)])), "axis": at}


@st.composite
def _take(draw: st.DrawFn) -> Draw:
    s = draw(some_rows)
    at = draw(axis(s))
    index = draw(st.lists(st.integers(-s[at], s[at] - 1), max_size=4))
    return [s], {"index": np.asarray(index, np.int64), "axis": at}


@st.composite
def _gather(draw: st.DrawFn) -> Draw:
    s = draw(some_rows)
    at = draw(axis(s)) % len(s)
    wanted = tuple(draw(st.integers(0, 4)) if i == at else n for i, n in enumerate(s))
    return [s], {"index": index_of(s[at], wanted, draw(seeds)), "axis": at}  # type: ignore[arg-type]


@st.composite
def _where(draw: st.DrawFn) -> Draw:
    x1, x2, condition = draw(broadcast(3))
    return [x1, x2], {"condition": condition, "seed": draw(seeds)}


@st.composite
def _segments(draw: st.DrawFn) -> Draw:
    s = draw(rows)
    count = draw(st.integers(1, 4))
    return [s], {"index": index_of(count, s[0], draw(seeds)), "count": count}


@st.composite
def _key(draw: st.DrawFn) -> Draw:
    s = draw(some_rows)
    kind = draw(st.sampled_from(["basic", "integers", "boolean", "mixed"]))
    if kind == "basic":
        key: Any = draw(hnp.basic_indices(s, allow_newaxis=True))
    elif kind == "integers":
        key = draw(hnp.integer_array_indices(s, result_shape=shape(max_dims=2)))
    elif kind == "boolean":
        key = np.random.default_rng(draw(seeds)).random(s[: draw(st.integers(1, len(s)))]) < 0.5
    else:
        key = (np.asarray([0, s[0] - 1, 0]), *(slice(None, None, -1) for _ in s[1:]))
    return [s], {"key": key}


def _blocks(a: Any, b: Any) -> Any:
    """Rows of two blocks in another order, one block read by a slice and one by indices, some rows twice."""
    t = tg.tensor
    places = [(slice(0, 2), slice(1, 3)), (t([4, 2, 3]).data, t([0, 0, 2]).data)]
    return ops.gather_blocks([a, b], places, 5)


def _assembled(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Parts that overlap: a span, rows (one twice), a general index."""
    at = tg.tensor([3, 0]).data
    keys = [(0, 1, 3), (1, 0, 1), tg.tensor([2, 0, 2]).data, Index((at, at), True)]
    return ops.assemble(keys, [a, b, c, d], (4, 4))


def _there_and_back(x: Any) -> Any:
    return tg.to(tg.to(x, "strict" if x.device == "cpu" else "cpu") * 3.0, x.device)


def _elementwise(name: str, domain: tuple[float, float], torch_name: str | None = "") -> Case:
    torch = None if torch_name is None else lambda torch, x: getattr(torch, torch_name or name)(x)
    return Case(name, getattr(tg, name), one(), domain, torch)


def _pair(name: str, *domains: tuple[float, float], torch_name: str = "") -> Case:
    domain: Any = domains if len(domains) > 1 else domains[0]
    return Case(name, getattr(tg, name), two, domain, lambda torch, a, b: getattr(torch, torch_name or name)(a, b))


def _with_scalar(name: str, fn: Callable[[Any], Any], domain: tuple[float, float] = (0.4, 1.9)) -> Case:
    return Case(name, fn, one(), domain, lambda torch, x: fn(x))


ANY, POSITIVE, UNIT = (-2.0, 2.0), (0.3, 3.0), (-0.9, 0.9)

CASES = [
    *(_elementwise(name, ANY) for name in "positive negative abs exp expm1 square sin cos atan sinh cosh tanh".split()),
    *(_elementwise(name, ANY) for name in "asinh sigmoid relu erf sign floor ceil round trunc".split()),
    *(_elementwise(name, POSITIVE) for name in "log log1p log2 log10 sqrt reciprocal".split()),
    *(_elementwise(name, UNIT) for name in "asin acos atanh".split()),
    _elementwise("tan", (-1.1, 1.1)),
    _elementwise("acosh", (1.2, 3.0)),
    Case("softplus", tg.softplus, one(), (-3.0, 3.0), lambda torch, x: torch.nn.functional.softplus(x)),
    Case("clip", tg.clip, one(min=st.sampled_from([None, -0.7]), max=st.sampled_from([0.6, 1.1])), ANY,
         lambda torch, x, min, max: torch.clip(x, min, max)),
    Case("astype", lambda x: tg.astype(tg.astype(x, "float32") * 2.0, x.dtype) * x, one(), ANY, None, 1e-2, 1e-3),
    Case("to", _there_and_back, one(), ANY, lambda torch, x: x * 3.0),
    *(_pair(name, ANY) for name in "add subtract multiply maximum minimum logaddexp".split()),
    _pair("divide", ANY, (0.5, 2.0)),
    _pair("atan2", ANY, (0.5, 2.0)),
    _pair("hypot", ANY, (0.5, 2.0)),
    _pair("remainder", (7.1, 7.4), (2.1, 2.3)),
    Case("floor_divide", tg.floor_divide, two, ((7.1, 7.4), (2.1, 2.3))),
    _pair("pow", (0.4, 2.0), ANY),
    *(_with_scalar(f"x ** {p}", lambda x, p=p: x**p) for p in (0, 1, 2, 3, -1, 0.5, 2.0, -1.5)),
    _with_scalar("2 ** x", lambda x: 2.0**x),
    _with_scalar("3 - x", lambda x: 3 - x),
    _with_scalar("3 / x", lambda x: 3 / x),
    _with_scalar("x / 3", lambda x: x / 3),
    _with_scalar("x % 0.3", lambda x: x % 0.3, (0.65, 0.85)),
    Case("5 % x", lambda x: 5 % x, one(), (2.1, 2.4)),
    Case("maximum with a scalar", lambda x: tg.maximum(x, 0.3) + tg.minimum(0.7, x), one()),
    Case("where", lambda a, b, condition, seed: tg.where(mask(condition, seed), a, b), _where(), ANY,
         lambda torch, a, b, condition, seed: torch.where(torch.tensor(mask(condition, seed).numpy()), a, b)),
    Case("where with a scalar", lambda x: tg.where(x > 0, x * x, 1.0) + tg.where(x > 1, 0.0, x), one()),
    Case("sum", tg.sum, reduction(), ANY,
         lambda torch, x, axis, keepdims: torch.sum(x, dims(x, axis), keepdims) if axis != () else x),
    Case("mean", tg.mean, reduction(1), ANY,
         lambda torch, x, axis, keepdims: torch.mean(x, dims(x, axis), keepdims) if axis != () else x),
    Case("max", tg.max, reduction(1), ANY,
         lambda torch, x, axis, keepdims: torch.amax(x, dims(x, axis), keepdims) if axis != () else x),
    Case("min", tg.min, reduction(1), ANY,
         lambda torch, x, axis, keepdims: torch.amin(x, dims(x, axis), keepdims) if axis != () else x),
    Case("prod", tg.prod, reduction(), ANY),
    Case("var", tg.var, one(shape(1, 2), axis=axis, keepdims=st.booleans(), correction=st.sampled_from([0, 1, 0.5])),
         ANY, lambda torch, x, axis, keepdims, correction:
         torch.var(x, axis, keepdim=keepdims, correction=correction)),
    Case("std", tg.std, one(shape(1, 2), axis=axis, keepdims=st.booleans()), ANY,
         lambda torch, x, axis, keepdims: torch.std(x, axis, keepdim=keepdims, correction=0)),
    Case("cumulative_sum", tg.cumulative_sum, one(rows, axis=axis, include_initial=st.booleans()), ANY),
    Case("cumulative_sum of one axis", tg.cumulative_sum, one(shape(1, max_dims=1)), ANY,
         lambda torch, x: torch.cumsum(x, 0)),
    Case("cumulative_prod", tg.cumulative_prod, one(rows, axis=axis, include_initial=st.booleans()), ANY),
    Case("cumulative_prod along an axis", tg.cumulative_prod, one(rows, axis=axis), ANY,
         lambda torch, x, axis: torch.cumprod(x, axis)),
    Case("sort", tg.sort, one(rows, axis=axis, descending=st.booleans()), ANY,
         lambda torch, x, axis, descending: torch.sort(x, dim=axis, descending=descending).values),
    Case("softmax", tg.softmax, one(rows, axis=axis), ANY, lambda torch, x, axis: torch.softmax(x, axis)),
    Case("log_softmax", tg.log_softmax, one(rows, axis=axis), ANY, lambda torch, x, axis: torch.log_softmax(x, axis)),
    Case("cross_entropy", lambda x: ops.cross_entropy(x, tg.asarray(classes(x), device=x.device)),
         one(shape(2, 1, max_dims=2)), ANY,
         lambda torch, x: torch.nn.functional.cross_entropy(x, torch.tensor(classes(x)), reduction="none")),
    Case("logsumexp", tg.logsumexp, reduction(1), ANY,
         lambda torch, x, axis, keepdims: torch.logsumexp(x, dims(x, axis), keepdims) if axis != () else x),
    Case("reshape", tg.reshape, one(shape=reshaped), ANY, lambda torch, x, shape: torch.reshape(x, torch_shape(shape))),
    Case("expand_dims", tg.expand_dims, one(axis=lambda s: st.integers(-len(s) - 1, len(s))), ANY,
         lambda torch, x, axis: torch.unsqueeze(x, axis)),
    Case("squeeze", lambda x: tg.squeeze(tg.expand_dims(x, axis=(0, -1)), axis=(0, -1)), one(), ANY,
         lambda torch, x: x * 1.0),
    Case("permute_dims", tg.permute_dims, one(axes=axes_for), ANY, lambda torch, x, axes: torch.permute(x, axes)),
    Case("matrix_transpose", tg.matrix_transpose, one(shape(2)), ANY, lambda torch, x: x.mT),
    Case("moveaxis", lambda x, source, destination: tg.moveaxis(x, source, destination),
         one(rows, source=axis, destination=axis), ANY,
         lambda torch, x, source, destination: torch.moveaxis(x, source, destination)),
    Case("broadcast_to", lambda x: tg.broadcast_to(x, (2, *x.shape)), one(), ANY,
         lambda torch, x: torch.broadcast_to(x, (2, *x.shape))),
    Case("flip", tg.flip, one(axis=axes), ANY,
         lambda torch, x, axis: torch.flip(x, (axis,) if isinstance(axis, int) else dims(x, axis))),
    Case("roll", tg.roll, one(rows, shift=st.integers(-4, 4), axis=lambda s: st.none() | axis(s)), ANY,
         lambda torch, x, shift, axis: torch.roll(x, shift, axis)),
    Case("tril", tg.tril, one(shape(2), k=st.integers(-2, 2)), ANY, lambda torch, x, k: torch.tril(x, k)),
    Case("triu", tg.triu, one(shape(2), k=st.integers(-2, 2)), ANY, lambda torch, x, k: torch.triu(x, k)),
    Case("concat", lambda *xs, axis: tg.concat(xs, axis=axis), _concat(), ANY,
         lambda torch, *xs, axis: torch.cat(xs, axis)),
    Case("concat of everything", lambda *xs: tg.concat(xs, axis=None), two, ANY,
         lambda torch, *xs: torch.cat([x.reshape(-1) for x in xs])),
    Case("stack", lambda x, axis: tg.stack([x, x * 2.0], axis=axis),
         one(axis=lambda s: st.integers(-len(s) - 1, len(s))), ANY,
         lambda torch, x, axis: torch.stack([x, x * 2.0], axis)),
    Case("split", lambda x, parts, axis: tg.split(x, parts, axis=axis), _split(), ANY),
    Case("unstack", lambda x, axis: tg.unstack(x, axis=axis), one(some_rows, axis=axis), ANY,
         lambda torch, x, axis: torch.unbind(x, axis)),
    Case("repeat", lambda x, n, axis: tg.repeat(x, n, axis=axis), one(rows, n=st.integers(0, 2), axis=axis), ANY,
         lambda torch, x, n, axis: torch.repeat_interleave(x, n, axis)),
    Case("tile", lambda x, repetitions: tg.tile(x, repetitions),
         one(repetitions=st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple)), ANY,
         lambda torch, x, repetitions: torch.tile(x, repetitions)),
    Case("take", lambda x, index, axis: tg.take(x, tg.tensor(index), axis=axis), _take(), ANY,
         lambda torch, x, index, axis: torch.index_select(x, axis, torch.tensor(index % x.shape[axis]))),
    Case("x[i, j] with a pair twice", lambda x: x[tg.tensor([2, 0, 2]), tg.tensor([1, 1, 1])], st.just(([(3, 2)], {})),
         ANY, lambda torch, x: x[[2, 0, 2], [1, 1, 1]]),
    Case("x[key]", lambda x, key: x[on_device(key)], _key(), ANY),
    Case("gather", lambda x, index, axis: tg.gather(x, tg.tensor(index), axis=axis), _gather(), ANY,
         lambda torch, x, index, axis: torch.take_along_dim(x, torch.tensor(index), axis)),
    Case("gather_rows", lambda x: tg.gather_rows(x, tg.tensor([0, -1, 0])), one(some_rows), ANY,
         lambda torch, x: x[torch.tensor([0, -1, 0])]),
    Case("scatter_add_rows", lambda x, index, count: tg.scatter_add_rows(x, tg.tensor(index), count), _segments(), ANY,
         lambda torch, x, index, count:
         torch.zeros((count, *x.shape[1:]), dtype=x.dtype).index_add(0, torch.tensor(index), x)),
    Case("segment_max", lambda x, index, count: tg.segment_max(x, tg.tensor(index), count), _segments()),
    Case("gather_blocks", _blocks, st.just(([(3, 2), (4, 2)], {})), ANY,
         lambda torch, a, b: torch.stack([a[1], a[2], b[0], b[2], b[0]])),
    Case("assemble", _assembled, st.just(([(2, 4), (4, 1), (3, 4), (2,)], {}))),
    Case("matmul", tg.matmul, _matmul(), ANY, lambda torch, a, b: torch.matmul(a, b)),
    Case("matmul of a repeated row", lambda a, b: tg.broadcast_to(a, (3, 2)) @ b, st.just(([(1, 2), (2, 4)], {})), ANY,
         lambda torch, a, b: a.expand(3, 2) @ b),
    Case("matmul of a repeated column", lambda a, b: tg.broadcast_to(a, (3, 2)) @ b, st.just(([(3, 1), (2, 4)], {})),
         ANY, lambda torch, a, b: a.expand(3, 2) @ b),
    Case("matmul by a repeated row", lambda a, b: a @ tg.broadcast_to(b, (2, 4)), st.just(([(3, 2), (1, 4)], {})), ANY,
         lambda torch, a, b: a @ b.expand(2, 4)),
    Case("linear", tg.linear, _linear(), ANY, lambda torch, *args: torch.nn.functional.linear(*args)),
    Case("linear, twice by one weight", lambda x, w: tg.linear(tg.linear(x, w).tanh(), w),
         st.just(([(3, 2), (2, 2)], {})), ANY, lambda torch, x, w: torch.tanh(x @ w.mT) @ w.mT),
    Case("linear of a repeated row", lambda x, w, b: tg.linear(tg.broadcast_to(x, (3, 2)), w, b),
         st.just(([(1, 2), (4, 2), (4,)], {})), ANY,
         lambda torch, x, w, b: torch.nn.functional.linear(x.expand(3, 2), w, b)),
    Case("vecdot", tg.vecdot, one(rows, axis=axis).map(lambda d: (d[0] * 2, d[1])), ANY,
         lambda torch, a, b, axis: torch.linalg.vecdot(a, b, dim=axis)),
    Case("outer", tg.outer, st.tuples(shape(1, 0, 1), shape(1, 0, 1)).map(lambda s: (list(s), {})), ANY,
         lambda torch, a, b: torch.outer(a, b)),
    Case("tensordot", tg.tensordot, _tensordot(), ANY, lambda torch, a, b, axes: torch.tensordot(a, b, axes)),
    Case("einsum", lambda *xs, spec: tg.einsum(spec, *xs), _einsum(), ANY,
         lambda torch, *xs, spec: torch.einsum(spec, *xs)),
    Case("checkpoint", lambda x: tg.checkpoint(lambda v: (v.tanh(), v * v), x), one(), ANY,
         lambda torch, x: (torch.tanh(x), x * x)),
]  # fmt: skip
