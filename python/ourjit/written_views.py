"""Views through which a trace can write.

What is written to a view becomes a new value of the whole by the inverse of the view. Torch's inverse of `expand` adds
the difference of new and old elements, and that of `unfold` starts from zeros, in a layout of its own. Other views with
the same elements have inverses that keep what was not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit import _torch

aten = torch.ops.aten

Views = list[tuple[Any, Sequence[Any]]]


def instead_of(function: Any, args: Sequence[Any]) -> Views:
    """The views, one of another, that stand for a call, each with its arguments; none: it stays."""
    if function is aten.expand.default:
        return _expand(*args)
    if function is aten.unfold.default:
        return _unfold(*args)
    return []


def _expand(x: Tensor, sizes: Sequence[Any]) -> Views:
    """One that makes nothing larger; others have elements that share memory, and nobody may write to them."""
    new = len(sizes) - x.dim()
    same = zip((*(1,) * new, *x.shape), sizes, strict=True)
    if not all(_is(size, wanted) or _is(wanted, -1) for size, wanted in same):
        return []
    return [(aten.unsqueeze.default, (0,))] * new or [(aten.alias.default, ())]


def _is(a: Any, b: Any) -> bool:
    return bool(_torch.symbolic_expression(a) == _torch.symbolic_expression(b))


def _unfold(x: Tensor, dim: int, size: Any, step: Any) -> Views:
    """Windows that do not overlap, with elements between them or in a tensor that is not contiguous."""
    if x.dim() == 0 or not all(isinstance(n, int) for n in (*x.shape, size, step)):
        return []
    dim %= x.dim()
    sizes = list(x.shape)
    count = (sizes[dim] - size) // step + 1
    if step < size and count > 1:
        return []
    covered = step == size and sizes[dim] % step == 0
    if covered and all(isinstance(n, int) for n in x.stride()) and x.is_contiguous():
        return []
    last = [*(d for d in range(len(sizes) + 1) if d != dim + 1), dim + 1]
    if count == 1 and not size <= step <= sizes[dim]:
        stretch = max(step // max(size, 1), 1)  # for the stride of the one window, eager's if `size` divides `step`
        return [
            (aten.slice.Tensor, (dim, 0, size)),
            (aten.unsqueeze.default, (dim,)),
            (aten.slice.Tensor, (dim, 0, 1, stretch)),
            (aten.permute.default, (last,)),
        ]
    if count * step > sizes[dim]:  # the last window ends the dim: torch refuses to write to views of such a view
        return _strided_windows(x, dim, count, size, step) if _torch.is_dense(x) else []
    sizes[dim : dim + 1] = [count, step]
    return [
        (aten.slice.Tensor, (dim, 0, count * step)),
        (aten.view.default, (sizes,)),
        (aten.slice.Tensor, (dim + 1, 0, size)),
        (aten.permute.default, (last,)),
    ]


def _strided_windows(x: Tensor, dim: int, count: int, size: int, step: int) -> Views:
    sizes, strides = list(x.shape), list(x.stride())
    sizes[dim] = count
    strides[dim] *= step
    return [(aten.as_strided.default, ([*sizes, size], [*strides, x.stride(dim)]))]
