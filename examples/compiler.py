"""From a Python cell to C, stage by stage. For readers who know the tape: about ten minutes.

`tg.unfold` calls a cell once for each level of a structure. Where it can, it does not call the cell at all: it has
traced it once, planned the trace, and runs the plan. This page shows each stage for a cell of one's own.

Run it: python examples/compiler.py
"""

import os
import time

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn.program.c.target import CTarget
from tinygrad_rnn.program.graph import ancestors
from tinygrad_rnn.program.machine import Machine

os.environ["TINYGRAD_RNN_COMPILE"] = "1"  # programs, whatever the environment says: "0" and "numpy" come below
tg.manual_seed(0)


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


# 1. The cell: a minimal gated unit (Zhou et al. 2016), a GRU with one gate.
#
# It is a plain function of the rows of one level: x [n, IN] are their inputs, kids[0].h [n, H] the states of their
# predecessors. Axis 0 is opaque to it: it computes each row from the same row, so nobody needs to know what n is.
IN, H = 20, 32
W = (0.2 * tg.random.normal((IN, 2 * H))).requires_grad_()  # of the input: for the gate, and for the new state
U = (0.2 * tg.random.normal((H, H))).requires_grad_()
V = (0.2 * tg.random.normal((H, H))).requires_grad_()


@tg.cell(arity=1, state={"h": H})
def gated(x, kids):
    h = kids[0].h
    gate, new = tg.split(x @ W, 2, axis=1)
    f = tg.sigmoid(gate + h @ U)
    return h + f * (tg.tanh(new + (f * h) @ V) - h)


lengths = list(range(40, 60))
sentences = tg.chain(lengths)  # 20 chains of 40 to 59 vertices
words = tg.random.normal((sentences.size, IN))

# 2. The explanation: what becomes of the cell, in a few words. The rest of this page shows how that comes about.
title("tg.explain(gated, sentences, IN)")
explained = tg.explain(gated, sentences, IN)

# Not every cell can be traced. This one looks at numbers, and a stand-in has none. So it is told why, and what to do:


@tg.cell(arity=1, state={"h": IN})
def stubborn(x, kids):
    return x if float(tg.sum(x)) > 0 else kids[0].h


title("tg.explain(stubborn, sentences, IN)")
tg.explain(stubborn, sentences, IN)

# 3. The trace: the cell is called on stand-ins.
#
# The arrays in the Tensors x and kids[0].h are `Value`s, which have a shape and a dtype but no numbers. Every op that
# meets one writes itself into a graph. W, U and V are stand-ins too. They were found by name, here as variables around
# the function, and will be looked up again in every run: an optimiser may change them.
#
# A vertex without a predecessor reads zeros in its slot. Where few do, as here, these zeros stand in front of all
# states and are read like them. Where many do, as the leaves of trees, they are a *variant* of the cell: it is traced
# once more with that slot empty, and what would be multiplied by zeros is not there.
plan = explained.groups[0].machine.plan
trace = plan.trace

title("The trace: what the cell computes; n rows, however many a level has")
for value in ancestors(trace.states):
    print(value)

# 4. The derivative: the tape walks back over the trace.
#
# The call was recorded like any other. So the tape's own table of derivatives, which computes by NumPy in an ordinary
# backward pass and on Tensors under create_graph=True, computes on Values here. There is no second set of derivatives.
#
# The gradient of a parameter is a sum over rows (`contract`: a product that rows are contracted in).
title("The derivative: gradients by what was read")
forward = set(ancestors(trace.states))
for value in ancestors(trace.gradients.values()):
    if value not in forward:
        print(value)
print()
for (what, *key), gradient in trace.gradients.items():  # of parameter i, or of field f of the state in slot k
    name = explained.parameters[0][key[0]][0] if what == "parameter" else f"kids[{key[0]}].{trace.fields[key[1]]}"
    print(f"the gradient of {name} is %{gradient.number}")

# 5. The plan: what must wait for the loop over the levels, and what need not.
#
# Forward, the products of the inputs need no state: they come *before* the loop, as one product for all vertices. What
# is needed for the next state is the *step*. What nobody recurs on, such as an output beside the state, comes *after*.
#
# Backward it is the same cut: *early* gradients wait for nobody, *back* is the loop in reverse, and *late* are the
# gradients of parameters: a level only leaves its rows behind, then one product adds up all levels.
#
# Inside a section, all elementwise work between two products is one step (`lanes`): it is done in one go.
title("The plan")
names = "before", "step", "after", "early", "back", "late"
for name, section in zip(names, plan.sections):
    for step in section.steps:
        print(f"{name:8}{step.kind:9}{', '.join(f'%{v.number} {v.op}' for v in step.values)}")

# 6. C: each step of elementwise work becomes a function.
#
# An element is loaded once, computed in registers, and stored if another step reads it. Splits and concatenations have
# no code: they are other columns of the same arrays. To read it: p[k] is where the array of %k lies, r is a row and j a
# column; i6, where it is not NULL, names the rows of the predecessors' states %6 (a gather; else they are a slice).
#
# For levels of few rows the loop over the levels is C too (`loop`): there a call from Python costs more than what is
# computed in it. A compiler, if there is one, makes a library of the source, which is kept in a cache folder; without
# one, NumPy runs the same plan.
title("The step in C")
target = CTarget("f4")  # what computes in float32
machine = Machine(plan, target)
for step in plan.step.steps:
    if step in target.kernels:
        print(target.kernels[step].text, "\n")
print(machine.step.loop.text)

# 7. A program must equal the eager unfolding.


def run(how):
    """(the states, the gradients, seconds of CPU time) of one run, forward and backward."""
    os.environ["TINYGRAD_RNN_COMPILE"] = how
    for parameter in (W, U, V):
        parameter.grad = None
    start = time.process_time()
    h = tg.unfold(gated, sentences, words).all().h
    tg.sum(h * h).backward()
    seconds = time.process_time() - start
    return h.numpy(), [parameter.grad.numpy() for parameter in (W, U, V)], seconds


title("Equal, and in what time")
results = {how: [run(how) for _ in range(5)] for how in ("0", "numpy", "1")}
states, gradients, _ = results["0"][-1]
for how, called in (("0", "eagerly"), ("numpy", "as a NumPy program"), ("1", f"by {explained.groups[0].target}")):
    h, g, _ = results[how][-1]
    same = np.allclose(h, states, atol=1e-4) and all(
        np.allclose(a, b, rtol=1e-3, atol=1e-2) for a, b in zip(g, gradients)
    )
    fastest = min(seconds for _, _, seconds in results[how])
    print(f"TINYGRAD_RNN_COMPILE={how:5}  {called:18}  equal: {same}  {fastest * 1000:6.1f} ms")
