"""What a cell reaches by name: its Tensors, and the constants that a trace of it depends on.

A trace must not hold the parameters' values. So the cell is traced as a *twin* whose Tensors are stand-ins, and the
Tensors themselves are looked up at every run: attributes of the cell and of what it holds, variables around its
function, items of lists and dicts among these.
"""

from __future__ import annotations

import array
import collections
import contextvars
import copy
import dis
import functools
import operator
import os
import random
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .. import backend
from ..tensor import Tensor
from .graph import Untraceable

CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...), slice, range, np.dtype, np.generic)
CONTAINERS = (list, tuple, dict)
LASTING = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, np.ufunc)  # compared by identity
FOREIGN = ("tinygrad_rnn", "numpy", "builtins", "networkx")  # whose functions hold nothing of the user's
METHODS = (staticmethod, classmethod, property)
ATTRIBUTES: dict[Any, tuple[str, ...]] = {  # by what is made of others, where these are
    types.MethodType: ("__func__", "__self__"), functools.partial: ("func", "args", "keywords"),
    staticmethod: ("__func__",), classmethod: ("__func__",), property: ("fget",),
}  # fmt: skip
CHANGING = (  # of which no one can tell what has changed
    np.ndarray, np.random.Generator, set, bytearray, list, dict, collections.deque, types.MappingProxyType, array.array,
    memoryview, contextvars.ContextVar, weakref.ref,
)  # fmt: skip
GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
STANDARD = os.path.dirname(os.__file__) + os.sep
SHARED = (random.Random, np.random.RandomState)  # random numbers of a state that others may share
CACHING = type(functools.cache(int))
WRITING = ("STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF")
DEEP, MANY = 16, 256  # containers within containers, and items of one, beyond which nothing is looked for


