"""`ourjit.accelerate`: an optimizer's step compiled in place does what eager's does, or says why it cannot."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import test_optimizers
import torch
from check import assert_no_fallbacks, assert_same, kernels_made
from test_optimizers import SHAPES, set_gradients, states
from torch import Tensor, nn

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    *test_optimizers.OPTIMIZERS,
    ("AdamW", {"maximize": True, "weight_decay": 0.0}),
    ("AdamW", {"lr": torch.tensor(1e-2, device="cpu")}),
    ("Adagrad", {"lr_decay": 0.1}),
]

Make = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


def named(name: str, **keywords: Any) -> Make:
    return lambda parameters: getattr(torch.optim, name)(parameters, **({"lr": 1e-2} | keywords))


class Pair:
    """The same optimizer over the same parameters, eager and accelerated, and once more in f64."""

    def __init__(
        self, make: Make, dtype: torch.dtype = torch.float32, shapes: Any = SHAPES, strict: bool = True
    ) -> None:
        generator = torch.Generator("cpu").manual_seed(0)
        values = [torch.randn(shape, generator=generator, device="cpu") for shape in shapes]
        values = [v.to(dtype).to(torch.get_default_device()) for v in values]
        self.expected = [nn.Parameter(v.clone()) for v in values]
        self.got = [nn.Parameter(v.clone()) for v in values]
        self.exact = [nn.Parameter(v.double()) for v in values]
        self.eager, self.jit, self.reference = make(self.expected), make(self.got), make(self.exact)
        ourjit.accelerate(nn.Module(), self.jit, options={"strict": strict})

    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        return self.eager, self.jit, self.reference

    def step(self, seed: int) -> None:
        for parameters in (self.expected, self.got, self.exact):
            set_gradients(parameters, seed)
        for optimizer in self.optimizers():
            optimizer.step()

    def stepped(self, seed: int) -> list[nn.Parameter]:
        """The parameters after one more eager step."""
        set_gradients(self.expected, seed)
        self.eager.step()
        return self.expected

    def check(self, tol: float = 1e-5) -> None:
        assert_same(self.expected, self.got, self.exact, tol, "parameter")
        assert_same(states(self.eager), states(self.jit), states(self.reference), tol, "state")


def reason(name: str) -> str:
    return str(ourjit.stats()["fallbacks"][f"{name}.step"]["reason"])


@pytest.mark.parametrize(("name", "keywords"), OPTIMIZERS, ids=lambda x: x if isinstance(x, str) else None)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_step_is_eagers(name: str, keywords: dict[str, Any], dtype: torch.dtype, device: str) -> None:
    pair = Pair(named(name, **keywords), dtype)
    addresses = [p.data_ptr() for p in pair.got]
    for i in range(4):
        pair.step(i)
    if dtype == torch.float32:
        pair.check()
    assert_same(pair.expected, pair.got, pair.exact, 1e-4 if dtype == torch.float32 else 4e-2, "parameter")
    assert [p.data_ptr() for p in pair.got] == addresses
    assert_no_fallbacks()
    stats = ourjit.stats()
    assert 1 <= kernels_made() <= 6  # whatever the number of shapes
    assert not stats["library_calls"]


def test_a_new_rate_compiles_nothing(device: str) -> None:
    pair = Pair(named("AdamW"))
    schedulers = [torch.optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=12) for o in pair.optimizers()]
    for i in range(10):
        pair.step(i)
        for scheduler in schedulers:
            scheduler.step()
        if i == 3:
            graphs = ourjit.stats()["graphs"]  # betas are cycled too: constants at first, then inputs
    pair.check()
    assert ourjit.stats()["graphs"] == graphs


def test_one_kernel_serves_groups_and_shapes(device: str) -> None:
    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": parameters[:4], "lr": 0.5}, {"params": parameters[4:], "lr": 0.1}])

    pair = Pair(make)
    for i in range(3):
        pair.step(i)
    pair.check()
    assert ourjit.stats()["graphs"] <= 2  # 0-d parameters have one of their own


def test_what_surrounds_a_step_works(device: str) -> None:
    """Hooks, an added group, parameters without gradients, a loaded state, frozen ones."""
    pair = Pair(named("AdamW", weight_decay=0.1))
    calls: list[str] = []
    pair.jit.register_step_pre_hook(lambda *_: calls.append("before"))
    pair.jit.register_step_post_hook(lambda *_: calls.append("after"))
    pair.step(0)
    pair.step(1)
    for optimizer, parameters in zip(pair.optimizers(), (pair.expected, pair.got, pair.exact), strict=True):
        parameters.append(nn.Parameter(torch.ones(4, 5, dtype=parameters[0].dtype)))
        optimizer.add_param_group({"params": [parameters[-1]], "lr": 0.5})
    pair.step(2)
    pair.step(3)
    for parameters, optimizer in zip((pair.expected, pair.got, pair.exact), pair.optimizers(), strict=True):
        set_gradients(parameters, 4)
        parameters[0].grad = parameters[3].grad = None
        optimizer.step()
    saved = copy.deepcopy(pair.jit.state_dict())
    pair.step(5)
    for optimizer in pair.optimizers():
        optimizer.zero_grad()
        optimizer.load_state_dict(copy.deepcopy(saved) if optimizer is pair.jit else optimizer.state_dict())
    pair.eager.load_state_dict(copy.deepcopy(saved))
    pair.reference.load_state_dict(copy.deepcopy(saved))
    pair.step(6)
    pair.step(7)
    pair.check()
    assert calls == ["before", "after"] * 8
    assert_no_fallbacks()


def test_a_container_of_torch_is_compiled() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU())
    ourjit.accelerate(model)
    model(torch.randn(2, 8))
    assert ourjit.stats()["graphs"] >= 1


def test_a_model_trains_as_in_eager(device: str) -> None:
    def losses(accelerated: bool) -> list[Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        if accelerated:
            ourjit.accelerate(model, optimizer, options={"strict": True})
        found = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = model(torch.randn(32, 8)).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            found.append(loss.detach())
        return found

    assert_same(losses(False), losses(True), tol=1e-4, what="losses")
    assert_no_fallbacks()


def test_scaled_gradients_that_overflow_skip_the_step() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    p = nn.Parameter(torch.ones(5))
    optimizer = torch.optim.SGD([p], lr=1.0)
    ourjit.accelerate(nn.Module(), optimizer, options={"strict": True})
    for factor in (1.0, 1.0, float("inf")):
        optimizer.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert torch.equal(p.detach(), torch.full((5,), -1.0))


def test_closures_come_first() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.5)
    ourjit.accelerate(nn.Module(), optimizer, options={"strict": True})

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert [optimizer.step(closure).item() for _ in range(3)] == [3.0, 0.0, 0.0]


def test_updated_parameters_are_seen_as_changed() -> None:
    p = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([p], lr=0.5)
    ourjit.accelerate(nn.Module(), optimizer, options={"strict": True})
    p.grad = torch.ones(3)
    optimizer.step()
    y = p.exp().mul(p).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("layout", ["transposed", "channels_last", "strided", "odd_gradient"])
def test_layouts(layout: str, device: str) -> None:
    def arrange(x: Tensor) -> Tensor:
        if layout == "transposed":
            return x.transpose(0, 1).contiguous().transpose(0, 1)
        if layout == "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        if layout == "strided":
            return torch.stack([x, x], -1)[..., 0]
        return x

    pair = Pair(named("Adam"), shapes=[(4, 3, 5, 6), (2, 3, 4, 4)])
    for parameters in (pair.expected, pair.got, pair.exact):
        for p in parameters:
            p.data = arrange(p.data.clone())
    for i in range(3):
        for parameters in (pair.expected, pair.got, pair.exact):
            set_gradients(parameters, i)
            if layout == "odd_gradient":
                for p in parameters:
                    p.grad = p.grad.transpose(0, 1).contiguous().transpose(0, 1)  # type: ignore[union-attr]
        for optimizer in pair.optimizers():
            optimizer.step()
    pair.check()
    assert_no_fallbacks()


def test_copies_step_by_themselves() -> None:
    pair = Pair(named("AdamW"))
    pair.step(0)
    pair.step(1)
    for made in (copy.deepcopy(pair.jit), pickle.loads(pickle.dumps(pair.jit))):
        before = [p.detach().clone() for p in pair.got]
        for group in made.param_groups:
            set_gradients(group["params"], 2)
        made.step()
        assert_same(before, [p.detach() for p in pair.got])
        assert_same(copy.deepcopy(pair).stepped(2), made.param_groups[0]["params"], tol=1e-5)


# --- optimizers that users write ------------------------------------------------------------------------


class Written(torch.optim.Optimizer):
    def __init__(self, parameters: Any, lr: float = 1e-2) -> None:
        super().__init__(parameters, {"lr": lr, "beta": 0.9})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.update(p, group, self.state[p])

    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        raise NotImplementedError


class Lion(Written):
    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state["average"] = torch.zeros_like(p)
        change = state["average"].clone().mul_(group["beta"]).add(p.grad, alpha=1 - group["beta"]).sign_()
        p.data.add_(change, alpha=-group["lr"])
        state["average"].lerp_(p.grad.data, 1 - group["beta"])  # type: ignore[union-attr]


class CountingAdam(Written):
    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        if not state:
            state["step"] = 0
            state["square"] = torch.zeros_like(p)
        state["step"] += 1
        state["square"].mul_(group["beta"]).addcmul_(p.grad, p.grad, value=1 - group["beta"])
        rate = group["lr"] * math.sqrt(1 - group["beta"] ** state["step"])
        p.addcdiv_(p.grad, state["square"].sqrt().add_(1e-8), value=-rate)


class LocalNumbers(Written):
    """Numbers that are changed under another name stay what they are in groups and states."""

    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        rate = group["lr"]
        rate *= 0.5
        count = state.setdefault("count", 0.0)
        count += 1
        rate /= count
        state["count"] += 0.5
        p.sub_(p.grad, alpha=rate)


class Clipping(Written):
    """Its update of one parameter depends on the gradients of all."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        for p in parameters:
            p.add_(p.grad / (norm + 1), alpha=-self.param_groups[0]["lr"])


