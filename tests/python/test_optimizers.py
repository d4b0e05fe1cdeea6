"""Compiled optimizer steps: what eager computes, in a few launches over tables of tensors, in place."""

from __future__ import annotations

import copy
from typing import Any

import ourjit
import pytest
import torch
from check import assert_no_fallbacks, assert_same, kernels_made
from torch import Tensor, nn

SHAPES = [(64, 64), (3, 5), (64,), (5000,), (7, 1000), (2, 3, 4), (1,), (), (0, 3)]

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}),
    ("AdamW", {}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Adagrad", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("Adadelta", {}),
    ("Rprop", {}),
    ("ASGD", {}),
]


def make(name: str, keywords: dict[str, Any], dtype: torch.dtype) -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
    generator = torch.Generator("cpu").manual_seed(0)
    values = [torch.randn(shape, generator=generator, device="cpu") for shape in SHAPES]
    parameters = [nn.Parameter(v.to(dtype).to(torch.get_default_device())) for v in values]
    return parameters, getattr(torch.optim, name)(parameters, lr=1e-2, **keywords)


def set_gradients(parameters: list[nn.Parameter], step: int) -> None:
    generator = torch.Generator("cpu").manual_seed(step)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator, device="cpu").to(p)


def states(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [list(state.values()) for state in optimizer.state.values()]


@pytest.mark.parametrize(("name", "keywords"), OPTIMIZERS, ids=lambda x: x if isinstance(x, str) else None)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_step_is_eagers(name: str, keywords: dict[str, Any], dtype: torch.dtype, device: str) -> None:
    expected, eager = make(name, keywords, dtype)
    got, jit = make(name, keywords, dtype)
    exact = [nn.Parameter(p.detach().double()) for p in expected]
    reference = getattr(torch.optim, name)(exact, lr=1e-2, **keywords)
    step = torch.compile(jit.step, backend="ourjit", options={"strict": True})
    addresses = [p.data_ptr() for p in got]
    for i in range(3):
        for parameters in (expected, got, exact):
            set_gradients(parameters, i)
        eager.step()
        step()
        reference.step()
    assert_same(expected, got, exact, 1e-4 if dtype == torch.float32 else 2e-2, "parameter")
    if dtype == torch.float32:
        assert_same(states(eager), states(jit), states(reference), what="state")
    assert [p.data_ptr() for p in got] == addresses
    assert_no_fallbacks()
    # Kernels for step counts, for tensors of all lengths, and for scalars and empty tensors: not for each tensor.
    assert kernels_made() < len(SHAPES) * ourjit.stats()["graphs"]


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RAdam", "NAdam", "Adagrad", "Rprop"])
def test_lists_of_tensors_are_taken_apart(name: str) -> None:
    """On GPUs, optimizers update all tensors together by default."""
    expected, eager = make(name, {"foreach": True}, torch.float32)
    got, jit = make(name, {"foreach": True}, torch.float32)
    step = torch.compile(jit.step, backend="ourjit", options={"strict": True})
    for i in range(2):
        set_gradients(expected, i)
        set_gradients(got, i)
        eager.step()
        step()
    assert_same(expected, got, what="parameter")
    assert_no_fallbacks()
    assert not [call for call in ourjit.stats()["library_calls"] if "_foreach" in call]


def scale_all(tensors: list[Tensor]) -> None:
    for t in tensors:
        t.mul_(0.5).add_(1)


def test_tensors_of_all_lengths_share_one_kernel(device: str) -> None:
    tensors = [torch.randn(2 + 97 * i) for i in range(100)]
    expected = copy.deepcopy(tensors)
    scale_all(expected)
    torch.compile(scale_all, backend="ourjit", options={"strict": True})(tensors)
    assert_same(expected, tensors)
    assert kernels_made() == 1


def update_twice(x: Tensor, y: Tensor) -> Tensor:
    x.mul_(2)
    y.mul_(2)
    total = x + y
    x.add_(y)
    y.mul_(2)
    return total


def test_updates_of_one_tensor_keep_their_order(device: str) -> None:
    a, b = [torch.randn(1000) for _ in range(2)], [torch.randn(50, 3) for _ in range(2)]
    for x, y in (a, b):
        eager, jit = (x.clone(), y.clone()), (x.clone(), y.clone())
        expected = update_twice(*eager)
        got = torch.compile(update_twice, backend="ourjit", options={"strict": True})(*jit)
        assert_same((expected, eager), (got, jit))


def clip_and_step(parameters: list[Tensor], gradients: list[Tensor]) -> Tensor:
    norm = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
    scale = (1 / (norm + 1e-6)).clamp(max=1)
    for p, g in zip(parameters, gradients, strict=True):
        p.sub_(g * scale, alpha=0.1)
    return norm


def test_clipped_step(device: str) -> None:
    gradients = [torch.randn(s) for s in SHAPES[:-1]]
    parameters = [torch.randn(s) for s in SHAPES[:-1]]
    expected = copy.deepcopy(parameters)
    norm = clip_and_step(expected, gradients)
    got = torch.compile(clip_and_step, backend="ourjit", options={"strict": True})(parameters, gradients)
    assert_same((norm, expected), (got, parameters))


def test_a_new_learning_rate_as_a_tensor_needs_no_new_code(device: str) -> None:
    parameters, _ = make("SGD", {}, torch.float32)
    rate = torch.tensor(0.1)
    optimizer = torch.optim.AdamW(parameters, lr=rate, capturable=True)
    step = torch.compile(optimizer.step, backend="ourjit", options={"strict": True})
    for i in range(2):
        set_gradients(parameters, i)
        step()
    compiled = ourjit.stats()["graphs"]
    before = [p.detach().clone() for p in parameters]
    rate.fill_(0.0)
    set_gradients(parameters, 2)
    step()
    assert ourjit.stats()["graphs"] == compiled
    assert_same(before, [p.detach() for p in parameters])
