"""Optimisers, gradient clipping and learning-rate schedules, with PyTorch's names, defaults and update rules.

The gradient of a table of which only some rows were read stays rows (`gradient.Rows`): plain SGD and Adagrad
touch these rows alone; where an average decays, all of it decays but only rows are added. The result is that of the
dense gradient. What a step does is a function beside its optimiser; `rule` runs it, in NumPy, CuPy or C.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .. import backend, ops, tape
from ..backend import Array
from ..gradient import Rows
from ..tensor import Tensor
from .rule import NOTHING, Rule, add, move

Params = Iterable[Tensor] | Iterable[Mapping[str, Any]]
Group = dict[str, Any]
State = dict[str, Any]
# What an option may be: not negative, or at least 0 and below 1 where it weighs an average.
_AVERAGES = ("alpha", "betas")


@functools.cache
def _penalised(rule: Rule) -> Rule:
    """The rule with weight decay as the derivative of an L2 penalty."""
    return lambda xp, n, g, p, **states: rule(xp, n, g + n.decay * p, p, **states)


class Optimizer:
    """Parameters in groups, each group with its own options, and what is remembered for each parameter.

    Args:
        params: Tensors that require a gradient, or dicts {"params": Tensors, option: value, ...}.
        defaults: the options of groups that do not name them.

    Raises:
        ValueError: no parameter, one that is in two groups, or an option out of its range.
        TypeError: something that is no leaf Tensor, or an option the optimiser does not have.
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        given: list[Any] = [params] if isinstance(params, Tensor | Mapping) else list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: no parameters to optimise")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimise further parameters: {"params": Tensors, option: value, ...}."""
        name = type(self).__name__
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {p for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor) or not p.is_leaf:
                raise TypeError(f"{name}: parameter {i} must be a leaf Tensor, not {p!r:.60}")
            if p in known:
                raise ValueError(f"{name}: parameter {i} (shape {p.shape}) is given twice")
            known.add(p)
        options = {key: value for key, value in group.items() if key != "params"}
        unknown = options.keys() - self.defaults.keys()
        if unknown:
            raise TypeError(f"{name} has no option {min(unknown)!r}; it has {', '.join(self.defaults)}")
        options = self.defaults | options
        for key, value in options.items():
            numbers = value if isinstance(value, tuple | list) else (value,)
            if not all(0 <= v < (1 if key in _AVERAGES else math.inf) for v in numbers):
                bound = "at least 0 and below 1" if key in _AVERAGES else "at least 0"
                raise ValueError(f"{name}: {key}={value} must be {bound}")
        self._check(options)
        self.param_groups.append({"params": params, **options})

    def _check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that do not go together."""

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.node is not None:
                    p.node.grad = None

    _decayed: Callable[[Rule], Rule] = staticmethod(_penalised)

    def _rule(self, state: State, group: Group) -> tuple[Rule, tuple[str, ...], dict[str, float]]:
        """What the next step does, the names of the arrays it remembers, and its numbers."""
        raise NotImplementedError

    def step(self) -> None:
        """Move every parameter that has a gradient, in place."""
        for group in self.param_groups:
            for p in group["params"]:
                g = None if p.node is None else p.node.grad
                if g is None:
                    continue
                state = self.state.setdefault(p, {})
                rule, names, numbers = self._rule(state, group)
                if decay := group["weight_decay"]:
                    rule, numbers = self._decayed(rule), numbers | {"decay": decay, "keep": 1 - group["lr"] * decay}
                for name in [name for name in names if name not in state]:
                    first = group.get("initial_accumulator_value", 0.0)
                    state[name] = backend.of(p.data).full(p.shape, first, dtype=p.dtype)
                arrays = {"p": p.data, **{name: state[name] for name in names}}
                move(rule, numbers, g.data if isinstance(g, Tensor) else g, arrays)
                tape.wrote(p.data)

    def state_dict(self) -> dict[str, Any]:
        """What a later `load_state_dict` needs, in PyTorch's layout: NumPy arrays and what JSON can hold."""
        number = {p: i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        return {
            "state": {
                number[p]: {key: Tensor(v).numpy() if backend.known(v) else v for key, v in state.items()}
                for p, state in self.state.items()
            },
            "param_groups": [{**g, "params": [number[p] for p in g["params"]]} for g in self.param_groups],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken; arrays are copied to each parameter's device and dtype.

        Raises:
            ValueError: the groups, parameters or shapes are not this optimiser's; nothing is changed then.
        """
        params = [p for g in self.param_groups for p in g["params"]]
        sizes, found = ([len(g["params"]) for g in groups] for groups in (self.param_groups, saved["param_groups"]))
        if sizes != found:
            raise ValueError(f"the saved optimiser has groups of {found} parameters, this one of {sizes}")
        states: dict[Tensor, State] = {}
        for i, state in saved["state"].items():
            p = params[int(i)]
            for key, value in state.items():
                if hasattr(value, "shape") and tuple(value.shape) != p.shape:
                    raise ValueError(f"{key} of parameter {i} has shape {value.shape}, the parameter {p.shape}")
            states[p] = {
                key: ops.tensor(value, p.dtype, p.device).data if hasattr(value, "shape") else value
                for key, value in state.items()
            }
        for group, options in zip(self.param_groups, saved["param_groups"], strict=True):
            group.update({key: value for key, value in options.items() if key != "params"})
        self.state = states


def _scaled(xp: Any, g: Array, square: Array, eps: float, mean: Array = None) -> Array:
    """g over the root of a sum or mean of squares, which may be taken about their mean."""
    if g is NOTHING:
        return g
    root = xp.sqrt(square if mean is None else square - mean * mean)
    root += eps
    return g / root


def _sgd(xp: Any, n: Any, g: Array, p: Array) -> None:
    add(p, n.rate * g)


def _momentum(xp: Any, n: Any, g: Array, p: Array, momentum_buffer: Array) -> None:
    momentum_buffer *= n.momentum
    add(momentum_buffer, n.gain * g)
    p += n.rate * momentum_buffer


def _nesterov(xp: Any, n: Any, g: Array, p: Array, momentum_buffer: Array) -> None:
    momentum_buffer *= n.momentum
    add(momentum_buffer, n.gain * g)
    p += n.rate * (g + n.momentum * momentum_buffer)


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * g, or along a velocity v = momentum * v + (1 - dampening) * g.

    With `nesterov` the step is g + momentum * v (Sutskever et al. 2013).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> sgd = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> sgd.step()
    >>> w.detach()
    Tensor([0.8, 1.6], dtype=float32)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
             "nesterov": nesterov},
        )  # fmt: skip

    def _check(self, options: Mapping[str, Any]) -> None:
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("SGD: nesterov needs a momentum and no dampening")

    def _rule(self, state: State, group: Group) -> tuple[Rule, tuple[str, ...], dict[str, float]]:
        rate, momentum = -group["lr"], group["momentum"]
        if not momentum:
            return _sgd, (), {"rate": rate}
        gain = 1 - group["dampening"] if "momentum_buffer" in state else 1.0  # the first velocity is the gradient
        rule = _nesterov if group["nesterov"] else _momentum
        return rule, ("momentum_buffer",), {"rate": rate, "momentum": momentum, "gain": gain}


def _adagrad(xp: Any, n: Any, g: Array, p: Array, sum: Array) -> None:
    add(sum, g * g)
    add(p, n.rate * _scaled(xp, g, sum, n.eps))


class Adagrad(Optimizer):
    """p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps), s the sum of g² so far (Duchi et al. 2011).

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> adagrad = Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> adagrad.step()
    >>> w.detach()
    Tensor([ 0.5, -1.5], dtype=float32)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay,
             "initial_accumulator_value": initial_accumulator_value, "eps": eps},
        )  # fmt: skip

    def _rule(self, state: State, group: Group) -> tuple[Rule, tuple[str, ...], dict[str, float]]:
        state["step"] = t = state.get("step", 0) + 1
        return _adagrad, ("sum",), {"eps": group["eps"], "rate": -group["lr"] / (1 + (t - 1) * group["lr_decay"])}


