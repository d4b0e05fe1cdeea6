"""A random program as plain data: how its inputs are made, its steps, and which values it returns."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from check import run_function
from torch import Tensor

FLOATS = ("float32", "float64", "bfloat16", "float16")
INTEGERS = ("int64", "int32", "uint8")
SPECIAL = (float("nan"), float("inf"), -float("inf"), -0.0, 1e-40, 6e4, -6e4, 1e-7)
MARGIN = 8  # elements behind each input in its storage, which nothing may change

# A layout: the dims from outermost to innermost in memory, the innermost step, more elements than the size of each dim,
# and the storage offset.
LAYOUTS: dict[str, Callable[[list[int]], tuple[list[int], int, int, int]]] = {
    "contiguous": lambda dims: (dims, 1, 0, 0),
    "transposed": lambda dims: (dims[::-1], 1, 0, 0),
    "channels_last": lambda dims: (dims[:1] + dims[2:] + dims[1:2], 1, 0, 0),
    "offset": lambda dims: (dims, 1, 0, 3),
    "sliced": lambda dims: (dims, 2, 0, 1),
    "padded": lambda dims: (dims, 1, 3, 5),
    "expanded": lambda dims: (dims[1:], 1, 0, 0),  # the stride of dim 0 is zero
}


def placed(sizes: tuple[int, ...], layout: str) -> tuple[list[int], int, int]:
    """The strides of a tensor in a layout, its storage offset, and how many elements of the storage it takes."""
    order, step, more, offset = LAYOUTS[layout](list(range(len(sizes))))
    strides = [0] * len(sizes)
    for dim in reversed(order):
        strides[dim] = step
        step *= max(sizes[dim], 1) + more
    return strides, offset, offset + step


@dataclass(frozen=True)
class Input:
    """A tensor that is drawn from the name; fill: normal, special, ones, permutation along the last dim, or below N."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str = "contiguous"
    fill: str = "normal"
    grad: bool = False

    def make(self, wide: bool = False) -> Tensor:
        """The tensor; `wide`: in float64 where it is a float."""
        strides, offset, elements = placed(self.shape, self.layout)
        dtype = getattr(torch, self.dtype)
        storage = torch.full((elements + MARGIN,), 1, dtype=dtype)
        x = storage.as_strided(self.shape, strides, offset)
        for dim, stride in enumerate(strides):
            if stride == 0:
                x = x.narrow(dim, 0, min(self.shape[dim], 1))
        x.copy_(self.values(tuple(x.shape)))
        if wide and dtype.is_floating_point:
            storage = storage.double()
        return storage.as_strided(self.shape, strides, offset).requires_grad_(self.grad)

    def values(self, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator("cpu").manual_seed(zlib.crc32(self.name.encode()))
        if self.fill == "ones":
            return torch.ones(shape)
        if self.fill == "permutation":
            return torch.rand(shape, generator=generator).argsort(-1) if shape else torch.zeros(())
        if self.fill.startswith("below"):
            return torch.randint(int(self.fill.split()[1]), shape, generator=generator)
        if self.dtype == "bool":
            return torch.rand(shape, generator=generator) < 0.5
        if self.dtype in INTEGERS:
            return torch.randint(0 if self.dtype == "uint8" else -9, 10, shape, generator=generator)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        if self.fill == "special":
            which = torch.randint(10 * len(SPECIAL), shape, generator=generator)
            for i, value in enumerate(SPECIAL):
                x = x.masked_fill(which == i, value)
        return x


@dataclass(frozen=True)
class Step:
    """`name = code`, whose fields {0}, {1}, ... are the operands; rounds: the result may differ by rounding."""

    name: str
    code: str
    operands: tuple[str, ...]
    rounds: bool = False

    @property
    def in_place(self) -> bool:
        return "_(" in self.code

    def text(self) -> str:
        return self.code.format(*self.operands)

    def function(self, wide: bool = False) -> Callable[..., Tensor]:
        """The step by itself, a function of its operands."""
        fields = [f"x{i}" for i in range(len(self.operands))]
        code = self.code.format(*fields)
        source = f"def step({', '.join(fields)}): return {widened(code) if wide else code}"
        step: Callable[..., Tensor] = execute(source)["step"]
        return step


@dataclass(frozen=True)
class Program:
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    dynamic: bool = False

    def source(self, wide: bool = False) -> str:
        """The program as a Python function; `wide`: with float64 for all dtypes of floats."""
        lines = [f"def program({', '.join(i.name for i in self.inputs)}):"]
        lines += [f"    {step.name} = {step.text()}" for step in self.steps]
        lines += [f"    return ({''.join(f'{name}, ' for name in self.outputs)})"]
        return "\n".join(widened(line) if wide else line for line in lines) + "\n"

    def function(self, wide: bool = False) -> Callable[..., tuple[Tensor, ...]]:
        program: Callable[..., tuple[Tensor, ...]] = execute(self.source(wide))["program"]
        return program

    def make_inputs(self, wide: bool = False) -> tuple[Tensor, ...]:
        return tuple(i.make(wide) for i in self.inputs)

    def runs(self) -> bool:
        """True if eager runs the program, backward included."""
        try:
            run_function(self.function(), self.make_inputs())
        except (RuntimeError, IndexError, ValueError, TypeError, NameError):
            return False
        return True


def widened(code: str) -> str:
    for name in FLOATS:
        code = code.replace(f"torch.{name}", "torch.float64")
    return code


def execute(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "fuzzed", "torch": torch, "F": torch.nn.functional}
    exec(source, names)
    return names


def storage_of(x: Tensor) -> Tensor:
    """All elements of the memory that `x` is a view of."""
    elements = x.untyped_storage().nbytes() // x.element_size()
    return x.detach().as_strided((elements,), (1,), 0)
