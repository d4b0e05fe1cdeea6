"""What a case of an operator is, and short ways to state its operands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.bfloat16)
WIDE = (torch.float32, torch.float64)
SINGLE = (torch.float32,)
INTEGERS = (torch.int64, torch.int32, torch.uint8)


@dataclass(frozen=True)
class Operand:
    """How to make one tensor: drawn between `low` and `high`, or indices below `high`, or bool."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    kind: str = "value"  # value, index, mask
    layout: str = "contiguous"  # contiguous, transposed, sliced, channels_last
    dtype: torch.dtype | None = None

    def make(self, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        shape = self.shape
        if self.layout == "transposed":
            shape = tuple(reversed(shape))
        if self.layout == "sliced":
            shape = (*shape[:-1], 2 * shape[-1])
        unit = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
        x = unit * (self.high - self.low) + self.low
        if self.kind == "mask":
            x = unit < 0.5
        elif self.kind == "index":
            x = x.floor().long()
        else:
            wanted = self.dtype or dtype
            x = (x * (1 if wanted.is_floating_point else 5)).to(wanted)
        if self.layout == "transposed":
            x = x.permute(*reversed(range(x.dim())))
        if self.layout == "sliced":
            x = x[..., ::2]
        if self.layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x


@dataclass(frozen=True)
class Case:
    name: str
    function: Callable[..., Any]
    groups: Sequence[Sequence[Operand]]
    dtypes: Sequence[torch.dtype] = FLOATS
    gradient: bool = True
    exact: bool = False  # results must be equal to eager's; gradients add up in any order

    def operands(self, dtype: torch.dtype, seed: int = 0) -> list[list[Tensor]]:
        generator = torch.Generator("cpu").manual_seed(seed)
        return [[o.make(dtype, generator) for o in group] for group in self.groups]

    def apply(self, groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        results: list[Tensor] = []
        for group in groups:
            result = self.function(*group)
            results.extend([result] if isinstance(result, Tensor) else result)
        return results


SHAPES = ((), (1,), (5,), (3, 33), (0, 4), (2, 1, 17))


def one(low: float = -2.0, high: float = 2.0) -> list[list[Operand]]:
    """Groups of one operand."""
    groups = [[Operand(shape, low, high)] for shape in SHAPES]
    groups.append([Operand((6, 9), low, high, layout="transposed")])
    groups.append([Operand((4, 5), low, high, layout="sliced")])
    return groups


def two(
    low: float = -2.0, high: float = 2.0, low2: float | None = None, high2: float | None = None
) -> list[list[Operand]]:
    """Groups of two operands that broadcast."""
    low2, high2 = (low if low2 is None else low2), (high if high2 is None else high2)
    pairs = (
        ((3, 33), (3, 33)),
        ((3, 33), (33,)),
        ((4, 1), (1, 5)),
        ((), (2, 3)),
        ((2, 3), ()),
        ((0, 3), (1, 3)),
        ((), ()),
    )
    groups = [[Operand(a, low, high), Operand(b, low2, high2)] for a, b in pairs]
    groups.append([Operand((6, 9), low, high, layout="transposed"), Operand((6, 9), low2, high2)])
    return groups


def of(*groups: Sequence[Operand | tuple[int, ...]]) -> list[list[Operand]]:
    """Groups given by shapes or operands."""
    return [[o if isinstance(o, Operand) else Operand(o) for o in group] for group in groups]


def index(shape: tuple[int, ...], high: int, low: int = 0) -> Operand:
    return Operand(shape, low, high, kind="index")


def mask(shape: tuple[int, ...]) -> Operand:
    return Operand(shape, kind="mask")


class Cases(list[Case]):
    """The cases of one family of operators."""

    def add(
        self, name: str, function: Callable[..., Any], groups: Sequence[Sequence[Operand]], **keywords: Any
    ) -> None:
        self.append(Case(name, function, groups, **keywords))
