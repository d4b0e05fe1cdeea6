"""Operators on f16 and bf16: every value there is, and option exact_rounding, which gives eager's very bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
import unary
from check import STRICT, assert_no_fallbacks
from torch import Tensor
from torch.testing._internal.opinfo.core import OpInfo

pytestmark = pytest.mark.usefixtures("device")

DTYPES = (torch.bfloat16, torch.float16)
EXACT = {"exact_rounding": True, "strict": True}


def every_value(dtype: torch.dtype) -> Tensor:
    """All 65,536 values of a 16-bit dtype."""
    return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)


def seeded() -> torch.Generator:
    """Of the default device: what is drawn from it is there."""
    return torch.Generator(torch.get_default_device()).manual_seed(0)


def steps(a: Tensor, b: Tensor) -> Tensor:
    """How many values lie between `a` and `b`, of one 16-bit dtype; 0 if both are NaN, 65536 if one is."""

    def place(x: Tensor) -> Tensor:
        bits = x.view(torch.int16).to(torch.int32)
        return torch.where(bits < 0, -32768 - bits, bits)

    distance = (place(a) - place(b)).abs()
    return torch.where(a.isnan() | b.isnan(), 65536 * (a.isnan() != b.isnan()), distance)


# Several operators to eager, each of which rounds: ours do with the option.
CHAINS = {"nn.functional.tanhshrink", "special.ndtr"}


def operators() -> Iterator[object]:
    left_out = {"cdouble", "cfloat", "chalf", "frexp", "jiterator_unary"}  # not one real result on the CPU
    left_out |= {"mvlgamma", "nn.functional.rrelu"}  # a sum over places rounded next to poles; random slopes
    for dtype in DTYPES:
        for name, op in unary.operators(dtype).items():
            if op.name not in left_out:
                yield pytest.param(op, dtype, id=f"{name}-{str(dtype)[6:]}")


@pytest.mark.parametrize(("op", "dtype"), operators())
def test_every_value(op: OpInfo, dtype: torch.dtype) -> None:
    """One step from eager's result at most, or from the rounded f64 result where eager is farther from it."""
    x = every_value(dtype)
    f = unary.function(op, dtype)
    expected, got = f(x), torch.compile(f, backend="ourjit", options=EXACT if op.name in CHAINS else STRICT)(x)
    assert got.dtype == expected.dtype
    if got.dtype != dtype:
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)
        return
    apart = steps(got, expected)
    if apart.max() > 1:
        apart = torch.minimum(apart, steps(got, f(x.double()).to(dtype)))
    worst = apart.argmax()
    assert apart[worst] <= 1, f"at {x[worst]}: {got[worst]} instead of {expected[worst]}"


Function = Callable[[Tensor, Tensor, Tensor], Tensor]

# Chains whose results follow from correctly rounded steps.
ARITHMETIC: dict[str, Function] = {
    "products and sums": lambda x, y, z: (x * y + z) * 0.3 - x / y,
    "python numbers": lambda x, y, z: ((x + 0.1) * 0.7 - y / 0.3) + (0.9 - z) * (0.3 / x),
    "alpha": lambda x, y, z: torch.add(x, y, alpha=0.3) * torch.sub(y, z, alpha=0.7) - torch.rsub(x, z, alpha=1.3),
    "rounding": lambda x, y, z: torch.div(x, y, rounding_mode="trunc") + (x * z).floor() + (y + z).round(),
    "powers": lambda x, y, z: x**3 + y**2 * z**-2 + (x * y) ** -1,
    "roots": lambda x, y, z: (x * x + y * y).sqrt() / (z * z + 1).rsqrt(),
    "comparisons": lambda x, y, z: torch.where((x + y) > (y + z), x * y, torch.maximum(y * z, x - z)).clamp(-0.3, 0.7),
    "filled": lambda x, y, z: x * torch.full((), 0.1, dtype=x.dtype) + 0.3 * torch.full_like(y, 0.7) - z,
    "wide between": lambda x, y, z: ((x * y).float() * 1.1).to(x.dtype) + z,
    "views": lambda x, y, z: (x * y).view(64, -1).t() + torch.cat([x + z, y * 3]).view(2, -1)[0].view(-1, 64),
    "written": lambda x, y, z: (x * y).mul_(z).add_(x, alpha=0.3).div_(y),
    "ramps": lambda x, y, z: F.leaky_relu(x * y, 0.1) + F.hardswish(y + z) + F.threshold(z * x, 0.1, 0.2),
    "squared error": lambda x, y, z: F.mse_loss(x * z, y, reduction="none") * z,
}  # fmt: skip

