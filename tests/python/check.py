"""Comparison of a compiled function or model with eager, by torch's own oracle and an fp64 reference."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import torch
from ourjit import _gpu
from torch import Tensor, nn
from torch._dynamo import guards
from torch._dynamo.utils import same
from torch.utils._pytree import tree_leaves, tree_map

needs_nvrtc = pytest.mark.skipif(not _gpu.find_nvrtc(), reason="NVRTC is not installed (nvidia-cuda-nvrtc)")
needs_cuobjdump = pytest.mark.skipif(
    not (_gpu.tool("cuobjdump") and _gpu.tool("nvdisasm")), reason="cuobjdump and nvdisasm are not installed"
)
needs_emulator = pytest.mark.skipif(not _gpu.find_emulator(), reason="the emulator is not built")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU: tests on cuda are left out")

STRICT = {"strict": True}

# Dynamo times the guards of each graph after flushing the caches, 25 ms of work that only its logs show.
guards.profile_guard_manager = lambda *_: 0.0


def compiled(fn: Callable[..., Any], **keywords: Any) -> Callable[..., Any]:
    """`fn` through ourjit in strict mode: what would fall back is an error."""
    return torch.compile(fn, backend="ourjit", options=STRICT, fullgraph=True, **keywords)


def assert_no_fallbacks() -> None:
    assert ourjit.stats()["fallbacks"] == {}


def kernels_made() -> int:
    """Kernels that were compiled since the last reset, or loaded from the disk cache."""
    stats = ourjit.stats()
    return stats["kernels_compiled"] + stats["kernels_loaded"]


def strides(t: Tensor) -> list[int]:
    """Strides that mean something: of dims with several elements."""
    return [stride for size, stride in zip(t.shape, t.stride(), strict=True) if size > 1] if t.numel() else []


def assert_same(expected: Any, got: Any, reference: Any = None, tol: float = 1e-4, what: str = "result") -> None:
    """Equal within `tol` or what the fp64 reference allows; dtypes equal, and strides of outputs."""
    left, right = tree_leaves(expected), tree_leaves(got)
    assert len(left) == len(right), f"{what}: {len(right)} values instead of {len(left)}"
    exact = tree_leaves(reference) if reference is not None else [None] * len(left)
    for i, (a, b, c) in enumerate(zip(left, right, exact, strict=True)):
        if not isinstance(a, Tensor):
            assert a == b, f"{what} {i}: {b} instead of {a}"
            continue
        form, wanted = (b.dtype, b.shape), (a.dtype, a.shape)
        assert form == wanted, f"{what} {i}: {form} instead of {wanted}"
        if what == "output":
            assert strides(a) == strides(b), f"{what} {i}: strides {b.stride()} instead of {a.stride()}"
        if a.dtype.is_floating_point:
            fp64 = c.detach() if isinstance(c, Tensor) else None
            error = (a.detach().double() - b.detach().double()).abs().max() if a.numel() else 0
            close = same(a.detach(), b.detach(), fp64, tol=tol, equal_nan=True)
            assert close, f"{what} {i}: largest difference {error}"
        else:
            assert torch.equal(a, b), f"{what} {i} differs"


def leaf(x: Any, dtype: torch.dtype | None = None) -> Any:
    """A tensor's copy that lies as it does, its floats in `dtype`; what is no tensor as it is."""
    if not isinstance(x, Tensor):
        return x
    y = x.detach().clone(memory_format=torch.preserve_format)
    if dtype is not None and y.dtype.is_floating_point:
        y = y.to(dtype)
    return y.requires_grad_(x.requires_grad)


def run_function(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, list[Tensor | None]]:
    """Outputs, and gradients of the inputs that need one for fixed pseudo-random output gradients."""
    # Not those that become results: AOTAutograd's outputs do not come from inputs that were written.
    inputs = [t for t in tree_leaves(args) if isinstance(t, Tensor) and t.requires_grad]
    outputs = fn(*args)
    differentiable = [t for t in tree_leaves(outputs) if isinstance(t, Tensor) and t.requires_grad]
    if not differentiable or not inputs:
        return outputs, []
    tangents = []
    for i, t in enumerate(differentiable):
        generator = torch.Generator("cpu").manual_seed(i)
        tangents.append(torch.randn(t.shape, generator=generator, dtype=torch.float64, device="cpu").to(t))
    return outputs, list(torch.autograd.grad(differentiable, inputs, tangents, allow_unused=True))


def check_function(fn: Callable[..., Any], *args: Any, tol: float = 1e-4, **keywords: Any) -> None:
    """Outputs, gradients and inputs after the call equal eager's, with no fallback."""
    eager_args, jit_args = tree_map(leaf, args), tree_map(leaf, args)
    exact_args = tree_map(lambda x: leaf(x, torch.float64), args)
    expected = run_function(fn, eager_args)
    got = run_function(compiled(fn, **keywords), jit_args)
    try:
        reference = run_function(fn, exact_args)
    except RuntimeError:
        reference = (None, None)  # fn names a dtype that does not mix with fp64
    if len(tree_leaves(reference)) != len(tree_leaves(expected)):
        reference = (None, None)
    assert_same(expected[0], got[0], reference[0], tol, "output")
    assert_same(expected[1], got[1], reference[1], tol, "gradient")
    assert_same(eager_args, jit_args, None, tol, "input after the call")
    assert_no_fallbacks()


def model_step(model: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> Tensor:
    loss = model(*batch)
    loss.backward()
    return loss.detach()


def check_model(model: nn.Module, batch: tuple[Tensor, ...], steps: int = 1, **keywords: Any) -> None:
    """Loss, every gradient and every buffer equal eager's after each of `steps` SGD steps, with no fallback."""
    jit_model, exact_model = copy.deepcopy(model), copy.deepcopy(model).double()
    exact_batch = tuple(t.double() if t.dtype.is_floating_point else t for t in batch)
    jit = compiled(jit_model, **keywords)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.01) for m in (model, jit_model, exact_model)]
    for _ in range(steps):
        expected = model_step(model, batch)
        got = model_step(jit, batch)
        exact = model_step(exact_model, exact_batch)
        assert_same(expected, got, exact, what="loss")
        for (name, a), b, c in zip(
            model.named_parameters(), jit_model.parameters(), exact_model.parameters(), strict=True
        ):
            assert (a.grad is None) == (b.grad is None), name
            assert_same(a.grad, b.grad, c.grad, what=f"gradient of {name}")
        for (name, a), b, c in zip(model.named_buffers(), jit_model.buffers(), exact_model.buffers(), strict=True):
            assert_same(a, b, c, what=f"buffer {name}")
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert_no_fallbacks()
