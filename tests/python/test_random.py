"""Random numbers: reproducible from torch.manual_seed, fresh at each call, the same in forward and backward."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import assert_no_fallbacks, check_function, compiled
from models import CASES
from ourjit.decompositions import decomposition_table
from ourjit.random_ops import rng_seed
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("device")


def dropout(x: Tensor) -> Tensor:
    return F.dropout(x, 0.25)


def test_dropout_is_reproducible_and_fresh() -> None:
    f = compiled(dropout)
    x = torch.ones(64, 1000)
    torch.manual_seed(7)
    first, second = f(x), f(x)
    torch.manual_seed(7)
    again = f(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert_no_fallbacks()


def test_dropout_keeps_the_right_share_and_scales() -> None:
    y = compiled(dropout)(torch.ones(1000, 1000))
    kept = y != 0
    assert abs(kept.double().mean().item() - 0.75) < 0.002
    assert torch.all(y[kept] == torch.tensor(1.0) / 0.75) or torch.allclose(y[kept], torch.tensor(1 / 0.75))
    assert abs(kept.double().mean(dim=0) - 0.75).max() < 0.1
    # Neighbours are independent.
    pairs = (kept[:, 1:] & kept[:, :-1]).double().mean().item()
    assert abs(pairs - 0.75**2) < 0.003


def test_backward_sees_the_mask_of_the_forward() -> None:
    x = torch.ones(100, 100, requires_grad=True)
    y = compiled(lambda x: F.dropout(x.sin() * 0 + x, 0.5))(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_calls_in_one_graph_differ() -> None:
    a, b = compiled(lambda x: (F.dropout(x, 0.5), F.dropout(x, 0.5)))(torch.ones(1000))
    assert not torch.equal(a, b)


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (torch.rand_like, 0.5, 12**-0.5),
        (torch.randn_like, 0.0, 1.0),
        (lambda x: torch.rand(x.shape), 0.5, 12**-0.5),
        (lambda x: torch.randn(x.shape), 0.0, 1.0),
        (lambda x: torch.empty_like(x).normal_(2.0, 3.0), 2.0, 3.0),
        (lambda x: torch.empty_like(x).uniform_(-1.0, 3.0), 1.0, 4 * 12**-0.5),
        (lambda x: torch.empty_like(x).exponential_(2.0), 0.5, 0.5),
        (lambda x: torch.randint(0, 10, x.shape).float(), 4.5, 8.25**0.5),
        (lambda x: torch.bernoulli(torch.full_like(x, 0.3)), 0.3, 0.21**0.5),
        (lambda x: torch.randint_like(x, -3, 3), -0.5, (35 / 12) ** 0.5),
        (lambda x: torch.empty_like(x).geometric_(0.4), 2.5, 0.6**0.5 / 0.4),
        (lambda x: torch.empty_like(x).log_normal_(0.0, 0.25), math.exp(1 / 32), 0.2583),
        (lambda x: torch.empty_like(x).cauchy_().atan(), 0.0, math.pi * 12**-0.5),
        (lambda x: torch.normal(torch.full_like(x, 2.0), torch.full_like(x, 0.5)), 2.0, 0.5),
        (lambda x: torch.normal(1.0, 2.0, x.shape), 1.0, 2.0),
        (lambda x: F.rrelu(x - 1, 0.25, 0.75, training=True), -0.5, 0.5 * 12**-0.5),
    ],
    ids=[
        "rand_like",
        "randn_like",
        "rand",
        "randn",
        "normal_",
        "uniform_",
        "exponential_",
        "randint",
        "bernoulli",
        "randint_like",
        "geometric_",
        "log_normal_",
        "cauchy_",
        "normal of both",
        "normal sized",
        "rrelu",
    ],
)
def test_moments(draw: Callable[[Tensor], Tensor], mean: float, std: float) -> None:
    f = compiled(lambda x: draw(x) + x)
    values = f(torch.zeros(1000, 1000))
    assert abs(values.double().mean().item() - mean) < 0.01
    assert abs(values.double().std().item() - std) < 0.01
    assert not torch.equal(values, f(torch.zeros(1000, 1000)))
    assert_no_fallbacks()


@pytest.mark.parametrize("name", [case.name for case in CASES.values() if case.has_dropout or case.random])
def test_models_with_randomness(name: str) -> None:
    """The same seed gives the same loss and gradients; the loss is near eager's; another seed differs."""
    case = CASES[name]
    model = case.build(0.1)
    batch = case.batch(1)
    eager = copy.deepcopy(model)
    jit = compiled(model)

    def step(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        model.zero_grad()
        loss = jit(*batch)
        loss.backward()
        return [loss.detach().clone(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]

    first, again, other = step(1), step(1), step(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    losses = torch.stack([eager(*batch).detach() for _ in range(8)])
    jit_losses = torch.stack([jit(*batch).detach() for _ in range(8)])
    spread = losses.std() + jit_losses.std() + 1e-3 * losses.mean().abs()
    assert (losses.mean() - jit_losses.mean()).abs() < 4 * spread
    assert_no_fallbacks()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["dropout", "rand_like", "randn"])
def test_a_checkpointed_region_draws_the_same_numbers_again(name: str, reentrant: bool) -> None:
    def region(x: Tensor) -> Tensor:
        return x.exp() * RANDOM_ON_GPUS[name](torch.ones_like(x))

    for budget in (1.0, 0.0):
        x = torch.randn(32, 32, requires_grad=True)
        with torch._functorch.config.patch(activation_memory_budget=budget):
            y = compiled(lambda x: checkpoint(region, x, use_reentrant=reentrant))(x)
            y.sum().backward()
        torch.testing.assert_close(x.grad, y.detach())
        torch.compiler.reset()


DRAWN_BY_TORCH: dict[str, Callable[[], Tensor]] = {
    "multinomial": lambda: torch.multinomial(torch.ones(8, 100), 8),
    "randperm": lambda: torch.randperm(8),
}


@pytest.mark.parametrize("name", DRAWN_BY_TORCH)
def test_numbers_that_torch_draws_in_a_checkpointed_region_are_drawn_again(name: str) -> None:
    x = torch.randn(8, 8, requires_grad=True)
    y = compiled(lambda x: checkpoint(lambda t: t.exp() * DRAWN_BY_TORCH[name](), x, use_reentrant=False))(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())


@pytest.mark.parametrize("dynamic", [False, True])
def test_checkpointed_attention_is_called_as_it_is(dynamic: bool) -> None:
    """Torch counts attention among the operators that draw numbers, also without dropout."""

    def region(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x.sin(), x, x, is_causal=True).sin()

    ourjit.reset()
    x = torch.randn(2, 2, 6, 8, requires_grad=True)
    check_function(lambda x: checkpoint(region, x, use_reentrant=False), x, dynamic=dynamic)
    assert not [name for name in ourjit.stats()["library_calls"] if "higher_order" in name]


def test_fallback_random_draws_as_eager_does() -> None:
    f = torch.compile(dropout, backend="ourjit", options={"fallback_random": True})
    x = torch.ones(100, 100)
    torch.manual_seed(3)
    expected = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(f(x), expected)


RANDOM_ON_GPUS = {
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "rand_like": torch.rand_like,
    "randn": lambda x: torch.randn(x.shape, device=x.device),
    "randint": lambda x: torch.randint(0, 9, x.shape, device=x.device),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "exponential": lambda x: x.clone().exponential_(),
}


@pytest.mark.parametrize("name", RANDOM_ON_GPUS)
def test_seeds_are_drawn_on_the_tensors_own_device(name: str) -> None:
    """Traced with fake CUDA tensors, so this needs no GPU."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        x = torch.empty(4, 5, device="cuda")
        graph = make_fx(functionalize(RANDOM_ON_GPUS[name]), decomposition_table(fallback_random=False))(x).graph
    calls = [node for node in graph.nodes if node.op == "call_function"]
    seeds = [node for node in calls if node.target is rng_seed]
    assert len(seeds) == 1
    assert seeds[0].args[1].type == "cuda" and seeds[0].meta["val"].device.type == "cuda"
    assert not [node for node in calls if torch.Tag.nondeterministic_seeded in node.target.tags]
