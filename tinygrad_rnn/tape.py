"""The tape: nodes, the table row that differentiates each, and one walk backwards. It knows nothing of structures.

A `Node` is what a recorded operation leaves behind: its parents, its row of the table of derivatives, what that row
needs saved, a creation serial and the scope it was made in. Tensors own nodes and nodes own parents; there is no list
of all nodes, so whatever is never differentiated frees itself. Since a node is created after its parents, falling
serials are an order in which every node comes before its parents: no topological sort is needed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from . import backend, writes
from .anomaly import AnomalyError, check_finite, detect_anomaly, refuse_non_finite
from .gradient import Bag, Gradient, Part, Product, Rows, add_gradients, unbroadcast
from .hooks import add_hook, hooked, run_hooks
from .native.functions import FASTER
from .now import Scope, next_serial, set_recording, thread
from .writes import wrote

# The rooms below are the tape's own: who stands above it finds their names here.
__all__ = [
    "LEAF", "AnomalyError", "GraphError", "Leaf", "Node", "Row", "Rows", "Scope", "Vjp", "add_hook", "check_finite",
    "detect_anomaly", "hooked", "next_serial", "reachable", "run_backward", "set_recording", "thread", "wrote",
]  # fmt: skip

Vjp = Any  # a function (xp, g, *saved) -> gradient


class Row:
    """One row of the table of derivatives.

    Args:
        name: the op's name, which is also the name of the function of `xp` that computes it.
        tensors: the names of the op's differentiable arguments, in the order of the node's parents.
        vjps: one function per argument, `(xp, g, *saved) -> gradient`, or None where there is no derivative; the node
            has as many parents, None where an argument was left out, and saves as many things as the functions name.
        joint: in place of `vjps`, one function `(xp, g, needed, *saved) -> gradients` for ops of many arguments;
            needed[i] tells whether argument i wants its gradient.

    The parameter names after `g` (`needed`) say what is saved: "out" is the result, a name in `tensors` that argument
    (a name that ends in "s" with `joint`: the sequence of all arguments), anything else a constant. When the backward
    pass is recorded, arguments and result come back as Tensors of the graph.
    """

    __slots__ = ("exact", "holds", "joint", "keeps_out", "keeps_tensors", "name", "on_numpy", "places", "roles", "vjps")

    def __init__(self, name: str, tensors: tuple[str, ...], vjps: tuple[Any, ...] = (), joint: Any = None) -> None:
        self.name, self.vjps, self.joint, self.places = name, vjps, joint, tuple(range(len(vjps)))
        self.exact = len(tensors) < 2 and name != "broadcast_to"  # so that no gradient needs summing
        self.on_numpy: Any = FASTER.get(name) or getattr(backend.NUMPY, name, None)  # found once for the hot path
        code = (joint or next(v for v in vjps if v is not None)).__code__
        saved = code.co_varnames[3 if joint else 2 : code.co_argcount]
        # -1: the result, -2: a constant, -3: the sequence of all arguments, else the argument's position.
        roles = {"out": -1, "tensors": -3} | {n: i for i, n in enumerate(tensors)}
        self.roles = tuple(roles.get(n, -2) for n in saved)
        self.holds, self.keeps_out, self.keeps_tensors = len(saved), -1 in self.roles, max(self.roles, default=-1) >= 0


class Node:
    """What a recorded operation leaves on the tape. `saved` is None once a backward pass has freed it.

    `shape` is the result's. An operation of several results has None, and one "output" node for each result as its
    dependents: its own gradient is a dict {number of the result: gradient}.
    """

    __slots__ = ("__weakref__", "hooks", "parents", "row", "saved", "scope", "serial", "shape")

    hooks: dict[Any, Callable[[Any], Any]]  # unset on the many nodes that have none

    def __init__(
        self,
        row: Row,
        parents: tuple[Node | None, ...],
        saved: tuple[Any, ...] | None,
        shape: tuple[int, ...] | None,
        scope: Scope | None = None,
    ) -> None:
        self.row = row
        self.parents = parents
        self.saved = saved
        self.shape = shape
        self.scope = scope
        self.serial = next_serial()

    def __str__(self) -> str:
        """For messages: 'tanh (result shape (2, 3), cell TreeLSTM, level 3)'."""
        result = "several results" if self.shape is None else f"result shape {self.shape}"
        return f"{self.row.name} ({result}{f', {self.scope}' if self.scope else ''})"

    def __repr__(self) -> str:
        return f"<Node {self.row.name} {self.shape} #{self.serial}{f' in {self.scope}' if self.scope else ''}>"


LEAF = Row("leaf", (), (lambda xp, g: g,))


# One tuple for equal shapes: elementwise ops hand it on, so that the walk knows by `is` what fits.
_one: Callable[[tuple[int, ...]], tuple[int, ...]] = lru_cache(maxsize=256)(tuple)


class Leaf(Node):
    """The node of a Tensor that gradients are accumulated for."""

    __slots__ = ("grad",)

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(LEAF, (), (), _one(shape))
        self.grad: Gradient | Rows | None = None


tensors: Any = None  # the third `xp`, whose functions take and give Tensors: the package binds its ops here


class GraphError(RuntimeError):
    """A graph that can't be differentiated: it was freed, or a saved array was written to since."""


