"""The folded network: a cell as a circuit, whose loops a delay of one step breaks."""

from __future__ import annotations

from tinygrad_rnn.cell import Cell, name_of

from .picture import Picture, shape, subscript


def folded(cell: Cell, output: str | None = None) -> Picture:
    """Draw a cell as a circuit: its input x, its state, and for each slot a loop through a delay of one step.

    The delay is a black square (Goodfellow et al. 2016, figures 10.2 and 10.3); cut there, the circuit is acyclic. A
    cell of multisets has one loop, which stands for any number of predecessors.

    Args:
        cell: any cell.
        output: the name of what is read off its state, if anything is, such as "o".

    >>> import tinygrad_rnn as tg
    >>> cell = tg.cell(arity=2, state={"h": 3, "c": 3})(lambda x, kids: (kids[0].h, kids[1].c))
    >>> folded(cell, output="o")
    Picture(5 vertices, 6 edges)
    """
    if isinstance(cell, type) or not callable(getattr(cell, "initial", None)):
        raise TypeError(f"viz.folded draws one cell, not {name_of(cell)}; an unfolding is drawn by viz.unfolded")
    initial = cell.initial()
    widths = ", ".join(f"{name} {shape(value.shape[1:])}" for name, value in zip(initial._fields, initial, strict=True))
    picture = Picture(f"{name_of(cell)}, state {widths}\nblack square: a delay of one step", direction="BT")
    if cell.arity is None:
        picture.caption += "\nthe loop stands for any number of predecessors"
    x = picture.vertex("x", "input")
    state = picture.vertex(", ".join(initial._fields), "state", cell=name_of(cell), arity=cell.arity)
    picture.edge(x, state, "U", "spine")
    if output is not None:
        picture.edge(state, picture.vertex(output, "output"), "V", "spine")
    delays = []
    for slot in range(1 if cell.arity is None else cell.arity):
        delays.append(picture.vertex("delay of 1 step", "delay", slot=slot))
        weight = f"W{subscript(slot)}" if cell.arity and cell.arity > 1 else "W"
        picture.edge(delays[-1], state, weight, slot=slot)
        picture.edge(state, delays[-1], kind="against", slot=slot)
    half = len(delays) // 2
    picture.row([*delays[:half], x, *delays[half:]])
    return picture
