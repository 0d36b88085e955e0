"""A program is its eager unfolding, whatever the cell and whatever the structure: states and all gradients."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tests.program.cells import (
    TOLERANCE,
    WHICH,
    Random,
    Recipe,
    as_function,
    example_context,
    inputs_of,
    recipes,
    run,
    same,
    structures,
)  # fmt: skip
from tinygrad_rnn.native import toolchain


def tensors(*trees: Any) -> list[tg.Tensor]:
    """All Tensors that want a gradient, in tuples and dicts among others."""
    found: list[tg.Tensor] = []
    for tree in trees:
        if isinstance(tree, tg.Tensor):
            found += [tree] if tree.requires_grad else []
        elif tree is not None:
            found += tensors(*(tree.values() if isinstance(tree, dict) else tree))
    return found


def check(recipe: Recipe, structure: tg.Structure, which: str, dtype: str, function: bool, target: str) -> None:
    module = Random(recipe, dtype)
    cell = as_function(module) if function else module
    inputs, rows = inputs_of(structure, which, dtype)
    context = example_context(recipe, structure.examples, dtype)
    by = tensors(rows, context, module.weights.parameters())
    pairs = []
    for i in range(5):  # a run that is over rests, and lends its arrays to the third one and to those after it
        pairs.append([run(cell, structure, inputs, by, how, context=context) for how in (target, "eager")])
        for t in by if i % 2 else [rows]:
            t.data = t.data * 0.8  # another array
    for found, eager in pairs:  # what they gave is theirs, whatever has run since
        same(found, eager, TOLERANCE[dtype])


any_case = st.deferred(
    lambda: st.sampled_from([1, 2, 3, None]).flatmap(lambda arity: st.tuples(recipes(arity), structures(arity), WHICH))
)
slow = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=120, suppress_health_check=slow)
@given(case=any_case, dtype=st.sampled_from(["float64", "float32"]), function=st.booleans())
def test_any_cell_on_any_structure_is_its_eager_unfolding(case: Any, dtype: str, function: bool) -> None:
    check(*case, dtype, function, "NumPy")


@pytest.mark.skipif(toolchain.compiler() is None, reason="no C compiler on this machine")
@settings(max_examples=20, derandomize=True, suppress_health_check=slow, phases=[Phase.explicit, Phase.generate])
@given(case=any_case, dtype=st.sampled_from(["float64", "float32"]), function=st.booleans())
def test_the_c_target_too(case: Any, dtype: str, function: bool) -> None:
    check(*case, dtype, function, "C")