def reachable(nodes: Iterable[Node], since: int = 0) -> list[Node]:
    """All nodes that `nodes` depend on, themselves included, by falling serial; none older than serial `since`."""
    order = list(dict.fromkeys(node for node in nodes if node.serial >= since))
    found = set(order)
    for node in order:  # which grows as it is read
        for parent in node.parents:
            if parent is not None and parent not in found and parent.serial >= since:
                found.add(parent)
                order.append(parent)
    order.sort(key=operator.attrgetter("serial"), reverse=True)  # found level by level, it is nearly sorted: linear
    return order


def _leading_to(order: Sequence[Node], targets: set[Node]) -> set[Node]:
    """The nodes of `order` (falling serials) that depend on a target, targets included."""
    leading = set(targets)
    for node in reversed(order):
        # Whatever lay beyond a freed node is not known any more: the walk goes there, and says so.
        if node not in leading and (node.saved is None or not leading.isdisjoint(node.parents)):
            leading.add(node)
    return leading


def _receive(grads: dict[Node, Any], parent: Node, c: Gradient, xp: Any, maker: str, scope: Scope | None) -> None:
    """Add to a parent's gradient what `maker`'s derivative gives, whatever its class and shape, and tell observers."""
    waits = c.__class__ is Part or c.__class__ is Product
    if thread.now.anomaly and c.__class__ is not Product:
        refuse_non_finite(c, f"the gradient that {maker} gives", scope)
    if not waits and c.shape != parent.shape:
        c = unbroadcast(xp, c, parent.shape)
    if scope is not None and scope.observer is not None and parent.__class__ is Leaf:
        scope.observer(xp, scope.level, parent, c)
    before = grads.get(parent)
    if before is None and c.__class__ is not Part:
        grads[parent] = c  # a product too: most stay alone
    elif waits or before.__class__ is Bag or before.__class__ is Product:
        if before.__class__ is not Bag:
            before = grads[parent] = Bag(before[0] if before.__class__ is list else before)
        before.add(c)
    elif before.__class__ is list:
        before[0] = before[0] + c
    else:
        grads[parent] = before + c if xp is tensors else [before + c]


