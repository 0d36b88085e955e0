"""The C text before every generated source: how exact its functions are, and what they make of NaN and Inf."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.native import toolchain
from tinygrad_rnn.native.prelude import prelude

FUNCTIONS = ("tanh", "sigmoid", "exp")
EXPORTS = (
    "".join(
        f"void all_{name}(long n, const REAL* x, REAL* y){{ for (long i = 0; i < n; i++) y[i] = real_{name}(x[i]); }}\n"
        for name in FUNCTIONS
    )
    + """
long panel(void) { return PANEL; }
long size_of_packed(long k, long m) { return packed_size(k, m); }
void pack_any(const REAL* b, long rs, long cs, long k, long m, REAL* out) { pack(b, rs, cs, k, m, out); }
void product(long n, long k, long m, const REAL* a, long lda, const REAL* packed, REAL* out, long ldo) {
    gemm(n, k, m, a, lda, packed, out, ldo);
}
void product_add(long n, long k, long m, const REAL* a, long lda, const REAL* packed, REAL* out, long ldo) {
    gemm_add(n, k, m, a, lda, packed, out, ldo);
}
void gather(long n, long width, const REAL* src, const long long* index, REAL* out, long ldo) {
    gather_rows(n, width, src, index, out, ldo);
}
void scatter(long n, long width, const REAL* rows, long ldr, const long long* index, REAL* out) {
    scatter_add_rows(n, width, rows, ldr, index, out);
}
"""
)
Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


class Library:
    """The functions of the prelude on arrays of one dtype."""

    def __init__(self, real: str) -> None:
        library = toolchain.load(prelude(real) + EXPORTS)
        if library is None:
            pytest.skip("no C compiler on this machine")
        self.library = library
        self.dtype: np.dtype[Any] = np.dtype({"float": np.float32, "double": np.float64}[real])

    def call(self, name: str, *arguments: int | np.ndarray) -> Any:
        """Call a function; ints are longs, arrays their addresses."""
        return getattr(self.library, name)(
            *(ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_long(a) for a in arguments)
        )

    def map(self, name: str, x: Array) -> Array:
        """A function of each element."""
        x = np.ascontiguousarray(x, self.dtype)
        y = np.empty_like(x)
        self.call(f"all_{name}", x.size, x, y)
        return y


@pytest.fixture(scope="module", params=["float", "double"])
def lib(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYGRAD_RNN_CACHE", str(tmp_path_factory.mktemp("programs") / "cache"))
        return Library(request.param)


def exact_sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1) / (1 + e))


EXACT: dict[str, Callable[[Array], Array]] = {"tanh": np.tanh, "sigmoid": exact_sigmoid, "exp": np.exp}


def grid(dtype: np.dtype[Any]) -> Array:
    """Dense where the functions bend, thin where they end, and small of both signs."""
    small = np.logspace(-37, 0, 20001)
    parts = [np.linspace(-12, 12, 400_000), np.linspace(-87, 88, 200_000), small, -small]
    return np.concatenate(parts).astype(dtype)


@pytest.mark.parametrize(("name", "single"), [("tanh", 3.5e-7), ("sigmoid", 2e-7), ("exp", 1.2e-7)])
def test_the_relative_error_is_small_everywhere(lib: Library, name: str, single: float) -> None:
    x = grid(lib.dtype)
    expected = EXACT[name](x.astype(np.longdouble))
    error = np.abs(lib.map(name, x) - expected) / np.abs(expected)
    assert error.max() <= (single if lib.dtype == np.float32 else 1e-15)


def test_tanh_is_its_argument_near_zero(lib: Library) -> None:
    x = np.concatenate([np.logspace(-36, -3, 5001), np.logspace(-4, -3, 5001)]).astype(lib.dtype)
    expected = np.tanh(x.astype(np.longdouble))
    assert (np.abs(lib.map("tanh", x) / expected - 1)).max() <= 2.5 * np.finfo(lib.dtype).eps
    tiny = np.finfo(lib.dtype).smallest_subnormal
    zeros = np.asarray([0.0, -0.0, tiny, -tiny], lib.dtype)
    assert lib.map("tanh", zeros).tobytes() == zeros.tobytes()


def test_the_functions_stay_in_their_ranges_and_are_odd(lib: Library) -> None:
    x = np.concatenate([np.linspace(0, 30, 1_000_001), np.logspace(1, 38, 1001)]).astype(lib.dtype)
    y = lib.map("tanh", x)
    assert y.min() >= 0
    assert y.max() == 1
    assert (lib.map("tanh", -x) == -y).all()
    assert lib.map("sigmoid", x).max() == 1
    assert lib.map("sigmoid", -x).min() == 0


def test_the_ends(lib: Library) -> None:
    inf, big = np.inf, np.finfo(lib.dtype).max
    x = np.asarray([-inf, -big, -1000, -0.0, 0.0, 1000, big, inf], lib.dtype)
    assert lib.map("tanh", x).tolist() == [-1, -1, -1, 0, 0, 1, 1, 1]
    assert lib.map("sigmoid", x).tolist() == [0, 0, 0, 0.5, 0.5, 1, 1, 1]
    assert lib.map("exp", x).tolist() == [0, 0, 0, 1, 1, inf, inf, inf]


def test_nan_stays_nan_and_alone(lib: Library) -> None:
    for at in range(19):  # in a vector and in what is left over
        x = np.linspace(-1, 1, 19).astype(lib.dtype)
        x[at] = -np.nan if at % 2 else np.nan
        for name in FUNCTIONS:
            assert np.flatnonzero(np.isnan(lib.map(name, x))).tolist() == [at], name


def test_exp_overflows_and_underflows_where_it_must(lib: Library) -> None:
    single = lib.dtype == np.float32
    top, bottom, least = (88.72283, -87.33654, -103.97) if single else (709.782712, -708.396, -745.13)
    x = np.asarray([top, top + 2e-5, bottom, least, least - 1], lib.dtype)
    y = lib.map("exp", x)
    assert np.isfinite(y[0])
    assert y[1] == np.inf
    assert y[2] == pytest.approx(np.finfo(lib.dtype).tiny, rel=1e-3)
    assert y[3:].tolist() == [np.finfo(lib.dtype).smallest_subnormal, 0]
    denormal = np.linspace(least, bottom, 10_001).astype(lib.dtype)
    error = np.abs(lib.map("exp", denormal) - np.exp(denormal.astype(np.longdouble)))
    assert error.max() <= np.finfo(lib.dtype).smallest_subnormal


def packed(lib: Library, b: Array) -> Array:
    """B packed by C, from whatever strides it has."""
    lib.library.size_of_packed.restype = ctypes.c_long
    k, m = b.shape
    size = lib.call("size_of_packed", k, m)
    out = np.full(size + 1, 7, lib.dtype)
    rs, cs = (stride // b.itemsize for stride in b.strides)
    lib.call("pack_any", b, rs, cs, k, m, out)
    assert out[size] == 7
    return out[:size]


def framed(rows: int, columns: int, dtype: np.dtype[Any], rng: np.random.Generator) -> tuple[Array, Array]:
    """Random rows as a part of wider ones, and the whole with its frame, in which nothing may be written."""
    whole = np.asarray(rng.normal(size=(rows + 1, columns + 3)), dtype)
    return whole[:rows, :columns], whole


@pytest.mark.parametrize("k", [1, 3, 8, 11])  # columns that follow each other are moved by squares of 4
def test_packing_fills_the_last_panel_with_zeros(lib: Library, k: int) -> None:
    panel = int(lib.call("panel"))
    b = np.arange(k * (panel + 6), dtype=lib.dtype).reshape(k, panel + 6) + 1
    expected = np.zeros((k, 2 * panel), lib.dtype)
    expected[:, : panel + 6] = b
    expected = expected.reshape(k, 2, panel).swapaxes(0, 1).ravel()
    for laid in (b, np.asfortranarray(b), np.repeat(b, 2, axis=1)[:, ::2]):
        assert packed(lib, laid).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("k", "m"), [(1, 1), (2, 16), (3, 5), (7, 8), (17, 33), (64, 64), (100, 100), (65, 31), (0, 9)]
)
def test_a_product_is_that_of_numpy(lib: Library, k: int, m: int) -> None:
    rng = np.random.default_rng(k * 1000 + m)
    b = np.asarray(rng.normal(size=(k, m)), lib.dtype)
    once = packed(lib, b)
    for n in range(18):
        a, wide_a = framed(n, k, lib.dtype, rng)
        out, wide_out = framed(n, m, lib.dtype, rng)
        before = wide_out.copy()
        bound = 4 * np.finfo(lib.dtype).eps * (np.abs(a) @ np.abs(b) + np.abs(out))
        exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
        sizes = (n, k, m, wide_a, wide_a.shape[1], once, wide_out, wide_out.shape[1])
        lib.call("product", *sizes)
        assert (np.abs(out - exact) <= bound * max(1, k) ** 0.5).all()
        first = out.copy()
        lib.call("product_add", *sizes)
        assert (np.abs(out - 2 * first) <= np.finfo(lib.dtype).eps * np.abs(out)).all()
        wide_out[:n, :m] = before[:n, :m]
        assert wide_out.tobytes() == before.tobytes()


def test_a_product_keeps_nan_and_inf_in_their_places(lib: Library) -> None:
    for n in range(1, 9):
        a, b = np.ones((n, 5), lib.dtype), np.ones((5, 21), lib.dtype)
        a[n - 1, 2], b[1, 20], b[3, 0] = np.nan, np.inf, -np.inf
        out = np.empty((n, 21), lib.dtype)
        lib.call("product", n, 5, 21, a, 5, packed(lib, b), out, 21)
        assert np.isnan(out[n - 1]).all()
        assert (out[: n - 1, 1:20] == 5).all()
        assert (out[: n - 1, [0, 20]] == [-np.inf, np.inf]).all()


@pytest.mark.parametrize("width", [1, 3, 16, 37])
def test_rows_are_gathered_and_added_by_index(lib: Library, width: int) -> None:
    rng = np.random.default_rng(width)
    source = np.asarray(rng.normal(size=(5, width)), lib.dtype)
    index = np.asarray([4, 0, 0, 3, 4, 4, 1], np.int64)
    out, wide = framed(7, width, lib.dtype, rng)
    before = wide.copy()
    lib.call("gather", 7, width, source, index, wide, wide.shape[1])
    assert (out == source[index]).all()
    assert (wide[:, width:] == before[:, width:]).all()

    total = source.copy()
    lib.call("scatter", 7, width, wide, wide.shape[1], index, total)
    expected = source.copy()
    np.add.at(expected, index, out)
    assert (total == expected).all()
    lib.call("scatter", 0, width, wide, wide.shape[1], index, total)
    lib.call("gather", 0, width, source, index, wide, wide.shape[1])
    assert (total == expected).all()
