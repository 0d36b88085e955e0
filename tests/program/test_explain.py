"""What `tg.explain` says of a cell: facts of its plan, and why it has none."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.native import toolchain
from tinygrad_rnn.program import compiled, explain
from tinygrad_rnn.program.c import loop
from tinygrad_rnn.program.capture import Reach

IN, H = 3, 4
HERE = Path(__file__)
TREE = tg.Structure(7, source=[0, 1, 2, 3, 4, 5], target=[4, 4, 5, 5, 6, 6], slot=[0, 1, 0, 1, 0, 1])
TYPED = tg.Structure(7, TREE.source, TREE.target, TREE.slot, kind=[0, 0, 0, 0, 1, 1, 1])
needs_c = pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")


@pytest.fixture(autouse=True)
def on_the_cpu(device: str) -> None:
    if device != "cpu":
        pytest.skip("programs are for the CPU so far")


def kinds(works: list[explain.Work]) -> list[str]:
    return [work.kind for work in works]


def said(works: list[explain.Work]) -> list[tuple[str, str]]:
    return [(work.text, work.shapes) for work in works]


# What is compiled.
@needs_c
def test_the_page_of_an_lstm_on_two_chains() -> None:
    page = str(tg.explain(nn.LSTMCell(IN, H), tg.chain([5, 3])))
    assert page.replace(f"up to {loop.MOST} rows", "up to MOST rows") == (
        """\
LSTMCell on 8 vertices in 5 levels: a program, the cell in 2 variants
Tensors found by name: weight_ih [16, 3], weight_hh [16, 4], bias_ih [16], bias_hh [16]

2 vertices with an input, slot 0 empty (folded away)
  target  C
  calls   1, of 2 rows: none waits for another
  once    2 ops of parameters alone
  before  product x @ weight_ih.T, [n, 3] x [3, 16], over 2 rows at once
          kernel: 10 elementwise ops (add, sigmoid, multiply, tanh)
  late    kernel: 18 elementwise ops (multiply, subtract, add)
          product %50.T @ x, [16, n] x [n, 3], over 2 rows at once: the gradient of weight_ih
          sum of %50, [n, 16], over 2 rows at once: the gradient of bias_ih and bias_hh

6 vertices with an input
  target  C
  calls   4, a level each: 2, 2, 1, 1 rows
  loop    in C for 4 of 4 calls: those of up to MOST rows
  reads   slot 0 (h, c): 4 slices, 0 gathers
  once    3 ops of parameters alone
  before  product x @ weight_ih.T, [n, 3] x [3, 16], over 6 rows at once
  step    product kids[0].h @ weight_hh.T, [n, 4] x [4, 16]
          kernel: 10 elementwise ops (add, sigmoid, multiply, tanh)
  back    kernel: 19 elementwise ops (multiply, subtract, add)
          product %51 @ weight_hh, [n, 16] x [16, 4]
  late    product %51.T @ kids[0].h, [16, n] x [n, 4], over 6 rows at once: the gradient of weight_hh
          product %51.T @ x, [16, n] x [n, 3], over 6 rows at once: the gradient of weight_ih
          sum of %51, [n, 16], over 6 rows at once: the gradient of bias_ih and bias_hh

