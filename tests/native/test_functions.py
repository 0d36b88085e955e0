"""tanh and sigmoid of large arrays in C: NumPy's values, and NumPy itself wherever C is no help."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.native import functions, toolchain

needs_c = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")
PLAIN: dict[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x))}


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    functions._library.cache_clear()
    yield
    functions._library.cache_clear()


def refuse(x: np.ndarray) -> np.ndarray:
    raise AssertionError("NumPy was asked")


def marked(x: np.ndarray) -> np.ndarray:
    return np.full(x.shape, 7, x.dtype)


@needs_c
@pytest.mark.parametrize("name", functions.NAMES)
def test_in_c_they_give_numpys_values(name: str) -> None:
    x = np.concatenate([np.linspace(-100, 100, 4001), np.logspace(-40, 2, 1000), [0.0, -0.0]]).astype("f4")
    found = functions.in_c(name, refuse)(x)
    np.testing.assert_allclose(found, PLAIN[name](x.astype("f8")), rtol=4e-7, atol=1e-37)
    assert found.dtype == np.float32
    assert np.signbit(found[-1]) == (name == "tanh")


@needs_c
def test_what_is_no_number_stays_none() -> None:
    x = np.zeros(functions.LARGE, "f4")
    x[:3] = np.nan, np.inf, -np.inf
    assert functions.in_c("tanh", refuse)(x)[:3].tolist() == pytest.approx([np.nan, 1, -1], nan_ok=True)
    assert functions.in_c("sigmoid", refuse)(x)[:3].tolist() == pytest.approx([np.nan, 1, 0], nan_ok=True)


@pytest.mark.parametrize(
    "x",
    [
        np.ones(functions.LARGE - 1, "f4"),
        np.ones(functions.LARGE),
        np.ones(2 * functions.LARGE, "f4")[::2],
        np.broadcast_to(np.ones(1, "f4"), (functions.LARGE,)),
    ],
    ids=["small", "float64", "not in one piece", "one number, repeated"],
)
def test_what_does_not_fit_is_numpys(x: np.ndarray) -> None:
    assert (functions.in_c("tanh", marked)(x) == 7).all()


@pytest.mark.parametrize("setting", ["0", "numpy"])
def test_the_environment_can_forbid_c(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", setting)
    assert (functions.in_c("tanh", marked)(np.ones(functions.LARGE, "f4")) == 7).all()


def test_without_a_compiler_numpy_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "load", lambda source: None)
    assert (functions.in_c("tanh", marked)(np.ones(functions.LARGE, "f4")) == 7).all()


@needs_c
@pytest.mark.parametrize("name", functions.NAMES)
def test_the_ops_use_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(functions, "_library", lambda: asked.append(name))
    getattr(tg, name)(tg.ones(functions.LARGE, device="cpu"))
    assert asked == [name]
