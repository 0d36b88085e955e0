"""Cells that no library has a kernel for, as plain functions: ours unfolded, PyTorch's in a loop over the steps.

    light GRU    z = s(LN(W_z x + U_z h))  n = relu(LN(W_n x + U_n h))                       h' = z h + (1 - z) n
    peephole     f = s(W_f x + U_f h + p c + b_f)  u = tanh(W_u x + U_u h + b_u)             c' = f c + (1 - f) u
    LSTM         o = s(W_o x + U_o h + q c' + b_o)                                           h' = o tanh(c')
    deep         m = tanh(W x + U h + b)  n = tanh(M m + V h + d_n)  g = s(G m + d_g)        h' = g n + (1 - g) h
    transition

Ravanelli et al. 2018, with layer norm in place of batch norm; Gers & Schmidhuber 2000, with the input gate coupled to
the forget gate as in Greff et al. 2017; Pascanu et al. 2014, their DT(S)-RNN, with a gate as in Zilly et al. 2017.

PyTorch's side multiplies the inputs of all steps at once before its loop, as its users do by hand; on ours that is the
library's work. A step is forward and backward with the gradients of all weights, for a given gradient of all h; both
sides must agree in them and in h first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import common
import gemms
import numpy as np
import torch
from torch.nn.functional import layer_norm as torch_layer_norm

import tinygrad_rnn as tg

SHAPES = [common.Shape(100, 32, 128, 256), common.Shape(50, 4, 64, 128)]
State = tuple[torch.Tensor, ...]


def layer_norm(a: tg.Tensor, gain: tg.Tensor, bias: tg.Tensor) -> tg.Tensor:
    centred = a - tg.mean(a, axis=1, keepdims=True)
    return centred / tg.sqrt(tg.mean(centred * centred, axis=1, keepdims=True) + 1e-5) * gain + bias


def light_gru(weights: list[tg.Tensor]) -> tg.Cell:
    w, u, z_gain, z_bias, n_gain, n_bias = weights

    @tg.cell(arity=1, state={"h": z_bias.size})
    def cell(x, kids):
        h = kids[0].h
        z, n = tg.split(x @ w + h @ u, 2, axis=1)
        z = tg.sigmoid(layer_norm(z, z_gain, z_bias))
        n = tg.relu(layer_norm(n, n_gain, n_bias))
        return z * h + (1 - z) * n

    return cell


def torch_light_gru(projected: torch.Tensor, state: State, weights: list[torch.Tensor]) -> State:
    (h,), (_, u, z_gain, z_bias, n_gain, n_bias) = state, weights
    z, n = torch.addmm(projected, h, u).chunk(2, 1)
    z = torch.sigmoid(torch_layer_norm(z, z_bias.shape, z_gain, z_bias))
    n = torch.relu(torch_layer_norm(n, n_bias.shape, n_gain, n_bias))
    return (torch.lerp(n, h, z),)


def peephole_lstm(weights: list[tg.Tensor]) -> tg.Cell:
    w, u, b, p, q = weights

    @tg.cell(arity=1, state={"h": p.size, "c": p.size})
    def cell(x, kids):
        h, c = kids[0].h, kids[0].c
        f, new, o = tg.split(x @ w + h @ u + b, 3, axis=1)
        f = tg.sigmoid(f + p * c)
        c = f * c + (1 - f) * tg.tanh(new)
        return tg.sigmoid(o + q * c) * tg.tanh(c), c

    return cell


def torch_peephole_lstm(projected: torch.Tensor, state: State, weights: list[torch.Tensor]) -> State:
    (h, c), (_, u, _, p, q) = state, weights
    f, new, o = torch.addmm(projected, h, u).chunk(3, 1)
    c = torch.lerp(torch.tanh(new), c, torch.sigmoid(torch.addcmul(f, p, c)))
    return torch.sigmoid(torch.addcmul(o, q, c)) * torch.tanh(c), c


def deep_transition(weights: list[tg.Tensor]) -> tg.Cell:
    w, u, b, v, d = weights  # u is U beside V, v is M beside G
    H = b.size

    @tg.cell(arity=1, state={"h": H})
    def cell(x, kids):
        h = kids[0].h
        of_h = h @ u
        of_m = tg.tanh(x @ w + b + of_h[:, :H]) @ v + d
        n, g = tg.tanh(of_m[:, :H] + of_h[:, H:]), tg.sigmoid(of_m[:, H:])
        return g * n + (1 - g) * h

    return cell


def torch_deep_transition(projected: torch.Tensor, state: State, weights: list[torch.Tensor]) -> State:
    (h,), (_, u, _, v, d) = state, weights
    for_m, for_n = (h @ u).chunk(2, 1)
    n, g = torch.addmm(d, torch.tanh(projected + for_m), v).chunk(2, 1)
    return (torch.lerp(h, torch.tanh(n + for_n), torch.sigmoid(g)),)


class Case(NamedTuple):
    """A cell, ours and PyTorch's, and the shapes of its weights."""

    ours: Callable[[list[tg.Tensor]], tg.Cell]
    torch: Callable[[torch.Tensor, State, list[torch.Tensor]], State]
    shapes: Callable[[int, int], list[tuple[int, ...]]]  # from I and H; the first weight multiplies the inputs
    bias: int | None = None  # the weight that is added to the projected inputs
    gains: tuple[int, ...] = ()  # weights around 1
    fields: int = 1  # of the state


