"""Structures: which vertex depends on which, in which slot. Immutable integers; nothing here knows of derivatives.

A vertex has one public id, the user's order, which inputs, results, errors and pictures use. Its level stands above the
levels of all that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import networkx

Ids = np.ndarray[Any, np.dtype[np.int64]]
Rows = slice | Ids


class StructureError(ValueError):
    """A graph that can't be unfolded, or a cell that does not fit it."""


def ints(name: str, values: Any, length: int | None = None, kinds: str = "iub") -> Ids:
    """A read-only copy of integers (of these NumPy kinds) of one axis.

    Raises:
        StructureError: they are none, or not of this length; the message has the name.
    """
    array = np.asarray(values)
    if (array.size and array.dtype.kind not in kinds) or array.ndim != 1:
        raise StructureError(f"{name} must be integers of one axis, not {array.dtype} of shape {array.shape}")
    if length is not None and len(array) != length:
        raise StructureError(f"{name} has {len(array)} entries for {length}")
    array = array.astype(np.int64)
    array.flags.writeable = False
    return array


def ranges(starts: Ids | int, counts: Ids) -> Ids:
    """For each i the counts[i] numbers from starts[i] on, one range behind the other.

    >>> ranges(np.array([5, 0]), np.array([3, 2])).tolist()
    [5, 6, 7, 0, 1]
    """
    offsets: Ids = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return offsets + np.arange(len(offsets))


