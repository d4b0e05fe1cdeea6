"""Outputs that are views where plans may copy.

They are parts of what a pass can compute in another way, overlapping windows, and what only guards know to be a view.
AOTAutograd gives the caller a view of an input, or of another output, with the sizes, strides and offset of what the
graph returns. That has to be the view itself: a copy lies elsewhere.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import torch

from ourjit._torch import Outputs, is_nested_int
from ourjit.operator_schemas import is_mutable

aten = torch.ops.aten


class View(NamedTuple):
    base: torch.fx.Node
    """An input, or what no view makes."""
    tensor: torch.Tensor
    """The view, in the trace."""


Values = Mapping[torch.fx.Node, torch.fx.Node]
"""An input, by each value that will be written to it."""


def output_views(inputs: Sequence[torch.fx.Node], results: Sequence[Any], roles: Outputs) -> dict[int, View]:
    """By position those that the plan may have to copy, and that share their memory."""
    saved, written = range(*roles.saved.indices(len(results))), _written_values(inputs, results, roles)
    differentiable = {results[position] for position in roles.differentiable if position < len(results)}
    views = {}
    for position, node in enumerate(results):
        if position not in saved and (view := _view(node, written.get(position, {}), differentiable)) is not None:
            views[position] = view
    seen = {node for position, node in enumerate(results) if position not in saved and isinstance(node, torch.fx.Node)}
    users = Counter(view.base for view in views.values())
    shared = {base for base, count in users.items() if base.op == "placeholder" or base in seen or count > 1}
    return {position: view for position, view in views.items() if view.base in shared}


def _written_values(inputs: Sequence[torch.fx.Node], results: Sequence[Any], roles: Outputs) -> dict[int, Values]:
    """For each output that the caller knows as a view of an input: that input, by its values from a write on."""
    found: dict[int, Values] = {}
    for position, number in roles.views:
        if number >= len(inputs):
            continue
        base = inputs[number]
        copies = [user.args for user in base.users if user.target is aten.copy_.default]
        values = [value for into, value, *_ in copies if into is base]
        values += [results[i] for i, into in enumerate(roles.written) if into == number]
        found[position] = {value: base for value in values if isinstance(value, torch.fx.Node)}
    return found


def _view(node: Any, written: Values, differentiable: Set[Any]) -> View | None:
    """What an output is if it is a view that the plan may have to copy."""
    views: list[torch.fx.Node] = []
    value = node
    while isinstance(value, torch.fx.Node) and value not in written and is_view(value):
        views.append(value)
        value = value.args[0]
    if not views or not isinstance(value, torch.fx.Node):
        return None
    base = written.get(value, value)
    if base.op == "get_attr":
        return None
    view, whole = views[0].meta["val"], base.meta["val"]
    if whole.shape != value.meta["val"].shape or whole.dtype != view.dtype:
        return None
    targets = {view.target for view in views}
    sizes = [n for t in (view, whole) for n in (*t.shape, *t.stride())]
    symbolic = not all(isinstance(n, int) for n in sizes) and not any(map(is_nested_int, sizes))
    of_input = base.op == "placeholder"
    # A pass may find a row of a concatenation elsewhere. Views that autograd follows are made by AOTAutograd, but for
    # those that come several at a time.
    several = views[0].target is operator.getitem
    computed = not of_input and (several or not {node, base} & differentiable)
    copied = computed or bool(targets & _COPIED) or (symbolic and aten.view.default in targets)
    if not (copied if base is value else symbolic):
        return None
    if of_input and any(map(_counts_from_the_storage, views)):
        return None
    if base is value and any(is_mutable(user.target) for user in base.users):
        return None
    return View(base, view if value is base else _made_again(views, whole))


def is_view(node: torch.fx.Node) -> bool:
    made_by = node.args[0] if node.target is operator.getitem else node
    return isinstance(made_by, torch.fx.Node) and bool(getattr(made_by.target, "is_view", False))


# Views that plans copy, of any value and of sizes that are known too.
_COPIED = {aten.as_strided.default, aten.unfold.default}


def _counts_from_the_storage(view: torch.fx.Node) -> bool:
    """True for an offset into a storage, wherever the operand lies in it."""
    return view.target is aten.as_strided.default and len(view.args) > 3


def _made_again(views: list[torch.fx.Node], base: torch.Tensor) -> torch.Tensor:
    """The views, innermost last, of the traced input: what the graph made of its new value lies as that does."""
    result: Any = base
    with base.fake_mode:  # type: ignore[attr-defined]
        for view in reversed(views):
            args = torch.fx.node.map_arg(view.args[1:], lambda operand: operand.meta["val"])
            result = view.target(result, *args, **view.kwargs)  # type: ignore[operator]
    return result
