"""Higher-order operators (torch.cond, custom operators that write to their inputs, ...) as library calls.

So are custom operators that return numbers, or lists among other results. A node of one becomes a call of an operator
on tensors alone, `ourjit::higher_order.<name>`, whose Python side runs the node as PyTorch runs it: subgraphs are not
compiled, everything around them is.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from ourjit._torch import as_user_code, symbols_of

_library = torch.library.Library("ourjit", "FRAGMENT")
_defined: set[str] = set()
_numbers = itertools.count()

Call = Callable[[Sequence[Tensor], Sequence[int]], list[Tensor]]
# Whoever may make a call holds it.
_calls: weakref.WeakValueDictionary[int, Call] = weakref.WeakValueDictionary()


def operator_of(target: Any) -> torch._ops.OpOverload:
    """(int call, Tensor[] tensors, SymInt[] numbers) -> Tensor[], for the nodes of such an operator."""
    name = target.name().replace("::", "_").replace(".", "_")
    if name not in _defined:
        _library.define(f"higher_order.{name}(int call, Tensor[] tensors, SymInt[] numbers) -> Tensor[]")
        # Without tensors there is no backend to choose a kernel by: BackendSelect is asked first.
        for key in ("CompositeExplicitAutograd", "BackendSelect"):
            _library.impl(f"higher_order.{name}", _run, key)
        _defined.add(name)
    return getattr(torch.ops.ourjit.higher_order, name)


def storage_offsets(node: torch.fx.Node, tensors: Sequence[torch.fx.Node]) -> tuple[list[int], list[Any]]:
    """Which of the tensors have a storage offset that the node may count on, and these offsets.

    Views that a node makes of its operands lie in their storages. An offset of symbols that the node is not given is
    one that it cannot count on.
    """
    given = (n.meta.get("val") for n in node.all_input_nodes)
    known = {symbol for value in given if isinstance(value, torch.SymInt) for symbol in symbols_of(value)}
    values = ((i, tensor.meta.get("val")) for i, tensor in enumerate(tensors))
    offsets = {i: value.storage_offset() for i, value in values if isinstance(value, Tensor)}
    offsets = {i: offset for i, offset in offsets.items() if symbols_of(offset) <= known}
    return list(offsets), list(offsets.values())


def _placed(tensor: Tensor, offset: int) -> Tensor:
    """The tensor with that storage offset; plans hand over tensors whose storages begin with them."""
    if tensor.storage_offset() == offset:
        return tensor
    ends = ((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    length = sum(ends) + 1 if tensor.numel() else 0
    room = tensor.new_empty(offset + length)
    room[offset:] = tensor.as_strided((length,), (1,))
    return room.as_strided(tensor.shape, tensor.stride(), offset)


def add_call(
    node: torch.fx.Node,
    tensors: Sequence[torch.fx.Node],
    others: dict[torch.fx.Node, Any],
    placed: Sequence[int],
) -> tuple[int, Call]:
    """What runs a node, and its number.

    `others`: the operands that are neither tensors nor numbers. `placed`: the tensors whose storage offsets are given
    as numbers, behind those of the node.
    """
    target: Any = node.target
    arguments, keywords = node.args, node.kwargs
    places = {operand: i for i, operand in enumerate(tensors)}
    sizes = [n for n in node.all_input_nodes if n not in places and n not in others]
    # What follows was traced with these; of f64 operands flex_attention's kernels give f64 where its trace has f32.
    dtypes = [t.dtype for t in tree_leaves(node.meta.get("val")) if isinstance(t, Tensor)]

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def call(given: Sequence[Tensor], numbers: Sequence[int]) -> list[Tensor]:
        values = {**others, **dict(zip(sizes, numbers[: len(sizes)], strict=True))}
        given = list(given)
        for i, offset in zip(placed, numbers[len(sizes) :], strict=True):
            given[i] = _placed(given[i], offset)

        def value(operand: torch.fx.Node) -> Any:
            return given[places[operand]] if operand in places else values[operand]

        results = target(*torch.fx.map_arg(arguments, value), **torch.fx.map_arg(keywords, value))
        results = [t for t in tree_leaves(results) if isinstance(t, Tensor)]
        if isinstance(target, torch._ops.HigherOrderOperator):
            results = [t.to(dtype) for t, dtype in zip(results, dtypes, strict=False)]
        own = {t.untyped_storage().data_ptr() for t in given}
        return [t.clone() if t.untyped_storage().data_ptr() in own else t for t in results]

    number = next(_numbers)
    _calls[number] = call
    return number, call


def hold_with(owner: Any, calls: list[Call]) -> None:
    """Keeps the calls for as long as somebody holds `owner`."""
    weakref.finalize(owner, calls.clear)


def _run(call: int, tensors: Sequence[Tensor], numbers: Sequence[int]) -> list[Tensor]:
    with as_user_code(), torch.no_grad():
        return _calls[call](tensors, numbers)
