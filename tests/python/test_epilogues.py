"""Steps of optimizers on the GPU path: one launch, whose last block writes the step counters that all blocks read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import ourjit
import pytest
import torch
from check import assert_no_fallbacks, assert_same, needs_cuobjdump, needs_emulator, needs_nvrtc
from emulator import calls_of, driver
from torch import Tensor, nn

pytestmark = needs_emulator
OPTIONS = {"target": "emulate", "strict": True}


class Emulator:
    """The emulated device: what it launches, and the order in which it runs blocks."""

    def shuffle(self, seed: int) -> None:
        driver().ourjit_emulator_shuffle(seed)

    def launches(self, step: Callable[[], Any]) -> list[dict[str, Any]]:
        return [call for call in calls_of(step) if call["function"] == "cuLaunchKernel"]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """With blocks in no order."""
    it = Emulator()
    it.shuffle(1)
    yield it
    it.shuffle(0)


def parameters(shapes: list[tuple[int, ...]], dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def set_gradients(tensors: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in tensors:
        p.grad = torch.randn(p.shape, generator=generator).to(p)


def groups(tensors: list[nn.Parameter]) -> list[Any]:
    return list(tensors)


def two_groups(tensors: list[nn.Parameter]) -> list[Any]:
    return [{"params": tensors[::2], "weight_decay": 0.1}, {"params": tensors[1::2], "weight_decay": 0.0}]


SHAPES: list[tuple[int, ...]] = [(40, 64), (3, 5), (64,), (5000,), (7, 300), (2, 3, 4)]


def check_steps(
    name: str,
    keywords: dict[str, Any],
    shapes: list[tuple[int, ...]],
    emulator: Emulator,
    steps: int = 3,
    split: Callable[[list[nn.Parameter]], list[Any]] = groups,
    dtypes: tuple[torch.dtype, ...] = (torch.float32,),
) -> int:
    """Steps agree with eager's in whatever order blocks run; the launches of one step."""
    expected = [p for dtype in dtypes for p in parameters(shapes, dtype)]
    got = copy.deepcopy(expected)
    eager, jit = (getattr(torch.optim, name)(split(ps), lr=1e-2, **keywords) for ps in (expected, got))
    step = torch.compile(jit.step, backend="ourjit", options=OPTIONS)
    count = 0
    for i in range(steps):
        set_gradients(expected, i)
        set_gradients(got, i)
        eager.step()
        emulator.shuffle(i + 1)
        count = len(emulator.launches(step))
    tol = 1e-4 if dtypes == (torch.float32,) else 2e-2
    assert_same(expected, got, tol=tol, what="parameter")
    for e, j in zip(eager.state.values(), jit.state.values(), strict=True):
        assert_same(list(e.values()), list(j.values()), tol=tol, what="state")
    assert_no_fallbacks()
    return count


def test_adamw_over_many_tensors_is_one_launch(emulator: Emulator) -> None:
    shapes = [SHAPES[i % 6] if i % 7 else (2 + i % 50, 1 + i % 11) for i in range(400)]
    assert check_steps("AdamW", {}, shapes, emulator, steps=5) == 1


@pytest.mark.parametrize(
    ("name", "keywords"),
    [
        ("AdamW", {}),
        ("AdamW", {"amsgrad": True}),
        ("AdamW", {"maximize": True}),
        ("AdamW", {"foreach": True}),
        ("Adam", {"weight_decay": 0.1}),
        ("NAdam", {}),
        ("RAdam", {}),
        ("Adamax", {}),
        ("ASGD", {}),
        ("Adagrad", {}),
        ("Adadelta", {}),
        ("RMSprop", {}),
        ("Rprop", {}),
    ],
    ids=str,
)
def test_one_launch_a_step(name: str, keywords: dict[str, Any], emulator: Emulator) -> None:
    assert check_steps(name, keywords, SHAPES, emulator) == 1


def test_fused_steps(emulator: Emulator) -> None:
    """They are operators of torch's own."""
    check_steps("AdamW", {"fused": True}, SHAPES, emulator)


def test_one_tensor_alone(emulator: Emulator) -> None:
    assert check_steps("AdamW", {"amsgrad": True}, [(70, 90)], emulator) == 1


def test_tensors_of_one_element_are_a_second_launch(emulator: Emulator) -> None:
    """Their kernels have no loop, and their counters in the same group."""
    assert check_steps("AdamW", {}, [*SHAPES, (), (1,), (1, 1)], emulator) == 2


def test_each_group_and_each_dtype_has_its_launch(emulator: Emulator) -> None:
    assert check_steps("AdamW", {}, SHAPES, emulator, split=two_groups) == 2
    assert check_steps("AdamW", {}, SHAPES[:4], emulator, dtypes=(torch.float32, torch.bfloat16)) == 2


