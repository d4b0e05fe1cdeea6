"""What AOTAutograd takes apart while it traces: few operators, since each costs trace time.

Everything common stays whole and is expanded by the compiler's own passes. The table is built by name: an operator
that this torch release lacks is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit import random_ops
from ourjit._torch import decompositions_by_name, find_overload

# Torch's own decompositions of rare operators.
_LONG_TAIL = """
    aten._unsafe_index.Tensor aten._unsafe_masked_index.default aten._unsafe_masked_index_put_accumulate.default
    aten._weight_norm_interface.default aten._weight_norm_interface_backward.default
    aten.addr.default aten.affine_grid_generator.default aten.aminmax.default
    aten.baddbmm.default aten.addmv.default
    aten.binary_cross_entropy_with_logits.default aten.block_diag.default aten.celu.default
    aten.channel_shuffle.default aten.col2im.default aten.count_nonzero.default aten.cudnn_batch_norm.default
    aten.cudnn_batch_norm_backward.default aten.dist.default aten.dot.default
    aten.expand_copy.default aten.eye.default aten.eye.m aten.fill.Scalar aten.fill.Tensor
    aten.frac.default aten.glu.default aten.glu_backward.default aten.grid_sampler_2d.default
    aten.hardshrink.default aten.heaviside.default aten.im2col.default
    aten.index_add.default aten.index_copy.default aten.index_fill.int_Scalar aten.index_fill.int_Tensor
    aten.isin.Tensor_Tensor aten.isneginf.default aten.isposinf.default
    aten.linspace.default aten.log_sigmoid_backward.default aten.log_sigmoid_forward.default
    aten.logaddexp.default aten.logaddexp2.default aten.logit.default aten.logit_backward.default
    aten.logspace.default aten.margin_ranking_loss.default aten.masked_scatter.default
    aten.miopen_batch_norm.default aten.miopen_batch_norm_backward.default
    aten.multi_margin_loss.default aten.multilabel_margin_loss_forward.default aten.mv.default
    aten.mvlgamma.default aten.nan_to_num.default aten.nansum.default
    aten.narrow.default aten.nll_loss2d_forward.default aten.nll_loss2d_backward.default
    aten.norm.Scalar aten.norm.ScalarOpt_dim aten.norm.ScalarOpt_dim_dtype aten.norm.ScalarOpt_dtype
    aten.pixel_shuffle.default aten.pixel_unshuffle.default aten.prelu_backward.default
    aten._prelu_kernel.default aten._prelu_kernel_backward.default
    aten.reflection_pad1d.default aten.reflection_pad2d.default aten.reflection_pad3d.default
    aten.reflection_pad1d_backward.default aten.reflection_pad2d_backward.default
    aten.replication_pad1d.default aten.replication_pad2d.default aten.replication_pad3d.default
    aten.renorm.default aten.roll.default aten.rot90.default
    aten.rrelu_with_noise.default aten.rrelu_with_noise_backward.default
    aten.select_scatter.default aten.slice_scatter.default aten.sgn.default
    aten.sinc.default aten.soft_margin_loss.default aten.soft_margin_loss_backward.default
    aten.softshrink.default aten.softshrink_backward.default aten.hardshrink_backward.default
    aten.special_entr.default aten.special_xlog1py.default
    aten.take.default aten.tensor_split.tensor_indices_or_sections aten.trace.default
    aten.unfold_backward.default aten.unfold_copy.default
    aten.upsample_nearest1d.vec aten.upsample_nearest2d.vec aten.upsample_nearest3d.vec
    aten.upsample_nearest1d.default aten.upsample_nearest2d.default aten.upsample_nearest3d.default
    aten.upsample_bilinear2d.vec aten.upsample_bilinear2d.default aten.upsample_linear1d.default
    aten.vdot.default aten.xlogy.Tensor aten.xlogy.Scalar_Other aten.xlogy.Scalar_Self
    aten.std_mean.correction
