"""Results with the strides of eager's kernels while AOTAutograd traces.

Torch traces many operators as compositions of others, which lay out their results by copies that eager's kernels do
not make: of 16-bit operands in f32, of operands that are broadcast. The strides are mended where an operator is traced,
so that views of its result are views of what eager has.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit import _torch

Strides = Sequence[Any]
Rule = Callable[[Any, Sequence[Any], Mapping[str, Any]], Strides | None]  # takes a result and the arguments

# Tagged as elementwise, with results of another layout, which tracing knows.
_NOT_ELEMENTWISE = """
    clone.default equal.default masked_fill.Scalar mvlgamma.default pow.Scalar
    rrelu.default
""".split()


def _elementwise(result: Tensor, operands: Sequence[Tensor]) -> Strides | None:
    """As TensorIterator lays out: by the strides of the operands, the first that has an order for two dims deciding."""
    same_shape = all(x.shape == result.shape for x in operands)
    operands = [x for x in operands if x.dim()]
    if result.dim() < 2 or not operands:
        return None
    expanded = operands if same_shape else [x.expand(result.shape) for x in operands]
    return _torch.elementwise_strides(expanded, same_shape)


def _converted(result: Tensor, operands: Sequence[Tensor]) -> list[Tensor]:
    """The operands in the dtype that the kernel takes. Those of the CPU take copies, which are dense."""
    if result.device.type != "cpu":
        return list(operands)
    common = _torch.common_dtype(*operands) if result.dtype == torch.bool else result.dtype
    return [torch.empty_like(x, dtype=common) if x.dtype != common else x for x in operands]


def _tensors(args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Tensor]:
    return [x for x in (*args, *keywords.values()) if isinstance(x, Tensor)]


def _in_order(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return _elementwise(result, _converted(result, _tensors(args, keywords)))


def _second_first(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    first, second, *others = _tensors(args, keywords)
    return _elementwise(result, _converted(result, [second, first, *others]))


def _where(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    condition, *operands = _tensors(args, keywords)
    return _elementwise(result, [condition, *_converted(result, operands)])


def _index(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """Elementwise too: of `self`, that stays at one place along the indexed dims, and of the indices."""
    x, indices = args[0], [*args[1], *(None,) * (args[0].dim() - len(args[1]))]
    given = [i for i in indices if i is not None]
    if any(i.dtype in (torch.bool, torch.uint8) for i in given) or x.dim() != len(indices):
        return None  # masks: the number of elements is only known when it runs
    rank = max(i.dim() for i in given)
    at = [d for d, i in enumerate(indices) if i is not None]
    kept = [d for d, i in enumerate(indices) if i is None]
    before = [d for d in kept if d < at[0]] if at == list(range(at[0], at[-1] + 1)) else []
    after = kept[len(before) :]
    strides = [*map(x.stride, before), *(0,) * rank, *map(x.stride, after)]
    source = torch.empty_strided(result.shape, strides, dtype=x.dtype, device=x.device)
    sizes = result.shape[len(before) : len(before) + rank]
    ends = (1,) * len(before), (1,) * len(after)
    wide = [i.expand(sizes) for i in given]
    wide = [i.reshape(*ends[0], *sizes, *ends[1]).expand(result.shape) for i in wide]
    return _torch.elementwise_strides([source, *wide], same_shape=False)


def _contiguous_on_cpu(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return _contiguous(result, args, keywords) if result.device.type == "cpu" else None


def _contiguous(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return _torch.strides_in_order(result.shape, range(result.dim()))


def _as_first(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """As an empty tensor like the first operand, in the memory format that is asked for."""
    memory_format = keywords.get("memory_format") or torch.preserve_format
    return torch.empty_like(args[0], memory_format=memory_format).stride() if args[0].shape == result.shape else None


def _roll_on_cpu(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """Contiguous if no dims are named, else as a concatenation of parts."""
    named = len(args) > 2 and len(args[2]) > 0
    return (_format_on_cpu(0) if named else _contiguous)(result, args, keywords)


def _format_on_cpu(position: int) -> Rule:
    """Contiguous, or channels last as the operand is."""

    def rule(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
        if result.device.type != "cpu" or result.dim() != args[position].dim():
            return None
        memory_format = _torch.memory_format_of(args[position])
        return torch.empty(result.shape, device=result.device, memory_format=memory_format).stride()

    return rule


_OTHERS: dict[Rule, str] = {
    _in_order: """
        elu_backward.default floor_divide.default hardshrink_backward.default hardsigmoid_backward.default
        hardswish.default hardswish_backward.default hardtanh_backward.default log_sigmoid_backward.default
        mish_backward.default mse_loss.default smooth_l1_loss.default softplus_backward.default
        softshrink_backward.default
    """,
    _second_first: "leaky_relu_backward.default rsub.Tensor threshold_backward.default",
    _where: "where.self",
    _index: "index.Tensor",
    _contiguous: """
        _log_softmax_backward_data.default grid_sampler_2d.default huber_loss_backward.default mse_loss_backward.default
        normal.Tensor_Tensor normal.Tensor_float normal.float_Tensor pow.Scalar rrelu_with_noise.default
        rrelu_with_noise_functional.default smooth_l1_loss_backward.default
    """,
    _contiguous_on_cpu: "log_sigmoid_forward.default",
    _as_first: """
        cauchy.default exponential.default geometric.default huber_loss.default
        log_normal.default normal_functional.default rand_like.default randint_like.default randint_like.low_dtype
        randn_like.default uniform.default
    """,
    _format_on_cpu(0): """
        _batch_norm_no_update.default _batch_norm_with_update.default _batch_norm_with_update_functional.default
        _native_batch_norm_legit.default _native_batch_norm_legit.no_stats _native_batch_norm_legit_functional.default
        _native_batch_norm_legit_no_training.default channel_shuffle.default native_batch_norm.default
    """,
    _format_on_cpu(1): "batch_norm_backward.default native_batch_norm_backward.default",
    _roll_on_cpu: "roll.default",
}
_RULES = {name: rule for rule, names in _OTHERS.items() for name in names.split()}


@functools.cache
def rule_of(overload: Any) -> Rule | None:
    """None: the strides of tracing are those of eager."""
    if not isinstance(overload, torch._ops.OpOverload) or overload.namespace != "aten":
        return None
    name = str(overload).removeprefix("aten.")
    elementwise = torch.Tag.pointwise in overload.tags and not overload._schema.is_mutable
    return _RULES.get(name) or (_in_order if elementwise and name not in _NOT_ELEMENTWISE else None)


def laid_out(overload: Any, decomposition: Callable[..., Any]) -> Callable[..., Any]:
    """`decomposition`, its results with the strides of those of the operator."""
    rule = rule_of(overload)
    if rule is None:
        return decomposition

    def relaid(result: Any, args: Any, keywords: Any) -> Any:
        strides = rule(result, args, keywords) if isinstance(result, Tensor) else None
        if strides is None or all(n == 1 or a == b for n, a, b in zip(result.shape, result.stride(), strides)):
            return result
        order = sorted(range(result.dim()), key=lambda dim: -strides[dim])
        inner = result.permute(order).clone(memory_format=torch.contiguous_format)
        return inner.permute([order.index(dim) for dim in range(result.dim())])

    @functools.wraps(decomposition)
    def decompose(*args: Any, **keywords: Any) -> Any:
        results = decomposition(*args, **keywords)
        if isinstance(results, (tuple, list)):
            return tuple(relaid(result, args, keywords) for result in results)
        return relaid(results, args, keywords)

    return decompose


def kept() -> contextlib.AbstractContextManager[None]:
    """While it lasts, tracing gives results the strides that they have in eager."""
    return _torch.traced_with_strides(rule_of)
