"""W2: the character model of Karpathy's min-char-rnn: one sequence of T = 25 one-hot characters, tanh RNN, H = 100.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)      loss = sum over t of CE(W_o h_t + b_o, target_t)

A step is forward and backward with the gradients of all weights; all sides must agree in them and in the loss first.
PyTorch is there twice, as nn.RNN and as a loop after one product for the inputs of all steps. JAX (lax.scan, jitted) is
a side where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import common
import gemms
import numpy as np
import torch

import tinygrad_rnn as tg
from tinygrad_rnn import nn

jax: ModuleType | None
try:
    import jax
except ImportError:
    jax = None

T, V, H = 25, 65, 100


def with_jax(jax: Any, weights: list[np.ndarray], x: np.ndarray, targets: np.ndarray) -> Callable[[], Any]:
    """The step in JAX: -> (loss, gradients)."""
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # else handing over to its thread costs it 0.1 ms a step
    jnp = jax.numpy
    given, inputs = [jnp.asarray(w) for w in weights], jnp.asarray(x)

    def loss(weights: list[Any]) -> Any:
        w_ih, w_hh, b_ih, b_hh, w_o, b_o = weights

        def step(h: Any, projected: Any) -> tuple[Any, Any]:
            h = jnp.tanh(projected + w_hh @ h)
            return h, h

        _, h = jax.lax.scan(step, jnp.zeros(H), inputs @ w_ih.T + (b_ih + b_hh))
        scores = jax.nn.log_softmax(h @ w_o.T + b_o)
        return -scores[jnp.arange(T), targets].sum()

    step = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(step(given))


def sides() -> common.Sides:
    """All sides, after they were found to agree."""
    rng = np.random.default_rng(0)
    characters, targets = rng.integers(0, V, (2, T))
    x = np.eye(V, dtype=np.float32)[characters]
    torch.manual_seed(0)
    torch_rnn, torch_linear = torch.nn.RNN(V, H), torch.nn.Linear(H, V)
    rnn, linear = nn.RNN(V, H), nn.Linear(H, V)
    rnn.load_state_dict(torch_rnn.state_dict())
    linear.load_state_dict(torch_linear.state_dict())
    ours, theirs = ([*a.parameters(), *b.parameters()] for a, b in ((rnn, linear), (torch_rnn, torch_linear)))
    rows, our_targets = tg.tensor(x), tg.tensor(targets)
    sequence, torch_sequence, torch_targets = tg.tensor(x[:, None]), torch.tensor(x[:, None]), torch.tensor(targets)
    w_ih, w_hh, b_ih, b_hh = rnn.parameters()
    chain = tg.chain([T])

    @tg.cell(arity=1, state={"h": H})
    def cell(x, kids):
        return tg.tanh(tg.linear(x, w_ih, b_ih) + tg.linear(kids[0].h, w_hh, b_hh))

    def our_loss(h: tg.Tensor) -> tg.Tensor:
        return nn.functional.cross_entropy(linear(h), our_targets, reduction="sum")

    def torch_loss(h: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(torch_linear(h), torch_targets, reduction="sum")

    def torch_loop() -> torch.Tensor:
        w_ih, w_hh, b_ih, b_hh = torch_rnn.parameters()
        h, back, outputs = torch.zeros(1, H), w_hh.t(), []
        for projected in torch.addmm(b_ih + b_hh, torch_sequence[:, 0], w_ih.t()).split(1):
            h = torch.tanh(torch.addmm(projected, h, back))
            outputs.append(h)
        return torch.cat(outputs)

    reference = f"torch {torch.__version__}, nn.RNN"
    losses: dict[str, tuple[list[Any], Callable[[], Any]]] = {
        "tinygrad_rnn": (ours, lambda: our_loss(rnn(sequence)[0][:, 0])),
        "tinygrad_rnn, a user's cell": (ours, lambda: our_loss(tg.unfold(cell, chain, rows).all().h)),
        reference: (theirs, lambda: torch_loss(torch_rnn(torch_sequence)[0][:, 0])),
        f"torch {torch.__version__}, a loop": (theirs, lambda: torch_loss(torch_loop())),
    }
    steps: dict[str, common.Step] = {}
    found = {}
    for name, (parameters, loss) in losses.items():
        steps[name] = common.training_step(parameters, lambda loss=loss: loss().backward())
        steps[name]()
        found[name] = [np.asarray(loss().item()), *common.gradients(parameters)]
    if jax is not None:
        name = f"jax {jax.__version__}, lax.scan"
        steps[name] = with_jax(jax, [p.detach().numpy() for p in theirs], x, targets)
        loss, gradients = steps[name]()
        found[name] = [np.asarray(loss), *map(np.asarray, gradients)]
    for values in found.values():
        common.agree(values, found[reference])
    steps["GEMMs alone, NumPy"] = gemms.alone(cell, chain, V, (T, H, V))
    return steps


def main() -> None:
    options = common.options("W2: a character RNN against PyTorch and, where it is installed, JAX.").parse_args()
    torch.set_num_threads(1)
    table = common.Table(f"W2: tanh RNN, T={T} B=1 V={V} H={H}, cross-entropy", "us", options)
    table.rows("", common.alternate(sides(), options.seconds), 1e6)


if __name__ == "__main__":
    main()
