"""The ways to take a training step that benchmarks compare; models.py says what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from workers import compiler

if TYPE_CHECKING:
    import torch

Step = Callable[[], Any]  # returns the loss


def step_of(model: torch.nn.Module, batch: Sequence[torch.Tensor], way: str) -> Callable[[], Step]:
    """What makes the step ready, without compiling yet. `model(*batch)` is the loss; the optimizer is AdamW."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def stepping(run: Callable[..., Any], update: Callable[[], Any]) -> Step:
        def step() -> Any:
            loss = run(*batch)
            loss.backward()
            update()
            optimizer.zero_grad(set_to_none=True)
            return loss.detach()

        return step

    def eager_optimizer() -> Step:
        return stepping(compiler(way)(model), optimizer.step)

    def accelerate() -> Step:
        import ourjit

        ourjit.accelerate(model, optimizer)
        return stepping(model, optimizer.step)

    def train_step() -> Step:
        import ourjit

        step = ourjit.train_step(model, None, optimizer)
        return lambda: step(*batch)

    def inductor() -> Step:
        return stepping(torch.compile(model, dynamic=False), torch.compile(optimizer.step, dynamic=False))

    makers = {"accelerate": accelerate, "train_step": train_step, "inductor-opt": inductor}
    return makers.get(way, eager_optimizer)
