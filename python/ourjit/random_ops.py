"""Operators of the `ourjit` namespace: random numbers as a pure function of a seed.

`rng_seed` draws 64 bits from the device's default generator at each call; `uniform` and `normal` turn a seed into any
number of random numbers. A backward graph keeps the seed (8 bytes) and computes the same numbers again. In a compiled
graph these are Philox kernels; the implementations here serve graphs that run without being compiled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_library = torch.library.Library("ourjit", "DEF")
_library.define("rng_seed(int stream, Device device) -> Tensor")
_library.define("uniform(Tensor seed, SymInt[] size, ScalarType dtype) -> Tensor")
_library.define("normal(Tensor seed, SymInt[] size, ScalarType dtype) -> Tensor")


def _rng_seed(stream: int, device: torch.device) -> Tensor:
    return torch.empty((), dtype=torch.int64, device=device).random_(-(2**63), None)


def _generator(seed: Tensor) -> torch.Generator:
    return torch.Generator(seed.device).manual_seed(int(seed) & (2**63 - 1))


def _uniform(seed: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.rand(size, generator=_generator(seed), dtype=dtype, device=seed.device)


def _normal(seed: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.randn(size, generator=_generator(seed), dtype=dtype, device=seed.device)


def _seed_shape(stream: int, device: torch.device) -> Tensor:
    return torch.empty((), dtype=torch.int64, device=device)


def _numbers_shape(seed: Tensor, size: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(size, dtype=dtype, device=seed.device)


_library.impl("rng_seed", _rng_seed, "CompositeExplicitAutograd")
_library.impl("uniform", _uniform, "CompositeExplicitAutograd")
_library.impl("normal", _normal, "CompositeExplicitAutograd")
torch.library.register_fake("ourjit::rng_seed", _seed_shape, lib=_library)
torch.library.register_fake("ourjit::uniform", _numbers_shape, lib=_library)
torch.library.register_fake("ourjit::normal", _numbers_shape, lib=_library)

rng_seed = torch.ops.ourjit.rng_seed.default
uniform = torch.ops.ourjit.uniform.default
normal = torch.ops.ourjit.normal.default

# A backward graph computes these again from the seed instead of keeping their result.
RECOMPUTED = frozenset((uniform, normal))
