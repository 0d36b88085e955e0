"""A cell with attention: an encoder reads a word, a decoder spells it backwards and looks back at every letter.

The cell is a module. What all steps of an example look at, here the encoder's states, is its context: at each step the
scores of all letters are a softmax of products with the state, and the letters' states are summed by them (dot-product
attention, Luong et al. 2015, arXiv 1508.04025).

Run it: python examples/attention.py
"""

from typing import NamedTuple

import tinygrad_rnn as tg
from tinygrad_rnn import nn

LETTERS, LENGTH, H, BATCH = 12, 8, 48, 64


class Hidden(NamedTuple):
    h: tg.Tensor
    weights: tg.Tensor  # where it looked, [n, LENGTH]: a part of the state, so that it can be seen afterwards


class Speller(nn.Module):
    arity = 1

    def __init__(self) -> None:
        self.step = nn.GRUCell(LETTERS, H)
        self.mix = nn.Linear(2 * H, H)

    def initial(self) -> Hidden:
        return Hidden(tg.zeros((1, H)), tg.zeros((1, LENGTH)))

    def forward(self, x: tg.Tensor, kids: tg.Kids, letters: tg.Tensor) -> Hidden:
        h = self.step.step(x, kids[0]).h
        weights = tg.softmax(tg.einsum("nth,nh->nt", letters, h), axis=1)
        read = tg.einsum("nt,nth->nh", weights, letters)
        return Hidden(tg.tanh(self.mix(tg.concat([read, h], axis=1))), weights)


tg.manual_seed(0)
encoder, speller, scores = nn.GRU(LETTERS, H, batch_first=True), Speller(), nn.Linear(H, LETTERS)
parameters = [p for module in (encoder, speller, scores) for p in module.parameters()]
optimizer = tg.optim.Adam(parameters, lr=0.005)
chains = tg.chain([LENGTH] * BATCH)  # vertices example after example, as rows of [BATCH * LENGTH, ...]


def run(words: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, Hidden]:
    """Words [BATCH, LENGTH] -> (the scores of each letter spelt, the letters that are right, the decoder's states)."""
    backwards = tg.flip(words, axis=1)
    before = tg.one_hot(tg.concat([tg.zeros((BATCH, 1), dtype="int64"), backwards[:, :-1]], axis=1), LETTERS)
    letters, last = encoder(tg.one_hot(words, LETTERS))
    begin = Hidden(last[0], tg.zeros((BATCH, LENGTH)))
    states = tg.unfold(speller, chains, before.reshape((-1, LETTERS)), letters, initial=begin).all()
    return scores(states.h), backwards.reshape(-1), states


for step in range(301):
    logits, right, states = run(tg.random.integers((BATCH, LENGTH), 0, LETTERS))
    loss = nn.functional.cross_entropy(logits, right)
    if step % 100 == 0:
        print(f"step {step:3}  loss {loss.item():.3f}  right {(logits.argmax(axis=1) == right).mean().item():4.0%}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

print("\nwhere it looks, one line for each letter it spells:")
for row in states.weights[:LENGTH].tolist():
    print("  " + " ".join("#" if w > 0.5 else "+" if w > 0.2 else "." for w in row))
