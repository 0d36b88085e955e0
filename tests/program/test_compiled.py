"""Unfoldings run as programs: their results, gradients, threads, memory and depth are those of the eager loop."""

from __future__ import annotations

import gc
import threading
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.program.cells import Random, as_function, dags, inputs_of, numbers, recipes, run, running, same
from tests.program.plain import Plain, State, W, agrees, gradients, leaf, targets
from tinygrad_rnn import nn

slow = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, suppress_health_check=slow)
@given(
    case=st.sampled_from([1, 2, None]).flatmap(
        lambda arity: st.tuples(recipes(arity, (3, 1)), recipes(arity, (3, 1)), dags(arity, kinds=2))
    ),
    which=st.sampled_from(["all", "some"]),
    function=st.booleans(),
)
def test_kinds_of_cells_are_run_together(case: Any, which: str, function: bool) -> None:
    one, other, s = case
    modules = [Random(r._replace(context="none", learned=False), "float64") for r in (one, other)]
    cells = dict(enumerate(as_function(m) if function else m for m in modules))
    if function:  # each function has a State class of its own, but their fields are the same
        cells[1].State = cells[0].State
    inputs, rows = inputs_of(s, which, "float64")
    by = [rows, *(p for m in modules for p in m.weights.parameters())]
    same(run(cells, s, inputs, by, "NumPy"), run(cells, s, inputs, by), 1e-11)


def test_kinds_may_mix_slots_and_multisets() -> None:
    class Bag(Plain):
        arity = None

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x + kids.max(kids.each.h @ self.w)))

    cells = {0: Plain(), 1: Bag()}
    s = tg.Structure(5, [0, 1, 1, 2, 3], [1, 2, 3, 3, 4], [0, -1, -1, -1, 0], kind=[0, 0, 1, 1, 0])
    x = leaf(5, W)
    by = [x, cells[0].w, cells[1].w]
    same(run(cells, s, x, by, "NumPy"), run(cells, s, x, by), 1e-11)


@targets
@pytest.mark.parametrize("broad", [40, 300, 1])
def test_levels_of_any_breadth(target: str, broad: int) -> None:
    """Thin levels run in a loop in C, broad ones through BLAS, and a structure may have both."""
    cell = nn.LSTMCell(W, 4)
    s = tg.chain([3] * broad + [9] * 2)
    x = tg.asarray(numbers(s.size, W).astype(np.float32)).requires_grad_()
    by = [x, *cell.parameters()]
    same(run(cell, s, x, by, target), run(cell, s, x, by), 1e-5)


