"""The op graph: what the tape recorded to compute a Tensor, framed by cell call."""

from __future__ import annotations

from collections.abc import Container, Mapping

from tinygrad_rnn.program.compiled import PROGRAM
from tinygrad_rnn.tape import GraphError, Leaf, Node, Scope, reachable
from tinygrad_rnn.tensor import Tensor

from .picture import Picture, lines, shape

# What users write, for rows of the table that they never name.
WRITTEN = {"span": "slice", "index": "slice", "gather_blocks": "gather_rows", "positive": "copy"}


def ops(tensor: Tensor, names: Mapping[str, Tensor] | None = None, levels: Container[int] | None = None) -> Picture:
    """Draw the operations behind a Tensor, from its parameters on the left to itself on the right.

    What needs no gradient is not on the tape, and so not in the picture.

    Args:
        tensor: what was computed; look before the backward pass, which frees the graph.
        names: names of parameters, such as `dict(module.named_parameters())`.
        levels: draw only what the cell calls of these levels recorded, such as `range(2)`.

    Returns:
        a Picture whose vertices know `serial` (the same for the same node of the tape), `op`, `shape`, `cell`, `level`.

    Raises:
        GraphError: the Tensor is not recorded, or its graph was freed.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> ops((w * w).sum(), names={"w": w})
    Picture(3 vertices, 3 edges)
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"viz.ops draws what a Tensor was computed by, not a {type(tensor).__name__}: give run.all().h")
    if tensor.node is None:
        raise GraphError(
            "the Tensor is not recorded, so there is no op graph; compute it from what requires a gradient"
        )
    order, stands_for = _opened(reachable([tensor.node])[::-1])
    if any(node.saved is None for node in order):
        raise GraphError("a backward pass freed the op graph; draw it before, or pass retain_graph=True to backward()")
    result = stands_for.get(tensor.node, tensor.node)
    scopes = {node: _scopes(node) for node in order}
    inside = {node for node in order if levels is None or (scopes[node] and scopes[node][0].level in levels)}
    inside |= {p for node in inside for parent in node.parents if type(p := stands_for.get(parent, parent)) is Leaf}
    called = {t.node: name for name, t in (names or {}).items()}
    picture = Picture()
    groups: dict[Scope, int] = {}
    drawn: dict[Node, int] = {}
    dotted = set()
    for node in order:
        around = scopes[node]
        if node in inside:
            frame = None
            for scope in around:
                if scope not in groups:
                    groups[scope] = picture.group(f"{scope.cell}, level {scope.level}", frame)
                frame = groups[scope]
            leaf = type(node) is Leaf
            drawn[node] = picture.vertex(
                lines(
                    called.get(node, "parameter") if leaf else WRITTEN.get(node.row.name, node.row.name),
                    shape(node.shape),
                ),
                "parameter" if leaf else "result" if node is result else "op",
                None if leaf else frame,
                serial=node.serial,
                op=node.row.name,
                shape=node.shape,
                cell=around[-1].cell if around else None,
                level=around[-1].level if around else None,
            )
        for before in node.parents:
            parent = stands_for.get(before, before)
            ends = drawn.get(parent), drawn.get(node)  # type: ignore[arg-type]
            # However many edges a vertex has to what is not drawn, it gets one row of dots before and one behind.
            if parent is not None and ends != (None, None) and (None not in ends or ends not in dotted):
                picture.edge(*ends)
                dotted.add(ends)
    return picture


def _opened(order: list[Node]) -> tuple[list[Node], dict[Node | None, Node]]:
    """Nodes so that each comes after all that it depends on, unfoldings run by programs op by op.

    Args:
        order: by rising serials.

    Returns:
        the nodes, and for each result of a program the node that it stands for.
    """
    found: dict[Node, None] = {}
    stands_for: dict[Node | None, Node] = {}
    opened: dict[Node, list[Tensor]] = {}
    used = {(node.parents[0], node.saved[0]) for node in order if node.row.name == "output" and node.saved}
    for node in order:
        if node.row is PROGRAM and node.saved is not None:
            opened[node] = node.saved[0].eager()
            states = enumerate(opened[node])
            inner = [state.node for f, state in states if state.node is not None and (node, f) in used]
            found.update(dict.fromkeys(reachable(inner)[::-1]))
        elif node.parents and node.parents[0] in opened and node.saved is not None:
            state = opened[node.parents[0]][node.saved[0]].node
            assert state is not None
            stands_for[node] = state
        else:
            found[node] = None
    return list(found), stands_for


def _scopes(node: Node) -> list[Scope]:
    """The cell calls around an operation, outermost first; without the lines that anomaly detection notes."""
    found, scope = [], node.scope
    while scope is not None:
        if not scope.line:
            found.append(scope)
        scope = scope.parent
    return found[::-1]
