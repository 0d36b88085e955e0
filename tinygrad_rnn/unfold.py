"""Unfolding: a cell times a structure, one call of the cell per level, into an ordinary graph.

Each call leaves one block of states, and each read gathers only from the blocks it needs, so work and memory are linear
in the vertices whatever the depth.
"""

from __future__ import annotations

import gc
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from . import backend, ops, tape
from .cell import Cell, Kids, Multiset, Ragged, State, States
from .gradient import Bag
from .ops import random
from .schedule import Call, Place, Schedule, places, plan
from .structure import Ids, Structure, StructureError
from .tape import Scope
from .tensor import Tensor


class ParameterGradients:
    """The gradient of each parameter by level: the W^(t) of backpropagation through time, before they are summed."""

    def __init__(self) -> None:
        self._found: dict[tape.Node, dict[int, Any]] = {}

    def observe(self, xp: Any, level: int, leaf: tape.Node, c: Any) -> None:
        """Take one contribution of a level to a leaf."""
        bag = Bag(None)
        bag.add(c)
        g = bag.total(xp, leaf.shape)
        g = g.data if isinstance(g, Tensor) else g
        levels = self._found.setdefault(leaf, {})
        levels[level] = g if level not in levels else levels[level] + g

    def of(self, parameter: Tensor, levels: int) -> Tensor:
        """[levels, *parameter.shape], zeros where a level contributed nothing."""
        found = self._found.get(parameter.node, {}) if parameter.node is not None else {}
        out = ops.zeros((levels, *parameter.shape), dtype=parameter.dtype, device=parameter.device)
        for level, g in found.items():
            out.data[level] = g
        return out


