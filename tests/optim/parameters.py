"""What optimisers move, and the options that they are tried with."""

from __future__ import annotations

from typing import Any

import tinygrad_rnn as tg

OPTIONS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.01}),
    ("RMSprop", {}),
    ("RMSprop", {"alpha": 0.9, "centered": True, "weight_decay": 0.01}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"momentum": 0.5, "centered": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.01}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
]
ids = [f"{name}-{'-'.join(options) or 'defaults'}" for name, options in OPTIONS]


def parameter(values: Any, dtype: str = "float64") -> tg.Tensor:
    return tg.tensor(values, dtype=dtype, requires_grad=True)
