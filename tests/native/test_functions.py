"""Functions of large arrays in C: NumPy's values, and NumPy itself wherever C is no help."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import ops
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


def rows_of_scores(n: int = 300, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return (8 * rng.standard_normal((n, width))).astype("f4"), rng.integers(0, width, n)


def loss_and_gradient(x: np.ndarray, ids: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    leaf = tg.tensor(x, requires_grad=True, device="cpu")
    losses = ops.cross_entropy(leaf, tg.asarray(ids, device="cpu"))
    (g,) = tg.grad(losses, leaf, tg.asarray(weight, device="cpu"))
    return losses.numpy(), g.numpy()


@needs_c
@pytest.mark.parametrize("width", [7, 65, 1000])
@pytest.mark.parametrize("weights", ["one by one", "one for all"])
def test_the_cross_entropy_in_c_is_that_of_double_precision(width: int, weights: str) -> None:
    x, ids = rows_of_scores(width=width)
    weight = np.linspace(-1, 1, len(x)) if weights == "one by one" else np.broadcast_to(np.float64(0.3), len(x))
    assert functions.cross_entropy(x, ids) is not None
    for found, wanted in zip(loss_and_gradient(x, ids, weight), loss_and_gradient(x.astype("f8"), ids, weight)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=2e-6, atol=1e-6)


@needs_c
def test_a_cross_entropy_of_what_is_no_number_is_none() -> None:
    x, ids = rows_of_scores()
    x[0, 3], x[1, 3], x[2], x[3, ids[3]] = np.nan, np.inf, -np.inf, 1e30
    losses, gradient = loss_and_gradient(x, ids, np.ones(len(x)))
    assert np.isnan(losses[:3]).all()
    assert losses[3] == 0
    assert np.isfinite(losses[4:]).all()
    assert np.isnan(gradient[[0, 2]]).all()
    assert np.isfinite(gradient[3:]).all()


@needs_c
def test_ids_of_any_layout_serve_and_one_that_is_no_column_is_refused() -> None:
    x, ids = rows_of_scores()
    spread = np.repeat(ids, 2)[::2]
    np.testing.assert_array_equal(functions.cross_entropy(x, spread), functions.cross_entropy(x, ids))
    for wrong in (-1, 7, 2**40):
        ids[200] = wrong
        assert functions.cross_entropy(x, ids) is None
    with pytest.raises(IndexError):
        ops.cross_entropy(tg.asarray(x, device="cpu"), tg.asarray(ids, device="cpu"))


@needs_c
def test_ids_that_were_changed_since_are_not_written_by() -> None:
    x, ids = rows_of_scores()
    found = functions.cross_entropy(x, ids)
    assert found is not None
    g = np.ones(len(x), "f4")
    before = functions.cross_entropy_back(x, ids, *found[1:], g)
    ids[0] = 2**40
    after = functions.cross_entropy_back(x, ids, *found[1:], g)
    np.testing.assert_array_equal(before[1:], after[1:])


def test_a_cross_entropy_that_does_not_fit_is_numpys() -> None:
    x, ids = rows_of_scores(10)
    assert functions.cross_entropy(x, ids) is None
    assert functions.cross_entropy(*rows_of_scores()[:1], ids.astype("i4")) is None
    assert functions.cross_entropy_back(x.astype("f8"), ids, *np.ones((3, 10), "f4")) is None
