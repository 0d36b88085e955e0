"""Differentiation as the user calls it: what is recorded, accumulated, hooked, recomputed, refused."""

from __future__ import annotations

import operator
import threading
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import GraphError


def leaf(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


# backward and .grad


def test_backward_adds_to_grad_and_grad_does_not() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    assert [g.tolist() for g in tg.grad((x * x).sum(), x)] == [[2, 4]]
    assert x.grad.tolist() == [5, 7]


def test_the_gradient_given_to_backward_weighs_the_outputs() -> None:
    x = leaf([1.0, 2.0])
    (x * x).backward(tg.tensor([1, 10]))
    assert x.grad.tolist() == [2, 40]
    assert x.grad.dtype == np.float64


def test_backward_from_a_leaf_and_from_one_element_of_any_shape() -> None:
    x = leaf([[2.0]])
    x.backward()
    (x * x).backward()
    assert x.grad.tolist() == [[5]]


def test_gradients_of_two_leaves_of_a_sum_do_not_share_what_follows() -> None:
    a, b = leaf([1.0, 1.0]), leaf([1.0, 1.0])
    (a + b).sum().backward()
    (a * 2).sum().backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([3, 3], [1, 1])


def test_a_tensor_used_many_times_gets_the_sum_whatever_the_order() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    (y[0] + y.sum() + (y * y)[1:].sum() + tg.gather_rows(y, [2, 2]).sum() + x[0]).backward()
    # dL/dy = [1 + 1, 1 + 2 * 4, 1 + 2 * 6 + 2]; dL/dx = 2 dL/dy + [1, 0, 0]
    assert x.grad.tolist() == [5, 18, 30]


def test_grad_can_be_set_and_checked() -> None:
    x = leaf([1.0, 2.0])
    x.grad = tg.tensor([3.0, 4.0], dtype="float64")
    x.sum().backward()
    assert x.grad.tolist() == [4, 5]
    x.grad = None
    assert x.grad is None
    y = x * 2
    assert y.grad is None
    for wrong, message in [
        (tg.ones(3, dtype="float64"), r"\.grad must have the Tensor's shape \(2,\), not \(3,\)"),
        (tg.ones(2), r"\.grad must have the Tensor's dtype float64, not float32"),
        (tg.ones(2, dtype="float64", device="strict" if x.device == "cpu" else "cpu"), r"\.grad must .* device"),
    ]:
        with pytest.raises(ValueError, match=message):
            x.grad = wrong
    with pytest.raises(GraphError, match=r"only a leaf .* has \.grad; on others, retain_grad\(\) keeps one"):
        y.grad = tg.ones(2, dtype="float64")


def test_what_can_not_be_differentiated_is_refused() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(GraphError, match="this Tensor was not recorded: no Tensor it was computed from requires"):
        tg.ones(1).backward()
    with pytest.raises(GraphError, match=r"backward from shape \(2,\) needs a gradient of that shape"):
        (x * 2).backward()
    with pytest.raises(ValueError, match=r"the gradient has shape \(3,\), the Tensor it belongs to \(2,\)"):
        (x * 2).backward(tg.ones(3))
    other = "strict" if x.device == "cpu" else "cpu"
    with pytest.raises(tg.DeviceError, match=f"the gradient is on {other}, the Tensor it belongs to on {x.device}"):
        (x * 2).backward(tg.ones(2, device=other))
    with pytest.raises(GraphError, match=r"input 1 \(shape \(1,\)\) was not recorded; create it with requires_grad"):
        tg.grad(x.sum(), [x, tg.ones(1)])
    with pytest.raises(GraphError, match="no output was recorded"):
        tg.grad(tg.ones(1), x)
    with pytest.raises(ValueError, match="1 grad_outputs for 2 outputs"):
        tg.grad([x.sum(), x.sum()], x, [None])


def test_a_second_backward_over_a_freed_graph_names_the_op_and_the_remedy() -> None:
    x = leaf([[1.0, 2.0]])
    y = (x @ leaf([[1.0], [1.0]])).tanh().sum()
    y.backward()
    with pytest.raises(GraphError, match=r"sum \(result shape \(\)\) was freed by an earlier .* retain_graph=True"):
        y.backward()
    z = x.exp()
    z.sum().backward()
    for act in (lambda: (z * 2).sum().backward(), lambda: tg.grad((z * 2).sum(), x), lambda: tg.grad((z * x).sum(), x)):
        with pytest.raises(GraphError, match=r"exp \(result shape \(1, 2\)\) was freed by an earlier"):
            act()
    assert tg.grad((z * 2).sum(), z)[0].tolist() == [[2, 2]]  # z itself can be asked for


def test_retain_graph_keeps_the_graph_for_another_pass() -> None:
    x = leaf([1.0, 2.0])
    y = (x * x).sum()
    y.backward(retain_graph=True)
    tg.grad(y, x, retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [4, 8]
    with pytest.raises(GraphError, match="was freed"):
        y.backward()


def test_create_graph_keeps_the_graph_and_records_the_gradient() -> None:
    x = leaf(2.0)
    y = x**4
    y.backward(create_graph=True)
    assert x.grad.requires_grad
    y.backward()
    assert x.grad.item() == 64
    (first,) = tg.grad(x**4, x, create_graph=True)
    (second,) = tg.grad(first, x, create_graph=True)
    (third,) = tg.grad(second, x)
    assert [first.item(), second.item(), third.item()] == [32, 48, 48]
    assert not third.requires_grad


# grad


def test_grad_of_several_outputs_by_several_inputs() -> None:
    x, y = leaf([1.0, 2.0]), leaf(3.0)
    gx, gy = tg.grad([(x * y), y * y], [x, y], [tg.tensor([1.0, 10.0]), None])
    assert (gx.tolist(), gy.item()) == ([3, 30], 1 + 20 + 6)


def test_grad_by_what_lies_between_and_by_an_output_itself() -> None:
    x = leaf([1.0, 2.0])
    h = x * x
    loss = (h * h).sum()
    gh, gx = tg.grad(loss, [h, x], retain_graph=True)
    assert (gh.tolist(), gx.tolist()) == ([2, 8], [4, 32])
    assert tg.grad(loss, loss, retain_graph=True)[0].item() == 1
    assert tg.grad(loss, [h, h])[1].tolist() == [2, 8]


def test_a_pass_can_stop_at_a_tensor_and_go_on_from_there() -> None:
    """The seam of truncated BPTT: what lies beyond an input is neither walked nor freed."""
    x = leaf([1.0, 2.0])
    h = x * x
    (gh,) = tg.grad((h * h).sum(), h)
    h.backward(gh)
    assert x.grad.tolist() == [4, 32]


def test_grad_walks_only_the_paths_to_its_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = leaf(1.0), leaf(2.0)
    walked = []
    row = tg.ops.derivatives.TABLE["exp"]
    vjp = row.vjps[0]
    monkeypatch.setattr(row, "vjps", (lambda xp, g, out: walked.append(1) or vjp(xp, g, out),))
    branch = y.exp().exp()
    loss = x.exp() * branch
    tg.grad(loss, x)
    assert len(walked) == 1
    branch.backward()  # the other branch was not freed
    assert y.grad is not None


def test_an_input_that_is_not_used_is_refused_or_none() -> None:
    x, y = leaf(1.0), leaf([2.0])
    with pytest.raises(GraphError, match=r"the outputs do not depend on input 1 \(shape \(1,\)\); allow_unused=True"):
        tg.grad(x * 2, [x, y])
    gx, gy = tg.grad(x * 2, [x, y], allow_unused=True)
    assert (gx.item(), gy) == (2, None)
    assert tg.grad(tg.ones(()), x, allow_unused=True) == (None,)


# What is recorded


def test_no_grad_and_enable_grad_nest_and_come_back_after_an_error() -> None:
    x = leaf(1.0)
    with tg.no_grad():
        assert not (x * 2).requires_grad
        with tg.enable_grad():
            assert (x * 2).requires_grad
            assert tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
        with pytest.raises(KeyError), tg.enable_grad():
            raise KeyError
        assert not (x * 2).requires_grad
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_no_grad_and_enable_grad_decorate() -> None:
    x = leaf(1.0)

    @tg.no_grad()
    def off(again: int) -> tuple[bool, ...]:
        """Its docstring."""
        return ((x * 2).requires_grad, *(off(again - 1) if again else ()))

    @tg.enable_grad()
    def on() -> bool:
        return (x * 2).requires_grad

    assert off(2) == (False, False, False)
    assert off(0) == (False,)
    assert off.__doc__ == "Its docstring."
    with tg.no_grad():
        assert on()


def test_recording_is_switched_for_one_thread_alone() -> None:
    x, seen = leaf(1.0), []
    with tg.no_grad():
        other = threading.Thread(target=lambda: seen.append((x * 2).requires_grad))
        other.start()
        other.join()
    assert seen == [True]


def test_backward_works_under_no_grad_and_records_nothing() -> None:
    x = leaf(2.0)
    y = x * x
    with tg.no_grad():
        y.backward()
    assert not x.grad.requires_grad


def test_detach_cuts_and_shares_the_array() -> None:
    x = leaf([1.0, 2.0])
    h = x * 2
    d = h.detach()
    assert d.data is h.data
    (d * h).sum().backward()
    assert x.grad.tolist() == [4, 8]


# checkpoint


class Pair(NamedTuple):
    left: tg.Tensor
    right: tg.Tensor


def test_a_checkpoint_gives_the_values_and_gradients_of_the_function() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])

    def fn(v: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
        h = (v * w).tanh()
        return h * h, h.sum()

    for seeds in ([1.0, 1.0], [0.0, 2.0]):
        a, b = tg.checkpoint(fn, x)
        found = tg.grad([a, b], [x, w], [tg.full((2,), seeds[0], dtype="float64"), tg.tensor(seeds[1])])
        c, d = fn(x)
        expected = tg.grad([c, d], [x, w], [tg.full((2,), seeds[0], dtype="float64"), tg.tensor(seeds[1])])
        np.testing.assert_allclose(a.numpy(), c.numpy())
        for g, h in zip(found, expected):
            np.testing.assert_allclose(g.numpy(), h.numpy(), rtol=1e-14)


def test_a_checkpoint_passes_gradcheck_with_captured_tensors() -> None:
    w = leaf([0.3, -0.4])
    tg.gradcheck(lambda v, u: tg.checkpoint(lambda a: (a * u).tanh() * a, v), [leaf([0.5, 0.2]), w])


def test_a_checkpoint_of_something_else_is_refused() -> None:
    x = leaf([1.0, 2.0])
    for wrong in ({"a": x * 2}, 3, None, (), (x * 2, 3)):
        with pytest.raises(
            TypeError, match="checkpoint: the function gave .*; it must give a Tensor or a tuple of them"
        ):
            tg.checkpoint(lambda v, wrong=wrong: wrong, x)
    y = tg.checkpoint(lambda v: v * v, h := tg.ones(2) * x[0]).sum()
    h.data = h.data * 3
    with pytest.raises(GraphError, match="checkpoint: an argument was assigned to since"):
        y.backward()
    times = []

    def changing(v: tg.Tensor) -> tg.Tensor:
        times.append(1)
        return v * 2 if len(times) == 1 else tg.ones(2)

    y = tg.checkpoint(changing, x).sum()
    with pytest.raises(GraphError, match="checkpoint: the function computes other things when it is called again"):
        y.backward()


def test_a_checkpoint_of_every_kind_of_output() -> None:
    x, w = leaf([1.0, 2.0]), leaf([5.0, 6.0])
    pair = tg.checkpoint(lambda v: Pair(v * 2, v * 3), x)
    assert type(pair) is Pair
    assert tg.grad(pair.right.sum(), x)[0].tolist() == [3, 3]
    assert tg.grad((tg.checkpoint(lambda v: v, x) * 3).sum(), x)[0].tolist() == [3, 3]  # the argument itself
    a, b, c = tg.checkpoint(lambda v: (w, v * w, tg.ones(2)), x)  # a captured Tensor, a constant
    assert not c.requires_grad
    found = tg.grad((a * 3 + b).sum(), [x, w])
    assert [g.tolist() for g in found] == [[5, 6], [4, 5]]
    y, again = tg.checkpoint(lambda v: ((h := v * 2), h), x)  # one Tensor twice
    assert tg.grad((y * 3 + again).sum(), x)[0].tolist() == [8, 8]


def test_a_checkpoint_of_what_is_not_recorded_is_the_function() -> None:
    assert tg.checkpoint(lambda v: v * 2, tg.ones(1)).tolist() == [2]
    x = leaf([1.0])
    with tg.no_grad():
        assert not tg.checkpoint(lambda v: v * 2, x).requires_grad


def test_checkpoints_nest_and_stand_in_a_row() -> None:
    x = leaf([0.5, -0.3])

    def twice(v: tg.Tensor) -> tg.Tensor:
        return tg.checkpoint(lambda a: tg.checkpoint(lambda b: (b * b).tanh(), a) + a, v)

    y = x
    for _ in range(3):
        y = twice(y)
    (g,) = tg.grad(y.sum(), x)
    z = x
    for _ in range(3):
        z = (z * z).tanh() + z
    np.testing.assert_allclose(g.numpy(), tg.grad(z.sum(), x)[0].numpy(), rtol=1e-14)


def test_a_chain_of_checkpoints_recomputes_each_once() -> None:
    calls = []
    x = leaf(0.5)
    y = x
    for _ in range(20):
        y = tg.checkpoint(lambda v: (calls.append(1), v.tanh())[1], y)
    y.backward()
    assert len(calls) == 40


def test_a_checkpoint_draws_the_same_masks_and_disturbs_no_later_draw() -> None:
    x = leaf(np.ones(50))

    def dropped(v: tg.Tensor) -> tg.Tensor:
        return v * v * tg.random.bernoulli(50, 0.5)

    def draws(checkpointed: bool) -> list[Any]:
        tg.manual_seed(0)
        y = tg.checkpoint(dropped, x) if checkpointed else dropped(x)
        between = tg.random.uniform(2).tolist()
        (g,) = tg.grad(y.sum(), x)
        return [y.tolist(), between, g.tolist(), tg.random.uniform(2).tolist()]

    assert draws(True) == draws(False)


# gradcheck


def test_gradcheck_refuses_what_it_can_not_check() -> None:
    with pytest.raises(GraphError, match="gradcheck: no input requires a gradient"):
        tg.gradcheck(tg.tanh, [tg.ones(2, dtype="float64")])
    with pytest.raises(TypeError, match="gradcheck: input 0 is float32; differences need float64"):
        tg.gradcheck(tg.tanh, [leaf([1.0], "float32")])


def test_gradcheck_takes_several_inputs_and_outputs_and_constants() -> None:
    tg.gradcheck(lambda a, c, b: (a * b, (a + c).sum()), [leaf([1.0, 2.0]), tg.ones(2), leaf([3.0, 4.0])], order=3)
    tg.gradcheck(lambda a: (a * 0 + 1).detach() * a, [leaf([1.0, 2.0])])


def test_gradcheck_finds_a_gradient_that_stops() -> None:
    with pytest.raises(AssertionError, match="first derivative: the tape gives"):
        tg.gradcheck(lambda a: a * a.detach(), [leaf([1.0, 2.0])])


def test_gradcheck_of_a_single_tensor_is_true() -> None:
    assert tg.gradcheck(lambda x: (x * x).sum(), tg.tensor([1.0, 2.0], dtype="float64", requires_grad=True))


def test_gradcheck_makes_tensors_of_arrays_and_checks_them() -> None:
    assert tg.gradcheck(lambda x: tg.tanh(x), [np.array([0.3, -0.2])])
    with pytest.raises(TypeError, match="input 0 is float32; differences need float64"):
        tg.gradcheck(tg.tanh, [np.ones(2, "f4")])


@pytest.mark.parametrize("inside", ["an op", "a checkpoint", "an unfolding"])
def test_a_write_between_a_checkpoint_and_its_backward_pass_is_noticed(inside: str) -> None:
    w = leaf([[0.5, -0.2], [0.1, 0.3]])
    cell = tg.cell(arity=1, state={"h": 2})(lambda x, kids: tg.tanh(x @ w + kids[0].h @ w))
    functions = {
        "an op": lambda x: tg.tanh(x @ w),
        "a checkpoint": lambda x: tg.checkpoint(lambda a: tg.tanh(a @ w), x),
        "an unfolding": lambda x: tg.unfold(cell, tg.chain([3]), x).all().h,
    }
    y = tg.checkpoint(functions[inside], tg.ones((3, 2), dtype="float64"))
    w.grad = tg.ones((2, 2), dtype="float64")
    tg.optim.SGD([w], lr=0.5).step()
    with pytest.raises(GraphError, match=r"saved an array of shape \(2, 2\) that was written in place since"):
        y.sum().backward()


def test_a_checkpoint_keeps_nothing_that_was_computed_inside() -> None:
    w = leaf(np.eye(64))

    def fn(x: tg.Tensor) -> tg.Tensor:
        for _ in range(3):
            x = tg.tanh(tg.einsum("ij,jk->ik", x, w))
        return x

    y = tg.checkpoint(fn, tg.ones((8, 64), dtype="float64"))
    (kept,) = y.node.parents[0].saved
    assert {a.shape for a in kept} == {(8, 64), (64, 64)}
    assert sum(a.shape == (8, 64) for a in kept) == 1  # the argument


def test_gradcheck_takes_a_single_array() -> None:
    assert tg.gradcheck(lambda x: x * x, tg.asarray(np.array([0.3, -0.2])).data)


def test_a_step_by_hand_that_would_step_nowhere_is_refused() -> None:
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    for act in (operator.iadd, operator.isub, operator.imul, operator.itruediv):
        with (
            tg.no_grad(),
            pytest.raises(GraphError, match="leave the parameter as it is: take a step with tg.optim.SGD"),
        ):
            act(w, 0.1 * w.grad)
        assert act(w, 2.0).requires_grad, "while it is recorded, it is an op like others"
    with tg.no_grad():
        total = w * 1.0
        total += 1.0
        assert total.tolist() == [2, 3]


def test_numpy_functions_compare_tensors_but_lose_no_gradient_unsaid() -> None:
    w = tg.tensor([[1.0, 2.0]], device="cpu", requires_grad=True)
    constant = tg.tensor([[1.0, 2.0]], device="cpu")
    assert np.allclose(w * 2, [[2, 4]])
    assert np.array_equal(w, constant)
    assert np.shape(w) == (1, 2)
    assert np.zeros_like(w).tolist() == [[0, 0]]
    assert np.hstack([constant, constant]).tolist() == [[1, 2, 1, 2]]
    for function in (lambda: np.hstack([constant, w]), lambda: np.dot(constant, w.T), lambda: np.linalg.norm(w)):
        with pytest.raises(
            GraphError, match=r"np[.\w]+ of a recorded Tensor has no gradient: take tg's, or give it x.num"
        ):
            function()
    with pytest.raises(ValueError, match="read-only"):
        np.copyto(w, np.zeros((1, 2)))
    with tg.no_grad():
        assert np.hstack([constant, w]).tolist() == [[1, 2, 1, 2]]


def test_an_input_that_is_computed_from_another_has_its_gradient_once() -> None:
    for recorded in (False, True):
        b = tg.tensor([1.0, 2.0], requires_grad=True)
        x = b * 2.0

        def f(x: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
            return (x * b).sum()

        found = tg.grad(tg.checkpoint(f, x, b), [b], create_graph=recorded)[0]
        assert found.tolist() == [4, 8]


def test_a_list_of_recorded_tensors_is_joined_by_stack_alone() -> None:
    losses = [(tg.ones(2).requires_grad_() * i).sum() for i in range(3)]
    for join in (tg.sum, tg.mean, tg.tensor, tg.asarray):
        with pytest.raises(GraphError, match=r"recorded Tensors has no gradient: join them with tg.stack, or detach"):
            join(losses)
    assert tg.stack(losses).sum().requires_grad
    with tg.no_grad():
        assert tg.tensor(losses).tolist() == [0, 2, 4]
    assert tg.tensor([loss.detach() for loss in losses]).tolist() == [0, 2, 4]