def test_counters_of_different_values(emulator: Emulator) -> None:
    expected = parameters(SHAPES)
    got = copy.deepcopy(expected)
    eager, jit = (torch.optim.NAdam(ps, lr=1e-2) for ps in (expected, got))
    for tensors, optimizer in ((expected, eager), (got, jit)):
        set_gradients(tensors, 0)
        optimizer.step()
        for i, state in enumerate(optimizer.state.values()):
            state["step"] += 3 * i
    step = torch.compile(jit.step, backend="ourjit", options=OPTIONS)
    for i in range(3):
        set_gradients(expected, i)
        set_gradients(got, i)
        eager.step()
        emulator.shuffle(i + 7)
        assert len(emulator.launches(step)) == 1
    assert_same(expected, got, what="parameter")
    assert [state["step"].item() for state in jit.state.values()] == [4 + 3 * i for i in range(len(SHAPES))]


def test_accelerated_steps_are_two_launches(emulator: Emulator) -> None:
    expected = parameters(SHAPES)
    got = copy.deepcopy(expected)
    eager, jit = (torch.optim.AdamW(ps, lr=1e-2) for ps in (expected, got))
    ourjit.accelerate(nn.Module(), jit, options=OPTIONS)
    for i in range(4):
        set_gradients(expected, i)
        set_gradients(got, i)
        eager.step()
        emulator.shuffle(i + 7)
        assert len(emulator.launches(jit.step)) == (2 if i > 0 else 0)  # the first step is eager
    assert_same(expected, got, what="parameter")
    assert [state["step"].item() for state in jit.state.values()] == [4] * len(SHAPES)


def decay(tensors: list[Tensor], count: Tensor) -> None:
    count.add_(1)
    for t in tensors:
        t.mul_(1 - 1 / (count + 1))


def decay_and_tell(tensors: list[Tensor], count: Tensor) -> Tensor:
    decay(tensors, count)
    return count * 2


def decay_and_keep(tensors: list[Tensor], count: Tensor, log: Tensor) -> None:
    decay(tensors, count)
    log.copy_(log.roll(1) + count)


@pytest.mark.parametrize(
    ("fn", "others", "launches"),
    [(decay, 0, 1), (decay_and_tell, 0, 1), (decay_and_keep, 1, 4)],
    ids=["alone", "told", "kept"],
)
def test_one_counter_for_many_tensors(fn: Any, others: int, launches: int, emulator: Emulator) -> None:
    tensors = [torch.randn(shape) for shape in SHAPES]
    rest = [torch.zeros(()), *(torch.randn(9) for _ in range(others))]
    expected = copy.deepcopy((tensors, rest))
    f = torch.compile(fn, backend="ourjit", options=OPTIONS)
    for i in range(5):
        wanted = fn(expected[0], *expected[1])
        emulator.shuffle(i + 1)
        got: list[Any] = []
        count = len(emulator.launches(lambda: got.append(f(tensors, *rest))))  # noqa: B023
        assert count == launches
        assert_same((wanted, expected), (got[0], (tensors, rest)))
    assert rest[0].item() == 5


def test_own_counters_beside_a_common_one(emulator: Emulator) -> None:
    def f(tensors: list[Tensor], counts: list[Tensor], common: Tensor) -> None:
        common.add_(1)
        for t, count in zip(tensors, counts, strict=True):
            count.add_(1)
            t.mul_(1 / count).add_(common)

    tensors = [torch.randn(shape) for shape in SHAPES]
    counts = [torch.full((), float(i)) for i in range(len(SHAPES))]
    common = torch.zeros(())
    expected = copy.deepcopy((tensors, counts, common))
    step = torch.compile(f, backend="ourjit", options=OPTIONS)
    for i in range(3):
        f(*expected)
        emulator.shuffle(i + 1)
        step(tensors, counts, common)
        assert_same(expected, (tensors, counts, common))


def test_counters_in_cuda_graphs(emulator: Emulator) -> None:
    expected = parameters(SHAPES)
    got = copy.deepcopy(expected)
    eager, jit = (torch.optim.AdamW(ps, lr=1e-2) for ps in (expected, got))
    for ps in (expected, got):
        set_gradients(ps, 0)
    step = torch.compile(jit.step, backend="ourjit", options={**OPTIONS, "cuda_graphs": True})
    for i in range(1, 11):
        emulator.shuffle(i)
        for p, q in zip(expected, got, strict=True):
            q.grad.copy_(p.grad.mul_(0.9))  # type: ignore[union-attr]
        eager.step()
        assert len(emulator.launches(step)) <= 1
        assert [state["step"].item() for state in jit.state.values()] == [i] * len(SHAPES)
        assert_same(expected, got, what="parameter")
    assert ourjit.stats()["graph_replays"] >= 6, ourjit.stats()


@needs_nvrtc
@needs_cuobjdump
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("name", ["AdamW", "NAdam", "RAdam"])
def test_kernels_with_epilogues_spill_nothing(name: str, architecture: str) -> None:
    tensors = parameters(SHAPES)
    set_gradients(tensors, 0)
    optimizer = getattr(torch.optim, name)(tensors)
    optimizer.step()
    (kernel,) = ourjit.emit(optimizer.step, target=architecture)
    assert "} epilogue {" in kernel.loop_ir and "oj_is_last_block(oj_ticket" in kernel.source
    resources = kernel.resources()
    assert resources["stack_bytes"] == 0 and resources["spills"] == 0, resources
    assert 0 < resources["registers"] <= 128, resources
    if architecture == "sm_90":
        assert "ATOMG.E.INC.STRONG.GPU" in kernel.assembly(), "blocks draw numbers"
