"""Optimisers against PyTorch's, and rows against dense gradients."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tests.optim.parameters import OPTIONS, ids, parameter
from tinygrad_rnn import optim
from tinygrad_rnn.gradient import Rows

Maker = Callable[[list[Any]], optim.Optimizer]


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


def test_a_module_is_no_list_of_parameters() -> None:
    with pytest.raises(TypeError, match=r"Adam: give the parameters of the module, module\.parameters\(\)"):
        optim.Adam(tg.nn.Linear(1, 1))  # type: ignore[arg-type]


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
    with pytest.raises(ValueError, match="the saved optimiser has a state for parameter 7, this one 1 parameters"):
        optim.Adam([a]).load_state_dict({**saved, "state": {7: {}}})


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


def test_an_optimiser_shows_its_options_and_how_many_parameters_it_moves() -> None:
    x, y, z = (tg.ones(2).requires_grad_() for _ in range(3))
    assert repr(tg.optim.SGD([x], lr=0.5)).startswith("<SGD params=1, lr=0.5, momentum=0.0")
    shown = repr(tg.optim.SGD([{"params": [x, y], "lr": 0.5}, {"params": z}], lr=0.1))
    assert re.search(r"^<SGD params=2, lr=0.5, .*; params=1, lr=0.1, ", shown)
