"""Tensor: what it tells, how it converts, copies, pickles, and what its operators are."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import GraphError


def test_a_tensor_tells_its_shape_size_dtype_and_device(device: str) -> None:
    x = tg.zeros((2, 3), dtype="float64")
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float64, device)
    assert type(x.size) is int
    assert len(x) == 2
    with pytest.raises(TypeError, match=r"a Tensor of 0 axes has no len\(\)"):
        len(tg.tensor(1.0))


def test_values_leave_a_recorded_tensor_freely() -> None:
    x = tg.tensor([[1.0, 2.0]], requires_grad=True) * 2
    assert x.tolist() == [[2, 4]]
    assert x[0, 1].item() == 4
    values = x.numpy()
    assert values.tolist() == [[2, 4]]
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 7
    with pytest.raises(ValueError, match=r"shape \(1, 2\) has no one element; use \.tolist"):
        x.item()


def test_numpy_is_a_view_on_the_cpu(device: str) -> None:
    if device != "cpu":
        pytest.skip("from another device .numpy() is a copy")
    x = tg.ones(2)
    assert np.shares_memory(x.numpy(), x.data)
    assert np.asarray(x).tolist() == [1, 1]
    assert np.array(x, dtype="float64").dtype == np.float64


def test_a_tensor_of_another_device_is_not_converted_silently() -> None:
    x = tg.ones(2, device="strict")
    with pytest.raises(TypeError, match=r"a Tensor on strict is not converted silently; call \.numpy\(\)"):
        np.asarray(x)
    assert x.numpy().tolist() == [1, 1]
    assert x.to("cpu").device == "cpu"
    assert x.to(tg.float32).dtype == np.float32
    assert x.to(device=x.device, dtype="float32").dtype == np.float32


def test_one_element_converts_to_a_scalar() -> None:
    x = tg.tensor([[2]])
    assert (int(x), float(x), complex(x), bool(x), [5, 6, 7][x]) == (2, 2.0, 2 + 0j, True, 7)
    assert not tg.tensor(0.0)
    assert range(tg.tensor(3)) == range(3)
    with pytest.raises(TypeError, match="only an integer Tensor of one element can be an index, not float32"):
        operator.index(tg.tensor(1.0))
    with pytest.raises(ValueError, match=r"shape \(2,\) is neither true nor false; use \.any\(\) or \.all\(\)"):
        bool(tg.ones(2))


def test_equality_is_elementwise_and_hash_is_identity() -> None:
    x = tg.ones(2)
    assert (x == x).tolist() == [True, True]
    assert {x: 1}[x] == 1
    assert hash(x) != hash(tg.ones(2))


def test_iteration_gives_the_rows() -> None:
    assert [row.tolist() for row in tg.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "make"),
    [
        ("Tensor([1., 2.], dtype=float32@)", lambda: tg.tensor([1.0, 2.0])),
        ("Tensor([1.], dtype=float64@, requires_grad=True)", lambda: tg.tensor([1.0], "float64", requires_grad=True)),
        ("Tensor([2.], dtype=float32@, op=multiply)", lambda: tg.tensor([1.0], requires_grad=True) * 2),
        ("Tensor(3, dtype=int64@)", lambda: tg.tensor(3)),
    ],
)
def test_a_tensor_prints_values_dtype_device_and_record(text: str, make: Any, device: str) -> None:
    assert repr(make()) == text.replace("@", "" if device == "cpu" else f", device='{device}'")


A, B = np.array([[1.0, -2.0]]), np.array([[3.0], [0.5]])


@pytest.mark.parametrize("name", "add sub mul truediv floordiv mod lt le gt ge eq ne".split())
def test_binary_operators_are_those_of_numpy_from_either_side(name: str) -> None:
    act = getattr(operator, name)
    for other in (2.5, np.float32(2.5), 2):
        np.testing.assert_allclose(act(tg.asarray(A), other).numpy(), act(A, other))
        np.testing.assert_allclose(act(other, tg.asarray(A)).numpy(), act(other, A))
    np.testing.assert_allclose(act(tg.asarray(A), tg.asarray(B)).numpy(), act(A, B))
    np.testing.assert_allclose(act(tg.asarray(A), A.tolist()).numpy(), act(A, A))


def test_the_other_operators() -> None:
    a, b = tg.asarray(A), tg.asarray(B)
    np.testing.assert_allclose((b**2.0).numpy(), B**2)
    np.testing.assert_allclose((2**b).numpy(), 2**B)
    np.testing.assert_allclose((a @ b).numpy(), A @ B)
    np.testing.assert_allclose((A.tolist() @ b).numpy(), A @ B)
    np.testing.assert_allclose(abs(-(+a)).numpy(), abs(A))
    i = tg.tensor([1, 2, 3])
    assert (i & 1).tolist() == (1 & i).tolist() == [1, 0, 1]
    assert (i | 4).tolist() == (4 | i).tolist() == [5, 6, 7]
    assert (i ^ 1).tolist() == (1 ^ i).tolist() == [0, 3, 2]
    assert (~i).tolist() == [-2, -3, -4]


def test_arrays_on_the_left_leave_the_operator_to_the_tensor(device: str) -> None:
    if device != "cpu":
        pytest.skip("a NumPy array and a Tensor of another device do not mix")
    result = A + tg.asarray(A).requires_grad_()
    assert isinstance(result, tg.Tensor)
    assert result.requires_grad


def test_methods_do_what_the_functions_do() -> None:
    x = tg.tensor([[1.0, 4.0], [9.0, 16.0]])
    for name in "sum mean max min any all".split():
        assert getattr(x, name)(axis=1, keepdims=True).tolist() == getattr(tg, name)(x, axis=1, keepdims=True).tolist()
    for name in "exp log sqrt tanh sigmoid".split():
        assert getattr(x, name)().tolist() == getattr(tg, name)(x).tolist()
    assert x.argmax(axis=0).tolist() == [1, 1]
    assert x[:1].squeeze(0).shape == (2,)
    assert x.astype("int64").dtype == np.int64
    assert x.astype("float32") is x
    assert x.to(x.device) is x


def test_augmented_assignment_rebinds() -> None:
    x = tg.ones(2)
    same = x
    x += 1
    assert (x.tolist(), same.tolist()) == ([2, 2], [1, 1])


def test_item_assignment_writes_a_fresh_buffer() -> None:
    x = tg.tensor([1.0, 2.0, 3.0])
    view, old = x[:2], x.data
    x[0] = 7
    x[[1, 2]] = tg.tensor([8.0, 9.0])
    assert (x.tolist(), view.tolist()) == ([7, 8, 9], [1, 2])
    assert x.data is not old
    for recorded in (tg.tensor([1.0], requires_grad=True), tg.tensor([1.0], requires_grad=True) * 2):
        for into, value, what, remedy in (
            (recorded, 1, "a recorded Tensor is not", r"detach\(\) it first; a step by hand is \(p"),
            (x, recorded[0], "the value's gradient", r"detach\(\) it first"),
        ):
            with pytest.raises(GraphError, match=rf"{what}.*; use where\(\) or concat\(\), or {remedy}"):
                into[0] = value
        element = recorded[0]
        with tg.no_grad():
            x[0] = element


def test_requires_grad_is_set_on_leaves_only() -> None:
    x = tg.ones(1)
    x.requires_grad = True
    assert x.requires_grad
    assert x.is_leaf
    y = x * 2
    assert not y.is_leaf
    y.requires_grad_()
    with pytest.raises(GraphError, match=r"requires_grad can be switched off on leaves only; use detach\(\)"):
        y.requires_grad = False
    x.requires_grad = False
    assert not (x * 2).requires_grad
    with pytest.raises(TypeError, match="only real floating Tensors can require a gradient, not int64; use astype"):
        tg.tensor([1]).requires_grad_()


def test_a_frozen_leaf_has_no_gradient_and_may_be_told_so() -> None:
    x = tg.ones(2).requires_grad_()
    x.sum().backward()
    x.requires_grad_(False)
    x.grad = None
    assert x.grad is None
    y = tg.ones(2).requires_grad_() * 2
    y.grad = None
    for other in (x, y):
        with pytest.raises(GraphError, match=r"only a leaf .* has \.grad; on others, retain_grad\(\) keeps one"):
            other.grad = tg.ones(2)


def test_clone_copies_and_is_recorded() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    y = x.clone()
    assert y.data is not x.data
    (y * 3).sum().backward()
    assert x.grad.tolist() == [3]


def test_deep_copies_keep_values_gradient_and_the_wish_for_one() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    first, second = copy.deepcopy([x, x])
    assert first is second
    assert first.data is not x.data
    assert (first.tolist(), first.grad.tolist(), first.requires_grad) == ([1, 2], [2, 4], True)
    assert not copy.deepcopy(tg.ones(1)).requires_grad
    with pytest.raises(GraphError, match=r"only leaves can be copied deeply; detach\(\) the Tensor first"):
        copy.deepcopy(x * 2)


def test_pickles_keep_values_device_and_the_wish_for_a_gradient(device: str) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    twin = pickle.loads(pickle.dumps(x))
    assert (twin.tolist(), twin.dtype, twin.device, twin.requires_grad) == ([1, 2], np.float32, device, True)
    with pytest.raises(GraphError, match=r"only leaves can be pickled; detach\(\) the Tensor first"):
        pickle.dumps(x * 2)


def test_a_tensor_of_one_element_is_formatted_as_a_number() -> None:
    assert f"{tg.tensor([2.0], requires_grad=True) * 0.25:.3f}, {tg.tensor(7):03d}" == "0.500, 007"
    assert f"{tg.tensor(1.5)}".startswith("Tensor(1.5, dtype=float32")
    with pytest.raises(ValueError, match=r"shape \(2,\) has no one element"):
        format(tg.ones(2), ".3f")


def test_a_tensor_is_not_none() -> None:
    x = tg.ones(2)
    assert (x == None, x != None, None == x) == (False, True, False)  # noqa: E711


def test_what_is_empty_shows_its_shape() -> None:
    assert repr(tg.ones((0, 3), device="cpu")) == "Tensor([], shape=(0, 3), dtype=float32)"
    assert repr(tg.ones((0,), device="cpu")) == "Tensor([], dtype=float32)"