@targets
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}])
def test_layers_with_lengths_and_given_states(
    target: str, kind: Any, options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = kind(2, 3, dtype="float64", **options)
    x = leaf(4, 4, 2)
    count = 4 if options else 1
    state = [leaf(count, 4, 3, seed=s) for s in range(2 if kind is nn.LSTM else 1)]
    given_state: Any = tuple(state) if kind is nn.LSTM else state[0]
    found = []
    for where in ("eager", target, target):
        with running(where) as reasons:
            for given in (None, given_state):
                output, final = layer(x, given, lengths=[2, 0, 4, 1])
                finals = final if isinstance(final, tuple) else (final,)
                by = [x, *layer.parameters(), *(state if given is not None else [])]
                found.append([output.numpy(), *(f.numpy() for f in finals), *gradients((output, *finals), by)])
        assert where == "eager" or reasons == [None] * len(reasons)
    for ours, theirs in zip(found[2:], [*found[:2]] * 2, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


# Derivatives


def test_derivatives_of_second_order_go_through_a_program() -> None:
    cell, s = Plain(2), tg.chain([2, 1])
    x = leaf(3, 2)

    def unfolded(x: tg.Tensor, w: tg.Tensor, b: tg.Tensor) -> tg.Tensor:
        cell.w, cell.b = w, b
        return (tg.unfold(cell, s, x).all().h * tg.asarray(numbers(3, 2))).sum()

    with running("NumPy") as reasons:
        tg.gradcheck(unfolded, [x, leaf(2, 2, seed=1), leaf(1, 2, seed=2)], order=2)
    assert None in reasons


@targets
def test_a_gradient_penalty_is_the_eager_one(target: str) -> None:
    cell, s, x = Plain(), tg.chain([2, 3]), leaf(5, W)
    found = []
    for where in ("eager", target):
        with running(where):
            h = tg.unfold(cell, s, x).last().h
            (slope,) = tg.grad((h * h).sum(), [x], create_graph=True)
            found.append([slope.numpy(), *gradients([slope], [x, cell.w, cell.b])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_a_second_derivative_draws_the_masks_of_the_first_pass() -> None:
    cell, s, x = Plain(), tg.chain([3]), leaf(3, W)
    cell.forward = lambda x, kids: State(tg.tanh(cell.drop(x) + kids[0].h @ cell.w))  # type: ignore[method-assign]
    found = []
    for where in ("eager", "NumPy"):
        with running(where):
            tg.manual_seed(4)
            h = tg.unfold(cell, s, x).all().h
            after = tg.random.uniform(2).numpy()
            (slope,) = tg.grad((h * h).sum(), [x], create_graph=True)
            found.append([h.numpy(), after, slope.numpy(), *gradients([slope], [x, cell.w])])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@targets
def test_gradients_are_the_callers_own(target: str) -> None:
    """Neither a second backward pass nor a later run of the structure writes into them."""
    cell, s, x = Plain(), tg.chain([2, 3]), leaf(5, W)
    h0 = State(leaf(2, W, seed=4))
    held, copies = [], []
    with running(target):
        for i in range(4):
            loss = (tg.unfold(cell, s, x * (i + 1.0), initial=h0).all().h ** 2).sum()
            for by in ([x, *h0], [cell.w, x, cell.b]):
                held += tg.grad(loss, by, retain_graph=True)
            copies += [g.numpy().copy() for g in held[len(copies) :]]
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(held, copies, strict=True))


def test_two_unfoldings_of_one_structure_wait_for_their_backward_pass_side_by_side() -> None:
    cell, s = Plain(), tg.chain([2, 3])
    xs = [leaf(5, W, seed=i) for i in range(4)]
    with running("NumPy"):
        losses = [(tg.unfold(cell, s, x).all().h ** 2).sum() for x in xs]
        ours = [tg.grad(loss, [x, cell.w]) for loss, x in zip(losses, xs, strict=True)]
    for x, found in zip(xs, ours, strict=True):
        with running("eager"):
            theirs = tg.grad((tg.unfold(cell, s, x).all().h ** 2).sum(), [x, cell.w])
        for a, b in zip(found, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-11)


def test_without_recording_nothing_is_recorded() -> None:
    cell, x = Plain(), leaf(3, W)
    with running("NumPy") as reasons, tg.no_grad():
        found = tg.unfold(cell, tg.chain([3]), x).all().h
    assert (reasons, found.requires_grad) == ([None], False)
    with running("eager"):
        np.testing.assert_allclose(found.numpy(), tg.unfold(cell, tg.chain([3]), x).all().h.numpy(), rtol=1e-12)


def test_parameters_frozen_and_thawed_between_runs() -> None:
    cell = Plain()
    for frozen in ([], [cell.w], [cell.w, cell.b], [cell.b], []):
        for p in (cell.w, cell.b):
            p.requires_grad_(all(p is not f for f in frozen))
        agrees(cell, [p for p in (cell.w, cell.b) if p.requires_grad])


def test_tied_weights_get_the_sum_of_their_gradients() -> None:
    class Tied(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.again = self.w

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x @ self.again.T + kids[0].h @ self.w))

    cell = Tied()
    agrees(cell, [cell.w])
    cell.again = leaf(W, W, seed=8)
    agrees(cell, [cell.w, cell.again])


def test_a_weight_that_is_written_before_the_backward_pass_is_refused() -> None:
    cell, s, x = Plain(), tg.chain([3]), leaf(3, W)
    for frozen in (False, True):
        cell.w.requires_grad_(not frozen)
        for where in ("eager", "NumPy"):
            with running(where):
                h = tg.unfold(cell, s, x).last().h
                cell.load_state_dict({"w": np.eye(W), "b": cell.b.numpy()})
                with pytest.raises(tg.GraphError):
                    h.sum().backward()


# Numbers


@targets
def test_nan_and_infinity_pass_through(target: str) -> None:
    @tg.cell(arity=1, state={"h": 6, "c": 4, "m": 1})
    def cell(x: Any, kids: Any) -> Any:
        y = x + kids[0].h[:, :4] * 0.5
        big = tg.max(y, axis=1, keepdims=True)
        h = tg.concat([tg.sigmoid(y[:, :2]), tg.tanh(y[:, :2]), tg.exp(y[:, 2:])], axis=1)
        first = y[:, :1]
        c = tg.concat([tg.maximum(first, 0.3), tg.minimum(first, 0.3), tg.relu(first), tg.clip(first, -1, 1)], axis=1)
        return h, c, tg.where(tg.isnan(big), 7.0, big)

    inf, nan = np.inf, np.nan
    x = tg.tensor([[nan, 1, -inf, 800], [inf, -inf, 0, 90], [-inf, 2, nan, -800], [1, 2, 3, inf]], dtype="float32")
    with np.errstate(all="ignore"):
        eager, ours = (run(cell, tg.chain([2, 2]), x, [], where) for where in ("eager", target))
    for name, a in ours.items():
        np.testing.assert_allclose(a, eager[name], rtol=1e-5, err_msg=name)


@targets
def test_edges_are_dropped_alike_and_vertices_without_any_draw_nothing(target: str) -> None:
    @tg.cell(arity=None, state={"h": W})
    def cell(x: Any, kids: Any) -> Any:
        edges = nn.functional.dropout(kids.each.h + 1.0, 0.5)
        return tg.tanh(nn.functional.dropout(x, 0.3) + kids.sum(edges))

    s, found = tg.Structure(7, [0, 1, 2, 3, 4, 5], [4, 4, 5, 5, 6, 6]), []
    x = leaf(s.size, W)
    for where in ("eager", target):
        tg.manual_seed(5)
        with running(where) as reasons:
            h = tg.unfold(cell, s, x).all().h
        found.append([h.numpy(), tg.grad((h * h).sum(), x)[0].numpy()])
    assert reasons == [None]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


CHOICES = {
    "two of one mask": lambda x, h, k: tg.where(k, x, 0.0) + tg.where(k, h, 0.0),
    "two of one comparison": lambda x, h, k: tg.where(x > 0, x, 0.0) + tg.where(x > 0, h, 0.0) + x,
    "a safe logarithm": lambda x, h, k: tg.where(x > 0, tg.log(tg.where(x > 0, x, 1.0)), 0.0) + h * 0.5,
    "a safe quotient": lambda x, h, k: tg.where(x > 0, h / tg.where(x > 0, x, 1.0), 0.0),
    "a number as a condition": lambda x, h, k: tg.where(x * 0.4, 1.0, x) + tg.where(h, h * 0.5, 1.0),
    "numbers that choose between bools": lambda x, h, k: tg.astype(tg.where(x * 0.4, x > 0, h < 1), x.dtype) + h + x,
    "infinity of either sign": lambda x, h, k: (
        tg.astype(tg.isinf(tg.where(k, tg.inf, tg.where(x > 0, -tg.inf, h))), x.dtype) + x
    ),
    "masks of masks": lambda x, h, k: tg.where(
        tg.logical_or(tg.logical_and(k, x > 0), tg.where(k, h > 0, x < 0)), tg.where(k, x, h), -h
    ),
}


@targets
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [2, 8])
@pytest.mark.parametrize("choice", CHOICES)
def test_choices_between_elements_of_many_short_rows(target: str, dtype: str, width: int, choice: str) -> None:
    """Of vectors that are loaded where a mask holds, several at once, GCC 12 takes the first one's mask for all."""
    cell = tg.cell(arity=1, state={"h": width})(lambda x, kids, k: CHOICES[choice](x, kids[0].h, k))
    s, rng = tg.chain([2] * 64), np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((s.size, width)), dtype=dtype, requires_grad=True)
    mask = tg.asarray(rng.random((64, width)) < 0.3)
    found = []
    for where in ("eager", target):
        with running(where) as reasons:
            h = tg.unfold(cell, s, x, context=mask).all().h
        found.append([h.numpy(), tg.grad(tg.tanh(h).sum(), x)[0].numpy()])
    assert reasons == [None]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-6)