""".split()


def decomposition_table(fallback_random: bool) -> dict[Any, Callable[..., Any]]:
    """A table for one trace: random operators in it number their streams from zero."""
    table = decompositions_by_name(_LONG_TAIL)
    if not fallback_random:
        random = _Random()
        for name, function in random.functions():
            overload = find_overload(name)
            if overload is not None:
                table[overload] = function
    return table


def _compiled_on(device: torch.device | str | None) -> torch.device | None:
    """The device (None: torch's default), if there are kernels for it."""
    found = torch.device(device if device is not None else torch.get_default_device())
    return found if found.type in ("cpu", "cuda") else None


class _Random:
    """Random operators as functions of fresh seeds. Each call has a stream of its own, so that none are merged."""

    def __init__(self) -> None:
        self.streams = itertools.count()

    def functions(self) -> Sequence[tuple[str, Callable[..., Any]]]:
        return (
            ("aten.bernoulli.default", self.bernoulli),
            ("aten.bernoulli.p", self.bernoulli_p),
            ("aten.native_dropout.default", self.native_dropout),
            ("aten.rand.default", self.rand),
            ("aten.rand_like.default", self.rand_like),
            ("aten.randn.default", self.randn),
            ("aten.randn_like.default", self.randn_like),
            ("aten.randint.default", self.randint),
            ("aten.randint.low", self.randint_low),
            ("aten.normal_functional.default", self.normal_functional),
            ("aten.uniform.default", self.uniform_functional),
            ("aten.exponential.default", self.exponential),
        )

    def draw(self, operator: Any, size: Sequence[int], dtype: torch.dtype | None, device: Any) -> Any:
        place = _compiled_on(device)
        if place is None:
            return NotImplemented
        return operator(random_ops.rng_seed(next(self.streams), place), size, dtype or torch.get_default_dtype())

    def bernoulli(self, x: Tensor, *, generator: Any = None) -> Any:
        if generator is not None or not _compiled_on(x.device):
            return NotImplemented
        return (self.draw(random_ops.uniform, x.shape, torch.float32, x.device) < x).to(x.dtype)

    def bernoulli_p(self, x: Tensor, p: float = 0.5, *, generator: Any = None) -> Any:
        if generator is not None or not _compiled_on(x.device):
            return NotImplemented
        return (self.draw(random_ops.uniform, x.shape, torch.float32, x.device) < p).to(x.dtype)

    def native_dropout(self, x: Tensor, p: float, train: bool | None) -> Any:
        if not _compiled_on(x.device):
            return NotImplemented
        if train is False or p == 0:
            return x.clone(), torch.ones_like(x, dtype=torch.bool)
        if p == 1:
            return torch.zeros_like(x), torch.zeros_like(x, dtype=torch.bool)
        mask = self.draw(random_ops.uniform, x.shape, torch.float32, x.device) >= p
        return x * mask * (1.0 / (1.0 - p)), mask

    def rand(
        self, size: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
    ) -> Any:
        return self.draw(random_ops.uniform, size, dtype, device)

    def randn(
        self, size: Sequence[int], *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None
    ) -> Any:
        return self.draw(random_ops.normal, size, dtype, device)

    def rand_like(self, x: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return self.draw(random_ops.uniform, x.shape, dtype or x.dtype, device or x.device)

    def randn_like(self, x: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Any:
        return self.draw(random_ops.normal, x.shape, dtype or x.dtype, device or x.device)

    def randint(self, high: int, size: Sequence[int], **keywords: Any) -> Any:
        return self.randint_low(0, high, size, **keywords)

    def randint_low(
        self, low: int, high: int, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any
    ) -> Any:
        if not _compiled_on(device) or not high - low <= 2**53:
            return NotImplemented
        numbers = (self.draw(random_ops.uniform, size, torch.float64, device) * (high - low)).floor() + low
        return numbers.to(dtype or torch.int64)

    def normal_functional(self, x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Any:
        if generator is not None or not _compiled_on(x.device):
            return NotImplemented
        return self.draw(random_ops.normal, x.shape, x.dtype, x.device) * std + mean

    def uniform_functional(self, x: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Any = None) -> Any:
        if generator is not None or not _compiled_on(x.device):
            return NotImplemented
        return self.draw(random_ops.uniform, x.shape, x.dtype, x.device) * (high - low) + low

    def exponential(self, x: Tensor, rate: float = 1.0, *, generator: Any = None) -> Any:
        if generator is not None or not _compiled_on(x.device):
            return NotImplemented
        return torch.log1p(-self.draw(random_ops.uniform, x.shape, x.dtype, x.device)) / -rate
