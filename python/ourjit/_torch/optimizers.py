"""Optimizers' steps and their hooks."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch

STEP_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")  # attributes of optimizers


def step_without_hooks(kind: type[torch.optim.Optimizer]) -> Callable[..., Any]:
    """The step of a class of optimizers before torch.optim wrapped it into hooks."""
    step: Callable[..., Any] = kind.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step  # type: ignore[attr-defined, no-any-return]


def is_step_replaced(optimizer: torch.optim.Optimizer) -> bool:
    """True if the step is not that of its class, or one that a scheduler has wrapped to see it called."""
    step = vars(optimizer).get("step")
    return step is not None and not hasattr(step, "_wrapped_by_lr_sched")


def replace_step(optimizer: torch.optim.Optimizer, run: Callable[..., Any]) -> None:
    """Makes `optimizer.step(closure)` call `run(optimizer, closure)` within its hooks, hidden from Dynamo."""

    def step(self: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        self._opt_called = True  # type: ignore[attr-defined]  # what schedulers would wrap it for
        return run(self, closure)

    hooked = torch.compiler.disable(torch.optim.Optimizer.profile_hook_step(step), reason="a compiled optimizer step")
    hooked._wrapped_by_lr_sched = True
    optimizer.step = types.MethodType(hooked, optimizer)  # type: ignore[method-assign]
