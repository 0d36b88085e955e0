from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.gradient import Rows


def test_linear_without_bias_has_none() -> None:
    layer = nn.Linear(2, 3, bias=False)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    x = tg.ones((4, 2))
    np.testing.assert_allclose(layer(x).numpy(), x.numpy() @ layer.weight.numpy().T, rtol=1e-6)


def test_layers_are_made_in_a_dtype_on_a_device(device: str) -> None:
    for layer in (
        nn.Linear(2, 2, device=device, dtype="float64"),
        nn.Embedding(3, 2, device=device, dtype="float64"),
        nn.LayerNorm(2, device=device, dtype="float64"),
        nn.GRU(2, 2, device=device, dtype="float64"),
        nn.RNTNCell(2, 2, device=device, dtype="float64"),
        nn.ChildSumTreeLSTMCell(2, 2, device=device, dtype="float64"),
    ):
        for parameter in layer.parameters():
            assert (parameter.dtype.name, parameter.device) == ("float64", device)


@pytest.mark.parametrize("ids", [[3, 1, 3], [[3, 1], [0, 2]], np.array(2), np.zeros((2, 0), np.int32)])
def test_embedding_looks_up_rows_of_ids_of_any_shape(ids) -> None:
    table = nn.Embedding(5, 2)
    out = table(ids)
    assert out.shape == (*np.shape(ids), 2)
    np.testing.assert_array_equal(out.numpy(), table.weight.numpy()[np.asarray(ids)])
    np.testing.assert_array_equal(table(tg.asarray(ids)).numpy(), out.numpy())


def test_the_gradient_of_an_embedding_stays_rows() -> None:
    table = nn.Embedding(1000, 2, dtype="float64")
    (table([[7, 3], [7, 9]]) * tg.tensor([[[1.0, 1.0]] * 2, [[10.0, 10.0]] * 2], dtype="float64")).sum().backward()
    assert isinstance(table.weight.node.grad, Rows)
    assert len(table.weight.node.grad.values) == 4
    expected = np.zeros((1000, 2))
    expected[[7, 3, 9]] = [[11.0], [1.0], [10.0]]
    np.testing.assert_array_equal(table.weight.grad.numpy(), expected)


def test_the_padding_vector_starts_as_zeros_and_gets_no_gradient() -> None:
    table = nn.Embedding(4, 2, padding_idx=1)
    assert not table.weight.numpy()[1].any()
    table.weight.data[1] = 5.0  # what a loaded table may hold is read all the same
    out = table([1, 2])
    assert out.numpy()[0].tolist() == [5.0, 5.0]
    out.sum().backward()
    assert table.weight.grad.numpy().sum(axis=1).tolist() == [0.0, 0.0, 2.0, 0.0]
    assert repr(table) == "Embedding(4, 2, padding_idx=1)"


def test_embedding_refuses_ids_that_are_none() -> None:
    table = nn.Embedding(4, 2)
    with pytest.raises(IndexError, match="Embedding's input: id -1 is out of range; there are 4, from 0"):
        table([0, -1])
    with pytest.raises(IndexError, match="id 4 is out of range"):
        table(np.array([[4]]))
    with pytest.raises(TypeError, match="Embedding's input must be integer ids, not float32"):
        table([0.0])
    with pytest.raises(ValueError, match="padding_idx is an id from 0 to 3, not 4"):
        nn.Embedding(4, 2, padding_idx=4)
    with pytest.raises(tg.DeviceError, match="index is on cpu, x on strict"):
        nn.Embedding(4, 2, device="strict")(tg.asarray([0], device="cpu"))


def test_dropout_drops_in_training_only() -> None:
    layer, x = nn.Dropout(0.5), tg.ones(100)
    assert 20 < np.count_nonzero(layer(x).numpy()) < 80
    assert layer.eval()(x) is x
    with pytest.raises(ValueError, match="Dropout: p is the probability"):
        nn.Dropout(-0.1)


@pytest.mark.torch
def test_layer_norm_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((3, 4, 5))
    ours, theirs = nn.LayerNorm(5, dtype="float64"), torch.nn.LayerNorm(5, dtype=torch.float64)
    state = {"weight": np.arange(1.0, 6.0), "bias": np.arange(5.0)}
    ours.load_state_dict(state)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    x, y = tg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    np.testing.assert_allclose(ours(x).numpy(), theirs(y).detach().numpy(), rtol=1e-10)
    (ours(x) ** 3).sum().backward()
    (theirs(y) ** 3).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-9)
    assert repr(ours) == "LayerNorm(5, eps=1e-05)"


def test_layer_norm_is_over_one_axis_of_its_width() -> None:
    with pytest.raises(ValueError, match=r"LayerNorm is over the last axis alone, .* not \(2, 3\)"):
        nn.LayerNorm((2, 3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"LayerNorm is over rows of 4, not of x \(2, 1\)"):
        nn.LayerNorm(4)(tg.ones((2, 1)))
