"""Unfolding: a cell times a structure, one call of the cell per level, into an ordinary graph.

Each call leaves one block of states, and each read gathers only from the blocks it needs, so work and memory are linear
in the vertices whatever the depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from . import ops, tape
from .blocks import Blocks, beside
from .cell import Cell, Cells, Kids, State, States, name_of
from .context import as_tensors, check_context, mapped, rows_for
from .inputs import Missing, cut_to_calls, examples_of, ids_and_rows, lists_of, rows_of
from .kept import Kept
from .now import without_collections
from .ops import random
from .schedule import Call, Place, Schedule, plan
from .structure import Ids, Structure, StructureError, ints, ranges
from .tensor import Tensor


class Unfolding:
    """A cell unfolded so far, and its states. `unfold` makes one; by hand, call `advance` once for each new level.

    Args:
        cell: the cell, or {kind: cell} for structures with kinds.
        context: per example: a Tensor or array of B rows, a `Ragged`, or a tuple or dict of these.
        initial: a State of 1 or B rows that empty slots read, in place of `cell.initial()`.
        keep: "state_grad" and "parameter_grad", to look at after the backward pass; with the first all states are
            recorded, as if their inputs required a gradient.
        structure: what is unfolded, for the public order of ids; None when it grows by `advance`.
        seed: of its random streams; by default drawn from the shared generator.

    >>> import tinygrad_rnn as tg
    >>> run = tg.Unfolding(tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x))
    >>> run.advance(tg.ones((2, 1)), [[-1], [-1]]).h.tolist()
    [[1.0], [1.0]]
    >>> run.advance(tg.ones((3, 1)), [[0], [0], [1]]).h.tolist()
    [[2.0], [2.0], [2.0]]
    """

    program: ClassVar[Any] = None  # what runs an unfolding compiled, if it can: the package binds it here

    def __init__(
        self,
        cell: Cell | Mapping[int, Cell],
        context: Any = None,
        initial: State | None = None,
        keep: Sequence[str] = (),
        structure: Structure | None = None,
        seed: int | None = None,
    ) -> None:
        self._cells = Cells(cell, initial)
        self.cells, self.fields = self._cells.by_kind, self._cells.fields
        self._missing = Missing((0,), np.dtype(np.float32))
        self.context, self._structure = None if context is None else mapped(as_tensors, context), structure
        self._rank: Ids = np.zeros(0, np.int64)  # public id -> internal row, of the structure given
        self.calls: list[Call] = []
        self.levels = 0  # how many are computed so far
        self._blocks = Blocks()
        self.blocks: list[State] = self._blocks.states  # in internal order, one State per call
        self._grown: list[Ids] = []  # the edges of each call by `advance`: source, target, slot
        self._streams = random.Streams(random.drawn_seed() if seed is None else seed)
        self._kept = Kept(keep)

    def __repr__(self) -> str:
        cells = " and ".join(dict.fromkeys(map(name_of, self.cells.values() or [self._cells.of(0)[0]])))
        return f"<Unfolding of {cells}: {self.size} vertices in {self.levels} levels, state ({', '.join(self.fields)})>"

    def __getattr__(self, name: str) -> Any:
        read = f"; states are read as .all().{name}, .rows(ids).{name}, .roots().{name} or .last().{name}"
        raise AttributeError(f"an Unfolding has no {name!r}{read if name in vars(self).get('fields', ()) else ''}")

    @cached_property
    def _example(self) -> list[int]:
        """The example of each vertex, by public id."""
        return [] if self._structure is None else self._structure.example.tolist()

    @property
    def initial(self) -> State:
        """The state that empty slots read, of the first kind."""
        return self._cells.initial

    @property
    def size(self) -> int:
        """How many vertices are computed so far."""
        return self.calls[-1].stop if self.calls else 0

    @property
    def structure(self) -> Structure:
        """What is unfolded: the structure given, or what has grown by `advance` so far."""
        base = self._structure or Structure(0)
        if not self._grown:
            return base
        source, target, slot = np.concatenate([(base.source, base.target, base.slot), *self._grown], axis=1)
        calls = self.calls[-len(self._grown) :]
        new = np.repeat([(c.kind, c.level) for c in calls], [len(c.examples) for c in calls], axis=0)
        kind, level = np.concatenate([(base.kinds, base.level), new.T], axis=1)
        examples = max(base.examples, max(self._example, default=-1) + 1)  # the last ones may have no vertices
        return Structure(self.size, source, target, slot, self._example, kind, examples, level=level)

    @property
    def has_input(self) -> np.ndarray:
        """Which vertices have an input, [N] by public id."""
        calls = np.array([(c.has_input, len(c.examples)) for c in self.calls], np.int64).reshape(-1, 2)
        return np.repeat(calls[:, 0] > 0, calls[:, 1])[self._rows(np.arange(self.size))]

    def _rows(self, ids: Ids) -> Ids:
        """Public ids to internal rows: those of what has grown are the same."""
        if self._structure is None or self._rank is self._structure.ids:
            return ids
        rows, known = ids.copy(), ids < len(self._rank)
        rows[known] = self._rank[ids[known]]
        return rows

    def advance(
        self,
        rows: Any,
        predecessors: Sequence[Sequence[int]] | Sequence[int] | np.ndarray | None,
        examples: Sequence[int] | Ids | None = None,
        kind: int = 0,
    ) -> State:
        """Add one level of vertices, whose ids go on from `size`.

        Args:
            rows: their inputs [n, I] (a Tensor, an array or nested lists), or None if they have none.
            predecessors: for each new vertex the ids of its predecessors by slot, -1 for an empty slot: [n, arity]; for
                a multiset a list of ids per vertex; with one slot, [n] will do. None: they have none.
            examples: the example of each, [n]; by default its first predecessor's, or its own number where it has none.
            kind: chooses the cell when there are several.

        Raises:
            StructureError: a predecessor that is not computed yet or no id, or more of them than the cell has slots.
        """
        cell, _ = self._cells.of(kind)
        start, rows = self.size, None if rows is None else rows_of(rows)
        if predecessors is None:
            predecessors = [()] * (0 if rows is None else len(rows))
        count = len(predecessors)
        if rows is not None and len(rows) != count:
            raise StructureError(f"{len(rows)} input rows for {count} new vertices")
        lists = lists_of(predecessors, cell.arity)
        lengths = np.asarray([len(p) for p in lists], np.int64)
        where, slot = np.repeat(np.arange(count), lengths), ranges(0, lengths)
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
            # Of several predecessors the first comes last, and stays.
            examples[where[::-1]] = [self._example[u] for u in source[::-1].tolist()]
        examples = examples_of(examples, start, count)
        if rows is not None:
            self._take(rows)
        call = Call(self.levels, kind, rows is not None, start, start + count, examples)
        if cell.arity is None:  # slots are but a count: the rows that are read are those of the edges
            slot = np.full(len(slot), -1)
            places, segments = self._blocks.places(where * 0, np.arange(len(where)), self._rows(source)), where
        else:
            places, segments = self._blocks.places(slot, where, self._rows(source)), None
        state = self._run(call, rows, places, segments)
        self._example += call.examples.tolist()
        self._grown.append(np.stack((source, start + where, slot)))
        return state

    def _take(self, rows: Tensor) -> None:
        """Note what inputs look like; what the cells start from follows the dtype of the first ones."""
        self._missing = Missing(rows.data.shape[1:], rows.data.dtype)
        if not self.calls:
            self._cells.start_in(rows.dtype)

    def _run(self, call: Call, x: Tensor | None, places: Mapping[int, Sequence[Place]], segments: Ids | None) -> State:
        """One call of a cell: read, compute, keep the block of states.

        Args:
            call: what is computed.
            x: its inputs, if it has any.
            places: where what it reads lies: by slot, or under 0 the rows of the edges of a multiset.
            segments: for a multiset, the vertex of the call that each edge belongs to.
        """
        cell, initial = self._cells.of(call.kind)
        count = len(call.examples)
        if x is None:
            x = self._missing.rows(count, self.initial[0].device)
        if segments is None:
            slots = [self._blocks.reader(places.get(k, ()), call.examples, initial) for k in range(cell.arity or 0)]
            kids = Kids(self.fields, slots, None, None, count)
        else:
            each = self._blocks.reader(places.get(0, ()), call.examples[segments], initial)
            kids = Kids(self.fields, (), States(self.fields, each), beside(initial[0], segments), count)
        now = tape.thread.now
        outer, streams = now.scope, now.streams
        scope = now.scope = tape.Scope(name_of(cell), call.level, outer)
        if self._kept.parameters is not None:
            scope.observer = self._kept.parameters.observe
        now.streams = self._streams
        self._streams.site = 0
        try:
            given = () if self.context is None else (mapped(lambda part: rows_for(part, call.examples), self.context),)
            state = cell(x, kids, *given)
            state = self._checked(state, scope, count)
        except Exception as error:
            scope.note(error)
            raise
        finally:
            now.scope, now.streams = outer, streams
        if self._kept.states is not None:
            state = self._kept.states.watch(state)
        self.calls.append(call)
        self.levels = max(self.levels, call.level + 1)
        self._blocks.append(call.start, state)
        return state

    def _checked(self, state: State, scope: tape.Scope, count: int) -> State:
        """The state a cell gave, refused if it is no state of the kind it takes."""
        if getattr(state, "_fields", None) != self.fields:
            raise TypeError(
                f"cell {scope.cell} returned {type(state).__name__} with {getattr(state, '_fields', 'no fields')}; "
                f"it must return a State with the fields {self.fields}"
            )
        rows = []
        for field, value, initial in zip(self.fields, state, self.initial, strict=True):
            shape = (count, *initial.data.shape[1:])
            if value.data.shape[1:] != shape[1:] or value.data.shape[0] not in (count, 1):
                raise ValueError(
                    f"{scope}: it returned {field} of shape {value.shape}, but takes "
                    f"{shape}: {count} vertices, the widths of its initial state"
                )
            rows.append(value if value.data.shape[0] == count else ops.broadcast_to(value, shape))
        return type(state)(*rows)

    def _compiled(self, rank: Ids, calls: list[Call], levels: int, states: State) -> None:
        """Take over what a program computed: the states of all vertices as one block, a row for each by `rank`."""
        self._rank, self.calls, self.levels = rank, list(calls), levels
        self._blocks.append(0, states)

    # What came out, by public id.
    def _public(self, blocks: Sequence[Sequence[Tensor]]) -> State:
        """Blocks of values of all vertices in internal order, as one State in the order of their ids."""
        blocks = blocks or [[value[:0] for value in self.initial]]
        columns = ([block[field] for block in blocks] for field in range(len(self.fields)))
        fields = [ops.concat(column, axis=0) if len(column) > 1 else column[0] for column in columns]
        rows = self._rows(ids := np.arange(self.size))
        if rows is not ids and (rows[1:] < rows[:-1]).any():
            fields = [ops.gather_rows(value, beside(value, rows)) for value in fields]
        return type(self.initial)(*fields)

    def _read(self, ids: Ids, examples: Ids) -> State:
        """The states of some vertices; -1 reads the initial state of its example."""
        there = np.flatnonzero(ids >= 0)
        places = self._blocks.places(there * 0, there, self._rows(ids[there]))
        read = self._blocks.reader(places.get(0, ()), examples, self.initial)
        return type(self.initial)(*map(read, range(len(self.fields))))

    def all(self) -> State:
        """The states of all vertices, [N, H], in the order of their ids."""
        return self._public(self.blocks)

    def rows(self, ids: Sequence[int] | Ids) -> State:
        """The states of some vertices, in the order given.

        Raises:
            StructureError: no such vertex, or no integers.
        """
        wanted = ints("ids", np.ravel(ids), kinds="iu")
        wrong = wanted[(wanted < 0) | (wanted >= self.size)]
        if len(wrong):
            raise StructureError(f"vertex {wrong[0]} does not exist; ids go from 0 to {self.size - 1}")
        return self._read(wanted, wanted * 0)

    def roots(self) -> State:
        """The states of the vertices that no other one reads, in the order of their ids."""
        return self.rows(self.structure.ends)

    def last(self) -> State:
        """The final state of each example [B, H]: the one vertex that no other reads; an empty example's is initial.

        Raises:
            StructureError: an example has several such vertices; use `roots`.
        """
        return self._read(final := self.structure.finals, np.arange(len(final)))

    @property
    def state_grad(self) -> State:
        """dL/dstate of every vertex by public id, after `backward()`; needs keep=("state_grad",).

        (`tg.grad` walks only the ways to its inputs: states beside them have zeros here.)

        It is the gradient of each state as the cell returns it, by way of whatever reads it afterwards: where h is
        computed from c inside the cell, that way from c is not in the gradient of c.
        """
        if self._kept.states is None:
            raise ValueError('state gradients were not kept; unfold with keep=("state_grad",)')
        return self._public(self._kept.states.of(self.blocks))

    def parameter_grad(self, parameter: Tensor) -> Tensor:
        """The gradient of a parameter by level, [levels, *shape], after a backward pass: the W^(t), whose sum is .grad
        (as far as it goes through the cell).

        Several backward passes add up, as in .grad.

        Needs keep=("parameter_grad",).
        """
        if self._kept.parameters is None:
            raise ValueError('parameter gradients were not kept; unfold with keep=("parameter_grad",)')
        return self._kept.parameters.of(parameter, self.levels)


def unfold(
    cell: Cell | Mapping[int, Cell],
    structure: Structure,
    inputs: Any,
    context: Any = None,
    initial: State | None = None,
    keep: Sequence[str] = (),
) -> Unfolding:
    """Compute every vertex of a structure with a cell, level by level.

    Args:
        cell: the cell, or {kind: cell}.
        structure: what depends on what.
        inputs: rows for all vertices [N, I], or (ids [M], rows [M, I]) for those that have one. A vertex without input
            reads zeros, which are never multiplied. None: no vertex has one, and x is [n, 0]. Rows may be a Tensor, an
            array, which keeps its dtype, or nested lists.
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
    run, schedule, ids, rows = begin(cell, structure, inputs, context, initial, keep)
    if Unfolding.program is None or not Unfolding.program(run, structure, schedule, ids, rows):
        step_through(run, schedule, ids, rows)
    return run


