"""Interpolation kept whole while AOTAutograd traces, so that the compiler sees its backward too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ourjit import _torch

_NAMES = """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
    upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d
""".split()


def _sizes(x: Tensor, output_size: Any, scale_factors: Any) -> list[Any]:
    """The sizes of the result behind batch and channels, from those or from the factors."""
    if output_size is not None:
        return list(output_size)
    sizes = x.shape[2:]
    whole = [int(factor) if factor == int(factor) else factor for factor in scale_factors]
    return [torch.sym_int(size * factor) for size, factor in zip(sizes, whole, strict=True)]


def _computed_here(x: Tensor) -> bool:
    """ATen has kernels of their own for linear and cubic interpolation of integers, which torch's parts mimic."""
    return bool(x.dtype.is_floating_point)


def _by_sizes(whole: Any, taken_apart: Callable[..., Any]) -> Callable[..., Any]:
    """`taken_apart`, which takes sizes or factors, by `whole`, which takes sizes and then factors one by one."""

    def interpolate(x: Tensor, output_size: Any, *arguments: Any) -> Any:
        if not _computed_here(x):
            return taken_apart(x, output_size, *arguments)
        *flags, scale_factors = arguments
        sizes = _sizes(x, output_size, scale_factors)
        return whole(x, sizes, *flags, *(scale_factors or [None] * len(sizes)))

    return interpolate


def _backward_meta(grad: Tensor, output_size: Any, input_size: Any, *_: Any) -> Tensor:
    """ATen's own cannot take symbolic sizes."""
    return grad.new_empty(input_size).contiguous(memory_format=_torch.memory_format_of(grad))


@functools.cache
def rules() -> dict[Any, dict[str, Callable[..., Any] | None]]:
    """For `_torch.traced_by`: the operators that take sizes are whole, and those that take factors are made of them.

    Autograd differentiates them as eager does.
    """
    found: dict[Any, dict[str, Callable[..., Any] | None]] = {}
    for name in _NAMES:
        overloads = (f"{name}.default", f"{name}.vec", f"{name}_backward.default")
        whole, by_factor, backward = (_torch.find_overload(f"aten.{overload}") for overload in overloads)
        taken_apart = _torch.composite_rule(by_factor)
        if whole is None or backward is None or taken_apart is None:
            continue
        rule = _by_sizes(whole, taken_apart)
        found[whole] = {"Autograd": None, "CompositeImplicitAutograd": None}
        found[by_factor] = {"Autograd": rule, "CompositeImplicitAutograd": rule}
        found[backward] = {"Meta": _backward_meta}
    return found


def _parts(taken_apart: Callable[..., Any]) -> Callable[..., Any]:
    def interpolate(x: Tensor, *arguments: Any) -> Any:
        return NotImplemented if _computed_here(x) else taken_apart(x, *arguments)

    return interpolate


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Torch's own, for what is not computed here."""
    table = _torch.decompositions_by_name(f"aten.{name}.default" for name in _NAMES)
    return {overload: _parts(taken_apart) for overload, taken_apart in table.items()}