def _rmsprop(
    xp: Any, n: Any, g: Array, p: Array, square_avg: Array, grad_avg: Array = None, momentum_buffer: Array = None
) -> None:
    square_avg *= n.alpha
    add(square_avg, n.gain * (g * g))
    if grad_avg is not None:
        grad_avg *= n.alpha
        add(grad_avg, n.gain * g)
    step = _scaled(xp, g, square_avg, n.eps, grad_avg)
    if momentum_buffer is not None:
        momentum_buffer *= n.momentum
        add(momentum_buffer, step)
        step = momentum_buffer
    add(p, n.rate * step)


class RMSprop(Optimizer):
    """p -= lr * g / (sqrt(s) + eps), s = alpha s + (1 - alpha) g² (Hinton 2012, lecture 6e).

    `centered` subtracts the squared mean of g from s; with `momentum` the steps are summed as a velocity.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
             "centered": centered},
        )  # fmt: skip

    def _rule(self, state: State, group: Group) -> tuple[Rule, tuple[str, ...], dict[str, float]]:
        names = ["square_avg", *["grad_avg"] * group["centered"], *["momentum_buffer"] * bool(group["momentum"])]
        numbers = {name: group[name] for name in ("alpha", "eps", "momentum")}
        return _rmsprop, tuple(names), {**numbers, "gain": 1 - group["alpha"], "rate": -group["lr"]}


def _adam(xp: Any, n: Any, g: Array, p: Array, exp_avg: Array, exp_avg_sq: Array) -> None:
    exp_avg *= n.beta1
    add(exp_avg, n.gain1 * g)
    exp_avg_sq *= n.beta2
    add(exp_avg_sq, n.gain2 * (g * g))
    p += n.rate * _scaled(xp, exp_avg, exp_avg_sq, n.eps)


def _adamw(xp: Any, n: Any, g: Array, p: Array, **states: Array) -> None:
    p *= n.keep
    _adam(xp, n, g, p, **states)


class Adam(Optimizer):
    """p -= lr * m / (sqrt(v) + eps), m and v averages of g and g², corrected for their start.

    (Kingma & Ba 2015, algorithm 1.)

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([1.0, -2.0], requires_grad=True)
    >>> adam = Adam([{"params": [w], "lr": 0.5}])
    >>> (w * w).sum().backward()
    >>> adam.step()
    >>> print(w.numpy().round(3))
    [ 0.5 -1.5]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _rule(self, state: State, group: Group) -> tuple[Rule, tuple[str, ...], dict[str, float]]:
        state["step"] = t = state.get("step", 0) + 1
        beta1, beta2 = group["betas"]
        start = math.sqrt(1 - beta2**t)
        return _adam, ("exp_avg", "exp_avg_sq"), {
            "beta1": beta1, "gain1": 1 - beta1, "beta2": beta2, "gain2": 1 - beta2,
            "eps": group["eps"] * start, "rate": -group["lr"] * start / (1 - beta1**t),
        }  # fmt: skip


