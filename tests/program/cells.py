"""Random cells and random structures for hypothesis, and what it means that two ways to run one agree.

A cell is drawn as a *recipe*: a list of steps, each an op and three small numbers, over a pool of values [n, W]. Any
numbers make a valid cell (operands are taken modulo the pool, widths are made to fit), so recipes shrink well.
"""

from __future__ import annotations

import os
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.nn import functional
from tinygrad_rnn.program import compiled
from tinygrad_rnn.program.graph import Untraceable

INPUT, CONTEXT, WIDEST = 3, 2, 9  # widths of the inputs, of a context, and of what a step may make
TARGETS = {"C": "1", "NumPy": "numpy", "eager": "0"}  # what TINYGRAD_RNN_COMPILE says
Step = tuple[str, int, int, int]


class Recipe(NamedTuple):
    """A cell as data."""

    arity: int | None
    widths: tuple[int, ...]  # of the fields of its state
    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, int], ...]  # (place in the pool, how) of each field
    context: str = "none"  # or "tensor", "tuple", "dict"
    learned: bool = False  # its initial state is
    seed: int = 0


class Weights:
    """Parameters at the library's scale, made when a cell first asks for them; same shape and number, same weight."""

    def __init__(self, seed: int, dtype: Any) -> None:
        self.found: dict[str, Any] = {}
        self._random, self._dtype = np.random.default_rng(seed), dtype

    def tensor(self, *shape: int, number: int = 0) -> tg.Tensor:
        """A weight; every seventh is frozen."""
        name = f"{'x'.join(map(str, shape))}#{number % 3}"
        if name not in self.found:
            scale = 1 / np.sqrt(max(shape))
            values = self._random.uniform(-scale, scale, shape).astype(self._dtype)
            self.found[name] = tg.asarray(values).requires_grad_(number % 7 != 3)
        return self.found[name]  # type: ignore[no-any-return]

    def module(self, kind: str, *args: Any) -> Any:
        """A module by its class and arguments."""
        name = f"{kind}{args}"
        if name not in self.found:
            made = self.found[name] = getattr(nn, kind)(*args)
            for p in made.parameters():
                p.data = self._random.uniform(-0.5, 0.5, p.shape).astype(self._dtype)
        return self.found[name]

    def parameters(self) -> list[tg.Tensor]:
        """All that are not frozen."""
        tensors = [t for v in self.found.values() for t in ([v] if isinstance(v, tg.Tensor) else v.parameters())]
        return [t for t in tensors if t.requires_grad]


# The steps, each (weights, a, b, k) -> value.
def fit(w: Weights, a: tg.Tensor, width: int, k: int = 0) -> tg.Tensor:
    """A value at a width: cut, or by a linear map."""
    if a.shape[1] == width:
        return a
    return a[:, :width] if a.shape[1] > width else a @ w.tensor(a.shape[1], width, number=k)


def pair(a: tg.Tensor, b: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor]:
    """Two values that broadcast."""
    if 1 in (a.shape[1], b.shape[1]):
        return a, b
    width = min(a.shape[1], b.shape[1])
    return a[:, :width], b[:, b.shape[1] - width :]


