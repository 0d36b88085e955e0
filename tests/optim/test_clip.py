"""Gradients clipped by their norm."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.optim.parameters import parameter
from tinygrad_rnn import nn, optim
from tinygrad_rnn.gradient import Rows


def test_clipping_scales_all_gradients_together() -> None:
    a, b, unused = parameter([0.0]), parameter([0.0]), parameter([0.0])
    a.grad, b.grad = tg.tensor([3.0], dtype="float64"), tg.tensor([4.0], dtype="float64")
    assert optim.clip_grad_norm_([a, b, unused], 1.0).item() == 5
    np.testing.assert_allclose([a.grad.item(), b.grad.item()], [0.6, 0.8], rtol=1e-15)  # F33
    assert optim.clip_grad_norm_([a, b], 2.0).item() == pytest.approx(1)
    np.testing.assert_allclose([a.grad.item(), b.grad.item()], [0.6, 0.8], rtol=1e-15)
    assert optim.clip_grad_norm_([unused], 1.0).item() == 0


def test_clipping_leaves_a_shared_gradient_array_alone() -> None:
    a, b = parameter([0.0, 0.0]), parameter([0.0, 0.0])
    (a + b).backward(tg.tensor([3.0, 4.0], dtype="float64"))  # both get the same array
    optim.clip_grad_norm_([a, b], math.sqrt(50) / 2)
    np.testing.assert_allclose([a.grad.numpy(), b.grad.numpy()], [[1.5, 2.0]] * 2, rtol=1e-12)


def test_clipping_counts_rows_once_they_are_summed() -> None:
    table = parameter(np.zeros((4, 1)))
    tg.take(table, tg.tensor([2, 2, 0]), axis=0).backward(tg.tensor([[1.0], [3.0], [3.0]], dtype="float64"))
    assert optim.clip_grad_norm_([table], 1.0).item() == 5  # (4, 3), not (1, 3, 3)
    assert type(table.node.grad) is Rows
    np.testing.assert_allclose(table.grad.numpy().ravel(), [0.6, 0, 0.8, 0], rtol=1e-15)


def test_hello_gradient_is_clipped_by_the_scale_of_the_notes() -> None:
    # LECTURE-NOTES 1c: the gradient of the summed loss of the 'hello' network has norm 2.938176.
    weights = [
        [[0.2973, 0.2766, 0.7974], [0.3869, 0.9170, 0.4125], [0.5538, 0.5646, 0.5026], [0.2206, 0.6801, 0.3880]],
        [[0.3152, 0.5083, 0.9454], [0.3008, 0.6058, 0.2999], [0.9741, 0.3419, 0.9133]],
        [[0.3189, 0.6216, 0.5164, 0.7501], [0.0260, 0.6230, 0.0179, 0.6123], [0.1320, 0.9009, 0.3873, 0.8142]],
    ]
    w_xh, w_hh, w_ho = (parameter(w) for w in weights)
    h, loss = tg.zeros((1, 3), dtype="float64"), tg.zeros((), dtype="float64")
    for x, target in zip([0, 1, 2, 2], [1, 2, 2, 3]):
        h = (w_xh[x : x + 1] + h @ w_hh).tanh()
        loss = loss - tg.log_softmax(h @ w_ho, axis=1)[0, target]
    loss.backward()
    before = w_ho.grad.numpy().copy()
    assert optim.clip_grad_norm_([w_xh, w_hh, w_ho], 1.0).item() == pytest.approx(2.938176, abs=1e-6)
    np.testing.assert_allclose(w_ho.grad.numpy() / before, 0.340347, atol=1e-6)


def test_a_module_is_asked_for_its_parameters() -> None:
    with pytest.raises(TypeError, match=r"clip_grad_norm_ takes parameters: give Linear's \.parameters\(\)"):
        optim.clip_grad_norm_(nn.Linear(1, 1), 1.0)  # type: ignore[arg-type]