class Reach:
    """All that a cell reaches by name, as it is now; it does not keep the cell alive.

    `fingerprint` is equal for cells that compute the same function of their Tensors: the code, the constants, and how
    the Tensors hang together. Cells made anew in every step of a training loop share their traces by it; it is None
    where the cell reaches things that nothing is known of but that they are themselves.
    """

    def __init__(self, cell: Any, gone: Callable[[Any], Any] | None = None) -> None:
        try:
            self.cell = weakref.ref(cell, gone)
        except TypeError as error:
            raise Untraceable(f"a {type(cell).__name__} can't be referred to weakly: {error}") from error
        self.arity: int | None = cell.arity
        self.tensors: list[Tensor] = []  # each once
        self.names: list[str] = []  # what each is called: an attribute, a variable, an item of one
        self.traces: dict[Any, Any] = {}  # of a cell without a fingerprint
        self.before: set[Any] = set()  # the fingerprints that the cell has had
        self.changed: Any = None  # what was another thing when it was looked at last
        self.refused = 0  # runs in which the cell was another one than in any of its forms
        self.programs: dict[Any, Any] = {}  # that run the cell, by all that they depend on
        self._checks: list[tuple[Callable[[Any, Any], Any], Any, Any, Any]] = []
        self._numbers: dict[int, int] = {}  # by id; what it belongs to lives as long as the cell
        self._prints: list[Any] = []
        self._held: list[Any] = []  # lists, dicts and objects' attributes
        self._caches: list[Any] = []  # functions that remember results
        self._computed: dict[int, int] = {}  # by their ids, how many they have computed for twins: of no stand-ins
        self._portable = True
        self._spaces: list[Any] = []  # classes and modules, and what functions name: perhaps in these, handed to them
        self._named: set[str] = set()
        self._visit(cell, 0, "")
        for space in self._spaces:
            for owner in _own(space):
                for name in sorted(self._named.intersection(vars(owner))):
                    if isinstance(vars(owner)[name], CONSTANTS):
                        self._checks.append((operator.getitem, vars(owner), name, vars(owner)[name]))
                        self._prints.append((name, repr(vars(owner)[name])))
        self.fingerprint = tuple(self._prints) if self._portable else None

    def valid(self) -> bool:
        """Whether the cell still reaches the same things."""
        for fetch, container, key, expected in self._checks:
            self.changed = key
            try:
                found = fetch(container, key)
            except (LookupError, ValueError):
                return False
            if not _alike(found, expected):
                return False
        return True

    def draws(self) -> bool:
        """Whether it may draw from the random numbers that Python or NumPy share."""
        return "random" in self._named or any(isinstance(getattr(s, "__self__", None), SHARED) for s in self._spaces)

    def _visit(self, thing: Any, depth: int, path: str) -> None:
        if isinstance(thing, CONSTANTS):
            self._prints.append((type(thing), repr(thing)))
            return
        if id(thing) in self._numbers:
            self._prints.append(("again", self._numbers[id(thing)]))
            return
        self._numbers[id(thing)] = len(self._numbers)
        if isinstance(thing, Tensor):
            self.tensors.append(thing)
            self.names.append(path)
            self._prints.append(Tensor)
            return
        if isinstance(thing, SHARED) or thing is random or thing is np.random:
            self._named.add("random")
        kind = _kind(thing)
        if kind is None or depth == DEEP:
            if isinstance(thing, type) and hasattr(thing, "_fields"):  # a State, which function cells make anew
                self._prints.append((thing.__name__, thing._fields))
            elif isinstance(thing, LASTING):
                self._prints.append(thing)
                self._spaces.append(thing)
            else:
                self._portable = False
            return
        self._prints.append((kind, thing.__code__ if kind is types.FunctionType else type(thing)))
        if kind is types.FunctionType:
            self._named.update(_names(thing.__code__))
        kept = vars(thing) if kind is object and isinstance(getattr(thing, "__dict__", None), dict) else thing
        if isinstance(thing, CACHING):
            self._caches.append(thing)
        if isinstance(kept, list | dict):
            self._held.append(kept)
        for fetch, container, key, part in _parts(thing, kind):
            self._checks.append((fetch, container, key, part))
            if fetch not in (_size, _attributes):
                self._prints.append(key if isinstance(key, CONSTANTS) else repr(key))
                self._visit(part, depth + 1, _path(path, thing, kind, key))

    def twin(self, cell: Any, stand_in: Callable[[int], Tensor]) -> Twin:
        """The cell again, with `stand_in(i)` in place of each of its Tensors."""
        return Twin(cell, {id(t): stand_in(i) for i, t in enumerate(self.tensors)}, self._computed)

    def note(self, cell: Any) -> Callable[[], bool]:
        """What undoes whatever a trace will have written into lists, dicts and objects.

        It tells whether there was anything.
        """
        self.twin(cell, self.tensors.__getitem__)  # some objects note it when they are copied
        spaces = [(c, key, c[key]) for fetch, c, key, _ in self._checks
                  if fetch is operator.getitem and type(c) is dict and key in c]  # fmt: skip
        return partial(self._restore, spaces, [(thing, copy.copy(thing)) for thing in self._held])

    def misses(self) -> list[int]:
        """How many results those functions have computed that remember them."""
        return [f.cache_info().misses - self._computed.get(id(f), 0) for f in self._caches]

    def _restore(self, spaces: list[Any], held: list[Any]) -> bool:
        changed = False
        for container, key, value in spaces:
            if container.get(key) is not value:
                changed = True
                container[key] = value
        for thing, before in held:
            if not _same(thing, before):
                changed = True
                thing.clear()
                thing.update(before) if isinstance(thing, dict) else thing.extend(before)
        return changed

    def cached(self, misses: list[int]) -> bool:
        """Whether a trace has called a function that remembers results, in a method, where it may keep stand-ins."""
        called = [f for f, old, new in zip(self._caches, misses, self.misses(), strict=True) if old != new]
        for function in called:
            function.cache_clear()
        return bool(called)


class Guard:
    """In place of what changes unseen: whoever looks into it can't be traced."""

    def __getattribute__(self, name: str) -> Any:
        raise Untraceable(
            "it reads an array, a set, a queue, a reference or a long list: pass it as context, or make it a Tensor"
        )

    __call__ = __getitem__ = __iter__ = __len__ = __contains__ = __bool__ = lambda self, *_: self.read


