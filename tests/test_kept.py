"""Gradients that an unfolding keeps, against cuts, hooks and copies of the weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.cells import Binary, C, H, OneVertex, State, Unary, cycles_left_by, gradients, leaf, loss, values
from tests.graphs import predecessors


def test_kept_state_gradients_are_those_of_the_states_by_public_id() -> None:
    s, cell = tg.union([tg.grid(2, 2), tg.chain(2), tg.grid(1, 2)]), Binary()
    x = leaf(s.size, H)
    run = tg.unfold(cell, s, x, keep=("state_grad",))
    weights = tg.asarray(values(s.size, H, seed=1))
    (run.all().h * weights).sum().backward()
    kids, parts = predecessors(s), []
    for v in range(s.size):  # cut at v: what the loss says of a state that is given
        given = State(*(value.detach() for value in run.rows([v])))
        for value in given:
            value.requires_grad_()
        done: dict[int, Any] = {v: given}

        def state(u: int, done: dict[int, Any] = done) -> Any:
            if u not in done:
                below = [state(kids[u][k]) if k in kids[u] else None for k in (0, 1)]
                done[u] = cell(x[u : u + 1], OneVertex(below, cell.initial()))
            return done[u]

        total = tg.concat([state(u).h for u in range(s.size)])
        parts.append(gradients((total * weights).sum(), list(given)))
    for field in range(2):
        expected = np.concatenate([p[field] for p in parts])
        np.testing.assert_allclose(run.state_grad[field].numpy(), expected, rtol=1e-11, atol=1e-13)


def test_kept_gradients_of_a_chain_are_those_that_hooks_see_on_a_python_loop() -> None:
    """dL/dh_t, and W^(t): what step t adds to the gradient of W, through a copy of W of its own."""
    cell, x, seeds = Unary(), leaf(5, H), State(leaf(5, H, seed=4), leaf(5, C, seed=4))
    run = tg.unfold(cell, tg.chain(5), x, keep=("state_grad", "parameter_grad"))
    sum((value * seed).sum() for value, seed in zip(run.all(), seeds)).backward()
    seen: dict[tuple[str, int], np.ndarray] = {}

    def watch(t: tg.Tensor, *key: Any) -> None:
        t.register_hook(lambda g: seen.update({key: g.numpy()}))

    state, total, u = cell.initial(), tg.zeros(()), cell.u
    for t in range(5):
        cell.u = tg.positive(u)
        watch(cell.u, "u", t)
        state = State(
            *map(tg.positive, cell(x[t : t + 1], [state]))
        )  # what leaves the cell, not what c takes of h in it
        watch(state.h, "h", t)
        watch(state.c, "c", t)
        total = total + sum((value * seed[t]).sum() for value, seed in zip(state, seeds))
    total.backward()
    for name, kept in (("h", run.state_grad.h), ("c", run.state_grad.c), ("u", run.parameter_grad(u))):
        expected = np.stack([seen[name, t].reshape(kept.shape[1:]) for t in range(5)])
        np.testing.assert_allclose(kept.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_a_state_that_is_passed_on_has_a_gradient_of_its_own() -> None:
    copy = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h if kids[0].h.requires_grad else x)
    x = tg.ones((3, 1)).requires_grad_()
    run = tg.unfold(copy, tg.chain(3), x, keep=("state_grad",))
    (run.all().h * tg.tensor([[1.0], [2.0], [4.0]])).sum().backward()
    assert run.state_grad.h.tolist() == [[7], [6], [4]]


def test_states_that_the_loss_does_not_reach_have_the_gradient_0() -> None:
    run = tg.unfold(Unary(), tg.chain([2, 1]), leaf(3, H), keep=("state_grad",))
    run.rows([0]).h.sum().backward()
    assert run.state_grad.h.tolist() == [[1] * H, [0] * H, [0] * H]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("anomaly", [False, True])
def test_kept_parameter_gradients_sum_over_levels_to_grad(create_graph: bool, anomaly: bool) -> None:
    class Mixed(Binary):
        """Reads weights by products, slices, rows and sums."""

        def __call__(self, x: Any, kids: Any, context: Any = None) -> State:
            h = tg.linear(x, self.w) + kids[0].h @ self.u + self.b + tg.gather_rows(self.v, [0]) + self.w[:1]
            return State(h.tanh(), h[:, :C] + kids[1].c)

    cell, s = Mixed(), tg.grid([2, 1], [3, 2])
    x = leaf(s.size, H)
    run = tg.unfold(cell, s, x, keep=("parameter_grad",))
    if anomaly:
        with tg.detect_anomaly():
            run = tg.unfold(cell, s, x, keep=("parameter_grad",))
            loss(run.all()).backward(create_graph=create_graph)
    else:
        loss(run.all()).backward(create_graph=create_graph)
    for w in cell.weights:
        by_level = run.parameter_grad(w)
        assert by_level.shape == (s.levels, *w.shape)
        np.testing.assert_allclose(tg.sum(by_level, axis=0).numpy(), w.grad.numpy(), rtol=1e-12, atol=1e-12)
    level = plain_level_gradient(cell, s, x, 1)
    np.testing.assert_allclose(run.parameter_grad(cell.u)[1].numpy(), level, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="no gradient by level of a Tensor that requires none"):
        run.parameter_grad(tg.ones(2))
    with pytest.raises(ValueError, match=r"no backward pass has come by any parameter: call backward\(\)"):
        tg.unfold(cell, s, x, keep=("parameter_grad",)).parameter_grad(w)
    with pytest.raises(ValueError, match="no gradient by level of a Tensor that requires none"):
        run.parameter_grad("w")
    assert run.parameter_grad(leaf(2)).tolist() == [[0, 0]] * s.levels  # no parameter of the cell


def plain_level_gradient(cell: Binary, s: tg.Structure, x: tg.Tensor, level: int) -> np.ndarray:
    """dL/dU^(level): the level's vertices get a copy of U of their own, by the way of kinds."""
    twin = type(cell)()
    for name in ("w", "v", "b", "h0", "c0"):
        setattr(twin, name, getattr(cell, name))
    marked = tg.Structure(s.size, s.source, s.target, s.slot, s.example, (s.level == level).astype(int), s.examples)
    return gradients(loss(tg.unfold({0: cell, 1: twin}, marked, x).all()), [twin.u])[0]