class Structure:
    """A directed acyclic graph of `size` vertices, as integers.

    Args:
        size: the number of vertices N; their ids are 0..N-1.
        source, target: edge e goes from the predecessor `source[e]` to its dependent `target[e]`; [E] each.
        slot: the slot of `target[e]` that `source[e]` fills; -1 (all, by default): none named, which is slot 0 for a
            vertex with one predecessor and a multiset otherwise.
        example: which example of the batch each vertex belongs to, [N]; by default one example.
        kind: a small integer per vertex, [N], to choose among several cells.
        examples: how many examples there are, if the last ones have no vertices.
        within: a sort key for vertices of one level, [N], where the constructor knows a good order.
        level: the level each vertex is computed at, [N], where it is known: above those of its predecessors.

    Raises:
        StructureError: an id out of range, two predecessors in one slot, a cycle; the message names the vertex.

    >>> s = Structure(3, source=[0, 1], target=[2, 2], slot=[0, 1])
    >>> s.levels, s.level.tolist()
    (2, [0, 0, 1])
    """

    def __init__(
        self,
        size: int,
        source: Any = (),
        target: Any = (),
        slot: Any = None,
        example: Any = None,
        kind: Any = None,
        examples: int | None = None,
        within: Any = None,
        level: Any = None,
    ) -> None:
        self.size = int(size)
        if self.size < 0:
            raise StructureError(f"a structure can't have {size} vertices")
        self.source = ints("source", source)
        self.target = ints("target", target, len(self.source))
        given = np.full(len(self.source), -1, np.int64) if slot is None else ints("slot", slot, len(self.source))
        for name, ids in (("target", self.target), ("source", self.source)):
            wrong = np.flatnonzero((ids < 0) | (ids >= size))
            if len(wrong):
                e = int(wrong[0])
                where = (f"edge {e}" if name == "target" else f"vertex {self.target[e]}") + f", slot {given[e]}"
                raise StructureError(f"{where}: {name} {ids[e]} is no vertex; ids go from 0 to {size - 1}")
        self.example = ints("example", np.zeros(size, np.int64) if example is None else example, size)
        self.examples = int(self.example.max(initial=-1)) + 1 if examples is None else int(examples)
        if size and not 0 <= self.example.min() <= self.example.max() < self.examples:
            raise StructureError(f"example must lie in 0..{self.examples - 1}")
        self.kind = None if kind is None else ints("kind", kind, size)
        self.within = None if within is None else ints("within", within, size)
        self.predecessors = np.bincount(self.target, minlength=size)  # how many each vertex has
        self.predecessors.flags.writeable = False
        self.slot: Ids = np.where((given == -1) & (self.predecessors[self.target] == 1), 0, given)
        self.slot.flags.writeable = False
        self.slots = int(self.slot.max(initial=-1)) + 1
        self.named = bool((self.slot >= 0).all())  # whether every edge has a slot
        if (self.slot < -1).any():
            e = int(np.argmin(self.slot))
            raise StructureError(f"vertex {self.target[e]}: slot {self.slot[e]}; slots count from 0, -1 names none")
        self._check_slots()
        self.level = ints("level", self._levels() if level is None else level, size)
        self.levels = int(self.level.max(initial=-1)) + 1
        if self.level.min(initial=0) < 0:
            raise StructureError(f"vertex {np.argmin(self.level)}: level {self.level.min()}; levels count from 0")
        low = np.flatnonzero(self.level[self.source] >= self.level[self.target])
        if len(low):
            v = int(self.target[low[0]])
            raise StructureError(f"vertex {v}: level {self.level[v]} is not above that of what it reads")
        self.schedules: dict[bytes, Any] = {}  # how it was run, for the next time; see `schedule.plan`

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"a Structure is immutable: make another one, with another {name}")
        super().__setattr__(name, value)

    def _check_slots(self) -> None:
        order = np.lexsort((self.slot, self.target))
        slot, target = self.slot[order], self.target[order]
        twice = np.flatnonzero((np.diff(target) == 0) & (np.diff(slot) == 0) & (slot[1:] >= 0))
        if len(twice):
            a, b = order[twice[0] : twice[0] + 2]
            raise StructureError(
                f"vertex {self.target[a]}: slot {self.slot[a]} is filled by {self.source[a]} and by {self.source[b]}"
            )

    def _levels(self) -> Ids:
        """The longest path to each vertex from one without predecessors.

        In a tree an inner vertex waits until just before the one that reads it: then it reads the level before its own,
        or leaves, and never a block of long ago.
        """
        level = self._longest_paths(self.source, self.target)
        if self.predecessors.max(initial=0) <= 1 or np.bincount(self.source).max() > 1:
            return level
        above = self._longest_paths(self.target, self.source)
        return np.where(self.predecessors > 0, level.max() - above, 0)

    def _longest_paths(self, source: Ids, target: Ids) -> Ids:
        """The length of the longest path to each vertex, a whole level at a time."""
        length = np.zeros(self.size, np.int64)
        waiting = np.bincount(target, minlength=self.size)  # for how many predecessors each vertex still waits
        dependents = target[np.argsort(source, kind="stable")]
        counts = np.bincount(source, minlength=self.size)
        firsts = np.cumsum(counts) - counts
        front = np.flatnonzero(waiting == 0)
        depth = 0
        while len(front):
            length[front] = depth
            reached = dependents[ranges(firsts[front], counts[front])]
            np.subtract.at(waiting, reached, 1)
            front = np.unique(reached[waiting[reached] == 0])
            depth += 1
        if waiting.any():
            raise _cyclic(self._cycle(waiting > 0))
        return length

    def _cycle(self, left: np.ndarray) -> list[str]:
        """One cycle among the vertices that no level could take, from a vertex to itself, and the slots it takes."""
        inside = left[self.source] & left[self.target]
        before, slot = (dict(zip(self.target[inside].tolist(), a[inside].tolist())) for a in (self.source, self.slot))
        at = next(iter(before))
        place: dict[int, int] = {}  # of each vertex on the way back
        while at not in place:
            place[at] = len(place)
            at = before[at]
        loop = [*list(place)[place[at] :], at][::-1]
        return [str(at), *(f"{v} (slot {slot[v]})" for v in loop[1:])]

    @cached_property
    def ids(self) -> Ids:
        """Those of all vertices: 0..N-1."""
        return ints("ids", np.arange(self.size))

    @cached_property
    def kinds(self) -> Ids:
        """The kind of each vertex: 0 where none was given."""
        return np.zeros(self.size, np.int64) if self.kind is None else self.kind

    @cached_property
    def ends(self) -> Ids:
        """The vertices that no other one reads."""
        return np.flatnonzero(np.bincount(self.source, minlength=self.size) == 0)

    @cached_property
    def kinds_used(self) -> list[int]:
        """The kinds that there are."""
        return [0] if self.kind is None else np.unique(self.kind).tolist()

    @cached_property
    def finals(self) -> Ids:
        """The end of each example, [B]; -1 for an example without vertices.

        Raises:
            StructureError: an example has several.
        """
        counts = np.bincount(self.example[self.ends], minlength=self.examples)
        if (counts > 1).any():
            e = int(np.argmax(counts > 1))
            raise StructureError(f"example {e} has {counts[e]} final vertices; last() needs one, roots() gives all")
        final = np.full(self.examples, -1)
        final[self.example[self.ends]] = self.ends
        return final

    def reversed(self) -> Structure:
        """The same vertices with every edge turned round; ids and slots stay.

        But a vertex that filled one slot of several dependents would get several predecessors in it: its edges then
        have no slots, for a cell of multisets, nor do they get them back when it is reversed again.

        >>> chain([3]).reversed().level.tolist()
        [2, 1, 0]
        """
        # Several predecessors can't share a slot.
        filled = self.source * (self.slots + 1) + self.slot
        _, first, count = np.unique(filled, return_index=True, return_counts=True)
        doubled = np.isin(self.source, self.source[first[count > 1]])
        slot = np.where(doubled, -1, self.slot)
        return Structure(self.size, self.target, self.source, slot, self.example, self.kind, self.examples, self.within)

    def __repr__(self) -> str:
        counts = self.size, len(self.source), self.levels, self.examples
        words = ("vertex", "vertices"), ("edge", "edges"), ("level", "levels"), ("example", "examples")
        return f"Structure({', '.join(f'{n} {word[n != 1]}' for n, word in zip(counts, words, strict=True))})"