# Where a function's f32 result lies almost between two values, another library may round to the other one.
TRANSCENDENTAL: dict[str, Function] = {
    "exponentials": lambda x, y, z: torch.exp(x * 0.1) * torch.sigmoid(y) + torch.tanh(z) - (x * x).log1p(),
    "activations": lambda x, y, z: F.gelu(x * y, approximate="tanh") + F.silu(y - z) * F.mish(z),
    "logarithms": lambda x, y, z: torch.xlogy(x, y * y) + torch.special.entr(z * z) + F.logsigmoid(x - y),
    "trigonometry": lambda x, y, z: torch.sin(x * y) * torch.cos(z) + torch.atan2(x, y),
}


def numbers(dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Ordinary numbers, and all there are against shuffled ones."""
    generator = seeded()
    x, y, z = torch.randn(3, 65536, generator=generator).to(dtype)
    yield x, y, z
    shuffled = every_value(dtype)[torch.randperm(65536, generator=generator)]
    yield shuffled, y, z
    yield x, every_value(dtype), shuffled


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*ARITHMETIC, *TRANSCENDENTAL])
def test_exact_rounding(name: str, dtype: torch.dtype) -> None:
    f = (ARITHMETIC | TRANSCENDENTAL)[name]
    g = torch.compile(f, backend="ourjit", options=EXACT, fullgraph=True)
    for k, args in enumerate(numbers(dtype)):
        if name in TRANSCENDENTAL and k > 0:
            continue  # eager's own functions overflow before the result does
        apart = steps(f(*args), g(*args))
        assert (apart > 0).sum() <= (0 if name in ARITHMETIC else 20), f"{(apart > 0).sum()} values differ"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*ARITHMETIC, "exponentials", "logarithms"])
def test_exact_rounding_of_gradients(name: str, dtype: torch.dtype) -> None:
    f = (ARITHMETIC | TRANSCENDENTAL)[name]
    args = next(numbers(dtype))
    results = []
    for run in (f, torch.compile(f, backend="ourjit", options=EXACT, fullgraph=True)):
        leaves = [t.clone().requires_grad_() for t in args]
        y = run(*leaves)
        results.append(torch.autograd.grad(y, leaves, args[0].view(y.shape), allow_unused=True))
    for expected, got in zip(*results, strict=True):
        assert (expected is None) == (got is None)
        if expected is not None:
            assert (steps(expected, got) > 0).sum() <= (0 if name in ARITHMETIC else 30)
    assert_no_fallbacks()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_without_the_option_sums_keep_more(dtype: torch.dtype) -> None:
    """So that the test above would see it if the option did nothing."""

    def f(x: Tensor) -> Tensor:
        return (x + 1000) - 1000

    x = torch.full((100,), 0.0625, dtype=dtype)
    assert torch.compile(f, backend="ourjit")(x)[0] == 0.0625
    assert torch.compile(f, backend="ourjit", options=EXACT)(x)[0] == f(x)[0] != 0.0625


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float32, torch.float64], ids=str)
def test_frexp_is_exact(dtype: torch.dtype) -> None:
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    limits = torch.iinfo(bits)
    x = torch.randint(limits.min, limits.max, (65536,), generator=seeded(), dtype=bits)
    x = torch.cat(
        [x.view(dtype), torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1, 2, 5e-324], dtype=dtype)]
    )
    expected, got = torch.frexp(x), torch.compile(torch.frexp, backend="ourjit", options=STRICT)(x)
    torch.testing.assert_close(got.mantissa, expected.mantissa, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(got.exponent, expected.exponent)
