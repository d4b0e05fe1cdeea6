"""Operators that tracing takes apart, where torch's own rules give other tensors than eager."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ourjit import _torch

Rule = Callable[..., Any]


def _dropout(taken_apart: Rule) -> Rule:
    def dropout(x: Tensor, p: float, train: bool | None) -> Any:
        """Of what is left alone eager returns the operand, torch's rule a copy."""
        unchanged = not train or p == 0 or any(isinstance(size, int) and size == 0 for size in x.shape)
        return x if unchanged else taken_apart(x, p, train)

    return dropout


_NONE, _MEAN, _SUM = range(3)  # reductions of a loss


def _multilabel_margin_loss(taken_apart: Rule) -> Rule:
    """Torch's rule counts class 0 for each label that a row lacks, and gives a row as a result of its own."""

    def loss(x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
        """A row's labels end before its first -1. The loss of a single row is a number."""
        if x.dim() > 2 or x.shape != target.shape or (x.dim() > 0 and x.shape[-1] == 0):
            return taken_apart(x, target, reduction)  # type: ignore[no-any-return]  # an error
        rows, labels = torch.atleast_2d(x), torch.atleast_2d(target)
        classes = torch.arange(rows.shape[1], device=x.device)
        end = torch.where(labels == -1, classes, rows.shape[1]).amin(1, keepdim=True)
        given = (classes < end).unsqueeze(2)
        labels = torch.where(classes < end, labels, 0)
        is_label = (given & (classes == labels.unsqueeze(2))).any(1)
        margins = 1 - rows.gather(1, labels).unsqueeze(2) + rows.unsqueeze(1)
        counts = given & ~is_label.unsqueeze(1) & (margins > 0)
        losses = torch.where(counts, margins, 0).sum((1, 2)) / rows.shape[1]
        if reduction == _NONE:
            losses = losses.reshape(x.shape[:-1])
        else:
            losses = losses.mean() if reduction == _MEAN else losses.sum()
        return losses, is_label.to(x.dtype).reshape(x.shape)

    return loss


def _multi_margin_loss(taken_apart: Rule) -> Rule:
    def loss(x: Tensor, target: Tensor, *arguments: Any, **keywords: Any) -> Any:
        """That of a single row is a number."""
        result = taken_apart(x, target, *arguments, **keywords)
        return result.reshape(()) if x.dim() < 2 else result

    return loss


_RULES = {
    "aten.dropout.default": _dropout,
    "aten.multi_margin_loss.default": _multi_margin_loss,
    "aten.multilabel_margin_loss_forward.default": _multilabel_margin_loss,
}


@functools.cache
def rules() -> dict[Any, dict[str, Rule | None]]:
    """For `_torch.traced_by`."""
    found: dict[Any, dict[str, Rule | None]] = {}
    for name, mended_rule in _RULES.items():
        overload = _torch.find_overload(name)
        found[overload] = {key: mended_rule(rule) for key, rule in _torch.python_rules(overload).items()}
    return found


def mended(decompositions: dict[Any, Rule]) -> dict[Any, Rule]:
    """Those of these operators, with eager's results."""
    overloads = ((_torch.find_overload(name), rule) for name, rule in _RULES.items())
    return {overload: rule(decompositions[overload]) for overload, rule in overloads if overload in decompositions}
