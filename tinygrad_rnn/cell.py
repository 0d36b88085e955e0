"""Cells: how one vertex is computed from its input and its predecessors' states, and what a cell sees of them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from . import backend, ops
from .structure import Structure, StructureError
from .tensor import Tensor

State = Any  # a NamedTuple of Tensors, one row per vertex


@runtime_checkable
class Cell(Protocol):
    """How one vertex is computed from its input and its predecessors' states, for all vertices of a level at once."""

    @property
    def arity(self) -> int | None:
        """How many slots it reads; None: any number of predecessors, as a multiset."""

    def initial(self) -> State:
        """What an empty slot reads: a State of one-row Tensors."""

    def __call__(self, x: Tensor, kids: Kids, context: Any = None) -> State:
        """The states of the level: x [n, I] -> a State of Tensors [n, H]."""


def name_of(cell: object) -> str:
    """What a cell is called."""
    return str(getattr(cell, "__name__", type(cell).__name__))


@lru_cache(maxsize=256)
def _state_of(fields: tuple[str, ...]) -> Any:
    """The NamedTuple of some fields. A class is a cycle: cells that a loop makes anew share theirs."""
    return namedtuple("State", fields)


class FunctionCell:
    """A plain function as a cell; see `cell`."""

    def __init__(
        self, function: Callable[..., Any], arity: int | None, state: Mapping[str, int | Sequence[int]]
    ) -> None:
        if not isinstance(state, Mapping) or not state:
            raise TypeError(f"state names the Tensors of a cell's state and their widths, as {{'h': 3}}, not {state!r}")
        if arity is not None and (type(arity) is bool or not isinstance(arity, int | np.integer) or arity < 0):
            raise ValueError(f"arity is how many slots a cell reads, or None for a multiset, not {arity!r}")
        self.function, self.arity = function, None if arity is None else int(arity)
        self.__name__ = getattr(function, "__name__", "cell")
        self.__doc__ = function.__doc__
        self.State: Any = _state_of(tuple(state))
        self._widths = {name: tuple(w) if isinstance(w, tuple | list) else (w,) for name, w in state.items()}
        for name, widths in self._widths.items():
            if not all(isinstance(w, int | np.integer) and type(w) is not bool and w >= 0 for w in widths):
                raise ValueError(f"state {name}: a width is an integer from 0, or a tuple of them, not {state[name]!r}")

    def __repr__(self) -> str:
        state = ", ".join(f"{name} {'x'.join(map(str, w))}" for name, w in self._widths.items())
        return f"<cell {self.__name__}: arity {self.arity}, state {state}>"

    def initial(self) -> State:
        """Zeros, one row."""
        return self.State(*(ops.zeros((1, *w)) for w in self._widths.values()))

    def __call__(self, x: Tensor, kids: Kids, context: Any = None) -> State:
        """The function's result as a State."""
        result = self.function(x, kids) if context is None else self.function(x, kids, context)
        if isinstance(result, Tensor):
            result = (result,)
        if isinstance(result, dict):
            if result.keys() != self._widths.keys():
                raise TypeError(f"cell {self.__name__} returned {[*result]}, not Tensors for {[*self._widths]}")
            return self.State(**result)
        if not isinstance(result, tuple | list):
            raise TypeError(
                f"cell {self.__name__} returned {name_of(result)}, not Tensors for {[*self._widths]}, in this order"
            )
        if len(result) != len(self._widths):
            raise ValueError(f"cell {self.__name__} returned {len(result)} Tensors for the state {[*self._widths]}")
        return result if hasattr(result, "_fields") else self.State(*result)


def cell(
    *, arity: int | None, state: Mapping[str, int | Sequence[int]]
) -> Callable[[Callable[..., Any]], FunctionCell]:
    """Make a cell of a plain function `f(x, kids)` or `f(x, kids, context)` that gives its new state.

    It is called for all n vertices of a level at once: x [n, I] holds their inputs (zeros for a vertex without one;
    [n, 0] if the unfolding has no inputs). `kids[k].h` [n, H] is the state h of the predecessors in slot k. With arity
    None, `kids.each.h` [E, H] has a row for each edge into the level; `kids.sum(e)` (also max, mean) takes such rows to
    their vertices, [E, ...] -> [n, ...], `kids.spread(v)` takes vertices to their edges, and `kids.softmax(e)`
    normalises the edges of each vertex.

    Args:
        arity: how many slots it reads; None for a multiset of predecessors.
        state: the name and width of each Tensor of its state; an empty slot reads zeros.

    Raises:
        ValueError: when it is called, if it does not return what `state` names, with n rows each.

    >>> import tinygrad_rnn as tg
    >>> @tg.cell(arity=1, state={"h": 2})
    ... def decay(x, kids):
    ...     return 0.5 * kids[0].h + x
    >>> tg.unfold(decay, tg.chain([3]), tg.ones((3, 2))).last().h
    Tensor([[1.75, 1.75]], dtype=float32)
    >>> @tg.cell(arity=None, state={"h": 2})
    ... def mean_of_neighbours(x, kids):
    ...     return x + kids.mean(kids.each.h)
    >>> star = tg.Structure(3, source=[0, 1], target=[2, 2])
    >>> tg.unfold(mean_of_neighbours, star, tg.tensor([[1.0, 1.0], [3.0, 3.0], [0.0, 0.0]])).roots().h
    Tensor([[2., 2.]], dtype=float32)
    """
    return lambda function: FunctionCell(function, arity, state)


