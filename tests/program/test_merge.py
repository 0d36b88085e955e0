"""Products that share an operand are one: how many are left, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tinygrad_rnn as tg
from tests.cells import agree, leaf
from tinygrad_rnn import nn
from tinygrad_rnn.program import merge, recall

IN, H = 3, 4
STAGES = ("before", "step", "after", "early", "back", "late")
CHAINS = tg.chain([5, 3, 1])
TREE = tg.Structure(7, source=[0, 1, 2, 3, 4, 5], target=[4, 4, 5, 5, 6, 6], slot=[0, 1, 0, 1, 0, 1])
EDGES = tg.Structure(7, TREE.source, TREE.target)
Made = tuple[Any, list[tg.Tensor], tg.Structure]  # a cell, its weights, what it runs on


@pytest.fixture(autouse=True)
def on_the_cpu(device: str) -> Iterator[None]:
    if device != "cpu":
        pytest.skip("programs are for the CPU so far")
    recall._traces.clear()
    yield
    recall._traces.clear()


def weights(count: int, *shape: int, seed: int = 0) -> list[tg.Tensor]:
    return [leaf(*shape, seed=seed + i) for i in range(count)]


def lstm() -> Made:
    Wi, Wf, Wg, Wo = weights(4, IN, H)
    Ui, Uf, Ug, Uo = weights(4, H, H)
    bi, bf, bg, bo = weights(4, H)

    @tg.cell(arity=1, state={"h": H, "c": H})
    def cell(x: Any, kids: Any) -> Any:
        h, c = kids[0].h, kids[0].c
        i = tg.sigmoid(x @ Wi + h @ Ui + bi)
        f = tg.sigmoid(x @ Wf + h @ Uf + bf)
        g = tg.tanh(x @ Wg + h @ Ug + bg)
        o = tg.sigmoid(x @ Wo + h @ Uo + bo)
        c = f * c + i * g
        return o * tg.tanh(c), c

    return cell, [Wi, Wf, Wg, Wo, Ui, Uf, Ug, Uo, bi, bf, bg, bo], CHAINS


def of_layers() -> Made:
    """Weights as layers have them: transposed in every product, and of several widths."""
    a, b = (nn.Linear(IN, n, dtype="float64") for n in (H, 1))
    p, q = (nn.Linear(H, n, bias=False, dtype="float64") for n in (H, 1))

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        h = kids[0].h
        gate = tg.sigmoid(b(x) + q(h))
        return gate * h + (1 - gate) * tg.tanh(a(x) + p(h))

    return cell, [t for layer in (a, b, p, q) for t in layer.parameters()], CHAINS


def gru() -> Made:
    """A gate's product waits for another gate."""
    Wr, Wz, Wn, Ur, Uz, Un = [*weights(3, IN, H), *weights(3, H, H)]

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        h = kids[0].h
        r, z = tg.sigmoid(x @ Wr + h @ Ur), tg.sigmoid(x @ Wz + h @ Uz)
        return z * h + (1 - z) * tg.tanh(x @ Wn + (r * h) @ Un)

    return cell, [Wr, Wz, Wn, Ur, Uz, Un], CHAINS


def tree() -> Made:
    """A matrix for each gate and slot."""
    W, U = weights(4, IN, H), [weights(2, H, H, seed=10 * g) for g in range(5)]

    @tg.cell(arity=2, state={"h": H, "c": H})
    def cell(x: Any, kids: Any) -> Any:
        left, right = kids[0], kids[1]
        i, o, f0, f1 = (
            tg.sigmoid(x @ W[w] + left.h @ U[u][0] + right.h @ U[u][1]) for w, u in ((0, 0), (1, 1), (2, 2), (2, 3))
        )
        c = i * tg.tanh(x @ W[3] + left.h @ U[4][0] + right.h @ U[4][1]) + f0 * left.c + f1 * right.c
        return o * tg.tanh(c), c

    return cell, [*W, *(u for pair in U for u in pair)], TREE


