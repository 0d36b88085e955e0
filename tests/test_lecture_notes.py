"""The numbers of the lecture notes, row by row (F...), from float64 recomputations rounded to six digits.

The 'hello' network reads h, e, l, l and shall say e, l, l, o. Its weights are for row vectors, h W_hh + x W_xh; a
module's are their transposes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim

W_XH = np.array([[0.2973, 0.2766, 0.7974], [0.3869, 0.917, 0.4125], [0.5538, 0.5646, 0.5026], [0.2206, 0.6801, 0.388]])
W_HH = np.array([[0.3152, 0.5083, 0.9454], [0.3008, 0.6058, 0.2999], [0.9741, 0.3419, 0.9133]])
W_HO = np.array([[0.3189, 0.6216, 0.5164, 0.7501], [0.0260, 0.6230, 0.0179, 0.6123], [0.1320, 0.9009, 0.3873, 0.8142]])
INPUTS, TARGETS = [0, 1, 2, 2], [1, 2, 2, 3]  # h0 e1 l2 o3
DIGITS = 6e-7  # half of the last digit given


class Hello(nn.Module):
    """Pattern 1 of the book's section 10.2: h = tanh(h W_hh + x W_xh), o = h W_ho, softmax at every step."""

    def __init__(self) -> None:
        self.cell = nn.RNNCell(4, 3, bias=False, dtype="float64")
        self.out = nn.Linear(3, 4, bias=False, dtype="float64")
        self.load_state_dict({"cell.weight_ih": W_XH.T, "cell.weight_hh": W_HH.T, "out.weight": W_HO.T})
        self.x = tg.one_hot(INPUTS, 4, dtype="float64")

    def forward(self) -> tuple[tg.Unfolding, tg.Tensor]:
        keep = ("state_grad", "parameter_grad")
        run = tg.unfold(self.cell, tg.chain([4]), self.x, keep=keep)
        return run, self.out(run.all().h)


def assert_digits(found: tg.Tensor, expected: object, atol: float = DIGITS) -> None:
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=atol)


def test_f3_hidden_states_and_outputs_of_hello() -> None:
    run, o = Hello()()
    h = run.all().h
    expected_h = [
        [0.288840, 0.269755, 0.662581],
        [0.835023, 0.896436, 0.879057],
        [0.959766, 0.950085, 0.982457],
        [0.970400, 0.961387, 0.988855],
    ]
    assert_digits(h, expected_h)
    assert_digits(o[:2], [[0.186585, 0.944519, 0.410603, 0.921303], [0.405632, 1.869473, 0.787711, 1.890967]])
    expected_p = [
        [0.154563, 0.329816, 0.193373, 0.322248],
        [0.089251, 0.385792, 0.130783, 0.394174],
        [0.078611, 0.394511, 0.121170, 0.405708],
        [0.077623, 0.395395, 0.120084, 0.406898],
    ]
    assert_digits(tg.softmax(o, axis=1), expected_p)
    assert tg.argmax(o, axis=1).tolist() == [1, 3, 3, 3]  # the second is wrong, and nearly right: e lacks 0.0084
    p = tg.softmax(o, axis=1)
    assert_digits(p[1, 3] - p[1, 1], 0.0084, atol=5e-5)
    w_xh, w_hh = tg.tensor(W_XH), tg.tensor(W_HH)
    x = Hello().x
    assert_digits(x[:1] @ w_xh, [[0.2973, 0.2766, 0.7974]])
    assert_digits(h[:1] @ w_hh, [[0.817605, 0.536771, 0.959104]])
    assert_digits(h[:1] @ w_hh + x[1:2] @ w_xh, [[1.204505, 1.453771, 1.371604]])
    # The slide printed four digits of unrounded numbers, two of them rounded wrongly.
    assert_digits(h[:2], [[0.2889, 0.2698, 0.6626], [0.8350, 0.8964, 0.8791]], atol=1.5e-4)
    assert_digits(o[:1], [[0.1866, 0.9446, 0.4106, 0.9213]], atol=1.5e-4)


def test_f6_the_loss_is_the_sum_over_the_steps() -> None:
    _, o = Hello()()
    losses = nn.functional.cross_entropy(o, TARGETS, reduction="none")
    assert_digits(losses, [1.109219, 2.034219, 2.110561, 0.899193])
    assert_digits(nn.functional.cross_entropy(o, TARGETS, reduction="sum"), 6.153192)


