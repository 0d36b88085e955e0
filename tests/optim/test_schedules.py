"""Learning rates that change, against their formulas and PyTorch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.optim.parameters import parameter
from tinygrad_rnn import optim


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
