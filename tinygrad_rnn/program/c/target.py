"""The C target: a source for each plan, with a function for each step of elementwise work."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from .. import numpy_target
from ..graph import Value
from ..plan import Step
from . import toolchain
from .kernel import Kernel, supported
from .prelude import prelude

Arrays = list[Any]
Do = Callable[[Arrays, int, int], None]


class CTarget:
    """Collects the steps of one plan, and compiles them together."""

    name = "C"
    addresses = True

    def __init__(self, real: str) -> None:
        self.real = real
        self.kernels: list[Kernel] = []
        self.functions: list[Any] = []

    def stored(self, step: Step, crossing: set[Value]) -> list[Value]:
        """The Values of a step that need an array: what other steps read."""
        if not supported(step, self.real):
            return numpy_target.stored(step, crossing)
        return [v for v in step.values if v in crossing and not v.is_view]

    def lanes(
        self, step: Step, homes: dict[Value, tuple[Value, int]], stored: set[Value], scratch: set[Value]
    ) -> tuple[Do, set[Value]]:
        """A step of elementwise work, and the Values whose addresses it wants."""
        if not supported(step, self.real) or all(v.is_view for v in step.values):
            return numpy_target.lanes(step, homes, stored, scratch)
        number = len(self.kernels)
        kernel = Kernel(f"k{number}", step, [v for v in step.values if v in stored], homes, scratch)
        self.kernels.append(kernel)
        functions = self.functions
        kernel.text()

        def do(arrays: Arrays, rows: int, start: int) -> None:
            functions[number](arrays[-1], start, rows)

        return do, set(kernel.used.values())

    def source(self) -> str:
        """The whole C source."""
        parts = [prelude({"f4": "float", "f8": "double"}[self.real])]
        for kernel in self.kernels:
            parts.append(kernel.text())
            parts.append(
                f"void {kernel.name}_(char **p, long start, long n) {{ {kernel.name}(p, start, n); }}"
            )
        return "\n\n".join(parts) + "\n"

    def load(self) -> bool:
        """Compile; False if that can't be done."""
        if not self.kernels:
            return True
        library = toolchain.load(self.source())
        if library is None:
            return False
        for kernel in self.kernels:
            function = getattr(library, f"{kernel.name}_")
            function.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
            function.restype = None
            self.functions.append(function)
        return True

