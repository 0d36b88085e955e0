"""The graph of a traced cell: one `Value` per array that the cell, or its derivative, computes.

A Value stands for an array while a cell is traced: it has a shape and a dtype and takes part in every operation, but
holds no numbers. Axis 0 is opaque to a cell, so a Value lives in one of three *domains*: a row for each vertex of the
level, a row for each edge into it, or none (parameters, constants, and what is computed of these alone).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .tracer import Tracer

VERTEX, EDGE, PARAMETER = "vertex", "edge", "parameter"
ELEMENTWISE = frozenset(
    """positive negative abs sign floor ceil round trunc square reciprocal exp expm1 log log1p log2 log10 sqrt sin cos
    tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid erf add subtract multiply divide floor_divide remainder
    pow maximum minimum atan2 hypot logaddexp equal not_equal less less_equal greater greater_equal logical_and
    logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_invert isfinite isinf isnan where
    clip astype""".split()
)
SUMS = frozenset(["contract", "sum_rows", "einsum_rows"])  # over all rows: parameters' gradients
READS = frozenset(["kid", "each"])  # predecessors' states
LEAVES = frozenset(["input", "kid", "each", "context", "random", "parameter", "segments", "gradient", "full"])


class Untraceable(Exception):
    """Why a cell can't be traced: it then runs eagerly, with the same results."""


class Passing(Untraceable):
    """It can't be traced now, but perhaps when it is tried again."""


class Value:
    """One array of a traced cell: the op that makes it, of which arguments (Values or Python scalars).

    `options` are what else the op takes; `domain` says what a row of it belongs to.
    """

    __slots__ = ("args", "domain", "dtype", "graph", "number", "op", "options", "shape")
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(
        self, graph: Graph, op: str, args: tuple[Any, ...], options: tuple[Any, ...], shape: tuple[int, ...], dtype: Any
    ) -> None:
        self.graph, self.op, self.args, self.options = graph, op, args, options
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.domain = graph.domain_of(op, shape)
        self.number = len(graph.values)
        graph.values.append(self)

    # What code that handles arrays asks of one.
    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """Nothing but whether axis 0 repeats one row (0) or not (1)."""
        return tuple(0 if i == 0 and self.repeats else 1 for i in range(self.ndim))

    @property
    def repeats(self) -> bool:
        """Whether it is one row, repeated: a missing input, or an empty slot."""
        return self.op == "broadcast_to" and self.domain != PARAMETER and self.args[0].domain == PARAMETER

    @property
    def is_view(self) -> bool:
        """Whether it is the elements of its argument, only found by another index: it needs no array of its own."""
        if self.op == "cut":
            return self.ndim == 2 and self.options[0] == 1
        return self.op == "reshape" or (self.op == "broadcast_to" and self.ndim <= 2)

    @property
    def T(self) -> Value:
        """The axes in reverse order."""
        return self.graph.xp.permute_dims(self, tuple(range(self.ndim))[::-1])

    @property
    def width(self) -> int:
        """How many elements a row has; of a parameter, how many there are."""
        return self.size if self.domain == PARAMETER else math.prod(self.shape[1:])

    @property
    def values(self) -> tuple[Value, ...]:
        """The arguments that are Values."""
        return tuple(a for a in self.args if isinstance(a, Value))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Value:
        return self.graph.xp.index(self, key)

    def any(self) -> bool:
        """Whether it may hold anything but 0: of zeros it is known that they don't, and products skip them."""
        return self.op != "full" or bool(self.args[0])

    def astype(self, dtype: Any, copy: bool = False) -> Value:
        """The array in another dtype."""
        return self.graph.xp.astype(self, dtype)

    def __bool__(self) -> bool:
        raise Untraceable("it branches on a value")

    __float__ = __int__ = __index__ = item = tolist = sum = min = max = all = __bool__

    def __repr__(self) -> str:
        shown = [f"%{a.number}" if isinstance(a, Value) else repr(a) for a in (*self.args, *self.options)]
        return f"%{self.number} = {self.op}({', '.join(shown)}) {self.graph.shown(self.shape)}"

    def _apply(self, name: str, *args: Any) -> Value:
        found: Value = getattr(self.graph.xp, name)(*args)
        return found

    # fmt: off
    def __neg__(self) -> Value: return self._apply("negative", self)
    def __add__(self, other: Any) -> Value: return self._apply("add", self, other)
    def __radd__(self, other: Any) -> Value: return self._apply("add", other, self)
    def __sub__(self, other: Any) -> Value: return self._apply("subtract", self, other)
    def __rsub__(self, other: Any) -> Value: return self._apply("subtract", other, self)
    def __mul__(self, other: Any) -> Value: return self._apply("multiply", self, other)
    def __rmul__(self, other: Any) -> Value: return self._apply("multiply", other, self)
    def __truediv__(self, other: Any) -> Value: return self._apply("divide", self, other)
    def __rtruediv__(self, other: Any) -> Value: return self._apply("divide", other, self)
    def __pow__(self, other: Any) -> Value: return self._apply("pow", self, other)
    def __rpow__(self, other: Any) -> Value: return self._apply("pow", other, self)
    def __eq__(self, other: object) -> Value: return self._apply("equal", self, other)  # type: ignore[override]
    def __ne__(self, other: object) -> Value: return self._apply("not_equal", self, other)  # type: ignore[override]
    def __lt__(self, other: Any) -> Value: return self._apply("less", self, other)
    def __le__(self, other: Any) -> Value: return self._apply("less_equal", self, other)
    def __gt__(self, other: Any) -> Value: return self._apply("greater", self, other)
    def __ge__(self, other: Any) -> Value: return self._apply("greater_equal", self, other)
    def __and__(self, other: Any) -> Value: return self._apply("bitwise_and", self, other)
    def __or__(self, other: Any) -> Value: return self._apply("bitwise_or", self, other)
    def __invert__(self) -> Value: return self._apply("bitwise_invert", self)
    # fmt: on


