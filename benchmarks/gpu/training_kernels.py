"""Kernels that training spends its time in: eager, ourjit and Inductor side by side, on one device.

`python benchmarks/gpu/training_kernels.py cuda rms_norm_bf16` measures one case in this process and prints JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))
from timing import DEVICES, Call, in_turns, use_device, wait

if TYPE_CHECKING:
    from ourjit.recording import Recording

BACKENDS = ("eager", "ourjit", "inductor")
Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Case:
    """`fn` of tensors of the given shapes, forward, and with backward by its float tensors where `backward`.

    Leading dims of `shapes` are divided by 64 on an emulated device. `classes` makes the last tensor class numbers.
    """

    name: str
    fn: Callable[..., Tensor]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype = torch.float32
    backward: bool = False
    classes: int = 0
    random: bool = False  # draws random numbers: results are not compared


def pointwise_chain(x: Tensor, y: Tensor) -> Tensor:
    return F.gelu(x * y + 1, approximate="tanh") * torch.sigmoid(x) - F.silu(y)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, 1e-5)


def softmax(x: Tensor) -> Tensor:
    return F.softmax(x, dim=-1)


def dropout(x: Tensor, y: Tensor) -> Tensor:
    return F.dropout(x, 0.1) + y


MATRIX, ROW = (8192, 4096), (4096,)


def _cases() -> dict[str, Case]:
    found = {}
    for dtype, short in ((torch.float32, "f32"), (torch.bfloat16, "bf16")):
        for name, fn, shapes, more in (
            ("pointwise_chain", pointwise_chain, (MATRIX, MATRIX), {}),
            ("layer_norm", layer_norm, (MATRIX, ROW, ROW), {}),
            ("rms_norm", rms_norm, (MATRIX, ROW), {}),
            ("softmax", softmax, (MATRIX,), {}),
            ("cross_entropy", F.cross_entropy, ((8192, 32000), (8192,)), {"classes": 32000}),
            ("dropout", dropout, (MATRIX, MATRIX), {"random": True}),
        ):
            for backward in (False, True):
                case = Case(f"{name}_{short}{'_backward' if backward else ''}", fn, shapes, dtype, backward, **more)
                found[case.name] = case
    return found


CASES = _cases()
SPECIAL = ("adamw_400", "host_time_per_launch")


def operands(case: Case, device: str) -> list[Tensor]:
    torch.manual_seed(0)
    divisor = 64 if device == "emulated" else 1
    tensors = [
        torch.randn([shape[0] // divisor, *shape[1:]] if len(shape) > 1 else shape).to(case.dtype)
        for shape in case.shapes
    ]
    if case.classes:
        tensors[-1] = torch.randint(0, case.classes, (tensors[0].shape[0],))
    return [t.requires_grad_(case.backward and t.is_floating_point()) for t in tensors]


def run_once(fn: Callable[..., Tensor], tensors: list[Tensor], output_gradient: Tensor | None) -> list[Tensor]:
    """Outputs and gradients of one call."""
    y = fn(*tensors)
    if output_gradient is None:
        return [y]
    return [y, *torch.autograd.grad(y, [t for t in tensors if t.requires_grad], output_gradient)]


def differs(expected: list[Tensor], got: list[Tensor], dtype: torch.dtype) -> str:
    """What is wrong with `got`; empty if nothing is."""
    tolerance = 1e-3 if dtype == torch.float32 else 4e-2
    for i, (a, b) in enumerate(zip(expected, got, strict=True)):
        scale = a.abs().max().float().clamp(min=1e-6)
        error = ((a.float() - b.float()).abs().max() / scale).item()
        if not error <= tolerance:
            return f"wrong result: value {i} differs by {error:.2g} of its largest"
    return ""


def compilers(recording: Recording) -> dict[str, Compile]:
    """How each backend compiles a function; what ourjit compiles is added to `recording`."""
    from ourjit import _gpu
    from ourjit.backend import session

    def ours(module: torch.fx.GraphModule, inputs: Any) -> Any:
        return session(_gpu.with_target(None, inputs)).capture(module, inputs, recording)

    return {
        "eager": lambda fn: fn,
        "ourjit": lambda fn: torch.compile(fn, backend=ours),
        "inductor": lambda fn: torch.compile(fn, backend="inductor"),
    }


def launches_of(recording: Recording) -> int:
    return sum(kernel["launches"] for graph in recording.graphs for kernel in graph.executable.kernels())


def made_of(recording: Recording) -> dict[str, int]:
    """Launches of all graphs that ourjit compiled, and operators that were to be kernels and run through ATen."""
    import ourjit

    fallbacks = sum(entry["count"] for entry in ourjit.stats()["fallbacks"].values())
    return {"launches": launches_of(recording), "fallbacks": fallbacks}


def timed(calls: dict[str, Call], errors: dict[str, str], device: str, rounds: int) -> dict[str, Any]:
    times = in_turns(calls, device, rounds, count=10 if rounds > 1 else 1)
    result: dict[str, Any] = {name: {"ms": statistics.median(t) * 1e3} for name, t in times.items()}
    return result | {name: {"error": text} for name, text in errors.items()}


def tried(make: dict[str, Callable[[], Call]]) -> tuple[dict[str, Call], dict[str, str]]:
    """Calls that work, each called twice, and the errors of the others."""
    calls, errors = {}, {}
    for name, build in make.items():
        try:
            call = build()
            for _ in range(2):
                call()
            calls[name] = call
        except Exception as error:  # whatever a backend raises is its result
            errors[name] = (" ".join(str(error).split()) or type(error).__name__)[:300]
    return calls, errors


def measure_case(case: Case, device: str, backends: list[str], rounds: int) -> dict[str, Any]:
    with use_device(device):
        tensors = operands(case, device)
    expected = run_once(case.fn, tensors, None)
    gradient = torch.randn_like(expected[0]) if case.backward else None
    expected = run_once(case.fn, tensors, gradient)
    from ourjit.recording import Recording

    recording = Recording()
    by_name = compilers(recording)

    def build(name: str) -> Call:
        fn = by_name[name](case.fn)
        wrong = "" if case.random else differs(expected, run_once(fn, tensors, gradient), case.dtype)
        if wrong:
            raise RuntimeError(wrong)
        return lambda: run_once(fn, tensors, gradient)

    calls, errors = tried({name: lambda name=name: build(name) for name in backends})  # type: ignore[misc]
    result = timed(calls, errors, device, rounds)
    result.setdefault("ourjit", {}).update(made_of(recording))
    return result


def measure_adamw(device: str, backends: list[str], rounds: int) -> dict[str, Any]:
    """AdamW over 400 tensors, torch.compile(step); eager is torch's fused AdamW."""
    count, size = (400, 16384) if device != "emulated" else (8, 64)
    from ourjit.recording import Recording

    recording = Recording()
    by_name = compilers(recording)

    def build(name: str) -> Call:
        torch.manual_seed(0)
        with use_device(device):
            parameters = [torch.randn(size, requires_grad=True) for _ in range(count)]
        for p in parameters:
            p.grad = torch.randn_like(p)
        how = {"fused": True} if name == "eager" else {"capturable": device == "cuda"}
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, **how)
        return by_name[name](optimizer.step)

    calls, errors = tried({name: lambda name=name: build(name) for name in backends})  # type: ignore[misc]
    result = timed(calls, errors, device, rounds)
    result.setdefault("ourjit", {}).update(made_of(recording))
    result["tensors"] = count
    return result


