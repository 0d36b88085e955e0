"""W1 and W3: training steps of nn.LSTM, nn.GRU and nn.RNN against PyTorch's, on batches of sequences.

A step is forward and backward with the gradients of all weights, for a given gradient of the outputs; x needs none.
Before anything is timed, both sides must agree in outputs and gradients. "GEMMs alone" is what remains when all else
costs nothing: NumPy doing the matrix products of the step, into arrays that are there already.
"""

from __future__ import annotations

import statistics

import common
import gemms
import numpy as np
import torch

import tinygrad_rnn as tg
from tinygrad_rnn import nn

LARGE = [(100, 32, 128, 256), (35, 20, 650, 650), (50, 64, 512, 512), (28, 128, 28, 128)]
SMALL = [(50, 1, 64, 64), (50, 4, 64, 128), (100, 16, 64, 64)]
SHAPES = {"lstm": LARGE + SMALL, "gru": LARGE[:1], "rnn": LARGE[:1]}
LAYERS = {
    "lstm": (nn.LSTM, torch.nn.LSTM, nn.LSTMCell),
    "gru": (nn.GRU, torch.nn.GRU, nn.GRUCell),
    "rnn": (nn.RNN, torch.nn.RNN, nn.RNNCell),
}
TORCH = f"torch {torch.__version__}"


def sides(case: str, shape: common.Shape) -> common.Sides:
    """The sides of a case, after ours and PyTorch's were found to agree."""
    our_layer, torch_layer, cell = LAYERS[case]
    T, B, I, H = shape  # noqa: E741
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((T, B, I), np.float32), rng.standard_normal((T, B, H), np.float32)
    torch.manual_seed(0)
    theirs, ours = torch_layer(I, H), our_layer(I, H)
    ours.load_state_dict(theirs.state_dict())
    our_x, our_dy = tg.tensor(x), tg.tensor(dy)
    torch_x, torch_dy = torch.from_numpy(x), torch.from_numpy(dy)
    steps = {
        "tinygrad_rnn": common.training_step(ours.parameters(), lambda: ours(our_x)[0].backward(our_dy)),
        TORCH: common.training_step(theirs.parameters(), lambda: theirs(torch_x)[0].backward(torch_dy)),
        "GEMMs alone, NumPy": gemms.alone(cell(I, H), tg.chain([T] * B)),
    }
    steps["tinygrad_rnn"]()
    steps[TORCH]()
    common.agree([ours(our_x)[0].numpy()], [theirs(torch_x)[0].detach().numpy()])
    common.agree(common.gradients(ours.parameters()), common.gradients(theirs.parameters()))
    return steps


def main() -> None:
    parser = common.options("W1, W3: nn.LSTM, nn.GRU and nn.RNN against PyTorch's.")
    parser.add_argument("--cases", nargs="+", choices=LAYERS, default=[*LAYERS], metavar="CASE", help="lstm gru rnn")
    parser.add_argument(
        "--shapes", nargs="+", type=common.Shape.parse, metavar="T,B,I,H", help="in place of those of each case"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = common.Table("W1, W3: sequence layers, (T, B, I, H)", "ms", options)
    for case in options.cases:
        ratios = []
        for shape in options.shapes or [common.Shape(*lengths) for lengths in SHAPES[case]]:
            medians = common.alternate(sides(case, shape), options.seconds)
            table.rows(f"{case} {shape}", medians, 1e3)
            if shape in LARGE:
                ratios.append(medians["tinygrad_rnn"] / medians[TORCH])
        if len(ratios) > 1:
            mean = statistics.geometric_mean(ratios)
            print(f"{case}: geometric mean of ours / torch over the {len(ratios)} large shapes {mean:.2f}", flush=True)


if __name__ == "__main__":
    main()
