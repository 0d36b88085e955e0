from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

IN, H = 3, 2
RNG = np.random.default_rng(0)
CELLS = {
    "RNNCell": lambda **o: nn.RNNCell(IN, H, dtype="float64", **o),
    "RNNCell relu": lambda **o: nn.RNNCell(IN, H, nonlinearity="relu", dtype="float64", **o),
    "LSTMCell": lambda **o: nn.LSTMCell(IN, H, dtype="float64", **o),
    "GRUCell": lambda **o: nn.GRUCell(IN, H, dtype="float64", **o),
    "GRUCell before": lambda **o: nn.GRUCell(IN, H, reset_after=False, dtype="float64", **o),
}


def rows(*shape: int) -> tg.Tensor:
    return tg.tensor(RNG.standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("name", CELLS)
def test_unfolding_a_chain_is_a_loop_of_steps(name: str) -> None:
    cell, x = CELLS[name](), rows(6, IN)
    state, states = cell.initial(), []
    for t in range(6):
        state = cell.step(x[t : t + 1], state)
        states.append(state.h)
    (tg.concat(states) ** 2).sum().backward()
    by_loop = [x.grad.numpy(), *(p.grad.numpy() for p in cell.parameters())]
    cell.zero_grad()
    x.grad = None
    run = tg.unfold(cell, tg.chain([6]), x)
    np.testing.assert_allclose(run.all().h.numpy(), tg.concat(states).numpy(), rtol=1e-12, atol=1e-15)
    assert type(run.last()) is cell.State
    (run.all().h ** 2).sum().backward()
    for a, b in zip(by_loop, [x.grad.numpy(), *(p.grad.numpy() for p in cell.parameters())], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_second_derivatives_of_an_unfolded_cell(name: str, bias: bool) -> None:
    cell = CELLS[name](bias=bias)
    names = [n for n, _ in cell.named_parameters()]
    assert names == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"][: 4 if bias else 2]

    def run(x, *parameters):
        for n, p in zip(names, parameters):
            setattr(cell, n, p)
        return tuple(tg.unfold(cell, tg.chain([3, 1, 2]), x).all())

    tg.gradcheck(run, [rows(6, IN), *(p.detach().requires_grad_() for p in cell.parameters())])


@pytest.mark.torch
@pytest.mark.parametrize("name", ["RNNCell", "RNNCell relu", "LSTMCell", "GRUCell"])
def test_one_step_agrees_with_torchs_cell(name: str) -> None:
    torch = pytest.importorskip("torch")
    cell, kind, *nonlinearity = CELLS[name](), *name.split()
    options = {"nonlinearity": nonlinearity[0]} if nonlinearity else {}
    theirs = getattr(torch.nn, kind)(IN, H, dtype=torch.float64, **options)
    cell.load_state_dict(theirs.state_dict())
    x, *state = rows(4, IN), *(rows(4, H) for _ in cell.State._fields)
    found = cell.step(x, cell.State(*state))
    y = torch.tensor(x.numpy())
    given = [torch.tensor(s.numpy()) for s in state]
    expected = theirs(y, tuple(given) if len(given) > 1 else given[0])
    for a, b in zip(found, expected if len(given) > 1 else [expected], strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-10)


def test_the_original_gru_resets_the_state_before_the_product() -> None:
    # Cho et al. 2014, equations 5 to 8, with h' = z h + (1 - z) n
    cell, x, h = CELLS["GRUCell before"](), rows(4, IN), rows(4, H)
    wr, wz, wn = np.split(cell.weight_ih.numpy(), 3)
    ur, uz, un = np.split(cell.weight_hh.numpy(), 3)
    br, bz, bn = np.split(cell.bias_ih.numpy() + cell.bias_hh.numpy(), 3)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    r = sigmoid(x.numpy() @ wr.T + h.numpy() @ ur.T + br)
    z = sigmoid(x.numpy() @ wz.T + h.numpy() @ uz.T + bz)
    n = np.tanh(x.numpy() @ wn.T + (r * h.numpy()) @ un.T + bn)
    found = cell.step(x, nn.HiddenState(h)).h.numpy()
    np.testing.assert_allclose(found, z * h.numpy() + (1 - z) * n, rtol=1e-12)
    after = nn.GRUCell(IN, H, dtype="float64")
    after.load_state_dict(cell.state_dict())
    assert not np.allclose(found, after.step(x, nn.HiddenState(h)).h.numpy())


def test_memory_passes_an_open_forget_gate_unchanged() -> None:
    # LECTURE-NOTES F36: f = 1 and i = 0 give dc_T/dc_0 = 1 exactly, whatever the weights of the memory's path would be
    cell = nn.LSTMCell(IN, H, dtype="float64")
    bias = np.repeat([-1e4, 1e4, 0.0, 0.0], H)  # i, f, g, o
    cell.load_state_dict({**cell.state_dict(), "bias_ih": bias})
    start = nn.CellState(rows(1, H), rows(1, H))
    c = tg.unfold(cell, tg.chain([50]), rows(50, IN), initial=start).last().c
    (g,) = tg.grad(c.sum(), start.c)
    assert g.tolist() == [[1.0] * H]
    np.testing.assert_array_equal(c.numpy(), start.c.numpy())


def test_a_cell_without_inputs_runs_on_its_state_alone() -> None:
    cell = nn.RNNCell(0, H, dtype="float64")
    start = nn.HiddenState(rows(1, H))
    run = tg.unfold(cell, tg.chain([2]), None, initial=start)
    h = start.h.numpy()
    for _ in range(2):
        h = np.tanh(h @ cell.weight_hh.numpy().T + cell.bias_ih.numpy() + cell.bias_hh.numpy())
    np.testing.assert_allclose(run.last().h.numpy(), h, rtol=1e-12)


def test_dropout_in_a_cell_draws_the_same_masks_again_under_checkpoint() -> None:
    class Dropped(nn.RNNCell):
        def __init__(self) -> None:
            super().__init__(IN, H, dtype="float64")
            self.dropout = nn.Dropout(0.5)

        def step(self, x: tg.Tensor, state: object) -> nn.HiddenState:
            return nn.HiddenState(self.dropout(super().step(self.dropout(x), state).h))

    cell, x = Dropped(), rows(8, IN)

    def run(x: tg.Tensor) -> tg.Tensor:
        return tg.unfold(cell, tg.chain([5, 3]), x).all().h

    results = []
    for through in (run, lambda x: tg.checkpoint(run, x)):
        tg.manual_seed(7)
        cell.zero_grad()
        x.grad = None
        h = through(x)
        (h**2).sum().backward()
        results.append([h.numpy(), x.grad.numpy(), *(p.grad.numpy().copy() for p in cell.parameters())])
    assert np.count_nonzero(results[0][0]) < results[0][0].size
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_nonlinearity_and_a_wrong_width_are_refused() -> None:
    with pytest.raises(ValueError, match="nonlinearity is 'tanh' or 'relu', not 'elu'"):
        nn.RNNCell(IN, H, nonlinearity="elu")
    with pytest.raises(ValueError, match=r"linear\(\[2, 5\] float32.*cell LSTMCell, level 0"):
        tg.unfold(nn.LSTMCell(IN, H), tg.chain([2, 2]), tg.ones((4, 5)))
    with pytest.raises(NotImplementedError):
        nn.cells.StepCell(IN, H, True, None, None).step(tg.ones((1, IN)), None)


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRUCell, nn.NaryTreeLSTMCell], ids=lambda m: m.__name__)
def test_a_state_of_no_width_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="Cell needs a hidden_size of at least 1, not 0"):
        make(3, 0)


def test_a_step_by_hand_asked_of_the_cell_itself_is_pointed_to() -> None:
    cell = nn.LSTMCell(2, 3)
    for given in ((cell.initial(),), (tg.ones((1, 3)),), ()):
        with pytest.raises(
            TypeError, match=r"LSTMCell\(x, kids\) is what tg\.unfold calls; by hand it is LSTMCell\.step"
        ):
            cell(tg.ones((1, 2)), *given)
