"""Cells, their definition by recursion, and losses, for all tests of unfoldings."""

from __future__ import annotations

import gc
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_rnn as tg
from tests.graphs import predecessors

H, C = 3, 2  # widths of the state's two fields
State = namedtuple("State", ["h", "c"])


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def leaf(*shape: int, seed: int = 0) -> tg.Tensor:
    return tg.asarray(values(*shape, seed=seed)).requires_grad_()


class Model:
    """Weights, a learned initial state, and the cells made of them; x is as wide as h."""

    def __init__(self, seed: int = 0) -> None:
        self.w, self.u, self.v, self.b = (leaf(*s, seed=seed) for s in ((H, H), (H, H), (C, H), (1, H)))
        self.h0, self.c0 = leaf(1, H, seed=seed + 7), leaf(1, C, seed=seed + 7)

    @property
    def weights(self) -> list[tg.Tensor]:
        return [self.w, self.u, self.v, self.b, self.h0, self.c0]

    def initial(self) -> State:
        return State(self.h0, self.c0)


class Binary(Model):
    """Two slots, neither like the other."""

    arity = 2

    def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
        h = (x @ self.w + kids[0].h @ self.u + kids[1].c @ self.v + self.b).tanh()
        h = h if context is None else h + context
        return State(h, (kids[0].c - kids[1].c * 0.5 + h[:, :C]).tanh())


class Unary(Model):
    arity = 1

    def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
        h = (x @ self.w + kids[0].h @ self.u + self.b).tanh()
        h = h if context is None else h + context
        return State(h, kids[0].c * 0.5 + h[:, :C])


class Bag(Model):
    """A multiset, seen through all that it offers."""

    arity = None

    def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
        gate = tg.sigmoid(kids.spread(x @ self.w) + kids.each.h @ self.u)
        h = kids.sum(gate * kids.each.h) + kids.max(kids.each.h) + kids.mean(gate)
        h = (h + kids.sum(kids.softmax(gate) * gate) + x + self.b).tanh()
        return State(h, kids.sum(kids.each.c) + h[:, :C] * 0.3)


class OneVertex:
    """What a cell sees of one vertex, made by hand: a list of States of one row, or None for an empty slot."""

    def __init__(self, states: list[Any], initial: State) -> None:
        self.states = [initial if s is None else s for s in states]
        present = [s for s in states if s is not None]
        if present:
            self.each: Any = State(*(tg.concat([s[i] for s in present]) for i in range(2)))
        else:
            self.each = State(*(value[:0] for value in initial))
        self.count = len(present)

    def __getitem__(self, slot: int) -> State:
        return self.states[slot]

    def spread(self, v: tg.Tensor) -> tg.Tensor:
        return tg.broadcast_to(v, (self.count, *v.shape[1:]))

    def sum(self, e: tg.Tensor) -> tg.Tensor:
        return tg.sum(e, axis=0, keepdims=True)

    def mean(self, e: tg.Tensor) -> tg.Tensor:
        return self.sum(e) / max(self.count, 1)

    def max(self, e: tg.Tensor) -> tg.Tensor:
        return tg.max(e, axis=0, keepdims=True) if self.count else self.sum(e)

    def softmax(self, e: tg.Tensor) -> tg.Tensor:
        return tg.softmax(e, axis=0)


def by_recursion(
    cells: Any,
    structure: tg.Structure,
    rows: dict[int, tg.Tensor],
    width: int,
    context: Any = None,
    initial: Any = None,
) -> State:
    """The definition: the states of all vertices, each computed on its own when somebody asks for it."""
    cells = cells if isinstance(cells, dict) else {0: cells}
    kinds = np.zeros(structure.size, int) if structure.kind is None else structure.kind
    kids, done = predecessors(structure), {}

    def state(v: int) -> State:
        if v not in done:
            cell, example = cells[int(kinds[v])], int(structure.example[v])
            start = cell.initial() if initial is None else initial
            if len(start[0]) > 1:
                start = State(*(value[example : example + 1] for value in start))
            slots = range(cell.arity) if cell.arity is not None else sorted(kids[v])
            below = [state(kids[v][k]) if k in kids[v] else None for k in slots]
            x = rows[v] if v in rows else tg.zeros((1, width), dtype="float64")
            seen = None if context is None else context[example : example + 1]
            done[v] = cell(x, OneVertex(below, start), seen)
        return done[v]

    for v in range(structure.size):
        state(v)
    if not done:
        return State(tg.zeros((0, H), dtype="float64"), tg.zeros((0, C), dtype="float64"))
    return State(*(tg.concat([done[v][i] for v in range(structure.size)]) for i in range(2)))


def loss(state: State, seed: int = 5) -> tg.Tensor:
    """A number that depends on every element in its own way."""
    return sum(((value * tg.asarray(values(*value.shape, seed=seed))).sum() for value in state), tg.zeros(()))


def gradients(of: tg.Tensor, by: list[tg.Tensor]) -> list[np.ndarray]:
    found = tg.grad(of, by, allow_unused=True, retain_graph=True) if of.requires_grad else [None] * len(by)
    return [np.zeros(x.shape) if g is None else g.numpy() for g, x in zip(found, by)]


def agree(ours: State, theirs: State, by: list[tg.Tensor]) -> None:
    """States to 1e-12, and their gradients by some Tensors."""
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(loss(ours), by), gradients(loss(theirs), by)):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def cycles_left_by(run: Callable[[], object]) -> int:
    """How many objects a second run leaves that only the garbage collector can free."""
    run()
    gc.collect()
    gc.disable()
    try:
        run()
        return gc.collect()
    finally:
        gc.enable()
