"""Optimizers' steps and their hooks."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import optimizer as _module

STEP_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")  # attributes of optimizers
# The hooks of all optimizers; where they cannot be found, there may be some.
_HOOKS_OF_ALL = [getattr(_module, f"_global_optimizer_{when}_hooks", True) for when in ("pre", "post")]


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
    hooked._unwatched = step
    optimizer.step = types.MethodType(hooked, optimizer)  # type: ignore[method-assign]


def take_step(optimizer: torch.optim.Optimizer, is_watched: bool) -> None:
    """`optimizer.step()`, without what wraps a step of `replace_step` if it has no hooks and nobody watches."""
    replaced = vars(optimizer).get("step")
    step = getattr(replaced, "_unwatched", None)
    # Dynamo, where it looks into the caller, may not look into this one.
    if step is None or is_watched or torch.compiler.is_compiling() or _has_hooks(optimizer):
        optimizer.step()
    else:
        step(optimizer)


def _has_hooks(optimizer: torch.optim.Optimizer) -> bool:
    return any(_HOOKS_OF_ALL) or any(getattr(optimizer, name, True) for name in STEP_HOOKS)