# Results


@pytest.mark.parametrize("view", [lambda w: w.T, lambda w: w.reshape(W, W), lambda w: w[:W]])
def test_a_write_to_what_a_cell_reads_as_a_view_is_noticed(view: Any) -> None:
    w = leaf(W, W)
    seen = view(w)
    cell = tg.cell(arity=1, state={"h": W})(lambda x, kids: tg.tanh(x + kids[0].h @ seen))
    h = tg.unfold(cell, tg.chain([3]), leaf(3, W)).all().h
    w.grad = tg.asarray(np.ones((W, W)))
    tg.optim.SGD([w], lr=0.5).step()
    with pytest.raises(tg.GraphError, match="was written in place since"):
        h.sum().backward()


def test_a_replay_starts_from_the_initial_state_that_was_given() -> None:
    cell, x, found = Plain(), leaf(3, W), []
    start = State(leaf(1, W, seed=3))
    for where in ("eager", "NumPy"):
        with running(where):
            h = tg.unfold(cell, tg.chain([3]), x, initial=start).all().h
            (slope,) = tg.grad((h * h).sum(), start.h, create_graph=True)
            found.append([slope.numpy(), *gradients([slope], [start.h, x])])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)


@targets
def test_results_by_id_and_levels_that_follow(target: str) -> None:
    cell = Plain()
    s = tg.Structure(6, [5, 4, 3, 1], [4, 3, 0, 2], [0, 0, 0, 0], example=[0, 1, 1, 0, 0, 0], examples=3)
    x = leaf(6, W)
    found = []
    for where in ("eager", target):
        with running(where) as reasons:
            unfolded = tg.unfold(cell, s, x)
            states = [unfolded.all(), unfolded.rows([3, 0, 3]), unfolded.roots(), unfolded.last()]
            states.append(unfolded.advance(leaf(2, W, seed=5), [[0], [2]]))
            states += [unfolded.all(), unfolded.last(), unfolded.rows([7, 2])]
            assert sorted(len(block.h) for block in unfolded.blocks)[-1] <= 8
            assert (unfolded.size, unfolded.has_input.tolist()) == (8, [True] * 8)
            assert reasons in ([None], ["TINYGRAD_RNN_COMPILE=0 switches programs off"])
            found.append([v.h.numpy() for v in states] + gradients([v.h for v in states], [x, cell.w]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@targets
def test_sigmoid_of_large_numbers_neither_overflows_nor_warns(target: str) -> None:
    cell, x = tg.cell(arity=1, state={"h": W})(lambda x, kids: tg.sigmoid(x + kids[0].h)), leaf(2, W)
    x.data = np.array([[-1e4, 0.0, 1e4], [-800.0, 0.0, 800.0]])
    with warnings.catch_warnings(), running(target):
        warnings.simplefilter("error")
        found = tg.unfold(cell, tg.chain([2]), x).all().h.numpy()
    np.testing.assert_allclose(found[:, [0, 2]], [[0, 1], [0, 1]], atol=1e-300)


def test_a_setting_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "off")
    with pytest.raises(ValueError, match="TINYGRAD_RNN_COMPILE=off in the environment: it can be 1, 0"):
        tg.unfold(Plain(), tg.chain([2]), leaf(2, W))
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "")
    assert tg.unfold(Plain(), tg.chain([2]), leaf(2, W)).size == 2


