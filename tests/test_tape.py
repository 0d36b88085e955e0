"""The tape against a naive reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, precondition, rule

import tinygrad_rnn as tg
from tinygrad_rnn import tape

# The reference: expressions of tiny arrays. A gradient is an expression again, so any order of derivative is there.


class Ref:
    """A value, and the expressions that it was computed from, each with the rule that sends a gradient back to it."""

    def __init__(self, value: Any, *parents: tuple[Ref, Callable[[Ref], Ref]], leaf: bool = False) -> None:
        self.value = np.asarray(value, np.float64)
        self.recorded = leaf or any(p.recorded for p, _ in parents)
        self.parents = [(p, rule) for p, rule in parents if p.recorded]
        self.leaf, self.freed, self.grad, self.serial = leaf, False, None, tape.next_serial()
        self.hooks: list[float] = []  # each multiplies the gradient

    def free(self) -> None:
        """What the tape does to a node that a backward pass is done with: what lay beyond is forgotten."""
        self.freed, self.parents = True, []


def fit(g: Ref, like: Ref) -> Ref:
    return total(g) if like.value.ndim < g.value.ndim else g


def add(a: Ref, b: Ref) -> Ref:
    return Ref(a.value + b.value, (a, lambda g: fit(g, a)), (b, lambda g: fit(g, b)))


def multiply(a: Ref, b: Ref) -> Ref:
    return Ref(a.value * b.value, (a, lambda g: fit(multiply(g, b), a)), (b, lambda g: fit(multiply(g, a), b)))


def scale(a: Ref, k: float) -> Ref:
    return multiply(a, Ref(k))


def tanh(a: Ref) -> Ref:
    out = Ref(np.tanh(a.value), (a, lambda g: multiply(g, add(Ref(1.0), scale(multiply(out, out), -1.0)))))
    return out


def total(a: Ref) -> Ref:
    return Ref(a.value.sum(), (a, lambda g: spread(g, a.value.shape)))


def spread(a: Ref, shape: tuple[int, ...]) -> Ref:
    return Ref(np.broadcast_to(a.value, shape), (a, lambda g: fit(g, a)))


def first(a: Ref) -> Ref:
    return Ref(a.value.reshape(-1)[0], (a, lambda g: only_first(g, a)))


def only_first(a: Ref, like: Ref) -> Ref:
    mask = Ref(np.eye(1, like.value.size).reshape(like.value.shape))
    return multiply(spread(a, like.value.shape), mask)


def reached(out: Ref) -> list[Ref]:
    found, stack = [], [out]
    while stack:
        r = stack.pop()
        if r not in found:
            found.append(r)
            stack += [p for p, _ in r.parents]
    return found


def adjoints(out: Ref, seed: Ref) -> dict[Ref, Ref]:
    """dL/dr for each expression r below `out`: by recursion over its readers, the sum over all of them."""
    everything = reached(out)
    known: dict[Ref, Ref] = {}

    def adjoint(r: Ref) -> Ref:
        if r not in known:
            parts = [seed] if r is out else []
            parts += [back(adjoint(reader)) for reader in everything for p, back in reader.parents if p is r]
            g = parts[0]
            for part in parts[1:]:
                g = add(g, part)
            for k in r.hooks:
                g = scale(g, k)
            known[r] = g
        return known[r]

    for r in everything:
        adjoint(r)
    return known


OPS: list[tuple[Callable[..., tg.Tensor], Callable[..., Ref], int]] = [
    (lambda a, b: a + b, add, 2),
    (lambda a, b: a * b, multiply, 2),
    (lambda a, b: a - b, lambda a, b: add(a, scale(b, -1.0)), 2),
    (tg.tanh, tanh, 1),
    (tg.sum, total, 1),
    (lambda a: a[0] if a.ndim else a * 1.0, first, 1),
    (lambda a: a[:1].sum() if a.ndim else a * 1.0, first, 1),
    (lambda a: tg.gather_rows(a, [0]).sum() if a.ndim else a * 1.0, first, 1),
    (lambda a: tg.concat([a, a]).sum() * 0.5 if a.ndim else a * 1.0, total, 1),
]


mostly = st.sampled_from([True] * 5 + [False])
several = st.lists(st.sampled_from(OPS), min_size=1, max_size=5)


class TapeAndReference(RuleBasedStateMachine):
    """The same computations in Tensors and in expressions; whatever is read off must agree."""

    pairs = Bundle("pairs")

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[tg.Tensor, Ref]] = []

    def pair(self, t: tg.Tensor, r: Ref) -> tuple[tg.Tensor, Ref]:
        np.testing.assert_allclose(t.numpy(), r.value, rtol=1e-9, atol=1e-9)
        assert t.requires_grad == r.recorded
        self.all.append((t, r))
        return t, r

    @initialize(target=pairs)
    def something(self) -> Any:
        return self.leaf([0.5, -1.0])

    @rule(target=pairs, value=st.sampled_from([0.3, -0.8, [0.7, -0.2], [-1.1, 0.4]]))
    def leaf(self, value: Any) -> Any:
        return self.pair(tg.tensor(value, dtype="float64", requires_grad=True), Ref(value, leaf=True))

    @rule(target=pairs, how=st.sampled_from(["constant", "detach", "no_grad"]), a=pairs)
    def unrecorded(self, how: str, a: Any) -> Any:
        t, r = a
        if how == "constant":
            return self.pair(tg.tensor([0.25, -2.0], dtype="float64"), Ref([0.25, -2.0]))
        if how == "detach":
            return self.pair(t.detach(), Ref(r.value))
        with tg.no_grad():
            return self.pair(tg.tanh(t), Ref(np.tanh(r.value)))

    def grown(self, ops: Any, a: Any, b: Any) -> list[Any]:
        """The results of some operations, each on the results before it."""
        found = [a]
        for ours, theirs, arity in ops:
            (_, r), (_, other) = a, b
            if max(np.abs(r.value).max(), np.abs(other.value).max()) > 10:
                break
            ts, rs = zip(*(a, b)[:arity])
            a, b = self.pair(ours(*ts), theirs(*rs)), a
            found.append(a)
        return found

    @rule(target=pairs, ops=several, a=pairs, b=pairs)
    def operations(self, ops: Any, a: Any, b: Any) -> Any:
        return multiple(*self.grown(ops, a, b)[1:])

    @rule(a=pairs, factor=st.sampled_from([2.0, -0.5]), removed=st.booleans())
    def hook(self, a: Any, factor: float, removed: bool) -> None:
        t, r = a
        if not r.recorded:
            with pytest.raises(tape.GraphError, match="register_hook needs a Tensor that requires a gradient"):
                t.register_hook(lambda g: None)
            return
        t.register_hook(lambda g: None)
        remove = t.register_hook(lambda g: g * factor)
        if removed:
            remove()
            remove()
        else:
            r.hooks.append(factor)

    @rule(
        target=pairs,
        ops=several,
        a=pairs,
        b=pairs,
        seed=st.sampled_from([1.0, -2.0]),
        retain=mostly,
        create=st.booleans(),
    )
    def backward(self, ops: Any, a: Any, b: Any, seed: float, retain: bool, create: bool) -> Any:
        found = self.grown(ops, a, b)
        self.check_backward(*found[-1], seed, retain, create)
        return multiple(*found[1:])

    def check_backward(self, t: tg.Tensor, r: Ref, seed: float, retain: bool, create: bool) -> None:
        gradient = tg.full(t.shape, seed, dtype="float64")
        if not r.recorded:
            with pytest.raises(tape.GraphError, match="was not recorded"):
                t.backward(gradient)
            return
        below = reached(r)
        if any(x.freed for x in below):
            with pytest.raises(tape.GraphError, match="was freed by an earlier backward pass"):
                t.backward(gradient, retain_graph=True)  # what was freed already is found again the next time
            for leaf, ref in self.all:
                if ref.leaf:
                    leaf.grad = ref.grad = None
            return
        t.backward(gradient, retain_graph=retain, create_graph=create)
        for x, g in adjoints(r, Ref(np.full(r.value.shape, seed))).items():
            if x.leaf:
                x.grad = g if x.grad is None else add(x.grad, g)
            elif not (retain or create):
                x.free()
        for leaf, ref in self.all:
            if ref.leaf:
                assert (leaf.grad is None) == (ref.grad is None)
                if ref.grad is not None:
                    np.testing.assert_allclose(leaf.grad.numpy(), ref.grad.value, rtol=1e-7, atol=1e-9)
                    if not create:
                        ref.grad = Ref(ref.grad.value) if not leaf.grad.requires_grad else ref.grad

    @rule(
        target=pairs,
        ops=several,
        a=pairs,
        b=pairs,
        inputs=st.lists(pairs, max_size=1),
        pick=st.integers(0, 5),
        create=st.booleans(),
    )
    def grad(self, ops: Any, a: Any, b: Any, inputs: Any, pick: int, create: bool) -> Any:
        found = self.grown(ops, a, b)
        new = self.check_grad(*found[-1], [*inputs, found[pick % len(found)]], create)
        return multiple(*found[1:], *new)

    def check_grad(self, t: tg.Tensor, r: Ref, inputs: Any, create: bool) -> list[Any]:
        ts, rs = zip(*inputs)
        seed = tg.ones_like(t)
        if not all(x.recorded for x in rs):
            with pytest.raises(tape.GraphError, match=r"input \d+ .* was not recorded"):
                tg.grad(t, ts, seed)
            return []
        if not r.recorded:
            with pytest.raises(tape.GraphError, match="no output was recorded"):
                tg.grad(t, ts, seed)
            assert tg.grad(t, ts, seed, allow_unused=True) == (None,) * len(ts)
            return []
        below = reached(r)
        if any(x.freed and x not in rs for x in below):
            with pytest.raises(tape.GraphError, match="was freed by an earlier backward pass"):
                tg.grad(t, ts, seed, allow_unused=True, retain_graph=True)
            return []
        leading = set(rs)
        for x in sorted(below, key=lambda x: x.serial):
            if any(p in leading for p, _ in x.parents):
                leading.add(x)
        walked = [x for x in below if any(p in leading for p, _ in x.parents)]
        found = tg.grad(t, ts, seed, create_graph=create, allow_unused=True)
        expected = adjoints(r, Ref(np.ones(r.value.shape)))
        for g, x in zip(found, rs):
            assert (g is None) == (x not in expected)
            if g is not None:
                np.testing.assert_allclose(g.numpy(), expected[x].value, rtol=1e-7, atol=1e-9)
        if not create:
            for x in walked:
                x.free()
        if not create or found[0] is None or not found[0].requires_grad:
            return []
        slope = expected[rs[0]]
        curve = adjoints(slope, Ref(np.ones(slope.value.shape)))
        second = tg.grad(found[0], ts, tg.ones_like(found[0]), allow_unused=True, retain_graph=True)
        for g, x in zip(second, rs):
            if g is not None or x in curve:
                np.testing.assert_allclose(g.numpy(), curve[x].value, rtol=1e-6, atol=1e-8)
        return [self.pair(found[0], slope)]

    @precondition(lambda self: any(r.grad is not None for _, r in self.all))
    @rule()
    def zero_grad(self) -> None:
        for t, r in self.all:
            if r.leaf:
                t.grad = r.grad = None


TapeAndReference.TestCase.settings = settings(max_examples=250, stateful_step_count=25, deadline=None)
test_the_tape_agrees_with_a_naive_reference = TapeAndReference.TestCase


def test_the_reference_differentiates() -> None:
    """x tanh(x) and its second derivative, against differences: the judge is judged too."""

    def value(v: float) -> float:
        return v * np.tanh(v)

    x = Ref(0.6, leaf=True)
    slope = adjoints(y := multiply(x, tanh(x)), Ref(1.0))[x]
    curve = adjoints(slope, Ref(1.0))[x]
    assert y.value == pytest.approx(value(0.6))
    assert float(slope.value) == pytest.approx((value(0.6 + 1e-6) - value(0.6 - 1e-6)) / 2e-6, rel=1e-8)
    assert float(curve.value) == pytest.approx((value(0.601) - 2 * value(0.6) + value(0.599)) / 1e-6, rel=1e-5)


def test_nodes_tell_their_op_shape_and_place(eagerly: None) -> None:
    x = tg.ones((2, 3)).requires_grad_()
    assert repr((x * 2).node).startswith("<Node multiply (2, 3) #")

    @tg.cell(arity=1, state={"h": 3})
    def step(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return (kids[0].h + x) * 2

    run = tg.unfold(step, tg.chain(2), x)
    assert [b.h.node.scope.level for b in run.blocks] == [0, 1]
    assert repr(run.blocks[1].h.node).endswith("in cell step, level 1>")
