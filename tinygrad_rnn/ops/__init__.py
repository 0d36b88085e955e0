"""The ops: typed functions by the array API's names, each with one row in the table of derivatives.

This module is also the `xp` of a recorded backward pass: the same names as a `Backend`, on Tensors.
"""

from .creation import (  # noqa: I001 - one name a line would be the longest file of the package
    arange, asarray, empty, eye, full, full_like, linspace, one_hot, ones, ones_like, tensor, zeros, zeros_like,
)  # fmt: skip
from .elementwise import (
    abs, acos, acosh, add, asin, asinh, atan, atan2, atanh, bitwise_and, bitwise_invert, bitwise_or, bitwise_xor, ceil,
    clip, cos, cosh, divide, equal, erf, exp, expm1, floor, floor_divide, greater, greater_equal, hypot, isfinite,
    isinf, isnan, less, less_equal, log, log1p, log2, log10, logaddexp, logical_and, logical_not, logical_or,
    logical_xor, maximum, minimum, multiply, negative, not_equal, positive, pow, reciprocal, relu, remainder, round,
    sigmoid, sign, sin, sinh, softplus, sqrt, square, subtract, tan, tanh, to, trunc, where,
)  # fmt: skip
from .indexing import assemble as assemble
from .indexing import gather, gather_rows, scatter_add_rows, segment_max, segment_sum, take_along_axis
from .indexing import gather_blocks as gather_blocks
from .indexing import getitem as getitem
from .indexing import part as part
from .indexing import raw_index as raw_index
from .indexing import span as span
from .product import einsum, linear, matmul, outer, tensordot, vecdot
from .recording import as_tensor as as_tensor
from .recording import astype
from .recording import output as output
from .recording import record as record
from .recording import wrap as wrap
from .reduction import cross_entropy as cross_entropy
from .reduction import (
    all, any, argmax, argmin, argsort, count_nonzero, cumulative_prod, cumulative_sum, log_softmax, logsumexp, max,
    mean, min, prod, softmax, sort, std, sum, var,
)  # fmt: skip
from .shape import (
    broadcast_to, concat, expand_dims, flip, matrix_transpose, moveaxis, permute_dims, repeat, reshape, roll, split,
    squeeze, stack, take, tile, tril, triu, unstack,
)  # fmt: skip

__all__ = [
    "abs", "acos", "acosh", "add", "all", "any", "arange", "argmax", "argmin", "argsort", "asarray", "asin",
    "asinh", "astype", "atan", "atan2", "atanh", "bitwise_and", "bitwise_invert", "bitwise_or", "bitwise_xor",
    "broadcast_to", "ceil", "clip", "concat", "cos", "cosh", "count_nonzero", "cumulative_prod",
    "cumulative_sum", "divide", "einsum", "empty", "equal", "erf", "exp", "expand_dims", "expm1", "eye", "flip",
    "floor", "floor_divide", "full", "full_like", "gather", "gather_rows", "greater", "greater_equal", "hypot",
    "isfinite", "isinf", "isnan", "less", "less_equal", "linear", "linspace", "log", "log1p", "log2", "log10",
    "log_softmax", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "logsumexp",
    "matmul", "matrix_transpose", "max", "maximum", "mean", "min", "minimum", "moveaxis", "multiply",
    "negative", "not_equal", "one_hot", "ones", "ones_like", "outer", "permute_dims", "positive", "pow", "prod",
    "reciprocal", "relu", "remainder", "repeat", "reshape", "roll", "round", "scatter_add_rows", "segment_max",
    "segment_sum", "sigmoid", "sign", "sin", "sinh", "softmax", "softplus", "sort", "split", "sqrt", "square",
    "squeeze", "stack", "std", "subtract", "sum", "take", "take_along_axis", "tan", "tanh", "tensor",
    "tensordot", "tile", "to", "tril", "triu", "trunc", "unstack", "var", "vecdot", "where", "zeros",
    "zeros_like",
]  # fmt: skip