def test_no_inputs_at_all() -> None:
    cell = tg.cell(arity=1, state={"h": 2})(lambda x, kids: tg.tanh(kids[0].h * 0.5 + 1.0))
    same(run(cell, tg.chain([4, 1]), None, [], "NumPy"), run(cell, tg.chain([4, 1]), None, []), 1e-6)


@targets
def test_what_a_cell_does_not_read_has_no_gradient(target: str) -> None:
    b = leaf(1, 2)
    for cell, unread in (
        (lambda x, kids: tg.broadcast_to(b, (len(x), 2)), ["x", "h"]), (lambda x, kids: x * b, ["h"]),
        (lambda x, kids: kids[0].h + b, ["x"]), (lambda x, kids: x + kids[0].h * 2.0, ["b"]),
    ):  # fmt: skip
        made = tg.cell(arity=1, state={"h": 2})(cell)
        b.grad, given = None, {"x": leaf(3, 2), "h": leaf(1, 2), "b": b}
        with running(target):
            found = tg.unfold(made, tg.chain([3]), given["x"], initial=made.State(given["h"]))
            found.all().h.sum().backward()
        assert [name for name, t in given.items() if t.grad is None] == unread


@targets
def test_a_piece_that_a_concat_has_twice_is_there_twice(target: str) -> None:
    w, v, u = leaf(4, 8, seed=1), leaf(4, 4, seed=2), leaf(8, 4, seed=3)

    def halves(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:  # whose derivative is the same gradient twice
        left, right = tg.split(kids[0].h @ w, 2, axis=1)
        return tg.tanh(left + right + x @ v)

    def doubled(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        a = tg.tanh(x)
        return tg.tanh(a @ v + kids[0].h) + tg.concat([a, a], axis=1) @ u

    for function in (halves, doubled):
        cell, x = tg.cell(arity=1, state={"h": 4})(function), leaf(12, 4)
        s, by = tg.chain([7, 5]), [x, *((w, v) if function is halves else (v, u))]
        same(run(cell, s, x, by, target), run(cell, s, x, by), 1e-12)


@targets
@pytest.mark.parametrize("of", ["state", "inputs", "context"])
def test_what_is_read_by_its_sign_alone_has_a_gradient_of_zeros(target: str, of: str) -> None:
    w, x, context = leaf(2, 2, seed=1), leaf(5, 2), leaf(1, 2, seed=2)

    @tg.cell(arity=2, state={"h": 2, "c": 2})
    def cell(x: tg.Tensor, kids: tg.Kids, context: tg.Tensor) -> Any:
        read = {"state": kids[0].c, "inputs": x, "context": context}[of]
        h = tg.tanh(kids[0].h @ w + kids[1].h + tg.sign(read))
        return h + (0 if of == "inputs" else x) + (0 if of == "context" else context), 0.5 * kids[1].c + h

    for s in (
        tg.Structure(5, [0, 1, 2, 3], [2, 2, 4, 4], [0, 1, 0, 1]),
        tg.Structure(5, [0, 1, 2, 3], [1, 2, 3, 4], [0] * 4),
    ):
        by = [x, w, context]
        same(run(cell, s, x, by, target, context=context), run(cell, s, x, by, context=context), 1e-12)


@targets
def test_weight_gradients_of_many_rows_and_few_inputs_are_the_same_and_in_order(target: str) -> None:
    cell, x = nn.RNNCell(5, 40, dtype="float64"), leaf(1250, 5)
    by = [x, *cell.parameters()]
    same(run(cell, tg.chain([50] * 25), x, by, target), run(cell, tg.chain([50] * 25), x, by), 1e-12)
    with running(target):
        tg.unfold(cell, tg.chain([50] * 25), x).all().h.sum().backward()
    assert all(p.grad.data.flags.c_contiguous for p in cell.parameters())


@targets
def test_the_sum_of_truths_is_a_truth(target: str) -> None:
    def cell(x: tg.Tensor, kids: tg.Kids) -> tg.Tensor:
        return tg.astype((x > 0) + (x > -1), x.dtype) + kids[0].h

    made = tg.cell(arity=1, state={"h": 2})(cell)
    with running(target):
        assert tg.unfold(made, tg.chain([1]), tg.asarray([[1.0, -2.0]])).all().h.tolist() == [[1.0, 0.0]]


@targets
def test_what_multisets_start_from_is_never_read(target: str) -> None:
    cell, h = tg.cell(arity=None, state={"h": 2})(lambda x, kids: x + kids.sum(kids.each.h)), leaf(1, 2)
    with running(target):
        run = tg.unfold(cell, tg.Structure(3, [0, 1], [2, 2]), leaf(3, 2), initial=cell.State(h))
        run.all().h.sum().backward()
    assert h.grad is None


# Threads, memory, depth


@targets
def test_threads_run_one_module_at_once(target: str) -> None:
    cell, s = nn.LSTMCell(W, 4, dtype="float64"), tg.chain([5, 3, 0, 4])
    xs = [leaf(12, W, seed=i) for i in range(4)]

    def once(x: tg.Tensor) -> list[np.ndarray]:
        return gradients(tg.unfold(cell, s, x).all(), [x, *cell.parameters()])

    with running("eager"):
        expected = [once(x) for x in xs]
    wrong: list[Any] = []
    start = threading.Barrier(len(xs))

    def work(i: int) -> None:
        start.wait()
        try:
            for _ in range(15):
                for a, b in zip(once(xs[i]), expected[i], strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
        except BaseException as error:
            wrong.append(error)

    with running(target):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(xs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


@targets
def test_memory_stays_flat_without_the_garbage_collector(target: str) -> None:
    cell, s = Plain(), tg.chain([4, 3])
    x = leaf(7, W)

    def step() -> None:
        cell.zero_grad()
        h = tg.unfold(cell, s, x).last().h
        (h * h).sum().backward()
        tg.unfold(cell, s, x)  # one that is never differentiated
        tg.unfold(nn.RNNCell(W, W, dtype="float64"), tg.chain([2]), x[:2]).last().h.sum().backward()

    with running(target):
        for _ in range(3):
            step()
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            for _ in range(20):
                step()
            grown = len(gc.get_objects()) - before
            garbage = gc.collect()
        finally:
            gc.enable()
    assert (grown < 200, garbage < 50) == (True, True), (grown, garbage)


@targets
def test_deep_structures(target: str) -> None:
    cell = Plain()
    cell.w.data *= 0.3
    long, x = tg.chain([20_000]), leaf(20_000, W)
    with running(target) as reasons:
        unfolded = tg.unfold(cell, long, x)
        h = unfolded.last().h
        found = tg.grad(h.sum(), [x])[0].numpy()
    assert reasons == [None]
    assert np.isfinite(h.numpy()).all()
    assert (abs(found[-1]).min() > 0, abs(found[0]).max() < 1e-6) == (True, True)

    class Tree(Plain):
        arity = 2

        def forward(self, x: Any, kids: Any, context: Any = None) -> State:
            return State(tg.tanh(x + kids[0].h @ self.w + kids[1].h * 0.3))

    depth, tree = 3_000, Tree()
    inner = np.arange(depth + 1, 2 * depth + 1)  # each reads the one before, the first of them leaf 0, and a leaf
    left = np.concatenate(([0], inner[:-1]))
    s = tg.Structure(
        2 * depth + 1, np.concatenate((left, np.arange(1, depth + 1))), np.tile(inner, 2), np.repeat([0, 1], depth)
    )
    inputs, rows = inputs_of(s, "leaves", "float64")
    same(run(tree, s, inputs, [rows, tree.w], target), run(tree, s, inputs, [rows, tree.w]), 1e-9)


@pytest.mark.parametrize("name", ["nope", "gpu:1"])
def test_a_device_that_does_not_exist_is_refused_inside_a_cell_too(name: str) -> None:
    cell = tg.cell(arity=1, state={"h": 1})(lambda x, kids: kids[0].h + x + tg.zeros(1, device=name))
    assert f"unknown device {name!r}" in tg.explain(cell, tg.chain(2), 1).reason
    with pytest.raises(tg.DeviceError, match=f"unknown device {name!r}"):
        tg.unfold(cell, tg.chain(2), tg.ones((2, 1)))
