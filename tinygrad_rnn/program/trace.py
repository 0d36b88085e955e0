"""Tracing: a cell called once on stand-ins, and the derivative of what it did, as one graph.

The tape records the call like any other and walks it back by its own table of derivatives; only the arrays are Values.
A second call with other numbers of rows must give the same graph: then the cell is a function of its rows, whatever
their number, and the graph may stand for it.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import backend, tape
from ..cell import Cell, Kids, States
from ..tape import Leaf
from ..tensor import Tensor
from .capture import Reach
from .graph import LEAVES, PARAMETER, READS, SUMS, Graph, Passing, Untraceable, Value, ancestors
from .tracer import Tracer

# Stand for the numbers of vertices and of edges, in two traces: those that no width is a multiple of.
PRIMES = (1009, 1013, 2003, 2011, 3001, 3011, 4001, 4003, 5003, 5009, 6007, 6011)
PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"
XP = Tracer()
backend.stand_ins(Value, XP)


class Spec(NamedTuple):
    """What a trace knows of a Tensor: the shape of a row (a parameter's whole shape), the dtype, if it is recorded."""

    shape: tuple[int, ...]
    dtype: str
    recorded: bool


class Signature(NamedTuple):
    """What a trace depends on, beside what the cell reaches.

    `slots` tells which slots are filled (of a cell of multisets: whether there are edges), the others being empty
    throughout and 0; `context` is the tree of its Specs.
    """

    x: Spec | None  # None: no vertex has an input
    missing: tuple[tuple[int, ...], str]  # the width and dtype of x then
    slots: tuple[bool, ...]
    states: tuple[Spec, ...]
    parameters: tuple[Spec, ...]
    context: Any
    recorded: bool


@dataclass
class Trace:
    """A cell as a graph: its state, and the gradients of all that it read, by the gradient of its state."""

    graph: Graph
    fields: tuple[str, ...]
    states: list[Value] = field(default_factory=list)
    seeds: dict[int, Value] = field(default_factory=dict)  # the gradient of each field of the state
    gradients: dict[Any, Value] = field(default_factory=dict)  # by what was read, the key of its leaf Value
    machines: dict[Any, Any] = field(default_factory=dict)  # made of it, by the fields of the state that are read

    @property
    def reads(self) -> list[Value]:
        """The states of predecessors that are read."""
        return [v for v in self.graph.values if v.op in READS]

    @property
    def outputs(self) -> list[Value]:
        """All that is computed."""
        return [*self.states, *self.gradients.values()]


def trace(cell: Cell, reach: Reach, signature: Signature, fields: tuple[str, ...]) -> Trace:
    """The graph of a cell.

    Raises:
        Untraceable: it can't be traced; the message says why.
    """
    coins, misses = _coins(), reach.misses()
    try:
        restore = reach.note(cell)
    except Exception as error:
        raise Untraceable(f"no copy of what it reaches can be made ({type(error).__name__}: {error})") from None
    same = reach.valid()
    try:
        a, b, c, d = _primes(signature)
        first, second = (_trace(cell, reach, signature, fields, *pair) for pair in ((a, b), (c, d)))
    except Untraceable as error:
        raise Untraceable(f"{error}{_line(error)}") from None
    except backend.DeviceError as error:  # a stand-in has met an array
        raise Untraceable(f"it reads an array that it can't find again ({error}){_line(error)}") from None
    except Exception as error:  # what is wrong with the cell it is told when it runs eagerly
        raise Untraceable(f"it raises {type(error).__name__}: {error}{_line(error)}") from None
    finally:
        written, cached = restore(), reach.cached(misses)
    if cached:
        raise Passing("it calls a function that remembers results, for the first time")
    if written:
        raise Untraceable("it changes an object, a list or a dict that it reaches")
    if same and not reach.valid():
        raise Untraceable("it changes a class, a module or a variable that it reaches")
    if coins != _coins() and reach.draws():  # and no other thread
        raise Untraceable("it draws from Python's or NumPy's own random numbers")
    if first.graph.canonical(first.outputs) != second.graph.canonical(second.outputs):
        raise Untraceable("two traces of it differ: it depends on the number of rows, or on something that changes")
    return first


def _coins() -> tuple[Any, ...]:
    """Where the shared random numbers of Python and NumPy stand."""
    state: Any = np.random.get_state(legacy=False)
    numbers = [v.tobytes() if isinstance(v, np.ndarray) else v for v in state["state"].values()]
    return random.getstate(), state.get("has_gauss"), *numbers


def _primes(signature: Signature) -> list[int]:
    """Four numbers of rows that can be told from the widths of what a cell is given."""
    specs = [s for s in (signature.x, *signature.states, *signature.parameters) if s is not None]
    widths = {n for spec in specs for n in spec.shape} | {*signature.missing[0]}
    return [p for p in PRIMES if not any(n and n % p == 0 for n in widths)][:4]


def _line(error: Exception) -> str:
    """Where in the cell an error came from: its innermost line that is not this package's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(PACKAGE)]
    return f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""


class _Draws:
    """In place of an unfolding's random streams: each draw is a Value, the k-th site drawing from the k-th stream."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.site = graph, -1

    def next(self) -> _Draws:
        """The stream of the next site."""
        self.site += 1
        return self

    def _draw(self, method: str, shape: Any, dtype: Any, *args: Any) -> Value:
        lengths = (shape,) if isinstance(shape, int) else tuple(shape)
        if lengths[:1] == (0,):  # of edges where there are none
            return self.graph.xp.full(lengths, 0, dtype=dtype)
        value = self.graph.value("random", (), (self.site, method, args), lengths, dtype)
        if value.domain == PARAMETER:
            raise Untraceable("it draws random numbers that are not one row per vertex")
        return value

    def random(self, shape: Any, dtype: Any = np.float64) -> Value:
        """Even between 0 and 1."""
        return self._draw("random", shape, dtype)

    def standard_normal(self, shape: Any, dtype: Any = np.float64) -> Value:
        """Normal."""
        return self._draw("standard_normal", shape, dtype)

    def integers(self, low: int, high: int, shape: Any) -> Value:
        """Integers from low to high - 1."""
        return self._draw("integers", shape, np.int64, low, high)


def _trace(cell: Cell, reach: Reach, signature: Signature, fields: tuple[str, ...], rows: int, edges: int) -> Trace:
    graph = XP.graph = Graph(rows, edges, XP)
    found = Trace(graph, fields)
    leaves: dict[Any, Tensor] = {}
    stand_ins: list[tuple[Tensor, Value]] = []

    def leaf(key: tuple[Any, ...], lead: tuple[int, ...], spec: Spec) -> Tensor:
        value = graph.value(key[0], (), key[1:], (*lead, *spec.shape), spec.dtype)
        tensor = Tensor(value, Leaf(value.shape) if spec.recorded else None)
        stand_ins.append((tensor, value))
        if spec.recorded:
            leaves[key] = tensor
        return tensor

    def reader(key: tuple[Any, ...], filled: bool, count: int) -> Callable[[int], Tensor]:
        def read(f: int) -> Tensor:
            spec = signature.states[f]
            return leaf((*key, f), (count,), spec) if filled else Tensor(XP.zeros((count, *spec.shape), spec.dtype))

        return read

    def context(tree: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(tree, Spec):
            return leaf(("context", *path), (rows,), tree)
        if isinstance(tree, dict):
            return {name: context(part, (*path, name)) for name, part in tree.items()}
        parts = [context(part, (*path, i)) for i, part in enumerate(tree)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)

    x = Tensor(XP.zeros((rows, *signature.missing[0]), signature.missing[1]))
    if signature.x is not None:
        x = leaf(("input",), (rows,), signature.x)
    if reach.arity is None:
        count = edges if signature.slots[0] else 0
        segments = graph.value("segments", (), (), (count,), np.int64)
        kids = Kids(fields, (), States(fields, reader(("each",), count > 0, count)), segments, rows)
    else:
        slots = [reader(("kid", k), filled, rows) for k, filled in enumerate(signature.slots)]
        kids = Kids(fields, slots, None, None, rows)
    twin = reach.twin(cell, lambda i: leaf(("parameter", i), (), signature.parameters[i]))
    with _tracing(graph, signature.recorded):
        since = tape.next_serial()
        given = () if signature.context is None else (context(signature.context, ()),)
        state = twin.cell(x, kids, *given)
        if twin.written() or any(t.data is not value for t, value in stand_ins):
            raise Untraceable("it writes to an attribute, or to a variable outside")
        found.states = _states(state, signature, fields, rows)
        if any(v.op in SUMS for v in ancestors(found.states)):
            raise Untraceable("it sums over rows: a cell must leave axis 0 as it is")
        recorded = [(f, value.node) for f, value in enumerate(state) if value.node is not None]
        if any(node in tape.hooked for node in tape.reachable([n for _, n in recorded], since)):
            raise Untraceable("it has a hook on a Tensor")
        for f, _ in recorded:
            found.seeds[f] = graph.value("gradient", (), (f,), found.states[f].shape, found.states[f].dtype)
        seeds = [_as_returned(found.seeds[f], state[f].data) for f, _ in recorded]
        wanted = [t.node for t in leaves.values() if t.node is not None]
        gradients = tape.run_backward([n for _, n in recorded], seeds, wanted, True, False)
        found.gradients = {key: gradients[t.node] for key, t in leaves.items() if t.node in gradients}
    return found


def _states(state: Any, signature: Signature, fields: tuple[str, ...], rows: int) -> list[Value]:
    """The state that a cell gave, a row for each vertex.

    Raises:
        Untraceable: it is not of the kind that the cell takes; run eagerly, the cell is told so.
    """
    if getattr(state, "_fields", None) != fields:
        raise Untraceable("it does not return the state that it takes")
    found: list[Value] = []
    for value, spec in zip(state, signature.states, strict=True):
        array = XP.asarray(value.data)
        if array.shape[1:] != spec.shape or array.shape[0] not in (rows, 1) or array.dtype != spec.dtype:
            raise Untraceable("it returns a state of another shape or dtype than it takes")
        array = XP.broadcast_to(array, (rows, *spec.shape))
        if array.op in LEAVES or array.is_view or any(array is other for other in found):
            array = array.graph.value(
                "positive", (array,), (len(found),), array.shape, array.dtype
            )  # an array of its own
        found.append(array)
    return found


def _as_returned(seed: Value, returned: Value) -> Value:
    """The gradient of a state that the cell returned as one row, for all."""
    return seed if seed.shape == returned.shape else XP.sum(seed, axis=0, keepdims=True)


@contextmanager
def _tracing(graph: Graph, recorded: bool) -> Iterator[None]:
    """Inside, what the thread makes are Values, and what it draws too; anomalies are not looked for."""
    now = tape.thread.now
    before = now.scope, now.streams, now.recording, now.anomaly
    now.scope, now.streams = None, _Draws(graph)
    now.set_mode(recorded, False)
    try:
        with backend.standing_in(XP):
            yield
    finally:
        now.scope, now.streams = before[:2]
        now.set_mode(*before[2:])