class Unfolding:
    """A cell unfolded so far, and its states. `unfold` makes one; by hand, call `advance` once for each new level.

    Args:
        cell: the cell, or {kind: cell} for structures with kinds.
        context: per example: a Tensor of B rows, a `Ragged`, or a tuple or dict of these.
        initial: a State of 1 or B rows that empty slots read, in place of `cell.initial()`.
        keep: "state_grad" and "parameter_grad", to look at after the backward pass.
        structure: what is unfolded, for the public order of ids; None when it grows by `advance`.

    >>> import tinygrad_rnn as tg
    >>> run = tg.Unfolding(tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x))
    >>> run.advance(tg.ones((2, 1)), [[-1], [-1]]).h.tolist()
    [[1.0], [1.0]]
    >>> run.advance(tg.ones((3, 1)), [[0], [0], [1]]).h.tolist()
    [[2.0], [2.0], [2.0]]
    """

    def __init__(
        self,
        cell: Cell | Mapping[int, Cell],
        context: Any = None,
        initial: State | None = None,
        keep: Sequence[str] = (),
        structure: Structure | None = None,
    ) -> None:
        self.cells: dict[int, Cell] = dict(cell) if isinstance(cell, Mapping) else {}
        self._only = None if isinstance(cell, Mapping) else cell
        if self._only is None and not self.cells:
            raise StructureError("no cells: give a cell, or {kind: cell} with at least one")
        first = cell if self._only is not None else next(iter(self.cells.values()))
        self.initial: State = first.initial() if initial is None else initial  # type: ignore[union-attr]
        self._initials = {kind: c.initial() for kind, c in self.cells.items()} if initial is None else {}
        self._given = initial is not None
        self.fields: tuple[str, ...] = self.initial._fields
        self.context, self._structure = context, structure
        self._edges: list[tuple[Ids, Ids, Ids]] = []  # of a grown unfolding: source, target, slot by call
        self.blocks: list[State] = []  # one State per call
        self.calls: list[Call] = []
        self._starts: list[int] = []  # of the rows of each call
        self._schedule: Schedule | None = None
        self._examples: list[Ids] = []  # of the vertices of each call
        self._streams = random.Streams(int(random.generator().integers(2**63)))
        unknown = set(keep) - {"state_grad", "parameter_grad"}
        if unknown:
            raise ValueError(f"keep knows 'state_grad' and 'parameter_grad', not {sorted(unknown)}")
        self._state_gradients: list[dict[int, Any]] | None = [] if "state_grad" in keep else None
        self._parameter_gradients = ParameterGradients() if "parameter_grad" in keep else None

    @property
    def size(self) -> int:
        """How many vertices are computed so far."""
        return self.calls[-1].stop if self.calls else 0

    @property
    def structure(self) -> Structure:
        """What is unfolded: the structure given, or what has grown by `advance` so far."""
        base = self._structure or Structure(0)
        if self._structure is not None and not self._edges:
            return base
        grown = [c for c in self.calls if c.start >= base.size]
        counts = [c.stop - c.start for c in grown]
        source, target, slot = np.concatenate(
            [(base.source, base.target, base.slot), *map(np.stack, self._edges)], axis=1
        )
        kinds = np.zeros(base.size, np.int64) if base.kind is None else base.kind
        example = np.concatenate([base.example, *self._examples[len(self.calls) - len(grown) :]])
        return Structure(
            self.size, source, target, slot, example,
            np.concatenate((kinds, np.repeat(np.asarray([c.kind for c in grown], np.int64), counts))),
            max(base.examples, int(example.max(initial=-1)) + 1),  # the last ones may have no vertices
            level=np.concatenate((base.level, np.repeat(np.asarray([c.level for c in grown], np.int64), counts))),
        )  # fmt: skip

    @property
    def has_input(self) -> np.ndarray:
        """Which vertices have an input, [N] by public id."""
        internal = np.repeat(
            [c.has_input for c in self.calls] or [False], [c.stop - c.start for c in self.calls] or [0]
        )
        return internal[self._internal(np.arange(self.size))]

    @property
    def levels(self) -> int:
        """How many levels are computed so far."""
        return self.calls[-1].level + 1 if self.calls else 0

    def _cell(self, kind: int) -> Cell:
        if self._only is not None:
            return self._only
        if kind not in self.cells:
            raise StructureError(f"no cell for vertices of kind {kind}; the cells are for kinds {sorted(self.cells)}")
        return self.cells[kind]

    def advance(
        self,
        rows: Tensor | None,
        predecessors: Sequence[Sequence[int]] | np.ndarray,
        examples: Sequence[int] | Ids | None = None,
        kind: int = 0,
    ) -> State:
        """Add one level of vertices, whose ids go on from `size`.

        Args:
            rows: their inputs [n, I], or None if they have none.
            predecessors: for each new vertex the ids of its predecessors by slot, -1 for an empty slot: [n, arity]; for
                a multiset a list of ids per vertex.
            examples: the example of each, [n]; by default its first predecessor's, or its own number where it has none.
            kind: chooses the cell when there are several.

        Raises:
            StructureError: a predecessor that is not computed yet, or more of them than the cell has slots.
        """
        cell, start = self._cell(kind), self.size
        count = len(predecessors)
        if rows is not None and len(rows) != count:
            raise StructureError(f"{len(rows)} input rows for {count} new vertices")
        lists = [list(map(int, p)) for p in predecessors]
        where = np.repeat(np.arange(count), [len(p) for p in lists])
        slot = np.asarray([k for p in lists for k in range(len(p))], np.int64)
        source = np.asarray([v for p in lists for v in p], np.int64)
        for v, k, u in zip(where.tolist(), slot.tolist(), source.tolist(), strict=True):
            if not -1 <= u < start:
                raise StructureError(f"vertex {start + v}, slot {k}: predecessor {u} is not computed yet")
            if cell.arity is not None and k >= cell.arity:
                raise StructureError(f"vertex {start + v}: slot {k}, but the cell's arity is {cell.arity}")
        filled = source >= 0
        where, slot, source = where[filled], slot[filled], source[filled]
        if examples is None:
            examples = np.arange(count)
            for v, c, r in zip(where[::-1].tolist(), *(a[::-1].tolist() for a in self._at(source)), strict=True):
                examples[v] = self._examples[c][r]  # the first predecessor's comes last, and stays
        if len(examples) != count:
            raise StructureError(f"{len(examples)} examples for {count} new vertices")
        self._examples.append(np.asarray(examples, np.int64))
        self._edges.append((source, start + where, slot if cell.arity is not None else np.full(len(slot), -1)))
        if rows is not None:
            self._read(rows)
        call = Call(self.levels, kind, rows is not None, start, start + count)
        try:
            if cell.arity is None:
                edges = (self._locate(where * 0, np.arange(len(where)), source).get(0, []), where)
                return self._run(call, rows, {}, edges)
            return self._run(call, rows, self._locate(slot, where, source), None)
        except BaseException:
            self._edges.pop()
            self._examples.pop()
            raise

    def _internal(self, ids: Ids) -> Ids:
        """Public ids in the order of the calls; vertices that grew have theirs in that order."""
        rank = None if self._schedule is None else self._schedule.rank
        if rank is None or not len(rank):
            return ids
        return np.where(ids < len(rank), rank[np.minimum(ids, len(rank) - 1)], ids)

    def _at(self, ids: Ids) -> tuple[Ids, Ids]:
        """(the call that computed each vertex, its row in the block of that call)."""
        rows = self._internal(ids)
        call = np.asarray([bisect_right(self._starts, r) - 1 for r in rows.tolist()], np.int64)
        return call, rows - np.asarray([self._starts[c] for c in call.tolist()], np.int64)

    def _locate(self, group: Ids, where: Ids, ids: Ids) -> dict[int, list[Place]]:
        """Where the rows of vertices lie, by group."""
        found: dict[int, list[Place]] = {}
        for g, place in places(group, where, *self._at(ids)):
            found.setdefault(g, []).append(place)
        return found

    def _run(
        self, call: Call, x: Tensor | None, slots: dict[int, list[Place]], edges: tuple[list[Place], Ids] | None
    ) -> State:
        """One call of a cell: read, compute, keep the block of states."""
        cell, count = self._cell(call.kind), call.stop - call.start
        name = getattr(cell, "__name__", type(cell).__name__)
        if x is None:
            x = self._no_input(count)
        initial = self._initials.get(call.kind, self.initial)
        reads = [self._reader(slots.get(k, []), count, initial) for k in range(cell.arity or 0)]
        each = segments = None
        if edges is not None:
            each = States(self.fields, self._reader(edges[0], len(edges[1]), initial))
            segments = self._device_index(edges[1])
        kids = Kids(self.fields, reads, each, segments, count)
        now = tape.thread.now
        outer, streams = now.scope, now.streams
        scope = now.scope = Scope(name, call.level, outer)
        if self._parameter_gradients is not None:
            scope.observer = self._parameter_gradients.observe
        now.streams = self._streams
        self._streams.site = 0
        try:
            context = None if self.context is None else self._context_rows(self.context)
            state = cell(x, kids) if context is None else cell(x, kids, context)
            state = self._checked(state, name, call, count)
        finally:
            now.scope, now.streams = outer, streams
        if self._state_gradients is not None:
            state = self._watched(state)
        self.calls.append(call)
        self._starts.append(call.start)
        self.blocks.append(state)
        return state

    def _checked(self, state: State, name: str, call: Call, count: int) -> State:
        """The state a cell gave, refused if it is no state of the kind it takes."""
        if getattr(state, "_fields", None) != self.fields:
            raise TypeError(
                f"cell {name} returned {type(state).__name__} with {getattr(state, '_fields', 'no fields')}; "
                f"it must return a State with the fields {self.fields}"
            )
        rows = []
        for field, value, initial in zip(self.fields, state, self.initial, strict=True):
            if value.data.shape[1:] != initial.data.shape[1:] or value.data.shape[0] not in (count, 1):
                raise ValueError(
                    f"cell {name}, level {call.level}: it returned {field} of shape {value.shape}, but takes "
                    f"{(count, *initial.shape[1:])}: {count} vertices, the widths of its initial state"
                )
            rows.append(value if value.data.shape[0] == count else ops.broadcast_to(value, (count, *value.shape[1:])))
        return type(state)(*rows)

    def _no_input(self, count: int) -> Tensor:
        """The input of vertices that have none: one row of zeros, repeated, which a product multiplies once."""
        if len(self._zeros) < count:
            xp = backend.of(self.initial[0].data)
            self._zeros = xp.broadcast_to(xp.zeros((1, self._width), dtype=self._dtype), (2 * count, self._width))
        return Tensor(self._zeros[:count])

    def _read(self, rows: Tensor) -> None:
        """Take the width and dtype of the inputs; the zeros that a cell starts from follow the first ones' dtype."""
        if (rows.data.shape[-1], rows.dtype) != (self._width, self._dtype):
            self._width, self._dtype, self._zeros = rows.data.shape[-1], rows.dtype, ()
        if self._given or self.blocks or rows.dtype.kind != "f" or self.initial[0].node is not None:
            return
        self.initial = type(self.initial)(*(value.astype(rows.dtype) for value in self.initial))
        self._initials = {k: type(s)(*(v.astype(rows.dtype) for v in s)) for k, s in self._initials.items()}

    _width = 0
    _dtype: Any = np.float32
    _zeros: Any = ()

    def _reader(self, places: list[Place], count: int, initials: State) -> Callable[[int], Tensor]:
        """A function that gathers one field of the state for a slot (or for the edges) of the running call."""
        at = len(self.blocks)
        if not places:
            return lambda field: self._initial_rows(initials[field], at, count)
        if len(places) == 1 and type(places[0].where) is slice and _length(places[0].where) == count:
            call, _, rows = places[0]
            return lambda field: self._block_rows(self.blocks[call][field], rows)
        reads = [(self._device_index(p.where), self._device_index(p.rows)) for p in places]
        empty = None
        if sum(_length(p.where) for p in places) < count:
            filled = np.zeros(count, bool)
            for p in places:
                filled[p.where] = True
            empty = np.flatnonzero(~filled)

        def read(field: int) -> Tensor:
            blocks = [self.blocks[p.call][field] for p in places]
            if empty is None:
                return ops.gather_blocks(blocks, reads, count)
            initial = initials[field]
            rows = np.zeros(len(empty), np.int64) if len(initial.data) == 1 else self._examples[at][empty]
            spare = (self._device_index(empty), self._device_index(rows))
            return ops.gather_blocks([*blocks, initial], [*reads, spare], count)

        return read

    def _block_rows(self, block: Tensor, rows: slice | Ids) -> Tensor:
        if type(rows) is slice:
            return block if _length(rows) == len(block.data) else ops.span(block, 0, rows.start, rows.stop)
        return ops.gather_rows(block, self._device_index(rows))

    def _initial_rows(self, initial: Tensor, call: int, count: int) -> Tensor:
        if len(initial.data) == 1:
            return ops.broadcast_to(initial, (count, *initial.data.shape[1:]))
        return ops.gather_rows(initial, self._device_index(self._examples[call][:count]))

    def _device_index(self, index: Any) -> Any:
        """Integer arrays where the states are; slices as they are."""
        return index if type(index) is slice else backend.of(self.initial[0].data).from_numpy(index)

    def _context_rows(self, context: Any) -> Any:
        """The context of each vertex of the running call."""
        examples = self._examples[len(self.blocks)]
        if isinstance(context, Tensor):
            return ops.gather_rows(context, self._device_index(examples))
        if isinstance(context, Ragged):
            lengths = np.asarray(context.lengths, np.int64)
            if lengths.sum() != len(context.rows) or len(lengths) <= examples.max(initial=-1):
                raise ValueError(
                    f"a ragged context has {len(context.rows)} rows for {len(lengths)} lengths that sum to "
                    f"{lengths.sum()}; it needs one length for each of at least {examples.max(initial=-1) + 1} examples"
                )
            starts = np.cumsum(lengths) - lengths
            counts = lengths[examples]
            segments = np.repeat(np.arange(len(examples)), counts)
            rows = np.arange(len(segments)) + np.repeat(starts[examples] - (np.cumsum(counts) - counts), counts)
            each = ops.gather_rows(context.rows, self._device_index(rows))
            return Multiset(each, self._device_index(segments), len(examples))
        if isinstance(context, Mapping):
            return {name: self._context_rows(value) for name, value in context.items()}
        if isinstance(context, tuple):
            rows_of = [self._context_rows(value) for value in context]
            return type(context)(*rows_of) if hasattr(context, "_fields") else tuple(rows_of)
        raise TypeError(f"a context is a Tensor of B rows, a Ragged, or a tuple or dict of these, not {type(context)}")

    def _watched(self, state: State) -> State:
        """The state of a call, whose gradients are noted when the backward pass comes by."""
        found: dict[int, Any] = {}
        assert self._state_gradients is not None
        self._state_gradients.append(found)
        own = type(state)(*map(ops.positive, state))  # a cell may return what it read: another vertex's state
        for field, value in enumerate(own):
            if value.node is not None:
                tape.add_hook(value.node, partial(_note, found, field))
        return own

    # What came out, by public id.
    def _public(self, blocks: Sequence[Sequence[Tensor]]) -> State:
        fields = []
        rank = None if self._schedule is None or self._schedule.in_order else self._internal(np.arange(self.size))
        for field in range(len(self.fields)):
            parts = [block[field] for block in blocks]
            if not parts:
                fields.append(self.initial[field][:0])
                continue
            whole = ops.concat(parts, axis=0) if len(parts) > 1 else parts[0]
            fields.append(whole if rank is None else ops.gather_rows(whole, self._device_index(rank)))
        return type(self.initial)(*fields)

    def all(self) -> State:
        """The states of all vertices, [N, H], in the order of their ids."""
        return self._public(self.blocks)

    def rows(self, ids: Sequence[int] | Ids) -> State:
        """The states of some vertices, in the order given.

        Raises:
            StructureError: no such vertex.
        """
        wanted = np.asarray(ids, np.int64).reshape(-1)
        wrong = wanted[(wanted < 0) | (wanted >= self.size)]
        if len(wrong):
            raise StructureError(f"vertex {wrong[0]} does not exist; ids go from 0 to {self.size - 1}")
        if not len(wanted):
            return type(self.initial)(*(value[:0] for value in self.initial))
        found = self._locate(wanted * 0, np.arange(len(wanted)), wanted)[0]
        read = self._reader(found, len(wanted), self.initial)
        return type(self.initial)(*(read(field) for field in range(len(self.fields))))

    def roots(self) -> State:
        """The states of the vertices that no other one reads, in the order of their ids."""
        s = self.structure
        return self.rows(np.flatnonzero(np.bincount(s.source, minlength=s.size) == 0))

    def last(self) -> State:
        """The final state of each example [B, H]: the one vertex that no other reads; an empty example's is initial.

        Raises:
            StructureError: an example has several such vertices; use `roots`.
        """
        s = self.structure
        ends = np.flatnonzero(np.bincount(s.source, minlength=s.size) == 0)
        counts = np.bincount(s.example[ends], minlength=s.examples)
        if (counts > 1).any():
            e = int(np.argmax(counts > 1))
            raise StructureError(f"example {e} has {counts[e]} final vertices; last() needs one, roots() gives all")
        found = self.rows(ends[np.argsort(s.example[ends])])
        if (counts == 1).all():
            return found
        index = np.where(counts == 1, np.cumsum(counts) - 1, len(ends))
        fields = []
        for initial, value in zip(self.initial, found, strict=True):
            rows = index
            if initial.data.shape[0] > 1:
                rows = np.where(counts == 1, index, len(ends) + np.arange(s.examples))
            fields.append(ops.gather_rows(ops.concat([value, initial], axis=0), self._device_index(rows)))
        return type(self.initial)(*fields)

    @property
    def state_grad(self) -> State:
        """dL/dstate of every vertex by public id, after a backward pass; needs keep=("state_grad",).

        It is the gradient of each state as the cell returns it, by way of whatever reads it afterwards: where h is
        computed from c inside the cell, that way from c is not in the gradient of c.
        """
        if self._state_gradients is None:
            raise ValueError('state gradients were not kept; unfold with keep=("state_grad",)')
        blocks = []
        for block, found in zip(self.blocks, self._state_gradients, strict=True):
            blocks.append([found.get(i, ops.zeros_like(value)) for i, value in enumerate(block)])
        return self._public(blocks)

    def parameter_grad(self, parameter: Tensor) -> Tensor:
        """The gradient of a parameter by level, [levels, *shape], after a backward pass: the W^(t), whose sum is .grad.

        Needs keep=("parameter_grad",).
        """
        if self._parameter_gradients is None:
            raise ValueError('parameter gradients were not kept; unfold with keep=("parameter_grad",)')
        return self._parameter_gradients.of(parameter, self.levels)