def tree_of_own_forget_gates() -> Made:
    """A forget gate sees its own child alone: products of the same rows are joined, not those of a sum."""
    W, U, F = weights(2, IN, H), weights(2, H, H, seed=5), weights(2, H, H, seed=9)

    @tg.cell(arity=2, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        f = [tg.sigmoid(x @ W[0] + kids[k].h @ F[k]) for k in (0, 1)]
        new = tg.tanh(x @ W[1] + kids[0].h @ U[0] + kids[1].h @ U[1])
        return new + f[0] * kids[0].h + f[1] * kids[1].h

    return cell, [*W, *U, *F], TREE


def multiset() -> Made:
    W, U, V = weights(1, IN, H), weights(2, H, H), weights(2, H, H, seed=5)

    @tg.cell(arity=None, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        e = tg.sigmoid(kids.each.h @ U[0]) * tg.tanh(kids.each.h @ U[1] + kids.spread(x @ W[0]))
        s = kids.sum(e)
        return tg.tanh(x @ W[0] + s @ V[0]) + s @ V[1]

    return cell, [*W, *U, *V], EDGES


def tied() -> Made:
    """One weight in two products of a sum, in two sums, and transposed beside itself."""
    W, U = weights(2, H, H)

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        h = kids[0].h
        gate = tg.sigmoid(h @ W + h @ tg.permute_dims(W, (1, 0)))
        return tg.tanh((h * gate) @ W + (x[:, :1] * h) @ W + h @ U) + tg.tanh(h @ U + h @ U) * gate

    return cell, [W, U], CHAINS


def used_elsewhere() -> Made:
    """Products, and a sum of products, that are read by others too."""
    W, U, V = weights(2, IN, H), weights(2, H, H), leaf(H, H, seed=7)

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        h = kids[0].h
        a, b = h @ U[0], (h * 0.5) @ U[1]
        total = x @ W[0] + a + b
        return tg.tanh(total) * a + tg.sigmoid(total + x @ W[1]) @ V

    return cell, [*W, *U, V], CHAINS


def stacked() -> Made:
    """A state is put beside others for a product: it keeps an array of its own."""
    W, U, V = weights(1, IN, H), weights(2, H, H), [leaf(2 * H, H, seed=5), leaf(H, H, seed=6)]

    @tg.cell(arity=1, state={"a": H, "b": H})
    def cell(x: Any, kids: Any) -> Any:
        a = tg.tanh(x @ W[0] + kids[0].a @ U[0])
        return a, tg.tanh(tg.concat([kids[0].b, a], axis=1) @ V[0]) + tg.sigmoid(a @ U[1] + kids[0].b @ V[1])

    return cell, [*W, *U, *V], CHAINS


def with_outputs() -> Made:
    """Products that are states; and one of the same rows as the loop's, whose result nobody recurs on."""
    U, V = weights(2, H, H), leaf(H, 2, seed=5)

    @tg.cell(arity=1, state={"h": H, "m": H, "y": 2})
    def cell(x: Any, kids: Any) -> Any:
        h = kids[0].h
        return tg.tanh(h @ U[0] + kids[0].m + x[:, :1]), h @ U[1], h @ V

    return cell, [*U, V], CHAINS


def noisy() -> Made:
    """A draw that nothing depends on is drawn nevertheless."""
    W = weights(2, IN, H)

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        _, b = (tg.random.normal((len(x), H), dtype="float64") for _ in "ab")
        return tg.tanh(x @ W[0] + b) * tg.sigmoid(x @ W[1]) + kids[0].h

    return cell, W, CHAINS


def reshaped() -> Made:
    """One of the products is read by whole rows."""
    W, U = weights(2, IN, 4), weights(2, H, 4)

    @tg.cell(arity=1, state={"h": H})
    def cell(x: Any, kids: Any) -> Any:
        pairs = tg.softmax(tg.reshape(kids[0].h @ U[0] + x @ W[0], (-1, 2, 2)), axis=1)
        return tg.reshape(pairs, (-1, 4)) * tg.tanh(kids[0].h @ U[1] + x @ W[1])

    return cell, [*W, *U], CHAINS


def as_wide_as_what_stands_for_rows() -> Made:
    """500 + 509 is a number by which a trace knows rows."""
    W = [leaf(IN, 500), leaf(IN, 509)]

    @tg.cell(arity=1, state={"h": 500})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(x @ W[0]) * tg.sigmoid(x @ W[1])[:, :500] + kids[0].h

    return cell, W, CHAINS


CELLS = [lstm, of_layers, gru, tree, tree_of_own_forget_gates, multiset, tied, used_elsewhere, stacked, with_outputs,
         noisy, reshaped, as_wide_as_what_stands_for_rows]  # fmt: skip


@pytest.mark.parametrize("target", ["1", "numpy"])
@pytest.mark.parametrize(("make", "inputs"), [*((make, True) for make in CELLS), (lstm, False), (tree, False)])
def test_states_and_gradients_are_those_of_the_eager_unfolding(
    make: Callable[[], Made], inputs: bool, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, of, structure = make()
    x = leaf(structure.size, IN, seed=3)
    x = x if inputs else x.detach()
    by = [*of, x] if inputs else of
    runs = []
    for value in (target, "0"):
        monkeypatch.setenv("TINYGRAD_RNN_COMPILE", value)
        tg.manual_seed(1)
        runs.append(tg.unfold(cell, structure, x).all())
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", target)
    assert not tg.explain(cell, structure, x).reason
    agree(runs[0], runs[1], by)


def products(made: Made, inputs: bool = False) -> tuple[int, ...]:
    """How many products each section has, of the vertices that have predecessors."""
    cell, _, structure = made
    x = leaf(structure.size, IN)
    group = tg.explain(cell, structure, x if inputs else x.detach()).groups[-1]
    return tuple(len(group.products(stage)) for stage in STAGES)


@pytest.mark.parametrize(
    ("make", "inputs", "before", "after"),
    [
        (lstm, False, (4, 4, 0, 0, 4, 8), (1, 1, 0, 0, 1, 2)),
        (lstm, True, (4, 4, 0, 0, 4, 12), (1, 1, 0, 0, 1, 3)),
        (of_layers, True, (2, 2, 0, 0, 2, 6), (1, 1, 0, 0, 1, 3)),
        # The gradient of r * h is a product before r's: it stays apart.
        (gru, False, (3, 3, 0, 0, 3, 6), (1, 2, 0, 0, 2, 4)),
        (tree, False, (4, 10, 0, 0, 10, 15), (1, 1, 0, 0, 1, 3)),
        (tree_of_own_forget_gates, False, (2, 4, 0, 0, 4, 7), (1, 2, 0, 0, 2, 4)),
        (noisy, False, (2, 0, 0, 0, 0, 2), (1, 0, 0, 0, 0, 1)),
        (as_wide_as_what_stands_for_rows, False, (2, 0, 0, 0, 0, 2), (2, 0, 0, 0, 0, 2)),
    ],
)
def test_how_many_products_are_left(
    make: Callable[[], Made], inputs: bool, before: Any, after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert products(make(), inputs) == after
    recall._traces.clear()
    monkeypatch.setattr(recall, "merged", lambda trace, recurrent: trace)
    assert products(make(), inputs) == before


def test_weights_are_put_together_once_and_explained_by_name() -> None:
    cell, _, chains = lstm()
    group = tg.explain(cell, chains, leaf(chains.size, IN).detach()).groups[-1]
    assert [work.text for work in group.products("before")] == ["x @ [Wi, Wf, Wg, Wo]"]
    assert [work.text for work in group.products("step")] == ["kids[0].h @ [Ui, Uf, Ug, Uo]"]
    (back,) = group.products("back")
    assert back.text.endswith("@ [Ui, Uf, Ug, Uo].T")
    assert [set(work.gradient_of) for work in group.stages["late"]] == [
        {"bi", "bf", "bg", "bo"}, {"Ui", "Uf", "Ug", "Uo"}, {"Wi", "Wf", "Wg", "Wo"}
    ]  # fmt: skip
    # One concat for W and one for U, both passes; nothing more than its transposition for the derivative.
    plan = group.machine.plan
    assert [v.op for v in plan.once] == ["concat", "concat"]
    assert [v.op for v in plan.once_back] == ["permute_dims"]


def test_the_rows_of_slots_are_put_side_by_side_where_that_is_less_than_what_is_saved() -> None:
    group = tg.explain(tree()[0], TREE, leaf(TREE.size, IN).detach()).groups[-1]
    (product,) = group.products("step")
    assert product.text.startswith("[kids[0].h, kids[1].h] @ ")
    assert product.shapes == f"[n, {2 * H}] x [{2 * H}, {5 * H}]"
    U = weights(2, H, H)

    @tg.cell(arity=2, state={"h": H})
    def narrow(x: Any, kids: Any) -> Any:
        return tg.tanh(kids[0].h @ U[0] + kids[1].h @ U[1] + x[:, :1])

    group = tg.explain(narrow, TREE, leaf(TREE.size, IN)).groups[-1]
    assert len(group.products("step")) == 2  # 2 H copied for H


def test_no_product_is_drawn_into_the_loop() -> None:
    W, V = weights(1, H, H), weights(1, H, H, seed=5)

    @tg.cell(arity=1, state={"h": H, "y": H})
    def cell(x: Any, kids: Any) -> Any:
        return tg.tanh(kids[0].h @ W[0] + x[:, :1]), tg.tanh(kids[0].h @ V[0])

    assert products((cell, [], CHAINS))[:3] == (0, 1, 1)  # both of the same rows; y waits for the loop's end


@pytest.mark.parametrize("cell", [nn.LSTMCell(IN, H), nn.GRUCell(IN, H), nn.RNNCell(IN, H)])
def test_cells_that_have_one_matrix_already_stay_as_they_are(cell: Any) -> None:
    reach = recall.reach_of(cell)
    tg.explain(cell, CHAINS, IN)
    found = [*recall._traces.values(), *reach.traces.values()]
    assert found
    for trace in found:
        assert merge.merged(trace, frozenset([0])) is trace
