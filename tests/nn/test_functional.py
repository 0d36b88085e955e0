from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.nn import functional

RNG = np.random.default_rng(0)


def leaf(*shape: int) -> tg.Tensor:
    return tg.tensor(RNG.standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3), (0, 3)])
def test_linear_maps_the_last_axis(shape: tuple[int, ...]) -> None:
    x, w, b = leaf(*shape), leaf(4, 3), leaf(4)
    out = functional.linear(x, w, b)
    np.testing.assert_allclose(out.numpy(), x.numpy() @ w.numpy().T + b.numpy(), rtol=1e-12)
    tg.gradcheck(functional.linear, [x, w, b])
    np.testing.assert_allclose(functional.linear(x, w).numpy(), x.numpy() @ w.numpy().T, rtol=1e-12)


def test_linear_of_a_repeated_row_is_one_row_repeated_with_the_same_gradients() -> None:
    row, w, b = leaf(1, 3), leaf(4, 3), leaf(4)
    out = functional.linear(tg.broadcast_to(row, (6, 3)), w, b)
    assert out.data.strides[0] == 0

    def repeated(row, w, b):
        return functional.linear(tg.broadcast_to(row, (6, 3)), w, b) ** 2

    tg.gradcheck(repeated, [row, w, b])


def test_dropout_zeroes_the_share_p_and_keeps_the_mean() -> None:
    tg.manual_seed(0)
    x = tg.ones((200, 200)).requires_grad_()
    out = functional.dropout(x, 0.25)
    assert (out.numpy() == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert set(np.unique(out.numpy())) == {np.float32(0), np.float32(1 / 0.75)}
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
    assert out.dtype == np.float32


def test_dropout_at_the_ends_of_its_range() -> None:
    x = tg.ones(10)
    assert functional.dropout(x, 0.0) is x
    assert functional.dropout(x, 0.5, training=False) is x
    assert functional.dropout(x, 1.0).tolist() == [0.0] * 10
    with pytest.raises(ValueError, match="p is the probability of a zero, from 0 to 1, not 1.5"):
        functional.dropout(x, 1.5)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_cross_entropy_agrees_with_torch(reduction: str, ignored: bool, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    values, targets = RNG.standard_normal(shape), RNG.integers(0, 4, shape[:-1])
    if ignored:
        targets.flat[::3] = -100
    ours = tg.tensor(values, requires_grad=True)
    loss = functional.cross_entropy(ours, targets, reduction)
    theirs = torch.tensor(values, requires_grad=True)
    flat = theirs.reshape(-1, 4)
    expected = torch.nn.functional.cross_entropy(flat, torch.tensor(targets.ravel()), reduction=reduction)
    np.testing.assert_allclose(loss.numpy().ravel(), expected.detach().numpy().ravel(), rtol=1e-12)
    (loss * loss).sum().backward()
    (expected * expected).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_probabilities_agrees_with_torch(reduction: str) -> None:
    torch = pytest.importorskip("torch")
    values, targets = RNG.standard_normal((2, 3, 4)), RNG.random((2, 3, 4))
    ours, theirs = tg.tensor(values, requires_grad=True), torch.tensor(values.reshape(6, 4), requires_grad=True)
    loss = functional.cross_entropy(ours, targets, reduction)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(targets.reshape(6, 4)), reduction=reduction)
    np.testing.assert_allclose(loss.numpy().ravel(), expected.detach().numpy().ravel(), rtol=1e-12)
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy().reshape(6, 4), theirs.grad.numpy(), rtol=1e-10)


def test_activations_stand_beside_the_losses_and_take_axis() -> None:
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert functional.softmax(x, axis=0).tolist() == tg.softmax(x, axis=0).tolist()
    assert functional.relu(-x).tolist() == [[0, 0], [0, 0]]
    assert functional.one_hot([1, 0], 2).tolist() == [[0, 1], [1, 0]]


@pytest.mark.torch
def test_layer_norm_and_embedding_agree_with_torch() -> None:
    torch = pytest.importorskip("torch")
    x, w, b = RNG.standard_normal((2, 3, 4)), RNG.standard_normal(4), RNG.standard_normal(4)
    expected = torch.nn.functional.layer_norm(*map(torch.tensor, (x,)), (4,), torch.tensor(w), torch.tensor(b), 0.1)
    found = functional.layer_norm(tg.asarray(x), tg.asarray(w), tg.asarray(b), 0.1)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)
    expected = torch.nn.functional.layer_norm(torch.tensor(x), (4,))
    np.testing.assert_allclose(functional.layer_norm(tg.asarray(x)).numpy(), expected.numpy(), rtol=1e-12)
    table = tg.tensor(x[0], requires_grad=True)
    rows = functional.embedding([[2, 0], [2, 1]], table)
    np.testing.assert_array_equal(rows.numpy(), x[0][[[2, 0], [2, 1]]])
    rows.sum().backward()
    assert table.grad.tolist() == [[1] * 4, [1] * 4, [2] * 4]


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_other_losses_agree_with_torch(reduction: str) -> None:
    torch = pytest.importorskip("torch")
    a, b, t = RNG.standard_normal((5, 3)) * 30, RNG.standard_normal((5, 3)), RNG.random((5, 3))
    pairs = [
        (functional.mse_loss(tg.tensor(a), tg.tensor(b), reduction), "mse_loss", b),
        (functional.l1_loss(tg.tensor(a), tg.tensor(b), reduction), "l1_loss", b),
        (
            functional.binary_cross_entropy_with_logits(tg.tensor(a), t, reduction),
            "binary_cross_entropy_with_logits",
            t,
        ),
    ]
    for ours, name, target in pairs:
        expected = getattr(torch.nn.functional, name)(torch.tensor(a), torch.tensor(target), reduction=reduction)
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-10)
    ours = functional.gaussian_nll(tg.tensor(a), b, tg.tensor(t + 0.1), reduction)
    variance = torch.tensor(t + 0.1)
    gaussian = torch.nn.functional.gaussian_nll_loss
    expected = gaussian(torch.tensor(a), torch.tensor(b), variance, full=True, reduction=reduction)
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-10)


