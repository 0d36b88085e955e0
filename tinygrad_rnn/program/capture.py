"""What a cell reaches by name: its Tensors, and the constants that a trace of it depends on.

A trace must not hold the parameters' values. So the cell is traced as a *twin* whose Tensors are stand-ins, and the
Tensors themselves are looked up at every run: attributes of the cell and of what it holds, variables around its
function, items of lists and dicts among these.
"""

from __future__ import annotations

import copy
import functools
import operator
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..tensor import Tensor
from .graph import Untraceable

CONSTANTS = (bool, int, float, complex, str, bytes, type(None))
CONTAINERS = (list, tuple, dict)
LASTING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, np.ufunc)  # compared by identity
FOREIGN = ("tinygrad_rnn", "numpy", "builtins", "networkx")  # whose functions hold nothing of the user's
DEEP, MANY = 8, 256  # containers within containers, and items of one, beyond which nothing is looked for


class Reach:
    """All that a cell reaches by name, as it is now; it does not keep the cell alive.

    `fingerprint` is equal for cells that compute the same function of their Tensors: the code, the constants, and how
    the Tensors hang together. Cells made anew in every step of a training loop share their traces by it; it is None
    where the cell reaches things that nothing is known of but that they are themselves.
    """

    def __init__(self, cell: Any) -> None:
        self.arity: int | None = cell.arity
        self.tensors: list[Tensor] = []  # each once
        self.traces: dict[Any, Any] = {}  # of a cell without a fingerprint
        self._checks: list[tuple[Callable[[Any, Any], Any], Any, Any, Any]] = []
        self._numbers: dict[int, int] = {}  # by id; what it belongs to lives as long as the cell
        self._prints: list[Any] = []
        self._contents: list[tuple[Any, Any]] = []  # lists and dicts, and what was in them
        self._portable = True
        self._visit(cell, 0)
        self.fingerprint = tuple(self._prints) if self._portable else None

    def valid(self) -> bool:
        """Whether the cell still reaches the same things."""
        for fetch, container, key, expected in self._checks:
            try:
                found = fetch(container, key)
            except (LookupError, ValueError):
                return False
            if found is not expected and not (
                type(found) is type(expected) and isinstance(found, CONSTANTS) and found == expected
            ):
                return False
        return True

    def _visit(self, thing: Any, depth: int) -> None:
        if isinstance(thing, CONSTANTS):
            self._prints.append((type(thing), repr(thing)))
            return
        if id(thing) in self._numbers:
            self._prints.append(("again", self._numbers[id(thing)]))
            return
        self._numbers[id(thing)] = len(self._numbers)
        if isinstance(thing, Tensor):
            self.tensors.append(thing)
            self._prints.append(Tensor)
            return
        kind = _kind(thing)
        if kind is None or depth == DEEP:
            if isinstance(thing, type) and hasattr(thing, "_fields"):  # a State, which function cells make anew
                self._prints.append((thing.__name__, thing._fields))
            elif isinstance(thing, LASTING):
                self._prints.append(thing)
            else:
                self._portable = False
            return
        self._prints.append((kind, thing.__code__ if kind is types.FunctionType else type(thing)))
        if isinstance(thing, list | dict):
            self._checks.append((lambda c, _: len(c), thing, None, len(thing)))
            self._contents.append((thing, copy.copy(thing)))
        elif kind is object:
            self._checks.append((lambda c, _: len(vars(c)), thing, None, len(vars(thing))))
        for fetch, container, key, part in _parts(thing, kind):
            self._prints.append(key if isinstance(key, CONSTANTS) else repr(key))
            self._checks.append((fetch, container, key, part))
            self._visit(part, depth + 1)

    def twin(self, cell: Any, stand_in: Callable[[int], Tensor]) -> Twin:
        """The cell again, with `stand_in(i)` in place of each of its Tensors."""
        return Twin(cell, {id(t): stand_in(i) for i, t in enumerate(self.tensors)})

    def restore(self) -> bool:
        """Undo what a trace has written into lists and dicts; whether there was anything."""
        changed = False
        for thing, before in self._contents:
            same = len(thing) == len(before) and all(
                a is b for a, b in zip(*((c.values() if isinstance(c, dict) else c) for c in (thing, before)), strict=True)
            )
            if not same:
                changed = True
                thing.clear()
                thing.update(before) if isinstance(thing, dict) else thing.extend(before)
        return changed