def run_backward(
    outputs: Sequence[Node],
    gradients: Sequence[Gradient],
    inputs: Sequence[Node] | None,
    retain_graph: bool,
    create_graph: bool,
    since: int = 0,
) -> dict[Node, Gradient]:
    """The walk: vector-Jacobian products from `outputs` down, each node after all that depend on it.

    Args:
        outputs, gradients: where it starts, one gradient (array; Tensor with `create_graph`) each.
        inputs: the nodes whose gradients are wanted, only paths to them being walked; None: every leaf, whose gradient
            is added to `leaf.grad`.
        retain_graph: keep what the nodes saved, for another pass.
        create_graph: record the pass itself, in Tensors.
        since: nodes with lower serials are not walked; those among `inputs` are given their gradients.

    Returns:
        the gradients of `inputs` that were reached.

    Raises:
        GraphError: a node was freed by an earlier pass, or an array it saved was written to since.
        AnomalyError: under `detect_anomaly()`, a gradient is NaN or Inf.
    """
    partial, wanted = inputs is not None, set(inputs or ())
    order = reachable(outputs, since)
    leading: set[Node] = set()
    if partial:
        # Inputs older than `since` are ends, not ways on.
        order += sorted(wanted.difference(order), key=operator.attrgetter("serial"), reverse=True)
        leading = _leading_to(order, wanted)
    grads: dict[Node, Any] = {}  # a gradient by reference, [a fresh sum], which is ours to add to, a Product or a Bag
    results: dict[Node, Gradient] = {}
    hooks = hooked.data  # type: ignore[attr-defined]  # as a plain dict it is tested at no cost
    anomaly = thread.now.anomaly
    last_write = writes.last_write
    xp: Any = tensors if create_graph else None
    kind: Any = None  # the class of the gradients that come: it says which xp
    for node, g in zip(outputs, gradients, strict=True):
        _receive(grads, node, g, xp, "the seed", None)
    for node in order:
        g = grads.pop(node, None)
        if g is None:
            continue
        row = node.row
        if g.__class__ is not kind:
            if g.__class__ is list:
                g = g[0]
            elif g.__class__ is Product:
                g = g.dense()
            kind = g.__class__
            if kind is Bag:
                kind = None  # the next bag must be opened too
                xp = xp if create_graph else g.xp
                stays = row is LEAF and not partial and not create_graph and not (hooks and node in hooked)
                rows = g.rows(node.shape or ()) if stays else None
                g = g.total(xp, node.shape) if rows is None else rows
            elif not create_graph:
                xp = backend.of(g)
        if hooks and node in hooked and node.serial >= since:  # an end's hooks are run by who walks on
            g = run_hooks(node, g, tensors, create_graph)
        if anomaly and node.shape is not None:
            refuse_non_finite(g, f"the gradient that reaches {row.name}", node.scope)
        if partial:
            if node in wanted:
                results[node] = g
            if node.serial < since or ((node in wanted or node.saved is not None) and leading.isdisjoint(node.parents)):
                continue  # an end, or nothing that is wanted lies beyond: the node is not needed, nor freed
        elif row is LEAF:
            node.grad = add_gradients(node.grad, g)  # type: ignore[attr-defined]
            continue
        saved: Any = node.saved
        parents: Any = node.parents
        scope = node.scope
        if saved is None:
            raise GraphError(f"{node} was freed by an earlier backward pass; pass retain_graph=True to the first one")
        if node.serial < last_write:
            _refuse_stale(node)
        if create_graph:
            saved = _as_tensors(node)
        if row.vjps:
            watched = anomaly or (scope is not None and scope.observer is not None)
            kept, exact, shape = row.holds, row.exact, node.shape
            for i in row.places:  # a zip would cost more than a derivative's call
                vjp, parent = row.vjps[i], parents[i]
                if parent is None or (partial and parent not in leading):
                    continue
                # A starred call costs twice a plain one, and most rows save two arrays or fewer.
                c: Any = (
                    vjp(xp, g, *saved) if kept > 2
                    else vjp(xp, g, saved[0], saved[1]) if kept == 2
                    else vjp(xp, g, saved[0]) if kept
                    else vjp(xp, g)
                )  # fmt: skip
                # What `_receive` would do, for most contributions.
                if c.__class__ is kind and not watched and (exact or parent.shape is shape or c.shape == parent.shape):
                    before = grads.get(parent)
                    if before is None:
                        grads[parent] = c
                        continue
                    if before.__class__ is list:
                        # In place, but for one element, where that is slow.
                        before[0] = before[0] + c if c.size == 1 else operator.iadd(before[0], c)  # type: ignore[no-untyped-call]
                        continue
                _receive(grads, parent, c, xp, row.name, scope)
        else:
            needed = [p is not None and (not partial or p in leading) for p in parents]
            for parent, c in zip(parents, row.joint(xp, g, needed, *saved), strict=True):
                if c is not None:
                    _receive(grads, parent, c, xp, row.name, scope)
        if not retain_graph:
            node.saved, node.parents = None, ()
    return results


def _refuse_stale(node: Node) -> None:
    array = writes.written_since(node.saved or (), node.serial)
    if array is not None:
        raise GraphError(
            f"{node} saved an array of shape {tuple(array.shape)} that was written in place since "
            "(by an optimiser step or an initialiser); call backward() before the update"
        )


def _as_tensors(node: Node) -> list[Any]:
    """What a node saved, with arguments and result as Tensors of the graph, for a backward pass that is recorded."""
    out = []
    for role, value in zip(node.row.roles, node.saved or (), strict=True):
        if role == -3:
            value = [tensors.wrap(v, p) for v, p in zip(value, node.parents, strict=True)]
        elif role != -2 and backend.known(value):
            value = tensors.wrap(value, node if role == -1 else node.parents[role])
        out.append(value)
    return out
