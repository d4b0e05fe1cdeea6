"""Times eager, ourjit and Inductor on the models of tests/python/models.py.

Two kinds of process, so that nothing carries over: a fresh one for each model and backend measures the time to the
first step and resident memory; one for each model steps all backends in turns, so that the machine's drift hits all
of them alike, and takes medians. The optimizer (AdamW) stays eager everywhere.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import DEVICES, in_turns, use_device, wait

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

Step = Callable[[], None]


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return math.nan


def make_step(model_name: str, backend: str, device: str) -> Step:
    """A training step of a fresh model: forward, backward, AdamW."""
    import torch
    from models import CASES

    torch.manual_seed(0)
    case = CASES[model_name]
    with use_device(device):
        model = case.build(0.1)
        batch = case.batch(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    run = model if backend == "eager" else torch.compile(model, backend=backend)

    def step() -> None:
        run(*batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def measure_cold(model_name: str, backend: str, device: str, warm: int) -> dict[str, Any]:
    """In this fresh process: seconds to the first step, without importing Dynamo, and memory after `warm` more."""
    import torch
    import torch._dynamo

    step = make_step(model_name, backend, device)
    start = time.perf_counter()
    step()
    wait(device)
    first = time.perf_counter() - start
    for _ in range(warm):
        step()
    result: dict[str, Any] = {"first_step": first, "resident_mb": resident_mb()}
    if device == "cuda":
        result["device_mb"] = torch.cuda.max_memory_allocated() / 2**20
    if backend == "ourjit":
        import ourjit

        result["stats"] = ourjit.stats()
    return result


def measure_steps(model_name: str, backends: list[str], device: str, rounds: int) -> dict[str, Any]:
    """Median seconds of a step of each backend; they take turns in blocks."""
    import torch._dynamo

    steps = {}
    for backend in backends:
        torch._dynamo.utils.counters.clear()
        steps[backend] = make_step(model_name, backend, device)
        for _ in range(3 if rounds > 1 else 1):
            steps[backend]()
    times = in_turns(steps, device, rounds, count=5 if rounds > 1 else 1)
    return {backend: {"step": statistics.median(t), "steps": t} for backend, t in times.items()}


def in_fresh_process(*arguments: object) -> Any:
    with tempfile.TemporaryDirectory() as cache:  # Inductor's: cold as well
        env = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache}
        command = [sys.executable, __file__, "--worker", *map(str, arguments)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"error": lines[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_model(name: str, options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {}
    cold = options.backends if options.device == "emulated" else [*options.backends, "aot_eager"]
    for backend in dict.fromkeys(cold):
        result[backend] = in_fresh_process("cold", options.device, name, backend, 20 if options.rounds > 1 else 0)
    usable = [backend for backend in options.backends if "error" not in result[backend]]
    for backend, values in in_fresh_process("steps", options.device, name, ",".join(usable), options.rounds).items():
        if isinstance(values, dict):
            result[backend] |= values
        else:
            result["error"] = values
    return result


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def show(results: dict[str, Any], backends: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="training step, optimizer eager; medians")
    table.add_column("model")
    for backend in backends:
        table.add_column(f"{backend}\nstep, ms", justify="right")
    for title in ("over eager", "over inductor", "first step, s\n(aot_eager)", "backend, s", "memory, MB\n(eager)"):
        table.add_column(title, justify="right")
    table.add_column("fallbacks", justify="right")
    ratios: dict[str, list[float]] = {"eager": [], "inductor": []}

    def value(model: dict[str, Any], backend: str, key: str, form: str = ".2f", scale: float = 1.0) -> str:
        found = model.get(backend, {}).get(key)
        return "-" if found is None else format(found * scale, form)

    for name, model in results.items():
        row = [name, *(value(model, backend, "step", scale=1e3) for backend in backends)]
        ours = model.get("ourjit", {})
        for other, ratio in ratios.items():
            if "step" in ours and "step" in model.get(other, {}):
                ratio.append(model[other]["step"] / ours["step"])
                row.append(f"{ratio[-1]:.2f}x")
            else:
                row.append("-")
        stats = ours.get("stats", {})
        row.append(f"{value(model, 'ourjit', 'first_step')} ({value(model, 'aot_eager', 'first_step')})")
        row.append(format(stats["backend_seconds"], ".2f") if stats else "-")
        row.append(f"{value(model, 'ourjit', 'resident_mb', '.0f')} ({value(model, 'eager', 'resident_mb', '.0f')})")
        row.append(str(sum(f["count"] for f in stats["fallbacks"].values())) if stats else "-")
        table.add_row(*row)
    table.add_section()
    means = [f"{geometric_mean(r):.2f}x" if r else "-" for r in ratios.values()]
    table.add_row("geometric mean", *([""] * len(backends)), *means)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    for name, model in results.items():
        for backend, values in model.items():
            if isinstance(values, dict) and "error" in values:
                console.print(f"{name}, {backend}: {values['error']}", markup=False)


def worker(arguments: list[str]) -> None:
    kind, device, name, backends, count = arguments
    if kind == "cold":
        print(json.dumps(measure_cold(name, backends, device, int(count))))
    else:
        print(json.dumps(measure_steps(name, backends.split(","), device, int(count))))


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2:])
        return
    from models import CASES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="model", help="of: " + ", ".join(CASES))
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="(default %(default)s)")
    parser.add_argument("--backends", default="eager,ourjit,inductor", help="comma-separated (default %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=11, help="turns of five steps each (default %(default)s); 1: one step, not warm"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    options.backends = options.backends.split(",")
    unknown = [name for name in options.models if name not in CASES]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; the models are {', '.join(CASES)}")
    results: dict[str, Any] = {}
    for name in options.models or CASES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        results[name] = measure_model(name, options)
    show(results, options.backends)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
