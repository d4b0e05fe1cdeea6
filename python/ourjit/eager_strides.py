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

from ourjit import _torch, written_views

Strides = Sequence[Any]
Rule = Callable[[Any, Sequence[Any], Mapping[str, Any]], Strides | None]  # takes a result and the arguments

# Tagged as elementwise, with results of another layout, which tracing knows.
_NOT_ELEMENTWISE = """
    clone.default equal.default masked_fill.Scalar mvlgamma.default pow.Scalar
    rrelu.default
""".split()


def in_order(sizes: Sequence[Any], order: Sequence[int]) -> list[Any]:
    """The strides of a dense tensor whose dims lie in memory in this order, the innermost first."""
    strides: list[Any] = [1] * len(sizes)
    step: Any = 1
    for dim in order:
        strides[dim] = step
        if not isinstance(sizes[dim], int) or sizes[dim] > 1:
            step = step * sizes[dim]
    return strides


def contiguous(sizes: Sequence[Any]) -> Strides:
    return in_order(sizes, range(len(sizes) - 1, -1, -1))


def _order(sizes: Sequence[Any], operands: Sequence[Strides]) -> list[int]:
    """The dims from the innermost on: by the strides of the first operand that moves along both of two."""

    def compare(a: int, b: int) -> int:
        for strides in operands:
            if strides[a] == 0 or strides[b] == 0:
                continue
            if strides[a] != strides[b]:
                return 1 if strides[a] > strides[b] else -1
            if sizes[a] > sizes[b]:
                return 1
        return 0

    order = list(range(len(sizes) - 1, -1, -1))
    # An insertion sort like TensorIterator's: not every two dims have an order, and the result depends on the way.
    for i in range(1, len(order)):
        at = i
        for other in range(i - 1, -1, -1):
            found = compare(order[other], order[at])
            if found > 0:
                order[other], order[at] = order[at], order[other]
                at = other
            elif found < 0:
                break
    return order


def _expanded(own: Sequence[Any], strides: Strides, sizes: Sequence[Any]) -> list[Any]:
    """The strides of a tensor of sizes `own` that is broadcast to `sizes`."""
    missing = len(sizes) - len(own)
    dims = zip(own, sizes[missing:], strides, strict=True)
    return [*(0,) * missing, *(0 if n == 1 and size != 1 else stride for n, size, stride in dims)]


def _has_sizes(x: Tensor, sizes: Sequence[Any]) -> bool:
    """Of tensors of other ranks no two sizes are compared: that would be a guard on a symbolic one."""
    return x.dim() == len(sizes) and bool(x.shape == sizes)


def _elementwise(result: Tensor, operands: Sequence[Tensor], *, beside_number: bool = False) -> Strides | None:
    """As TensorIterator lays out. `beside_number`: one operand more is a number, which is a tensor without dims there.

    Strides of single elements count: they may decide how a later operator lays out its result.
    """
    sizes = result.shape
    if len(sizes) < 2 or not operands:
        return None
    first: Strides = operands[0].stride()
    if not beside_number and all(_has_sizes(x, sizes) for x in operands):
        if all(x.is_contiguous() for x in operands):
            return contiguous(sizes)
        if len(sizes) == 4 and all(x.is_contiguous(memory_format=torch.channels_last) for x in operands):
            return in_order(sizes, (1, 3, 2, 0))
        if all(x.stride() == first for x in operands) and _torch.is_dense(operands[0]):
            return first
    return in_order(sizes, _order(sizes, [_expanded(x.shape, x.stride(), sizes) for x in operands]))


def _converted(result: Tensor, operands: Sequence[Tensor]) -> list[Tensor]:
    """The operands in the dtype that the kernel takes. Those of the CPU take copies, which are dense."""
    if result.device.type != "cpu" or all(x.dtype == result.dtype for x in operands):
        return list(operands)
    common = _torch.common_dtype(*operands) if result.dtype == torch.bool else result.dtype
    return [_copied(x) if x.dtype != common else x for x in operands]


def _copied(x: Tensor) -> Tensor:
    """With the strides of a copy of `x` in another dtype: its own, those of single elements too, if it is dense."""
    return x if _torch.is_dense(x) else torch.empty_like(x)


def _tensors(args: Sequence[Any], keywords: Mapping[str, Any]) -> list[Tensor]:
    return [x for x in (*args, *keywords.values()) if isinstance(x, Tensor)]


