"""The matrix products of a training step alone: its time if all else cost nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import common
import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.program.explain import Explanation


class Product(NamedTuple):
    """left [n, k] x right [k, m], the rows of left in turns of so many; with `sums`, left.T [k, n] x right [n, m]."""

    left: tuple[int, int]
    right: tuple[int, int]
    turns: list[int]
    sums: bool


def products_of(found: Explanation) -> Iterator[Product]:
    """All products that a program does, forward and backward."""
    for group in found.groups:
        for stage, works in group.stages.items():
            turns = group.calls if stage in ("step", "back") else [group.variant.size]
            for work in works:
                if work.kind == "product":
                    edges = group.variant.edges
                    rows = {"n": sum(turns), "e": edges}
                    left, right = (
                        tuple(rows.get(length) or int(length) for length in shape.split(", "))
                        for shape in re.findall(r"\[(.*?)\]", work.shapes)
                    )
                    of_edges = work.shapes.startswith("[e")
                    sums = not of_edges and not work.shapes.startswith("[n")
                    yield Product(left, right, [edges] if of_edges else turns, sums)


def alone(
    cell: tg.Cell | dict[int, tg.Cell], structure: tg.Structure, inputs: Any = None, linear: Any = None
) -> common.Step:
    """NumPy doing the products of an unfolding, into arrays that are there already.

    Args:
        cell, structure, inputs: as `tg.explain` takes them.
        linear: (rows, inputs, outputs) of an `nn.Linear` that reads all states, with both of its derivatives.
    """
    before = os.environ.get("TINYGRAD_RNN_COMPILE", "")
    os.environ["TINYGRAD_RNN_COMPILE"] = "1"  # cells may be measured eagerly, but only a program tells its products
    with contextlib.redirect_stdout(None):
        explained = tg.explain(cell, structure, inputs)
    products = [*products_of(explained)]
    os.environ["TINYGRAD_RNN_COMPILE"] = before
    if linear is not None:
        n, k, m = linear
        products += [Product((n, k), (k, m), [n], False), Product((n, m), (m, k), [n], False)]
        products += [Product((m, n), (n, k), [n], True)]
    rng = np.random.default_rng(0)
    work = []
    for left, right, turns, sums in products:
        a, b = (rng.standard_normal(s, np.float32) for s in (left[::-1] if sums else left, right))
        out = np.empty((left[0], right[1]), np.float32)
        if sums:
            work.append((a.T, b, out))
            continue
        bounds = [0, *itertools.accumulate(turns)]
        work += [(a[i:j], b, out[i:j]) for i, j in itertools.pairwise(bounds)]

    def step() -> None:
        for a, b, out in work:
            np.matmul(a, b, out=out)

    return step
