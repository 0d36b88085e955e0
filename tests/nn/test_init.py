from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import init


def weight(*shape: int, dtype: str = "float64") -> tg.Tensor:
    return tg.empty(shape, dtype=dtype).requires_grad_()


@pytest.mark.parametrize(
    ("fill", "bound", "std"),
    [
        (lambda w: init.uniform_(w, -2.0, 2.0), 2.0, 2 / math.sqrt(3)),
        (lambda w: init.normal_(w, 0.0, 0.5), math.inf, 0.5),
        (lambda w: init.xavier_uniform_(w, 2.0), 2 * math.sqrt(6 / 500), 2 * math.sqrt(2 / 500)),
        (init.xavier_normal_, math.inf, math.sqrt(2 / 500)),
        (lambda w: init.kaiming_uniform_(w, math.sqrt(5)), 1 / math.sqrt(200), math.sqrt(1 / 600)),
        (init.kaiming_normal_, math.inf, math.sqrt(2 / 200)),
    ],
)
def test_draws_have_their_bounds_and_standard_deviation(fill, bound: float, std: float) -> None:
    tg.manual_seed(0)
    values = fill(weight(300, 200)).numpy()
    assert np.abs(values).max() <= bound
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 0.02 * std + 1e-3 * std * 10


def test_constants() -> None:
    w = weight(2, 2, dtype="float32")
    assert init.zeros_(w) is w
    assert not w.numpy().any()
    assert init.ones_(w).numpy().all()
    assert set(init.constant_(w, 0.5).numpy().ravel().tolist()) == {0.5}
    assert w.dtype == np.float32


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (3, 2, 4)])
def test_orthogonal_rows_or_columns(shape: tuple[int, ...]) -> None:
    w = init.orthogonal_(weight(*shape), gain=2.0).numpy().reshape(shape[0], -1)
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_a_seed_gives_the_same_numbers_in_either_precision() -> None:
    tg.manual_seed(3)
    a = init.normal_(weight(5)).numpy()
    tg.manual_seed(3)
    b = init.normal_(weight(5, dtype="float32")).numpy()
    np.testing.assert_array_equal(a.astype(np.float32), b)


def test_the_defaults_are_those_of_torch() -> None:
    tg.manual_seed(0)
    linear, lstm, embedding = nn.Linear(25, 400), nn.LSTM(3, 100), nn.Embedding(500, 20)
    assert np.abs(linear.weight.numpy()).max() == pytest.approx(0.2, rel=0.01)
    assert np.abs(linear.bias.numpy()).max() == pytest.approx(0.2, rel=0.05)
    for parameter in lstm.parameters():
        assert np.abs(parameter.numpy()).max() == pytest.approx(0.1, rel=0.05)
    assert embedding.weight.numpy().std() == pytest.approx(1, rel=0.05)


def test_a_computed_tensor_and_a_vector_without_fans_are_refused() -> None:
    w = weight(2)
    with pytest.raises(tg.GraphError, match="only leaves are initialised.*multiply"):
        init.zeros_(w * 2)
    by_fans = "xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_"
    for fill in (getattr(init, name) for name in by_fans.split()):
        with pytest.raises(ValueError, match=r"needs a weight \[out, in\], not shape \(2,\)"):
            fill(w)


def test_initialising_between_forward_and_backward_is_refused() -> None:
    w = init.ones_(weight(2))
    loss = (w * w).sum()
    init.zeros_(w)
    with pytest.raises(tg.GraphError, match="written in place"):
        loss.backward()


@pytest.mark.parametrize("make", [lambda: nn.LSTM(2, 3.0), lambda: nn.Linear(2.5, 3), lambda: nn.LSTM(-2, 3)])
def test_a_width_that_is_no_integer_is_refused(make: Any) -> None:
    with pytest.raises(
        ValueError, match=r"widths of a module are integers from 0: a parameter can't have the shape \("
    ):
        make()
