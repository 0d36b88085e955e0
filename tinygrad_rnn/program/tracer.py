"""The third `xp`: the functions of a backend on the Values of a trace, by the same names.

The ops compute with it while a cell is traced, and the table of derivatives while the trace is differentiated: so the
compiled backward pass is the tape's own.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from ..backend import NUMPY, Index
from .graph import EDGE, ELEMENTWISE, PARAMETER, Graph, Untraceable, Value

FOLDS = frozenset(["sum", "max", "min", "prod"])  # reductions: of axes, among them axis 0 for a sum alone
# Functions of whole rows that no target looks into; all take axes, never axis 0.
ROWWISE = frozenset(["flip", "roll", "tril", "triu", "cumulative_sum", "cumulative_prod", "argmax", "argmin"])


class Tracer(threading.local):
    """What `backend.of` gives for a Value, and `backend.named` while a cell is traced; each thread traces by itself."""

    name = "cpu"
    array = Value
    inf = np.inf
    graph: Graph  # of the trace that runs

    def __getattr__(self, name: str) -> Callable[..., Value]:
        if name in ELEMENTWISE:
            return lambda *args: self._elementwise(name, args)
        if name in FOLDS:
            return lambda x, **options: self._reduce(name, x, **options)
        if name in ROWWISE:
            return lambda x, *args, **options: self._rowwise(name, x, args, options)
        if name.startswith("__") or name == "graph":
            raise AttributeError(name)
        raise Untraceable(f"{name} is not traced")

    # Elementwise.
    def _elementwise(self, op: str, args: tuple[Any, ...], options: tuple[Any, ...] = ()) -> Value:
        arrays = [self.asarray(a) if backend.known(a) else a for a in args]
        shape = np.broadcast_shapes(*(a.shape for a in arrays if isinstance(a, Value)))
        with np.errstate(all="ignore"):
            samples = [np.ones(1, a.dtype) if isinstance(a, Value) else a for a in arrays]
            dtype = getattr(NUMPY, op)(*samples, *map(np.dtype, options)).dtype
        return self.graph.value(op, tuple(arrays), options, shape, dtype)

    def astype(self, x: Value, dtype: Any) -> Value:
        """x in another dtype."""
        return x if x.dtype == dtype else self._elementwise("astype", (x,), (np.dtype(dtype).str,))

    def asarray(self, x: Any) -> Value:
        """x itself.

        Raises:
            Untraceable: an array from outside the cell, such as that of a Tensor found by no name.
        """
        if isinstance(x, Value):
            return x
        raise Untraceable("it reads an array that it can't find again: pass it as context, or make it an attribute")

    def from_numpy(self, x: Any) -> Value:
        """A constant that the cell has made of numbers: one number, repeated.

        Raises:
            Untraceable: there are several.
        """
        if isinstance(x, Value):
            return x
        host = np.asarray(x)
        if host.size and (host == host.flat[0]).all():
            return self.full(host.shape, host.flat[0].item(), dtype=host.dtype)
        return self.asarray(x)

    # Constants.
    def full(self, shape: Any, fill: Any, dtype: Any = None) -> Value:
        """One number throughout; of rows, one row that is repeated."""
        lengths = (shape,) if isinstance(shape, int) else tuple(shape)
        rows = self.graph.domain_of("full", lengths) != PARAMETER
        value = self.graph.value("full", (fill,), (), (1, *lengths[1:]) if rows else lengths, dtype or np.float32)
        return self.broadcast_to(value, lengths) if rows else value

    def zeros(self, shape: Any, dtype: Any = None) -> Value:
        """Zeros."""
        return self.full(shape, 0, dtype)

    empty = zeros

    def ones(self, shape: Any, dtype: Any = None) -> Value:
        """Ones."""
        return self.full(shape, 1, dtype)

    def zeros_like(self, x: Value) -> Value:
        """Zeros of x's shape and dtype."""
        return self.full(x.shape, 0, x.dtype)

    def ones_like(self, x: Value) -> Value:
        """Ones of x's shape and dtype."""
        return self.full(x.shape, 1, x.dtype)

    # Shape.
    def reshape(self, x: Value, shape: Any) -> Value:
        """The same elements of each row in another shape."""
        given = (shape,) if isinstance(shape, int) else tuple(shape)
        known = math.prod(n for n in given if n != -1)
        lengths = tuple((x.size // known if known else 0) if n == -1 else n for n in given)
        if math.prod(lengths) != x.size or (x.domain != PARAMETER and lengths[:1] != x.shape[:1]):
            raise Untraceable(f"reshape of {x.graph.shown(x.shape)} mixes rows: a cell must leave axis 0 as it is")
        if x.op == "reshape":
            return self.reshape(x.args[0], lengths)
        if x.op == "full":
            return self.full(lengths, x.args[0], x.dtype)
        return x if lengths == x.shape else self.graph.value("reshape", (x,), (), lengths, x.dtype)

    def broadcast_to(self, x: Value, shape: Any) -> Value:
        """x repeated along axes of length 1."""
        lengths = np.broadcast_shapes(x.shape, tuple(shape))
        return x if lengths == x.shape else self.graph.value("broadcast_to", (x,), (), lengths, x.dtype)

    def permute_dims(self, x: Value, axes: Sequence[int]) -> Value:
        """The axes in another order."""
        order = tuple(axes)
        if order == tuple(range(x.ndim)):
            return x
        if x.op == "permute_dims" and order == tuple(np.argsort(x.options[0]).tolist()):
            return x.args[0]  # type: ignore[no-any-return]
        shape = tuple(x.shape[a] for a in order)
        if x.op == "transposed":
            return x.args[0]  # type: ignore[no-any-return]
        if x.domain != PARAMETER and order == (1, 0):
            return self.graph.value("transposed", (x,), (), shape, x.dtype)
        return self.graph.value("permute_dims", (x,), (order,), shape, x.dtype)

    def matrix_transpose(self, x: Value) -> Value:
        """The last two axes exchanged."""
        return self.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

    def concat(self, arrays: Sequence[Any], axis: int = 0) -> Value:
        """Values one behind the other along an axis."""
        values = [self.asarray(a) for a in arrays]
        if len(values) == 1:
            return values[0]
        at = axis % values[0].ndim
        shape = list(values[0].shape)
        shape[at] = sum(v.shape[at] for v in values)
        if all(v.op == "full" and v.args == values[0].args for v in values):
            return self.full(shape, values[0].args[0], values[0].dtype)
        return self.graph.value("concat", tuple(values), (at,), tuple(shape), values[0].dtype)

    def index(self, x: Value, key: Any) -> Value:
        """x[key] for ints, slices, None and Ellipsis, which must leave axis 0 of rows whole."""
        items = key if isinstance(key, tuple) else (key,)
        if not all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in items):
            raise Untraceable("an index of arrays is not traced")
        if x.repeats and key == slice(None, 1):
            return self.reshape(x.args[0], (1, *x.shape[1:]))
        shape = np.broadcast_to(np.zeros(()), x.shape)[key].shape
        spans = _spans(items, x.shape)
        if x.domain != PARAMETER and (shape[:1] != x.shape[:1] or (spans is not None and 0 in [s[0] for s in spans])):
            raise Untraceable(f"the index {key} mixes rows: a cell must leave axis 0 as it is")
        if spans is None:
            return self.graph.value("index", (x,), (_hashable(items),), shape, x.dtype)
        for axis, start, stop in spans:
            x = self._cut(x, axis, start, stop)
        return self.reshape(x, shape)

    def _cut(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """Elements start to stop along an axis: of a concat, the piece itself."""
        if (start, stop) == (0, x.shape[axis]):
            return x
        if x.op == "cut" and x.options[0] == axis:
            return self._cut(x.args[0], axis, x.options[1] + start, x.options[1] + stop)
        if x.op == "concat" and x.options[0] == axis:
            at = 0
            for piece in x.values:
                if at <= start and stop <= at + piece.shape[axis]:
                    return self._cut(piece, axis, start - at, stop - at)
                at += piece.shape[axis]
        shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
        return self.graph.value("cut", (x,), (axis, start, stop), shape, x.dtype)

    def part(self, x: Value, key: Any) -> Value:
        """The part of x at a key of `assemble`."""
        if isinstance(key, Value):
            return self.gather_rows(x, key)
        return x[key.index if isinstance(key, Index) else _slices(key)]

    def assemble(self, keys: Sequence[Any], values: Sequence[Value], shape: tuple[int, ...]) -> Value:
        """The sum of parts, each added to zeros of `shape` at its key."""
        if all(type(key) is tuple for key in keys):
            axis, at, pieces = keys[0][0], 0, []
            for i in sorted(range(len(keys)), key=lambda i: keys[i]):
                a, start, stop = keys[i]
                if a != axis or start < at:
                    break
                pieces += [*self._gap(values[i], axis, start - at), values[i]]
                at = stop
            else:
                return self.concat([*pieces, *self._gap(values[0], axis, shape[axis] - at)], axis=axis)
        first, *others = map(self._placed, keys, values, [shape] * len(keys))
        return sum(others, first)

    def _gap(self, like: Value, axis: int, length: int) -> list[Value]:
        shape = (*like.shape[:axis], length, *like.shape[axis + 1 :])
        return [self.zeros(shape, like.dtype)] if length else []

    def _placed(self, key: Any, value: Value, shape: tuple[int, ...]) -> Value:
        if isinstance(key, Value):
            return self.scatter_add_rows(value, key, shape[0])
        items = key.index if isinstance(key, Index) else _slices(key)
        items = items if isinstance(items, tuple) else (items,)
        spans = _spans(items, shape)
        if spans is None:
            return self.graph.value("place", (value,), (_hashable(items),), shape, value.dtype)
        lengths = list(shape)
        for axis, start, stop in spans:
            lengths[axis] = stop - start
        value = self.reshape(value, lengths)
        for axis, start, stop in spans:
            after = self._gap(value, axis, shape[axis] - stop)
            value = self.concat([*self._gap(value, axis, start), value, *after], axis=axis)
        return value

    # Reductions.
    def _reduce(self, op: str, x: Value, axis: Any = None, keepdims: bool = False) -> Value:
        axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        axes = tuple(sorted(a % x.ndim for a in axes))
        if not axes:
            return x
        if x.domain != PARAMETER and axes[0] == 0:
            if op != "sum":
                raise Untraceable(f"{op} over axis 0 mixes rows: a cell must leave axis 0 as it is")
            inner = self._reduce(op, x, axes[1:], True)
            out = self.graph.value("sum_rows", (inner,), (), (1, *inner.shape[1:]), x.dtype)
            return out if keepdims else self.reshape(out, [n for i, n in enumerate(x.shape) if i not in axes])
        kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        out = self.graph.value(op, (x,), (axes,), kept, x.dtype if op != "sum" or x.dtype.kind == "f" else np.int64)
        return out if keepdims else self.reshape(out, [n for i, n in enumerate(x.shape) if i not in axes])

    def _rowwise(self, op: str, x: Value, args: tuple[Any, ...], options: dict[str, Any]) -> Value:
        axis = options.get("axis", -1)
        if x.domain != PARAMETER and (axis is None or 0 in [a % x.ndim for a in np.atleast_1d(axis)]):
            raise Untraceable(f"{op} along axis 0 mixes rows: a cell must leave axis 0 as it is")
        sample = getattr(NUMPY, op)(np.zeros(x.shape, x.dtype), *args, **options)
        return self.graph.value(op, (x, *args), tuple(sorted(options.items())), sample.shape, sample.dtype)

    # Products.
    def matmul(self, a: Any, b: Any) -> Value:
        """The matrix product: of rows and a parameter, row by row; of transposed rows and rows, a sum over rows."""
        a, b = self.asarray(a), self.asarray(b)
        if a.op == "transposed":
            if b.domain != a.args[0].domain or b.ndim != 2:
                raise Untraceable("matmul mixes rows: a cell must leave axis 0 as it is")
            return self.graph.value("contract", (a.args[0], b), (), (a.shape[0], b.shape[1]), b.dtype)
        if b.op == "transposed" or (b.domain != PARAMETER and (a.domain != b.domain or b.ndim < 3)):
            raise Untraceable("matmul mixes rows: a cell must leave axis 0 as it is")
        if a.repeats and a.ndim == b.ndim == 2:
            product = self.matmul(self.reshape(a.args[0], (1, a.shape[1])), b)
            return self.broadcast_to(product, (a.shape[0], b.shape[1]))
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        return self.graph.value("matmul", (a, b), (), shape, a.dtype)

    def einsum(self, subscripts: str, *operands: Any, optimize: bool = False) -> Value:
        """The sum of products, whose letter of axis 0 leads all operands of rows and the result."""
        values = [self.asarray(v) for v in operands]
        inputs, output = subscripts.split("->")
        letters = {i[0] for i, v in zip(inputs.split(","), values, strict=True) if v.domain != PARAMETER}
        others = "".join(i for i, v in zip(inputs.split(","), values, strict=True) if v.domain == PARAMETER)
        if len(letters) > 1 or any(c in others or c in output[1:] for c in letters):
            raise Untraceable(f"einsum {subscripts!r} mixes rows: a cell must leave axis 0 as it is")
        sizes = {c: n for i, v in zip(inputs.split(","), values, strict=True) for c, n in zip(i, v.shape, strict=True)}
        over_rows = bool(letters) and not letters & set(output[:1])
        shape = tuple(sizes[c] for c in output)
        return self.graph.value("einsum_rows" if over_rows else "einsum", tuple(values), (subscripts,), shape,
                                values[0].dtype)  # fmt: skip

    # Vertices and edges.
    def gather_rows(self, x: Value, index: Any) -> Value:
        """Vertices to edges."""
        if not isinstance(index, Value) or index.op != "segments":
            raise Untraceable("it picks rows: a cell must leave axis 0 as it is")
        if not len(index):  # no vertex has an edge
            return self.zeros((0, *x.shape[1:]), x.dtype)
        return self.graph.value("spread", (x, index), (), (*index.shape, *x.shape[1:]), x.dtype)

    def scatter_add_rows(self, rows: Value, index: Any, count: int) -> Value:
        """Edges to vertices."""
        return self._segments("segment_sum", rows, index, count)

    def segment_max(self, rows: Value, index: Any, count: int, initial: float) -> Value:
        """The maximum of each vertex's edges."""
        return self._segments("segment_max", rows, index, count, initial)

    def _segments(self, op: str, rows: Value, index: Any, count: int, *options: Any) -> Value:
        if isinstance(index, Value) and index.op == "segments" and not len(index) and not len(rows):
            return self.full(
                (count, *rows.shape[1:]), options[0] if options else 0, rows.dtype
            )  # no vertex has an edge
        if not isinstance(index, Value) or index.op != "segments" or count != self.graph.rows or rows.domain != EDGE:
            raise Untraceable("it adds up rows: a cell must leave axis 0 as it is")
        return self.graph.value(op, (rows, index), options, (count, *rows.shape[1:]), rows.dtype)

    def bincount(self, index: Value, minlength: int) -> Value:
        """How many edges each vertex has."""
        if not len(index):
            return self.zeros((minlength,), np.int64)
        return self.graph.value("edge_counts", (index,), (), (minlength,), np.int64)


def _slices(span: tuple[int, int, int]) -> tuple[slice, ...]:
    return (*[slice(None)] * span[0], slice(span[1], span[2]))


def _spans(items: tuple[Any, ...], shape: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    """The (axis, start, stop) that an index cuts out before axes come and go; None if it takes steps."""
    given = [item for item in items if item is not None]
    missing = len(shape) - sum(item is not Ellipsis for item in given)
    if Ellipsis in given:
        at = given.index(Ellipsis)
        given[at : at + 1] = [slice(None)] * missing
    spans = []
    for axis, item in enumerate(given):
        start, stop, step = (item, item + 1, 1) if isinstance(item, int) else item.indices(shape[axis])
        if start < 0:
            start, stop = start + shape[axis], stop + shape[axis]
        if step != 1:
            return None
        if (start, stop) != (0, shape[axis]) or isinstance(item, int):
            spans.append((axis, start, max(start, stop)))
    return spans


def _hashable(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """An index as a part of a key: slices can't be hashed before Python 3.12."""
    return tuple(("slice", i.start, i.stop, i.step) if isinstance(i, slice) else i for i in items)


def index_of(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index of which `_hashable` made a key."""
    return tuple(slice(*i[1:]) if isinstance(i, tuple) else i for i in items)