class Cells:
    """The cells of an unfolding: which one computes a kind of vertices, and which state its empty slots read."""

    def __init__(self, cell: Cell | Mapping[int, Cell], initial: State | None) -> None:
        self.by_kind: dict[int, Cell] = dict(cell) if isinstance(cell, Mapping) else {}
        self._only = None if isinstance(cell, Mapping) else cell
        first = next(iter(self.by_kind.values()), self._only)
        if first is None:
            raise StructureError("no cells: give a cell, or {kind: cell} with at least one")
        for c in self.by_kind.values() or (first,):
            if not (hasattr(c, "arity") and hasattr(c, "initial")):
                lacks = " and ".join(what for what in ("arity", "initial()") if not hasattr(c, what.rstrip("()")))
                remedy = f"make it a cell with @tg.cell(arity=..., state=...), or give it {lacks}"
                raise TypeError(f"{name_of(c)} is no cell: {remedy}")
            if isinstance(c, type):
                raise TypeError(f"{name_of(c)} is a class: make a cell of it, as {name_of(c)}(...)")
        self._given = initial is not None
        self.initial: State = first.initial() if initial is None else initial
        if not hasattr(self.initial, "_fields"):
            given = "give cell.initial()._replace(h=...)" if self._given else "let cell.initial() return a NamedTuple"
            raise TypeError(f"initial is no State but {name_of(self.initial)}: {given}")
        if self._given:
            self.initial = type(self.initial)(*map(ops.as_tensor, self.initial))
        self._initials = {} if self._given else {kind: c.initial() for kind, c in self.by_kind.items()}
        self.fields: tuple[str, ...] = self.initial._fields

    def of(self, kind: int) -> tuple[Cell, State]:
        """(the cell that computes a kind of vertices, the state that its empty slots read)."""
        cell = self.by_kind.get(kind, self._only)
        if cell is None:
            raise StructureError(f"no cell for vertices of kind {kind}; the cells are for kinds {sorted(self.by_kind)}")
        return cell, self._initials.get(kind, self.initial)

    def start_in(self, dtype: Any) -> None:
        """Let what the cells start from follow a dtype, if they are constants of the cells' own making."""
        if self._given or dtype.kind != "f" or self.initial[0].node is not None:
            return
        if not self._initials and all(value.data.dtype is dtype for value in self.initial):
            return
        self.initial = type(self.initial)(*(value.astype(dtype) for value in self.initial))
        self._initials = {k: type(s)(*(value.astype(dtype) for value in s)) for k, s in self._initials.items()}

    def check(self, structure: Structure) -> None:
        """Refuse a structure whose vertices have other slots, or its examples other states, than the cells read."""
        if not hasattr(structure, "kinds_used"):
            remedy = "tg.chain(lengths), tg.from_networkx(graph) and trees.batch(trees)[0] make one"
            raise TypeError(f"a cell unfolds over a Structure, not {name_of(structure)}: {remedy}")
        if len(self.by_kind) > 1 and structure.kind is None and structure.size:
            raise StructureError(
                f"there are cells for kinds {sorted(self.by_kind)}, and the structure has no kinds: give it "
                "Structure(..., kind=[...]), or one cell"
            )
        for kind in structure.kinds_used:
            cell, state = self.of(kind)
            if getattr(state, "_fields", None) != self.fields:
                raise TypeError(f"kind {kind}: its cell's state has other fields than the first's, {self.fields}")
            for name, value, first in zip(self.fields, state, self.initial, strict=True):
                if value.data.shape[1:] != first.data.shape[1:]:
                    raise ValueError(f"kind {kind}: {name} {value.shape}, but of the first kind it is {first.shape}")
            if cell.arity is None or (structure.named and structure.slots <= cell.arity):
                continue
            unread = (structure.slot < 0) | (structure.slot >= cell.arity)
            wrong = np.flatnonzero(unread & (structure.kinds[structure.target] == kind))
            if len(wrong):
                raise _misfit(cell, structure, int(wrong[0]))
        for name, value in zip(self.fields, self.initial, strict=True):
            if len(value.data) not in (1, structure.examples):
                raise StructureError(
                    f"initial {name} has {len(value.data)} rows for {structure.examples} examples; give 1 or all"
                )