class Averaging(Written):
    """Its update depends on the number of parameters."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        parameters = [p for group in self.param_groups for p in group["params"]]
        for p in parameters:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"] / len(parameters))


class CountsByItself(Written):
    steps = 0

    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        self.steps += 1
        p.sub_(p.grad, alpha=group["lr"] / self.steps)


class ByPosition(Written):
    """Its first parameters are treated differently: more than a trace has stand-ins."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for i, p in enumerate(p for group in self.param_groups for p in group["params"]):
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"] * (1.0 if i < 50 else 0.5))


class ByIdentity(Written):
    """A parameter that it knows is treated differently."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        special = self.__dict__.setdefault("special", id(self.param_groups[0]["params"][0]))
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"] * (0.5 if id(p) == special else 1.0))


class Returning(Written):
    @torch.no_grad()
    def step(self) -> float:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])
        return 1.0


class Noisy(Written):
    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        p.sub_(p.grad * torch.rand_like(p).round_().clamp_(1, 1), alpha=group["lr"])


class ByShape(Written):
    """Large and small parameters are treated differently."""

    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        p.sub_(p.grad, alpha=group["lr"] * (2 if p.numel() > 100 else 1))
        if p.dim() > 1:
            p.sub_(p.mean(-1, keepdim=True), alpha=group["lr"])


class Replacing(Written):
    def update(self, p: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        state["average"] = state.get("average", 0) * 0.5 + p.grad
        p.sub_(state["average"], alpha=group["lr"])


@pytest.mark.parametrize("kind", [Lion, CountingAdam, LocalNumbers, ByShape])
def test_written_optimizers(kind: type[Written], device: str) -> None:
    pair = Pair(kind, shapes=[(64, 64), (3, 5), (64,), (7, 1000), (1,), ()])
    for i in range(5):
        if i == 3:
            for optimizer in pair.optimizers():
                optimizer.param_groups[0]["lr"] = 0.05
        pair.step(i)
    pair.check()
    assert_no_fallbacks()
    assert [type(s.get("step")) for s in pair.jit.state.values()] == [
        type(s.get("step")) for s in pair.eager.state.values()
    ]


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Clipping, "depends on others"),
        (Averaging, "alike"),
        (CountsByItself, "attribute 'steps'|alike"),
        (Noisy, "random"),
        (Replacing, "'average' is replaced"),
        (ByIdentity, "not what its trace"),
        (Returning, "returns a float"),
    ],
)
def test_what_cannot_be_compiled_runs_as_it_is(kind: type[Written], why: str) -> None:
    pair = Pair(kind, strict=False)
    for i in range(4):
        pair.step(i)
    assert_same(pair.expected, pair.got, what="parameter")
    assert re.search(why, reason(kind.__name__)), reason(kind.__name__)
    assert ourjit.stats()["fallbacks"][f"{kind.__name__}.step"]["count"] >= 2


def test_what_no_trace_shows_is_found_by_the_first_compiled_step() -> None:
    pair = Pair(ByPosition, strict=False, shapes=[(3,)] * 60)
    for i in range(4):
        pair.step(i)
    pair.check()
    assert "not what its trace" in reason("ByPosition")


def test_parameters_that_share_memory_are_updated_one_by_one() -> None:
    def make() -> tuple[Tensor, torch.optim.Optimizer]:
        memory = torch.ones(6)
        views = [nn.Parameter(memory[:4]), nn.Parameter(memory[2:])]
        for p in views:
            p.grad = torch.ones(4)
        return memory, torch.optim.SGD(views, lr=0.5, momentum=0.9)

    (expected, eager), (got, jit) = make(), make()
    ourjit.accelerate(nn.Module(), jit)
    for _ in range(3):
        eager.step()
        jit.step()
    assert torch.equal(expected, got)
    assert "share memory" in reason("SGD")


def test_sparse_gradients_run_as_they_are() -> None:
    table = nn.Embedding(5, 3, sparse=True)
    before = table.weight.detach().clone()
    optimizer = torch.optim.SGD(table.parameters(), lr=1.0)
    ourjit.accelerate(nn.Module(), optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        table(torch.tensor([1, 1])).sum().backward()
        optimizer.step()
    assert torch.equal(before - table.weight.detach(), torch.tensor([0.0, 4.0, 0.0, 0.0, 0.0])[:, None].expand(5, 3))
    assert "sparse_coo" in reason("SGD")


def test_strict_refuses() -> None:
    pair = Pair(Clipping)
    pair.step(0)
    with pytest.raises(ourjit.Unsupported, match=r"Clipping\.step cannot be compiled: .*depends on others"):
        pair.step(1)


def test_muon_is_compiled_for_each_shape() -> None:
    pair = Pair(lambda ps: torch.optim.Muon(ps, lr=1e-2), shapes=[(8, 4), (5, 6), (8, 4)])
    for i in range(3):
        pair.step(i)
    assert_same(pair.expected, pair.got, pair.exact, 1e-3, "parameter")  # its iteration is in bf16
    assert_no_fallbacks()


def test_bad_arguments() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(ourjit.UserError, match=r"model must be a torch\.nn\.Module, not a list"):
        ourjit.accelerate([])  # type: ignore[arg-type]
    with pytest.raises(ourjit.UserError, match=r"optimizer must be a torch\.optim\.Optimizer, not a Linear"):
        ourjit.accelerate(model, model)  # type: ignore[arg-type]
    with pytest.raises(ourjit.UserError, match="unknown option 'strct'"):
        ourjit.accelerate(model, options={"strct": True})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
    with pytest.raises(ourjit.UserError, match="was replaced"):
        ourjit.accelerate(model, optimizer)


def test_a_step_within_a_compiled_function_is_not_looked_into() -> None:
    pair, frames = Pair(named("AdamW")), []

    def note(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
        frames.append(graph)
        return graph.forward

    def update(x: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        y = x.sin()
        optimizer.step()
        return y + 1

    compiled = torch.compile(update, backend=note)
    for seed in range(4):
        set_gradients(pair.expected, seed)
        set_gradients(pair.got, seed)
        pair.eager.step()
        compiled(torch.ones(3), pair.jit)
    assert len(frames) == 2  # what lies before and behind the step
    for expected, got in zip(pair.expected, pair.got, strict=True):
        torch.testing.assert_close(got, expected)
    assert_no_fallbacks()
