"""W4: training steps of a binary Tree-LSTM over parse trees, batches of 25, a loss at every node.

    leaf     i, o, u = Wl e + bl                      c = s(i) tanh(u)                       h = s(o) tanh(c)
    compose  i, o, f, g, u = U [hl; hr] + b           c = s(i) tanh(u) + s(f) cl + s(g) cr   h = s(o) tanh(c)
    loss     the cross-entropy of Wo h + bo against the label, summed over the nodes

Tai, Socher & Manning 2015, section 3.2, with a leaf module of its own and the gates in one matrix. PyTorch
does it one node at a time, by height (all nodes of a height at once, from a growing buffer of states) and by
depth (the children of one depth are the whole next depth, laid out in pairs, so that most reads are views).
DyNet, which takes one node at a time and batches by itself, is a side with --dynet, under an interpreter of its own; it
plans in every step, so that its time includes planning in both cases.

A step is forward and backward with the gradients of all weights, row gradients for the embedding. Before
anything is timed, all sides must agree in loss and gradients.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import common
import gemms
import numpy as np
import torch
from torch.nn import functional

import tinygrad_rnn as tg
import trees

E, H, C = 300, 150, 5
BATCH, BATCHES = 25, 8
Pair = tuple[torch.Tensor, torch.Tensor]


class Nodes(NamedTuple):
    """The nodes of a batch of trees in post-order, -1 where there is none: int64 [N] each, roots [trees]."""

    left: np.ndarray
    right: np.ndarray
    word: np.ndarray
    label: np.ndarray
    roots: np.ndarray


def nodes_of(structure: tg.Structure, batch: trees.Batch) -> Nodes:
    left, right, word = (np.full(structure.size, -1) for _ in range(3))
    for slot, child in enumerate((left, right)):
        child[structure.target[structure.slot == slot]] = structure.source[structure.slot == slot]
    word[batch.leaves] = batch.words
    return Nodes(left, right, word, batch.labels, batch.roots)


class HeightPlan(NamedTuple):
    words: torch.Tensor  # of the leaves, which are height 0
    children: list[Pair]  # per height above 0: rows of left and right children
    labels: torch.Tensor  # in the order of the rows


class DepthPlan(NamedTuple):
    words: torch.Tensor  # of all leaves, deepest layer first
    layers: list[tuple[int, int, torch.Tensor | None]]  # inner nodes, leaves, their order
    labels: torch.Tensor  # inner nodes, deepest layer first, then all leaves


def plan_by_height(nodes: Nodes) -> HeightPlan:
    height = np.zeros(len(nodes.left), np.int64)
    inner = np.flatnonzero(nodes.left >= 0)
    left, right = nodes.left[inner], nodes.right[inner]
    while True:
        taller = 1 + np.maximum(height[left], height[right])
        if np.array_equal(taller, height[inner]):
            break
        height[inner] = taller
    order = np.argsort(height, kind="stable")
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    levels = np.split(order, np.flatnonzero(np.diff(height[order])) + 1)
    rows = ((row[nodes.left[ids]], row[nodes.right[ids]]) for ids in levels[1:])
    children = [(torch.from_numpy(left), torch.from_numpy(right)) for left, right in rows]
    return HeightPlan(torch.from_numpy(nodes.word[levels[0]]), children, torch.from_numpy(nodes.label[order]))


def plan_by_depth(nodes: Nodes) -> DepthPlan:
    children = np.stack((nodes.left, nodes.right), 1)
    depths = [nodes.roots]
    while len(below := children[depths[-1][nodes.left[depths[-1]] >= 0]].ravel()):
        depths.append(below)
    layers, inners, leaves = [], [], []
    for ids in reversed(depths):
        is_inner = nodes.left[ids] >= 0
        count = int(is_inner.sum())
        order = np.empty(len(ids), np.int64)
        order[np.concatenate((np.flatnonzero(is_inner), np.flatnonzero(~is_inner)))] = np.arange(len(ids))
        layers.append((count, len(ids) - count, torch.from_numpy(order) if 0 < count < len(ids) else None))
        inners.append(ids[is_inner])
        leaves.append(ids[~is_inner])
    words = nodes.word[np.concatenate(leaves)]
    return DepthPlan(torch.from_numpy(words), layers, torch.from_numpy(nodes.label[np.concatenate(inners + leaves)]))


class Torch(torch.nn.Module):
    """The model in PyTorch, three ways to walk the trees."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(vocabulary, E, sparse=True)
        self.leaf, self.compose = torch.nn.Linear(E, 3 * H), torch.nn.Linear(2 * H, 5 * H)
        self.output = torch.nn.Linear(H, C)

    def leaves(self, words: torch.Tensor) -> Pair:
        i, o, u = self.leaf(self.embedding(words)).chunk(3, 1)
        c = torch.sigmoid(i) * torch.tanh(u)
        return torch.sigmoid(o) * torch.tanh(c), c

    def inner(self, h: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> Pair:
        """h [n, 2H] of both children, their c [n, H] each."""
        gates = self.compose(h)
        i, o, f, g = torch.sigmoid(gates[:, : 4 * H]).chunk(4, 1)
        c = i * torch.tanh(gates[:, 4 * H :]) + f * left + g * right
        return o * torch.tanh(c), c

    def loss(self, h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.output(h), labels, reduction="sum")

    def by_node(self, nodes: Nodes) -> torch.Tensor:
        states: list[Pair] = []
        for left, right, word in zip(nodes.left.tolist(), nodes.right.tolist(), nodes.word.tolist()):
            if left < 0:
                states.append(self.leaves(torch.tensor([word])))
            else:
                (hl, cl), (hr, cr) = states[left], states[right]
                states.append(self.inner(torch.cat((hl, hr), 1), cl, cr))
        return self.loss(torch.cat([h for h, _ in states]), torch.from_numpy(nodes.label))

    def by_height(self, plan: HeightPlan) -> torch.Tensor:
        states = torch.cat(self.leaves(plan.words), 1)
        for left, right in plan.children:
            one, other = states.index_select(0, left), states.index_select(0, right)
            h = torch.cat((one[:, :H], other[:, :H]), 1)
            states = torch.cat((states, torch.cat(self.inner(h, one[:, H:], other[:, H:]), 1)))
        return self.loss(states[:, :H], plan.labels)

    def by_depth(self, plan: DepthPlan) -> torch.Tensor:
        leaf_h, leaf_c = self.leaves(plan.words)
        sizes = [leaves for _, leaves, _ in plan.layers]
        hs = []
        h = c = leaf_h[:0]
        for (inner, leaves, order), lh, lc in zip(plan.layers, leaf_h.split(sizes), leaf_c.split(sizes)):
            if not inner:
                h, c = lh, lc
                continue
            pairs = c.view(inner, 2 * H)
            h, c = self.inner(h.view(inner, 2 * H), pairs[:, :H], pairs[:, H:])
            hs.append(h)
            if leaves:
                h, c = torch.cat((h, lh)).index_select(0, order), torch.cat((c, lc)).index_select(0, order)
        return self.loss(torch.cat([*hs, leaf_h]), plan.labels)

    def gradients(self, loss: torch.Tensor) -> list[np.ndarray]:
        """The loss, then the gradients of all weights."""
        self.step(loss)
        return [np.asarray(loss.item()), *(g.copy() for g in common.gradients(self.parameters()))]

    def step(self, loss: torch.Tensor) -> None:
        for parameter in self.parameters():
            parameter.grad = None
        loss.backward()


class Ours:
    """The same model here, with the weights of `model`: matrices [in, out], the embedding [words, E]."""

    def __init__(self, model: Torch) -> None:
        embedding, *weights = (p.detach().numpy() for p in model.parameters())
        self.embedding = tg.tensor(embedding, requires_grad=True)
        self.weights = [tg.tensor(w, requires_grad=True) for w in weights]
        wl, bl, u, b, self.wo, self.bo = self.weights

        @tg.cell(arity=0, state={"h": H, "c": H})
        def leaf(x, kids):
            gates = tg.linear(x, wl, bl)
            open_ = tg.sigmoid(gates[:, : 2 * H])
            c = open_[:, :H] * tg.tanh(gates[:, 2 * H :])
            return open_[:, H:] * tg.tanh(c), c

        @tg.cell(arity=2, state={"h": H, "c": H})
        def compose(x, kids):
            left, right = kids[0], kids[1]
            gates = tg.linear(tg.concat((left.h, right.h), axis=1), u, b)
            i, o, f, g = tg.split(tg.sigmoid(gates[:, : 4 * H]), 4, axis=1)
            c = i * tg.tanh(gates[:, 4 * H :]) + f * left.c + g * right.c
            return o * tg.tanh(c), c

        self.cells = {0: leaf, 1: compose}

    def loss(self, structure: tg.Structure, batch: trees.Batch) -> tg.Tensor:
        embedded = tg.gather_rows(self.embedding, tg.asarray(batch.words))
        h = tg.unfold(self.cells, structure, (batch.leaves, embedded)).all().h
        scores = tg.log_softmax(tg.linear(h, self.wo, self.bo), axis=1)
        return -tg.sum(tg.gather(scores, tg.asarray(batch.labels[:, None]), axis=1))

    def products(self, structure: tg.Structure, batch: trees.Batch) -> common.Step:
        """The matrix products of a step alone."""
        embedded = tg.gather_rows(self.embedding, tg.asarray(batch.words))
        return gemms.alone(self.cells, structure, (batch.leaves, embedded), (structure.size, H, len(self.bo)))

    def gradients(self, loss: tg.Tensor) -> list[np.ndarray]:
        """The loss, then the gradients of all weights."""
        self.step(loss)
        return [np.asarray(loss.item()), *common.gradients([self.embedding, *self.weights])]

    def step(self, loss: tg.Tensor) -> None:
        for parameter in (self.embedding, *self.weights):
            parameter.grad = None
        loss.backward()


def agree(ours: Ours, peer: Torch, structure: tg.Structure, batch: trees.Batch) -> list[np.ndarray]:
    """The loss and the gradients of the walk by node; AssertionError unless all other ways give the same."""
    nodes = nodes_of(structure, batch)
    expected = peer.gradients(peer.by_node(nodes))
    common.agree(peer.gradients(peer.by_height(plan_by_height(nodes))), expected)
    common.agree(peer.gradients(peer.by_depth(plan_by_depth(nodes))), expected)
    common.agree(ours.gradients(ours.loss(structure, batch)), expected)
    return expected


@contextlib.contextmanager
def with_dynet(
    python: Path | None, peer: Torch, nodes: list[Nodes], expected: list[np.ndarray]
) -> Iterator[common.Sides]:
    """DyNet's side in a process of its own, after it was found to agree; none without an interpreter that has it."""
    if python is None:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        batches = {f"batch {i}": np.stack((n.left, n.right, n.word, n.label)) for i, n in enumerate(nodes)}
        weights = {f"weight {i}": p.detach().numpy() for i, p in enumerate(peer.parameters())}
        np.savez(Path(folder, "given.npz"), **batches, **weights)
        with common.Peer(python, Path(__file__).with_name("w4_dynet.py"), folder) as dynet:
            dynet.turn(0)
            with np.load(Path(folder, "found.npz")) as found:
                common.agree([found[name] for name in found], expected)
            yield {"DyNet, automatic batching": dynet}


def main() -> None:
    parser = common.options("W4: a binary Tree-LSTM on parse trees against PyTorch.")
    parser.add_argument("folder", type=Path, help="holds train.txt, a tree in brackets on each line")
    parser.add_argument("--dynet", type=Path, metavar="PYTHON", help="an interpreter that has DyNet (dynet38)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    everything = trees.read(options.folder / "train.txt")
    vocabulary = trees.Vocabulary.from_trees(everything)
    parts = [everything[i * BATCH : (i + 1) * BATCH] for i in range(BATCHES)]
    batches = [trees.batch(part, vocabulary) for part in parts]
    nodes = [nodes_of(*batch) for batch in batches]
    heights, depths = [plan_by_height(n) for n in nodes], [plan_by_depth(n) for n in nodes]
    peer = Torch(len(vocabulary))
    ours = Ours(peer)
    expected = agree(ours, peer, *batches[0])
    torch_name = f"torch {torch.__version__}"
    sides: common.Sides = {
        "tinygrad_rnn": lambda: [ours.step(ours.loss(*batch)) for batch in batches],
        f"{torch_name} by depth": lambda: [peer.step(peer.by_depth(plan)) for plan in depths],
        f"{torch_name} by height": lambda: [peer.step(peer.by_height(plan)) for plan in heights],
        f"{torch_name} by node": lambda: [peer.step(peer.by_node(n)) for n in nodes],
    }
    products = [ours.products(*batch) for batch in batches]
    sides["GEMMs alone, NumPy"] = lambda: [step() for step in products]
    planning: common.Sides = {
        "tinygrad_rnn": lambda: [ours.step(ours.loss(*trees.batch(part, vocabulary))) for part in parts],
        f"{torch_name} by depth": lambda: [peer.step(peer.by_depth(plan_by_depth(n))) for n in nodes],
        f"{torch_name} by height": lambda: [peer.step(peer.by_height(plan_by_height(n))) for n in nodes],
    }
    table = common.Table(f"W4: Tree-LSTM, E={E} H={H}, batches of {BATCH} trees", "ms per tree", options, "trees/s")
    with with_dynet(options.dynet, peer, nodes, expected) as dynet:
        for case, steps in (("batches planned before", sides), ("planning in the time", planning)):
            medians = common.alternate({**steps, **dynet}, options.seconds)
            table.rows(case, medians, 1e3 / (BATCH * BATCHES), count=BATCH * BATCHES)


if __name__ == "__main__":
    main()