CASES = {
    "light GRU": Case(
        light_gru, torch_light_gru, lambda i, h: [(i, 2 * h), (h, 2 * h), (h,), (h,), (h,), (h,)], gains=(2, 4)
    ),
    "peephole LSTM": Case(
        peephole_lstm,
        torch_peephole_lstm,
        lambda i, h: [(i, 3 * h), (h, 3 * h), (3 * h,), (h,), (h,)],
        bias=2,
        fields=2,
    ),
    "deep transition": Case(
        deep_transition, torch_deep_transition, lambda i, h: [(i, h), (h, 2 * h), (h,), (h, 2 * h), (2 * h,)], bias=2
    ),
}


def unrolled(case: Case, x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """PyTorch's side: x [T, B, I] -> h [T, B, H]."""
    rows = x.flatten(0, 1)
    projected = rows @ weights[0] if case.bias is None else torch.addmm(weights[case.bias], rows, weights[0])
    state: State = (x.new_zeros(x.shape[1], weights[1].shape[0]),) * case.fields
    outputs = []
    for one in projected.unflatten(0, x.shape[:2]).unbind(0):
        state = case.torch(one, state, weights)
        outputs.append(state[0])
    return torch.stack(outputs)


def sides(case: Case, shape: common.Shape) -> common.Sides:
    """All sides, after ours and PyTorch's were found to agree."""
    T, B, I, H = shape  # noqa: E741
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-1, 1, s).astype(np.float32) / np.sqrt(H, dtype=np.float32) for s in case.shapes(I, H)]
    for gain in case.gains:
        arrays[gain] += 1
    x, dy = rng.standard_normal((B, T, I), np.float32), rng.standard_normal((B, T, H), np.float32)
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    rows, our_dy = tg.tensor(x.reshape(-1, I)), tg.tensor(dy.reshape(-1, H))
    torch_x, torch_dy = (torch.tensor(a.swapaxes(0, 1).copy()) for a in (x, dy))
    cell, structure = case.ours(ours), tg.chain([T] * B)

    def our_h() -> tg.Tensor:
        return tg.unfold(cell, structure, rows).all().h

    def torch_h() -> torch.Tensor:
        return unrolled(case, torch_x, theirs)

    steps = {
        "tinygrad_rnn": common.training_step(ours, lambda: our_h().backward(our_dy)),
        f"torch {torch.__version__} eager": common.training_step(theirs, lambda: torch_h().backward(torch_dy)),
    }
    for step in steps.values():
        step()
    steps["GEMMs alone, NumPy"] = gemms.alone(cell, structure, I)
    common.agree([our_h().numpy()], [torch_h().detach().numpy().swapaxes(0, 1).reshape(-1, H)])
    common.agree(common.gradients(ours), common.gradients(theirs), tolerance=1e-3)
    return steps


def main() -> None:
    parser = common.options("Cells without a kernel of their own, against PyTorch's eager mode.")
    parser.add_argument(
        "--shapes", nargs="+", type=common.Shape.parse, default=SHAPES, metavar="T,B,I,H", help="default: two"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = common.Table("cells of one's own on chains, (T, B, I, H)", "ms", options)
    for shape in options.shapes:
        for name, case in CASES.items():
            table.rows(f"{name} {shape}", common.alternate(sides(case, shape), options.seconds), 1e3)


if __name__ == "__main__":
    main()