class Twin:
    """A copy of a cell whose Tensors are replaced, and of all that leads to them.

    Args:
        cell: the cell.
        made: by the id of what is replaced, what stands in for it.
        computed: by the ids of functions that remember results, how many they compute for the twin.
    """

    def __init__(self, cell: Any, made: dict[int, Any], computed: dict[int, int]) -> None:
        self._made, self._computed = made, computed
        self._cells: list[tuple[types.CellType, Any]] = []  # variables around functions, and what was in them
        self._containers: list[tuple[Any, Any]] = []  # so too containers, attributes and globals
        self.cell = self._of(cell, 0)

    def written(self) -> bool:
        """Whether an attribute, or a variable around a function, was written to since."""
        cells = all(_contents(cell, "") is before for cell, before in self._cells)
        return not cells or not all(_same(container, before) for container, before in self._containers)

    def _of(self, thing: Any, depth: int) -> Any:
        """A thing with its Tensors replaced; a container of none is itself."""
        made = self._made
        if id(thing) in made:
            return made[id(thing)]
        if isinstance(thing, CACHING):
            return partial(_cached, self._computed, thing)
        kind = None if isinstance(thing, CONSTANTS) else _kind(thing)
        if kind is None or depth == DEEP:
            return Guard() if isinstance(thing, CHANGING) or kind is not None else thing
        if isinstance(thing, CONTAINERS):
            items = dict(thing) if isinstance(thing, dict) else dict(enumerate(thing))
            parts = {key: self._of(value, depth + 1) for key, value in items.items()}
            if all(parts[key] is value for key, value in items.items()):
                return thing
            twin: Any = thing
            if isinstance(thing, dict):
                twin = copy.copy(thing)
                twin.update(parts)
            elif isinstance(thing, list):
                twin = copy.copy(thing)
                twin[:] = parts.values()
            else:
                twin = type(thing)(*parts.values()) if hasattr(type(thing), "_fields") else type(thing)(parts.values())
            made[id(thing)] = twin
            self._containers.append((twin, copy.copy(twin)))
            return twin
        if kind is types.MethodType:
            return types.MethodType(self._of(thing.__func__, depth + 1), self._of(thing.__self__, depth + 1))
        if kind is functools.partial:
            function, args, keywords = (self._of(getattr(thing, n), depth + 1) for n in ("func", "args", "keywords"))
            return functools.partial(function, *args, **keywords)
        if kind in METHODS:
            return thing  # a class's, which is no part of the twin
        return self._object(thing, depth) if kind is object else self._function(thing, depth)

    def _object(self, thing: Any, depth: int) -> Any:
        if not isinstance(getattr(thing, "__dict__", None), dict):
            return thing
        try:
            twin = self._made[id(thing)] = copy.copy(thing)
        except Exception as error:
            raise Untraceable(f"a {type(thing).__name__} that it reaches can't be copied: {error}") from error
        if twin is not thing:
            parts = {name: self._of(value, depth + 1) for name, value in vars(thing).items()}
            if all(parts[name] is value for name, value in vars(thing).items()):  # so that `is` tells what it did
                self._made[id(thing)] = thing
                return thing
            vars(twin).update(parts)
            self._containers.append((vars(twin), dict(vars(twin))))
        return twin

    def _function(self, function: types.FunctionType, depth: int) -> types.FunctionType:
        around = tuple(types.CellType() for _ in function.__closure__ or ())
        space = dict(function.__globals__)
        twin = types.FunctionType(function.__code__, space, function.__name__, None, around)
        self._made[id(function)] = twin
        for cell, original in zip(around, function.__closure__ or (), strict=True):
            cell.cell_contents = self._of(_contents(original, ""), depth + 1)
            self._cells.append((cell, cell.cell_contents))
        names = [name for name in _names(function.__code__, GLOBAL) if name in space]
        for name in names:
            space[name] = self._of(space[name], depth + 1)
        self._containers.append((space, dict(space)))
        vars(twin).update(vars(function))
        self._containers.append((vars(twin), dict(vars(twin))))
        twin.__defaults__ = self._of(function.__defaults__, depth + 1)
        twin.__kwdefaults__ = self._of(function.__kwdefaults__, depth + 1)
        parts = [(space[name], function.__globals__[name]) for name in names]
        parts += [(cell.cell_contents, _contents(c, "")) for cell, c in zip(around, function.__closure__ or ())]
        parts += [(getattr(twin, name), getattr(function, name)) for name in ("__defaults__", "__kwdefaults__")]
        if all(mine is its for mine, its in parts) and not _names(function.__code__, WRITING):
            self._made[id(function)] = function  # so that `is` tells what it did
            return function
        return twin


