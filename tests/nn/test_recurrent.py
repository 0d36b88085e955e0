from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

T, B, IN, H = 5, 4, 3, 2
KINDS = {"tanh": (nn.RNN, {}), "relu": (nn.RNN, {"nonlinearity": "relu"}), "LSTM": (nn.LSTM, {}), "GRU": (nn.GRU, {})}
RNG = np.random.default_rng(0)


def made(kind: str, **options):
    layer, more = KINDS[kind]
    return layer(IN, H, dtype="float64", **more, **options)


def flat(output, state) -> list:
    """Output and final state as a list of their Tensors."""
    return [output, *((state,) if not isinstance(state, tuple) else state)]


def gradients(tensors: list) -> list[np.ndarray]:
    return [t.grad.numpy() for t in tensors]


@pytest.mark.torch
@pytest.mark.parametrize("lengths", [None, [2, 5, 1, 3]], ids=["full", "lengths"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time", "batch"])
@pytest.mark.parametrize("bias", [False, True], ids=["nobias", "bias"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "both"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_states_and_all_gradients_agree_with_torch(
    kind: str, num_layers: int, bidirectional: bool, bias: bool, batch_first: bool, lengths: list[int] | None
) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias, "batch_first": batch_first}
    layer, more = KINDS[kind]
    theirs = getattr(torch.nn, layer.__name__)(IN, H, **options, **more, dtype=torch.float64)
    ours = made(kind, **options)
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())

    fields = 2 if kind == "LSTM" else 1
    values = RNG.standard_normal((B, T, IN) if batch_first else (T, B, IN))
    starts = [RNG.standard_normal((num_layers * (1 + bidirectional), B, H)) for _ in range(fields)]
    x, y = tg.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    mine = [tg.tensor(s, requires_grad=True) for s in starts]
    other = [torch.tensor(s, requires_grad=True) for s in starts]
    found = flat(*ours(x, tuple(mine) if fields == 2 else mine[0], lengths))
    packed = y
    if lengths is not None:
        packed = torch.nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first, enforce_sorted=False)
    out, state = theirs(packed, tuple(other) if fields == 2 else other[0])
    if lengths is not None:
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first, total_length=T)
    expected = flat(out, state)

    assert len(found) == len(expected)
    loss, reference = 0.0, 0.0
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
        weights = RNG.standard_normal(a.shape)
        loss, reference = loss + (a * tg.tensor(weights)).sum(), reference + (b * torch.tensor(weights)).sum()
    loss.backward()
    reference.backward()
    for a, b in zip([x, *mine, *ours.parameters()], [y, *other, *theirs.parameters()], strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_batch_with_empty_sequences_equals_each_sequence_by_itself(
    kind: str, batch_first: bool, given: bool
) -> None:
    lengths = [2, 0, 5, 0, 1]
    ours = made(kind, num_layers=2, bidirectional=True, batch_first=batch_first)
    values = RNG.standard_normal((len(lengths), T, IN))
    starts = [RNG.standard_normal((4, len(lengths), H)) for _ in range(2 if kind == "LSTM" else 1)]

    def run(rows: np.ndarray, states: list[np.ndarray], counts: list[int] | None) -> tuple[list, list, list]:
        x = tg.tensor(rows if batch_first else rows.swapaxes(0, 1), requires_grad=True)
        state = [tg.tensor(s, requires_grad=True) for s in states]
        given_state = None if not given else tuple(state) if len(state) > 1 else state[0]
        outputs = flat(*ours(x, given_state, counts))
        return outputs, [x], state if given else []

    outputs, inputs, states = run(values, starts, lengths)
    sum((o * o).sum() for o in outputs).backward()
    whole = [p.grad.numpy().copy() for p in ours.parameters()]
    ours.zero_grad()
    for e, length in enumerate(lengths):
        one, x, state = run(values[e : e + 1, :length], [s[:, e : e + 1] for s in starts], None)
        out, ref = (o.numpy() if batch_first else o.numpy().swapaxes(0, 1) for o in (outputs[0], one[0]))
        np.testing.assert_allclose(out[e, :length], ref[0], atol=1e-12)
        assert not out[e, length:].any()
        for a, b in zip(outputs[1:], one[1:], strict=True):
            np.testing.assert_allclose(a.numpy()[:, e], b.numpy()[:, 0], atol=1e-12)
        total = sum((o * o).sum() for o in one)
        if total.requires_grad:
            total.backward()
        for a, b in zip(states, state, strict=True):
            np.testing.assert_allclose(a.grad.numpy()[:, e], b.grad.numpy()[:, 0], atol=1e-12)
        if length:
            a, b = (g if batch_first else g.swapaxes(0, 1) for g in (gradients(inputs)[0], gradients(x)[0]))
            np.testing.assert_allclose(a[e, :length], b[0], atol=1e-12)
            assert not a[e, length:].any()
    for a, p in zip(whole, ours.parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(T, 0), (0, B), (T, B)])