def test_what_was_not_kept_is_not_there() -> None:
    run = tg.unfold(Unary(), tg.chain(2), leaf(2, H))
    with pytest.raises(ValueError, match=r'state gradients were not kept; unfold with keep=\("state_grad",\)'):
        _ = run.state_grad
    with pytest.raises(ValueError, match=r'parameter gradients were not kept; unfold with keep=\("parameter_grad",\)'):
        run.parameter_grad(tg.ones(1))
    with pytest.raises(ValueError, match=r"keep knows 'state_grad' and 'parameter_grad', not \['everything'\]"):
        tg.unfold(Unary(), tg.chain(2), leaf(2, H), keep=("everything",))


def test_one_name_alone_is_kept() -> None:
    run = tg.unfold(Unary(), tg.chain(2), leaf(2, H), keep="state_grad")
    run.last().h.sum().backward()
    assert run.state_grad.h.numpy()[-1].tolist() == [1.0] * H
    with pytest.raises(ValueError, match=r"keep knows .*, not \['everything'\]"):
        tg.unfold(Unary(), tg.chain(2), leaf(2, H), keep="everything")


def test_the_gradient_of_a_state_is_kept_where_nothing_that_led_to_it_has_one() -> None:
    w = tg.tensor([[0.5]], dtype="float64", requires_grad=True)
    cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: tg.tanh(x + kids[0].h @ w))
    run = tg.unfold(cell, tg.chain(4), tg.ones((4, 1), dtype="float64"), keep=("state_grad",))
    run.last().h.sum().backward()
    h, expected = run.all().h.numpy()[:, 0], [1.0]
    for state in h[:0:-1]:
        expected.insert(0, expected[0] * (1 - state**2) * 0.5)
    np.testing.assert_allclose(run.state_grad.h.numpy()[:, 0], expected, rtol=1e-12)
    with tg.no_grad():
        run = tg.unfold(cell, tg.chain(4), tg.ones((4, 1), dtype="float64"), keep=("state_grad",))
    assert not run.all().h.requires_grad


def test_what_is_kept_is_asked_for_after_a_backward_pass() -> None:
    cell = Binary()
    run = tg.unfold(cell, tg.chain(2), leaf(2, H), keep=("state_grad", "parameter_grad"))
    with pytest.raises(ValueError, match="no backward pass has come by these states: call backward"):
        _ = run.state_grad
    empty = tg.unfold(cell, tg.chain([0, 0]), leaf(0, H), keep=("state_grad",))
    assert empty.state_grad.h.shape == (0, H)


def test_states_that_are_kept_are_no_leaves_and_leave_no_cycles() -> None:
    w = tg.tensor([[0.5]], requires_grad=True)
    cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: tg.tanh(x + kids[0].h @ w))

    def run() -> tg.Unfolding:
        made = tg.unfold(cell, tg.chain(3), tg.ones((3, 1)), keep=("state_grad", "parameter_grad"))
        (made.last().h ** 2).sum().backward(create_graph=True)
        w.grad = None
        return made

    first = run()
    assert not first.all().h.is_leaf
    assert first.parameter_grad(w)[0].tolist() == [[0]]
    with pytest.raises(ValueError, match="no gradient by level of a Tensor that requires none"):
        first.parameter_grad(tg.ones(1))
    del first
    assert cycles_left_by(run) == 0
