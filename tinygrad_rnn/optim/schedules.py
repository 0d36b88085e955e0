"""Learning rates that change from step to step, with PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .optimizers import Optimizer


class Schedule:
    """Learning rates that follow a rule: call `step()` after each epoch (or each update, as the rule counts).

    Args:
        optimizer: whose groups' `lr` are set.
        rule: (steps so far, a group's first lr) -> its lr now.

    >>> import tinygrad_rnn as tg
    >>> sgd = tg.optim.SGD([tg.ones(1).requires_grad_()], lr=0.5)
    >>> schedule = ExponentialLR(sgd, gamma=0.5)
    >>> schedule.step()
    >>> sgd.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, rule: Callable[[int, float], float]) -> None:
        self.optimizer, self.rule, self.last_epoch = optimizer, rule, 0
        self.base_lrs: Sequence[float] = [group["lr"] for group in optimizer.param_groups]
        self._set()

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rule(self.last_epoch, base)

    def step(self) -> None:
        """One step on: set every group's lr."""
        self.last_epoch += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """The steps so far and the first learning rates."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.last_epoch, self.base_lrs = saved["last_epoch"], list(saved["base_lrs"])
        self._set()


def StepLR(optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> Schedule:
    """lr times gamma every `step_size` steps."""
    return Schedule(optimizer, lambda t, lr: lr * gamma ** (t // step_size))


def ExponentialLR(optimizer: Optimizer, gamma: float) -> Schedule:
    """lr times gamma every step."""
    return Schedule(optimizer, lambda t, lr: lr * gamma**t)


def CosineAnnealingLR(optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> Schedule:
    """Down to `eta_min` in `T_max` steps along half a cosine (Loshchilov & Hutter 2017, equation 5)."""

    def rule(t: int, lr: float) -> float:
        return eta_min + (lr - eta_min) * (1 + math.cos(math.pi * t / T_max)) / 2

    return Schedule(optimizer, rule)


def LinearLR(
    optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
) -> Schedule:
    """A warm-up: lr times a factor that goes from `start_factor` to `end_factor` in `total_iters` steps."""
    slope = (end_factor - start_factor) / total_iters
    return Schedule(optimizer, lambda t, lr: lr * (start_factor + slope * min(t, total_iters)))


class ReduceLROnPlateau:
    """lr times `factor` once a figure has not improved for more than `patience` steps.

    Args:
        mode: "min" or "max", which way the figure improves.
        threshold: by which share it must improve to count.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', not {mode!r}")
        self.optimizer, self.sign = optimizer, -1 if mode == "max" else 1
        self.factor, self.patience, self.threshold, self.min_lr = factor, patience, threshold, min_lr
        self.best, self.num_bad_epochs = math.inf, 0

    def step(self, metrics: float) -> None:
        """Take the figure of one step."""
        value = self.sign * float(metrics)
        if value < self.best - (0 if math.isinf(self.best) else self.threshold * abs(self.best)):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.num_bad_epochs > self.patience:
            self.num_bad_epochs = 0
            for group in self.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self.factor, self.min_lr)

    def state_dict(self) -> dict[str, Any]:
        """The best figure and the steps since."""
        return {"best": self.best, "num_bad_epochs": self.num_bad_epochs}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.best, self.num_bad_epochs = saved["best"], saved["num_bad_epochs"]
