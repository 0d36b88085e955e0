"""Optimisers, with PyTorch's names, defaults and update rules.

The gradient of a table of which only some rows were read stays rows (`gradient.Rows`): plain SGD and Adagrad
touch these rows alone; where an average decays, all of it decays but only rows are added. The result is that of the
dense gradient. What a step does is a function beside its optimiser; `rule` runs it, in NumPy, CuPy or C.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import backend, ops, tape
from ..backend import Array
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
        if hasattr(params, "parameters"):
            raise TypeError(f"{type(self).__name__}: give the parameters of the module, module.parameters()")
        given: list[Any] = [params] if isinstance(params, Tensor | Mapping) else list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: no parameters to optimise")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    def __repr__(self) -> str:
        groups = [group | {"params": len(group["params"])} for group in self.param_groups]
        shown = "; ".join(", ".join(f"{key}={value}" for key, value in group.items()) for group in groups)
        return f"<{type(self).__name__} {shown}>"

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
                bound = "at least 0 and below 1" if key in _AVERAGES else "at least 0, and finite"
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
            if not 0 <= int(i) < len(params):
                raise ValueError(
                    f"the saved optimiser has a state for parameter {i}, this one {len(params)} parameters"
                )
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
