"""Making Tensors: dtypes, copies, and the array API's names."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg


@pytest.mark.parametrize(
    ("made", "dtype", "values"),
    [
        (lambda: tg.tensor([1, 2]), "int64", [1, 2]),
        (lambda: tg.tensor([1.0, 2]), "float32", [1, 2]),
        (lambda: tg.tensor([True]), "bool", [True]),
        (lambda: tg.tensor(1.5), "float32", 1.5),
        (lambda: tg.tensor([[1], [2]], dtype="float64"), "float64", [[1], [2]]),
        (lambda: tg.tensor([]), "float32", []),
        (lambda: tg.tensor([1j]), "complex64", [1j]),
        (lambda: tg.tensor(np.array([1.0])), "float64", [1]),
        (lambda: tg.tensor(np.float64(2)), "float64", 2),
        (lambda: tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]), "float32", [1, 2]),
        (lambda: tg.tensor(0.1, dtype="float64"), "float64", 0.1),
        (lambda: tg.tensor([[0.1], [1e300]], dtype="float64"), "float64", [[0.1], [1e300]]),
        (lambda: tg.asarray([16777217.0], dtype="int64"), "int64", [16777217]),
        (lambda: tg.full(1, 0.1, dtype="float64"), "float64", [0.1]),
        (lambda: tg.tensor([0.1 + 1j], dtype="complex128"), "complex128", [0.1 + 1j]),
        (lambda: tg.zeros(2), "float32", [0, 0]),
        (lambda: tg.ones((1, 2), dtype="int32"), "int32", [[1, 1]]),
        (lambda: tg.full(2, 3), "int64", [3, 3]),
        (lambda: tg.full((2,), 1.5), "float32", [1.5, 1.5]),
        (lambda: tg.full(1, True), "bool", [True]),
        (lambda: tg.full(1, 3, dtype="float16"), "float16", [3]),
        (lambda: tg.arange(3), "int64", [0, 1, 2]),
        (lambda: tg.arange(1, 2, 0.5), "float32", [1, 1.5]),
        (lambda: tg.arange(3, 0, -1), "int64", [3, 2, 1]),
        (lambda: tg.linspace(0, 1, 3), "float32", [0, 0.5, 1]),
        (lambda: tg.linspace(0, 1, 2, endpoint=False), "float32", [0, 0.5]),
        (lambda: tg.sum([1, 2], dtype="float64"), "float64", 3),
        (lambda: tg.prod([2.0, 3.0], dtype="float64"), "float64", 6),
        (lambda: tg.cumulative_sum([1, 2], dtype="float32"), "float32", [1, 3]),
        (lambda: tg.cumulative_prod([1, 2], dtype="float32"), "float32", [1, 2]),
        (lambda: tg.eye(2, 3, k=1), "float32", [[0, 1, 0], [0, 0, 1]]),
        (lambda: tg.zeros_like(tg.ones(2, dtype="float64")), "float64", [0, 0]),
        (lambda: tg.ones_like([1, 2], dtype="float32"), "float32", [1, 1]),
        (lambda: tg.full_like(tg.ones(1, dtype="int32"), 7), "int32", [7]),
        (lambda: tg.one_hot([1, 0], 2), "float32", [[0, 1], [1, 0]]),
        (lambda: tg.one_hot(1, 2, dtype="float64"), "float64", [0, 1]),
    ],
)
def test_dtypes_and_values(made: Any, dtype: str, values: Any, device: str) -> None:
    x = made()
    assert x.dtype == np.dtype(dtype)
    assert x.tolist() == values
    assert x.device == device


def test_tensor_copies_and_asarray_may_share(device: str) -> None:
    values = np.zeros(2)
    copied, shared = tg.tensor(values), tg.asarray(values)
    values[0] = 7
    assert copied.tolist() == [0, 0]
    assert shared.tolist() == ([7, 0] if device == "cpu" else [0, 0])
    again = tg.tensor(copied)
    assert again.data is not copied.data
    assert tg.asarray(copied).data is copied.data


def test_a_tensor_of_a_tensor_is_not_recorded() -> None:
    x = tg.tensor([1.0], requires_grad=True)
    assert not tg.asarray(x).requires_grad
    assert not tg.tensor(x * 2).requires_grad
    assert tg.tensor(x, requires_grad=True).is_leaf


def test_empty_has_the_shape() -> None:
    assert (tg.empty((2, 0)).shape, tg.empty(3, dtype="int64").dtype) == ((2, 0), np.int64)


@pytest.mark.parametrize(
    ("error", "act", "message"),
    [
        (TypeError, lambda: tg.tensor("abc"), "a Tensor holds numbers, not str with elements of dtype <U3"),
        (TypeError, lambda: tg.tensor([None]), "a Tensor holds numbers, not list with elements of dtype object"),
        (
            ValueError,
            lambda: tg.tensor([[1], [1, 2]]),
            "the nested lists are ragged .* every row needs the same length",
        ),
        (TypeError, lambda: tg.tensor([1], requires_grad=True), "only real floating .* not int64; use astype first"),
        (TypeError, lambda: tg.one_hot([0.5], 2), "one_hot takes integers, not float32"),
        (IndexError, lambda: tg.one_hot([0, 2], 2), r"one_hot: an index is outside 0\.\.1"),
        (IndexError, lambda: tg.one_hot([-1], 2), r"one_hot: an index is outside 0\.\.1"),
    ],
)
def test_what_is_no_tensor_is_refused(error: Any, act: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        act()


# The array API 2024.12's functions that this package has, with the keywords that the standard gives them.
STANDARD = """
abs acos acosh add all:axis,keepdims any:axis,keepdims arange:start,stop,step,dtype,device argmax:axis,keepdims
argmin:axis,keepdims argsort:axis,descending,stable asarray:dtype,device,copy asin asinh astype:copy atan atan2 atanh
bitwise_and bitwise_invert bitwise_or bitwise_xor broadcast_to:shape ceil clip:min,max concat:axis cos cosh
count_nonzero:axis,keepdims cumulative_prod:axis,dtype,include_initial cumulative_sum:axis,dtype,include_initial divide
empty:dtype,device equal exp expand_dims:axis expm1 eye:k,dtype,device flip:axis floor floor_divide
full:fill_value,dtype,device full_like:dtype,device greater greater_equal hypot isfinite isinf isnan less
less_equal linspace:start,stop,num,dtype,device,endpoint log log10 log1p log2 logaddexp logical_and logical_not
logical_or logical_xor matmul matrix_transpose max:axis,keepdims maximum mean:axis,keepdims min:axis,keepdims minimum
moveaxis multiply negative not_equal ones:dtype,device ones_like:dtype,device permute_dims:axes positive pow
prod:axis,dtype,keepdims reciprocal remainder repeat:axis reshape:shape,copy roll:shift,axis round sign sin sinh
sort:axis,descending,stable sqrt square squeeze:axis stack:axis std:axis,correction,keepdims subtract
sum:axis,dtype,keepdims take:axis take_along_axis:axis tan tanh tensordot:axes tile tril:k triu:k trunc unstack:axis
var:axis,correction,keepdims vecdot:axis where zeros:dtype,device zeros_like:dtype,device
""".split()


@pytest.mark.parametrize("entry", STANDARD)
def test_names_and_keywords_are_those_of_the_array_api(entry: str) -> None:
    name, _, keywords = entry.partition(":")
    parameters = inspect.signature(getattr(tg, name)).parameters
    assert set(filter(None, keywords.split(","))) <= set(parameters)


def test_no_public_function_says_dim() -> None:
    for name in tg.ops.__all__:
        thing = getattr(tg, name)
        if callable(thing):
            assert not {"dim", "dims", "keepdim"} & set(inspect.signature(thing).parameters), name


def test_dtypes_and_constants_are_there_by_the_array_apis_names() -> None:
    for name in ("bool", "int8", "int64", "uint8", "float32", "float64"):
        assert tg.zeros(2, dtype=getattr(tg, name)).dtype == getattr(tg, name)
    assert (tg.pi, tg.e, tg.inf, tg.newaxis) == (np.pi, np.e, np.inf, None)
    assert set(tg.__all__) <= set(dir(tg))
    assert all(hasattr(tg, name) for name in dir(tg))


def test_a_copy_is_made_where_it_is_asked_for() -> None:
    x = tg.tensor([1.0, 2.0])
    for made in (tg.asarray(x, copy=True), tg.astype(x, x.dtype, copy=True), tg.reshape(x, (2,), copy=True)):
        assert made.data is not x.data
        made.data[0] = 5.0
    assert x.tolist() == [1, 2]
    assert tg.asarray(x).data is x.data
    assert tg.reshape(tg.tensor([True, False]), (2, 1), copy=True).tolist() == [[True], [False]]
    assert tg.asarray(x, copy=False).data is x.data
    w = tg.ones(2).requires_grad_()
    (tg.astype(w, w.dtype, copy=True) * 3 + tg.reshape(w, (2,), copy=True)).sum().backward()
    assert w.grad.tolist() == [4, 4]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32"])
@pytest.mark.parametrize("op", [tg.sum, tg.prod, tg.cumulative_sum, tg.cumulative_prod])
def test_a_dtype_that_is_asked_for_is_that_of_the_result(op: Any, dtype: str) -> None:
    assert op(tg.tensor([1, 2], dtype="int64"), dtype=dtype).dtype == np.dtype(dtype)
