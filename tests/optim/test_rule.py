"""The rules of optimisers in C: what NumPy gives, and NumPy itself wherever C is no help."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.optim.parameters import OPTIONS, ids, parameter
from tinygrad_rnn import optim
from tinygrad_rnn.gradient import Rows
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.optim import rule

# Arrays of 40 x 30 elements are large enough for C.
SHAPE = (40, 30)


@pytest.fixture
def moved_by(monkeypatch: pytest.MonkeyPatch, device: str) -> list[str]:
    """Who moved parameters, "C" or "NumPy", in turn."""
    if toolchain.compiler() is None or device != "cpu":
        pytest.skip("no C compiler, or no NumPy arrays")
    monkeypatch.delenv("TINYGRAD_RNN_COMPILE", raising=False)
    found: list[str] = []
    run_in_c = rule.run_in_c

    def spy(*args: Any) -> bool:
        compiled = run_in_c(*args)
        if os.environ.get("TINYGRAD_RNN_COMPILE") != "0":
            found.append("C" if compiled else "NumPy")
        return compiled

    monkeypatch.setattr(rule, "run_in_c", spy)
    return found


def same(found: Any, expected: Any, dtype: str) -> None:
    tolerance = {"float32": 1e-6, "float64": 1e-14}[dtype]
    found, expected = np.asarray(found), np.asarray(expected)
    finite = np.isfinite(expected)
    scale = np.abs(expected[finite]).max(initial=0)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    np.testing.assert_allclose(found[finite], expected[finite], rtol=tolerance, atol=tolerance * scale)


def run_twice(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any], dtype: str, gradients: list[Any]
) -> list[tg.Tensor]:
    """The same steps in C and in NumPy; the parameters, and the states are compared too."""
    start = np.random.default_rng(1).normal(size=SHAPE)
    params = [parameter(start, dtype) for _ in range(2)]
    optimizers = [getattr(optim, name)([p], **options) for p in params]
    for p, optimizer, compile_it in zip(params, optimizers, "10"):
        monkeypatch.setenv("TINYGRAD_RNN_COMPILE", compile_it)
        for g in gradients:
            p.node.grad = g
            optimizer.step()
    compiled, plain = (o.state_dict()["state"].get(0, {}) for o in optimizers)
    assert compiled.keys() == plain.keys()
    for key in plain:
        same(compiled[key], plain[key], dtype)
    return params


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_a_compiled_step_is_that_of_numpy(
    name: str, options: dict[str, Any], dtype: str, moved_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=SHAPE).astype(dtype) for _ in range(4)]
    kept = [g.copy() for g in gradients]
    gradients[1] = np.asfortranarray(gradients[1])  # as a Linear's weight gets it
    compiled, plain = run_twice(monkeypatch, name, options, dtype, gradients)
    assert moved_by == ["C"] * 4
    same(compiled.numpy(), plain.numpy(), dtype)
    np.testing.assert_array_equal(gradients, kept)  # nobody wrote to them


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_a_compiled_step_keeps_nan_and_inf_where_they_are(
    name: str, options: dict[str, Any], moved_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=SHAPE) for _ in range(2)]
    for i, value in enumerate([math.nan, math.inf, -math.inf, 0.0]):
        gradients[0][i] = gradients[1][i + 7, ::3] = value
    with np.errstate(all="ignore"):
        compiled, plain = run_twice(monkeypatch, name, options, "float64", gradients)
    assert not np.isfinite(plain.numpy()).all()
    same(compiled.numpy(), plain.numpy(), "float64")


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_a_compiled_step_takes_rows(
    name: str, options: dict[str, Any], moved_by: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    index = [rng.permutation(np.append(np.arange(size), rng.integers(0, 38, size=50))) for size in (38, 35, 5)]
    gradients = [Rows(i, rng.normal(size=(len(i), 30)), SHAPE) for i in index]
    gradients.append(Rows(np.zeros(0, np.int64), np.zeros((0, 30)), SHAPE))
    compiled, plain = run_twice(monkeypatch, name, options, "float64", gradients)
    assert moved_by[:4] == ["C"] * 4  # the rows, and what the others do
    assert moved_by[-2:] == ["NumPy", "C"]  # there are none
    same(compiled.numpy(), plain.numpy(), "float64")


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_a_compiled_step_does_not_touch_rows_that_were_not_read(name: str, moved_by: list[str]) -> None:
    table = parameter(np.zeros(SHAPE))
    table.data[2] = math.nan
    read = np.array([0, *range(3, 40), 0])
    table.node.grad = Rows(read, np.ones((len(read), 30)), SHAPE)
    getattr(optim, name)([table], lr=0.5).step()
    moved = np.zeros(SHAPE)
    moved[read] = -0.5
    moved[0] = -1.0 if name == "SGD" else -0.5
    moved[2] = math.nan
    np.testing.assert_allclose(table.numpy(), moved, rtol=1e-9)
    assert moved_by == ["C", "C"]


def test_a_compiled_step_counts_as_written_and_repeats_bit_for_bit(moved_by: list[str]) -> None:
    def run() -> Any:
        w = parameter(np.full(SHAPE, 2.0))
        adam = optim.Adam([w], weight_decay=0.1)
        for _ in range(3):
            adam.zero_grad()
            (w**3).sum().backward()
            late = (w * w).sum()
            adam.step()
            with pytest.raises(tg.GraphError, match="written in place"):
                late.backward()
        return w.numpy()

    np.testing.assert_array_equal(run(), run())
    assert set(moved_by) == {"C"}


@pytest.mark.parametrize(
    "data",
    [np.ones(SHAPE, np.float16), np.ones(SHAPE, order="F"), np.ones((40, 60))[:, ::2], np.ones(5), np.ones(())],
    ids=["float16", "Fortran order", "strided", "small", "0-d"],
)
def test_other_parameters_are_left_to_numpy(data: Any, moved_by: list[str]) -> None:
    w = tg.asarray(data).requires_grad_()
    w.node.grad = np.ones_like(w.data)
    for name, options in OPTIONS:
        getattr(optim, name)([w], **options).step()
    assert set(moved_by) == {"NumPy"}
    assert (w.numpy() < 1).all()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_large_parameters_move_in_chunks_as_they_do_whole(
    name: str, options: dict[str, Any], order: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
    start, g = rng.normal(size=(2, 17, 3))
    moved = []
    for bytes_at_a_time in (1, 100, 1 << 20):
        monkeypatch.setattr(rule, "CHUNK", bytes_at_a_time)
        w = parameter(start)
        optimizer = getattr(optim, name)([w], **options)
        for _ in range(3):
            w.grad = tg.tensor(np.asarray(g, order=order), dtype="float64")
            optimizer.step()
        moved.append(w.numpy())
    np.testing.assert_array_equal(moved[0], moved[2])
    np.testing.assert_array_equal(moved[1], moved[2])


def test_a_parameter_that_is_read_only_is_not_written(moved_by: list[str]) -> None:
    data = np.ones(SHAPE)
    data.setflags(write=False)
    w = tg.asarray(data).requires_grad_()
    w.sum().backward()
    with pytest.raises(ValueError, match="read-only"):
        optim.SGD([w], lr=0.1).step()


def test_without_a_compiler_numpy_moves(moved_by: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "load", lambda source: None)
    rule._c.cache_clear()
    w = parameter(np.ones(SHAPE))
    w.sum().backward()
    optim.SGD([w], lr=0.5).step()
    rule._c.cache_clear()
    assert moved_by == ["NumPy"]
    assert (w.numpy() == 0.5).all()
