"""What the tape promises beside derivatives: no recursion, linear work, no reference cycles."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import backend, tape
from tinygrad_rnn.ops.derivatives import TABLE


def deep(steps: int) -> tuple[tg.Tensor, tg.Tensor]:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x
    for _ in range(steps):
        y = y * 1.0
    return x, y.sum()


def test_a_hundred_thousand_ops_deep_at_the_default_recursion_limit() -> None:
    assert sys.getrecursionlimit() <= 3000
    x, y = deep(100_000)
    y.backward()
    assert x.grad.tolist() == [1, 1]


def test_a_deep_graph_that_is_never_differentiated_frees_itself() -> None:
    x, y = deep(100_000)
    middle = weakref.ref(y.node.parents[0].parents[0])
    del x, y
    assert middle() is None


def test_a_deep_graph_of_retained_and_recorded_gradients_frees_itself() -> None:
    x, y = deep(20_000)
    (g,) = tg.grad((y * y).sum(), x, create_graph=True)
    (h,) = tg.grad(g.sum(), x)
    assert h.tolist() == [2 * 2] * 2
    del x, y, g, h


def count_calls(monkeypatch: pytest.MonkeyPatch, run: Callable[[], Any]) -> tuple[Counter[str], int]:
    """How often each VJP is called while `run` runs, and how many elements the parts assembled have."""
    calls: Counter[str] = Counter()
    elements = 0

    def counted(name: str, vjp: Any) -> Any:
        def call(*args: Any) -> Any:
            calls[name] += 1
            return vjp(*args)

        return call

    def assemble(keys: Any, values: Any, shape: Any) -> Any:
        nonlocal elements
        elements += int(np.prod(shape))
        return assembled(keys, values, shape)

    xp = backend.named(None)
    assembled = xp.assemble
    with monkeypatch.context() as patch:
        for name, row in TABLE.items():
            patch.setattr(row, "vjps", tuple(v and counted(name, v) for v in row.vjps))
            patch.setattr(row, "joint", row.joint and counted(name, row.joint))
        patch.setattr(xp, "assemble", assemble)
        run()
    return calls, elements


def test_each_node_is_differentiated_once_however_many_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):  # 2 ** 60 paths
        y = y + y
    calls, _ = count_calls(monkeypatch, y.backward)
    assert calls == {"add": 120}
    assert x.grad.item() == 2.0**60


@pytest.mark.parametrize("read", ["split", "index", "rows"])
def test_reading_a_table_piece_by_piece_costs_what_the_table_costs(read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    for steps in (100, 200):
        x = tg.ones((steps, 2)).requires_grad_()
        if read == "split":
            pieces = tg.split(x, steps)
        else:
            pieces = [x[t : t + 1] if read == "index" else tg.gather_rows(x, [t]) for t in range(steps)]
        h = pieces[0]
        for piece in pieces[1:]:
            h = (h + piece).tanh()
        calls, elements = count_calls(monkeypatch, h.sum().backward)
        costs.append((sum(calls.values()), elements))
        assert x.grad.shape == (steps, 2)
    (calls, elements), (twice, double) = costs
    assert twice <= 2 * calls + 10
    assert double <= 2 * elements + 10


@pytest.mark.parametrize("lengths", [[1], [3, 2, 0, 3]])
def test_unfolding_a_chain_is_linear_in_its_length(lengths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    w = tg.tensor([[0.5, 0.1], [-0.2, 0.3]], requires_grad=True)

    @tg.cell(arity=1, state={"h": 2})
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return (kids[0].h @ w + x).tanh()

    costs = []
    for steps in (50, 100):
        x = tg.ones((steps * sum(lengths), 2)).requires_grad_()
        run = tg.unfold(cell, tg.chain([steps * n for n in lengths]), x)
        calls, elements = count_calls(monkeypatch, run.all().h.sum().backward)
        costs.append((sum(calls.values()), elements))
    assert costs[1][0] <= 2 * costs[0][0] + 10
    assert costs[1][1] <= 2 * costs[0][1] + 10


# Memory.


def engine_objects() -> Counter[str]:
    return Counter(type(o).__qualname__ for o in gc.get_objects() if str(type(o).__module__).startswith("tinygrad_rnn"))


W = np.array([[0.5, 0.1], [-0.2, 0.3]])


@tg.cell(arity=2, state={"h": 2})
def pair_cell(x: tg.Tensor, kids: tg.Kids, context: Any) -> tg.Tensor:
    seen = context["memory"].sum(context["memory"].each)
    w = context["w"][:2]
    inner = tg.checkpoint(lambda a: (tg.linear(a, w)).tanh(), kids[0].h + kids[1].h)
    return inner + x + seen


@tg.cell(arity=None, state={"h": 2})
def bag_cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
    return (kids.sum(kids.softmax(kids.each.h) * kids.spread(x)) + x).tanh()


def training_step(w: tg.Tensor, table: tg.Tensor, held: list[Any]) -> None:
    """Structures made anew, slots and a multiset, context, hooks, a checkpoint, gradients of gradients, an error."""
    rng = np.random.default_rng(len(held))
    tree = tg.Structure(3, [0, 1], [2, 2], [0, 1])
    structure = tg.union([tree, tree])
    x = table[tg.asarray(rng.integers(0, 5, 6))]
    context = {"memory": tg.Ragged(tg.ones((3, 2)) @ w, [1, 2]), "w": w}
    run = tg.unfold(pair_cell, structure, x, context=context, keep=("state_grad", "parameter_grad"))
    last = tg.unfold(bag_cell, tg.grid([2], [2]), run.all().h[:4])
    remove = last.blocks[0].h.register_hook(lambda g: g * 0.5)
    loss = (last.all().h ** 2).sum() + tg.logsumexp(run.roots().h)
    (g,) = tg.grad(loss, w, create_graph=True)
    loss = loss + 0.1 * (g * g).sum()
    loss.backward()
    with pytest.raises(tape.GraphError):
        loss.backward()
    remove()
    held += map(weakref.ref, (loss.node, structure, run.blocks[0].h.data))
    run.state_grad, run.parameter_grad(w)
    w.data -= 0.1 * w.grad.data
    tape.wrote(w.data)
    w.grad = table.grad = None


def test_a_training_loop_makes_no_reference_cycles() -> None:
    w = tg.tensor(W, requires_grad=True)
    table = tg.ones((5, 2), dtype="float64").requires_grad_()
    held: list[Any] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            training_step(w, table, held)
        before = engine_objects()
        everything = len(gc.get_objects())
        for _ in range(5):
            training_step(w, table, held)
        grown = engine_objects() - before
        assert grown == Counter()
        assert len(gc.get_objects()) - everything < 100
        assert [r() for r in held] == [None] * len(held)
    finally:
        gc.enable()


def test_backward_frees_what_the_graph_saved_while_the_result_lives_on() -> None:
    x = tg.ones(3).requires_grad_()
    inner = x * 2
    array = weakref.ref(inner.data)
    loss = (inner * inner).sum()
    del inner
    assert array() is not None
    loss.backward(retain_graph=True)
    assert array() is not None
    loss.backward()
    assert array() is None
    assert loss.node is not None


def test_a_forward_pass_that_is_dropped_frees_itself_at_once() -> None:
    x = tg.ones(3).requires_grad_()
    y = (x * 2).exp()
    node = weakref.ref(y.node)
    del y
    assert node() is None


def test_a_hook_that_holds_its_tensor_is_garbage_with_it() -> None:
    x = tg.ones(1).requires_grad_()
    x.register_hook(lambda g, x=x: g * x)
    node = weakref.ref(x.node)
    del x
    gc.collect()
    assert node() is None
    assert len(tape.hooked) == 0 or all(n is not None for n in tape.hooked)


def test_under_no_grad_nothing_is_kept() -> None:
    x = tg.ones(3).requires_grad_()
    with tg.no_grad():
        y = x * 2
        array = weakref.ref(y.data)
        z = y * y
        del y
        assert array() is None
    assert not z.requires_grad
