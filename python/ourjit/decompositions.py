"""What AOTAutograd takes apart while it traces: few operators, since each costs trace time.

Everything common stays whole and is expanded by the compiler's own passes. The table is built by name: an operator
that this torch release lacks is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ourjit import (
    composites,
    eager_strides,
    foreach,
    indexing_decompositions,
    interpolation,
    operand_checks,
    random_decompositions,
)
from ourjit._torch import decompositions_by_name, find_overload

# Torch's own decompositions of rare operators.
_LONG_TAIL = """
    aten._unsafe_masked_index.default aten._unsafe_masked_index_put_accumulate.default
    aten._weight_norm_interface.default aten._weight_norm_interface_backward.default
    aten.affine_grid_generator.default aten.block_diag.default aten.channel_shuffle.default aten.col2im.default
    aten.cudnn_batch_norm.default aten.cudnn_batch_norm_backward.default aten.dist.default aten.expand_copy.default
    aten.grid_sampler_2d.default aten.im2col.default aten.isin.Tensor_Tensor aten.linspace.default
    aten.logspace.default aten.margin_ranking_loss.default aten.masked_scatter.default aten.miopen_batch_norm.default
    aten.miopen_batch_norm_backward.default aten.multi_margin_loss.default aten.multilabel_margin_loss_forward.default
    aten.mv.default aten.mvlgamma.default aten.pixel_shuffle.default aten.pixel_unshuffle.default
    aten.prelu_backward.default aten.reflection_pad1d.default aten.reflection_pad2d.default
    aten.reflection_pad3d.default aten.reflection_pad1d_backward.default aten.reflection_pad2d_backward.default
    aten.replication_pad1d.default aten.replication_pad2d.default aten.replication_pad3d.default aten.renorm.default
    aten.rot90.default aten.rrelu_with_noise.default aten.rrelu_with_noise_backward.default
    aten.tensor_split.tensor_indices_or_sections aten.trace.default aten.unfold_copy.default
    aten.diagonal_copy.default aten.narrow_copy.default aten.permute_copy.default aten.squeeze_copy.default
    aten.squeeze_copy.dim aten.squeeze_copy.dims aten.t_copy.default aten.transpose_copy.int aten.unbind_copy.int
    aten.unsqueeze_copy.default aten.split_with_sizes_copy.default aten.tril_indices.default aten.triu_indices.default
    aten.linalg_cross.default aten.linspace.Tensor_Tensor aten.linspace.Tensor_Scalar aten.linspace.Scalar_Tensor
    aten.logspace.Tensor_Tensor aten.logspace.Tensor_Scalar aten.logspace.Scalar_Tensor aten.isin.Tensor_Scalar
    aten._chunk_cat.default
""".split()


def _unless_integers(decomposition: Callable[..., Any]) -> Callable[..., Any]:
    """`decomposition` of a linspace; which integers ATen's kernel rounds to depends on the lanes of a vector."""

    def linspace(*args: Any, dtype: Any = None, **keywords: Any) -> Any:
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            return NotImplemented
        return decomposition(*args, dtype=dtype, **keywords)

    return linspace


def _with_symbolic_factor(take_apart: Callable[..., Any]) -> Callable[..., Any]:
    """`take_apart` where the factor of an operator is a symbolic float, for which only products have a place."""

    def decompose(*args: Any, alpha: Any = 1, value: Any = 1) -> Any:
        factor = alpha if isinstance(alpha, torch.SymFloat) else value
        return take_apart(factor, *args) if isinstance(factor, torch.SymFloat) else NotImplemented

    return decompose


_SYMBOLIC_FACTORS: dict[str, Callable[..., Any]] = {
    "aten.add.Tensor": lambda factor, x, y: x + y * factor,
    "aten.sub.Tensor": lambda factor, x, y: x - y * factor,
    "aten.addcmul.default": lambda factor, x, y, z: x + y * factor * z,
    "aten.addcdiv.default": lambda factor, x, y, z: x + y * factor / z,
}


def _as_tensor_operator(operator: Callable[..., Any]) -> Callable[..., Any]:
    """`operator` for an overload that takes a number, as the backward of others calls it, where that is symbolic."""

    def decompose(x: Any, number: Any) -> Any:
        return operator(x, number) if isinstance(number, torch.SymFloat) else NotImplemented

    return decompose


def _gradient_of_nothing(grad: Any, x: Any, *others: Any) -> Any:
    """The backward of a loss without elements, whose trace would divide by their number."""
    is_empty = any(isinstance(size, int) and size == 0 for size in x.shape)
    return torch.empty_like(x) if is_empty else NotImplemented


_LOSSES_BACKWARD = ("huber_loss_backward", "mse_loss_backward", "smooth_l1_loss_backward")


def decomposition_table(fallback_random: bool) -> dict[Any, Callable[..., Any]]:
    """A table for one trace: random operators in it number their streams from zero."""
    table = foreach.decompositions() | decompositions_by_name(_LONG_TAIL) | interpolation.decompositions()
    table |= composites.mended(table)
    for overload in table:
        if overload.name().startswith("aten::linspace"):
            table[overload] = _unless_integers(table[overload])
    rules = indexing_decompositions.TABLE | operand_checks.decompositions()
    rules |= {name: _with_symbolic_factor(function) for name, function in _SYMBOLIC_FACTORS.items()}
    rules |= {f"aten.{f.__name__}.Scalar": _as_tensor_operator(f) for f in (torch.mul, torch.div)}
    rules |= {f"aten.{name}.default": _gradient_of_nothing for name in _LOSSES_BACKWARD}
    if not fallback_random:
        rules |= random_decompositions.rules()
    for name, function in rules.items():
        if (overload := find_overload(name)) is not None:
            table[overload] = function
    return {overload: eager_strides.laid_out(overload, function) for overload, function in table.items()}
