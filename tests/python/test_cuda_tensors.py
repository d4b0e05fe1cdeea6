"""Tensors on CUDA devices: memory, streams, threads, random numbers and errors of the adapter's path for them.

Machines without a GPU run this, and the tests of operators on `cuda`, in a process of its own with emulated devices.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import assert_no_fallbacks, check_function, check_model, compiled, needs_gpu
from models import CASES
from ourjit import _C
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

EMULATED = os.environ.get("OURJIT_TEST_CUDA") == "emulated"
if EMULATED:
    import emulated_cuda

pytestmark = needs_gpu
needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
needs_log = pytest.mark.skipif(not EMULATED, reason="only emulated devices tell what was called")


def calls(name: str) -> list[dict[str, Any]]:
    return [call for call in emulated_cuda.log() if call["function"] == name]


def places(name: str) -> set[tuple[int, int]]:
    return {(call["device"], call["stream"]) for call in calls(name)}


def attention(x: Tensor, w: Tensor) -> Tensor:
    return F.layer_norm((x @ w).softmax(-1) * x.sin(), (x.shape[-1],))


def operands(device: str) -> tuple[Tensor, Tensor]:
    x, w = (torch.randn(8, 8, device=device, requires_grad=True) for _ in range(2))
    return x, w


@needs_two
@pytest.mark.parametrize("current", [0, 1])
@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_any_device_works_while_any_is_current(current: int, device: str) -> None:
    with torch.cuda.device(current):
        check_function(attention, *operands(device))
        assert torch.cuda.current_device() == current
        outputs = compiled(attention)(*operands(device))
        assert outputs.device == torch.device(device)


@needs_two
@needs_log
@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_memory_and_launches_are_those_of_the_current_stream(device: str) -> None:
    f = compiled(attention)
    x, w = operands(device)
    f(x, w).sum().backward()
    stream = torch.cuda.Stream(device)
    emulated_cuda.clear_log()
    with torch.cuda.stream(stream):
        y = f(x, w)
        forward = len(calls("cuLaunchKernel"))
        y.sum().backward()  # on a thread of autograd, which takes the stream of the forward
    where = {(x.device.index, stream.cuda_stream)}
    assert places("allocate") == where
    assert {call["stream"] for call in calls("cuLaunchKernel")} == {stream.cuda_stream}
    assert 0 < forward < len(calls("cuLaunchKernel"))


@needs_log
def test_a_warm_training_step_allocates_outputs_and_waits_for_nothing() -> None:
    f = compiled(lambda x, w: F.dropout((x @ w).softmax(-1), 0.5).square())
    x, w = operands("cuda")
    gradient = torch.ones(8, 8, device="cuda")
    for _ in range(2):
        f(x, w).backward(gradient)
    emulated_cuda.clear_log()
    y = f(x, w)
    counts = Counter(call["function"] for call in emulated_cuda.log())
    assert counts["allocate"] <= 6  # arena, seed, product, output and what is kept for the backward
    y.backward(gradient)
    counts = Counter(call["function"] for call in emulated_cuda.log())
    assert counts["cuLaunchKernel"] >= 2
    assert set(counts) <= {"allocate", "cuCtxGetCurrent", "cuCtxSetCurrent", "cuLaunchKernel", "stream_wait"}


@needs_two
def test_threads_that_have_used_no_device_yet() -> None:
    f = compiled(attention)
    x, w = operands("cuda:1")
    expected, got = attention(x, w), []
    thread = threading.Thread(target=lambda: got.extend([f(x, w), torch.cuda.current_device()]))
    thread.start()
    thread.join()
    torch.testing.assert_close(got[0], expected)
    assert got[1] == 0


@needs_two
def test_one_graph_on_two_devices_says_so_and_runs_uncompiled() -> None:
    def f(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), y.cos()

    x, y = torch.randn(5, device="cuda:0"), torch.randn(5, device="cuda:1")
    with pytest.raises(RuntimeError, match="a tensor on device cuda:1 in a graph for cuda:0"):
        compiled(f)(x, y)
    torch.compiler.reset()
    outputs = torch.compile(f, backend="ourjit")(x, y)
    assert [t.device.index for t in outputs] == [0, 1]
    torch.testing.assert_close(outputs, f(x, y))
    assert "cuda:1" in ourjit.stats()["fallbacks"]["graph"]["reason"]


@needs_two
def test_one_function_on_one_device_after_the_other() -> None:
    f = compiled(attention)
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        x, w = operands(device)
        torch.testing.assert_close(f(x, w), attention(x, w))
    assert_no_fallbacks()


@needs_two
@pytest.mark.parametrize("other", ["cuda:0", "cpu"])
def test_tensors_of_other_devices_are_refused(other: str) -> None:
    kind = ("f32", (4,), (1,), "cuda:1")
    add = ("aten.add.Tensor", (("v", 0), ("v", 1), 1), ("sum",), (kind,), "")
    graph = {"name": "test", "inputs": [("x", kind), ("y", kind)], "nodes": [add], "outputs": [("v", 2)]}
    executable = _C.Compiler({"target": "cuda:1", "nvrtc": os.environ.get("OURJIT_NVRTC", "")}).compile(graph)
    x = torch.ones(4, device="cuda:1")
    with pytest.raises(ourjit.UserError, match=rf"input 1 \(y\) must be Float\[4\] on cuda:1, .* on {other}"):
        executable([x, torch.ones(4, device=other)])
    assert executable([x, x])[0].tolist() == [2] * 4


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(RuntimeError, match="there is no GPU 9: this machine has"):
        torch.compile(lambda x: x + 1, backend="ourjit", options={"target": "cuda:9"})(torch.ones(3, device="cuda"))


def test_graphs_without_tensors_among_their_inputs() -> None:
    f = compiled(lambda n: torch.arange(n, device="cuda") * 2 + torch.ones(n, device="cuda"), dynamic=True)
    assert f(5).tolist() == [1, 3, 5, 7, 9]
    assert f(4).device == torch.device("cuda:0")
    assert_no_fallbacks()


# --- random numbers ----------------------------------------------------------------------------------


@needs_two
@pytest.mark.parametrize("fallback", [False, True])
def test_random_numbers_are_the_devices_own(fallback: bool) -> None:
    options = {"strict": True, "fallback_random": fallback}
    f = torch.compile(lambda x: F.dropout(x, 0.5), backend="ourjit", options=options)
    x = torch.ones(1000, device="cuda:1", requires_grad=True)
    torch.manual_seed(3)
    a = f(x)
    a.sum().backward()
    assert 400 < (a != 0).sum() < 600
    assert torch.equal(a != 0, x.grad != 0)
    assert not torch.equal(f(x), a)
    state, other = torch.get_rng_state(), torch.cuda.get_rng_state(0)
    with torch.cuda.device(1):
        torch.cuda.manual_seed(3)
    assert torch.equal(f(x), a)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.cuda.get_rng_state(0), other)


# --- scalars on the CPU ------------------------------------------------------------------------------


def times(x: Tensor, s: Tensor) -> Tensor:
    return x * s


def of_a_constant(x: Tensor, s: Tensor) -> Tensor:
    return x * torch.tensor(2.0).exp() + s


def computed_first(x: Tensor, s: Tensor) -> Tensor:
    return torch.where(x > s.exp() - 1, x, (s * 2 + torch.full((), 1.0, device="cpu")).to(x.device))


def returned(x: Tensor, s: Tensor) -> tuple[Tensor, ...]:
    return x * s, s + 1, s


def of_another_dtype(x: Tensor, s: Tensor) -> Tensor:
    return x * s.double() + s.long()


SCALARS: tuple[Callable[..., Any], ...] = (times, of_a_constant, computed_first, returned, of_another_dtype)


@pytest.mark.parametrize("fn", SCALARS, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("gradient", [False, True])
def test_scalars_on_the_cpu(fn: Callable[..., Any], gradient: bool) -> None:
    x = torch.randn(5, device="cuda", requires_grad=True)
    s = torch.tensor(0.25, requires_grad=gradient, device="cpu")
    check_function(fn, x, s)
    expected, got = (tree_leaves(f(x, s)) for f in (fn, compiled(fn)))
    assert [t.device for t in got] == [t.device for t in expected]


@needs_log
def test_scalars_on_the_cpu_wait_for_nothing() -> None:
    f = compiled(of_a_constant)
    x = torch.randn(5, device="cuda")
    for value in (1.0, 2.0, 3.0):
        emulated_cuda.clear_log()
        y = f(x, torch.tensor(value))
        waits = len(calls("synchronize"))
        torch.testing.assert_close(y, of_a_constant(x, torch.tensor(value)))
    assert waits == 0


@pytest.mark.parametrize("fn", [times, returned, of_a_constant], ids=lambda fn: fn.__name__)
def test_scalars_on_the_cpu_and_cuda_graphs(fn: Callable[..., Any]) -> None:
    f = torch.compile(fn, backend="ourjit", options={"strict": True, "cuda_graphs": True})
    x = torch.randn(5, device="cuda")
    s = torch.tensor(0.0, device="cpu")
    expected, got = [], []
    for k in range(8):
        s.fill_(k)
        expected.append(tree_leaves(fn(x, s.clone())))
        got.append(tree_leaves(f(x, s if k % 3 else s.clone()))[: -1 if fn is returned else None])
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(b, a[: len(b)])
    assert ourjit.stats()["graph_replays"] >= 3


@pytest.mark.parametrize("dynamic", [False, True])
def test_floats_that_change(dynamic: bool) -> None:
    f = compiled(lambda x, a: x * (a / 3) + x.shape[0] / 2, dynamic=dynamic or None)
    for n, a in ((4, 1.5), (5, 2.5), (6, 9.0)):
        x = torch.randn(n, device="cuda")
        torch.testing.assert_close(f(x, a), x * (a / 3) + n / 2)
    assert_no_fallbacks()


def test_writes_to_scalars_on_the_cpu_run_uncompiled() -> None:
    def f(x: Tensor, s: Tensor) -> Tensor:
        s.add_(1)
        return x * s

    x, s = torch.ones(3, device="cuda"), torch.tensor(1.0)
    with pytest.raises(RuntimeError, match=r"aten.copy_.default writes to a tensor on the CPU, in a graph for cuda:0"):
        compiled(f)(x, s)
    torch.compiler.reset()
    assert torch.compile(f, backend="ourjit")(x, s).tolist() == [2] * 3 and s == 2


# --- operators that are traced otherwise than on the CPU ---------------------------------------------


def test_the_forward_of_logsigmoid_keeps_nothing() -> None:
    check_function(F.logsigmoid, torch.randn(5, 7, device="cuda", requires_grad=True))


@pytest.mark.parametrize("training", [True, False])
def test_statistics_of_half_batch_norm_are_kept_in_f32(training: bool) -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        mean, variance = torch.zeros(4, device=x.device), torch.ones(4, device=x.device)
        return F.batch_norm(x, mean, variance, w, w.sin(), training)

    x = torch.randn(4, 4, 3, device="cuda", dtype=torch.float16, requires_grad=True)
    check_function(f, x, torch.randn(4, device="cuda", requires_grad=True), tol=2e-2)


# --- library calls, mutations, errors ----------------------------------------------------------------


def test_kept_operands_of_custom_operators_own_their_memory() -> None:
    kept: list[Tensor] = []
    with torch.library._scoped_library("cuda_tensors_test", "FRAGMENT") as library:
        library.define("keep(Tensor x) -> Tensor")
        library.impl("keep", lambda x: (kept.append(x), x + 1)[1], "CompositeExplicitAutograd")
        library.impl("keep", torch.empty_like, "Meta")
        f = compiled(lambda x: torch.ops.cuda_tensors_test.keep(x.sin()).cos())
        xs = [torch.randn(7, device="cuda") for _ in range(3)]
        outputs = [f(x) for x in xs]
    for x, y, k in zip(xs, outputs, kept[-3:], strict=True):
        torch.testing.assert_close(y, (x.sin() + 1).cos())
        torch.testing.assert_close(k, x.sin())


def test_updates_in_place() -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        x[1:].mul_(2).add_(y[:-1])
        return x.t() + 1

    check_function(f, torch.randn(4, 4, device="cuda"), torch.randn(4, 4, device="cuda"))


def updated(parameters: list[nn.Parameter], device: str, streams: list[Any]) -> list[nn.Parameter]:
    """What two steps of an optimizer on each of the streams make of the parameters."""
    for k, stream in enumerate(streams):
        mine = parameters[k :: len(streams)]
        optimizer = torch.optim.AdamW(mine, lr=0.1, capturable=True, amsgrad=True)
        step = torch.compile(optimizer.step, backend="ourjit", options={"strict": True}) if device else optimizer.step
        with torch.cuda.stream(stream):
            for _ in range(2):
                for p in mine:
                    p.grad = p.detach().sin()
                step()
        assert all(state["step"].item() == 2 for state in optimizer.state.values())
    return parameters


@needs_two
@needs_log
def test_steps_of_optimizers_on_two_streams_at_once() -> None:
    """Each step is one launch; launches on different streams count their blocks at different places."""
    values = [torch.randn(shape, device="cuda:1") for shape in ((30, 50), (30, 50), (7,), (7,), (5000,), (5000,))]
    streams = [torch.cuda.Stream("cuda:1") for _ in range(2)]
    expected = updated([nn.Parameter(v.clone()) for v in values], "", streams)
    emulated_cuda.clear_log()
    got = updated([nn.Parameter(v.clone()) for v in values], "cuda:1", streams)
    torch.testing.assert_close(got, expected)
    launches = [call for call in calls("cuLaunchKernel") if len(call["parameters"]) == 3]
    tickets: dict[int, set[int]] = {}
    for call in launches:
        tickets.setdefault(call["stream"], set()).add(call["parameters"][1])
    assert len(launches) == len(calls("cuLaunchKernel"))
    assert sorted(tickets) == sorted(stream.cuda_stream for stream in streams)
    one, two = tickets.values()
    assert len(one) == len(two) == 1 and one != two


def test_errors_of_kernels_are_raised_once_they_are_known() -> None:
    f = compiled(lambda x, i: x[i] * 2)
    x = torch.arange(5.0, device="cuda")
    bad, good = (torch.tensor(i, device="cuda") for i in ([1, 9], [1, 4]))
    f(x, good)
    f(x, bad)
    torch.cuda.synchronize()
    with pytest.raises(IndexError, match="out of range"):
        f(x, good)
    assert f(x, good).tolist() == [2, 8]


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).square().mean()


@needs_two
def test_training_on_the_second_device() -> None:
    check_model(Layers().to("cuda:1"), (torch.randn(5, 6, device="cuda:1"),), steps=2)


@pytest.mark.parametrize("name", CASES if os.environ.get("OURJIT_TEST_EMULATED") == "all" else ["mlp"])
def test_models(name: str) -> None:
    with torch.device("cuda"):
        case = CASES[name]
        check_model(case.build(0.0), case.batch(1), steps=2)
