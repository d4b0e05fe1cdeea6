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

# What Dynamo has called for each frame; where it cannot be found, there may be something.
_callback_of_frames = getattr(torch._C._dynamo.eval_frame, "get_eval_frame_callback", lambda: "unknown")


def step_without_hooks(kind: type[torch.optim.Optimizer]) -> Callable[..., Any]:
    """The step of a class of optimizers before torch.optim wrapped it into hooks."""
    step: Callable[..., Any] = kind.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step  # type: ignore[attr-defined, no-any-return]


def is_step_replaced(optimizer: torch.optim.Optimizer) -> bool:
    """True if the step is not that of its class, or one that a scheduler has wrapped to see it called."""
    step = vars(optimizer).get("step")
    return step is not None and not hasattr(step, "_wrapped_by_lr_sched")


def replace_step(optimizer: torch.optim.Optimizer, run: Callable[..., Any], is_profiled: Callable[[], bool]) -> None:
    """Makes `optimizer.step(closure)` call `run(optimizer, closure)` within its hooks, hidden from Dynamo.

    What wraps a step for that is spared where there are no hooks and neither a profiler nor Dynamo looks.
    """

    def unwatched(self: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        self._opt_called = True  # type: ignore[attr-defined]  # what schedulers would wrap it for
        return run(self, closure)

    hooked = torch.optim.Optimizer.profile_hook_step(unwatched)
    watched = torch.compiler.disable(hooked, reason="a compiled optimizer step")

    def step(self: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        # Tracing asks the first only, which is a constant there.
        if torch.compiler.is_compiling() or _dynamo_looks() or is_profiled() or _has_hooks(self):
            return watched(self, closure)
        return unwatched(self, closure)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]


def _dynamo_looks() -> bool:
    """Whether functions that are called now are looked at by Dynamo, to be compiled."""
    return _callback_of_frames() is not None


def _has_hooks(optimizer: torch.optim.Optimizer) -> bool:
    return any(_HOOKS_OF_ALL) or any(getattr(optimizer, name, True) for name in STEP_HOOKS)
