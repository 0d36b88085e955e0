"""Promotion, devices, and what an op records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.backend import DeviceError


def t(dtype: str) -> tg.Tensor:
    return tg.ones(1, dtype=dtype)


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda: t("float32") * 2, "float32"),
        (lambda: t("float32") * 2.5, "float32"),
        (lambda: 2.5 - t("float32"), "float32"),
        (lambda: t("float32") * np.float64(2.5), "float32"),
        (lambda: np.float64(2.5) * t("float32"), "float32"),
        (lambda: t("float16") + np.float32(1), "float16"),
        (lambda: t("float32") + np.int64(1), "float32"),
        (lambda: t("int64") + np.float64(1), "float32"),
        (lambda: t("int64") + 1.0, "float32"),
        (lambda: t("int32") + 1, "int32"),
        (lambda: t("bool") + 1, "int64"),
        (lambda: t("bool") * 1.5, "float32"),
        (lambda: t("int64") + t("float32"), "float32"),
        (lambda: t("float16") * t("int64"), "float16"),
        (lambda: t("float32") * t("float64"), "float64"),
        (lambda: t("bool") + t("int32"), "int32"),
        (lambda: t("int32") + t("int64"), "int64"),
        (lambda: t("int64") / t("int64"), "float32"),
        (lambda: t("int64") / 2, "float32"),
        (lambda: 2 / t("int64"), "float32"),
        (lambda: t("int64") / 2.0, "float32"),
        (lambda: t("float64") / 2, "float64"),
        (lambda: t("int64") // 2.0, "float32"),
        (lambda: t("int64") ** 2, "int64"),
        (lambda: t("int64") ** 2.0, "float32"),
        (lambda: t("bool") ** 2, "int64"),
        (lambda: 2.0 ** t("int64"), "float32"),
        (lambda: t("int64") ** t("float32"), "float32"),
        (lambda: t("float32") @ t("float64"), "float64"),
        (lambda: t("float32") + 1j, "complex64"),
        (lambda: t("float64") + 1j, "complex128"),
        (lambda: tg.sqrt(t("int64")), "float32"),
        (lambda: tg.exp(t("bool")), "float32"),
        (lambda: tg.sigmoid(t("int32")), "float32"),
        (lambda: tg.softplus(t("int32")), "float32"),
        (lambda: tg.softmax(t("int32")), "float32"),
        (lambda: tg.logsumexp(t("int32")), "float32"),
        (lambda: tg.mean(t("int32")), "float32"),
        (lambda: tg.var(t("int32")), "float32"),
        (lambda: tg.sum(t("int32")), "int64"),
        (lambda: tg.sum(t("bool")), "int64"),
        (lambda: tg.sum(t("float16")), "float16"),
        (lambda: tg.floor(t("int32")), "int32"),
        (lambda: tg.relu(t("int32")), "int32"),
        (lambda: tg.maximum(t("int64"), 0.5), "float32"),
        (lambda: tg.where(t("bool"), 1.0, 0.0), "float32"),
        (lambda: tg.where(t("bool"), t("int64"), 0.5), "float32"),
        (lambda: tg.where(t("bool"), t("float32"), np.float64(0.5)), "float32"),
        (lambda: tg.clip(t("float32"), np.float64(0.1), 2), "float32"),
        (lambda: tg.clip(t("int64"), 0.5, None), "float32"),
        (lambda: tg.clip(t("int32"), 0, 2), "int32"),
        (lambda: tg.concat([t("float32"), t("int64")]), "float32"),
        (lambda: tg.einsum("i,i->i", t("float32"), t("float64")), "float64"),
        (lambda: tg.broadcast_to(tg.ones((2, 1), dtype="int32"), (2, 2)) @ tg.ones((2, 2), dtype="int32"), "int32"),
        (lambda: tg.ones((2, 2), dtype="int32") @ tg.broadcast_to(tg.ones((1, 2), dtype="int32"), (2, 2)), "int32"),
        (lambda: tg.argmax(t("float32")), "int64"),
        (lambda: t("float32") == t("float32"), "bool"),
    ],
)  # fmt: skip
def test_scalars_are_weak_and_floats_beat_integers(result: Any, dtype: str) -> None:
    assert result().dtype == np.dtype(dtype)


def test_two_dtypes_each_give_a_gradient_in_their_own() -> None:
    a, b = tg.ones(2, dtype="float32").requires_grad_(), tg.ones(2, dtype="float64").requires_grad_()
    ((a * b).sum() + (a @ b)).backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)


def test_an_integer_operand_is_a_constant() -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * tg.tensor([3, 4])).sum().backward()
    assert x.grad.tolist() == [3, 4]


def test_nothing_is_recorded_without_a_leaf_and_comparisons_never() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    assert not (tg.ones(1) + tg.ones(1)).requires_grad
    assert not (x > 0).requires_grad
    assert not tg.argmax(x).requires_grad
    assert (x + 1).requires_grad


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("add", lambda a, b: a + b),
        ("where", lambda a, b: tg.where(a > 0, a, b)),
        ("where", lambda a, b: tg.where(b > 0, a, a)),
        ("matmul", lambda a, b: a @ b),
        ("concat", lambda a, b: tg.concat([a, b])),
        ("einsum", lambda a, b: tg.einsum("i,i", a, b)),
        ("linear", lambda a, b: tg.linear(a, tg.expand_dims(b, axis=0))),
        ("gather_rows", lambda a, b: tg.gather_rows(a, tg.astype(b, "int64"))),
        ("equal", lambda a, b: a == b),
        ("gather", lambda a, b: tg.gather(a, tg.astype(b, "int64"))),
        ("getitem", lambda a, b: a[tg.astype(b, "int64") > 0]),
    ],
)
def test_two_devices_are_refused_by_name(name: str, act: Any) -> None:
    a, b = tg.zeros(2, device="cpu"), tg.zeros(2, device="strict")
    with pytest.raises(DeviceError, match=f"{name}.*cpu.*strict|{name}.*strict.*cpu"):
        act(a, b)


def test_the_error_of_two_devices_says_what_to_do() -> None:
    message = r"add: Tensors on cpu and strict; move one with \.to\(\)"
    with pytest.raises(DeviceError, match=message):
        tg.zeros(2, device="cpu") + tg.zeros(2, device="strict")
    assert (tg.ones(2, device="cpu").to("strict") + tg.ones(2, device="strict")).tolist() == [2, 2]


def test_a_gradient_crosses_devices_with_to() -> None:
    x = tg.ones(2, device="cpu").requires_grad_()
    y = x.to("strict")
    (y * y).sum().backward()
    assert (x.grad.device, x.grad.tolist()) == ("cpu", [2, 2])
    assert y.to("strict") is y


def test_an_error_inside_a_cell_names_the_cell_and_the_level() -> None:
    @tg.cell(arity=1, state={"h": 2})
    def wrong(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return kids[0].h + (x if kids[0].h.shape[0] == 2 else tg.ones(3))

    with pytest.raises(ValueError, match=r"add\(\[1, 2\] float32, \[3\] float32\): .* \[cell wrong, level 2\]"):
        tg.unfold(wrong, tg.chain([2, 3]), tg.ones((5, 2)))


def test_astype_is_recorded_between_floats_only() -> None:
    x = tg.tensor([1.5], requires_grad=True)
    assert tg.astype(x, "float32") is x
    assert tg.astype(x, "float64").requires_grad
    assert not tg.astype(x, "int64").requires_grad
    (tg.astype(x, "float64") * 2).sum().backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [2])


def test_a_subclass_of_ndarray_becomes_a_plain_array(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "x", dtype="float32", mode="w+", shape=(2,))
    assert (tg.asarray(mapped) + tg.ones(2)).tolist() == [1, 1]


def test_bytes_in_the_other_order_are_put_in_the_machines_own() -> None:
    x = tg.asarray(np.array([[1.5, 2.0]], dtype=np.dtype("f4").newbyteorder())).requires_grad_()
    assert x.dtype == np.float32
    assert x.dtype.isnative
    (x @ x.T).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0]]


def test_nested_tensors_keep_their_dtype_and_complex_numbers_the_precision_of_floats() -> None:
    assert tg.asarray([tg.ones(2, dtype="float64"), [1.0, 2.0]]).dtype == np.float64
    assert tg.tensor([1.0, 2.0]).dtype == tg.tensor([tg.tensor(1.0), 2]).dtype == np.float32
    assert tg.tensor([tg.tensor(2), 0.5]).dtype == tg.tensor((tg.ones(2), [0.1, 0.2])).dtype == np.float32
    assert tg.tensor([tg.tensor(2.0), 1j]).dtype == np.complex64
    assert (tg.ones(1, dtype="int8") + tg.ones(1, dtype="uint8")).dtype == np.int16
    assert (tg.ones(1, dtype="float64") + tg.ones(1, dtype="complex64")).dtype == np.complex128
    assert (tg.ones(1, dtype="float32") + tg.ones(1, dtype="int64")).dtype == np.float32


@pytest.mark.parametrize("op", [tg.logaddexp, tg.atan2, tg.hypot, tg.divide])
def test_floats_of_integers_are_the_default_ones(op: Any) -> None:
    for one, other in ((tg.asarray([1, 2]), tg.asarray([3, 4])), ([3, 4], 4), (3, 4), (tg.asarray([3]), tg.ones(1))):
        assert op(one, other).dtype == op(other, one).dtype == np.float32
    exact = op(tg.asarray([2**40 + 1]), tg.ones(1, dtype="float64"))
    assert exact.item() == op(tg.asarray([2.0**40 + 1], dtype="float64"), tg.ones(1, dtype="float64")).item()
    assert tg.erf(tg.asarray([1])).dtype == np.float32
    np.testing.assert_allclose(tg.erf(tg.asarray([1])).numpy(), [0.8427008])


def test_numpys_integers_are_axes_and_lengths_too() -> None:
    one, three = np.int64(1), np.int64(3)
    assert tg.zeros(three).shape == (3,)
    assert tg.sum(tg.ones((2, 3)), axis=one).tolist() == [3, 3]
    assert tg.reshape(tg.ones((1, 3)), three).shape == (3,)
    assert tg.squeeze(tg.ones((3, 1)), one).shape == tg.squeeze(tg.ones((1, 3, 1)), [0, 2]).shape == (3,)  # type: ignore[arg-type]
    assert tg.sum(tg.ones((2, 3)), axis=range(2)).item() == 6  # type: ignore[arg-type]
    assert tg.reshape(tg.ones((2, 3)), (n for n in (3, 2))).shape == (3, 2)  # type: ignore[arg-type]
    assert tg.arange(np.float32(2)).dtype == np.float32


def test_a_number_that_a_dtype_does_not_hold_is_no_axis() -> None:
    with pytest.raises(OverflowError, match=r"out of bounds for int8$"):
        tg.ones(1, dtype="int8") + 300
