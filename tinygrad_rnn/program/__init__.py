"""Programs: cells traced once and compiled, with the same results as the eager loop over the levels.

Follow one cell from Python to C through the rooms, in this order (`examples/compiler.py` prints each stage):

capture   what the cell reaches by name, and a twin of it whose Tensors are stand-ins
graph     a `Value` for each array that the twin computes
tracer    the `xp` of Values: the ops, and the table of derivatives, compute with it
trace     one call of the twin, and the tape's walk back through it, as one graph
merge     the graph made anew, with fewer products where they share an operand
plan      what is computed once, over all rows at once, and level by level; what is kept
layout    which vertices are computed alike, in which order, and where the states they read lie
machine   a plan made ready for a target, and its arrays in one run
run       forward and backward over all levels
compiled  an unfolding run as a program, and its one node on the tape
explain   all of it told in words

Targets bring how elementwise steps are done: `numpy_target` ufunc by ufunc, `c` by functions that it prints, and with
them whole loops over the levels. `meaning` says what each op computes; it serves whatever no target looks into.
"""
