"""What a cell reaches by name, and its twin."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.program.capture import Reach

TABLE = tg.ones((2, 2))


def helper(x: tg.Tensor, w: tg.Tensor) -> tg.Tensor:
    return x @ w @ TABLE


def closure(scale: float, w: tg.Tensor, b: tg.Tensor) -> Any:
    parts = {"b": [b], "scale": (scale,)}

    @tg.cell(arity=1, state={"h": 2})
    def cell(x: Any, kids: Any, again: Any = b) -> Any:
        return partial(helper, w=w)(x) + parts["b"][0] * parts["scale"][0]

    return cell


def test_tensors_are_found_in_closures_defaults_containers_partials_and_globals_once_each() -> None:
    w, b = tg.ones((2, 2)), tg.ones(2)
    found = Reach(closure(0.5, w, b))
    assert {id(t) for t in found.tensors} == {id(w), id(b), id(TABLE)}
    assert len(found.tensors) == 3


def test_tensors_of_modules_are_found_whatever_holds_them() -> None:
    class Net(nn.Module):
        arity = 1

        def __init__(self) -> None:
            self.cells = [nn.GRUCell(2, 2), nn.GRUCell(2, 2)]
            self.by_name = {"a": nn.Linear(2, 2), "again": self.cells[0]}
            self.act = self.by_name["a"].forward

    net = Net()
    assert {id(t) for t in Reach(net).tensors} == {id(t) for t in net.parameters()}


def test_fingerprints_tell_code_constants_and_sharing_apart_not_values() -> None:
    w, b = tg.ones((2, 2)), tg.ones(2)
    usual = Reach(closure(0.5, w, b)).fingerprint
    assert usual is not None
    assert Reach(closure(0.5, tg.zeros((2, 2)), tg.zeros(2))).fingerprint == usual
    assert Reach(closure(1.5, w, b)).fingerprint != usual
    assert Reach(closure(0.5, w, w)).fingerprint != usual, "one Tensor twice is another function of its Tensors"
    for one, other in ((1, 1.0), (0.0, -0.0), (1, True)):
        assert Reach(closure(one, w, b)).fingerprint != Reach(closure(other, w, b)).fingerprint


@pytest.mark.parametrize("change", ["attribute", "new attribute", "deleted", "item", "longer", "method"])
def test_what_has_changed_is_seen(change: str) -> None:
    cell: Any = nn.GRUCell(2, 2)
    cell.extra = [1.0, {"a": tg.ones(1)}]
    reach = Reach(cell)
    assert reach.valid()
    if change == "attribute":
        cell.weight_hh = tg.ones((6, 2))
    elif change == "new attribute":
        cell.other = 1
    elif change == "deleted":
        del cell.reset_after
    elif change == "item":
        cell.extra[1]["a"] = tg.ones(1)
    elif change == "longer":
        cell.extra.append(2.0)
    else:
        cell.step = lambda x, state: state
    assert not reach.valid()


def test_a_twin_has_stand_ins_wherever_the_cell_has_tensors_and_leaves_the_cell_alone() -> None:
    cell: Any = nn.GRUCell(2, 2)
    cell.extra = [cell.weight_hh, {"w": cell.weight_ih}, "kept"]
    reach = Reach(cell)
    made = [tg.zeros(t.shape) for t in reach.tensors]
    twin = reach.twin(cell, made.__getitem__)
    at = {id(t): m for t, m in zip(reach.tensors, made, strict=True)}
    assert twin.cell.weight_hh is at[id(cell.weight_hh)] is twin.cell.extra[0]
    assert twin.cell.extra[1]["w"] is at[id(cell.weight_ih)]
    assert (twin.cell.extra[2], cell.extra[0] is cell.weight_hh) == ("kept", True)
    assert not twin.written()
    twin.cell.extra.append(1)
    assert twin.written()
    assert len(cell.extra) == 3


def test_a_twin_function_reads_its_own_globals_and_closure() -> None:
    w, b = tg.ones((2, 2)), tg.ones(2)
    cell = closure(0.5, w, b)
    reach = Reach(cell)
    twin = reach.twin(cell, lambda i: tg.full(reach.tensors[i].shape, 2.0))
    x = tg.ones((1, 2))
    assert cell.function(x, None).tolist() == [[4.5, 4.5]]
    assert twin.cell.function(x, None).tolist() == [[17.0, 17.0]]  # of all three Tensors
    assert cell.function(x, None).tolist() == [[4.5, 4.5]]