def test_f19_the_golden_trees_whose_leaves_are_their_vectors() -> None:
    @tg.cell(arity=0, state={"h": 2})
    def leaf(x, kids):
        return x

    inner = nn.RecursiveCell(0, 2, dtype="float64")
    inner.load_state_dict({"weight_hh": [[0.1, 0.2, 0.3, 0.4], [-0.4, -0.3, -0.2, -0.1]], "bias": [0.05, -0.05]})
    abcd = tg.tensor([[1, 0], [0, 1], [1, 1], [0.5, -0.5]], dtype="float64")
    kind = [0, 0, 0, 0, 1, 1, 1]
    balanced = tg.Structure(7, [0, 1, 2, 3, 4, 5], [4, 4, 5, 5, 6, 6], [0, 1] * 3, kind=kind)
    left = tg.Structure(7, [0, 1, 4, 2, 5, 3], [4, 4, 5, 5, 6, 6], [0, 1] * 3, kind=kind)
    states = [tg.unfold({1: inner, 0: leaf}, s, ([0, 1, 2, 3], abcd)).all().h for s in (balanced, left)]
    np.testing.assert_array_equal(states[0][:4].numpy(), abcd.numpy())
    assert_digits(states[0][4:], [[0.500520, -0.500520], [0.291313, -0.664037], [-0.176408, -0.091653]])
    assert_digits(states[1][6], [-0.015564, -0.223879])