before, step, after: the states; early, back, late: their derivative. step and back run once for each call,
the others once over all rows. n, e: rows, edges. %k: value k of the graph."""
    )


def test_the_inputs_product_is_hoisted_and_one_product_is_in_the_step() -> None:
    (group,) = tg.explain(nn.LSTMCell(IN, H), tg.chain([50] * 6)).groups
    assert said(group.products("before")) == [("x @ weight_ih.T", f"[n, {IN}] x [{IN}, {4 * H}]")]
    assert said(group.products("step")) == [("kids[0].h @ weight_hh.T", f"[n, {H}] x [{H}, {4 * H}]")]
    assert group.variant.size == 300
    assert group.calls == [6] * 50
    assert "over 300 rows at once" in str(group)


def test_weight_gradients_are_one_product_over_all_rows_behind_the_loop() -> None:
    (group,) = tg.explain(nn.LSTMCell(IN, H), tg.chain([50] * 6)).groups
    found = {work.gradient_of: work.shapes for work in group.products("late")}
    assert found == {("weight_hh",): f"[{4 * H}, n] x [n, {H}]", ("weight_ih",): f"[{4 * H}, n] x [n, {IN}]"}
    assert [w.gradient_of for w in group.stages["late"] if w.kind == "sum"] == [("bias_ih", "bias_hh")]
    assert [shapes for _, shapes in said(group.products("back"))] == [f"[n, {4 * H}] x [{4 * H}, {H}]"]


def test_outputs_that_nobody_recurs_on_come_after_the_loop() -> None:
    W, V = tg.random.normal((H, H)).requires_grad_(), tg.random.normal((H, 2)).requires_grad_()

    @tg.cell(arity=1, state={"h": H, "y": 2})
    def with_output(x: Any, kids: Any) -> Any:
        h = tg.tanh(x + kids[0].h @ W)
        return h, h @ V

    (group,) = tg.explain(with_output, tg.chain([50]), H).groups
    assert len(group.products("step")) == 1
    assert [shapes for _, shapes in said(group.products("after"))] == [f"[n, {H}] x [{H}, 2]"]
    assert [text for text, _ in said(group.products("after"))] == ["h @ V"]
    assert [text for text, _ in said(group.products("early"))] == ["dL/dy @ V.T", "h.T @ dL/dy"]


@needs_c
def test_elementwise_work_is_one_kernel_in_c_and_its_ops_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, chain = nn.LSTMCell(IN, H), tg.chain([50])
    (group,) = tg.explain(cell, chain).groups
    assert (group.target, group.why_not_c) == ("C", "")
    assert kinds(group.stages["step"]) == ["product", "kernel"]
    ops = group.stages["step"][1].ops
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "numpy")
    (group,) = tg.explain(cell, chain).groups
    assert (group.target, group.why_not_c) == ("NumPy", "TINYGRAD_RNN_COMPILE=numpy asks for it")
    assert kinds(group.stages["step"]) == ["product", "elementwise"]
    assert group.stages["step"][1].ops == ops
    assert group.loop == 0


@needs_c
def test_calls_of_many_rows_are_stepped_through_from_python() -> None:
    cell = nn.RNNCell(IN, H)
    few, many = (tg.explain(cell, tg.chain([3] * n)).groups[-1] for n in (loop.MOST, loop.MOST + 1))
    assert few.loop == many.loop == loop.MOST
    assert f"in C for {len(few.calls)} of {len(few.calls)} calls" in str(few)
    assert f"in C for 0 of {len(many.calls)} calls" in str(many)


@needs_c
def test_why_the_loop_is_python() -> None:
    edges = tg.Structure(7, TREE.source, TREE.target)
    assert tg.explain(nn.ChildSumTreeLSTMCell(IN, H), edges).groups[-1].why_no_loop == "it reads a multiset of edges"
    group = tg.explain(nn.RNTNCell(IN, H), TREE).groups[-1]
    assert (group.loop, group.why_no_loop) == (0, "multiply is NumPy's")


def test_leaves_are_folded_apart_from_inner_vertices() -> None:
    leaves, inner = tg.explain(nn.NaryTreeLSTMCell(IN, H), TREE, ([0, 1, 2, 3], tg.ones((4, IN)))).groups
    assert leaves.title == "4 vertices with an input, slots 0 and 1 empty (folded away)"
    assert said(leaves.products("before")) == [("x @ weight_ih.T", "[n, 3] x [3, 16]")]
    assert leaves.products("step") == leaves.products("back") == []
    assert inner.title == "3 vertices without an input (nothing of x is multiplied)"
    assert inner.products("before") == []
    assert said(inner.products("step")) == [("[kids[0].h, kids[1].h] @ weight_hh.T", "[n, 8] x [8, 20]")]
    assert inner.calls == [2, 1]


def test_which_slots_are_read_as_slices_and_which_are_gathered() -> None:
    chain = tg.explain(nn.RNNCell(IN, H), tg.chain([50])).groups[0]
    assert (chain.slices, chain.gathers, chain.empty) == ({0: 50}, {0: 0}, {0: 1})
    # Vertices 1 and 2 of a level both read vertex 0, which no slice gives.
    fan = tg.Structure(4, source=[0, 0, 1, 2], target=[1, 2, 3, 3], slot=[0, 0, 0, 1])
    groups = tg.explain(nn.RecursiveCell(IN, H), fan).groups
    assert [(g.calls, g.slices, g.gathers) for g in groups] == [
        ([1], {}, {}), ([2], {0: 0}, {0: 1}), ([1], {0: 1, 1: 1}, {0: 0, 1: 0})
    ]  # fmt: skip


def test_several_cells_are_explained_by_kind() -> None:
    found = tg.explain({0: nn.NaryTreeLSTMCell(IN, H, arity=0), 1: nn.NaryTreeLSTMCell(0, H)}, TYPED)
    assert [name for name, _ in found.parameters[0]] == ["weight_ih", "bias"]
    assert [name for name, _ in found.parameters[1]] == ["weight_hh", "bias"]
    assert [(g.variant.kind, g.variant.size, g.variant.has_input) for g in found.groups] == [
        (0, 4, True),
        (1, 3, False),
    ]


def test_without_recording_there_is_no_derivative() -> None:
    with tg.no_grad():
        (group,) = tg.explain(nn.RNNCell(IN, H), tg.chain([50])).groups
    assert not group.stages["early"] + group.stages["back"] + group.stages["late"]
    assert "no derivative" in str(group)


def test_random_draws_are_counted() -> None:
    @tg.cell(arity=1, state={"h": H})
    def noisy(x: Any, kids: Any) -> Any:
        return x + kids[0].h + tg.random.normal(x.shape)

    assert "1 draw for each call" in str(tg.explain(noisy, tg.chain([50]), H))


def test_it_draws_nothing() -> None:
    cell = nn.RNNCell(IN, H)
    before = tg.random.get_state()
    tg.explain(cell, tg.chain([50]))
    assert repr(tg.random.get_state()) == repr(before)


# Inputs.
def test_a_width_stands_for_rows_and_none_for_the_input_size_of_the_cell() -> None:
    cell, chain = nn.RNNCell(IN, H), tg.chain([5, 5])
    pages = {str(tg.explain(cell, chain, x)) for x in (None, IN, np.int64(IN), tg.zeros((10, IN)))}
    assert len(pages) == 1
    with pytest.raises(ValueError, match="inputs of 2 widths"):
        tg.explain({0: nn.NaryTreeLSTMCell(IN, H), 1: nn.NaryTreeLSTMCell(IN + 1, H)}, TYPED)


def test_a_state_of_another_width_is_said_to_be_an_error_eagerly() -> None:
    found = tg.explain(tg.cell(arity=1, state={"h": H})(lambda x, kids: kids[0].h[:, 1:]), tg.chain([5]), H)
    assert "another shape or dtype" in found.reason
    assert "eagerly another width is an error" in found.remedy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_that_are_not_given_are_as_wide_as_makes_the_cell_work(dtype: str) -> None:
    linear = nn.Linear(IN, H, dtype=dtype)

    @tg.cell(arity=1, state={"h": H})
    def wide(x: Any, kids: Any) -> Any:
        return linear(x) + kids[0].h

    found = tg.explain(wide, tg.chain([5]))
    assert not found.reason
    assert said(found.groups[-1].products("before")) == [("x @ linear.weight.T", f"[n, {IN}] x [{IN}, {H}]")]
    assert not tg.explain(wide, tg.chain([5]), IN).reason


def test_inputs_whose_width_no_tensor_tells_are_asked_for() -> None:
    @tg.cell(arity=1, state={"h": H})
    def wide(x: Any, kids: Any) -> Any:
        return tg.reshape(x, (-1, 3, H))[:, 0] + kids[0].h

    found = tg.explain(wide, tg.chain([5]))
    assert "Error: " in found.reason
    assert "give their rows or their width" in found.remedy
    assert not tg.explain(wide, tg.chain([5]), 3 * H).reason


def test_it_is_printed_once_and_shown_in_short(capsys: pytest.CaptureFixture[str]) -> None:
    cell, chain = nn.RNNCell(IN, H), tg.chain([5, 5])
    found = tg.explain(cell, chain)
    assert capsys.readouterr().out == f"{found}\n"
    assert repr(found) == "<Explanation of RNNCell on 10 vertices in 5 levels: a program>"


@needs_c
def test_rows_of_few_calls_are_told_one_by_one_and_of_many_by_their_median() -> None:
    few, many = (str(tg.explain(nn.RNNCell(IN, H), tg.chain([n, 3]))) for n in (12, 13))
    assert "calls   11, a level each: 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1 rows" in few
    assert "calls   13, a level each: 1 / 1 / 2 rows (least / median / most)" in many


def test_a_structure_that_does_not_fit_is_refused_as_by_unfold() -> None:
    with pytest.raises(tg.StructureError, match="arity"):
        tg.explain(nn.RNNCell(IN, H), TREE)


# Names.
W = tg.tensor(np.eye(H), requires_grad=True)
BAGS = {"inner": [tg.tensor(np.eye(H))]}


def test_tensors_are_called_by_attribute_variable_and_item() -> None:
    U, layer = tg.tensor(np.eye(H)), nn.Linear(H, H)

    one, two = tg.ones(1), tg.ones(1)

    def helper(h: Any, scale: Any = one, *, shift: Any = two) -> Any:
        return h * scale + shift

    @tg.cell(arity=1, state={"h": H})
    def named(x: Any, kids: Any) -> Any:
        return helper(layer(x @ U) @ W @ BAGS["inner"][0])

    reach = Reach(named)
    assert len(reach.names) == len(reach.tensors)
    assert set(reach.names) == {"U", "W", "layer.weight", "layer.bias", "BAGS['inner'][0]", "scale", "shift"}
    model = nn.GRUCell(IN, H)
    model.inner = layer
    assert Reach(model).names == [
        "weight_ih", "weight_hh", "bias_ih", "bias_hh", "inner.weight", "inner.bias"
    ]  # fmt: skip


# What is not compiled.
class Hidden:
    """Holds a Tensor where no name is found."""

    __slots__ = ("w",)

    def __init__(self, w: Any) -> None:
        self.w = w


HIDDEN, MEMORY = Hidden(tg.tensor(np.eye(H), dtype="float32")), [0]


def by_value(x: Any, kids: Any) -> Any:
    return x if tg.sum(x).item() > 0 else kids[0].h


def by_no_name(x: Any, kids: Any) -> Any:
    return x @ HIDDEN.w + kids[0].h


def by_array(x: Any, kids: Any) -> Any:
    return x @ tg.asarray(np.arange(H * H, dtype="float32").reshape(H, H)) + kids[0].h


def mixing(x: Any, kids: Any) -> Any:
    return x - tg.max(x, axis=0, keepdims=True) + kids[0].h


def drawing(x: Any, kids: Any) -> Any:
    return x + tg.random.normal((1, H)) + kids[0].h


def wrong(x: Any, kids: Any) -> Any:
    return x @ tg.ones((H + 1, H)) + kids[0].h


def remembering(x: Any, kids: Any) -> Any:
    MEMORY.append(1)
    return x + kids[0].h


def counting(x: Any, kids: Any) -> Any:
    return x * float(next(NUMBERS)) + kids[0].h


NUMBERS = iter(range(100))


@pytest.mark.parametrize(
    ("function", "reason", "remedy"),
    [
        (by_value, "branches on a value", "tg.where"),
        (by_no_name, "can't find again", "pass it as context, or make it an attribute of the cell"),
        (by_array, "can't find again", "pass it as context"),
        (mixing, "axis 0", "the same row"),
        (drawing, "not one row per vertex", "draw n rows"),
        (wrong, "it raises ValueError: matmul(", "if that is a mistake in the cell, it is raised there"),
    ],
)
def test_why_a_cell_has_no_program_with_its_line_and_the_remedy(function: Any, reason: str, remedy: str) -> None:
    found = tg.explain(tg.cell(arity=1, state={"h": H})(function), tg.chain([5]), H)
    assert not found.groups
    assert reason in found.reason
    assert remedy in found.remedy
    lines, first = inspect.getsourcelines(function)
    assert f"{HERE}:{first + len(lines) - 1}: {lines[-1].strip()}" in found.reason
    assert found.reason in str(found)
    assert "runs eagerly" in str(found)


@pytest.mark.parametrize(
    ("function", "reason", "remedy"),
    [
        (remembering, "changes an object, a list or a dict", "a part of the state"),
        (counting, "two traces of it differ", "the same at every call"),
    ],
)
def test_why_a_cell_with_a_memory_has_no_program(function: Any, reason: str, remedy: str) -> None:
    found = tg.explain(tg.cell(arity=1, state={"h": H})(function), tg.chain([5]), H)
    assert reason in found.reason
    assert remedy in found.remedy
    assert MEMORY == [0]


def test_what_is_switched_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, chain = nn.RNNCell(IN, H), tg.chain([5])
    with tg.detect_anomaly():
        assert "tg.detect_anomaly()" in tg.explain(cell, chain).remedy
    assert "unfold without keep" in tg.explain(cell, chain, keep=("state_grad",)).remedy
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
    found = tg.explain(cell, chain)
    assert "TINYGRAD_RNN_COMPILE=0" in found.reason
    assert "environment" in found.remedy


def test_every_remedy_is_for_words_that_a_reason_has() -> None:
    folder = Path(compiled.__file__).parent
    sources = "".join(path.read_text("utf-8") for path in folder.rglob("*.py") if path.name != "explain.py")
    assert [words for words in explain.REMEDIES if words not in sources] == []


# Targets.
def test_half_precision_is_numpys_and_equals_the_eager_unfolding(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, chain, x = nn.RNNCell(IN, H, dtype="float16"), tg.chain([5]), tg.ones((5, IN), dtype="float16")
    group = tg.explain(cell, chain).groups[-1]
    assert group.target == "NumPy"
    assert re.match("its state is float16", group.why_not_c)
    h = tg.unfold(cell, chain, x).last().h
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
    np.testing.assert_allclose(h.numpy(), tg.unfold(cell, chain, x).last().h.numpy(), rtol=1e-2)


def test_without_a_compiler_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "compiler", lambda: None)
    monkeypatch.setattr(toolchain, "_libraries", {})
    group = tg.explain(nn.RNNCell(IN, H + 9), tg.chain([50])).groups[0]
    assert group.target == "NumPy"
    assert "install gcc or clang" in group.why_not_c


# What is written about it.
def test_the_block_of_the_page_runs_and_its_links_lead_to_files(capsys: pytest.CaptureFixture[str]) -> None:
    page = HERE.parents[2] / "docs" / "compiler.md"
    text = page.read_text("utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    exec(compile(block, str(page), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out
    assert "product x @ weight_ih.T, [n, 20] x [20, 128], over 800 rows at once" in printed
    assert "it branches on a value" in printed
    assert all((page.parent / target).exists() for target in re.findall(r"\]\(([^)]+)\)", text))


def test_random_draws_are_those_of_the_eager_unfolding(monkeypatch: pytest.MonkeyPatch) -> None:
    @tg.cell(arity=1, state={"h": H})
    def noisy(x: Any, kids: Any) -> Any:
        return 0.5 * kids[0].h + x * tg.random.normal(x.shape) + tg.random.uniform(x.shape)

    chain, x = tg.chain([5, 3]), tg.ones((8, H))
    assert not tg.explain(noisy, chain, x).reason
    tg.manual_seed(1)
    h = tg.unfold(noisy, chain, x).all().h
    monkeypatch.setenv("TINYGRAD_RNN_COMPILE", "0")
    tg.manual_seed(1)
    np.testing.assert_allclose(h.numpy(), tg.unfold(noisy, chain, x).all().h.numpy(), rtol=1e-5)


def test_inputs_may_be_told_by_ids_and_a_width() -> None:
    tree, cell = tg.Structure(3, [0, 1], [2, 2], [0, 1]), nn.NaryTreeLSTMCell(4, 3, 2)
    given, told = (str(tg.explain(cell, tree, ([0, 1], x))) for x in (tg.zeros((2, 4)), 4))
    assert told == given
