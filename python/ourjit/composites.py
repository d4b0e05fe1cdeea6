"""Operators that tracing takes apart, where torch's own rules give other tensors than eager: a copy, another shape."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from ourjit import _torch

Rule = Callable[..., Any]


def _dropout(taken_apart: Rule) -> Rule:
    def dropout(x: Tensor, p: float, train: bool | None) -> Any:
        """Of what is left alone eager returns the operand."""
        unchanged = not train or p == 0 or any(isinstance(size, int) and size == 0 for size in x.shape)
        return x if unchanged else taken_apart(x, p, train)

    return dropout


def _multilabel_margin_loss(taken_apart: Rule) -> Rule:
    def loss(x: Tensor, target: Tensor, reduction: int) -> Any:
        """That of a single row is a number."""
        result, is_target = taken_apart(x, target, reduction)
        return result.squeeze(0) if x.dim() < 2 and result.dim() == 1 else result, is_target

    return loss


_RULES = {
    "aten.dropout.default": _dropout,
    "aten.multilabel_margin_loss_forward.default": _multilabel_margin_loss,
}


@functools.cache
def rules() -> dict[Any, dict[str, Rule | None]]:
    """For `_torch.traced_by`."""
    found: dict[Any, dict[str, Rule | None]] = {}
    for name, mended in _RULES.items():
        overload = _torch.find_overload(name)
        found[overload] = {key: mended(rule) for key, rule in _torch.python_rules(overload).items()}
    return found


def mended(decompositions: dict[Any, Rule]) -> dict[Any, Rule]:
    """Those of these operators, the results of which are to be eager's."""
    overloads = ((_torch.find_overload(name), rule) for name, rule in _RULES.items())
    return {overload: rule(decompositions[overload]) for overload, rule in overloads if overload in decompositions}