def _cyclic(names: Sequence[str]) -> StructureError:
    shown = " -> ".join(names if len(names) < 12 else [*names[:5], "...", *names[-5:]])
    return StructureError(f"the graph has a cycle: {shown}; a structure must be acyclic")


def chain(lengths: int | Sequence[int] | Ids) -> Structure:
    """One chain per length, vertex after vertex, example after example: a batch of sequences without padding.

    Args:
        lengths: the steps T of each of B examples; 0 is allowed. An int is one chain.

    >>> chain([2, 0, 3])
    Structure(5 vertices, 3 edges, 3 levels, 3 examples)
    """
    steps = ints("lengths", np.atleast_1d(lengths))
    if (steps < 0).any():
        raise StructureError(f"a chain can't have the length {steps.min()}")
    example, step = np.repeat(np.arange(len(steps)), steps), ranges(0, steps)
    # The longest first: then the chains that go on are the first rows of each level, and no row moves.
    place = np.argsort(np.argsort(-steps, kind="stable"))[example]
    source = np.flatnonzero(np.diff(example) == 0)
    slot = np.zeros(len(source), np.int64)
    return Structure(len(example), source, source + 1, slot, example, None, len(steps), within=place, level=step)


def grid(heights: int | Sequence[int] | Ids, widths: int | Sequence[int] | Ids) -> Structure:
    """One grid of heights[b] x widths[b] vertices per example, row by row: slot 0 is above, slot 1 to the left.

    >>> grid([2], [3]).level.reshape(2, 3).tolist()
    [[0, 1, 2], [1, 2, 3]]
    """
    hs = ints("heights", np.atleast_1d(heights))
    ws = ints("widths", np.atleast_1d(widths), len(hs))
    if (hs < 0).any() or (ws < 0).any():
        raise StructureError("a grid can't have a negative height or width")
    example = np.repeat(np.arange(len(hs)), hs * ws)
    n, width = len(example), ws[example]
    i, j = np.divmod(ranges(0, hs * ws), width)
    below, right = np.flatnonzero(i > 0), np.flatnonzero(j > 0)
    source, target = np.concatenate((below - width[below], right - 1)), np.concatenate((below, right))
    slot = np.repeat([0, 1], [len(below), len(right)])
    return Structure(n, source, target, slot, example, None, len(hs), within=example * (n + 1) + i, level=i + j)


