"""Contexts: what an example gives to all its vertices beside their inputs, such as the rows that attention reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import backend, ops
from .cell import Multiset
from .structure import Ids, StructureError, ints, ranges
from .tensor import Tensor


class Ragged(NamedTuple):
    """A context of its own length per example: the rows of all examples one behind the other, and the lengths [B]."""

    rows: Tensor
    lengths: Sequence[int] | Ids


def mapped(function: Callable[[Any], Any], context: Any) -> Any:
    """A context with a function of each of its parts, those inside tuples and dicts, in their place."""
    if isinstance(context, Mapping):
        return {name: mapped(function, part) for name, part in context.items()}
    if isinstance(context, tuple) and not isinstance(context, Ragged):
        parts = [mapped(function, part) for part in context]
        return type(context)(*parts) if hasattr(context, "_fields") else tuple(parts)
    return function(context)


def as_tensors(part: Any) -> Any:
    """A part of a context with Tensors in place of arrays."""
    if isinstance(part, Ragged):
        return part._replace(rows=part.rows if isinstance(part.rows, Tensor) else ops.asarray(part.rows))
    return ops.asarray(part) if backend.known(part) else part


def check_context(context: Any, examples: int) -> None:
    """Refuse a context whose Tensors have not a row for each example.

    Raises:
        StructureError: the message says where in a tuple or a dict it is.
    """
    waiting = [] if context is None else [("", context)]
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


def rows_for(part: Any, examples: Ids) -> Any:
    """A part of a context for n vertices that belong to these examples, [n].

    Returns:
        a row for each vertex of a Tensor of B rows, a Multiset of a Ragged.

    Raises:
        ValueError: a Ragged has not as many lengths or rows as it needs.
        TypeError: it is no context.
    """
    if isinstance(part, Tensor):
        return ops.gather_rows(part, ops.asarray(examples, device=part.device))
    if isinstance(part, Ragged):
        return _of_ragged(part, examples)
    raise TypeError(f"a context is a Tensor of B rows, a Ragged, or a tuple or dict of these, not {type(part)}")


def _of_ragged(context: Ragged, examples: Ids) -> Multiset:
    lengths = ints("the lengths of a ragged context", np.asarray(context.lengths), kinds="iu")
    needed = examples.max(initial=-1) + 1
    if lengths.sum() != len(context.rows) or len(lengths) < needed or (lengths < 0).any():
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
