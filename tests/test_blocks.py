"""Blocks of states: rows are found and read whatever block they lie in; what no place leads to reads initial states."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.blocks import Blocks

State = namedtuple("State", ["h", "c"])


def states(rows: Any) -> State:
    h = tg.asarray(np.asarray(rows, np.float64)[:, None])
    return State(h, h * 10.0)


def blocks_of(sizes: list[int]) -> Blocks:
    blocks, start = Blocks(), 0
    for size in sizes:
        blocks.append(start, states(range(start, start + size)))
        start += size
    return blocks


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    data=st.data(),
    several=st.booleans(),
    field=st.booleans(),
)
def test_a_read_gives_each_row_its_state_or_its_examples_initial_one(
    sizes: list[int], data: st.DataObject, several: bool, field: bool
) -> None:
    rows = np.asarray(data.draw(st.lists(st.integers(-1, sum(sizes) - 1), max_size=6)), np.int64)
    there = np.flatnonzero(rows >= 0)
    blocks = blocks_of(sizes)
    initial = states([-1.0, -2.0, -3.0] if several else [-1.0])
    examples = np.arange(len(rows)) % 3
    places = blocks.places(there * 0, there, rows[there]).get(0, [])
    read = blocks.reader(places, examples, initial)(int(field))
    expected = np.where(rows >= 0, rows, -1 - examples if several else -1) * (10.0 if field else 1.0)
    assert read.tolist() == expected[:, None].tolist()


@pytest.mark.parametrize(
    ("rows", "op"), [([3, 4, 5], None), ([4], "span"), ([3, 5], "gather_rows"), ([2, 3], "gather_blocks")]
)
def test_a_read_costs_what_it_needs(rows: list[int], op: str | None) -> None:
    blocks = Blocks()
    for start in (0, 3):
        block = states([start, start + 1, start + 2])
        blocks.append(start, State(*(value.requires_grad_() for value in block)))
    places = blocks.places(np.zeros(len(rows), np.int64), np.arange(len(rows)), np.asarray(rows)).get(0, [])
    read = blocks.reader(places, np.zeros(len(rows), np.int64), states([-1.0]))(0)
    assert read is blocks.states[1].h if op is None else read.node.row.name == op
