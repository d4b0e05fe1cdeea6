"""Outputs that are views of inputs as only guards know: who sees sizes and strides as polynomials cannot tell.

AOTAutograd gives the caller a view of the input with the sizes, strides and offset of what the graph returns. That has
to be the view itself: a copy lies elsewhere.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from ourjit._torch import Outputs
from ourjit.operator_schemas import is_mutable


class InputView(NamedTuple):
    base: torch.fx.Node
    """The input."""
    tensor: torch.Tensor
    """The view, in the trace."""


Values = Mapping[torch.fx.Node, torch.fx.Node]
"""An input, by each value that will be written to it."""


def written_values(inputs: Sequence[torch.fx.Node], results: Sequence[Any], roles: Outputs) -> dict[int, Values]:
    """For each output that the caller knows as a view of an input: that input, by its values from a write on."""
    found: dict[int, Values] = {}
    for position, number in roles.views:
        if number >= len(inputs):
            continue
        base = inputs[number]
        copies = [user.args for user in base.users if user.target is torch.ops.aten.copy_.default]
        values = [value for into, value, *_ in copies if into is base]
        values += [results[i] for i, into in enumerate(roles.written) if into == number]
        found[position] = {value: base for value in values if isinstance(value, torch.fx.Node)}
    return found


def input_view(node: Any, written: Values) -> InputView | None:
    """What an output is if it is a view of an input, of symbolic sizes or strides, that the plan may have to copy."""
    views: list[torch.fx.Node] = []
    value = node
    while isinstance(value, torch.fx.Node) and value not in written and value.op == "call_function":
        if value.target is not operator.getitem and not getattr(value.target, "is_view", False):
            return None
        if value.target is torch.ops.aten.as_strided.default and len(value.args) > 3:
            return None  # an offset into a storage, wherever the input lies in it
        views.append(value)
        value = value.args[0]
    if not views or not isinstance(value, torch.fx.Node):
        return None
    base = written.get(value, value)
    if base.meta["val"].shape != value.meta["val"].shape:
        return None
    if value is base and not _is_reshaped(views):
        return None
    if base.op != "placeholder" or (value is base and any(is_mutable(user.target) for user in base.users)):
        return None
    view, whole = views[0].meta["val"], base.meta["val"]
    known = all(isinstance(n, int) for t in (view, whole) for n in (*t.shape, *t.stride()))
    if known or view.dtype != whole.dtype:
        return None
    return InputView(base, view if value is base else _made_again(views, whole))


def _is_reshaped(views: list[torch.fx.Node]) -> bool:
    """False for views whose strides are those of the operand, or products of them with a step."""
    return any(view.target in (torch.ops.aten.view.default, torch.ops.aten.as_strided.default) for view in views)


def _made_again(views: list[torch.fx.Node], base: torch.Tensor) -> torch.Tensor:
    """The views, innermost last, of the traced input: what the graph made of its new value lies as that does."""
    result: Any = base
    with base.fake_mode:  # type: ignore[attr-defined]
        for view in reversed(views):
            args = torch.fx.node.map_arg(view.args[1:], lambda operand: operand.meta["val"])
            result = view.target(result, *args, **view.kwargs)  # type: ignore[operator]
    return result