def _cached(computed: dict[int, int], function: Any, *args: Any, **kwargs: Any) -> Any:
    """What a function that remembers results gives to a trace: of no stand-ins, and so it may remember it."""
    if any(isinstance(value, Tensor) for value in (*args, *kwargs.values())):
        return function.__wrapped__(*args, **kwargs)
    before = function.cache_info().misses
    with backend.standing_in(None):
        result = function(*args, **kwargs)
    computed[id(function)] = computed.get(id(function), 0) + function.cache_info().misses - before
    return result


def _alike(found: Any, expected: Any) -> bool:
    """Whether it is the same thing, or a constant that looks the same: equal ones may differ, as -0.0 and 0.0."""
    return found is expected or (
        type(found) is type(expected) and isinstance(found, CONSTANTS) and repr(found) == repr(expected)
    )


def _same(one: Any, other: Any) -> bool:
    """Whether two lists, or two dicts, hold the same things."""
    held = [[*c, *c.values()] if isinstance(c, dict) else c for c in (one, other)]
    return len(one) == len(other) and all(map(operator.is_, *held))


def _own(thing: Any) -> list[Any]:
    """A module, or a class and its bases, as far as they are the user's."""
    owners = thing.__mro__ if isinstance(thing, type) else [thing] if isinstance(thing, types.ModuleType) else []
    names = [owner.__module__ if isinstance(owner, type) else owner.__name__ for owner in owners]
    return [owner for owner, name in zip(owners, names, strict=True) if not _foreign(name, owner)]


def _foreign(module: str, owner: Any = None) -> bool:
    """Whether a module, or a class that says that it is from there, is no user's: what it holds stays as it is."""
    name = module.partition(".")[0]
    if name in FOREIGN or name not in sys.stdlib_module_names:
        return name in FOREIGN
    there = sys.modules.get(module)
    if isinstance(owner, type) and not hasattr(there, owner.__qualname__.partition(".")[0]):
        return False  # made by the standard library for the user
    return str(getattr(there, "__file__", None) or STANDARD).startswith(STANDARD)  # a user's may have its name


def _kind(thing: Any) -> Any:
    """How a thing is taken apart: as a container, a function, a method, a partial, an object; None: not at all."""
    if isinstance(thing, CONTAINERS):
        return type(thing) if len(thing) <= MANY else None
    if isinstance(thing, types.FunctionType):
        name = str(thing.__globals__.get("__name__"))  # not __module__, which functools.wraps copies
        wraps = thing.__closure__ and name.partition(".")[0] not in FOREIGN  # a decorator of the standard library
        return types.FunctionType if wraps or not _foreign(name) else None
    for kind in ATTRIBUTES:
        if isinstance(thing, kind):
            return kind
    if isinstance(thing, type | types.ModuleType):
        return None
    return (
        object
        if isinstance(getattr(thing, "__dict__", None), dict) or any("__slots__" in vars(o) for o in _own(type(thing)))
        else None
    )


