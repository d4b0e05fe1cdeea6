"""8-bit floats: conversions equal eager's in every bit, and scaled casts as training recipes use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import torch
from check import assert_no_fallbacks, compiled, needs_nvrtc
from torch import Tensor

FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]
WIDE = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def same_bits(expected: Tensor, got: Tensor) -> None:
    assert expected.dtype == got.dtype and expected.shape == got.shape
    nan = expected.float().isnan()
    assert torch.equal(nan, got.float().isnan())
    width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[expected.element_size()]
    assert torch.equal(expected.view(width)[~nan], got.view(width)[~nan])


def all_of_16_bits(dtype: torch.dtype) -> Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)


def hard_floats() -> Tensor:
    """f32 numbers about every tie and every bound of 8-bit floats, and of all sizes."""
    ties = torch.arange(256, dtype=torch.uint8)
    values = torch.cat([ties.view(dtype).float() for dtype in FLOAT8])
    values = values[values.isfinite()].unique()
    middle = (values[1:] + values[:-1]) / 2
    near = torch.cat([values, middle])
    near = torch.cat([near, near.nextafter(torch.tensor(torch.inf)), near.nextafter(torch.tensor(-torch.inf))])
    anything = torch.randint(-(2**31), 2**31, (50_000,)).to(torch.int32).view(torch.float32)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 448, 464, 464.001, 480, 57344, 61440, 65536])
    return torch.cat([near, anything, special, -special])


@pytest.mark.parametrize("to", WIDE, ids=name)
@pytest.mark.parametrize("dtype", FLOAT8, ids=name)
def test_all_values_widen_as_in_eager(dtype: torch.dtype, to: torch.dtype, device: str) -> None:
    x = torch.arange(256, dtype=torch.uint8).view(dtype)
    same_bits(x.to(to), compiled(lambda x: x.to(to))(x))
    assert_no_fallbacks()


@pytest.mark.parametrize("given", WIDE, ids=name)
@pytest.mark.parametrize("dtype", FLOAT8, ids=name)
def test_rounding_is_eagers(dtype: torch.dtype, given: torch.dtype, device: str) -> None:
    x = all_of_16_bits(given) if given.itemsize == 2 else hard_floats().to(given)
    if given == torch.float64:
        x = torch.cat([x, x * (1 + 2**-40)])
    same_bits(x.to(dtype), compiled(lambda x: x.to(dtype))(x.to(torch.get_default_device())))
    assert_no_fallbacks()


def scaled_cast(x: Tensor, dtype: torch.dtype, dim: int | None) -> tuple[Tensor, Tensor]:
    """The scale that takes the largest magnitude (of each row, if `dim` is given) to the largest number."""
    amax = x.abs().amax() if dim is None else x.abs().amax(dim, keepdim=True)
    scale = torch.finfo(dtype).max / amax.clamp(min=1e-12)
    bound = torch.finfo(dtype).max
    return (x * scale).clamp(-bound, bound).to(dtype), scale.reciprocal()


def delayed_cast(x: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
    """The scale of the largest magnitude in the steps before; the history goes on by one step."""
    scale = 448 / history.amax().clamp(min=1e-12)
    y = (x * scale).clamp(-448, 448).to(torch.float8_e4m3fn)
    return y, torch.cat([x.abs().amax().reshape(1), history[:-1]])


RECIPES: dict[str, Callable[[Tensor], Any]] = {
    "tensor_e4m3": lambda x: scaled_cast(x, torch.float8_e4m3fn, None),
    "tensor_e5m2": lambda x: scaled_cast(x, torch.float8_e5m2, None),
    "rows_e4m3": lambda x: scaled_cast(x, torch.float8_e4m3fn, 1),
    "columns_e5m2": lambda x: scaled_cast(x, torch.float8_e5m2, 0),
    "there_and_back": lambda x: x.to(torch.float8_e4m3fn).to(x.dtype) * 2 + x,
    "transposed": lambda x: x.t().contiguous().to(torch.float8_e5m2),
    "delayed": lambda x: delayed_cast(x, x[0, :16].abs().float()),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16], ids=name)
def test_recipes(recipe: str, given: torch.dtype, device: str) -> None:
    x = torch.randn(37, 130).to(given)
    expected, got = RECIPES[recipe](x), compiled(RECIPES[recipe])(x)
    for a, b in zip(*((t if isinstance(t, tuple) else (t,)) for t in (expected, got)), strict=True):
        assert a.dtype == b.dtype
        # One unit of the last place: chains of bf16 operations are rounded once.
        unit = {torch.float8_e4m3fn: 0.126, torch.float8_e5m2: 0.251}.get(a.dtype, 2e-2)
        torch.testing.assert_close(a.float(), b.float(), rtol=unit, atol=1e-3)
        if given == torch.float32 and a.dtype.itemsize == 1:
            assert (a.view(torch.uint8) != b.view(torch.uint8)).float().mean() < 1e-3
    assert_no_fallbacks()


class Quantized(torch.autograd.Function):
    """Forward in e4m3, backward in e5m2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.to(torch.float8_e4m3fn).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to(torch.float8_e5m2).to(gradient.dtype)


def test_gradients_in_e5m2(device: str) -> None:
    def f(x: Tensor) -> Tensor:
        return (Quantized.apply(x) ** 2).sum()

    x = torch.randn(64, 33, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    f(x).backward()
    compiled(f)(y).backward()
    assert x.grad is not None and y.grad is not None
    torch.testing.assert_close(x.grad, y.grad)
    assert_no_fallbacks()


@needs_nvrtc
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_gpu_kernels_store_128_bits_at_once(architecture: str) -> None:
    x = torch.randn(64, 1024)
    for dtype in FLOAT8:
        (kernel,) = ourjit.emit(lambda x, d=dtype: (x * 2).to(d), x, target=architecture)
        assert kernel.binary()[:4] == b"\x7fELF"
        (kernel,) = ourjit.emit(lambda x: x.float() * 2, x.to(dtype), target=architecture)
        assert kernel.binary()[:4] == b"\x7fELF"
