"""Matrix products that share an operand made one, as whoever writes one matrix for all gates has them.

The graph of a trace is made anew, three times. Where products of several rows are only added up, the rows are put side
by side and the weights one below the other: a @ V + b @ W = [a, b] @ [V; W]. Where the same rows meet several weights,
these are put side by side, and each product is a cut of the wide one. Sums over rows, the gradients of weights and
biases, are joined likewise. Weights are put together once in a run. Only products of one section of the plan are
joined, so that none is drawn into the loop; and rows are copied for it only where that is less than what is saved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .graph import LEAVES, PARAMETER, SUMS, Graph, Untraceable, Value, ancestors, dependents, users
from .plan import lane, parts
from .trace import XP, Trace

New = dict[Value, Any]  # what each Value has become; None: a product that is done as a part of another
Make = Callable[[New], Any]
FORWARD = 2  # the last section of the forward pass


def merged(trace: Trace, recurrent: frozenset[int]) -> Trace:
    """A trace of the same meaning with fewer products, or the trace itself; `recurrent` as for `plan.make`."""
    for find in (_added, _wide, _summed):
        made = find(trace, _Rows(trace, recurrent))
        try:
            trace = _again(trace, made) if made else trace
        except Untraceable:
            continue  # together they are as wide as the number that stands for rows
    return trace


class _Rows:
    """Where the Values of a trace are computed, and which rows stand side by side already."""

    def __init__(self, trace: Trace, recurrent: frozenset[int]) -> None:
        self.order = ancestors(trace.outputs)
        self.section = {v: i for i, part in enumerate(parts(trace, recurrent)) for v in part}
        self.products = [v for v in self.order if v in self.section and v.op == "matmul" and v.ndim == 2
                         and v.args[1].domain == PARAMETER]  # fmt: skip
        wholes = [v for v in self.section if v.op == "concat" and v.ndim == 2 and len({*v.values}) == len(v.values)]
        self.beside: dict[frozenset[Value], Sequence[Value]] = {frozenset(v.values): v.values for v in wholes}

    def copied(self, rows: Iterable[Value], section: int) -> int:
        """How many elements of a row must be copied to have these side by side; the others are computed there."""
        if frozenset(rows) in self.beside:
            return 0
        return sum(a.width for a in rows if not lane(a) or a.is_view or self.section[a] != section)


def _added(trace: Trace, rows: _Rows) -> dict[Value, Make]:
    """Products of different rows with different weights that are only added up."""
    used, outputs = users(rows.order), set(trace.outputs)
    total: dict[Value, Value] = {}  # the last of the additions that a Value goes through
    for v in reversed(rows.order):
        mine = used.get(v, [])
        if len(mine) == 1 and v not in outputs and mine[0].op == "add" and mine[0].shape == v.shape:
            total[v] = total.get(mine[0], mine[0])
    sums: dict[Any, list[Value]] = {}
    for v in rows.products:
        sums.setdefault((rows.section[v], total.get(v, v), v.dtype, v.args[1].dtype), []).append(v)
    alike: dict[Any, list[list[Value]]] = {}  # sums of products of the same rows
    for (section, *_), members in sorted(sums.items(), key=lambda item: item[0][0]):
        alike.setdefault((section, frozenset(v.args[0] for v in members)), []).append(members)
    made: dict[Value, Make] = {}
    for (section, left), several in alike.items():
        # All products of a sum can become one, or all of the same rows: whatever leaves fewer.
        near = [other for place, other in alike if place == section and left & other]
        saved = (len(left) - 1) * sum(members[0].width for members in several)
        if len(near) >= len(frozenset().union(*near)) or rows.copied(left, section) > saved:
            continue
        # Backward, what was computed last comes first: so the weights lie in the order in which they are used forward.
        order = rows.beside.setdefault(left, sorted(left, key=lambda a: a.number, reverse=section > FORWARD))
        for members in several:
            if len(members) == len(left):
                made.update(dict.fromkeys(members, lambda new: None))
                weight = {v.args[0]: v.args[1] for v in members}
                made[members[-1]] = _product(order, [weight[a] for a in order], 0)
    return made


def _wide(trace: Trace, rows: _Rows) -> dict[Value, Make]:
    """Products of the same rows with different weights."""
    groups: dict[Any, list[Value]] = {}
    used, states = users(rows.order), set(trace.states)
    for v in rows.products:
        # States need arrays of their own, and whatever reads more than single columns is better off with one.
        if v not in states and all(lane(u) for u in used.get(v, ())):
            groups.setdefault((rows.section[v], v.args[0], v.args[1].dtype), []).append(v)
    made: dict[Value, Make] = {}
    for (_, a, _), members in groups.items():
        if len(members) > 1:
            made |= _cuts(members, 1, _product([a], [v.args[1] for v in members], 1))
    return made


def _product(rows: Sequence[Value], weights: Sequence[Value], axis: int) -> Make:
    """Rows beside each other times weights along an axis."""

    def make(new: New) -> Value:
        mine = [new[w] for w in weights]
        if all(w.op == "permute_dims" for w in mine):  # as they lie: that copies whole rows, and once for both passes
            whole = XP.permute_dims(XP.concat([w.values[0] for w in mine], axis=1 - axis), (1, 0))
        else:
            whole = XP.concat(mine, axis=axis)
        return XP.matmul(_beside(rows, new), whole)

    return make


def _summed(trace: Trace, rows: _Rows) -> dict[Value, Make]:
    """Sums over rows that stand side by side: of them alone, and of their products with the same other rows."""
    sums: dict[Any, dict[Value, Value]] = {}  # by the other rows of the product, the sum of each
    for v in rows.order:
        if v.op == "sum_rows" and v.ndim == 2:
            sums.setdefault((None, 1, v.dtype), {})[v.args[0]] = v
        for side in (0, 1) if v.op == "contract" else ():
            a, other = v.args[side], v.args[1 - side]
            sums.setdefault((other, side, a.dtype, rows.section[v]), {})[a] = v
    for (other, *_, section), by in sums.items():
        if other is not None and not rows.copied(by, section):
            rows.beside.setdefault(frozenset(by), list(by))
    found = [(order, key, by) for key, by in sums.items() for order in rows.beside.values() if set(order) <= set(by)]
    made: dict[Value, Make] = {}
    for order, (other, side, *_), by in sorted(found, key=lambda item: -len(item[0])):
        members = [by[a] for a in order]
        if len(members) > 1 and not any(v in made for v in members):
            made |= _cuts(members, side, _over_rows(order, side, other))
    return made


def _over_rows(order: Sequence[Value], side: int, other: Value | None) -> Make:
    if other is None:
        return lambda new: XP.sum(_beside(order, new), axis=0, keepdims=True)
    if side:
        return lambda new: XP.matmul(new[other].T, _beside(order, new))
    return lambda new: XP.matmul(_beside(order, new).T, new[other])


def _cuts(members: Sequence[Value], axis: int, whole: Make) -> dict[Value, Make]:
    """Values as what is cut, one behind the other, out of a whole; which a graph holds once."""
    made: dict[Value, Make] = {}
    at = 0
    for v in members:
        key = (*[slice(None)] * axis, slice(at, at + v.shape[axis]))
        made[v] = lambda new, key=key: whole(new)[key]  # type: ignore[misc]
        at += v.shape[axis]
    return made


def _beside(order: Sequence[Value], new: New) -> Value:
    return XP.concat([new[a] for a in order], axis=1)


def _again(trace: Trace, made: dict[Value, Make]) -> Trace:
    """The trace in a new graph, with some of its Values made in another way."""
    old = trace.graph
    XP.graph = Graph(old.rows, old.edges, XP)
    leaves = [v for v in old.values if v.op in LEAVES]  # those that nobody reads too: random ones are drawn in any case
    needed = {*ancestors(trace.outputs), *leaves}
    summed = dependents([v for v in old.values if v.op in SUMS], old.values)
    new: New = {}
    # Weights before what is multiplied with them, and all rows before what is summed over them.
    for v in sorted(needed, key=lambda v: (v in summed, v.domain != PARAMETER, v.number)):
        new[v] = made[v](new) if v in made else _copy(v, new)
    return Trace(
        XP.graph, trace.fields, [new[v] for v in trace.states], {f: new[v] for f, v in trace.seeds.items()},
        {key: new[v] for key, v in trace.gradients.items()},
    )  # fmt: skip


def _copy(v: Value, new: New) -> Any:
    """A Value in the new graph; a cut of a cut as one, and sums without what is done as a part of another."""
    args = [new[a] if isinstance(a, Value) else a for a in v.args]
    if v.op == "add" and any(a is None for a in args):
        return args[0] if args[1] is None else args[1]
    if v.op == "cut":
        axis, start, stop = v.options
        return args[0][(*[slice(None)] * axis, slice(start, stop))]
    return XP.graph.value(v.op, tuple(args), v.options, v.shape, v.dtype)
