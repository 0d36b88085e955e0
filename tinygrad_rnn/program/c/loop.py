"""The loop over thin levels, in C: for few rows, what Python costs a level is more than what is computed in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..frame import Frame, address
from ..graph import EDGE, READS, Value
from ..part import Homes, Part, root
from ..plan import LANES, PRODUCT, Section, Step
from .kernel import Kernel, pointer

MOST = 256  # rows of a level; for more, and wide ones, BLAS uses its caches better than our products of packed matrices


class Loop:
    """Prints a part of a plan as `void NAME(char **p, long first, long last, long by)`, over calls first to last.

    Behind the addresses of the Values (see `Kernel`) the table holds what the loop needs beside them.
    """

    most = MOST

    def __init__(
        self, name: str, section: Section, part: Part, homes: Homes, scratch: set[Value], kernels: Mapping[Step, Kernel]
    ) -> None:
        self.name, self.section, self.part, self.homes, self.scratch = name, section, part, homes, scratch
        self.kernels = kernels  # the function of each step of elementwise work
        self.size = len(next(iter((*section.values, *(g for _, g in part.writes)))).graph.values)
        self.extra: list[tuple[Any, ...]] = []
        self.function: Any = None
        self.roots: dict[int, Value] = {}  # the arrays that products and sums read and write
        self.products = [step.values[0] for step in section.steps if step.kind == PRODUCT]
        self.text = self._text()

    def _slot(self, *key: Any) -> int:
        """The place in the table of something."""
        if key not in self.extra:
            self.extra.append(key)
        return 2 * self.size + self.extra.index(key)

    def _place(self, v: Value) -> tuple[str, Value]:
        """(a pointer to the first element of an operand, the array it lies in)."""
        v, column, _ = root(v, self.homes)
        return f"a{v.number} + {column}", v

    def _text(self) -> str:
        size, real = self.size, "REAL"
        lines: list[str] = []
        roots = self.roots = {}
        reads = self.part.reads
        for v in reads:
            n = v.number
            starts, index, state = (self._slot(what, n) for what in ("starts", "index", "state"))
            lines += [
                f"const int64_t s{n} = ((int64_t *)p[{starts}])[c];",
                f"const long long *const i{n} = (long long *)p[{index}] + start;",
                f"p[{n}] = s{n} >= 0 ? p[{state}] + s{n} * {v.width * v.dtype.itemsize} : p[{state}];",
                f"p[{n + size}] = s{n} >= 0 ? NULL : (char *)i{n};",
            ]
        direct = {self._place(v.args[0])[1] for v in self.products}
        for v in reads:
            if v in direct:  # a product reads rows that follow each other
                n = v.number
                lines.append(f"const {real} *a{n} = ({real} *)p[{n}];")
                room = f"({real} *)p[{self._slot('room', n)}]"
                lines.append(
                    f"if (s{n} < 0) {{ gather_rows(n, {v.width}, a{n}, i{n}, {room}, {v.width}); a{n} = {room}; }}"
                )
        work = []
        for step in self.section.steps:
            if step in self.kernels:
                work.append(f"{self.kernels[step].name}(p, start, n);")
            if step.kind == LANES:
                continue
            (v,) = step.values
            left, base = self._place(v.args[0])
            out, into = self._place(v)
            roots.update({root.number: root for root in (base, into) if root.op not in READS})
            packed = f"({real} *)p[{self._slot('packed', v.number)}]"
            k, m = v.args[1].shape
            work.append(f"gemm(n, {k}, {m}, {left}, {base.width}, {packed}, {out}, {into.width});")
        for number, (_, g) in enumerate(self.part.writes):
            total, starts, index = (self._slot(what, number) for what in ("total", "to", "rows"))
            source, base = self._place(g)
            roots[base.number] = base
            work += [
                "{",
                f"    {real} *const into = ({real} *)p[{total}];",
                f"    const int64_t at = ((int64_t *)p[{starts}])[c];",
                f"    const long long *const rows = (long long *)p[{index}] + start;",
                f"    if (at < 0) scatter_add_rows(n, {g.width}, {source}, {base.width}, rows, into);",
                f"    else add_rows(n, {g.width}, {source}, {base.width}, into + at * {g.width});",
                "}",
            ]
        pointers = [pointer(v, self.scratch) + ";" for v in roots.values()]
        body = "\n".join(f"        {line}" for line in (*lines, *pointers, *work))
        at, count = self._slot("at"), self._slot("count")
        return (
            f"void {self.name}(char **p, long first, long last, long by) {{\n"
            f"    for (long c = first; c != last; c += by) {{\n"
            f"        const long start = ((int64_t *)p[{at}])[c], n = ((int64_t *)p[{count}])[c];\n{body}\n    }}\n}}"
        )

    def bind(
        self, frame: Frame, part: Part, states: list[np.ndarray], total: list[np.ndarray], most: int
    ) -> tuple[Callable[[int, int, int], None], Callable[[], None]]:
        """The loop over the arrays of a frame, in calls of `most` rows; and what to call before its next run."""
        room = part.make_room(most)
        table = frame.table(part, room, len(self.extra))
        assert table is not None
        frame.address(table, self.roots.values(), room)
        variant, packed = frame.variant, []
        found: dict[tuple[Any, ...], np.ndarray] = {("at",): variant.starts, ("count",): variant.counts}
        for v in part.reads:
            where, f = frame.where(v)
            found["starts", v.number], found["index", v.number] = where.starts_array, where.index
            found["state", v.number] = states[f]
            if ("room", v.number) in self.extra:
                found["room", v.number] = np.empty((most, *v.shape[1:]), v.dtype)
        for number, (key, _) in enumerate(part.writes):
            where = variant.slots[key[1]]
            found["to", number], found["rows", number] = where.starts_array, where.index
            found["total", number] = total[key[-1]]
        for v in self.products:
            b = frame.arrays[v.args[1].number]
            out = np.empty(self.packed_size(*b.shape) + 16, b.dtype)
            array = out[-address(out) % 64 // out.itemsize :]  # at a multiple of 64 bytes products are faster
            rows, columns = (stride // b.itemsize for stride in b.strides)
            packed.append((address(b), rows, columns, *b.shape, address(array)))
            found["packed", v.number] = array
        extra = [found[key] for key in self.extra]
        table[2 * self.size :] = [address(array) for array in extra]
        held = table, room, extra
        pointer, function, pack = table.ctypes.data, self.function, self.pack

        def renew() -> None:
            frame.address(table, part.moving)
            for weight in packed:
                pack(*weight)

        def run(first: int, last: int, by: int, held: Any = held) -> None:
            function(pointer, first, last, by)

        renew()
        return run, renew

    packed_size: Any
    pack: Any


def possible(section: Section, part: Part, real: str, kernels: Mapping[Step, Kernel], homes: Homes) -> bool:
    """Whether every step of a part can be done in C."""
    if not section.steps or any(v.domain == EDGE for v in section.values):
        return False
    if any(v.op == "each" or v.op == "segments" for v in part.outside) or part.early:
        return False
    read = [step.values[0].args[0] for step in section.steps if step.kind == PRODUCT]
    if any(root(v, homes)[2] for v in (*read, *(g for _, g in part.writes))):
        return False  # a product, or a sum, of one column that serves for all has no such array to read
    for step in section.steps:
        if step.kind == LANES and step not in kernels and not all(v.is_view for v in step.values):
            return False
        if step.kind not in (LANES, PRODUCT):
            return False
        if step.kind == PRODUCT and step.values[0].dtype.str[1:] != real:
            return False
    return True
