"""Gradients on their way: dense, or known on some parts, or a product not computed yet, and how they are summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import backend
from .backend import Array

Gradient = Any  # an array, or a Tensor when the backward pass is itself recorded
TALL = 2048  # rows at which a product is tall enough; more would only hold memory


# Parts and products are made by the node, so that no NamedTuples are: these wake the garbage collector.


class Part:
    """A gradient known on a part of its array: values at a key (see `Backend.assemble` for keys)."""

    __slots__ = ("key", "values")

    def __init__(self, key: Any, values: Gradient) -> None:
        self.key, self.values = key, values


class Product:
    """A gradient that is the product left^T right, [K, M]^T [K, N], not computed yet: those of one array are stacked.

    Backpropagation through T levels sends T thin products to each weight matrix; one tall product costs less.
    """

    __slots__ = ("left", "right")

    def __init__(self, left: Array, right: Array) -> None:
        self.left, self.right = left, right

    def dense(self) -> Array:
        """The product."""
        xp = backend.of(self.left)
        return xp.matmul(xp.matrix_transpose(self.left), self.right)


class Rows(NamedTuple):
    """The gradient of a table [N, ...] of which only some rows were read: values [E, ...] at rows index [E]."""

    index: Array
    values: Array
    shape: tuple[int, ...]

    def dense(self) -> Array:
        """The gradient as one array of the table's shape."""
        return backend.of(self.values).scatter_add_rows(self.values, self.index, self.shape[0])

    def coalesced(self) -> Rows:
        """The same gradient with distinct, sorted rows."""
        xp = backend.of(self.values)
        index, inverse = xp.unique(self.index, return_inverse=True)
        return Rows(index, xp.scatter_add_rows(self.values, inverse.reshape(-1), len(index)), self.shape)


class Bag:
    """Contributions to one gradient while they arrive: a dense sum, and parts and products that wait to be summed.

    Collecting them and putting them together once is what makes backpropagation through T levels linear in T.
    """

    __slots__ = ("dense", "parts", "products", "waiting")

    def __init__(self, first: Gradient | None) -> None:
        self.dense: Gradient | None = None
        self.parts: list[Part] = []
        self.products: list[Product] = []
        self.waiting = 0  # rows of the products
        if first is not None:  # as it is where a part comes first
            self.add(first)

    def add(self, c: Gradient) -> None:
        """Take one contribution."""
        if c.__class__ is Part:
            self.parts.append(c)
        elif c.__class__ is Product:
            self.products.append(c)
            self.waiting += len(c.left)
            if self.waiting >= TALL:
                self._multiply()
        else:
            self.dense = c if self.dense is None else self.dense + c

    @property
    def xp(self) -> backend.Backend:
        """The backend of the arrays that came."""
        return backend.of(
            self.parts[0].values if self.parts else self.products[0].left if self.products else self.dense
        )

    def _multiply(self) -> None:
        xp = self.xp
        left, right = _joined(xp, [p.left for p in self.products]), _joined(xp, [p.right for p in self.products])
        self.products, self.waiting = [], 0
        self.add(Product(left, right).dense())

    def total(self, xp: Any, shape: tuple[int, ...] | None) -> Gradient:
        """The sum of all that came; for an operation of several results a dict of theirs."""
        if self.products:
            self._multiply()
        if shape is None:
            return {p.key: p.values for p in self.parts}
        if not self.parts:
            return self.dense
        whole = xp.assemble([p.key for p in self.parts], [p.values for p in self.parts], shape)
        return whole if self.dense is None else whole + self.dense

    def rows(self, shape: tuple[int, ...]) -> Rows | None:
        """The whole bag as rows, if it holds nothing else."""
        if self.dense is not None or self.products or any(type(p.key) is not self.xp.array for p in self.parts):
            return None
        index, values = _joined(self.xp, [p.key for p in self.parts]), _joined(self.xp, [p.values for p in self.parts])
        return Rows(index, values, shape)


def _joined(xp: Any, arrays: Sequence[Array]) -> Array:
    """Arrays one behind the other along their first axis."""
    return arrays[0] if len(arrays) == 1 else xp.concat(arrays, axis=0)


def unbroadcast(xp: Any, g: Gradient, shape: Any) -> Gradient:
    """Sum a gradient over the axes along which its argument was broadcast."""
    extra = len(g.shape) - len(shape)
    ones = [i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1]
    total = xp.sum(g, axis=(*range(extra), *ones))
    return total if total.shape == shape else xp.reshape(total, shape)


def add_gradients(before: Gradient | Rows | None, g: Gradient | Rows) -> Gradient | Rows:
    """The sum of a leaf's gradient and a new one; rows stay rows as long as nothing dense joins them."""
    if before is None:
        return g
    if type(before) is Rows and type(g) is Rows:
        xp = backend.of(g.values)
        return Rows(xp.concat([before.index, g.index]), xp.concat([before.values, g.values], axis=0), g.shape)
    before = before.dense() if type(before) is Rows else before
    return before + (g.dense() if type(g) is Rows else g)
