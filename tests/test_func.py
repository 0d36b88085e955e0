"""Transforms of functions, against formulas by hand and against each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import func

A = np.random.default_rng(0).standard_normal((3, 4))
X, U = np.array([0.3, -1.2, 0.8, 0.1]), np.array([1.0, 0.5, -2.0, 0.25])
Y = np.array([0.7, -0.4, 1.5])


def t(values: Any) -> tg.Tensor:
    return tg.tensor(values, dtype="float64")


def close(ours: tg.Tensor, expected: Any) -> None:
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert ours.shape == np.shape(expected)


def layer(x: tg.Tensor) -> tg.Tensor:
    """tanh(A x): its Jacobian is diag(1 - y^2) A."""
    return (t(A) @ x).tanh()


def energy(x: tg.Tensor) -> tg.Tensor:
    """sum tanh(A x)."""
    return layer(x).sum()


SLOPES = (1 - np.tanh(A @ X) ** 2)[:, None] * A
CURVATURE = A.T @ np.diag(-2 * np.tanh(A @ X) * (1 - np.tanh(A @ X) ** 2)) @ A


def bilinear(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    """y^T A x."""
    return (y * (t(A) @ x)).sum()


def test_grad_and_value_and_grad_by_hand() -> None:
    close(func.grad(energy)(t(X)), SLOPES.sum(0))
    value, slope = func.value_and_grad(energy)(t(X))
    close(value, np.tanh(A @ X).sum())
    close(slope, SLOPES.sum(0))


def test_argnums_choose_arguments_and_a_tuple_gives_a_tuple() -> None:
    close(func.grad(bilinear)(t(X), t(Y)), A.T @ Y)
    close(func.grad(bilinear, argnums=1)(t(X), t(Y)), A @ X)
    for which, expected in (((0, 1), (A.T @ Y, A @ X)), ((1, 0), (A @ X, A.T @ Y)), ((1,), (A @ X,))):
        found = func.grad(bilinear, argnums=which)(t(X), t(Y))
        assert type(found) is tuple
        for ours, theirs in zip(found, expected, strict=True):
            close(ours, theirs)
    value, (by_x, by_y) = func.value_and_grad(bilinear, argnums=(0, 1))(t(X), t(Y))
    close(value, Y @ A @ X)
    close(by_x, A.T @ Y)
    close(by_y, A @ X)


@pytest.mark.parametrize("order", range(5))
def test_grad_nests_to_any_order(order: int) -> None:
    fn: Callable[..., Any] = lambda x: tg.sin(x) * x  # noqa: E731 - it is wrapped again and again
    for _ in range(order):
        fn = func.grad(fn)
    x = 0.7  # the n-th derivative of x sin x is x sin(x + n pi/2) + n sin(x + (n - 1) pi/2)
    expected = x * np.sin(x + order * np.pi / 2) + order * np.sin(x + (order - 1) * np.pi / 2)
    close(fn(t(x)), expected)


def test_an_inner_derivative_does_not_confuse_its_variable_with_the_outer_one() -> None:
    assert func.grad(lambda x: x * func.grad(lambda y: x + y)(t(1.0)))(t(2.0)).item() == 1
    assert func.grad(lambda x: func.grad(lambda y: x * y * y)(x))(t(3.0)).item() == 12  # d/dx of 2 x x


def test_results_are_recorded_so_that_backward_goes_on_from_them() -> None:
    x = t(X).requires_grad_()
    (func.grad(energy)(x) * t(U)).sum().backward()
    close(x.grad, CURVATURE @ U)
    w = t(2.0).requires_grad_()
    func.grad(lambda v: w * v * v)(t(3.0)).backward()  # of what the function closes over
    assert w.grad.item() == 6


def test_a_transform_leaves_its_arguments_as_they_were() -> None:
    x, leaf = t(X), t(X).requires_grad_()
    for transform in (func.grad(energy), func.hessian(energy), func.jacobian(layer)):
        transform(x)
        transform(leaf)
    assert not x.requires_grad
    assert leaf.grad is None


def test_numbers_and_lists_are_taken_as_tensors() -> None:
    assert func.grad(lambda x: x**3)(2.0).item() == 12
    assert func.jacobian(lambda x: x * x)([1.0, 2.0]).tolist() == [[2, 0], [0, 4]]


def test_vjp_is_the_cotangent_times_the_jacobian() -> None:
    value, pullback = func.vjp(layer, t(X))
    close(value, np.tanh(A @ X))
    close(pullback(t(Y))[0], Y @ SLOPES)
    close(pullback(t(2 * Y))[0], 2 * Y @ SLOPES)  # as often as wanted
    _, both = func.vjp(bilinear, t(X), t(Y))
    found = both(t(2.0))
    assert len(found) == 2
    close(found[0], 2 * A.T @ Y)
    close(found[1], 2 * A @ X)


def test_jvp_is_the_jacobian_times_the_tangent() -> None:
    value, pushed = func.jvp(layer, [t(X)], [t(U)])
    close(value, np.tanh(A @ X))
    close(pushed, SLOPES @ U)
    close(pushed, (func.jacobian(layer)(t(X)) @ t(U)).numpy())
    _, pushed = func.jvp(bilinear, [t(X), t(Y)], [t(U), t([1.0, 0.0, 2.0])])
    close(pushed, Y @ A @ U + [1.0, 0.0, 2.0] @ A @ X)
    _, second = func.jvp(func.grad(energy), [t(X)], [t(U)])
    close(second, CURVATURE @ U)


def test_one_argument_may_stand_alone() -> None:
    close(func.jvp(layer, t(X), t(U))[1], SLOPES @ U)
    close(func.jvp(layer, X, U)[1] if t(X).device == "cpu" else func.jvp(layer, t(X), t(U))[1], SLOPES @ U)
    close(func.hvp(energy, t(X), t(U)), CURVATURE @ U)
    close(func.hvp(lambda x: (x**3).sum(), t(X[None]), t(U[None])), 6 * X[None] * U[None])


def test_jacobian_has_the_shape_of_the_result_and_then_of_the_argument() -> None:
    close(func.jacobian(layer)(t(X)), SLOPES)
    weights = func.jacobian(lambda w: w @ t(X))(t(A))
    close(weights, np.einsum("ik,j->ikj", np.eye(3), X))
    by_y, by_x = func.jacobian(lambda x, y: y[:2, None] * x, argnums=(1, 0))(t(X), t(Y))
    close(by_y, np.einsum("ik,j->ijk", np.eye(2, 3), X))
    close(by_x, np.einsum("i,jk->ijk", Y[:2], np.eye(4)))
    close(func.jacobian(energy)(t(X)), SLOPES.sum(0))  # of a number: the gradient
    assert func.jacobian(lambda x: x[:0])(t(X)).shape == (0, 4)


def test_hessian_by_hand_is_symmetric_and_hvp_multiplies_by_it() -> None:
    matrix = func.hessian(energy)(t(X))
    close(matrix, CURVATURE)
    close(func.hvp(energy, [t(X)], [t(U)])[0], CURVATURE @ U)
    close(func.hvp(energy, [t(X)], [t(U)])[0], (matrix @ t(U)).numpy())
    close(func.hessian(lambda x, y: (x * y * y).sum(), argnums=1)(t(U), t(X)), np.diag(2 * U))
    tensor = func.hessian(lambda w: (w * w).sum())(t(A))
    close(tensor, 2 * np.eye(12).reshape(3, 4, 3, 4))


def test_hvp_of_several_arguments_is_the_whole_hessian() -> None:
    by_x, by_y = func.hvp(bilinear, [t(X), t(Y)], [t(U), t([1.0, 0.0, 2.0])])
    close(by_x, A.T @ [1.0, 0.0, 2.0])
    close(by_y, A @ U)


@pytest.mark.parametrize(
    "constant", [lambda x: tg.ones(()), lambda x: tg.zeros_like(x).sum(), lambda x: x.detach().sum()]
)
def test_what_does_not_depend_on_an_argument_has_zeros(constant: Any) -> None:
    zeros = np.zeros(4)
    close(func.grad(constant)(t(X)), zeros)
    close(func.hessian(constant)(t(X)), np.zeros((4, 4)))
    close(func.vjp(constant, t(X))[1](t(1.0))[0], zeros)
    close(func.hvp(constant, [t(X)], [t(U)])[0], zeros)
    close(func.jvp(constant, [t(X)], [t(U)])[1], 0.0)
    close(func.grad(lambda x, y: y.sum(), argnums=(0, 1))(t(X), t(Y))[0], zeros)
    close(func.hessian(lambda x: x.sum())(t(X)), np.zeros((4, 4)))


def test_transforms_go_through_an_unfolding() -> None:
    """h_t = u h_{t-1} + x_t: h_3 = u^2 x_1 + u x_2 + x_3."""

    def final(u: tg.Tensor, x: tg.Tensor) -> tg.Tensor:
        cell = tg.cell(arity=1, state={"h": 1})(lambda row, kids: kids[0].h * u + row)
        return tg.unfold(cell, tg.chain(3), x).last().h.sum()

    u, x = t(3.0), t([[2.0], [5.0], [7.0]])
    by_u, by_x = func.grad(final, argnums=(0, 1))(u, x)
    assert (by_u.item(), by_x.tolist()) == (2 * 3 * 2 + 5, [[9], [3], [1]])
    assert func.hessian(final)(u, x).item() == 4
    mixed = func.jacobian(func.grad(final), argnums=1)(u, x)
    assert mixed.tolist() == [[6], [1], [0]]
    assert func.jvp(final, [u, x], [t(1.0), t([[0.0], [1.0], [0.0]])])[1].item() == 17 + 3


def test_dtypes_stay() -> None:
    x = tg.tensor([1.0, 2.0])
    f = lambda x: (x**3).sum()  # noqa: E731
    one = [tg.ones(2)]
    for result in (
        func.grad(f)(x), func.hessian(f)(x), func.jacobian(f)(x), func.hvp(f, [x], one)[0], func.jvp(f, [x], one)[1]
    ):  # fmt: skip
        assert result.dtype == np.float32


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda: func.grad(layer)(t(X)), ValueError, r"to one number, not to shape \(3,\); use jacobian"),
        (lambda: func.value_and_grad(layer)(t(X)), ValueError, r"to one number, not to shape \(3,\); use jacobian"),
        (lambda: func.hessian(layer)(t(X)), ValueError, r"to one number, not to shape \(3,\); use jacobian"),
        (lambda: func.hvp(layer, [t(X)], [t(U)]), ValueError, r"to one number, not to shape \(3,\); use jacobian"),
        (lambda: func.grad(energy, argnums=1)(t(X)), IndexError, "index out of range"),
        (lambda: func.grad(lambda n: n * 2)(tg.tensor(3)), TypeError, "int64"),
        (lambda: func.vjp(layer, t(X))[1](t(X)), ValueError, r"\(4,\).*\(3,\)|\(3,\).*\(4,\)"),
        (lambda: func.jvp(bilinear, [t(X), t(Y)], [t(U)]), ValueError, "takes a tangent for each primal, of its shape"),
        (lambda: func.jvp(lambda x: x * x, [t(X)], [t([X, X])]), ValueError, "of its shape: .*, not"),
        (lambda: func.hvp(lambda x: (x**4).sum(), [t(X)], [t([X, X])]), ValueError, "of its shape: .*, not"),
        (lambda: func.hvp(bilinear, [t(X), t(Y)], [t(U)]), ValueError, "takes a tangent for each primal, of its shape"),
    ],
)  # fmt: skip
def test_a_wrong_use_is_refused(act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act()


def test_transforms_do_their_own_recording() -> None:
    with tg.no_grad():
        assert func.grad(lambda x: x**3)(tg.tensor(2.0)).item() == 12
        assert func.jvp(lambda x: x * x, [tg.tensor(3.0)], [tg.tensor(1.0)])[1].item() == 6
        assert func.hessian(lambda x: (x**3).sum())(tg.tensor([1.0])).tolist() == [[6]]


@pytest.mark.parametrize("transform", [func.grad, func.value_and_grad, func.jacobian, func.hessian])
def test_a_value_in_place_of_the_number_of_an_argument_is_told_apart(transform: Any) -> None:
    with pytest.raises(TypeError, match=r"argnums are numbers of arguments: first make the derivative, then call it"):
        transform(lambda x: (x * x).sum(), tg.ones(2))(tg.ones(2))