def from_networkx(graph: networkx.DiGraph[Any], slot: str = "slot", reverse: bool = False) -> Structure:
    """A networkx graph, whose edges point from a predecessor to what depends on it.

    Args:
        graph: a DiGraph or MultiDiGraph; vertex ids follow the order of `graph.nodes`, and a node attribute "kind", if
            all have it, becomes the kind.
        slot: the edge attribute that holds the slot.
        reverse: the edges point the other way, from a dependent to its predecessor (as in a parse tree drawn from its
            root).

    Raises:
        StructureError: the graph is undirected or has a cycle.
    """
    if not graph.is_directed():
        raise StructureError("the graph is undirected; a structure needs directed edges (networkx.DiGraph)")
    import networkx

    if not networkx.is_directed_acyclic_graph(graph):
        loop: list[Any] = networkx.find_cycle(graph)
        raise _cyclic([repr(loop[0][0]), *(f"{e[1]!r} (slot {graph.edges[e].get(slot, -1)})" for e in loop)])
    ids = {node: i for i, node in enumerate(graph.nodes)}
    edges = []
    for u, v, data in graph.edges(data=True):
        k = data.get(slot)
        if k is not None and (type(k) is bool or not isinstance(k, int | np.integer)):
            raise StructureError(f"edge {u!r} -> {v!r}: slot {k!r} is no integer")
        edges.append((ids[u], ids[v], -1 if k is None else k))
    source, target, slots = zip(*edges, strict=True) if edges else ((), (), ())
    if reverse:
        source, target = target, source
    filled: dict[tuple[int, int], int] = {}
    for e, (u, v, k) in enumerate(zip(source, target, slots, strict=True)):
        if k >= 0 and (d := filled.setdefault((v, k), e)) != e:
            raise StructureError(f"{[*ids][v]!r}: slot {k} is filled by {[*ids][source[d]]!r} and by {[*ids][u]!r}")
    kinds = [data.get("kind") for _, data in graph.nodes(data=True)]
    if 0 < sum(k is None for k in kinds) < len(kinds):
        raise StructureError(f"node {list(ids)[kinds.index(None)]!r} has no kind, and others have one")
    return Structure(len(ids), source, target, slots, kind=None if None in kinds or not kinds else kinds, examples=1)


def union(structures: Sequence[Structure]) -> Structure:
    """Several structures as one batch: vertices and examples one behind the other, no edge between them.

    >>> union([chain([2]), grid([2], [2])])
    Structure(6 vertices, 5 edges, 3 levels, 2 examples)
    """
    if not (structures := [*structures]):
        return Structure(0)
    kinds = [s.kind for s in structures if s.kind is not None]
    if 0 < len(kinds) < len(structures):
        raise StructureError("some of the structures have kinds and some have none; give all or none a kind")
    vertices = np.cumsum([0, *(s.size for s in structures)])
    examples = np.cumsum([0, *(s.examples for s in structures)])
    edges = [(s.source + v, s.target + v, s.slot) for s, v in zip(structures, vertices, strict=False)]
    source, target, slot = np.concatenate(edges, axis=1)
    example = np.concatenate([s.example + e for s, e in zip(structures, examples, strict=False)])
    kind = np.concatenate(kinds) if kinds else None
    return Structure(vertices[-1], source, target, slot, example, kind, examples[-1])
