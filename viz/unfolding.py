"""The unfolded network: every vertex of a structure at its place, with its input, its state and its output."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np

from tinygrad_rnn.cell import name_of
from tinygrad_rnn.structure import Structure, StructureError
from tinygrad_rnn.unfold import Unfolding

from .picture import DEEP, Picture, lines, subscript, text

Texts = Sequence[object] | Mapping[int, object] | None


def unfolded(
    unfolding: Unfolding, labels: Texts = None, outputs: Texts = None, levels: Container[int] | None = None
) -> Picture:
    """Draw an unfolding: its states at their levels, inputs below them, outputs above; time from left to right.

    Trees grow upwards (up to 50 levels each level is a line). U, W and V are the parameters that all vertices share
    (Goodfellow et al. 2016, figure 10.3); where cells read several slots, W₀ leads into slot 0. Numbers are the public
    ids of the vertices.

    Args:
        unfolding: what `tg.unfold` gave, or has grown by `advance` so far.
        labels: the words that are the inputs: one per vertex, None where there is none; or {id: word}.
        outputs: what is read off the states, likewise.
        levels: draw only vertices of these levels, such as `range(3)`.

    Returns:
        a Picture whose vertices know the `id` they belong to, and its `level` and `example`.

    Raises:
        StructureError: the labels don't fit it.
        TypeError: it is a cell, or something else that is no unfolding.

    >>> import tinygrad_rnn as tg
    >>> cell = tg.cell(arity=1, state={"h": 2})(lambda x, kids: (kids[0].h + x).tanh())
    >>> unfolded(tg.unfold(cell, tg.chain(3), tg.ones((3, 2))))
    Picture(6 vertices, 5 edges)
    """
    if not isinstance(unfolding, Unfolding):
        raise TypeError(
            f"viz.unfolded draws what tg.unfold gave, not {name_of(unfolding)}; a cell is drawn by viz.folded"
        )
    s = unfolding.structure
    words, results = _texts("labels", labels, s.size), _texts("outputs", outputs, s.size)
    has_input = unfolding.has_input.tolist()
    cells = unfolding.cells
    several = len({*map(id, cells.values())}) > 1
    alike = len({*map(name_of, cells.values())}) < len(cells)
    tree = bool(s.predecessors.max(initial=0) > 1 and np.bincount(s.source).max(initial=0) == 1)
    picture = Picture(direction="BT" if tree else "LR")
    notes = {e: f"example {e}" for e in range(s.examples)} if s.examples > 1 else {}
    level, example = s.level.tolist(), s.example.tolist()
    above = "flow" if tree else "against"  # from left to right, the inputs of a level stand in its own column
    drawn: dict[int, int] = {}
    rows: dict[tuple[int, int], list[int]] = {}
    for v in _walk(s) if tree else range(s.size):
        if levels is not None and level[v] not in levels:
            continue
        facts = {"id": v, "level": level[v], "example": example[v]}
        # Of chains side by side the first level alone is tied, which keeps their order and each of them straight.
        column = rows.setdefault((0 if tree or not level[v] else example[v], level[v]), [])
        state = " ".join(f"{field}{subscript(v)}" for field in unfolding.fields)
        if several and s.kind is not None:
            kind = int(s.kind[v])
            state = lines(state, f"kind {kind}" if alike else name_of(cells[kind]))
        output = picture.vertex(results[v], "output", **facts) if v in results else None
        here = drawn[v] = picture.vertex(lines(state, notes.pop(example[v], "")), "state", **facts)
        column += [here] if tree or output is None else [output, here]
        if has_input[v]:
            x = picture.vertex(words.get(v, f"x{subscript(v)}"), "input", **facts)
            picture.edge(x, here, "U", above)
            column += [] if tree else [x]
        if output is not None:
            picture.edge(here, output, "V", above)
    for u, v, slot in zip(s.source.tolist(), s.target.tolist(), s.slot.tolist(), strict=True):
        ends = drawn.get(u), drawn.get(v)
        if ends != (None, None):
            numbered = s.slots > 1 and slot >= 0 and unfolding._cells.of(int(s.kinds[v]))[0].arity is not None
            picture.edge(*ends, f"W{subscript(slot)}" if numbered else "W", slot=slot)
    for column in rows.values():
        if len(column) > 1 and not (tree and s.levels > DEEP):
            picture.row(column)
    letters = sorted({edge.label[0] for edge in picture.edges})
    if letters:
        picture.caption = f"{', '.join(letters)}: the same at every vertex{' of a cell' if several else ''}"
    return picture


def _texts(what: str, given: Texts, size: int) -> dict[int, str]:
    """Labels by vertex."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) and len(given) != size:
        raise StructureError(
            f"{len(given)} {what} for {size} vertices; give one per vertex (None: no label), or a dict"
        )
    pairs = given.items() if isinstance(given, Mapping) else enumerate(getattr(given, "tolist", lambda: given)())
    found = {v: text(given) for v, given in pairs if given is not None}
    for v in found:
        if not 0 <= v < size:
            raise StructureError(f"{what} name vertex {v}; ids go from 0 to {size - 1}")
    return found


def _walk(s: Structure) -> list[int]:
    """The vertices of trees such that, at every level, they stand in the order of the leaves below them."""
    order = np.lexsort((s.slot, s.target))
    before, bounds = s.source[order].tolist(), np.searchsorted(s.target[order], np.arange(s.size + 1)).tolist()
    waiting = s.ends[::-1].tolist()
    found = []
    while waiting:
        v = waiting.pop()
        found.append(v)
        waiting += reversed(before[bounds[v] : bounds[v + 1]])
    return found
