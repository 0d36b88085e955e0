"""The C target: a source for each plan, with a function for each step of elementwise work."""

from __future__ import annotations

import ctypes
from typing import Any

from ...native import toolchain
from ...native.prelude import prelude
from .. import numpy_target
from ..graph import Value
from ..part import Arrays, Do, Homes, Part
from ..plan import Section, Step
from .kernel import Kernel, in_one_loop, supported
from .loop import Loop, possible


class CTarget:
    """Collects the steps of one plan, and compiles them together."""

    name = "C"
    addresses = True

    def __init__(self, real: str) -> None:
        self.real = real
        self.kernels: dict[Step, Kernel] = {}
        self.functions: dict[str, Any] = {}
        self.loops: list[Loop] = []

    def stored(self, step: Step, crossing: set[Value]) -> list[Value]:
        """The Values of a step that need an array: what other steps read."""
        if not supported(step, self.real):
            return numpy_target.stored(step, crossing)
        return [v for v in step.values if v in crossing and not v.is_view]

    def at_once(self, step: Step) -> int:
        """The length of the pieces that a step may store over what it reads; 0: it may not."""
        return in_one_loop(step) if supported(step, self.real) else 0

    def lanes(self, step: Step, homes: Homes, stored: set[Value], scratch: set[Value]) -> tuple[Do, set[Value]]:
        """A step of elementwise work, and the Values whose addresses it wants."""
        if not supported(step, self.real) or all(v.is_view for v in step.values):
            return numpy_target.lanes(step, homes, stored, scratch)
        kernel = Kernel(f"k{len(self.kernels)}", step, [v for v in step.values if v in stored], homes, scratch)
        self.kernels[step] = kernel
        functions, name = self.functions, kernel.name

        def do(arrays: Arrays, rows: int, start: int) -> None:
            functions[name](arrays[-1], start, rows)

        return do, set(kernel.used.values())

    def loop(self, section: Section, part: Part, homes: Homes, scratch: set[Value]) -> Loop | None:
        """The loop over thin levels, if every step of it can be done in C."""
        if not possible(section, part, self.real, self.kernels, homes):
            return None
        loop = Loop(f"loop{len(self.loops)}", section, part, homes, scratch, self.kernels)
        self.loops.append(loop)
        return loop

    def source(self) -> str:
        """The whole C source."""
        parts = [prelude({"f4": "float", "f8": "double"}[self.real])]
        for kernel in self.kernels.values():
            parts.append(kernel.text)
            parts.append(f"void {kernel.name}_(char **p, long start, long n) {{ {kernel.name}(p, start, n); }}")
        parts += [loop.text for loop in self.loops]
        if self.loops:
            parts.append(_EXPORTS)
        return "\n\n".join(parts) + "\n"

    def load(self) -> bool:
        """Compile; False if that can't be done."""
        if not self.kernels and not self.loops:
            return True
        library = toolchain.load(self.source())
        if library is None:
            return False
        for kernel in self.kernels.values():
            self.functions[kernel.name] = _typed(getattr(library, f"{kernel.name}_"), "pll")
        for loop in self.loops:
            loop.function = _typed(getattr(library, loop.name), "plll")
            loop.packed_size = _typed(library.packed_size_, "ll")
            loop.packed_size.restype = ctypes.c_long
            loop.pack = _typed(library.pack_, "pllllp")
        return True


def _typed(function: Any, kinds: str) -> Any:
    function.argtypes = [ctypes.c_void_p if kind == "p" else ctypes.c_long for kind in kinds]
    function.restype = None
    return function


_EXPORTS = """long packed_size_(long k, long m) { return packed_size(k, m); }

void pack_(const REAL *b, long rs, long cs, long k, long m, REAL *out) { pack(b, rs, cs, k, m, out); }"""