def matrix(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """A linear map, its weight as it is or as a part of another."""
    inner, outer = a.shape[1], k % 5 + 1
    how = k // 5 % 7
    if how == 0:
        return a @ w.tensor(outer, inner, number=k).T
    if how == 1:
        return a @ w.tensor(inner, outer + 2, number=k)[:, :outer]
    if how == 2:
        return a @ w.tensor(inner + 1, outer, number=k)[1:]
    if how == 3:
        return tg.einsum("ni,io->no", a, w.tensor(inner, outer, number=k))
    if how == 4:
        return functional.linear(a, w.tensor(outer, inner, number=k), w.tensor(outer, number=k))
    if how == 5:
        return w.module("Linear", inner, outer)(a)  # type: ignore[no-any-return]
    return a @ w.tensor(inner, outer, number=k) + w.tensor(1, outer, number=k)


def biased(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """Plus or times a parameter of each shape that broadcasts."""
    width = a.shape[1]
    shape = [(width,), (1, width), (1,), (), (1, 1)][k % 5]
    bias = w.tensor(*shape, number=k) if shape else w.tensor(1, number=k)[0]
    return a * bias + bias if k % 2 else bias - a


def scalar(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """A Python or NumPy scalar on either side."""
    return [
        lambda: 2.0 - a, lambda: a * 0.3, lambda: 1.5 / (2.0 + a * a), lambda: a / 3, lambda: a + 1,
        lambda: np.float32(0.7) * a, lambda: a - np.float64(0.1), lambda: -1 * a, lambda: tg.pow(a, 2),
        lambda: tg.tanh(a**3), lambda: 2.0 ** tg.tanh(a), lambda: (1.2 + a * a) ** -0.5, lambda: (1.2 + a * a) ** 1.5,
    ][k % 13]()  # fmt: skip


def unary(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """A function of each element; what may be large is made small first."""
    small = tg.tanh(a)
    return [
        lambda: tg.tanh(a), lambda: tg.sigmoid(a), lambda: tg.relu(a - 0.05), lambda: tg.softplus(a),
        lambda: tg.exp(small), lambda: tg.log1p(a * a), lambda: tg.sqrt(1.3 + a * a), lambda: tg.sin(a),
        lambda: tg.cos(a), lambda: tg.erf(a), lambda: tg.abs(a + 0.13), lambda: -a, lambda: tg.square(small),
        lambda: tg.reciprocal(1.5 + a * a), lambda: tg.expm1(small), lambda: tg.atan(a), lambda: tg.sinh(small),
        lambda: tg.cosh(small), lambda: tg.log(1.1 + a * a), lambda: tg.asinh(a), lambda: tg.clip(a, -0.4, 0.6),
        lambda: tg.clip(a, max=0.3), lambda: tg.clip(a, min=-0.2), lambda: tg.positive(a), lambda: a.detach() * a,
        lambda: tg.tan(small), lambda: tg.acos(small * 0.8), lambda: tg.atanh(small * 0.8),
        lambda: tg.log2(1.1 + a * a),
    ][k % 29]()  # fmt: skip


def binary(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """A function of two elements."""
    a, b = pair(a, b)
    return [
        lambda: a + b, lambda: a - b, lambda: a * b, lambda: a / (1.5 + b * b), lambda: tg.maximum(a, b + 0.11),
        lambda: tg.minimum(a, b * 0.7 - 0.03), lambda: tg.logaddexp(a, b), lambda: tg.atan2(a, 1.5 + b * b),
        lambda: tg.pow(1.2 + a * a, tg.tanh(b)), lambda: tg.hypot(a, b + 1.1), lambda: a * tg.sigmoid(b),
    ][k % 11]()  # fmt: skip


def choice(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """One or the other by a comparison; the bounds are no values that anything takes exactly."""
    a, b = pair(a, b)
    asked = [
        lambda: a > b + 0.0317, lambda: a <= 0.0471, lambda: (a > 0.0173) & (b < 0.3119),
        lambda: (a > 0.0733) | (b > 0.1137),
        lambda: ~(a >= 0.1931), lambda: a != b, lambda: tg.logical_not(a > -0.0771), lambda: 0.0613 < b,
    ][k % 8]()  # fmt: skip
    other = [b, 0.25, a * 0.5][k // 8 % 3]
    chosen = tg.where(asked, a, other)
    return chosen if k % 3 else chosen + asked.astype(a.dtype) * a


def folded(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """What sees a whole row."""
    width = a.shape[1]

    def norm() -> tg.Tensor:
        centred = a - a.mean(axis=1, keepdims=True)
        return centred / tg.sqrt(tg.var(a, axis=1, keepdims=True) + 0.01)

    distinct = a + w.tensor(width, number=k)  # maxima are not tied
    return [
        norm, lambda: tg.softmax(a, axis=1), lambda: tg.log_softmax(tg.tanh(a), axis=1),
        lambda: tg.logsumexp(a, axis=1, keepdims=True), lambda: tg.sum(a, axis=1, keepdims=True),
        lambda: tg.max(distinct, axis=1, keepdims=True), lambda: tg.min(distinct, axis=-1, keepdims=True),
        lambda: a - a.mean(axis=1, keepdims=True), lambda: tg.reshape(tg.sum(a * a, axis=1), (-1, 1)) * a,
        lambda: w.module("LayerNorm", width)(a) * 0.3,
        lambda: tg.sqrt(tg.sum(a * a, axis=1, keepdims=True) + 0.5) * 0.5,
        lambda: a / (tg.sum(tg.abs(a), axis=1, keepdims=True) + 0.7), lambda: tg.cumulative_sum(a, axis=1) * 0.3,
        lambda: tg.exp(tg.tanh(tg.mean(a, axis=1)))[:, None],
        lambda: tg.prod(tg.tanh(a) + 1.1, axis=1, keepdims=True) * 0.01,
    ][k % 15]()  # fmt: skip


def moved(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """Elements put elsewhere."""
    n, width = a.shape
    half = fit(w, a, width - width % 2 if width > 1 else 2)
    same = a, fit(w, b, width)
    left, right = tg.split(half, 2, axis=1)
    pieces = tg.reshape(half, (n, 2, -1))
    return [
        lambda: fit(w, tg.concat([a, b], axis=1), WIDEST), lambda: tg.concat([right, left], axis=1),
        lambda: a[:, width // 2 :],
        lambda: a[:, 0:1], lambda: tg.sum(pieces, axis=2), lambda: tg.sum(pieces * pieces, axis=1),
        lambda: tg.reshape(tg.permute_dims(pieces, (0, 2, 1)), (n, -1)), lambda: tg.flip(a, axis=1),
        lambda: tg.roll(a, 1, axis=1), lambda: a[:, ::2], lambda: a[:, -1][:, None],
        lambda: tg.max(pieces + b[:, :1, None], axis=2),
        lambda: tg.mean(tg.stack(same, axis=1), axis=1),
        lambda: tg.reshape(tg.softmax(tg.stack(same, axis=2), axis=2), (n, -1))[:, :WIDEST],
        lambda: tg.concat([tg.zeros((n, 1), dtype=a.dtype), a, tg.ones((n, 1), dtype=a.dtype)], axis=1)[:, :WIDEST],
        lambda: tg.reshape(pieces @ w.tensor(half.shape[1] // 2, 2, number=k), (n, 4)),
        lambda: tg.reshape(tg.einsum("ni,nj->nij", a[:, :3], b[:, :3]), (n, -1)),
        lambda: tg.einsum("ni,ni->n", *same)[:, None], lambda: tg.broadcast_to(a[:, :1], (n, 3)),
        lambda: tg.concat([a, a[:, :1]], axis=1)[:, :WIDEST],
    ][k % 20]()  # fmt: skip


def drawn(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """Random masks and noise."""
    return [
        lambda: w.module("Dropout", 0.4)(a), lambda: a * tg.random.bernoulli(a.shape, 0.7, dtype=a.dtype),
        lambda: a + tg.random.normal(a.shape, dtype=a.dtype) * 0.1,
        lambda: a * tg.random.uniform((len(a), 1), dtype=a.dtype),
        lambda: tg.where(tg.random.bernoulli((len(a), 1), 0.5) > 0.5, a, 0.1),
    ][k % 5]()  # fmt: skip


def constant(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """Numbers, a row for each vertex, or parameters alone."""
    n, width = len(a), k % 3 + 1
    return [
        lambda: tg.zeros((n, width), dtype=a.dtype), lambda: tg.ones((n, width), dtype=a.dtype),
        lambda: tg.full((n, width), 0.37, dtype=a.dtype), lambda: tg.zeros_like(a), lambda: tg.ones_like(a) * 0.2,
        lambda: tg.broadcast_to(tg.tanh(w.tensor(1, width, number=k)), (n, width)),
    ][k % 6]()  # fmt: skip


def inner(w: Weights, a: tg.Tensor, b: tg.Tensor, k: int) -> tg.Tensor:
    """A cell inside the cell."""
    kind = ["RNNCell", "GRUCell", "LSTMCell"][k % 3]
    cell = w.module(kind, a.shape[1], b.shape[1])
    return cell.step(a, cell.State(*(b for _ in cell.State._fields))).h  # type: ignore[no-any-return]


STEPS: dict[str, Callable[..., tg.Tensor]] = {
    "matrix": matrix, "unary": unary, "binary": binary, "scalar": scalar, "biased": biased, "choice": choice,
    "folded": folded, "moved": moved, "constant": constant, "inner": inner, "drawn": drawn,
}  # fmt: skip


def of_edges(w: Weights, kids: Any, field: int, v: tg.Tensor, k: int) -> tg.Tensor:
    """What a cell of multisets makes of the states of its predecessors."""
    e = list(kids.each)[field]
    e = [e, tg.tanh(e @ w.tensor(e.shape[1], 3, number=k)), tg.sigmoid(e) * kids.spread(v[:, :1])][k // 5 % 3]
    return [
        lambda: kids.sum(e) * 0.4, lambda: kids.mean(e), lambda: kids.max(e),
        lambda: kids.sum(kids.softmax(e[:, :1] + kids.spread(v[:, :1])) * e),
        lambda: kids.sum(tg.square(e - kids.spread(kids.mean(e)))) * 0.3,
    ][k % 5]()  # fmt: skip


def leaves(recipe: Recipe, w: Weights, x: Any, kids: Any, context: Any) -> list[Callable[[], tg.Tensor]]:
    """What a cell starts from, each read only if a step uses it."""
    read: list[Callable[[], tg.Tensor]] = [lambda: x]
    for f in range(len(recipe.widths)):
        if recipe.arity is None:
            read += [lambda f=f, k=k: of_edges(w, kids, f, x, k) for k in (0, 2, 3, 6, 9)]  # type: ignore[misc]
        read += [lambda f=f, k=k: getattr(kids[k], FIELDS[f]) for k in range(recipe.arity or 0)]  # type: ignore[misc]
    if recipe.context == "tensor":
        read.append(lambda: context)
    elif recipe.context == "tuple":
        read += [lambda: context[0], lambda: context[1]]
    elif recipe.context == "dict":
        read += [lambda: context["q"], lambda: context["r"]]
    return read


FIELDS = ("h", "c", "m")


def compute(recipe: Recipe, w: Weights, x: Any, kids: Any, context: Any = None) -> list[tg.Tensor]:
    """The fields of the state."""
    lazy = leaves(recipe, w, x, kids, context)
    pool: list[Any] = [None] * len(lazy)

    def value(i: int) -> tg.Tensor:
        i = len(pool) - 1 - i % len(pool)  # 0 is the newest
        if pool[i] is None:
            pool[i] = lazy[i]()
        return pool[i]  # type: ignore[no-any-return]

    for name, i, j, k in recipe.steps:
        pool.append(STEPS[name](w, value(i), value(j), k))
    state = []
    for (i, how), width in zip(recipe.outputs, recipe.widths, strict=True):
        if how % 5 == 4 and recipe.arity:  # passed through
            state.append(fit(w, getattr(kids[how % recipe.arity], FIELDS[width % len(recipe.widths)]), width))
        elif how % 5 == 3:
            state.append(tg.tanh(fit(w, value(i), width)) * 0.5 + w.tensor(1, width, number=how))
        else:
            state.append(tg.tanh(fit(w, value(i), width)))
    if len(recipe.widths) > 1 and recipe.outputs[0][1] == 7:
        state[0] = tg.tanh(w.tensor(1, recipe.widths[0]))  # one row for all
    return state


class Random(nn.Module):
    """The cell of a recipe as a module, whose weights it finds as it is made."""

    def __init__(self, recipe: Recipe, dtype: str = "float32") -> None:
        self.recipe, self.arity = recipe, recipe.arity
        self.weights = Weights(recipe.seed, dtype)
        self.kind = namedtuple("State", FIELDS[: len(recipe.widths)])  # type: ignore[misc]
        made = [self.weights.tensor(1, w, number=0) for w in recipe.widths]
        self.start = made if recipe.learned else [tg.zeros((1, w), dtype=dtype) for w in recipe.widths]
        self(tg.zeros((2, INPUT), dtype=dtype), _Some(self), example_context(recipe, 2, dtype))

    def initial(self) -> Any:
        return self.kind(*self.start)

    def forward(self, x: Any, kids: Any, context: Any = None) -> Any:
        return self.kind(*compute(self.recipe, self.weights, x, kids, context))


class _Some(tg.Kids):
    """Kids to make the weights with: two vertices, an edge each."""

    def __init__(self, cell: Random) -> None:
        rows = [tg.broadcast_to(v, (2, v.shape[1])) for v in cell.start]
        slots = [] if cell.arity is None else [rows.__getitem__] * cell.arity
        each = cell.kind(*rows) if cell.arity is None else None
        super().__init__(cell.kind._fields, slots, each, np.arange(2) if cell.arity is None else None, 2)


def as_function(module: Random) -> Any:
    """The same cell as a plain function that closes over its weights."""
    recipe, weights = module.recipe, module.weights

    @tg.cell(arity=recipe.arity, state=dict(zip(FIELDS, recipe.widths)))
    def function(x: Any, kids: Any, context: Any = None) -> Any:
        return compute(recipe, weights, x, kids, context)

    return function


def example_context(recipe: Recipe, examples: int, dtype: str) -> Any:
    """A context of the recipe's kind."""
    q, r = (tg.asarray(numbers(examples, CONTEXT, seed=s).astype(dtype)).requires_grad_() for s in (1, 2))
    return {"none": None, "tensor": q, "tuple": (q, r), "dict": {"q": q, "r": r.detach()}}[recipe.context]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# What is drawn.
def recipes(
    arity: int | None, widths: tuple[int, ...] = (), most: int = 12, random: bool = True
) -> st.SearchStrategy[Recipe]:
    """Recipes of up to `most` steps, with or without random ops."""
    small = st.integers(0, 20)
    names = [name for name in STEPS if random or name != "drawn"]
    steps = st.lists(st.tuples(st.sampled_from(names), small, small, st.integers(0, 104)), max_size=most).map(tuple)
    any_widths = st.lists(st.sampled_from([4, 1, 3, 5]), min_size=1, max_size=3).map(tuple)
    fields = st.just(widths) if widths else any_widths
    return fields.flatmap(
        lambda found: st.builds(
            Recipe, st.just(arity), st.just(found), steps,
            st.tuples(*[st.tuples(small, st.integers(0, 9))] * len(found)),
            st.sampled_from(["none", "none", "tensor", "tuple", "dict"]), st.booleans(), st.integers(0, 3),
        )
    )  # fmt: skip


@st.composite
def dags(draw: st.DrawFn, arity: int | None, kinds: int = 1) -> tg.Structure:
    """Any acyclic graph of up to 9 vertices of up to `arity` predecessors, its ids in no order, some slots empty."""
    n, slots = draw(st.integers(1, 9)), 3 if arity is None else arity
    reads = draw(st.lists(st.tuples(*[st.integers(-2, 7)] * slots), min_size=n, max_size=n))
    names = draw(st.permutations(range(n)))
    edges = [(names[u % v], names[v], k) for v in range(1, n) for k, u in enumerate(reads[v]) if u >= 0]
    source, target, slot = zip(*edges) if edges else ((), (), ())
    kind = draw(st.lists(st.integers(0, kinds - 1), min_size=n, max_size=n)) if kinds > 1 else None
    return tg.Structure(n, source, target, slot, kind=kind, examples=1)


@st.composite
def trees(draw: st.DrawFn, arity: int | None) -> tg.Structure:
    """A tree: every vertex has one reader, in the next free slot of it."""
    n, slots = draw(st.integers(1, 15)), 4 if arity is None else arity
    free, edges = [(0, k) for k in range(slots)], []
    for v in range(1, n):
        parent, slot = free.pop(draw(st.integers(0, len(free) - 1)))
        edges.append((n - 1 - v, n - 1 - parent, slot))
        free += [(v, k) for k in range(slots)]
    source, target, slot = zip(*edges) if edges else ((), (), ())
    return tg.Structure(n, source, target, slot, examples=1)


def structures(arity: int | None) -> st.SearchStrategy[tg.Structure]:
    """Chains, ragged and perhaps empty ones among them; trees; grids; any graphs; batches of these."""
    chains = st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(sum).map(tg.chain)
    kinds: list[Any] = [chains, trees(arity), dags(arity)]
    if arity != 1:
        sides = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=2)
        kinds.append(sides.map(lambda found: tg.grid(*map(list, zip(*found)))))
    one = st.one_of(*kinds)
    return st.one_of(one, st.lists(one, min_size=2, max_size=3).map(tg.union))


def inputs_of(structure: tg.Structure, which: str, dtype: str) -> tuple[Any, tg.Tensor]:
    """(what `unfold` takes, the Tensor of rows): for all vertices, those that read none, some, or none."""
    n = structure.size
    leaves = np.setdiff1d(np.arange(n), structure.target)
    ids = {"all": np.arange(n), "leaves": leaves, "some": np.arange(n)[::-2], "none": np.arange(0)}[which]
    rows = tg.asarray(numbers(len(ids), INPUT, seed=n).astype(dtype)).requires_grad_()
    return (rows if which == "all" else (ids, rows)), rows


WHICH = st.sampled_from(["all", "leaves", "some", "none"])


# How it is run, and compared.
@contextmanager
def running(target: str) -> Iterator[list[str | None]]:
    """Inside, unfoldings run on a target; gives a list of why each did not run as a program (None: it did)."""
    reasons: list[str | None] = []

    def program(*args: Any) -> bool:
        try:
            compiled.Prepared(*args).run(args[0])
        except Untraceable as error:
            reasons.append(str(error))
            return False
        reasons.append(None)
        return True

    before, former = os.environ.get("TINYGRAD_RNN_COMPILE"), tg.Unfolding.program
    os.environ["TINYGRAD_RNN_COMPILE"] = TARGETS[target]
    tg.Unfolding.program = program
    try:
        yield reasons
    finally:
        tg.Unfolding.program = former
        if before is None:
            del os.environ["TINYGRAD_RNN_COMPILE"]
        else:
            os.environ["TINYGRAD_RNN_COMPILE"] = before


Found = dict[str, np.ndarray]


def run(
    cell: Any, structure: tg.Structure, inputs: Any, by: Sequence[tg.Tensor], target: str = "eager",
    compiles: bool | None = True, **options: Any,
) -> Found:  # fmt: skip
    """The states of all vertices and the gradients by some Tensors, on a target that must (not) have run a program."""
    with running(target) as reasons:
        tg.manual_seed(5)
        states = tg.unfold(cell, structure, inputs, **options).all()
    if target != "eager" and compiles is not None:
        assert (reasons == [None]) is compiles, f"why it did not compile: {reasons}"
    found = {name: value.numpy() for name, value in zip(states._fields, states)}
    loss = sum((value * tg.asarray(numbers(*value.shape).astype(value.dtype))).sum() for value in states)
    gradients: Any = [None] * len(by)
    if loss.requires_grad:
        gradients = tg.grad(loss, by, allow_unused=True, retain_graph=True)
        tg.grad(loss * -2.0, by, allow_unused=True)  # must leave the first gradients as they are
    for i, (t, g) in enumerate(zip(by, gradients, strict=True)):
        found[f"gradient {i}"] = np.zeros(t.shape, t.dtype) if g is None else g.numpy()
    return found


def same(ours: Found, theirs: Found, tolerance: float) -> None:
    """Two runs agree: each array to a tolerance of its norm (or of 1 if it is less)."""
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        b = theirs[name]
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        assert np.isfinite(b).all(), f"{name}: eager is not finite"
        distance = np.linalg.norm(a.astype(np.float64) - b)
        assert distance <= tolerance * max(np.linalg.norm(b), 1.0), f"{name} is {distance} off:\n{a}\nbut eager is\n{b}"


TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
