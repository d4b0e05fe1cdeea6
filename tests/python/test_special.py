"""Special functions at their edges, and against values of many digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from check import check_function, compiled
from mpmath import mpf
from torch import Tensor

pytestmark = pytest.mark.usefixtures("device")

EDGES = [0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2.5, -3, 1e-30, 1e-42, 1e-310, 8, -8, 50, -27, 89, 720, 1e6, 1e30, -1e30]
EDGES += [torch.inf, -torch.inf, torch.nan]

NAMES = (
    "i0 i0e i1 i1e erfcx ndtri log_ndtr modified_bessel_i0 modified_bessel_i1 modified_bessel_k0 modified_bessel_k1 "
    "scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0"
).split()
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {name: getattr(torch.special, name) for name in NAMES}
FUNCTIONS |= {f"polygamma_{n}": lambda x, n=n: torch.polygamma(n, x) for n in (2, 3)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges_are_those_of_eager(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor(EDGES, dtype=torch.float64).to(dtype)
    expected, got = FUNCTIONS[name](x), compiled(FUNCTIONS[name])(x)
    torch.testing.assert_close(got, expected, equal_nan=True, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)
    zeros = expected == 0
    assert torch.equal(got[zeros].signbit(), expected[zeros].signbit())


def test_edges_of_zeta_are_those_of_eager() -> None:
    s = torch.tensor([-1.0, 0.5, 1, 1.5, 2, 3, 80, torch.nan], dtype=torch.float64)
    q = torch.tensor([*EDGES, -0.3, -2.7, -0.75], dtype=torch.float64)
    check_function(torch.special.zeta, s[:, None].contiguous(), q, tol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_nextafter_gives_the_same_bits(dtype: torch.dtype) -> None:
    info = torch.finfo(dtype)
    x = torch.tensor([*EDGES, info.max, info.tiny, 2 * info.tiny], dtype=torch.float64).to(dtype)
    powers = (2.0 ** torch.arange(-1074, 1024, dtype=torch.float64)).to(dtype)
    near = torch.tensor([0.0, torch.inf, -torch.inf], dtype=dtype)[:, None]
    x = torch.cat([x, powers, powers * -0.7])
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    for y in (x[:27, None].contiguous(), near):
        expected, got = torch.nextafter(x, y), compiled(torch.nextafter)(x, y)
        numbers = ~expected.isnan()
        assert torch.equal(got.isnan(), expected.isnan())
        assert torch.equal(got[numbers].view(bits), expected[numbers].view(bits))


def _zeta(s: mpf, q: mpf) -> mpf:
    return mpmath.zeta(s, q) if q > 0 else q ** (-int(s)) + _zeta(s, q + 1)


# Function, reference, range. Errors count in units in the last place of at least `FLOOR`, as roots lie between floats.
FLOOR = 0.1
ACCURACY: dict[str, tuple[Callable[..., Tensor], Callable[..., Any], float, float]] = {
    "i0": (torch.i0, lambda x: mpmath.besseli(0, x), -50, 50),
    "i0e": (torch.special.i0e, lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), -50, 50),
    "i1": (torch.special.i1, lambda x: mpmath.besseli(1, x), -20, 20),
    "i1e": (torch.special.i1e, lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), -50, 50),
    "erfcx": (torch.special.erfcx, lambda x: mpmath.exp(x * x) * mpmath.erfc(x), -4, 60),
    "ndtri": (torch.special.ndtri, lambda p: mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1), 0.001, 0.99),
    "log_ndtr": (torch.special.log_ndtr, lambda x: mpmath.log(mpmath.ncdf(x)), -20, 4),
    "k0": (torch.special.modified_bessel_k0, lambda x: mpmath.besselk(0, x), 0.001, 40),
    "k1": (torch.special.modified_bessel_k1, lambda x: mpmath.besselk(1, x), 0.001, 40),
    "j0": (torch.special.bessel_j0, lambda x: mpmath.besselj(0, x), -9, 9),
    "j1": (torch.special.bessel_j1, lambda x: mpmath.besselj(1, x), -9, 9),
    "y0": (torch.special.bessel_y0, lambda x: mpmath.bessely(0, x), 0.01, 9),
    "y1": (torch.special.bessel_y1, lambda x: mpmath.bessely(1, x), 0.01, 9),
    "airy_ai": (torch.special.airy_ai, mpmath.airyai, -6, 2),
    "zeta": (lambda q: torch.special.zeta(3.0, q), lambda q: _zeta(mpf(3), q), -4, 9),
    "polygamma": (lambda x: torch.polygamma(2, x), lambda x: mpmath.polygamma(2, x), -4, 9),
}


def largest_errors(name: str, x: Tensor, floor: float, digits: int) -> tuple[float, float]:
    """Ours and eager's, against a reference of so many digits."""
    function, reference, *_ = ACCURACY[name]
    with mpmath.workdps(digits):
        exact = [reference(mpf(v)) for v in x.tolist()]
        sizes = [mpmath.frexp(max(abs(v), mpf(floor)))[1] for v in exact]
        units = [mpf(2) ** size * torch.finfo(x.dtype).eps / 2 for size in sizes]

        def largest(y: Tensor) -> float:
            return max(float(abs(mpf(a) - e) / u) for a, e, u in zip(y.tolist(), exact, units, strict=True))

        return largest(compiled(function)(x)), largest(function(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy_is_that_of_eager(name: str, dtype: torch.dtype) -> None:
    x = torch.linspace(*ACCURACY[name][2:], 201, dtype=torch.float64).add(1e-3).to(dtype)
    ours, theirs = largest_errors(name, x, FLOOR, digits=30)
    assert ours <= max(2, 1.25 * theirs + (1.5 if dtype == torch.float32 else 3.5)), f"{ours} units, eager's {theirs}"


SERIES = {
    "i0e": torch.linspace(-99, 99, 300),
    "i1e": torch.linspace(-99, 99, 300),
    "i1": torch.linspace(-20, 20, 300),
    "erfcx": torch.linspace(-4, 60, 300),
    "ndtri": torch.linspace(1e-6, 1, 300),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", SERIES)
def test_series_are_as_accurate_as_eager(name: str, dtype: torch.dtype) -> None:
    """In units in the last place of the result, however small."""
    x = torch.cat([SERIES[name][:-1], SERIES[name][:20] / 1000 + 1e-9]).to(dtype)
    x = x[(x > 0) | torch.tensor(name != "ndtri")]
    ours, theirs = largest_errors(name, x, floor=0, digits=40)
    assert ours <= theirs + 1.5


@pytest.mark.parametrize("name", ["i0", "i0e", "i1", "i1e", "erfcx", "ndtri", "log_ndtr"])
def test_special_values_of_series(name: str) -> None:
    inf = torch.inf
    x = torch.tensor([torch.nan, inf, -inf, 0.0, -0.0, 1e-42, -1e-42, 1, -1, 100, -100, 1e30, -1e30, 0.5, 2])
    expected, got = FUNCTIONS[name](x), compiled(FUNCTIONS[name])(x)
    torch.testing.assert_close(got, expected, equal_nan=True)
    assert torch.equal(got.isnan() | got.signbit(), expected.isnan() | expected.signbit())


def test_smaller_of_two_f16_numbers_that_are_no_nan() -> None:
    """LLVM calls fminf and fmaxf for these on CPUs without 16-bit arithmetic."""

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        loss = (x.square() - x).abs().mean()
        return torch.fmin(torch.ones_like(x), loss), torch.fmax(torch.ones_like(x), loss)

    x = torch.linspace(-1.75, 1.25, 8).to(torch.float16).view(1, 8)
    for expected, got in zip(f(x), compiled(f)(x), strict=True):
        torch.testing.assert_close(got, expected)
