"""The module: what has parameters, a name for each of them, and a forward function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from .. import backend, ops, tape
from ..tensor import Tensor


def Parameter(data: Any, dtype: Any = None, device: str | None = None) -> Tensor:
    """A Tensor of its own that requires a gradient: as an attribute of a module it is one of its parameters."""
    return ops.tensor(data, dtype, device, requires_grad=True)


class LeftOut(NamedTuple):
    """What `load_state_dict` has left out: names of the module, and names of what was given."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Parameters, buffers and other modules as attributes, and a `forward` that a call of the module runs.

    An attribute that is a leaf Tensor requiring a gradient is a parameter, and stays one when it is frozen by
    `requires_grad_(False)`. Modules are found as attributes and in attributes that are lists, tuples or dicts; their
    parameters' names then go on with the index or key. A module keeps its Tensors for life: moving, loading and
    optimising change what they hold, never which they are.

    >>> class Net(Module):
    ...     def __init__(self):
    ...         self.scale = Parameter([1.0, 2.0])
    ...
    ...     def forward(self, x):
    ...         return x * self.scale
    >>> net = Net()
    >>> net(ops.ones(2)).tolist(), [name for name, _ in net.named_parameters()]
    ([1.0, 2.0], ['scale'])
    """

    training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and value.requires_grad and value.is_leaf:
            vars(self).setdefault("_tensors", {})[name] = True
        object.__setattr__(self, name, value)

    def register_buffer(self, name: str, tensor: Tensor) -> None:
        """Make a Tensor that is no parameter part of `state_dict()` and of `to()`."""
        vars(self).setdefault("_tensors", {})[name] = False
        setattr(self, name, tensor)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(); define one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`."""
        return self.forward(*args, **kwargs)

    # What it is made of.
    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules that it holds itself, in the order of its attributes."""
        seen = {id(self)}
        waiting = [*vars(self).items()][::-1]
        while waiting:
            name, value = waiting.pop()
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple | dict) and id(value) not in seen:
                seen.add(id(value))
                items = value.items() if isinstance(value, dict) else enumerate(value)
                waiting += [(f"{name}.{key}", item) for key, item in items][::-1]

    def children(self) -> Iterator[Module]:
        """The modules that it holds itself."""
        return (child for _, child in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Itself, by the name "", and all modules below, each once."""
        seen: set[int] = set()
        waiting: list[tuple[str, Module]] = [("", self)]
        while waiting:
            prefix, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield prefix, module
            dot = f"{prefix}." if prefix else ""
            waiting += reversed([(dot + name, child) for name, child in module.named_children()])

    def modules(self) -> Iterator[Module]:
        """Itself and all modules below, each once."""
        return (module for _, module in self.named_modules())

    def _named_tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """(name, Tensor, whether it is a parameter) of all that is saved; a shared Tensor under each of its names."""
        for prefix, module in self.named_modules():
            for name, is_parameter in vars(module).get("_tensors", {}).items():
                tensor = vars(module).get(name)
                if isinstance(tensor, Tensor):
                    yield f"{prefix}.{name}" if prefix else name, tensor, is_parameter

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters here and below with their names, each once."""
        seen: set[int] = set()
        for name, tensor, is_parameter in self._named_tensors():
            if is_parameter and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def parameters(self) -> Iterator[Tensor]:
        """The parameters here and below, each once."""
        return (parameter for _, parameter in self.named_parameters())

    # What can be done with all of it.
    def train(self, mode: bool = True) -> Self:
        """Switch all modules to training, where dropout drops (or, with False, to evaluation)."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch all modules to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Ask for the gradients of all parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            if parameter.requires_grad:
                parameter.grad = None

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Move everything to a device, and what is floating to a dtype; the Tensors stay the same objects."""

        def placed(tensor: Tensor) -> Tensor:
            if tensor.dtype.kind == "f":
                return tensor.detach().to(device, dtype)
            return tensor.detach().to(device if isinstance(device, str) else None)

        for _, tensor, _ in self._named_tensors():
            grad = tensor.grad
            tensor.data = placed(tensor).data
            if grad is not None:
                tensor.grad = placed(grad)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by name, not recorded; they share the module's memory."""
        return {name: tensor.detach() for name, tensor, _ in self._named_tensors()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LeftOut:
        """Write the values of a `state_dict()` into the parameters and buffers, whose dtype and device stay.

        Args:
            state: arrays, Tensors or PyTorch tensors by name, one for each entry of `state_dict()`.
            strict: whether unknown and missing entries are errors; without it they are left out.

        Returns:
            the names that were left out.

        Raises:
            ValueError: entries are unknown, missing, of another shape or no numbers; the message names all of them, and
                nothing was changed.

        >>> from tinygrad_rnn import nn
        >>> nn.Linear(2, 1).load_state_dict({"weight": [[1.0]], "bais": [0.0]})
        Traceback (most recent call last):
            ...
        ValueError: Linear can't load this state; unknown: bais; missing: bias; misshapen: weight is (1, 1), not (1, 2)
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict takes the arrays by name, not a {type(state).__name__}")
        own = self.state_dict()
        arrays = {name: _as_numpy(state[name]) for name in own if name in state}
        left = LeftOut([n for n in own if n not in state], [str(n) for n in state if n not in own])
        problems = {
            "unknown": left.unexpected_keys if strict else [],
            "missing": left.missing_keys if strict else [],
            "misshapen": [
                f"{name} is {array.shape}, not {own[name].shape}"
                for name, array in arrays.items()
                if array.shape != own[name].shape
            ],
            "no numbers": [f"{n} holds {a.dtype}" for n, a in arrays.items() if a.dtype.kind not in "biuf"],
        }
        found = "; ".join(f"{what}: {', '.join(names)}" for what, names in problems.items() if names)
        if found:
            raise ValueError(f"{type(self).__name__} can't load this state; {found}")
        for name, array in arrays.items():
            target = own[name].data
            target[...] = backend.of(target).from_numpy(array.astype(own[name].dtype))
            tape.wrote(target)
        return left

    def extra_repr(self) -> str:
        """What stands between the parentheses of its repr, before the modules below."""
        return ""

    def __repr__(self) -> str:
        below = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        inside = "\n  ".join(["", *below]) + "\n" if below else ""
        return f"{type(self).__name__}({self.extra_repr()}{inside})"


def _as_numpy(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value.numpy()
    if backend.known(value):
        return backend.of(value).to_numpy(value)
    if hasattr(value, "detach"):  # a torch tensor, by its methods: bfloat16 has no NumPy dtype, float64 holds them all
        value = value.detach().cpu()
        value = (value if value.is_complex() else value.double()).numpy()
    try:
        return np.asarray(value)
    except ValueError:  # ragged lists
        return np.empty(0, object)


class Sequential(Module):
    """Modules one after the other, each taking what the one before gives.

    >>> from tinygrad_rnn import nn
    >>> nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.1))
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): Dropout(p=0.1)
    )
    """

    def __init__(self, *modules: Module) -> None:
        self.steps = modules

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules by their numbers."""
        return ((str(i), module) for i, module in enumerate(self.steps))

    def forward(self, x: Any) -> Any:
        """x through all of them."""
        for module in self.steps:
            x = module(x)
        return x
