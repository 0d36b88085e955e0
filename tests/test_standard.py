"""What the array API names beside the ops: against NumPy's functions of the same names, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

NUMBERS = np.array([[3, 1, 3], [0, 2, 1]])


def same(found: Any, expected: Any) -> None:
    for ours, theirs in zip(*(x if isinstance(x, tuple | list) else (x,) for x in (found, expected)), strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs, strict=True)


@pytest.mark.parametrize("name", ["unique_all", "unique_counts", "unique_inverse", "unique_values"])
@pytest.mark.parametrize("x", [NUMBERS, NUMBERS * 0.5, NUMBERS[:, :0], NUMBERS[0, 0]])
def test_sets_are_those_of_numpy(name: str, x: Any) -> None:
    found, expected = getattr(tg, name)(tg.asarray(x)), getattr(np, name)(x)
    expected = np.sort(expected) if name == "unique_values" else expected  # NumPy leaves their order open
    same(found, expected)
    if isinstance(expected, tuple):
        assert found._fields == expected._fields


def test_searches_are_those_of_numpy() -> None:
    x = tg.asarray(NUMBERS)
    same(tg.nonzero(x), np.nonzero(NUMBERS))
    starts, ids = np.array([0, 2, 2, 5]), np.array([[0, 2], [4, 6]])
    for side in ("left", "right"):
        same(tg.searchsorted(tg.asarray(starts), tg.asarray(ids), side=side), np.searchsorted(starts, ids, side))
    order = np.array([3, 1, 0, 2])
    mixed = np.empty_like(starts)
    mixed[order] = starts
    same(
        tg.searchsorted(tg.asarray(mixed), tg.asarray(ids), sorter=tg.asarray(order)),
        np.searchsorted(mixed, ids, sorter=order),
    )


def test_searches_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"nonzero\(\[\] int64\): it needs at least one axis"):
        tg.nonzero(tg.asarray(3))
    with pytest.raises(ValueError, match=r"searchsorted\(\[2\] int64, \[1\] int64\): .*side"):
        tg.searchsorted([0, 1], [0], side="middle")


def test_shifts() -> None:
    same(tg.bitwise_left_shift(tg.asarray(NUMBERS), 2), NUMBERS << 2)
    same(tg.bitwise_right_shift(tg.asarray(NUMBERS), tg.asarray(NUMBERS)), NUMBERS >> NUMBERS)


def test_arrays_made_to_fit() -> None:
    a, b = np.arange(3.0), np.arange(2.0)[:, None]
    same(tg.broadcast_arrays(tg.asarray(a), tg.asarray(b)), np.broadcast_arrays(a, b))
    made = tg.empty_like(tg.asarray(a), dtype=tg.int32)
    assert (made.shape, made.dtype) == ((3,), np.int32)
    with pytest.raises(ValueError, match=r"broadcast_arrays\(\[3\] float64, \[2\] float64\).*one of them 1"):
        tg.broadcast_arrays(tg.asarray(a), tg.asarray(b[:, 0]))


@pytest.mark.parametrize("count", [0, 1, 2, 3])
@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_grids_of_points(count: int, indexing: Any) -> None:
    lines = [np.arange(n + 2.0) for n in range(count)]
    found = tg.meshgrid(*map(tg.asarray, lines), indexing=indexing)
    same(found, tuple(np.meshgrid(*lines, indexing=indexing)))


def test_grids_of_what_is_no_line_are_refused() -> None:
    for arrays, indexing in (([NUMBERS], "xy"), ([NUMBERS[0]], "yx")):
        with pytest.raises(ValueError, match="meshgrid.*: indexing is 'xy' or 'ij', and each array has one axis"):
            tg.meshgrid(*map(tg.asarray, arrays), indexing=indexing)


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_differences(n: int) -> None:
    x = NUMBERS**3.0
    same(tg.diff(tg.asarray(x), n=n), np.diff(x, n=n))
    ends = {"prepend": tg.asarray(x), "append": tg.asarray(x[:1])}
    same(tg.diff(tg.asarray(x), axis=0, n=n, **ends), np.diff(np.concatenate([x, x, x[:1]]), n, axis=0))
    assert tg.gradcheck(lambda x: tg.diff(x, n=n), [tg.asarray(x).requires_grad_()])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("float32", "int64"), "float32"),
        ((np.int8, np.uint8), "int16"),
        (("float32", 2.0), "float32"),
        (("int32", 2.0), "float32"),
        (("float64", 1j), "complex128"),
        (("int16", True), "int16"),
        ((1.0,), "float32"),
        ((1, 2.0), "float32"),
        ((np.ones(1, "float64"), "float32"), "float64"),
    ],
)
def test_the_type_of_a_result_follows_the_promotion_of_ops(given: tuple[Any, ...], expected: str) -> None:
    assert tg.result_type(*given) == np.dtype(expected)


def test_types_and_their_limits() -> None:
    x = tg.ones(2)
    assert tg.result_type(x, tg.float64) == np.float64
    assert tg.finfo(x).eps == np.finfo(np.float32).eps
    assert tg.iinfo(tg.int8).max == 127
    assert tg.isdtype(x.dtype, "real floating")
    assert tg.can_cast(x, tg.float64)
    assert not tg.can_cast(tg.float64, tg.float32)
    assert tg.__array_api_version__ == "2024.12"


def test_a_tensor_knows_its_namespace() -> None:
    x = tg.ones(2)
    assert x.__array_namespace__() is tg
    assert x.to_device(x.device) is x


def test_names_of_pytorch_are_told_by_those_of_the_array_api() -> None:
    for name, ours in tg._FROM_ELSEWHERE.items():
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'; here it is {re.escape(ours)}"):
            getattr(tg, name)
        thing: Any = tg
        for part in ours.partition("(")[0].split("."):
            thing = getattr(thing, part)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'$"):
        tg.nothing


def test_each_nan_is_another_element() -> None:
    assert tg.unique_values([np.nan, 1.0, np.nan]).shape == (3,)
    assert tg.unique_counts([np.nan, 1.0, np.nan]).counts.tolist() == [1, 1, 1]
