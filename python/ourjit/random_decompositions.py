"""Random operators as functions of fresh seeds, which kernels turn into numbers as they need them.

Each call has a stream of its own, so that none are merged. What is given a generator stays torch's, and so does what
is not drawn element by element (multinomial, randperm, binomial, poisson).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ourjit import random_ops

Draw = Callable[[Any, Sequence[int], "torch.dtype | None", Any], Tensor]


def rules() -> dict[str, Callable[..., Any]]:
    """Decompositions by overload for one trace, whose streams count from zero."""
    streams = itertools.count()

    def draw(operator: Any, size: Sequence[int], dtype: torch.dtype | None, device: Any) -> Tensor:
        seed = random_ops.rng_seed(next(streams), _device(device))
        return operator(seed, size, dtype or torch.get_default_dtype())

    def rule(function: Callable[..., Any]) -> Callable[..., Any]:
        """Leaves a call alone that has a generator, or is for a device without kernels."""

        def decompose(*args: Any, **keywords: Any) -> Any:
            like = args[0] if args and isinstance(args[0], Tensor) else None
            device = keywords.get("device") or (like.device if like is not None else None)
            if keywords.pop("generator", None) is not None or _device(device).type not in ("cpu", "cuda"):
                return NotImplemented
            return function(draw, *args, **keywords)

        return decompose

    return {name: rule(function) for name, function in _RULES.items()}


def _device(device: Any) -> torch.device:
    return torch.device(device if device is not None else torch.get_default_device())


def _uniform(draw: Draw, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Numbers in [0, 1), shaped as `x`."""
    return draw(random_ops.uniform, x.shape, dtype or x.dtype, x.device)


def _normal(draw: Draw, x: Tensor) -> Tensor:
    return draw(random_ops.normal, x.shape, x.dtype, x.device)


def bernoulli(draw: Draw, x: Tensor, p: float | None = None) -> Tensor:
    return (_uniform(draw, x, torch.float32) < (x if p is None else p)).to(x.dtype)


def native_dropout(draw: Draw, x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    if train is False or p == 0:
        return x.clone(), torch.ones_like(x, dtype=torch.bool)
    if p == 1:
        return torch.zeros_like(x), torch.zeros_like(x, dtype=torch.bool)
    mask = _uniform(draw, x, torch.float32) >= p
    return x * mask * (1.0 / (1.0 - p)), mask


def _sized(operator: Any) -> Callable[..., Tensor]:
    def sized(draw: Draw, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        return draw(operator, size, dtype, device)

    return sized


def _like(operator: Any) -> Callable[..., Tensor]:
    def like(draw: Draw, x: Tensor, *, dtype: Any = None, device: Any = None, **_: Any) -> Tensor:
        return draw(operator, x.shape, dtype or x.dtype, device or x.device)

    return like


def _integers(draw: Draw, low: int, high: int, size: Sequence[int], dtype: Any, device: Any) -> Any:
    if not high - low <= 2**53:  # more than a float64 tells apart
        return NotImplemented
    return ((draw(random_ops.uniform, size, torch.float64, device) * (high - low)).floor() + low).to(dtype)


def randint(draw: Draw, high: int, size: Sequence[int], **keywords: Any) -> Any:
    return randint_low(draw, 0, high, size, **keywords)


def randint_low(
    draw: Draw, low: int, high: int, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any
) -> Any:
    return _integers(draw, low, high, size, dtype or torch.int64, device)


def randint_like(draw: Draw, x: Tensor, high: int, **keywords: Any) -> Any:
    return randint_like_low(draw, x, 0, high, **keywords)


def randint_like_low(
    draw: Draw, x: Tensor, low: int, high: int, *, dtype: Any = None, device: Any = None, **_: Any
) -> Any:
    return _integers(draw, low, high, x.shape, dtype or x.dtype, device or x.device)


def normal_functional(draw: Draw, x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return _normal(draw, x) * std + mean


def normal_sized(
    draw: Draw, mean: float, std: float, size: Sequence[int], *, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    return draw(random_ops.normal, size, dtype, device) * std + mean


def normal_around(draw: Draw, mean: Any, std: Any = 1.0) -> Tensor:
    """One of `mean` and `std` is a tensor, or both are."""
    like = torch.broadcast_tensors(*(t for t in (mean, std) if isinstance(t, Tensor)))[0]
    return (_normal(draw, like) * std + mean).to(like.dtype)


def uniform(draw: Draw, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    return _uniform(draw, x) * (high - low) + low


def exponential(draw: Draw, x: Tensor, rate: float = 1.0) -> Tensor:
    return torch.log1p(-_uniform(draw, x)) / -rate


def cauchy(draw: Draw, x: Tensor, median: float = 0.0, sigma: float = 1.0) -> Tensor:
    return torch.tan(math.pi * (_uniform(draw, x) - 0.5)) * sigma + median


def geometric(draw: Draw, x: Tensor, p: float) -> Tensor:
    """The number of trials up to the first success: 1, 2, ..."""
    u = _uniform(draw, x, torch.float64 if x.dtype == torch.float64 else torch.float32)
    return (torch.log1p(-u) / math.log1p(-p)).ceil().clamp(min=1).to(x.dtype) if p < 1 else torch.ones_like(x)


def log_normal(draw: Draw, x: Tensor, mean: float = 1.0, std: float = 2.0) -> Tensor:
    return (_normal(draw, x) * std + mean).exp()


def rrelu(
    draw: Draw, x: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> tuple[Tensor, Tensor]:
    """Slopes below zero are noise; it is kept for the backward."""
    if not training:
        return torch.where(x < 0, x * ((lower + upper) / 2), x), noise.clone()
    slopes = torch.where(x <= 0, _uniform(draw, x) * (upper - lower) + lower, 1)
    return x * slopes, slopes


_RULES: dict[str, Callable[..., Any]] = {
    "aten.bernoulli.default": bernoulli,
    "aten.bernoulli.p": bernoulli,
    "aten.native_dropout.default": native_dropout,
    "aten.rand.default": _sized(random_ops.uniform),
    "aten.rand_like.default": _like(random_ops.uniform),
    "aten.randn.default": _sized(random_ops.normal),
    "aten.randn_like.default": _like(random_ops.normal),
    "aten.randint.default": randint,
    "aten.randint.low": randint_low,
    "aten.randint_like.default": randint_like,
    "aten.randint_like.low_dtype": randint_like_low,
    "aten.normal_functional.default": normal_functional,
    "aten.normal.float_float": normal_sized,
    "aten.normal.Tensor_float": normal_around,
    "aten.normal.float_Tensor": normal_around,
    "aten.normal.Tensor_Tensor": normal_around,
    "aten.uniform.default": uniform,
    "aten.exponential.default": exponential,
    "aten.cauchy.default": cauchy,
    "aten.geometric.default": geometric,
    "aten.log_normal.default": log_normal,
    "aten.rrelu_with_noise_functional.default": rrelu,
}
