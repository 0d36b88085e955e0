"""What the elementwise ops do at kinks, ties and extremes, and what they refuse."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


def gradient(fn: Callable[..., tg.Tensor], *values: Any) -> list[Any]:
    """The gradients of sum(fn(*values)), as lists."""
    xs = [tg.tensor(v, dtype="float64", requires_grad=True) for v in values]
    return [g.tolist() for g in tg.grad(fn(*xs).sum(), xs) if g is not None]


@pytest.mark.parametrize(
    ("fn", "values", "expected"),
    [
        (tg.maximum, ([1.0, 3.0, 2.0], [1.0, 2.0, 5.0]), [[0.5, 1, 0], [0.5, 0, 1]]),
        (tg.minimum, ([1.0, 3.0, 2.0], [1.0, 2.0, 5.0]), [[0.5, 0, 1], [0.5, 1, 0]]),
        (lambda x: tg.maximum(x, 1.0), ([1.0, 2.0],), [[0.5, 1]]),
        (tg.relu, ([-1.0, 0.0, 1.0],), [[0, 0, 1]]),
        (tg.abs, ([-1.0, 0.0, 1.0],), [[-1, 0, 1]]),
        (lambda x: tg.clip(x, -1, 1), ([-2.0, -1.0, 0.0, 1.0, 2.0],), [[0, 1, 1, 1, 0]]),
        (tg.floor, ([1.0, 1.5],), [[0, 0]]),
        (lambda x: x**0, ([0.0, 2.0],), [[0, 0]]),
        (lambda x: x**1, ([0.0, 2.0],), [[1, 1]]),
        (lambda x: x**3, ([0.0, 2.0],), [[0, 12]]),
        (lambda x: 0.0**x, ([1.0, 2.0],), [[0, 0]]),
        (tg.pow, ([0.0, 0.0, 2.0], [0.0, 2.0, 0.0]), [[0, 0, 0], [0, 0, np.log(2.0)]]),
    ],
)  # fmt: skip
def test_gradients_at_ties_and_kinks(fn: Any, values: Any, expected: Any) -> None:
    assert gradient(fn, *values) == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_are_shared_as_in_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    values = [1.0, 2.0, 2.0], [1.0, 2.0, 1.0]
    xs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    getattr(torch, name)(*xs).sum().backward()
    assert gradient(getattr(tg, name), *values) == [x.grad.tolist() for x in xs]


def test_the_mixed_derivative_of_a_power_whose_exponent_is_zero() -> None:
    x = tg.tensor(2.0, dtype="float64", requires_grad=True)
    p = tg.tensor(0.0, dtype="float64", requires_grad=True)
    (by_x,) = tg.grad(x**p, x, create_graph=True)
    assert tg.grad(by_x, p)[0].item() == pytest.approx(0.5)  # x ** (p - 1) * (1 + p log x)


def test_a_small_sigmoid_keeps_its_digits() -> None:
    x = np.linspace(-80, -10, 2000, dtype="f4")
    for part in (x, x[:10]):  # large arrays may be computed in another way
        np.testing.assert_allclose(tg.sigmoid(part).numpy(), 1 / (1 + np.exp(-part.astype("f8"))), rtol=1e-5)


def test_sigmoid_of_booleans_and_where_numpy_raises() -> None:
    np.testing.assert_allclose(tg.sigmoid([True, False]).numpy(), [0.7310586, 0.5], rtol=1e-6)
    with np.errstate(all="raise"):
        assert tg.sigmoid([-200.0, 200.0]).tolist() == pytest.approx([0, 1])


def test_extremes_neither_overflow_nor_warn() -> None:
    huge = [-1000.0, 0.0, 1000.0]
    np.testing.assert_allclose(tg.sigmoid(huge).numpy(), [0, 0.5, 1])
    np.testing.assert_allclose(tg.softplus(huge).numpy(), [0, np.log(2), 1000], rtol=1e-6)
    np.testing.assert_allclose(tg.tanh(huge).numpy(), [-1, 0, 1])
    np.testing.assert_allclose(tg.logaddexp(huge, huge).numpy(), np.asarray(huge) + np.log(2), rtol=1e-6)
    assert gradient(tg.sigmoid, [-1000.0, 1000.0]) == [[0, 0]]
    assert gradient(tg.softplus, [-1000.0, 1000.0]) == [[0, 1]]


def test_values_where_integers_and_booleans_come_in() -> None:
    assert tg.remainder([5, -5], 3).tolist() == [2, 1]
    assert tg.floor_divide([5, -5], 3).tolist() == [1, -2]
    assert (tg.tensor([5, 6]) & 4).tolist() == [4, 4]
    assert (tg.tensor([True]) ^ tg.tensor([True])).tolist() == [False]
    assert (5 | tg.tensor([2])).tolist() == [7]
    assert (~tg.tensor([True, False])).tolist() == [False, True]
    assert tg.logical_xor([1.0, 0.0], [True, True]).tolist() == [False, True]
    assert tg.logical_and(1, [0, 2]).tolist() == [False, True]
    assert tg.logical_or(0, [0, 2]).tolist() == [False, True]
    assert tg.logical_not([0.0, 2.0]).tolist() == [True, False]
    assert tg.isnan([float("nan"), 1.0]).tolist() == [True, False]
    assert tg.isinf([float("inf"), 1.0]).tolist() == [True, False]
    assert tg.isfinite([float("inf"), 1.0]).tolist() == [False, True]
    assert tg.round([0.5, 1.5, 2.5]).tolist() == [0, 2, 2]


def test_comparisons_are_elementwise_and_broadcast() -> None:
    a, b = tg.tensor([[1], [2]]), tg.tensor([1, 2])
    assert (a == b).tolist() == [[True, False], [False, True]]
    assert (a != b).tolist() == [[False, True], [True, False]]
    assert (a < b).tolist() == [[False, True], [False, False]]
    assert (a <= b).tolist() == [[True, True], [False, True]]
    assert (a > b).tolist() == [[False, False], [True, False]]
    assert (a >= 2).tolist() == [[False], [True]]
    assert (1 < a).tolist() == [[False], [True]]


def test_complex_tensors_compute_and_are_not_recorded() -> None:
    z = tg.tensor([1j, 3 + 4j])
    assert (z * z).tolist() == [-1, -7 + 24j]
    assert tg.abs(z).tolist() == [1, 5]
    x = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError, match="only real floating Tensors can require a gradient, not complex64"):
        z.requires_grad_()
    assert not tg.astype(x, "complex64").requires_grad


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a, b: a + b, r"add\(\[2, 3\] float32, \[4\] float32\): .*broadcast"),
        (lambda a, b: tg.maximum(a, b), r"maximum\(\[2, 3\] float32, \[4\] float32\): .*broadcast"),
        (lambda a, b: tg.where(a > 0, a, b), r"where\(\[2, 3\] bool, \[2, 3\] float32, \[4\] float32\): "),
        (lambda a, b: a < b, r"less\(\[2, 3\] float32, \[4\] float32\): .*broadcast"),
        (lambda a, b: tg.tensor([2]) ** -1, r"pow\(\[1\] int64, int -1\): Integers to negative integer powers"),
    ],
)
def test_shapes_that_do_not_fit_are_named_with_the_op(act: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        act(tg.ones((2, 3)), tg.ones(4))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a: a & a, r"bitwise_and\(\[3\] float32, \[3\] float32\): "),
        (lambda a: ~a, r"bitwise_invert\(\[3\] float32\): "),
        (lambda a: -tg.tensor([True]), r"negative\(\[1\] bool\): "),
        (lambda a: tg.exp("text"), "a Tensor holds numbers, not str"),
        (lambda a: a + None, "a Tensor holds numbers, not NoneType"),
    ],
)
def test_dtypes_that_do_not_fit_are_named_with_the_op(act: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        act(tg.ones(3))


def test_a_declared_op_keeps_its_name_arguments_and_documentation() -> None:
    assert (tg.multiply.__name__, tg.multiply.__doc__) == ("multiply", "x1 * x2.")
    assert list(inspect.signature(tg.multiply).parameters) == ["x1", "x2"]
    assert tg.multiply(x2=2.0, x1=tg.ones(1)).tolist() == [2.0]


def test_nodes_of_equal_shapes_share_one_tuple_and_others_do_not() -> None:
    x, y, row = (tg.ones(shape).requires_grad_() for shape in ((2, 3), (2, 3), (3,)))
    for out in (x * y, x + row, tg.tanh(x) - y, tg.ones((2, 3)) * x):
        assert out.node.shape is x.node.shape is y.node.shape
    out = row * x
    assert out.node.shape == (2, 3)
    out.sum().backward()
    assert row.grad.shape == (3,)


@pytest.mark.parametrize(
    ("act", "remedy"),
    [
        (lambda a: a + tg.ones((4, 3)), "lengths of an axis must be equal, or one of them 1"),
        (lambda a: tg.where(a > 0, a, tg.ones((4, 3))), "lengths of an axis must be equal, or one of them 1"),
        (lambda a: tg.concat([a, tg.ones((2, 2))]), "all axes but the one that is joined must be equally long"),
        (lambda a: tg.concat([a, tg.ones(2)]), "give all as many axes, with reshape or expand_dims"),
        (lambda a: tg.reshape(a, (4, 4)), "as many elements must come out as go in"),
        (lambda a: tg.flip(a, axis=5), "axes count from 0, or from the last as -1"),
        (lambda a: tg.einsum("ij,kj->ik", a, tg.ones((4, 2))), "a letter stands for one length in all operands"),
    ],
)
def test_errors_of_shapes_name_the_op_the_shapes_the_remedy_the_cell_and_the_level(act: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+\(\[2, 3\] .*; {remedy}"):
        act(tg.ones((2, 3)))
    cell = tg.cell(arity=1, state={"h": 3})(lambda x, kids: act(x))
    with pytest.raises(ValueError, match=rf"^\w+\(\[2, 3\] .*; {remedy}.* \[cell <lambda>, level 0\]"):
        tg.unfold(cell, tg.chain([1, 1]), tg.ones((2, 3)))


def test_limits_may_be_arrays() -> None:
    x = tg.tensor([-2.0, 0.5, 2.0], requires_grad=True)
    low, high = tg.tensor([-1.0, 1.0, 0.0]), tg.tensor([0.0, 3.0, 1.5])
    assert tg.clip(x, low, high).tolist() == [-1, 1, 1.5]
    assert tg.clip(x, low).tolist() == [-1, 1, 2]
    assert tg.clip(x, max=high).tolist() == [-2, 0.5, 1.5]
    assert tg.clip(x, -1.0, high).tolist() == [-1, 0.5, 1.5]
    tg.clip(x, tg.tensor(-1.0), 1.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