def measure_launch(device: str, rounds: int) -> dict[str, Any]:
    """Host time of one more launch in a plan: of many small kernels against few, the GPU not waited for."""
    from ourjit import _gpu
    from ourjit.backend import session
    from ourjit.recording import Recording

    with use_device(device):
        x = torch.randn(1024)

    def chain(length: int) -> tuple[Call, int]:
        recording = Recording()

        def f(x: Tensor) -> Tensor:
            for i in range(length):
                x = x.sin() + (i + 1)
            return x

        own = session(_gpu.with_target({"strict": True, "fusion": False}, [x]))
        g = torch.compile(f, backend=lambda m, inputs: own.capture(m, inputs, recording))
        g(x)
        return (lambda: g(x)), launches_of(recording)

    def host_seconds(call: Call) -> float:
        figures = []
        for _ in range(20 * rounds):
            wait(device)
            start = time.perf_counter()
            call()
            figures.append(time.perf_counter() - start)
        return statistics.median(figures)

    (short, few), (long, many) = (chain(length) for length in (4, 64))
    each = (host_seconds(long) - host_seconds(short)) / (many - few)
    return {"ourjit": {"us": each * 1e6, "launches": many}}


def measure(name: str, device: str, backends: list[str], rounds: int) -> dict[str, Any]:
    """Figures of the case `name`: backend -> {ms} or {error}; ourjit's with its launches and fallbacks."""
    if name == "adamw_400":
        return measure_adamw(device, backends, rounds)
    if name == "host_time_per_launch":
        return measure_launch(device, rounds)
    return measure_case(CASES[name], device, backends, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=DEVICES)
    parser.add_argument("case", choices=[*CASES, *SPECIAL])
    parser.add_argument("--backends", default=",".join(BACKENDS), help="comma-separated (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="turns of ten calls each (default %(default)s)")
    given = parser.parse_args()
    print(json.dumps(measure(given.case, given.device, given.backends.split(","), given.rounds)))


if __name__ == "__main__":
    main()