class AdamW(Adam):
    """Adam with weights that decay by themselves, p *= 1 - lr * weight_decay (Loshchilov & Hutter 2019)."""

    _decayed = staticmethod(lambda rule: _adamw)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients together so that their norm |g| is at most v = `max_norm`: g <- v g / |g|.

    Returns:
        |g| before, over all parameters, as a Tensor of one element (Pascanu et al. 2013, algorithm 1).

    Raises:
        ValueError: `max_norm` is not positive.

    >>> import tinygrad_rnn as tg
    >>> w = tg.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = tg.tensor([3.0, 4.0])
    >>> clip_grad_norm_([w], 1.0).item(), w.grad
    (5.0, Tensor([0.6, 0.8], dtype=float32))
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be positive, not {max_norm}")
    given = [parameters] if isinstance(parameters, Tensor) else parameters
    nodes: list[Any] = [p.node for p in given if getattr(p.node, "grad", None) is not None]
    squares = []
    for node in nodes:
        if type(node.grad) is Rows:
            node.grad = node.grad.coalesced()
        g = ops.as_tensor(node.grad.values if type(node.grad) is Rows else node.grad).detach()
        squares.append((g * g).sum())
    total = ops.sqrt(ops.sum(ops.stack(squares))) if squares else ops.zeros(())
    if float(total) > max_norm:
        scale = max_norm / float(total)
        for node in nodes:
            g = node.grad
            # Not in place: one array may be the gradient of several leaves.
            node.grad = Rows(g.index, g.values * scale, g.shape) if type(g) is Rows else g * scale
    return total


class Schedule:
    """Learning rates that follow a rule: call `step()` after each epoch (or each update, as the rule counts).

    Args:
        optimizer: whose groups' `lr` are set.
        rule: (steps so far, a group's first lr) -> its lr now.

    >>> import tinygrad_rnn as tg
    >>> sgd = SGD([tg.ones(1).requires_grad_()], lr=0.5)
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