def _in_order(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return _elementwise(result, _converted(result, _tensors(args, keywords)))


def _binary(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    operands = _tensors(args, keywords)
    return _elementwise(result, _converted(result, operands), beside_number=len(operands) < 2)


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
    sizes = result.shape[len(before) : len(before) + rank]
    places = [*map(x.stride, before), *(0,) * rank, *map(x.stride, after)]
    operands = [result.new_empty_strided(result.shape, places)]
    for i in given:
        wide = i.expand(sizes)
        if wide.dtype == torch.int32:  # the kernel takes i64
            wide = _copied(wide)
        operands.append(wide.view((*(1,) * len(before), *sizes, *(1,) * len(after))))
    return _elementwise(result, operands)


def _view(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """Those of dims of one element too, which tracing chooses otherwise."""
    own, strides, sizes = args[0].shape, args[0].stride(), result.shape
    if not all(isinstance(n, int) for n in (*own, *strides, *sizes)) or not own or not result.numel():
        return None
    # From the innermost dim on, dims that lie evenly in memory, as one dim does, are divided anew.
    found = [0] * len(sizes)
    dim, step, elements = len(sizes) - 1, strides[-1], 1
    for i in range(len(own) - 1, -1, -1):
        elements *= own[i]
        if i > 0 and (own[i - 1] == 1 or strides[i - 1] == elements * step):
            continue
        given = 1
        while dim >= 0 and (given < elements or sizes[dim] == 1):
            found[dim] = given * step
            given *= sizes[dim]
            dim -= 1
        step, elements = strides[i - 1], 1
    return found


def _contiguous_on_cpu(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return _contiguous(result, args, keywords) if result.device.type == "cpu" else None


def _contiguous(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    return contiguous(result.shape)


def _as_first(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """As an empty tensor like the first operand, in the memory format that is asked for."""
    x = args[0]
    if not isinstance(x, Tensor) or not _has_sizes(x, result.shape):
        return None
    memory_format = keywords.get("memory_format") or torch.preserve_format
    if memory_format == torch.preserve_format and _torch.is_dense(x):
        strides: Strides = x.stride()  # those of single elements too, which tracing does not keep
        return strides
    strides = torch.empty_like(x, memory_format=memory_format).stride()
    return strides


def _where_it_was(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """Those of the first operand, gaps between its elements too."""
    x = args[0]
    return x.stride() if isinstance(x, Tensor) and _has_sizes(x, result.shape) else None


def _roll_on_cpu(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
    """Contiguous if no dims are named, else for one after the other a concatenation of two parts."""
    x, shifts, dims = (*args, ())[:3]
    sizes = [x.shape[dim] for dim in dims]
    if result.device.type != "cpu" or not _torch.are_known((*sizes, *shifts)) or not all(sizes):
        return None
    for shift, dim, size in zip(shifts, dims, sizes, strict=False):
        start = -shift % size
        x = torch.cat([x.narrow(dim, start, size - start), x.narrow(dim, 0, start)], dim)
    return [*x.stride()] if dims else _contiguous(result, args, keywords)


def _format_on_cpu(position: int) -> Rule:
    """Contiguous, or channels last as the operand is."""

    def rule(result: Tensor, args: Sequence[Any], keywords: Mapping[str, Any]) -> Strides | None:
        if result.device.type != "cpu" or result.dim() != args[position].dim():
            return None
        like: Tensor = torch.empty_like(result, memory_format=_torch.memory_format_of(args[position]))
        strides: Strides = like.stride()
        return strides

    return rule


_OTHERS: dict[Rule, str] = {
    _in_order: """
        elu_backward.default hardshrink_backward.default hardsigmoid_backward.default
        hardswish.default hardswish_backward.default hardtanh_backward.default log_sigmoid_backward.default
        mish_backward.default mse_loss.default smooth_l1_loss.default softplus_backward.default
        softshrink_backward.default
    """,
    _binary: "floor_divide.default",
    _second_first: "leaky_relu_backward.default rsub.Tensor threshold_backward.default",
    _where: "where.self",
    _index: "index.Tensor",
    _view: "_unsafe_view.default view.default",
    _contiguous: """
        _log_softmax_backward_data.default grid_sampler_2d.default huber_loss_backward.default mse_loss_backward.default
        normal.Tensor_Tensor normal.Tensor_float normal.float_Tensor pow.Scalar rrelu_with_noise.default
        rrelu_with_noise_functional.default smooth_l1_loss_backward.default
    """,
    _contiguous_on_cpu: "log_sigmoid_forward.default",
    _as_first: """
        cauchy.default deg2rad.default exponential.default geometric.default hardtanh.default huber_loss.default
        log_normal.default nan_to_num.default normal_functional.default rad2deg.default rand_like.default
        randint_like.default randint_like.low_dtype randn_like.default uniform.default
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
def rule_of(overload: Any, in_place: bool = False) -> Rule | None:
    """None: the strides of tracing are those of eager. What was written in place lies where it was."""
    if not isinstance(overload, torch._ops.OpOverload) or overload.namespace != "aten":
        return None
    name = str(overload).removeprefix("aten.")
    if any(result.alias_info is not None for result in overload._schema.returns):
        return _RULES.get(name)  # a view, of which `transpose_` and its kind are made too
    if in_place:
        return _where_it_was
    if name in _RULES:
        return _RULES[name]
    if torch.Tag.pointwise not in overload.tags or overload._schema.is_mutable or name in _NOT_ELEMENTWISE:
        return None
    return _binary if _takes_two(overload) else _in_order


def _takes_two(overload: Any) -> bool:
    """True for an operator of two operands, of which the second may be a number: x + y, x < 2, x.fmod(2)."""
    names = [argument.name for argument in overload._schema.arguments]
    return names[:2] == ["self", "other"]


def _same_places(size: Any, first: Any, second: Any) -> bool:
    return bool(size == 1 or first == second)


def laid_out(overload: Any, decomposition: Callable[..., Any]) -> Callable[..., Any]:
    """`decomposition`, its results with the strides of those of the operator."""
    rule = rule_of(overload)
    if rule is None:
        return decomposition

    def relaid(result: Any, args: Any, keywords: Any) -> Any:
        if not isinstance(result, Tensor) or not _torch.are_known(result.shape):
            return result
        strides = rule(result, args, keywords)
        if strides is None or all(map(_same_places, result.shape, result.stride(), strides)):
            return result
        order = sorted(range(result.dim()), key=lambda dim: -strides[dim])
        inner = result.permute(order).clone(memory_format=torch.contiguous_format)
        return inner.permute([order.index(dim) for dim in range(result.dim())])

    @functools.wraps(decomposition)
    def decompose(*args: Any, **keywords: Any) -> Any:
        results = decomposition(*args, **keywords)
        return _torch.each_result(results, lambda result: relaid(result, args, keywords))

    return decompose


def kept() -> contextlib.AbstractContextManager[None]:
    """While it lasts, tracing gives results the strides that they have in eager."""
    return _torch.traced_with_strides(rule_of, written_views.instead_of)
