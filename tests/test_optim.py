"""Optimisers against PyTorch's, rows against dense gradients, clipping and schedules."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import optim
from tinygrad_rnn.gradient import Rows
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.optim import rule

Maker = Callable[[list[Any]], optim.Optimizer]

OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "centered": True, "weight_decay": 0.01}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.01}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
]
ids = [f"{name}-{'-'.join(options) or 'defaults'}" for name, options in OPTIONS]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def parameter(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)


@pytest.mark.torch
@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_steps_are_those_of_torch(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    start = [rng.normal(size=(4, 3)), rng.normal(size=5)]
    ours = [parameter(a) for a in start]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    our = getattr(optim, name)([{"params": ours[:1]}, {"params": ours[1], "lr": 0.03}], **options)
    their = getattr(torch.optim, name)([{"params": theirs[:1]}, {"params": theirs[1], "lr": 0.03}], **options)
    for _ in range(6):
        for p, q in zip(ours, theirs):
            g = rng.normal(size=p.shape)
            p.grad, q.grad = tg.tensor(g, dtype="float64"), torch.tensor(g)
        our.step()
        their.step()
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_defaults_are_those_of_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], **({"lr": 1e-3} if name == "SGD" else {}))
    ours = getattr(optim, name)([parameter([0.0])])
    assert ours.defaults == {key: theirs.defaults[key] for key in ours.defaults}


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_rows_move_exactly_as_the_dense_gradient(name: str, options: dict[str, Any], rng: np.random.Generator) -> None:
    start = rng.normal(size=(7, 3)).astype(np.float32)
    by_rows, dense = (tg.tensor(start, requires_grad=True) for _ in range(2))
    optimizers = [getattr(optim, name)([p], **options) for p in (by_rows, dense)]
    for _ in range(5):
        index = rng.integers(0, 6, size=8)  # repeats, and row 6 is never read
        weight = tg.tensor(rng.normal(size=(8, 3)).astype(np.float32))
        (tg.take(by_rows, tg.tensor(index), axis=0) * weight).sum().backward()
        assert type(by_rows.node.grad) is Rows
        dense.grad = by_rows.grad
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    np.testing.assert_array_equal(by_rows.numpy(), dense.numpy())
    ours, theirs = (o.state_dict()["state"].get(0, {}) for o in optimizers)
    assert ours.keys() == theirs.keys()
    for key in ours:
        np.testing.assert_array_equal(ours[key], theirs[key])


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_rows_that_were_not_read_are_not_touched(name: str) -> None:
    table = tg.zeros((3, 2)).requires_grad_()
    table.data[2] = math.nan  # would spread if it were computed with
    tg.take(table, tg.tensor([0, 0]), axis=0).sum().backward()
    optimizer = getattr(optim, name)([table], lr=0.5)
    optimizer.step()
    assert table.numpy()[0].tolist() == ([-1.0, -1.0] if name == "SGD" else [-0.5, -0.5])
    assert np.isnan(table.numpy()[2]).all()


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adam", "AdamW"])
def test_each_minimises_a_bowl(name: str) -> None:
    w = parameter([3.0, -2.0])
    optimizer = getattr(optim, name)([w], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        ((w - tg.tensor([1.0, 1.0], dtype="float64")) ** 2).sum().backward()
        optimizer.step()
    assert np.abs(w.numpy() - 1).max() < (0.7 if name == "Adagrad" else 0.1)


def test_parameters_without_a_gradient_stay() -> None:
    used, unused, frozen = parameter([1.0]), parameter([1.0]), tg.tensor([1.0])
    optimizer = optim.AdamW([used, unused, frozen], lr=0.1)
    used.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert used.item() < 1
    assert unused.item() == frozen.item() == 1
    assert used.grad is None


def test_a_step_between_forward_and_backward_is_refused() -> None:
    w = parameter([2.0])
    optimizer = optim.SGD([w], lr=0.1)
    (w * w).sum().backward()
    late = (w * w).sum()
    optimizer.step()
    with pytest.raises(tg.GraphError, match="written in place"):
        late.backward()


def test_a_recorded_gradient_is_used_by_its_values() -> None:
    w = parameter([2.0])
    (w**3).sum().backward(create_graph=True)
    optim.SGD([w], lr=0.1).step()
    assert w.item() == pytest.approx(0.8)


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=ids)
def test_state_survives_json_and_arrays_bit_for_bit(
    name: str, options: dict[str, Any], rng: np.random.Generator
) -> None:
    gradients = [rng.normal(size=(3, 2)) for _ in range(6)]
    whole, first, second = (parameter(np.ones((3, 2))) for _ in range(3))

    def run(w: tg.Tensor, optimizer: optim.Optimizer, some: list[Any]) -> None:
        for g in some:
            w.grad = tg.tensor(g)
            optimizer.step()

    run(whole, getattr(optim, name)([whole], **options), gradients)
    before = getattr(optim, name)([first], **options)
    run(first, before, gradients[:3])
    saved = before.state_dict()
    for state in saved["state"].values():
        arrays = {key: np.array(v) for key, v in state.items() if isinstance(v, np.ndarray)}
        state.update(json.loads(json.dumps({key: v for key, v in state.items() if key not in arrays})) | arrays)
    saved["param_groups"] = json.loads(json.dumps(saved["param_groups"]))
    after = getattr(optim, name)([second], lr=99.0)
    after.load_state_dict(saved)
    second.data[...] = first.data
    run(second, after, gradients[3:])
    np.testing.assert_array_equal(second.numpy(), whole.numpy())


def test_a_state_of_other_groups_or_shapes_is_refused() -> None:
    a, b = parameter([1.0, 2.0]), parameter([1.0])
    adam = optim.Adam([a])
    a.sum().backward()
    adam.step()
    saved = adam.state_dict()
    with pytest.raises(ValueError, match=r"groups of \[1\] parameters, this one of \[2\]"):
        optim.Adam([a, b]).load_state_dict(saved)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(2,\), the parameter \(1,\)"):
        optim.Adam([b]).load_state_dict(saved)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: optim.SGD([]), ValueError, "SGD: no parameters"),
        (lambda w: optim.SGD([w, w]), ValueError, r"parameter 1 \(shape \(2,\)\) is given twice"),
        (lambda w: optim.SGD([{"params": [w]}, {"params": w}]), ValueError, "given twice"),
        (lambda w: optim.SGD([w * 2]), TypeError, "parameter 0 must be a leaf Tensor"),
        (lambda w: optim.SGD(["w"]), TypeError, "must be a leaf Tensor, not 'w'"),
        (lambda w: optim.SGD([{"params": [w], "beta": 1}]), TypeError, "no option 'beta'; it has lr, momentum"),
        (lambda w: optim.SGD([w], lr=-1), ValueError, "lr=-1 must be at least 0"),
        (lambda w: optim.Adam([w], betas=(0.9, 1.0)), ValueError, r"betas=\(0.9, 1.0\) must be at least 0 and below 1"),
        (lambda w: optim.SGD([w], nesterov=True), ValueError, "nesterov needs a momentum"),
        (lambda w: optim.clip_grad_norm_([w], 0), ValueError, "max_norm must be positive"),
        (lambda w: optim.ReduceLROnPlateau(optim.SGD([w]), mode="up"), ValueError, "'min' or 'max', not 'up'"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[tg.Tensor], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(parameter([1.0, 2.0]))


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


def rates(schedule: Any, optimizer: optim.Optimizer, steps: int) -> list[float]:
    found = [optimizer.param_groups[0]["lr"]]
    for _ in range(steps):
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda o: optim.StepLR(o, 2, gamma=0.5), [1, 1, 0.5, 0.5, 0.25]),
        (lambda o: optim.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125, 0.0625]),
        (lambda o: optim.CosineAnnealingLR(o, 4, eta_min=0.2), [1, 0.882843, 0.6, 0.317157, 0.2]),
        (lambda o: optim.LinearLR(o, 0.25, total_iters=3), [0.25, 0.5, 0.75, 1, 1]),
    ],
)
def test_schedules_follow_their_formula(make: Callable[[optim.Optimizer], Any], expected: list[float]) -> None:
    optimizer = optim.SGD([parameter([0.0])], lr=1.0)
    assert rates(make(optimizer), optimizer, 4) == pytest.approx(expected, abs=1e-6)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("StepLR", {"step_size": 3}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01}),
        ("LinearLR", {}),
    ],
)
def test_schedules_are_those_of_torch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours = optim.SGD([{"params": parameter([0.0]), "lr": 0.3}], lr=1.0)
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    their_schedule = getattr(torch.optim.lr_scheduler, name)(theirs, **options)
    expected = [theirs.param_groups[0]["lr"]]
    for _ in range(8):
        theirs.step()
        their_schedule.step()
        expected.append(theirs.param_groups[0]["lr"])
    assert rates(getattr(optim, name)(ours, **options), ours, 8) == pytest.approx(expected, abs=1e-12)


def test_a_schedule_goes_on_from_its_state() -> None:
    first, second = (optim.SGD([parameter([0.0])], lr=1.0) for _ in range(2))
    schedule = optim.StepLR(first, 2)
    rates(schedule, first, 3)
    other = optim.StepLR(second, 2)
    other.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert rates(other, second, 1) == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_plateau_lowers_the_rate_after_its_patience(mode: str, sign: int) -> None:
    optimizer = optim.SGD([parameter([0.0])], lr=1.0)
    plateau = optim.ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=1, min_lr=0.2)
    found = []
    for value in [3, 2, 2, 2, 1, 1, 1, 1, 1, 1]:
        plateau.step(sign * value)
        found.append(optimizer.param_groups[0]["lr"])
        fresh = optim.ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=1, min_lr=0.2)
        fresh.load_state_dict(json.loads(json.dumps(plateau.state_dict())))
        plateau = fresh
    assert found == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2]


# The rules in C. Arrays of 40 x 30 elements are large enough for it.
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