def _parts(thing: Any, kind: Any) -> Iterator[tuple[Callable[[Any, Any], Any], Any, Any, Any]]:
    """(how to fetch it, from where, by which key, what it is) of all that a thing holds."""
    if kind is types.FunctionType:
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            yield _contents, cell, name, _contents(cell, name)
        names = _names(thing.__code__)
        known = [name for name in _names(thing.__code__, GLOBAL) if name in thing.__globals__]
        for name in known:
            yield operator.getitem, thing.__globals__, name, thing.__globals__[name]
        spaces = [_contents(cell, "") for cell in thing.__closure__ or ()]
        spaces += [thing.__globals__[name] for name in known]
        for space in spaces:  # what it names in modules and classes, and in those within these: it grows as it is read
            for owner in _own(space):
                yield _attributes, vars(owner), None, _attributes(vars(owner), None)
                for name in names:
                    if name in vars(owner):
                        part = vars(owner)[name]
                        if isinstance(part, type | types.ModuleType) and not any(part is s for s in spaces):
                            spaces.append(part)
                        yield operator.getitem, vars(owner), name, part
        for i, default in enumerate(thing.__defaults__ or ()):
            yield operator.getitem, thing.__defaults__, i, default
        for space in filter(None, (thing.__kwdefaults__, vars(thing))):
            yield _size, space, None, len(space)
            for name, part in space.items():
                yield operator.getitem, space, name, part
    elif kind in ATTRIBUTES:
        for name in ATTRIBUTES[kind]:
            yield getattr, thing, name, getattr(thing, name)
    else:
        if isinstance(thing, CONTAINERS):
            yield _size, thing, None, len(thing)
            for key, value in thing.items() if isinstance(thing, dict) else enumerate(thing):
                yield operator.getitem, thing, key, value
        fields = hasattr(type(thing), "_fields")  # a NamedTuple, whose class has much that is not the user's
        for owner in _own(type(thing)):  # the code of its methods, and the constants beside and in it
            yield _attributes, vars(owner), None, _attributes(vars(owner), None)
            for name, value in vars(owner).items():
                method = isinstance(value, (types.FunctionType, *METHODS))
                if (method and not (fields and name.startswith("_"))) or not (fields or name.startswith("__")):
                    yield operator.getitem, vars(owner), name, value
            slots = vars(owner).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                own = f"_{owner.__name__.lstrip('_')}{name}" if name[:2] == "__" != name[-2:] else name
                yield _slot, thing, own, _slot(thing, own)
        if isinstance(getattr(thing, "__dict__", None), dict):
            yield _size, vars(thing), None, len(vars(thing))
            for name, value in list(vars(thing).items()):
                yield operator.getitem, vars(thing), name, value


def _slot(thing: Any, name: str) -> Any:
    """What a slot holds: nothing, as long as it is not filled."""
    return getattr(thing, name, None)


def _size(container: Any, _: Any) -> int:
    """How much there is in a container, or among the attributes of an object: what is new in it has no name yet."""
    return len(container)


def _attributes(space: Any, _: Any) -> int:
    """The same of a class or a module, without what Python itself notes there, such as at the first copy."""
    return len(space) - ("__slotnames__" in space) - ("__annotations__" in space)


def _path(path: str, thing: Any, kind: Any, key: Any) -> str:
    """What a part is called: an attribute of what holds it, an item, or a variable by its own name."""
    if kind is object:
        return f"{path}.{key}" if path else key
    if kind is types.FunctionType:
        first = thing.__code__.co_argcount - len(thing.__defaults__ or ())  # of the arguments that have a default
        return key if isinstance(key, str) else str(thing.__code__.co_varnames[first + key])
    return f"{path}[{key!r}]" if issubclass(kind, CONTAINERS) else path


def _contents(cell: types.CellType, name: str) -> Any:
    """What a variable around a function holds; its name if it is not bound yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return name


def _names(code: types.CodeType, read: tuple[str, ...] | None = None) -> list[str]:
    """The names in a function's code and in functions inside it, attributes among them; or those that it reads so."""
    names = dict.fromkeys(
        code.co_names if read is None else [i.argval for i in dis.get_instructions(code) if i.opname in read]
    )
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_names(constant, read)))
    return list(names)