def _misfit(cell: Cell, structure: Structure, edge: int) -> StructureError:
    v, slot = structure.target[edge], structure.slot[edge]
    if slot >= 0:
        return StructureError(
            f"vertex {v}: slot {slot} is filled, but cell {name_of(cell)} has arity {cell.arity} (trees.binarise makes "
            "trees binary)"
        )
    return StructureError(
        f"vertex {v} has predecessors without slots, but cell {name_of(cell)} reads {cell.arity} slots; give all edges "
        "slots, or use a cell of multisets (arity None)"
    )


class States:
    """The states that a cell call reads, by name: `kids[0].h`. A field is gathered when it is first asked for."""

    def __init__(self, fields: tuple[str, ...], read: Callable[[int], Tensor]) -> None:
        self._fields, self._read = fields, read

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(f"the state has no {name!r}; it has {', '.join(self.__dict__['_fields'])}")
        value = self._read(self._fields.index(name))
        setattr(self, name, value)
        return value

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, name) for name in self._fields)


class Multiset:
    """Rows of which each belongs to a vertex of the level: the edges of `kids`, or the rows of a ragged context.

    Args:
        each: the rows; `.h` of each edge for `kids`, one Tensor for a context.
        segments: the vertex that each row belongs to, [E], sorted.
        count: the number of vertices n.
    """

    def __init__(self, each: Any, segments: backend.Array, count: int) -> None:
        self.each, self._segments, self._count = each, segments, count

    def spread(self, v: Tensor) -> Tensor:
        """Vertices to rows: v [n, ...] -> [E, ...]."""
        return ops.gather_rows(v, self._segments)

    def sum(self, e: Tensor) -> Tensor:
        """Rows to vertices: the sum of each vertex's rows, e [E, ...] -> [n, ...]; 0 for a vertex without any."""
        if not len(self._segments):
            # No vertex of the level has rows: one row of zeros, repeated, which a product multiplies once.
            return ops.broadcast_to(
                ops.zeros((1, *e.shape[1:]), dtype=e.dtype, device=e.device), (self._count, *e.shape[1:])
            )
        return ops.segment_sum(e, self._segments, self._count)

    def max(self, e: Tensor) -> Tensor:
        """The maximum of each vertex's rows, 0 for a vertex without any."""
        return ops.segment_max(e, self._segments, self._count)

    def mean(self, e: Tensor) -> Tensor:
        """The mean of each vertex's rows, 0 for a vertex without any."""
        xp = backend.of(self._segments)
        counts = xp.maximum(xp.bincount(self._segments, minlength=self._count), 1)
        per_vertex = Tensor(xp.astype(xp.reshape(counts, (-1,) + (1,) * (e.ndim - 1)), e.dtype))
        return self.sum(e) / per_vertex

    def softmax(self, e: Tensor) -> Tensor:
        """exp(e) divided by its sum over each vertex's rows: [E, ...] -> [E, ...]."""
        powers = ops.exp(e - self.spread(self.max(e)))
        return powers / self.spread(self.sum(powers))


class Kids(Multiset):
    """What a cell sees of its predecessors: `kids[k]` by slot, or `kids.each` and the sums of a multiset."""

    def __init__(
        self, fields: tuple[str, ...], slots: Sequence[Callable[[int], Tensor]], each: Any, segments: Any, count: int
    ) -> None:
        super().__init__(each, segments, count)
        if each is None:  # so that whoever asks for edges is told what to read
            del self.each, self._segments
        self._slots = [States(fields, read) for read in slots]

    def __getitem__(self, slot: Any) -> Any:
        """The states in a slot, one row per vertex; an empty slot reads the cell's initial state."""
        if "each" in vars(self):
            raise StructureError(
                "the cell's arity is None: read kids.each.h (a row per edge) and kids.sum(...), not slots"
            )
        if not isinstance(slot, int | np.integer):
            raise TypeError(f"kids[{slot!r}]: slots are numbers from 0, and states are read from them, as kids[0].h")
        if not 0 <= slot < len(self._slots):
            raise StructureError(f"the cell reads slot {slot}, but its arity is {len(self._slots)}")
        return self._slots[slot]

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        field = "h" if name in ("each", "_segments") else name
        what = "edges to sum over" if name == "_segments" else repr(name)
        raise AttributeError(f"kids has no {what}: with slots read kids[k].{field}, with arity None kids.each.{field}")

    def __len__(self) -> int:
        return len(self._slots)