@pytest.mark.parametrize("count", [1, 2, 4, 7, 8, 16, 100, 1000])
def test_f19_a_balanced_tree_is_logarithmically_deep_and_a_chain_linearly(count: int) -> None:
    source, target, slot, row, size = [], [], [], list(range(count)), count
    while len(row) > 1:
        parents = range(size, size + len(row) // 2)
        for k in (0, 1):
            source += row[k : 2 * len(parents) : 2]
            target += parents
            slot += [k] * len(parents)
        size += len(parents)
        row = [*parents, *row[2 * len(parents) :]]
    expected = {1: 0, 2: 1, 4: 2, 7: 3, 8: 3, 16: 4, 100: 7, 1000: 10}[count]
    assert tg.Structure(size, source, target, slot).levels - 1 == expected
    assert tg.chain([count]).levels == count


def backward() -> tuple[Hello, tg.Unfolding]:
    net = Hello()
    run, o = net()
    nn.functional.cross_entropy(o, TARGETS, reduction="sum").backward()
    return net, run


def test_f24_gradients_of_the_internal_nodes() -> None:
    _, run = backward()
    norms = np.linalg.norm(run.state_grad.h.numpy(), axis=1)
    np.testing.assert_allclose(norms, [0.187579, 0.647741, 0.596185, 0.173793], rtol=0, atol=DIGITS)


def test_f24_differences_agree_with_the_gradients_of_hello_to_nine_digits() -> None:
    net = Hello()

    def summed_loss(*weights: tg.Tensor) -> tg.Tensor:
        net.cell.weight_ih, net.cell.weight_hh, net.out.weight = weights
        return nn.functional.cross_entropy(net()[1], TARGETS, reduction="sum")

    tg.gradcheck(summed_loss, list(net.parameters()), order=1, eps=1e-5, atol=2e-9, rtol=0)


@pytest.mark.parametrize(
    ("optimizer", "lr", "first", "losses"),
    [
        (optim.SGD, 0.1, 130, {500: 0.029175, 1000: 0.012091}),
        (optim.SGD, 0.5, 29, {500: 0.017737}),
        (optim.SGD, 1.0, 24, {}),
        (optim.Adam, 0.01, 152, {500: 0.083054}),
    ],
)
def test_hello_learns_as_the_notes_have_it(optimizer: Any, lr: float, first: int, losses: dict[int, float]) -> None:
    net = Hello()
    steps, right, found = optimizer(net.parameters(), lr=lr), [], {}
    for update in range(max([*losses, 100]) + 1):
        o = net.out(tg.unfold(net.cell, tg.chain([4]), net.x).all().h)
        loss = nn.functional.cross_entropy(o, TARGETS, reduction="sum")
        right.append(tg.argmax(o, axis=1).tolist() == TARGETS)
        found[update] = loss.item()
        steps.zero_grad()
        loss.backward()
        steps.step()
    assert right.index(True) == first
    assert right[100] == (lr == 1.0), "with lr 0.5 it is wrong again at 100"
    assert {update: round(found[update], 6) for update in losses} == losses


def test_f25_gradients_of_the_parameters_and_their_share_of_each_step() -> None:
    net, run = backward()
    gradients = {
        net.cell.weight_ih: [
            [0.110401, -0.104963, -0.049746],
            [0.046205, 0.098717, 0.086131],
            [0.002352, 0.0375, 0.01045],
            [0, 0, 0],
        ],
        net.cell.weight_hh: [
            [0.014492, 0.058762, 0.03341],
            [0.014221, 0.059788, 0.032518],
            [0.032004, 0.09749, 0.066094],
        ],
        net.out.weight: [
            [0.269945, 0.8909, -1.396905, 0.23606],
            [0.271016, 0.919999, -1.446551, 0.255536],
            [0.334858, 0.673662, -1.380634, 0.372115],
        ],
    }
    norms = [0.215638, 0.156558, 2.926067]
    for (parameter, expected), norm in zip(gradients.items(), norms, strict=True):
        assert_digits(parameter.grad.T, expected)
        assert np.linalg.norm(parameter.grad.numpy()) == pytest.approx(norm, abs=DIGITS)
    total = np.sqrt(sum((p.grad.numpy() ** 2).sum() for p in gradients))
    assert total == pytest.approx(2.938176, abs=DIGITS)
    for parameter in (net.cell.weight_ih, net.cell.weight_hh):
        shares = run.parameter_grad(parameter)
        assert shares.shape == (4, *parameter.shape)
        np.testing.assert_allclose(shares.numpy().sum(axis=0), parameter.grad.numpy(), rtol=0, atol=1e-12)
    # By the book: the share of step t is diag(1 - h_t^2) dL/dh_t x_t^T, or h_(t-1)^T for W_hh.
    h = run.all().h.numpy()
    local = (1 - h**2) * run.state_grad.h.numpy()
    before = np.concatenate((np.zeros((1, 3)), h[:-1]))
    for parameter, rows in ((net.cell.weight_ih, net.x.numpy()), (net.cell.weight_hh, before)):
        expected = local[:, :, None] * rows[:, None, :]
        np.testing.assert_allclose(run.parameter_grad(parameter).numpy(), expected, rtol=0, atol=1e-12)


def test_f33_clipping_by_norm() -> None:
    vector = tg.zeros(2, dtype="float64").requires_grad_()
    vector.grad = tg.tensor([3.0, 4.0], dtype="float64")
    optim.clip_grad_norm_([vector], 1.0)
    assert_digits(vector.grad, [0.6, 0.8], atol=1e-6)  # PyTorch's rule adds 1e-6 to the norm
    net, _ = backward()
    before = net.out.weight.grad.numpy().copy()
    assert optim.clip_grad_norm_(net.parameters(), 1.0).item() == pytest.approx(2.938176, abs=DIGITS)
    np.testing.assert_allclose(net.out.weight.grad.numpy(), before * 0.340347, rtol=3e-6)


def test_f35_the_gradient_of_cross_entropy_is_softmax_minus_one_hot() -> None:
    _, o = Hello()()
    first = o[:1].detach().requires_grad_()
    nn.functional.cross_entropy(first, TARGETS[:1]).backward()
    assert_digits(first.grad, [[0.154563, -0.670184, 0.193373, 0.322248]])


def lstm(gates: list[list[float]]) -> nn.LSTMCell:
    """An LSTM of one unit from the notes' matrix: rows i, f, o, g and columns h, x; ours are i, f, g, o."""
    matrix = np.asarray(gates)[[0, 1, 3, 2]]
    cell = nn.LSTMCell(matrix.shape[1] - 1, 1, bias=False, dtype="float64")
    cell.load_state_dict({"weight_hh": matrix[:, :1], "weight_ih": matrix[:, 1:]})
    return cell


def test_f36_lstm() -> None:
    state = tg.unfold(lstm([[0.1, 0.1]] * 4), tg.chain([3]), tg.ones((3, 1), dtype="float64")).all()
    assert_digits(state.h[:, 0], [0.027444, 0.042655, 0.051091])
    assert_digits(state.c[:, 0], [0.052324, 0.081324, 0.097430])
    cell = lstm([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [-0.1, -0.2, -0.3], [0.7, -0.8, 0.9]])
    state = tg.unfold(cell, tg.chain([3]), tg.tensor([[1, 0], [0, 1], [1, 1]], dtype="float64")).all()
    assert_digits(state.h[:, 0], [-0.157426, 0.061911, 0.073660])
    assert_digits(state.c[:, 0], [-0.365110, 0.145189, 0.198422])


def test_f38_the_vanilla_rnn_layer_is_the_hello_network() -> None:
    net = Hello()
    layer = nn.RNN(4, 3, bias=False, dtype="float64")
    layer.load_state_dict({"weight_ih_l0": W_XH.T, "weight_hh_l0": W_HH.T})
    output, h = layer(tg.reshape(net.x, (4, 1, 4)))
    assert_digits(output[:, 0, :], net()[0].all().h.numpy(), atol=1e-15)
    assert_digits(h[0], [[0.970400, 0.961387, 0.988855]])
    assert sum(p.size for p in net.parameters()) == 33  # F2: whatever T is
