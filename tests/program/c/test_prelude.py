"""The C text before every generated source: how exact its functions are, and what they make of NaN and Inf."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.program.c import toolchain
from tinygrad_rnn.program.c.prelude import prelude

FUNCTIONS = ("tanh", "sigmoid", "exp")
EXPORTS = "".join(
    f"void all_{name}(long n, const REAL* x, REAL* y) {{ for (long i = 0; i < n; i++) y[i] = real_{name}(x[i]); }}\n"
    for name in FUNCTIONS
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