class Graph:
    """All Values of one trace, each distinct computation once.

    Args:
        rows, edges: the numbers that stand for the number of vertices and of edges of a level; primes that no width of
            the cell is a multiple of, so that whatever depends on them is seen.
        xp: what computes with its Values.
    """

    def __init__(self, rows: int, edges: int, xp: Tracer) -> None:
        self.rows, self.edges, self.xp = rows, edges, xp
        self.values: list[Value] = []
        self._known: dict[Any, Value] = {}

    def domain_of(self, op: str, shape: tuple[int, ...]) -> str:
        """The domain of a shape.

        Raises:
            Untraceable: rows stand elsewhere than on axis 0.
        """
        first, rest = shape[:1], shape[1:]
        lost = [n for n in (*rest, *first) if n and (n % self.rows == 0 or n % self.edges == 0)]
        if first == (self.rows,) or first == (self.edges,):
            lost.remove(first[0])
        if lost and op != "transposed":
            raise Untraceable(f"{op} mixes rows: a cell must leave axis 0 as it is")
        return VERTEX if first == (self.rows,) else EDGE if first == (self.edges,) else PARAMETER

    def value(self, op: str, args: tuple[Any, ...], options: tuple[Any, ...], shape: Any, dtype: Any) -> Value:
        """The Value of a computation: the one there is, if it was computed before."""
        key = (op, *(("value", a.number) if isinstance(a, Value) else (type(a), repr(a)) for a in args), options, shape)
        dtype = np.dtype(dtype)
        found = self._known.get((key, dtype))
        if found is None:
            found = self._known[key, dtype] = Value(self, op, args, options, tuple(shape), dtype)
        return found

    def shown(self, shape: Iterable[int]) -> str:
        """A shape with n for the vertices and e for the edges."""
        return "[" + ", ".join({self.rows: "n", self.edges: "e"}.get(n, str(n)) for n in shape) + "]"

    def canonical(self, outputs: Iterable[Value]) -> list[Any]:
        """What the outputs are computed from, without the numbers that stand for rows: equal for equal computations."""
        names = {self.rows: "n", self.edges: "e"}

        def plain(item: Any) -> Any:
            if isinstance(item, tuple | list):
                return tuple(map(plain, item))
            return names.get(item, item) if type(item) is int else item

        order = ancestors(outputs)
        at = {v: i for i, v in enumerate(order)}
        return [
            (v.op, tuple(("value", at[a]) if isinstance(a, Value) else repr(a) for a in v.args), plain(v.options),
             plain(v.shape), v.dtype.str)
            for v in order
        ]  # fmt: skip


def borrowed(v: Value) -> bool:
    """Whether it is a view of predecessors' states: these are looked up wherever they are read, and so is the view."""
    while v.is_view:
        (v,) = v.values
    return v.op in READS


def given(v: Value) -> bool:
    """Whether it is an input or a context, or a view of one, or of a parameter, with a row for each vertex or edge."""
    while v.is_view and v.domain != PARAMETER:
        (v,) = v.values
    return v.op in ("input", "context") or v.domain == PARAMETER


def ancestors(outputs: Iterable[Value]) -> list[Value]:
    """All that the outputs are computed from, themselves included, arguments first."""
    found = set(outputs)
    waiting = [*found]
    while waiting:
        for a in waiting.pop().values:
            if a not in found:
                found.add(a)
                waiting.append(a)
    return sorted(found, key=lambda v: v.number)


def dependents(sources: Iterable[Value], within: Iterable[Value]) -> set[Value]:
    """The Values of `within` (arguments first) that are computed from a source, sources included."""
    found = set(sources)
    for v in within:
        if v not in found and any(a in found for a in v.values):
            found.add(v)
    return found


def users(values: Iterable[Value]) -> dict[Value, list[Value]]:
    """Who uses each Value."""
    found: dict[Value, list[Value]] = {}
    for v in values:
        for a in v.values:
            found.setdefault(a, []).append(v)
    return found
