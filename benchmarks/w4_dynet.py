"""DyNet's side of W4, in a process of its own: `w4_tree_lstm.py --dynet PYTHON` starts it, under that interpreter.

One node at a time, all gates of a node in one product, DyNet's automatic batching. FOLDER/given.npz holds the weights
and the batches; loss and gradients of the first batch go to FOLDER/found.npz, then it serves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import common
import dynet_config
import numpy as np

dynet_config.set(mem="1024", autobatch=1)
import dynet as dy


class Model:
    """The Tree-LSTM, from the weights in the order of PyTorch's side."""

    def __init__(self, embedding: np.ndarray, *weights: np.ndarray) -> None:
        self.collection = dy.ParameterCollection()  # the parameters live as long as it does
        self.embedding = self.collection.lookup_parameters_from_numpy(embedding)
        self.weights = [self.collection.parameters_from_numpy(w) for w in weights]
        self.H = weights[2].shape[1] // 2

    def node(self, word: int, children: list[tuple[dy.Expression, dy.Expression]]) -> tuple[dy.Expression, ...]:
        """h and c of one node: a word without children, or two children."""
        H, (wl, bl, u, b, *_) = self.H, self.weights
        if not children:
            gates = dy.affine_transform([bl, wl, self.embedding[word]])
            open_, update = dy.logistic(dy.pick_range(gates, 0, 2 * H)), dy.tanh(dy.pick_range(gates, 2 * H, 3 * H))
            c = dy.cmult(dy.pick_range(open_, 0, H), update)
        else:
            gates = dy.affine_transform([b, u, dy.concatenate([h for h, _ in children])])
            open_, update = dy.logistic(dy.pick_range(gates, 0, 4 * H)), dy.tanh(dy.pick_range(gates, 4 * H, 5 * H))
            c = dy.cmult(dy.pick_range(open_, 0, H), update)
            for i, (_, below) in enumerate(children, start=2):
                c = c + dy.cmult(dy.pick_range(open_, i * H, (i + 1) * H), below)
        return dy.cmult(dy.pick_range(open_, H, 2 * H), dy.tanh(c)), c

    def step(self, nodes: list[list[int]]) -> float:
        """Forward and backward over a batch's nodes in post-order, (left, right, word, label) each: -> the loss."""
        dy.renew_cg()
        wo, bo = self.weights[4:]
        states: list[tuple[dy.Expression, ...]] = []
        losses = []
        for left, right, word, label in nodes:
            states.append(self.node(word, [] if left < 0 else [states[left], states[right]]))
            losses.append(dy.pickneglogsoftmax(dy.affine_transform([bo, wo, states[-1][0]]), label))
        total = dy.esum(losses)
        loss = total.value()
        total.backward()
        return loss


def main() -> None:
    folder = Path(sys.argv[1])
    with np.load(folder / "given.npz") as given:
        model = Model(*(given[name] for name in given if name.startswith("weight")))
        batches = [given[name].T.tolist() for name in given if name.startswith("batch")]
    loss = model.step(batches[0])
    gradients = [p.grad_as_array() for p in (model.embedding, *model.weights)]
    np.savez(folder / "found.npz", np.asarray(loss), *gradients)
    common.serve(lambda: [model.step(batch) for batch in batches])


if __name__ == "__main__":
    main()
