"""Operands that eager's kernels refuse for their sizes and that torch's shape functions let through.

They are refused while AOTAutograd traces, where sizes not known yet become guards: kernels of ours trust sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ourjit import _torch

aten = torch.ops.aten


class _Rule(NamedTuple):
    operand: int  # the position of the operand
    wanted: Callable[..., Any]  # takes the operator's arguments, returns the sizes that the operand must have
    expands: bool = False  # whether dims of one element, and missing ones, are repeated


def _of_view(view: Callable[..., Tensor]) -> Callable[..., Any]:
    return lambda x, source, *where, **more: view(x, *where, **more).shape


def _rows(x: Tensor, dim: int, index: Tensor, source: Tensor, *_: Any, **__: Any) -> Any:
    sizes = [*x.shape]
    if sizes:
        sizes[dim] = index.numel()
    return sizes


def _indexed(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, *_: Any) -> Any:
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
        return values.shape  # how many masks choose is not known
    return aten.index.Tensor(x, indices).shape


_RULES = {
    "aten.addbmm.default": _Rule(0, lambda _, a, b, **__: (a.shape[1], b.shape[2]), expands=True),
    "aten.addmm.default": _Rule(0, lambda _, a, b, **__: (a.shape[0], b.shape[1]), expands=True),
    "aten.diagonal_scatter.default": _Rule(1, _of_view(aten.diagonal.default)),
    "aten.index_add.default": _Rule(3, _rows),
    "aten.index_put.default": _Rule(2, _indexed, expands=True),
    "aten.index_reduce.default": _Rule(3, _rows),
    "aten.select_scatter.default": _Rule(1, _of_view(aten.select.int)),
    "aten.slice_scatter.default": _Rule(1, _of_view(aten.slice.Tensor)),
}


def _numbers(arguments: Any) -> list[Any]:
    leaves = tree_leaves(arguments)
    return [n for leaf in leaves for n in (leaf.shape if isinstance(leaf, Tensor) else (leaf,))]


def _fits(sizes: Sequence[Any], wanted: Sequence[Any], expands: bool) -> bool:
    if len(sizes) > len(wanted) or (len(sizes) < len(wanted) and not expands):
        return False
    pairs = zip(reversed(sizes), reversed(wanted), strict=False)
    return all(bool(a == b) or (expands and bool(a == 1)) for a, b in pairs)


def _checked(rule: _Rule) -> Callable[..., Any]:
    def decompose(*args: Any, **keywords: Any) -> Any:
        # What lies where data say is checked by ATen's kernels, which then run.
        if _torch.are_known(_numbers((args, keywords))):
            sizes, wanted = args[rule.operand].shape, rule.wanted(*args, **keywords)
            if not _fits(sizes, wanted, rule.expands):
                raise RuntimeError(f"operand {rule.operand} has sizes {[*sizes]} where {[*wanted]} are needed")
        return NotImplemented

    return decompose


def decompositions() -> dict[str, Callable[..., Any]]:
    """By name of an operator: what looks at its operands and leaves it whole."""
    return {name: _checked(rule) for name, rule in _RULES.items()}
