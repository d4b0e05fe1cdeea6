"""A whole training step: forward, backward and update, with gradients that live only in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ourjit import _C, _gpu, _torch, backend
from ourjit.optimizer_step import accelerate_optimizer

Loss = Callable[[Any, Any], Tensor]
Parameters = Sequence[Tensor]


class TrainStep:
    """See `train_step`."""

    def __init__(
        self,
        model: nn.Module,
        loss_fn: Loss | None,
        optimizer: torch.optim.Optimizer,
        before_update: Callable[[list[Tensor]], Any] | None,
        options: Mapping[str, Any] | None,
    ) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.optimizer = optimizer
        self.before_update = before_update
        self.options = dict(options or {})
        self.whole: Callable[..., tuple[Tensor, list[Tensor | None]]] | None = None
        self.known: list[tuple[int, bool]] = []  # parameters for which `whole` was made
        self.parameters: list[Tensor] = []  # those that get gradients
        self.apart: Callable[..., Tensor] | None = None
        self.why_apart: str | None = None  # why no step is one graph

    def __call__(self, *batch: Any, **keywords: Any) -> Tensor:
        self.look_at_parameters()
        why = self.why_apart or self.why_apart_now()
        if why is None:
            try:
                loss, gradients = _torch.tracing_gradients(self.whole, batch, keywords)  # type: ignore[arg-type]
            except _torch.capture_errors() as error:
                if isinstance(error.__cause__, (_C.UserError, _C.Unsupported)):
                    raise
                why = f"it is no single graph: {str(error).strip().splitlines()[0]}"
                loss = self.forward_and_backward_apart(why, *batch, **keywords)
                self.why_apart = why
            else:
                self.give(gradients)
        else:
            loss = self.forward_and_backward_apart(why, *batch, **keywords)
        if self.before_update is not None:
            self.before_update(self.parameters)
        self.optimizer.step()
        for p in self.parameters:
            p.grad = None
        return loss

    def give(self, gradients: Sequence[Tensor | None]) -> None:
        """Parameters get gradients of their own: what is written to one of them may not show in another."""
        seen: set[int] = set()
        for p, gradient in zip(self.parameters, gradients, strict=True):
            p.grad = gradient
            if gradient is not None:
                if gradient.data_ptr() in seen:
                    p.grad = gradient.clone()
                seen.add(gradient.data_ptr())

    def look_at_parameters(self) -> None:
        """Makes the compiled step anew if the optimizer has got other parameters, or some are frozen now."""
        everything = [p for group in self.optimizer.param_groups for p in group["params"]]
        found = [(id(p), p.requires_grad) for p in everything]
        if found == self.known:
            return
        self.known = found
        self.parameters = parameters = [p for p in everything if p.requires_grad]

        def forward_and_backward(*batch: Any, **keywords: Any) -> tuple[Tensor, list[Tensor | None]]:
            loss = self.loss(*batch, **keywords)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            return loss.detach(), [_laid_out_as(p, g) for p, g in zip(parameters, gradients, strict=True)]

        self.whole = torch.compile(forward_and_backward, backend="ourjit", fullgraph=True, options=self.options)

    def why_apart_now(self) -> str | None:
        """What a graph of forward and backward would not do as autograd does; None if nothing."""
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            return "autocast is for the forward only"
        if any(p.grad is not None for p in self.parameters):
            return "gradients were accumulated before it"
        for p in self.parameters:
            if p._backward_hooks or getattr(p, "_post_accumulate_grad_hooks", None):
                return "a parameter has hooks"
        for module in self.model.modules():
            if module._backward_hooks or module._backward_pre_hooks:
                return "a module has backward hooks"
            if type(module).__module__.startswith(("torch.distributed.", "torch.nn.parallel.")):
                return "gradients are reduced among processes while they are made"
        return None

    def loss(self, *batch: Any, **keywords: Any) -> Tensor:
        if self.loss_fn is None:
            result: Tensor = self.model(*batch, **keywords)
            return result
        *inputs, target = batch
        return self.loss_fn(self.model(*inputs, **keywords), target)

    def forward_and_backward_apart(self, why: str, *batch: Any, **keywords: Any) -> Tensor:
        session = backend.session(_gpu.with_target(self.options, ()))
        session.count_fallback("train_step", f"{why}; forward and backward are apart")
        if self.apart is None:
            self.apart = torch.compile(self.loss, backend="ourjit", options=self.options)
        loss = self.apart(*batch, **keywords)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _laid_out_as(parameter: Tensor, gradient: Tensor | None) -> Tensor | None:
    """As autograd leaves gradients: dense, in the parameter's layout."""
    if gradient is None or gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def train_step(
    model: nn.Module,
    loss_fn: Loss | None,
    optimizer: torch.optim.Optimizer,
    *,
    before_update: Callable[[list[Tensor]], Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Callable[..., Tensor]:
    """A function of a batch that trains the model by it and returns the loss, detached.

    `step(*inputs, target)` does what `loss_fn(model(*inputs), target).backward()`, `optimizer.step()` and
    `optimizer.zero_grad()` do; with `loss_fn` None, `step(*inputs)`, and what the model returns is the loss. The loss
    is a tensor of one element. Keyword arguments go to the model. `before_update` is called with the parameters that
    have gradients, as for clipping: `lambda parameters: clip_grad_norm_(parameters, 1.0)`.

    Forward and backward are one graph: nothing is saved between them outside of its memory plan, and gradients live
    until the update only. The update is that of `ourjit.accelerate`. Where one graph would differ from autograd (hooks
    of parameters, accumulated gradients, autocast, distributed modules) or the program is no single graph, forward and
    backward are compiled apart; `ourjit.stats()["fallbacks"]` says so with the reason, and it is an error under option
    strict. Raises UserError for objects of other types.
    """
    if not isinstance(model, nn.Module):
        raise _C.UserError(f"model must be a torch.nn.Module, not a {type(model).__name__}")
    if loss_fn is not None and not callable(loss_fn):
        raise _C.UserError(f"loss_fn must be callable or None, not a {type(loss_fn).__name__}")
    accelerate_optimizer(optimizer, options)
    return TrainStep(model, loss_fn, optimizer, before_update, options)
