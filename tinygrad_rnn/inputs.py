"""Inputs: which vertices have one, and the rows that each call of a cell gets."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from . import ops
from .blocks import beside
from .schedule import Schedule
from .structure import Ids, Structure, StructureError, ints
from .tensor import Tensor


class Missing:
    """The inputs of vertices that have none: one row of zeros, repeated, which a product multiplies once."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self._made: Tensor | None = None

    def rows(self, count: int, device: str) -> Tensor:
        """So many of them."""
        if self._made is None or len(self._made.data) < count:
            row = ops.zeros((1, *self.shape), dtype=self.dtype, device=device)
            self._made = ops.broadcast_to(row, (count, *self.shape))
        return Tensor(self._made.data[:count])


def rows_of(given: Any) -> Tensor:
    """Rows as a Tensor: arrays and lists on the default device.

    Raises:
        StructureError: numbers without a width, which would be added to every row; ids may be [N].
    """
    rows = given if isinstance(given, Tensor) else ops.asarray(given)
    if rows.data.ndim == 1 and rows.data.size and rows.data.dtype.kind not in "iu":
        raise StructureError(f"inputs are rows [N, I], not {list(rows.shape)}; of numbers make rows of one, x[:, None]")
    return rows


def ids_and_rows(inputs: Any, structure: Structure) -> tuple[Ids, Tensor | None]:
    """(the vertices that have an input, the rows of their inputs if any has).

    Raises:
        StructureError: not as many rows as vertices or ids, an id out of range or given twice.
    """
    size = structure.size
    if inputs is None:
        return np.zeros(0, np.int64), None
    rows = rows_of(inputs[1] if isinstance(inputs, tuple) else inputs)
    if not isinstance(inputs, tuple):
        if len(rows) != size:
            raise StructureError(f"{len(rows)} input rows for {size} vertices; give (ids, rows) if some have no input")
        return structure.ids, rows
    ids = ints("the inputs' ids", inputs[0].numpy() if isinstance(inputs[0], Tensor) else inputs[0], kinds="iu")
    if len(ids) != len(rows):
        raise StructureError(f"{len(ids)} vertex ids for {len(rows)} input rows")
    wrong = ids[(ids < 0) | (ids >= size)]
    if len(wrong):
        raise StructureError(f"the inputs name vertex {wrong[0]}; ids go from 0 to {size - 1}")
    if len(np.unique(ids)) < len(ids):
        raise StructureError("the inputs name a vertex twice; each vertex has one input")
    return ids, rows


def examples_of(given: Any, start: int, count: int) -> Ids:
    """The examples of new vertices, from id `start` on.

    Raises:
        StructureError: they are not as many integers from 0.
    """
    examples = ints("examples", given, count, kinds="iu")
    if examples.min(initial=0) < 0:
        raise StructureError(f"vertex {start + int(examples.argmin())}: there is no example {examples.min()}")
    return examples


def lists_of(predecessors: Any, arity: int | None) -> list[list[int]]:
    """The ids of the predecessors of each new vertex; with one slot, single ids will do.

    Raises:
        StructureError: they are no integers, or not a list for each vertex.
    """
    try:
        if arity == 1 and len(predecessors) and np.ndim(predecessors[0]) == 0:
            predecessors = [[own] for own in predecessors]
        return [list(map(operator.index, own)) for own in predecessors]
    except TypeError as error:
        raise StructureError(
            f"predecessors are a list of ids for each new vertex, [n, arity] with -1 for an empty slot: {error}"
        ) from error


def cut_to_calls(schedule: Schedule, ids: Ids, rows: Tensor | None) -> list[Tensor | None]:
    """The input rows of each call, cut from one Tensor in internal order."""
    if rows is None or not schedule.runs:
        return [None] * len(schedule.runs)
    row_of = np.full(len(schedule.order), -1)
    row_of[ids] = np.arange(len(ids))
    order = row_of[schedule.order]
    order = order[order >= 0]
    if (order[1:] < order[:-1]).any():  # distinct numbers that rise are in order
        rows = ops.gather_rows(rows, beside(rows, order))
    pieces = ops.split(rows, [len(c.examples) if c.has_input else 0 for c in schedule.runs], axis=0)
    return [x if c.has_input else None for c, x in zip(schedule.runs, pieces, strict=True)]