def test_losses_have_second_derivatives() -> None:
    x, t = leaf(4, 3), RNG.random((4, 3))
    tg.gradcheck(lambda x: functional.cross_entropy(x, [0, 2, -100, 1]), [x])
    tg.gradcheck(lambda x: functional.mse_loss(x, tg.tensor(t)), [x])
    tg.gradcheck(lambda x: functional.binary_cross_entropy_with_logits(x, tg.tensor(t)), [x])
    tg.gradcheck(lambda x, v: functional.gaussian_nll(x, tg.tensor(t), v * v + 0.5), [x, leaf(4, 3)])


def test_losses_keep_float32_whatever_the_targets_are() -> None:
    x = tg.ones((2, 2))
    assert functional.mse_loss(x, np.ones((2, 2))).dtype == np.float32
    assert functional.cross_entropy(x, np.zeros(2, np.int32)).dtype == np.float32


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_targets_may_be_integers_of_any_kind(dtype: str) -> None:
    targets = np.array([2, 0], dtype)
    loss = functional.cross_entropy(tg.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]), targets)
    assert loss.item() == pytest.approx(math.log(2 + math.e) - 1, rel=1e-6)


def test_tensors_of_two_devices_are_refused() -> None:
    here, there = tg.zeros((2, 3), device="cpu"), tg.asarray([0, 1], device="strict")
    with pytest.raises(tg.DeviceError, match="cross_entropy: Tensors on cpu and strict"):
        functional.cross_entropy(here, there)
    with pytest.raises(tg.DeviceError, match="cpu.*strict"):
        functional.mse_loss(here, tg.zeros((2, 3), device="strict"))


def test_cross_entropy_of_lists() -> None:
    assert functional.cross_entropy([[0.0, 0.0]], [1]).item() == pytest.approx(np.log(2))  # type: ignore[arg-type]


def test_cross_entropy_of_no_rows() -> None:
    for targets in ([], np.zeros(0, np.int64), tg.zeros(0, dtype="int64")):
        assert functional.cross_entropy(tg.zeros((0, 3)), targets, reduction="sum").item() == 0


def test_cross_entropy_of_large_logits_is_finite_and_exact() -> None:
    loss = functional.cross_entropy(tg.tensor([[1e4, 0.0]]), [1])
    assert loss.item() == 1e4
    assert functional.binary_cross_entropy_with_logits(tg.tensor([-1e4, 1e4]), [1.0, 1.0], "none").tolist() == [1e4, 0]


def test_a_sum_over_no_rows_is_zero() -> None:
    assert functional.cross_entropy(tg.zeros((0, 3)), np.zeros(0, np.int64), reduction="sum").item() == 0


def test_half_the_squared_error_and_a_gaussian_differ_by_a_constant() -> None:
    # LECTURE-NOTES F8
    y, prediction = RNG.standard_normal(7), RNG.standard_normal(7)
    difference = functional.gaussian_nll(tg.tensor(prediction), y, reduction="none").numpy() - (y - prediction) ** 2 / 2
    np.testing.assert_allclose(difference, 0.9189385, atol=1e-7)
    np.testing.assert_allclose(difference, math.log(2 * math.pi) / 2, rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    x = tg.zeros((2, 3))
    with pytest.raises(ValueError, match="cross_entropy: reduction is 'mean', 'sum' or 'none', not 'avg'"):
        functional.cross_entropy(x, [0, 1], reduction="avg")
    with pytest.raises(ValueError, match=r"a class id for each row of them, not shapes \(2, 3\) and \(3,\)"):
        functional.cross_entropy(x, [0, 1, 2])
    with pytest.raises(TypeError, match="cross_entropy's targets must be integer ids, not float32"):
        functional.cross_entropy(x, [0.0, 1.0])
    with pytest.raises(IndexError, match="targets: id 3 is out of range; there are 3, from 0"):
        functional.cross_entropy(x, [0, 3])
    with pytest.raises(IndexError, match="nll_loss's targets: id 3 is out of range"):
        functional.nll_loss(x, [0, 3])
    with pytest.raises(IndexError, match="id -1 is out of range"):
        functional.cross_entropy(x, [-1, 0])
    with pytest.raises(ValueError, match=r"mse_loss: the prediction has shape \(2, 3\), the target \(2, 1\)"):
        functional.mse_loss(x, tg.zeros((2, 1)))


def test_probabilities_of_an_array_keep_the_dtype_of_the_logits() -> None:
    assert functional.cross_entropy(tg.ones((2, 3)), np.full((2, 3), 1 / 3)).dtype == np.float32


@pytest.mark.parametrize("x", [10.0, 14.0, 17.0, 40.0])
def test_binary_cross_entropy_is_exact_at_both_ends(x: float) -> None:
    for logit, target in ((x, 1.0), (-x, 0.0)):
        found = functional.binary_cross_entropy_with_logits(tg.tensor([logit]), [target]).item()
        assert found == pytest.approx(math.log1p(math.exp(-x)), rel=1e-6)
