"""Hooks: what they see, how they change a gradient, how they go, and gradients kept on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import tape
from tinygrad_rnn.tape import GraphError


def leaf(value: Any) -> tg.Tensor:
    return tg.tensor(value, requires_grad=True)


def test_hooks_see_the_whole_gradient_and_may_replace_it_in_order() -> None:
    x = leaf([1.0, 2.0])
    h = x * 1.0
    seen: list[Any] = []
    h.register_hook(lambda g: seen.append(("first", g.tolist())))
    h.register_hook(lambda g: g * 10)
    h.register_hook(lambda g: seen.append(("third", g.tolist())))
    x.register_hook(lambda g: g + 1)
    (h * 2 + h * 3).sum().backward()
    assert seen == [("first", [5, 5]), ("third", [50, 50])]
    assert x.grad.tolist() == [51, 51]


def test_a_hook_can_be_removed_twice_and_while_it_runs() -> None:
    x = leaf(1.0)
    calls: list[int] = []
    removers = []
    removers.append(x.register_hook(lambda g: (calls.append(1), removers[0]())[0]))
    x.register_hook(lambda g: calls.append(2))
    (x * 1).backward()
    (x * 1).backward()
    removers[0]()
    assert calls == [1, 2, 2]


def test_hooks_run_in_grad_and_are_recorded_with_create_graph() -> None:
    x = leaf(3.0)
    x.register_hook(lambda g: g * g)
    (g,) = tg.grad(x * x, x, create_graph=True)
    assert g.item() == 36
    assert tg.grad(g, x)[0].item() == 24**2  # d(2x)^2/dx = 8x, and the hook again


def test_what_a_hook_returns_must_have_the_shape() -> None:
    x = leaf([1.0, 2.0])
    h = x * 2
    h.register_hook(lambda g: g.sum())
    with pytest.raises(
        ValueError, match=r"a hook on multiply \(result shape \(2,\)\) returned a gradient of shape \(\)"
    ):
        h.sum().backward()
    with pytest.raises(GraphError, match="register_hook needs a Tensor that requires a gradient"):
        tg.ones(1).register_hook(print)


def test_a_hook_elsewhere_leaves_row_gradients_rows() -> None:
    table, x = leaf(np.zeros((9, 2))), leaf(1.0)
    h = x * 1
    h.register_hook(lambda g: None)
    (tg.gather_rows(table, [3]).sum() * h).backward()
    assert isinstance(table.node.grad, tape.Rows)


def test_a_hook_on_an_argument_of_a_checkpoint_runs_once() -> None:
    x = leaf([1.0, 2.0])
    x.register_hook(lambda g: g * 10)
    tg.checkpoint(lambda v: v * 3, x).sum().backward()
    assert x.grad.tolist() == [30, 30]


def test_a_hook_gives_a_tensor_which_gets_the_gradients_dtype() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: g.astype("float64"))
    y.sum().backward()
    assert x.grad.dtype == np.float32
    z = x * 2
    z.register_hook(lambda g: 1.0)
    with pytest.raises(TypeError, match=r"a hook on multiply .* returned a float; return a Tensor"):
        z.sum().backward()


def test_what_registers_a_hook_gives_what_removes_it() -> None:
    x = leaf(1.0)
    x.register_hook(lambda g: g * 2).remove()
    kept = x.register_hook(lambda g: g * 3)
    (x * 1).backward()
    assert x.grad.item() == 3
    kept()
    (x * 1).backward()
    assert x.grad.item() == 4


def test_a_gradient_on_the_way_is_kept_where_it_is_asked_for() -> None:
    x = leaf([1.0, 2.0])
    h = x * 2
    assert h.grad is None
    h.retain_grad()
    h.retain_grad()
    (h * h).sum().backward(retain_graph=True)
    assert h.grad.tolist() == [4, 8]
    h.sum().backward()
    assert h.grad.tolist() == [5, 9]
    assert x.grad.tolist() == [10, 18]


def test_a_leaf_keeps_its_gradient_anyway_and_what_is_not_recorded_has_none() -> None:
    x = leaf(1.0)
    x.retain_grad()
    (x * 2).backward()
    assert x.grad.item() == 2
    with pytest.raises(GraphError, match="this one is not recorded"):
        tg.ones(1).retain_grad()
    assert tg.ones(1).grad is None


def test_the_gradients_of_states_are_kept_where_an_unfolding_is_compiled() -> None:
    w = leaf([[0.5]])
    run = tg.unfold(
        tg.cell(arity=1, state={"h": 1})(lambda x, kids: tg.tanh(x + kids[0].h @ w)), tg.chain([3]), tg.ones((3, 1))
    )
    h = run.all().h
    h.retain_grad()
    (h * tg.tensor([[1.0], [2.0], [3.0]])).sum().backward()
    assert h.grad.tolist() == [[1], [2], [3]]


def test_a_gradient_on_the_way_is_kept_as_the_hooks_leave_it_and_may_be_forgotten() -> None:
    x = leaf([1.0, 2.0])
    h = x * 3
    h.retain_grad()
    h.register_hook(lambda g: g * 10)
    h.sum().backward(retain_graph=True)
    assert h.grad.tolist() == [10, 10]
    h.grad = None
    assert h.grad is None
    h.sum().backward()
    assert h.grad.tolist() == [10, 10]


def test_a_hook_that_is_there_twice_is_removed_once_by_each() -> None:
    x = leaf(1.0)

    def double(g: tg.Tensor) -> tg.Tensor:
        return g * 2

    first, second = x.register_hook(double), x.register_hook(double)
    first.remove()
    first.remove()
    (x * 1).backward()
    assert x.grad.item() == 2
    second.remove()
    (x * 1).backward()
    assert x.grad.item() == 3
