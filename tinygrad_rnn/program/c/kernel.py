"""A step of elementwise work as one C function, row by row: each element is loaded once, computed in registers and
stored, whatever was sliced and put together in between.

Inside a row the work falls into *phases*: what is folded over the row (a sum, a maximum) is known in the next phase.
Each phase is a few loops, one for each length of the pieces that it computes; a cut or a concat is only another column.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ..graph import PARAMETER, READS, Value
from ..part import Homes, root
from ..plan import Step

TYPES = {"f4": "float", "f8": "double", "b1": "unsigned char"}
FOLDS = frozenset(["sum", "max", "min"])
PIECES = 64  # of a row that are computed apart
WIDEST = 1 << 12  # elements of a row that is folded: what is read again behind the fold lies on the stack
_LIBM = {
    "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "asinh", "acosh", "atanh", "erf", "floor", "ceil", "trunc", "atan2", "hypot", "pow",
}  # fmt: skip
# {s}: the suffix of C's functions of floats.
_C = {
    "positive": "{0}", "negative": "-{0}", "square": "{0} * {0}", "reciprocal": "1 / {0}", "add": "{0} + {1}",
    "subtract": "{0} - {1}", "multiply": "{0} * {1}", "divide": "{0} / {1}", "equal": "{0} == {1}",
    "not_equal": "{0} != {1}", "less": "{0} < {1}", "less_equal": "{0} <= {1}", "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}", "logical_and": "({0} != 0) & ({1} != 0)", "logical_or": "({0} != 0) | ({1} != 0)",
    "logical_xor": "!{0} != !{1}", "logical_not": "!{0}", "bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}", "bitwise_invert": "!{0}", "isfinite": "isfinite({0}) != 0", "isinf": "isinf({0}) != 0",
    "isnan": "isnan({0}) != 0", "where": "real_where({0} != 0, {1}, {2})",
    "sign": "{0} != {0} ? {0} : ({0} > 0) - ({0} < 0)",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}", "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "tanh": "real_tanh({0})", "sigmoid": "real_sigmoid({0})", "exp": "real_exp({0})", "abs": "fabs{s}({0})",
    "round": "rint{s}({0})",
    "logaddexp": "{0} == {1} ? {0} + (REAL)0.6931471805599453 : "
                 "({0} > {1} ? {0} : {1}) + log1p{s}(exp{s}(-fabs{s}({0} - {1})))",
}  # fmt: skip
_OF_BOOLS = {"add": "{0} | {1}", "where": "(({0} != 0) & {1}) | (({0} == 0) & {2})"}


def supported(step: Step, real: str) -> bool:
    """Whether a step can be printed in C that computes in `real`, "f4" or "f8"."""
    return all(_supported(v, real) for v in step.values) and _cuts(step.values) is not None


def _supported(v: Value, real: str) -> bool:
    if any(a.dtype.str[1:] not in (real, "b1") for a in (v, *v.values) if a.op != "random"):
        return False
    if v.op in FOLDS and v.values[0].width > WIDEST:
        return False
    return v.op in _C or v.op in _LIBM or v.op in FOLDS or v.is_view or v.op in ("concat", "clip", "astype")


def in_one_loop(step: Step) -> int:
    """The length of the pieces of a step of one loop; 0: it has several.

    In one loop all is read before anything is stored, so that results may be stored over arguments, piece over piece.
    """
    columns = {b - a for v, cuts in (_cuts(step.values) or {}).items() if v.domain != PARAMETER
               for a, b in pairwise(sorted(cuts))}  # fmt: skip
    return columns.pop() if len(columns) == 1 and not any(v.op in FOLDS for v in step.values) else 0


def pointer(v: Value, scratch: set[Value]) -> str:
    """The declaration of where the rows of an array begin that are computed now."""
    kind = TYPES[v.dtype.str[1:]]
    all_rows = v not in scratch and v.domain != PARAMETER
    return f"{kind} *const a{v.number} = ({kind} *)p[{v.number}]" + (f" + start * {v.width}" if all_rows else "")


def _cuts(values: list[Value]) -> dict[Value, set[int]] | None:
    """The columns at which each Value must be cut, so that pieces of all that belong together are alike.

    None if they are too many: where rows meet themselves a column further, each column would be a piece.
    """
    cuts: dict[Value, set[int]] = {}
    for v in values:
        for a in (v, *v.values):
            cuts.setdefault(a, {0, a.width})
    changed = True
    while changed:
        before = sum(map(len, cuts.values()))
        for v in values:
            if v.op in FOLDS:
                continue
            at = 0
            for a in v.values:
                shift = v.options[1] if v.op == "cut" else -at if v.op == "concat" else 0
                at += a.width
                if a.domain == PARAMETER or (a.width != v.width and v.op not in ("cut", "concat")):
                    continue
                cuts[a] |= {c + shift for c in cuts[v] if 0 <= c + shift <= a.width}
                cuts[v] |= {c - shift for c in cuts[a] if 0 <= c - shift <= v.width}
            if len(cuts[v]) > PIECES:
                return None
        changed = sum(map(len, cuts.values())) > before
    return cuts


class Loop:
    """Statements for all columns of pieces of one length; of length 1: for the row."""

    def __init__(self, length: int, indent: str) -> None:
        self.length, self.indent = length, indent
        self.known: dict[tuple[Value, int], str] = {}
        self.lines: list[str] = []
        self.stores: list[str] = []
        self.sums: list[str] = []  # the variables that it adds to

    def name(self, kind: str, text: str, prefix: str) -> str:
        """A new variable."""
        name = f"{prefix}{len(self.lines)}"
        self.lines.append(f"const {kind} {name} = {text};")
        return name

    def printed(self) -> list[str]:
        """Its lines."""
        sums = ", ".join(dict.fromkeys(self.sums))
        pragma = f"#pragma omp simd reduction(+:{sums})" if sums else "#pragma GCC ivdep"
        body = [self.indent + line for line in (*self.lines, *self.stores)]
        return [pragma, f"        for (long j = 0; j < {self.length}; j++) {{", *body, "        }"]


class Kernel:
    """Prints a step as `static void NAME(char **p, long start, long n)`.

    p[number] is the array of a Value. Of predecessors' states p[number] is where the rows lie and p[number + size]
    which of them are read, or NULL if they follow each other.

    Args:
        step: what is computed.
        stored: the Values of the step that others read, which get an array each.
        homes: where pieces of concats belong.
        scratch: which arrays hold only the rows that are computed now; the others hold all rows of the variant.
    """

    def __init__(self, name: str, step: Step, stored: Iterable[Value], homes: Homes, scratch: set[Value]) -> None:
        self.name, self.homes, self.scratch = name, homes, scratch
        self.size = len(step.values[0].graph.values)
        self.values = step.values
        self.inside = set(step.values)
        self.stored = set(stored)
        self.used: dict[int, Value] = {}  # the arrays it reads and writes, by number
        self.cuts = _cuts(step.values) or {}
        self.phase: dict[Value, int] = {}
        for v in step.values:
            self.phase[v] = max((self.phase[a] + (a.op in FOLDS) for a in v.values if a in self.inside), default=0)
        self.temporary = self._temporary()
        self.text = self._text()

    def _temporary(self) -> set[Value]:
        """Rows computed in one phase and read in a later one, that no array holds."""
        return {
            a
            for v in self.values
            for a in v.values
            if a in self.inside and a.width > 1 and self.phase[a] < self.phase[v] and a not in self.stored
            and not a.is_view and a.op != "concat"
        }  # fmt: skip

    def _text(self) -> str:
        """The function."""
        self.rows = Loop(1, "        ")
        body = [line for phase in range(max(self.phase.values()) + 1) for line in self._phase(phase)]
        declared = [f"    {pointer(v, self.scratch)};" for _, v in sorted(self.used.items())]
        begin = [
            f"        {TYPES[v.dtype.str[1:]]} t{v.number}[{v.width}];"
            for v in sorted(self.temporary, key=lambda v: v.number)
        ]
        for v in self.used.values():
            if v.op in READS:
                n, kind = v.number, TYPES[v.dtype.str[1:]]
                declared.append(f"    const long long *const i{n} = (long long *)p[{n + self.size}];")
                begin.append(f"        const {kind} *const b{n} = a{n} + (i{n} ? i{n}[r] : r) * {v.width};")
        head = [f"static void {self.name}(char **p, long start, long n) {{", *declared]
        return "\n".join([*head, "    for (long r = 0; r < n; r++) {", *begin, *body, "    }", "}"])

    def _phase(self, phase: int) -> list[str]:
        """The lines of a phase: what is computed for the row, then its loops."""
        self.current = phase
        printed = len(self.rows.lines)
        loops: dict[int, Loop] = {}
        mine = [v for v in self.values if self.phase[v] == phase]
        for v in mine:
            if v.op in FOLDS:
                self._fold(v, loops)
        for v in mine:
            for at, length in self._pieces(v) if v in self.stored or v in self.temporary else ():
                if v.op != "concat" or not self._at_home(v, at):
                    loop = self._loop(loops, length)
                    loop.stores.append(f"{self._target(v, at, loop)} = {self._lane(v, at, loop)};")
        lines = [self.rows.indent + line for line in self.rows.lines[printed:]]
        for length, loop in loops.items():
            if length > 1:
                lines += loop.printed()
        # What is stored for the row comes last: it may be a fold, which the loops before it compute.
        lines += [self.rows.indent + line for line in self.rows.stores]
        self.rows.stores = []
        return lines

    def _fold(self, v: Value, loops: dict[int, Loop]) -> None:
        """Fold a row into one number."""
        (a,) = v.values
        start = {"sum": "0", "max": "-INFINITY", "min": "INFINITY"}[v.op]
        self.rows.lines.append(f"{TYPES[v.dtype.str[1:]]} fold{v.number} = {start};")
        better = {"max": ">", "min": "<"}.get(v.op)
        for at, length in self._pieces(a):
            loop = self._loop(loops, length)
            value = self._lane(a, at, loop)
            if better is None:
                loop.sums.append(f"fold{v.number}")
                loop.stores.append(f"fold{v.number} += {value};")
            else:
                new = f"{value} {better} fold{v.number} || {value} != {value}"
                loop.stores.append(f"if ({new}) fold{v.number} = {value};")

    def _loop(self, loops: dict[int, Loop], length: int) -> Loop:
        return loops.setdefault(length, self.rows if length == 1 else Loop(length, "            "))

    def _pieces(self, v: Value) -> list[tuple[int, int]]:
        return [(a, b - a) for a, b in pairwise(sorted(self.cuts[v]))]

    def _at_home(self, concat: Value, at: int) -> bool:
        """Whether the piece at a column of a concat is stored there when it is computed: not where it comes again."""
        first = 0
        for piece in concat.values:
            if at < first + piece.width:
                whole, column = self.homes.get(piece, (None, 0))
                return whole is concat and column == first and piece in self.stored
            first += piece.width
        return False

    # Where things are.
    def _array(self, v: Value, at: int, loop: Loop) -> str:
        """An element of an array that is there: column `at`, and on in a loop."""
        v, shift, one = root(v, self.homes)
        column = str(shift if one else shift + at) + (" + j" if loop.length > 1 and not one else "")
        self.used[v.number] = v
        if v.op in READS:
            return f"b{v.number}[{column}]"
        if v.domain == PARAMETER:
            return f"a{v.number}[{column if v.size > 1 else 0}]"
        return f"a{v.number}[r * {v.width} + {column}]"

    def _target(self, v: Value, at: int, loop: Loop) -> str:
        if v in self.temporary:
            return f"t{v.number}[{at} + j]" if loop.length > 1 else f"t{v.number}[{at}]"
        return self._array(v, at, loop)

    # What they are.
    def _lane(self, v: Value, at: int, loop: Loop) -> str:
        """The name of column `at` (and on) of a Value in a loop."""
        if v.width == 1 and loop is not self.rows:
            return self._lane(v, 0, self.rows)
        found = loop.known.get((v, at))
        if found is None:
            found = loop.known[v, at] = self._compute(v, at, loop)
        return found

    def _compute(self, v: Value, at: int, loop: Loop) -> str:
        prefix = "r" if loop is self.rows else "x"
        kind = TYPES[v.dtype.str[1:]] if v.dtype.kind == "f" else "int32_t"
        if v.op in FOLDS and v in self.inside:
            return f"fold{v.number}"
        if v.is_view and v in self.inside:
            (a,) = v.values
            column = at + v.options[1] if v.op == "cut" else at if a.width == v.width else 0
            return self._lane(a, column, loop)
        if v.op == "concat" and v in self.inside:
            column = at
            for piece in v.values:
                if column < piece.width:
                    return self._lane(piece, column, loop)
                column -= piece.width
        if v not in self.inside or (self.phase[v] < self.current and (v in self.stored or v in self.temporary)):
            return loop.name(kind, self._target(v, at, loop) if v in self.inside else self._array(v, at, loop), prefix)
        args = [
            self._lane(a, at if a.width == v.width else 0, loop) if isinstance(a, Value) else _literal(a, v)
            for a in v.args
        ]
        return loop.name(kind, _expression(v, args, kind), prefix)


def _literal(a: Any, v: Value) -> str:
    """A Python scalar, in the dtype of the array it meets."""
    if a is None:
        return ""
    if math.isnan(a) or math.isinf(a):
        return "NAN" if math.isnan(a) else "INFINITY" if a > 0 else "-INFINITY"
    kinds = [b.dtype for b in v.values if b.dtype.kind == "f"] or [v.dtype]
    return f"({TYPES.get(kinds[0].str[1:], 'int')}){float(a)!r}"


def _expression(v: Value, args: list[str], kind: str) -> str:
    suffix = "f" if v.dtype.str[1:] == "f4" else ""
    if v.dtype.kind == "b" and v.op in _OF_BOOLS:
        return _OF_BOOLS[v.op].format(*args)
    if v.op in _C:
        return _C[v.op].format(*args, s=suffix)
    if v.op in _LIBM:
        return f"{v.op}{suffix}({', '.join(args)})"
    if v.op == "astype":
        return f"({kind}){args[0]}" if v.dtype.kind != "b" else f"{args[0]} != 0"
    low = args[0] if v.args[1] is None else f"({args[0]} < {args[1]} ? {args[1]} : {args[0]})"  # clip
    return low if v.args[2] is None else f"{low} > {args[2]} ? {args[2]} : {low}"
