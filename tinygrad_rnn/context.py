"""Contexts: what an example gives to all its vertices beside their inputs, such as the rows that attention reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import backend, ops
from .cell import Multiset
from .structure import Ids, StructureError, ranges
from .tensor import Tensor


class Ragged(NamedTuple):
    """A context of its own length per example: the rows of all examples one behind the other, and the lengths [B]."""

    rows: Tensor
    lengths: Sequence[int] | Ids


def as_context(context: Any) -> Any:
    """A context with Tensors in place of arrays."""
    if isinstance(context, Ragged):
        return context._replace(rows=as_context(context.rows))
    if isinstance(context, Mapping):
        return {name: as_context(value) for name, value in context.items()}
    if isinstance(context, tuple):
        values = map(as_context, context)
        return type(context)(*values) if hasattr(context, "_fields") else tuple(values)
    return ops.asarray(context) if backend.known(context) else context


def check_context(context: Any, examples: int) -> None:
    """Refuse a context whose Tensors have not a row for each example.

    Raises:
        StructureError: the message says where in a tuple or a dict it is.
    """
    waiting = [("", context)]
    for where, part in waiting:  # which grows as it is read
        if isinstance(part, Ragged) and len(part.lengths) != examples:
            raise StructureError(f"the context{where} has {len(part.lengths)} lengths for {examples} examples")
        if isinstance(part, Tensor) and part.data.shape[:1] != (examples,):
            rows = len(part) if part.ndim else "no"
            raise StructureError(f"the context{where} has {rows} rows for {examples} examples")
        if isinstance(part, Mapping):
            waiting += [(f"{where}[{name!r}]", value) for name, value in part.items()]
        elif isinstance(part, tuple) and not isinstance(part, Ragged):
            waiting += [(f"{where}[{i}]", value) for i, value in enumerate(part)]


def context_of(context: Any, examples: Ids) -> Any:
    """The context of n vertices that belong to these examples, [n].

    Returns:
        a row for each vertex of a Tensor of B rows, a Multiset of a Ragged, and so on inside a tuple or a dict.

    Raises:
        ValueError: a Ragged has not as many lengths or rows as it needs.
        TypeError: it is no context.
    """
    if isinstance(context, Tensor):
        return ops.gather_rows(context, ops.asarray(examples, device=context.device))
    if isinstance(context, Ragged):
        return _of_ragged(context, examples)
    if isinstance(context, Mapping):
        return {name: context_of(value, examples) for name, value in context.items()}
    if isinstance(context, tuple):
        values = [context_of(value, examples) for value in context]
        return type(context)(*values) if hasattr(context, "_fields") else tuple(values)
    raise TypeError(f"a context is a Tensor of B rows, a Ragged, or a tuple or dict of these, not {type(context)}")


def _of_ragged(context: Ragged, examples: Ids) -> Multiset:
    lengths = np.asarray(context.lengths, np.int64)
    needed = examples.max(initial=-1) + 1
    if lengths.sum() != len(context.rows) or len(lengths) < needed:
        raise ValueError(
            f"a ragged context has {len(context.rows)} rows for {len(lengths)} lengths that sum to "
            f"{lengths.sum()}; it needs one length for each of at least {needed} examples"
        )
    counts = lengths[examples]
    index = ranges((np.cumsum(lengths) - lengths)[examples], counts)
    segments = np.repeat(np.arange(len(examples)), counts)
    device = context.rows.device
    each = ops.gather_rows(context.rows, ops.asarray(index, device=device))
    return Multiset(each, ops.asarray(segments, device=device).data, len(examples))
