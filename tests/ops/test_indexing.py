"""Reading parts of Tensors: every kind of index against NumPy's, gathers, scatters, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.ops.table import on_device
from tinygrad_rnn import ops
from tinygrad_rnn.backend import Index

X = np.arange(60.0).reshape(3, 4, 5)


@pytest.mark.parametrize(
    "key",
    [
        1, -1, slice(None), slice(1, 3), slice(2, 1), slice(5, 9), slice(-2, None), slice(None, None, -1),
        slice(0, 3, 2), None, ..., (), (1, 2, 3), (slice(None), 2), (slice(None), slice(1, 3)), (..., slice(1, 3)),
        (..., 0), (None, 1), (slice(None), None, slice(0, 2)), np.array([2, 0, 2]), np.array([[0, 1], [-1, 0]]),
        np.array([], np.int64), (np.array([0, 2]), np.array([1, 1])), (np.array([0, 2]), slice(None), np.array([1, 1])),
        (slice(None), np.array([3, 3])), (0, np.array([3, 3])), np.array([True, False, True]), X > 30,
        (slice(None), np.array([True, False, True, False])), np.array(True), np.array(1), np.int64(2),
    ],
    ids=repr,
)  # fmt: skip
def test_an_index_reads_what_numpy_reads_and_its_gradient_comes_back_there(key: Any) -> None:
    x = tg.tensor(X, requires_grad=True)
    out = x[on_device(key)]
    expected = X[key]
    np.testing.assert_array_equal(out.numpy(), expected)
    weights = np.random.default_rng(0).standard_normal(expected.shape)
    (out * tg.asarray(np.asarray(weights))).sum().backward()
    there = np.zeros_like(X)
    np.add.at(there, key, weights)
    np.testing.assert_allclose(x.grad.numpy(), there, atol=1e-14)


def test_lists_are_indices_too() -> None:
    x = tg.tensor(X)
    np.testing.assert_array_equal(x[[0, 2]].numpy(), X[[0, 2]])
    np.testing.assert_array_equal(x[[True, False, True]].numpy(), X[[True, False, True]])
    np.testing.assert_array_equal(x[1, [0, 3]].numpy(), X[1, [0, 3]])


def test_a_table_read_by_rows_keeps_its_gradient_as_rows() -> None:
    table = tg.zeros((1000, 2)).requires_grad_()
    (table[tg.tensor([3, 5, 3])] * tg.tensor([[1.0], [2.0], [4.0]])).sum().backward()
    rows = table.node.grad
    assert rows.values.shape == (3, 2)
    distinct = rows.coalesced()
    assert (distinct.index.tolist(), distinct.values.tolist()) == ([3, 5], [[5, 5], [2, 2]])
    assert table.grad.shape == (1000, 2)
    assert table.grad[3].tolist() == [5, 5]
    tg.gather_rows(table, [5]).sum().backward()
    assert table.node.grad.values.shape == (4, 2)
    assert table.grad[5].tolist() == [3, 3]
    table.sum().backward()  # dense joins rows
    assert table.grad[5].tolist() == [4, 4]
    assert table.grad[0].tolist() == [1, 1]
    tg.gather_rows(table, [0]).sum().backward()  # rows join dense
    assert table.grad[0].tolist() == [2, 2]


def test_gathers_and_scatters_are_adjoint() -> None:
    rng = np.random.default_rng(0)
    x, y = tg.asarray(rng.standard_normal((5, 2))), tg.asarray(rng.standard_normal((4, 2)))
    index = [4, 0, 4, 2]
    left = (tg.gather_rows(x, index) * y).sum().item()
    right = (x * tg.scatter_add_rows(y, index, 5)).sum().item()
    assert left == pytest.approx(right, rel=1e-14)


def test_segments() -> None:
    rows = tg.tensor([[1.0], [5.0], [3.0], [5.0]], requires_grad=True)
    assert tg.segment_max(rows, [0, 2, 2, 2], 4).tolist() == [[1], [0], [5], [0]]
    assert tg.segment_max(rows, [0, 2, 2, 2], 4, initial=-1.0).tolist() == [[1], [-1], [5], [-1]]
    of_integers = tg.segment_max(tg.tensor([[3], [-1]], dtype="int32"), [0, 2], 3)
    assert (of_integers.tolist(), of_integers.dtype.name) == ([[3], [0], [-1]], "int32")
    assert tg.segment_max(tg.tensor([0, 0], dtype="uint32"), [0, 0], 2, initial=5).tolist() == [0, 5]
    assert tg.segment_max(tg.tensor([False, True], device="cpu"), [0, 0], 2).tolist() == [True, False]
    tg.segment_max(rows, [0, 2, 2, 2], 4).sum().backward()
    assert rows.grad.tolist() == [[1], [0.5], [0], [0.5]]  # the tie is shared, the empty segments give nothing
    assert tg.segment_sum(rows, [3, 0, 3, 0], 4).tolist() == [[10], [0], [0], [4]]
    assert tg.segment_sum(tg.ones((0, 2)), [], 2).tolist() == [[0, 0], [0, 0]]


def test_parts_are_assembled_by_every_kind_of_key() -> None:
    at = tg.tensor([1, 1]).data
    keys = [(0, 0, 1), (0, 1, 3), tg.tensor([0, 0]).data, Index((at, at), True), Index(2, False)]
    values = [tg.ones((1, 2)), 2 * tg.ones((2, 2)), tg.ones((2, 2)), tg.ones(2), 10 * tg.ones(2)]
    whole = ops.assemble(keys, values, (3, 2))
    assert whole.tolist() == [[3, 3], [2, 4], [12, 12]]
    tiles = ops.assemble([(1, 1, 2), (1, 0, 1)], [tg.ones((2, 1)), tg.zeros((2, 1))], (2, 2))
    assert tiles.tolist() == [[0, 1], [0, 1]]
    for key, value in zip(keys, values):
        assert ops.part(whole, key).shape == value.shape


@pytest.mark.parametrize(
    ("error", "act", "message"),
    [
        (IndexError, lambda a: a[5], r"getitem\(\[2, 3\] float32\): index 5 does not fit shape \(2, 3\): "),
        (IndexError, lambda a: a[0, 0, 0], r"index \(0, 0, 0\) does not fit shape \(2, 3\): too many indices"),
        (IndexError, lambda a: a[tg.tensor([True] * 3)], r"index \(with arrays\) does not fit shape \(2, 3\): boolean"),
        (IndexError, lambda a: a["x"], r"index x does not fit shape \(2, 3\): "),
        (IndexError, lambda a: a[0, tg.tensor([0.5])], r"index \(with arrays\) does not fit shape \(2, 3\): "),
        (IndexError, lambda a: tg.tensor(1.0)[:], r"does not fit shape \(\)"),
        (
            TypeError,
            lambda a: tg.gather_rows(a, [0.5]),
            "gather_rows: the index must be integers of one axis, not float",
        ),
        (
            TypeError,
            lambda a: tg.gather_rows(a, [[0]]),
            r"the index must be integers of one axis, not .* shape \(1, 1\)",
        ),
        (ValueError, lambda a: tg.gather_rows(tg.tensor(1.0), [0]), "gather_rows needs at least one axis"),
        (
            ValueError,
            lambda a: tg.scatter_add_rows(a, [0], 3),
            r"scatter_add_rows: rows of shape \(2, 3\) for 1 indices",
        ),
        (ValueError, lambda a: tg.segment_max(a, [0], 3), r"segment_max: rows of shape \(2, 3\) for 1 indices"),
        (
            ValueError,
            lambda a: tg.segment_max(tg.tensor(1.0), [0], 3),
            r"segment_max: rows of shape \(\) for 1 indices",
        ),
        (
            ValueError,
            lambda a: tg.gather(a, [0]),
            r"gather: indices of shape \(1,\) do not fit x of shape \(2, 3\) along",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_the_op(error: Any, act: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        act(tg.ones((2, 3)))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda a: a[[9]], "gather_rows: index 9 is out of range for 2 rows"),
        (lambda a: tg.take(a, [7], axis=1), "gather_rows: index 7 is out of range for 3 rows"),
        (lambda a: tg.gather_rows(a, [-3]), "gather_rows: index -3 is out of range for 2 rows"),
        (lambda a: tg.scatter_add_rows(a, [0, 5], 3), "scatter_add_rows: index 5 is out of range for 3 rows"),
        (lambda a: tg.segment_max(a, [0, 5], 3), "segment_max: index 5 is out of range for 3 rows"),
        (lambda a: tg.gather(a, [[9], [0]]), r"index \(with arrays\) does not fit shape \(2, 3\)"),
        (lambda a: a[[0, 9], [0, 0]], r"index \(with arrays\) does not fit shape \(2, 3\): index 9 is out of bounds"),
    ],
)
def test_an_index_out_of_range_is_named(act: Any, message: str, device: str) -> None:
    if device != "cpu":
        pytest.skip("indices are checked on the host only: to check them a GPU would have to be waited for")
    with pytest.raises(IndexError, match=message):
        act(tg.ones((2, 3)))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int32", "uint64"])
def test_indices_of_any_integer_dtype_add_where_they_repeat(dtype: str) -> None:
    x = tg.tensor([0.0, 1.0, 2.0], requires_grad=True)
    index = tg.asarray(np.array([2, 0, 2], dtype))
    tg.sum(x[index]).backward()
    assert x.grad.tolist() == [1, 0, 2]
    assert tg.scatter_add_rows([1.0, 2.0, 3.0], index, 3).tolist() == [2, 0, 4]


def test_a_small_dtype_may_count_from_the_end_of_many_rows() -> None:
    assert tg.arange(300)[tg.asarray(np.array([-1], np.int8))].tolist() == [299]


@pytest.mark.parametrize("key", [(slice(None), (0, 0)), ((0, 0),), (slice(None), range(2))])
def test_tuples_and_ranges_inside_an_index_are_lists(key: Any) -> None:
    x = tg.tensor(np.zeros((2, 3)), requires_grad=True)
    expected = np.zeros((2, 3))
    np.add.at(expected, tuple(list(k) if isinstance(k, tuple | range) else k for k in key), 1)
    tg.sum(x[key]).backward()
    assert x.grad.tolist() == expected.tolist()