class Twin:
    """A copy of a cell whose Tensors are replaced, and of all that leads to them.

    Args:
        cell: the cell.
        made: by the id of what is replaced, what stands in for it.
    """

    def __init__(self, cell: Any, made: dict[int, Any]) -> None:
        self._made = made
        self._spaces: list[tuple[dict[str, Any], dict[str, Any]]] = []  # attributes and globals, and as they were made
        self._cells: list[tuple[types.CellType, Any]] = []
        self.cell = self._of(cell, 0)

    def written(self) -> bool:
        """Whether an attribute, or a variable around a function, was written to since."""
        return any(
            space.keys() != before.keys() or any(space[k] is not before[k] for k in before)
            for space, before in self._spaces
        ) or any(_contents(cell, "") is not before for cell, before in self._cells)

    def _of(self, thing: Any, depth: int) -> Any:
        """A thing with its Tensors replaced; a container of none is itself."""
        made = self._made
        if id(thing) in made:
            return made[id(thing)]
        kind = None if isinstance(thing, CONSTANTS) else _kind(thing)
        if kind is None or depth == DEEP:
            return thing
        if isinstance(thing, CONTAINERS):
            items = dict(thing) if isinstance(thing, dict) else dict(enumerate(thing))
            parts = {key: self._of(value, depth + 1) for key, value in items.items()}
            if all(parts[key] is value for key, value in items.items()):
                return thing
            if isinstance(thing, dict):
                twin: Any = copy.copy(thing)
                twin.update(parts)
            else:
                twin = type(thing)(*parts.values()) if hasattr(thing, "_fields") else type(thing)(parts.values())
            made[id(thing)] = twin
            return twin
        if kind is types.MethodType:
            return types.MethodType(self._of(thing.__func__, depth + 1), self._of(thing.__self__, depth + 1))
        if kind is functools.partial:
            function, args, keywords = (self._of(getattr(thing, n), depth + 1) for n in ("func", "args", "keywords"))
            return functools.partial(function, *args, **keywords)
        return self._object(thing, depth) if kind is object else self._function(thing, depth)

    def _object(self, thing: Any, depth: int) -> Any:
        try:
            twin = self._made[id(thing)] = copy.copy(thing)
        except Exception as error:
            raise Untraceable(f"a {type(thing).__name__} that it reaches can't be copied: {error}") from error
        if twin is not thing:
            vars(twin).update({name: self._of(value, depth + 1) for name, value in vars(thing).items()})
            self._spaces.append((vars(twin), dict(vars(twin))))
        return twin

    def _function(self, function: types.FunctionType, depth: int) -> types.FunctionType:
        around = tuple(types.CellType() for _ in function.__closure__ or ())
        space = dict(function.__globals__)
        twin = types.FunctionType(function.__code__, space, function.__name__, None, around)
        self._made[id(function)] = twin
        for cell, original in zip(around, function.__closure__ or (), strict=True):
            cell.cell_contents = self._of(_contents(original, ""), depth + 1)
            self._cells.append((cell, cell.cell_contents))
        for name in _names(function.__code__):
            if name in space:
                space[name] = self._of(space[name], depth + 1)
        self._spaces.append((space, dict(space)))
        twin.__defaults__ = self._of(function.__defaults__, depth + 1)
        twin.__kwdefaults__ = self._of(function.__kwdefaults__, depth + 1)
        return twin


def _kind(thing: Any) -> Any:
    """How a thing is taken apart: as a container, a function, a method, a partial, an object; None: not at all."""
    if isinstance(thing, CONTAINERS):
        return type(thing) if len(thing) <= MANY else None
    if isinstance(thing, types.FunctionType):
        return None if (thing.__module__ or "").partition(".")[0] in FOREIGN else types.FunctionType
    if isinstance(thing, types.MethodType):
        return types.MethodType
    if isinstance(thing, functools.partial):
        return functools.partial
    if isinstance(thing, type | types.ModuleType) or not hasattr(thing, "__dict__"):
        return None
    return object


def _parts(thing: Any, kind: Any) -> Iterator[tuple[Callable[[Any, Any], Any], Any, Any, Any]]:
    """(how to fetch it, from where, by which key, what it is) of all that a thing holds."""
    if kind is types.FunctionType:
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            yield _contents, cell, name, _contents(cell, name)
        for name in _names(thing.__code__):
            if name in thing.__globals__:
                yield operator.getitem, thing.__globals__, name, thing.__globals__[name]
        for i, default in enumerate(thing.__defaults__ or ()):
            yield operator.getitem, thing.__defaults__, i, default
        for name, default in (thing.__kwdefaults__ or {}).items():
            yield operator.getitem, thing.__kwdefaults__, name, default
    elif kind is types.MethodType:
        yield getattr, thing, "__func__", thing.__func__
        yield getattr, thing, "__self__", thing.__self__
    elif kind is functools.partial:
        for name in ("func", "args", "keywords"):
            yield getattr, thing, name, getattr(thing, name)
    elif kind is object:
        for owner in type(thing).__mro__:  # the code of its methods, and the constants in it
            if owner.__module__.partition(".")[0] not in FOREIGN:
                for name, function in vars(owner).items():
                    if isinstance(function, types.FunctionType):
                        yield operator.getitem, vars(owner), name, function
        for name, value in list(vars(thing).items()):
            yield operator.getitem, vars(thing), name, value
    else:
        for key, value in thing.items() if isinstance(thing, dict) else enumerate(thing):
            yield operator.getitem, thing, key, value


def _contents(cell: types.CellType, name: str) -> Any:
    """What a variable around a function holds; its name if it is not bound yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return name


def _names(code: types.CodeType) -> list[str]:
    """The global names that a function's code, and functions inside it, may read."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_names(constant)))
    return list(names)
