"""Decompositions of our own for operators that gather and scatter: embedding bags, padding by repetition, unpooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit._torch import memory_format_of

_SUM, _MEAN, _MAX = range(3)  # modes of an embedding bag


def _wide(x: Tensor) -> torch.dtype:
    """The dtype to add up elements of `x` in."""
    return torch.float32 if x.dtype.itemsize == 2 else x.dtype


def _kept(indices: Tensor, padding_idx: int) -> Tensor:
    """[n, 1]: 1 for indices that count, 0 for padding."""
    return (indices != padding_idx).unsqueeze(1)


def _bag_of_each(indices: Tensor, offsets: Tensor) -> Tensor:
    """[n]: the bag of each index; bag b begins at offsets[b]."""
    n = indices.shape[0]
    begins = indices.new_zeros(n + 1).index_add(0, offsets, torch.ones_like(offsets))
    return begins.cumsum(0)[:n] - 1


def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = _SUM,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int = -1,
) -> Any:
    """Bags [b, d], the bag of each index [n], the number of indices in each bag [b], and the rows that won [b, d]."""
    if sparse:
        return NotImplemented
    indices, offsets = indices.long(), offsets.long()
    count, width = offsets.shape[0] - int(include_last_offset), weight.shape[1]
    bag = _bag_of_each(indices, offsets)
    kept = _kept(indices, padding_idx)
    rows = weight.index_select(0, indices).to(_wide(weight))
    sizes = indices.new_zeros(count).index_add(0, bag, kept.squeeze(1).long())
    if mode == _MAX:
        lines = bag.unsqueeze(1).expand(-1, width)
        lowest = rows.new_full((count, width), -torch.inf)
        best = lowest.scatter_reduce(0, lines, torch.where(kept, rows, -torch.inf), "amax")
        position = torch.arange(indices.shape[0], device=indices.device).unsqueeze(1)
        wins = kept & (rows == best.index_select(0, bag))
        last = indices.new_full((count, width), max(indices.shape[0] - 1, 0))
        first = last.scatter_reduce(0, lines, torch.where(wins, position, indices.shape[0]), "amin")
        filled = (sizes > 0).unsqueeze(1)
        winners = indices.index_select(0, first.flatten()).view(count, width) if indices.shape[0] else first
        return torch.where(filled, best, 0).to(weight.dtype), bag, sizes, torch.where(filled, winners, -1)
    scale = kept.to(rows.dtype)
    if per_sample_weights is not None:
        scale = scale * per_sample_weights.unsqueeze(1)
    out = rows.new_zeros(count, width).index_add(0, bag, torch.where(kept, rows * scale, 0))
    if mode == _MEAN:
        out = out / sizes.clamp(min=1).unsqueeze(1)
    return out.to(weight.dtype), bag, sizes, sizes.new_zeros(count, width)


def embedding_bag_backward(
    grad: Tensor,
    indices: Tensor,
    offsets: Tensor,
    offset2bag: Tensor,
    bag_size: Tensor,
    maximum_indices: Tensor,
    num_weights: int,
    scale_grad_by_freq: bool,
    mode: int,
    sparse: bool,
    per_sample_weights: Tensor | None,
    padding_idx: int = -1,
) -> Any:
    """The gradient of the weights, [num_weights, d]."""
    if sparse:
        return NotImplemented
    indices, wide = indices.long(), grad.to(_wide(grad))
    zeros = wide.new_zeros(num_weights, grad.shape[1])
    if mode == _MAX:
        filled = maximum_indices >= 0
        return zeros.scatter_add(0, maximum_indices.clamp(min=0), torch.where(filled, wide, 0)).to(grad.dtype)
    if mode == _MEAN:
        wide = wide / bag_size.clamp(min=1).unsqueeze(1)
    rows = wide.index_select(0, offset2bag)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    if scale_grad_by_freq:
        times = indices.new_zeros(num_weights).index_add(0, indices, torch.ones_like(indices))
        rows = rows / times.index_select(0, indices).unsqueeze(1)
    return zeros.index_add(0, indices, torch.where(_kept(indices, padding_idx), rows, 0)).to(grad.dtype)


def per_sample_weights_backward(
    grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, offset2bag: Tensor, mode: int, padding_idx: int = -1
) -> Tensor:
    """The gradient of the weights of a bag's samples, [n]."""
    indices = indices.long()
    products = grad.index_select(0, offset2bag).to(_wide(grad)) * weight.index_select(0, indices)
    return torch.where(_kept(indices, padding_idx), products, 0).sum(1).to(grad.dtype)


def replication_pad_backward(grad: Tensor, x: Tensor, padding: Sequence[int]) -> Tensor:
    """Elements that padding repeated, or left out where it is negative, collect their gradients."""
    wide = grad.to(_wide(grad))
    for i in range(len(padding) // 2):
        dim = x.dim() - 1 - i
        source = (torch.arange(grad.shape[dim], device=grad.device) - padding[2 * i]).clamp(0, x.shape[dim] - 1)
        sizes = [*wide.shape[:dim], x.shape[dim], *wide.shape[dim + 1 :]]
        wide = wide.new_zeros(sizes).index_add(dim, source, wide)
    return wide.to(grad.dtype)


def max_unpool2d(x: Tensor, indices: Tensor, output_size: Sequence[int]) -> Tensor:
    """[..., h, w] of zeros, but for the elements of `x`, which go to the places of their plane that `indices` name."""
    height, width = output_size
    planes = x.new_zeros((*x.shape[:-2], height * width))
    filled = planes.scatter(-1, indices.flatten(-2), x.flatten(-2)).unflatten(-1, (height, width))
    # As ATen does, where torch's shape function says that the result is always contiguous.
    return filled.contiguous(memory_format=memory_format_of(x))


TABLE: dict[str, Callable[..., Any]] = {
    "aten._embedding_bag.default": embedding_bag,
    "aten._embedding_bag_forward_only.default": embedding_bag,
    "aten._embedding_bag_backward.default": embedding_bag_backward,
    "aten._embedding_bag_per_sample_weights_backward.default": per_sample_weights_backward,
    "aten.max_unpool2d.default": max_unpool2d,
    "aten.replication_pad1d_backward.default": replication_pad_backward,
    "aten.replication_pad2d_backward.default": replication_pad_backward,
    "aten.replication_pad3d_backward.default": replication_pad_backward,
}
