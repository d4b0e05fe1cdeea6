"""Training steps as one function: losses, parameters and buffers as in eager, and what takes the form in parts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import STRICT, assert_no_fallbacks, assert_same
from models import CASES
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

Batch = tuple[Tensor, ...]
Eager = Callable[..., Tensor]


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.GELU(), nn.Linear(12, 3))


def batch(rows: int = 8) -> Batch:
    return torch.randn(rows, 6), torch.randint(0, 3, (rows,))


def eager_step(
    model: nn.Module, loss_fn: Any, optimizer: torch.optim.Optimizer, before_update: Callable[[Any], Any] | None = None
) -> Eager:
    def step(*batch: Any, **keywords: Any) -> Tensor:
        if loss_fn is None:
            loss = model(*batch, **keywords)
        else:
            loss = loss_fn(model(*batch[:-1], **keywords), batch[-1])
        loss.backward()
        if before_update:
            before_update([p for p in model.parameters() if p.requires_grad])
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return step


class Pair:
    """A model and its twin, trained by eager and by ourjit."""

    def __init__(
        self, model: nn.Module, loss_fn: Any = F.cross_entropy, options: dict[str, Any] = STRICT, **keywords: Any
    ) -> None:
        self.models = model, copy.deepcopy(model)
        # Not Adam: it makes steps of the rate's size out of gradients that are nothing but rounding.
        self.optimizers = [torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) for m in self.models]
        self.eager = eager_step(self.models[0], loss_fn, self.optimizers[0], **keywords)
        self.ours = ourjit.train_step(self.models[1], loss_fn, self.optimizers[1], options=options, **keywords)

    def step(self, *batch: Any, **keywords: Any) -> None:
        expected, got = self.eager(*batch, **keywords), self.ours(*batch, **keywords)
        assert not got.requires_grad
        assert_same(expected, got, what="loss")
        states = [(list(m.parameters()), list(m.buffers())) for m in self.models]
        assert_same(*states, what="parameters and buffers")
        assert all(p.grad is None for p in self.models[1].parameters())


@pytest.mark.parametrize("name", ["char_gpt", "bert", "resnet", "capsules"])
def test_models(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    pair = Pair(case.build(0.0), None)
    data = case.batch(1)
    for _ in range(3):
        pair.step(*data)
    assert_no_fallbacks()


def test_losses_and_batches_of_any_size() -> None:
    pair = Pair(net())
    for rows in (8, 8, 5, 31, 8):
        pair.step(*batch(rows))
    assert_no_fallbacks()


def test_forward_and_backward_are_one_graph() -> None:
    ourjit.reset()
    pair = Pair(net())
    pair.step(*batch())
    assert ourjit.stats()["graphs"] == 1


def test_keywords_frozen_and_unused_parameters() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.frozen, self.unused = nn.Linear(6, 3), nn.Linear(3, 3), nn.Linear(2, 2)
            self.frozen.requires_grad_(False)

        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            y: Tensor = self.frozen(self.used(x)) * scale
            return y

    pair = Pair(Scaled())
    for scale in (1.0, 2.0):
        pair.step(*batch(), scale=scale)
    for model in pair.models:
        model.frozen.requires_grad_(True)  # type: ignore[union-attr]
    pair.step(*batch())
    assert_no_fallbacks()


def test_clipping_schedules_and_groups_added_later() -> None:
    pair = Pair(net(), before_update=lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.1))
    schedulers = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in pair.optimizers]
    for _ in range(3):
        pair.step(*batch())
        for scheduler in schedulers:
            scheduler.step()
    for model, optimizer in zip(pair.models, pair.optimizers, strict=True):
        model.extra = nn.Parameter(torch.ones(3))
        optimizer.add_param_group({"params": [model.extra], "lr": 0.1})
    pair.step(*batch())
    assert_no_fallbacks()


def test_hooks_and_records_of_the_update() -> None:
    pair, calls = Pair(net()), []
    pair.step(*batch())
    optimizer = pair.optimizers[1]
    handles = [
        optimizer.register_step_pre_hook(lambda *_: calls.append("before")),
        register_optimizer_step_post_hook(lambda o, *_: calls.append("after")),
    ]
    pair.step(*batch())
    assert calls == ["after", "before", "after"]  # the hook of all optimizers is for the eager one too
    for handle in handles:
        handle.remove()
    pair.step(*batch())
    assert len(calls) == 3
    with torch.profiler.profile() as profile:
        pair.ours(*batch())
    assert any("Optimizer.step#SGD" in event.key for event in profile.key_averages())
    assert_no_fallbacks()


def test_settings_that_change_within() -> None:
    class Scaled(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.add_(p.grad, alpha=-group["lr"] * group["scales"][0])

    pair = Pair(net())
    for i, model in enumerate(pair.models):
        pair.optimizers[i] = Scaled(model.parameters(), lr=0.05)
        pair.optimizers[i].param_groups[0]["scales"] = [1.0]
    pair.eager = eager_step(pair.models[0], F.cross_entropy, pair.optimizers[0])
    pair.ours = ourjit.train_step(pair.models[1], F.cross_entropy, pair.optimizers[1], options=STRICT)
    for scale in (1.0, 1.0, 3.0, 0.5):
        for optimizer in pair.optimizers:
            optimizer.param_groups[0]["scales"][0] = scale
        pair.step(*batch())
    assert_no_fallbacks()


def test_gradients_that_are_one_tensor_or_expanded() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Parameter(torch.randn(3, 4)) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return ((self.a + self.b) * x).sum() + self.c.sum()

    def halve(parameters: list[Tensor]) -> None:
        for p in parameters:
            assert p.grad is not None
            p.grad.mul_(0.5)

    pair = Pair(Sums(), None, before_update=halve)
    for _ in range(2):
        pair.step(torch.randn(3, 4))
    assert_no_fallbacks()


def test_dropout_trains_and_is_seeded() -> None:
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 3))
        step = ourjit.train_step(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.2), options=STRICT)
        data = batch(64)
        losses.append([step(*data).item() for _ in range(20)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def _with_hook(pair: Pair) -> None:
    for model in pair.models:
        next(model.parameters()).register_hook(lambda gradient: gradient * 2)


def _with_module_hook(pair: Pair) -> None:
    for model in pair.models:
        model.register_full_backward_hook(lambda module, inputs, outputs: None)


def _with_gradients(pair: Pair) -> None:
    for model in pair.models:
        for p in model.parameters():
            p.grad = torch.ones_like(p)


APART: dict[str, tuple[Callable[[Pair], None], str]] = {
    "hook of a parameter": (_with_hook, "a parameter has hooks"),
    "hook of a module": (_with_module_hook, "a module has backward hooks"),
    "accumulated gradients": (_with_gradients, "gradients were accumulated before it"),
}


@pytest.mark.parametrize("name", APART)
def test_what_one_graph_would_not_do(name: str) -> None:
    change, reason = APART[name]
    ourjit.reset()
    pair = Pair(net(), options={})
    pair.step(*batch())
    change(pair)
    pair.step(*batch())
    found = ourjit.stats()["fallbacks"]["train_step"]
    assert found["reason"].startswith(reason) and found["count"] == 1
    with pytest.raises(ourjit.Unsupported, match=reason):
        strict = Pair(net())
        change(strict)
        strict.ours(*batch())


def test_autocast_takes_parts() -> None:
    ourjit.reset()
    pair = Pair(net(), options={})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        data = batch()
        assert_same(pair.eager(*data), pair.ours(*data), tol=2e-2, what="loss")
    assert ourjit.stats()["fallbacks"]["train_step"]["reason"].startswith("autocast")


def test_a_graph_break_takes_parts() -> None:
    class Printing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            torch._dynamo.graph_break()
            result: Tensor = y.sin()
            return result

    ourjit.reset()
    pair = Pair(Printing(), options={})
    for _ in range(3):
        pair.step(*batch())
    assert ourjit.stats()["fallbacks"]["train_step"]["count"] == 3


def test_mistakes() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ourjit.UserError, match="model must be a"):
        ourjit.train_step(lambda x: x, None, optimizer)  # type: ignore[arg-type]
    with pytest.raises(ourjit.UserError, match="optimizer must be a"):
        ourjit.train_step(model, None, model)  # type: ignore[arg-type]
    with pytest.raises(ourjit.UserError, match="loss_fn must be callable"):
        ourjit.train_step(model, 3, optimizer)  # type: ignore[arg-type]
    step = ourjit.train_step(model, None, optimizer)
    with pytest.raises(RuntimeError, match="making fake tensor"):
        step(torch.randn(3, 7))
