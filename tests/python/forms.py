"""The forms of kernels: programs for all dtypes, each of which becomes kernels of one form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

DTYPES = (
    torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool,
)  # fmt: skip


def pointwise(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return torch.where(x == y, x * y + x, y * x[:, :1])


def views(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return x[:, ::2].flip(1) + x[:, 1::2] * y[1:31]


def rows(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return (x + x.amax(-1, keepdim=True)) * y * x.sum(-1, keepdim=True)


def columns(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return (x * y).sum(0) + x.amax(0)


def all_elements(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> tuple[Tensor, Tensor]:
    return (x * y).sum(), x.amin()


def prefix_sums(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return (x * y).cumsum(-1)


def transposed(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return (x * y).t().contiguous()


def windows(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return x.unfold(1, 5, 3).amax(-1)


def gathered(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return x[i] * y


def scattered(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return torch.zeros_like(x).index_add(0, i, x[i] * y)


def joined(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> Tensor:
    return torch.cat([x * y, x + y, x[:, :7]], 1)


def split(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> tuple[Tensor, ...]:
    return tuple(part + part[:1] for part in (x * y).split(20, 1))


def table(x: Tensor, y: Tensor, i: Tensor, many: list[Tensor]) -> list[Tensor]:
    return [t * t + t for t in many]


FORMS: tuple[Callable[[Tensor, Tensor, Tensor, list[Tensor]], Any], ...] = (
    pointwise, views, rows, columns, all_elements, prefix_sums, transposed, windows, gathered, scattered, joined, split,
    table,
)  # fmt: skip


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """A matrix, a row, indices of rows, tensors of many lengths. Small whole numbers, which all dtypes have."""
    numbers = [torch.randint(0, 4, shape).to(dtype) for shape in ((37, 60), (60,), *((n,) for n in range(1, 40)))]
    x, y, *many = (t.requires_grad_(dtype.is_floating_point) for t in numbers)
    return x, y, torch.randint(0, 37, (50,)), many
