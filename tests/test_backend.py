"""The backends: devices by name, the functions beside the array API's, and the fast ways of putting arrays together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import backend
from tinygrad_rnn.backend import DeviceError, Index


def xp() -> backend.Backend:
    return backend.named(None)


def host(array: Any) -> np.ndarray:
    return backend.of(array).to_numpy(array)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.bool_])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0,), (1,), (-1,), (0, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_of_large_matrices_are_those_of_numpy(dtype: Any, axis: Any, keepdims: bool) -> None:
    whole = np.random.default_rng(0).integers(-3, 4, (40, 30)).astype(dtype)  # integers: each order gives the same sum
    repeated = np.broadcast_to(whole[:1], (40, 30))
    for x in (whole, whole.T, whole[:, 3:20], whole[::-2], repeated, whole[:, :1], whole[:0]):
        mine, theirs = backend.NUMPY.sum(x, axis=axis, keepdims=keepdims), np.sum(x, axis=axis, keepdims=keepdims)
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        assert np.array_equal(mine, theirs)


def test_what_is_not_finite_stays_in_its_own_row_and_column_of_a_sum() -> None:
    x = np.ones((40, 30))
    x[7, 3], x[8, 4], x[9, 5], x[10, 5] = np.nan, np.inf, np.inf, -np.inf
    for axis in (0, 1):
        with np.errstate(invalid="ignore"):  # inf - inf
            np.testing.assert_array_equal(backend.NUMPY.sum(x, axis=axis), np.sum(x, axis=axis))


@pytest.mark.parametrize("name", ["tpu", "cpu:1", "cuda:x", "", "cuda:"])
def test_a_device_that_does_not_exist_is_named(name: str) -> None:
    if not name:
        assert backend.named(name) is xp()
        return
    with pytest.raises(DeviceError, match=f"unknown device '{name}'; use one of 'cpu', 'cuda'|needs CuPy"):
        backend.named(name)


def test_without_cupy_the_error_says_what_to_install() -> None:
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(DeviceError, match=r"device 'cuda' needs CuPy and an NVIDIA GPU .*'cupy-cuda12x\[ctk\]'"):
            tg.zeros(1, device="cuda")
    else:
        pytest.skip("CuPy is installed")


def test_the_default_device_is_where_tensors_are_made(device: str) -> None:
    assert tg.default_device() == device
    other = "cpu" if device != "cpu" else "strict"
    tg.set_default_device(other)
    try:
        assert tg.zeros(1).device == tg.tensor([1.0]).device == tg.random.uniform(1).device == other
        with pytest.raises(DeviceError, match="unknown device 'tpu'"):
            tg.set_default_device("tpu")
        assert tg.default_device() == other
    finally:
        tg.set_default_device(device)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(
        TypeError, match="list is no array of NumPy or CuPy; numpy.asarray or tg.tensor makes one of it"
    ):
        backend.of([1])
    with pytest.raises(TypeError, match=r"Tensor is no array of NumPy or CuPy; a Tensor's .data takes y.data"):
        backend.of(tg.ones(1))
    assert backend.of(np.float64(1)) is backend.NUMPY
    assert backend.known(np.ones(1))
    assert not backend.known(np.float64(1))
    assert not backend.known([1])


def test_names_of_the_array_api_are_found_under_their_old_names_too() -> None:
    class Old:
        arccos = staticmethod(lambda x: "arccos")

    old = backend.Backend("old", Old, list, np.asarray, list)
    assert old.acos(1) == "arccos"
    with pytest.raises(AttributeError):
        _ = old.nonsense


def test_erf_and_sigmoid() -> None:
    x = xp().asarray(np.array([[-1.0, 0.0], [0.5, 30.0]]))
    np.testing.assert_allclose(host(xp().erf(x)), [[-0.8427007929497149, 0], [0.5204998778130465, 1]], rtol=1e-14)
    np.testing.assert_allclose(host(xp().sigmoid(x)), 1 / (1 + np.exp(-host(x))), rtol=1e-14)
    small = xp().asarray(np.float32(0.5))
    assert xp().sigmoid(small).dtype == xp().erf(small).dtype == np.float32


@given(
    index=st.lists(st.integers(0, 4), max_size=9),
    ordered=st.booleans(),
    width=st.sampled_from([(), (2,), (2, 3), (0,)]),
)
def test_scatter_add_and_segment_max_are_their_loops(index: list[int], ordered: bool, width: tuple[int, ...]) -> None:
    index = sorted(index) if ordered else index
    rows = np.random.default_rng(0).standard_normal((len(index), *width))
    total, top = np.zeros((5, *width)), np.full((5, *width), -7.0)
    for i, row in zip(index, rows):
        total[i] += row
        top[i] = np.maximum(top[i], row)
    a, i = xp().from_numpy(rows), xp().from_numpy(np.asarray(index, np.int64))
    np.testing.assert_allclose(host(xp().scatter_add_rows(a, i, 5)), total, atol=1e-14)
    np.testing.assert_array_equal(host(xp().segment_max(a, i, 5, -7.0)), top)
    np.testing.assert_array_equal(host(xp().gather_rows(xp().from_numpy(total), i)), total[np.asarray(index, int)])


@given(data=st.data())
def test_assembling_parts_is_adding_them_one_by_one(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(4,), (4, 3), (3, 4)]))
    rng, whole, keys, values = np.random.default_rng(data.draw(st.integers(0, 99))), np.zeros(shape), [], []
    for kind in data.draw(st.lists(st.sampled_from(["span", "rows", "index", "cell"]), min_size=1, max_size=5)):
        if kind == "span":
            axis = data.draw(st.integers(0, len(shape) - 1))
            start = data.draw(st.integers(0, shape[axis]))
            stop = data.draw(st.integers(start, shape[axis]))
            where: Any = (slice(None),) * axis + (slice(start, stop),)
            key: Any = (axis, start, stop)
        elif kind == "rows":
            where = rng.integers(0, shape[0], 3)
            key = xp().from_numpy(where)
        elif kind == "index":
            where = (rng.integers(0, shape[0], 3), *(rng.integers(0, n, 3) for n in shape[1:]))
            key = Index(tuple(xp().from_numpy(w) for w in where), True)
        else:
            where = tuple(int(rng.integers(n)) for n in shape)
            key = Index(where, False)
        value = rng.standard_normal(whole[where].shape)
        np.add.at(whole, where, value)
        keys.append(key)
        values.append(xp().from_numpy(np.asarray(value)))
    np.testing.assert_allclose(host(xp().assemble(keys, values, shape)), whole, atol=1e-14)
    for key, value in zip(keys, values):
        assert xp().part(xp().from_numpy(whole), key).shape == value.shape


def test_parts_that_tile_an_axis_are_joined_not_added() -> None:
    parts = [xp().from_numpy(np.full((n, 2), float(n))) for n in (2, 1, 3)]
    tiled = xp().assemble([(0, 3, 5), (0, 2, 3), (0, 0, 2)], [parts[0], parts[1], parts[0]], (5, 2))
    assert host(tiled)[:, 0].tolist() == [2, 2, 1, 2, 2]
    overlapping = xp().assemble([(0, 0, 2), (0, 1, 4)], [parts[0], parts[2]], (5, 2))
    assert host(overlapping)[:, 0].tolist() == [2, 5, 3, 3, 0]


@given(st.lists(st.integers(0, 3), max_size=3), st.lists(st.integers(0, 3), max_size=4), st.booleans(), st.booleans())
def test_repeating_is_numpys(have: list[int], wanted: list[int], fits: bool, scattered: bool) -> None:
    if fits:
        have = [n if i % 2 else 1 for i, n in enumerate(wanted)][-3:]
    x = np.arange(float(2 * np.prod(have, dtype=int)))[:: 2 if scattered else 1][: np.prod(have, dtype=int)]
    x = x.reshape(have) if not scattered else np.repeat(x, 2)[::2].reshape(have)
    try:
        expected = np.broadcast_to(x, wanted)
    except ValueError:
        with pytest.raises(ValueError, match="broadcast|dimensions"):
            backend.NUMPY.broadcast_to(x, tuple(wanted))
        return
    found = backend.NUMPY.broadcast_to(x, tuple(wanted))
    np.testing.assert_array_equal(found, expected, strict=True)
    assert not found.flags.writeable


def test_arrays_go_from_device_to_device(device: str) -> None:
    a = xp().from_numpy(np.arange(3.0))
    for name in ("cpu", "strict", device):
        moved = xp().to(a, name)
        assert backend.device_of(moved) == name
        assert host(moved).tolist() == [0, 1, 2]


@pytest.mark.parametrize("shapes", [((5, 4), (4, 3)), ((3, 4), (4, 6)), ((1, 4), (4, 3)), ((70, 4), (4, 3))])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_numpys_however_the_operands_lie(shapes: Any, transposed: bool) -> None:
    a, b = (np.random.default_rng(0).standard_normal(s) for s in shapes)
    other = np.asfortranarray(b) if transposed else b
    out = xp().matmul(xp().from_numpy(a), xp().from_numpy(other))
    np.testing.assert_allclose(host(out), a @ b, rtol=1e-13)
    assert host(out).flags.c_contiguous


def test_what_stands_in_for_arrays_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    other = backend.Backend("other", np, list, np.asarray, list)
    monkeypatch.setitem(backend._by_name, "other", other)
    assert backend.named("other") is other
    with backend.standing_in("stand-in"):
        assert backend.named("cpu") == "stand-in"
        with pytest.raises(backend.DeviceError, match="is on the CPU, not on 'other'"):
            backend.named("other")