def step_through(run: Unfolding, schedule: Schedule, ids: Ids, rows: Tensor | None) -> None:
    """Call the cells level by level: what an unfolding means, and what a program of it must equal."""
    pieces = cut_to_calls(schedule, ids, rows)
    with without_collections():
        for i, (call, x) in enumerate(zip(schedule.runs, pieces, strict=True)):
            if run._cells.of(call.kind)[0].arity is None:
                places, segments = schedule.edges[i]
                run._run(call, x, {0: places}, segments)
            else:
                run._run(call, x, schedule.slots[i], None)


def begin(
    cell: Cell | Mapping[int, Cell],
    structure: Structure,
    inputs: Any,
    context: Any,
    initial: State | None,
    keep: Sequence[str],
    seed: int | None = None,
) -> tuple[Unfolding, Schedule, Ids, Tensor | None]:
    """(an unfolding of which nothing is computed yet, its calls, the vertices that have an input, their rows)."""
    run = Unfolding(cell, context, initial, keep, structure, seed)
    run._cells.check(structure)
    check_context(run.context, structure.examples)
    ids, rows = ids_and_rows(inputs, structure)
    schedule = plan(structure, ids)
    run._rank = schedule.rank
    if rows is not None:
        run._take(rows)
    return run, schedule, ids, rows
