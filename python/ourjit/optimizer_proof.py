"""Whether a compiled update may run in place of an optimizer's step: does it do the same, and apart for each row?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit.optimizer_trace import Refused


def on_copies(
    run: Callable[[list[Any]], Any], inputs: list[Any], written: Sequence[int]
) -> dict[int, tuple[Tensor, float]]:
    """What `run` writes, by input: (new value, how far other ways to compute it may lead). The inputs stay."""
    copies = list(inputs)
    for i in written:
        copies[i] = torch.empty_strided(
            inputs[i].shape, inputs[i].stride(), dtype=inputs[i].dtype, device=inputs[i].device
        )
        copies[i].copy_(inputs[i])
    run(copies.copy())
    results: dict[int, tuple[Tensor, float]] = {}
    for i in written:
        old, new = inputs[i].detach().double(), copies[i].double()
        rounding = torch.finfo(copies[i].dtype).eps if copies[i].dtype.is_floating_point else 0.0
        bound = 0.0
        if new.numel() > 0:
            bound = (1e-3 * _largest(new - old) + 16 * rounding * _largest(new)).item()
        results[i] = (copies[i], bound)
    return results


def _largest(x: Tensor) -> Tensor:
    """The largest magnitude of what is finite."""
    return torch.where(x.isfinite(), x.abs(), 0).max()


def is_within(value: Tensor, other: Tensor, bound: float) -> bool:
    a, b = value.detach().double(), other.double()
    same = (a == b) | (a.isnan() & b.isnan())
    return bool((same | ((a - b).abs() <= bound)).all())


def check_apart(calls: Iterable[tuple[list[Tensor], Sequence[int]]]) -> None:
    """Of each call the inputs, and which of them it writes.

    Raises Refused if one that is written shares memory with another: rows would not be independent.
    """
    ranges = []
    for inputs, positions in calls:
        written = set(positions)
        for i, x in enumerate(inputs):
            if x.numel() > 0:
                last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
                ranges.append((x.data_ptr(), x.data_ptr() + (last + 1) * x.element_size(), i in written))
    ranges.sort()
    reached, written_to = 0, 0
    for first, last, is_written in ranges:
        if first < (reached if is_written else written_to):
            raise Refused("tensors that it writes to share memory")
        reached = max(reached, last)
        written_to = max(written_to, last if is_written else 0)