def test_nothing_to_read_gives_zeros_and_the_initial_state(kind: str, shape: tuple[int, int]) -> None:
    ours = made(kind, bidirectional=True, num_layers=2)
    x = tg.tensor(np.ones((*shape, IN)))
    start = tg.tensor(np.full((4, shape[1], H), 0.5))
    state = (start, start) if kind == "LSTM" else start
    output, *finals = flat(*ours(x, state, [0] * shape[1]))
    assert output.shape == (*shape, 2 * H)
    assert not output.numpy().any()
    for final in finals:
        np.testing.assert_array_equal(final.numpy(), start.numpy())


def test_lengths_may_be_an_array_or_a_tensor() -> None:
    ours, x = made("GRU"), tg.tensor(RNG.standard_normal((T, B, IN)))
    a, b, c = (ours(x, lengths=n)[0].numpy() for n in ([5, 0, 2, 1], np.array([5, 0, 2, 1]), tg.asarray([5, 0, 2, 1])))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, c)


def test_what_stands_behind_the_end_of_a_sequence_is_not_read() -> None:
    ours = made("LSTM", bidirectional=True)
    values = RNG.standard_normal((T, 2, IN))
    clean, dirty = values.copy(), values.copy()
    dirty[3:, 0] = np.nan
    for a, b in zip(*(flat(*ours(tg.tensor(v), lengths=[3, 5])) for v in (clean, dirty)), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_backward_direction_sees_the_future_and_forward_does_not() -> None:
    # LECTURE-NOTES F12
    for bidirectional in (False, True):
        ours = made("tanh", bidirectional=bidirectional)
        x = tg.tensor(RNG.standard_normal((T, 1, IN)), requires_grad=True)
        output, _ = ours(x)
        reached = np.zeros((T, T), bool)
        for t in range(T):
            (g,) = tg.grad(output[t].sum(), x, retain_graph=True)
            reached[t] = g.numpy().any(axis=(1, 2))
        np.testing.assert_array_equal(reached, np.ones((T, T)) if bidirectional else np.tril(np.ones((T, T))))


def test_dropout_stands_between_layers_in_training_only() -> None:
    ours = nn.LSTM(IN, 30, num_layers=2, dropout=0.5)
    x = tg.tensor(RNG.standard_normal((T, B, IN)), dtype="float32")
    tg.manual_seed(1)
    first = ours(x)[0].numpy()
    assert not np.array_equal(first, ours(x)[0].numpy())
    tg.manual_seed(1)
    np.testing.assert_array_equal(ours(x)[0].numpy(), first)
    assert np.count_nonzero(first) == first.size  # not behind the last layer
    ours.eval()
    np.testing.assert_array_equal(ours(x)[0].numpy(), ours(x)[0].numpy())
    single = nn.LSTM(IN, 30, dropout=0.5)
    np.testing.assert_array_equal(single(x)[0].numpy(), single(x)[0].numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_through_a_bidirectional_batch(kind: str) -> None:
    ours = made(kind, bidirectional=True)
    names = [name for name, _ in ours.named_parameters()]

    def run(x, *parameters):
        for name, value in zip(names, parameters):
            setattr(ours, name, value)
        return flat(*ours(x, lengths=[3, 0, 2]))

    x = tg.tensor(RNG.standard_normal((3, 3, IN)), requires_grad=True)
    parameters = [p.detach().requires_grad_() for p in ours.parameters()]
    assert len(parameters) == len(names) == 8
    tg.gradcheck(run, [x, *parameters])


def test_a_parameter_that_is_tied_is_the_one_that_the_cells_read() -> None:
    ours, other = made("GRU"), made("GRU")
    for name, parameter in other.named_parameters():
        setattr(ours, name, parameter)
    x = tg.tensor(RNG.standard_normal((T, B, IN)))
    output, _ = ours(x)
    np.testing.assert_array_equal(output.numpy(), other(x)[0].numpy())
    output.sum().backward()
    assert other.weight_hh_l0.grad is not None


def test_float32_stays_float32() -> None:
    output, (h, c) = nn.LSTM(IN, H, bidirectional=True)(tg.ones((T, B, IN)), lengths=[0, 1, 2, 3])
    assert {v.dtype.name for v in (output, h, c)} == {"float32"}


def test_what_does_not_fit_is_refused() -> None:
    ours, x = nn.LSTM(IN, H), tg.ones((T, B, IN))
    with pytest.raises(ValueError, match=r"LSTM takes x \[T, B, I\] with I = 3, not shape \(5, 4, 2\)"):
        ours(tg.ones((T, B, 2)))
    with pytest.raises(ValueError, match=r"GRU takes x \[B, T, I\] with I = 3, not shape \(5, 4\)"):
        nn.GRU(IN, H, batch_first=True)(tg.ones((T, IN + 1)))
    with pytest.raises(ValueError, match=r"GRU takes x \[T, B, I\] with I = 3, not shape \(5, 3\)"):
        nn.GRU(IN, H)(tg.ones((T, IN)), lengths=[5])
    with pytest.raises(ValueError, match="sequence 1 has length 6; x has 5 steps"):
        ours(x, lengths=[1, 6, 0, 0])
    with pytest.raises(ValueError, match="sequence 0 has length -1"):
        ours(x, lengths=[-1, 0, 0, 0])
    with pytest.raises(ValueError, match="an integer length for each of 4 sequences"):
        ours(x, lengths=[1, 2])
    with pytest.raises(ValueError, match="an integer length for each of 4 sequences"):
        ours(x, lengths=[1.0, 2.0, 1.0, 1.0])
    state = tg.zeros((1, B, H))
    for wrong in (state, (state, tg.zeros((2, B, H))), (state,) * 3):
        with pytest.raises(ValueError, match=r"a state \(h, c\) of shapes \(1, 4, 2\): layers \* directions, B, H"):
            ours(x, wrong)
    with pytest.raises(ValueError, match="LSTM needs at least one layer, not num_layers=0"):
        nn.LSTM(IN, H, num_layers=0)


def test_nested_lists_are_a_batch_too() -> None:
    layer = nn.RNN(2, 3)
    assert layer([[[1.0, 2.0]], [[3.0, 4.0]]])[0].shape == (2, 1, 3)


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_state_may_be_arrays(layer: Any) -> None:
    rnn, h = layer(2, 3), RNG.standard_normal((1, 4, 3)).astype("f4")
    given = tg.asarray(h)
    states = ((given.data, given.data), (given, given)) if layer is nn.LSTM else (given.data, given)
    first, second = (rnn(tg.ones((2, 4, 2)), state)[0] for state in states)
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"batch_first": True, "num_layers": 2, "bidirectional": True}])
def test_a_single_sequence_has_no_batch(layer: Any, options: Any) -> None:
    rnn, x = layer(2, 3, **options), tg.asarray(RNG.standard_normal((5, 2)).astype("f4"))
    rows = 4 if options else 1
    h = tg.asarray(RNG.standard_normal((rows, 3)).astype("f4"))
    axis = 0 if options else 1
    for state, batched in ((None, None), (h, h[:, None])):
        pair = layer is nn.LSTM and state is not None
        output, final = rnn(x, (state, state) if pair else state)
        expected, finals = rnn(tg.expand_dims(x, axis=axis), (batched, batched) if pair else batched)
        assert output.tolist() == tg.squeeze(expected, axis).tolist()
        for ours, theirs in zip(final if layer is nn.LSTM else [final], finals if layer is nn.LSTM else [finals]):
            assert ours.tolist() == theirs[:, 0].tolist()
    if layer is not nn.LSTM:
        assert rnn(x, nn.HiddenState(h))[0].tolist() == rnn(x, h)[0].tolist()