def _note(found: dict[int, Any], field: int, g: Tensor) -> None:
    found[field] = g.detach()


def _length(rows: slice | Ids) -> int:
    return rows.stop - rows.start if type(rows) is slice else len(rows)


def _check_arity(cell: Cell, structure: Structure, members: np.ndarray) -> None:
    """Refuse a structure whose vertices have more predecessors, or other slots, than the cell reads."""
    if cell.arity is None:
        return
    mine = members[structure.target]
    wrong = np.flatnonzero(mine & ((structure.slot >= cell.arity) | (structure.slot < 0)))
    if not len(wrong):
        return
    e = int(wrong[0])
    v, name = int(structure.target[e]), getattr(cell, "__name__", type(cell).__name__)
    if structure.slot[e] < 0:
        raise StructureError(
            f"vertex {v} has {structure.predecessors[v]} predecessors without slots, but cell {name} reads "
            f"{cell.arity} slots; give the edges slots, or use a cell of multisets (arity None)"
        )
    raise StructureError(f"vertex {v}: slot {structure.slot[e]} is filled, but cell {name} has arity {cell.arity}")


def unfold(
    cell: Cell | Mapping[int, Cell],
    structure: Structure,
    inputs: Tensor | tuple[Any, Tensor] | None,
    context: Any = None,
    initial: State | None = None,
    keep: Sequence[str] = (),
) -> Unfolding:
    """Compute every vertex of a structure with a cell, level by level.

    Args:
        cell: the cell, or {kind: cell}.
        structure: what depends on what.
        inputs: rows for all vertices [N, I], or (ids [M], rows [M, I]) for those that have one. A vertex without input
            reads zeros, which are never multiplied. None: no vertex has one, and x is [n, 0].
        context, initial, keep: see `Unfolding`.

    Raises:
        StructureError: the structure does not fit the cell, or an input's id is out of range or given twice.

    >>> import tinygrad_rnn as tg
    >>> @tg.cell(arity=2, state={"h": 1})
    ... def add(x, kids):
    ...     return kids[0].h + kids[1].h + x
    >>> tree = tg.Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1])
    >>> tg.unfold(add, tree, ([0, 1], tg.tensor([[3.0], [4.0]]))).roots().h.item()
    7.0
    """
    run = Unfolding(cell, context, initial, keep, structure)
    n = structure.size
    kinds = structure.kind if structure.kind is not None else np.zeros(n, np.int64)
    for kind in np.unique(kinds).tolist():
        _check_arity(run._cell(kind), structure, kinds == kind)
    rows, ids = None, None
    if isinstance(inputs, tuple):
        given, rows = np.asarray(inputs[0].numpy() if isinstance(inputs[0], Tensor) else inputs[0]), inputs[1]
        if given.size and (given.dtype.kind not in "iu" or given.ndim != 1):
            raise StructureError(
                f"the inputs' ids must be integers of one axis, not {given.dtype} of shape {given.shape}"
            )
        ids = given.astype(np.int64)
        if len(ids) != len(rows):
            raise StructureError(f"{len(ids)} vertex ids for {len(rows)} input rows")
        has_input = np.zeros(n, bool)
        wrong = ids[(ids < 0) | (ids >= n)]
        if len(wrong):
            raise StructureError(f"the inputs name vertex {wrong[0]}; ids go from 0 to {n - 1}")
        has_input[ids] = True
        if int(has_input.sum()) < len(ids):
            raise StructureError("the inputs name a vertex twice; each vertex has one input")
    elif inputs is not None:
        rows, has_input = inputs, np.ones(n, bool)
        if len(rows) != n:
            raise StructureError(f"{len(rows)} input rows for {n} vertices; give (ids, rows) if some have no input")
    else:
        has_input = np.zeros(n, bool)
    schedule = run._schedule = plan(structure, has_input)
    run._examples = [structure.example[schedule.order[c.start : c.stop]] for c in schedule.runs]
    if rows is not None:
        run._read(rows)
    for name, value in zip(run.fields, run.initial, strict=True):
        if len(value.data) not in (1, structure.examples):
            raise StructureError(
                f"initial {name} has {len(value.data)} rows for {structure.examples} examples; give 1 or all"
            )
    if isinstance(context, Tensor) and len(context) != structure.examples:
        raise StructureError(f"the context has {len(context)} rows for {structure.examples} examples")
    pieces = _in_order_of_calls(run, schedule, rows, ids)
    multisets = any(c.arity is None for c in (run.cells.values() if run._only is None else [run._only]))
    with _no_collections():
        for i, (call, x) in enumerate(zip(schedule.runs, pieces, strict=True)):
            if multisets and run._cell(call.kind).arity is None:
                run._run(call, x, {}, schedule.edges[i])
            else:
                run._run(call, x, schedule.slots[i], None)
    return run


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from going over a growing graph again and again.

    A graph has no cycles, so nothing would be found, and on a long chain the search would take a third of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _in_order_of_calls(run: Unfolding, schedule: Schedule, rows: Tensor | None, ids: Ids | None) -> list[Tensor | None]:
    """The input rows of each call, cut from one Tensor in internal order."""
    calls = schedule.runs
    if rows is None:
        return [None] * len(calls)
    order = schedule.order
    if ids is not None:
        row_of = np.full(len(order), -1, np.int64)
        row_of[ids] = np.arange(len(ids))
        order = row_of[order]
        order = order[order >= 0]
    if (order[1:] < order[:-1]).any():  # distinct numbers that rise are in order
        rows = ops.gather_rows(rows, run._device_index(order))
    lengths = [c.stop - c.start if c.has_input else 0 for c in calls]
    return [
        x if c.has_input else None
        for c, x in zip(calls, ops.split(rows, lengths, axis=0) if calls else (), strict=True)
    ]
