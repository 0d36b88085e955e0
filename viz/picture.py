"""A picture: a graph with a look, which knows nothing of what it shows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import graphviz

from . import engine

if TYPE_CHECKING:
    import networkx

# Hues of Okabe & Ito (2008), which colour-blind readers tell apart; fills are the same hues, light.
_FONT = {"fontname": engine.FONT}
_INK, _GREY = "#333333", "#8c8c8c"
_GRAPH = _FONT | {"fontcolor": _INK, "fontsize": "11", "labeljust": "l"}
_NODE = _FONT | {"color": _INK, "fillcolor": "white", "fontsize": "13", "height": "0.4", "style": "filled"}
_EDGE = _FONT | {"arrowsize": "0.7", "color": _INK, "fontcolor": "#0072b2", "fontsize": "11"}
_CLUSTER = {"color": "#c4c4c4", "fontcolor": "#555555", "style": "rounded"}
_SIDES = ("height", "width")
_OVAL = {"shape": "ellipse"}
_BOX = {"shape": "box", "style": "rounded,filled"}
VERTICES: dict[str, dict[str, str]] = {
    "state": _OVAL | {"color": "#0072b2", "fillcolor": "#dcedf8"},
    "input": _BOX | {"color": _GREY, "fillcolor": "#f4f4f4"},
    "output": _OVAL | {"color": "#009e73", "fillcolor": "#d9f2e9"},
    "delay": {"fillcolor": "black", "fixedsize": "true", "label": "", "shape": "square"}
    | dict.fromkeys(_SIDES, "0.22"),
    "parameter": {"color": "#b37a00", "fillcolor": "#fdf0d2", "shape": "box"},
    "op": _BOX | {"color": _GREY, "fontsize": "12", "height": "0.3"},
    "result": _BOX | {"color": "#009e73", "fillcolor": "#d9f2e9", "fontsize": "12", "height": "0.3"},
    "label": _OVAL | {"color": _GREY, "fillcolor": "#f4f4f4"},
    "right": _OVAL | {"color": "#0072b2", "fillcolor": "#dcedf8"},
    "wrong": {"color": "#d55e00", "fillcolor": "#fbe3d3", "penwidth": "2.2", "shape": "box"},
    "word": {"height": "0.25", "margin": "0.03", "shape": "plaintext", "style": "", "width": "0"},
    "cut": {"fontcolor": _GREY, "height": "0.2", "margin": "0.03", "shape": "plaintext", "style": "", "width": "0"},
}
EDGES: dict[str, dict[str, str]] = {
    "flow": {},
    "spine": {"weight": "9"},  # kept straight
    "against": {"dir": "back"},  # an arrow whose head is laid out before its tail
    "branch": {"arrowhead": "none"},
    "word": {"arrowhead": "none", "color": "#b0b0b0", "style": "dotted"},
    "cut": {"color": _GREY, "style": "dashed"},
}
# Levels up to which the leaves of a tree are drawn in a line: the time of the layout grows with the fourth power of the
# length of such edges (0.3 s at 50 levels, 27 s at 100).
DEEP = 50
# SVG is XML, in which control characters are forbidden: they become the pictures that Unicode has of them.
_CONTROLS = {c: 0x2400 + c for c in range(32) if chr(c) != "\n"} | {ord("&"): "&amp;"}
_CONTROLS |= dict.fromkeys((0xFFFE, 0xFFFF), 0xFFFD)  # so are these two
_FORMATS = ("svg", "png", "pdf", "dot")


class Vertex(NamedTuple):
    """A vertex: its text, its kind (a key of `VERTICES`), its group, and facts for networkx."""

    label: str
    kind: str
    group: int | None
    facts: dict[str, Any]


class Edge(NamedTuple):
    """An edge: its ends, its text, its kind (a key of `EDGES`), and facts for networkx."""

    source: int
    target: int
    label: str
    kind: str
    facts: dict[str, Any]


class Picture:
    """A directed graph to look at. Vertices are numbered 0, 1, ... in the order in which they were added.

    Args:
        caption: a line under the picture.
        direction: where edges lead: "LR", "TB" or "BT".

    >>> picture = Picture("two of them")
    >>> a, b = picture.vertex("a", "input"), picture.vertex("b", "state")
    >>> picture.edge(a, b, "W")
    >>> picture
    Picture(2 vertices, 1 edges)
    """

    def __init__(self, caption: str = "", direction: str = "LR") -> None:
        self.caption, self.direction = caption, direction
        self.vertices: list[Vertex] = []
        self.edges: list[Edge] = []
        self._groups: list[tuple[str, int | None]] = []  # label, the group around it
        self._rows: list[list[int]] = []

    def __repr__(self) -> str:
        return f"Picture({len(self.vertices)} vertices, {len(self.edges)} edges)"

    def vertex(self, label: str, kind: str, group: int | None = None, **facts: Any) -> int:
        """Add a vertex; its number. `facts` become attributes of the networkx graph."""
        self.vertices.append(Vertex(label, kind, group, facts))
        return len(self.vertices) - 1

    def edge(self, source: int | None, target: int | None, label: str = "", kind: str = "flow", **facts: Any) -> None:
        """Add an edge; dots stand for an end that is not drawn (None). `facts` become attributes in networkx."""
        if source is None or target is None:
            kind, dots = "cut" if kind == "flow" else kind, self.vertex("…", "cut")
            source, target = dots if source is None else source, dots if target is None else target
        self.edges.append(Edge(source, target, label, kind, facts))

    def group(self, label: str, parent: int | None = None) -> int:
        """Add a frame for vertices, inside another or not; its number."""
        self._groups.append((label, parent))
        return len(self._groups) - 1

    def row(self, ids: Iterable[int]) -> None:
        """Draw vertices side by side, in this order."""
        self._rows.append(list(ids))

    @property
    def dot(self) -> str:
        """The picture as DOT text; the same picture gives the same text."""
        graph = graphviz.Digraph(graph_attr=_GRAPH | {"rankdir": self.direction}, node_attr=_NODE, edge_attr=_EDGE)
        if self.caption:
            graph.attr("graph", label=_text(self.caption))
        members: list[list[int]] = [[] for _ in range(len(self._groups) + 1)]  # the last: in no group
        for i, vertex in enumerate(self.vertices):
            members[-1 if vertex.group is None else vertex.group].append(i)
        inside: list[list[int]] = [[] for _ in members]
        for g, (_, parent) in enumerate(self._groups):
            inside[-1 if parent is None else parent].append(g)
        waiting: list[int | None] = [len(self._groups)]  # groups to open; None: one to close
        while waiting:
            opened = waiting.pop()
            if opened is None:
                graph.body.append("\t}\n")
                continue
            g = opened
            if g < len(self._groups):
                graph.body.append(f"\tsubgraph cluster_{g} {{\n")
                graph.attr("graph", label=_text(self._groups[g][0]), **_CLUSTER)
            for i in members[g]:
                vertex = self.vertices[i]
                graph.node(str(i), **{"label": _text(vertex.label)} | VERTICES[vertex.kind])
            for child in reversed(inside[g]):
                waiting += [None, child]
        for source, target, label, kind, _ in self.edges:
            ends = (target, source) if kind == "against" else (source, target)
            graph.edge(*map(str, ends), _text(f" {label}") if label else None, **EDGES[kind])
        for ids in self._rows:
            graph.body.append(f"\t{{ rank=same; edge [style=invis]; {' -> '.join(map(str, ids))} }}\n")
        return str(graph.source)

    def to_networkx(self) -> networkx.MultiDiGraph[int]:
        """The graph: vertices with label, kind and their facts, edges with label and kind."""
        import networkx

        graph: networkx.MultiDiGraph[int] = networkx.MultiDiGraph()
        graph.add_nodes_from((i, {"label": v.label, "kind": v.kind} | v.facts) for i, v in enumerate(self.vertices))
        graph.add_edges_from((e.source, e.target, {"label": e.label, "kind": e.kind} | e.facts) for e in self.edges)
        return graph

    def save(self, path: str | os.PathLike[str], timeout: float = 60.0) -> Path:
        """Write the picture as .svg, .png, .pdf or .dot, whole or not at all; the path.

        Args:
            path: its suffix is the format; folders that are missing are made.
            timeout: seconds after which the layout is stopped.

        Raises:
            EngineError: it can't be drawn here; `path` is as it was, and the DOT text lies beside it as .dot.
            ValueError: another suffix.
        """
        path = Path(path)
        format = path.suffix[1:].lower()
        if format not in _FORMATS:
            raise ValueError(f"{path}: a picture is saved as .{', .'.join(_FORMATS)}, not as {path.suffix!r}")
        path.parent.mkdir(parents=True, exist_ok=True)
        dot = self.dot
        if format == "dot":
            return _write(path, dot.encode("utf-8", "replace"))
        try:
            return _write(path, engine.render(dot, format, len(self.vertices), timeout))
        except engine.EngineError as error:
            beside = _write(path.with_suffix(".dot"), dot.encode("utf-8", "replace"))
            raise engine.EngineError(f"{path} was not drawn: {error}. Its DOT text is in {beside}") from error

    def _repr_svg_(self) -> str:
        return engine.render(self.dot, "svg", len(self.vertices), 60.0).decode("utf-8")


def subscript(i: int) -> str:
    """An index as a subscript: 12 -> '₁₂'."""
    return str(i).translate({ord("0") + d: 0x2080 + d for d in range(10)})


def lines(*parts: str) -> str:
    """The parts that are not empty, each on its line."""
    return "\n".join(part for part in parts if part)


def text(value: object) -> str:
    """What is written for a label, a word or a number, which may be a Tensor or an array of one element."""
    value = value.item() if getattr(value, "size", None) == 1 else value  # type: ignore[attr-defined]
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e9 else f"{value:.6g}"


def shape(axes: Sequence[int] | None) -> str:
    """A shape as '[2, 3]'; nothing for an operation of several results."""
    return "" if axes is None else f"[{', '.join(map(str, axes))}]"


def _text(label: str) -> str:
    """A label that shows as it is: no escapes, entities or HTML of DOT in it."""
    escaped = graphviz.escape(label.translate(_CONTROLS)).replace("\n", r"\n")
    return graphviz.nohtml(escaped)  # type: ignore[no-any-return]


def _write(path: Path, data: bytes) -> Path:
    """Put a whole file in its place at once."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(data)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return path
