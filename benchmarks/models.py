"""Times training steps of the models of tests/python/models.py: eager, ourjit and Inductor.

A step is forward, backward and AdamW. Ways to take it, each in a fresh process (workers.py):

    eager               as it is; eager+jemalloc and eager+tcmalloc preload an allocator that keeps freed memory
    accelerate          ourjit.accelerate(model, optimizer)
    train_step          ourjit.train_step(model, None, optimizer)
    inductor-opt        torch.compile(model) and torch.compile(optimizer.step)
    ourjit, inductor    torch.compile(model), the optimizer eager; inductor-max: mode="max-autotune"
    aot_eager           likewise: what tracing alone takes
    jax                 of char_gpt and mlp, written in JAX (jax_models.py), where jax[cpu] is installed

The first step counts from the call that compiles, caches empty, Dynamo imported; "ready" is the sum of the first
three, after which nothing compiles any more. Peak: resident memory of a warm step, and what is resident before it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import workers as w
from steps import Step, step_of
from timing import DEVICES, seconds, use_device, wait

# In front: this file must not hide the models of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

OURS = ("accelerate", "train_step", "ourjit")
WAYS = "eager,eager+jemalloc,accelerate,train_step,inductor-opt,ourjit,inductor,aot_eager"
SETTLING = 3  # steps until nothing compiles any more: optimizers make their state in the first


# --- in a worker ---------------------------------------------------------------------------------------


def torch_step(model_name: str, way: str, device: str) -> Callable[[], Step]:
    """What makes the step of a fresh model ready, without compiling it yet."""
    import torch
    import torch._dynamo
    from models import CASES

    torch.manual_seed(0)
    case = CASES[model_name]
    with use_device(device):
        model = case.build(0.1)
        batch = case.batch(1)
    return step_of(model, batch, way)


def memory_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return math.nan


class Training:
    """What a worker has ready: a model and its step."""

    def __init__(self, way: str) -> None:
        self.way = way

    def first(self, model: str, device: str, settling: int) -> w.Figures:
        """Seconds to the first step and until all is compiled, and the losses."""
        if self.way == "jax":
            from jax_models import jax_step as make_step
        else:
            make_step = torch_step
        make, self.device = make_step(model, self.way, device), device
        start = time.perf_counter()
        self.step = make()
        losses, ends = [], []
        for _ in range(settling):
            losses.append(float(self.step()))
            wait(device)
            ends.append(time.perf_counter() - start)
        return {"first_step": ends[0], "ready": ends[-1], "losses": losses}

    def measure(self, count: int) -> float:
        if count > 1:
            self.step()
        return seconds(self.step, self.device, count)

    def memory(self, steps: int) -> w.Figures:
        """MB: resident, the highest within warm steps, and torch's own on a GPU; ourjit's counters."""
        for _ in range(steps):
            self.step()
        found: w.Figures = {"resident_mb": memory_mb("VmRSS:")}
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # forgets the highest so far
            for _ in range(steps):
                self.step()
            found["peak_mb"] = memory_mb("VmHWM:")
        if self.device == "cuda":
            import torch

            found["device_mb"] = torch.cuda.max_memory_allocated() / 2**20
        if self.way in OURS:
            import ourjit

            found["stats"] = ourjit.stats()
        return found


# --- in the process that asks --------------------------------------------------------------------------


def measure_model(name: str, given: argparse.Namespace) -> w.Figures:
    """Figures of each way, or its error."""
    quick = given.rounds == 1
    first = {"do": "first", "model": name, "device": given.device, "settling": 1 if quick else SETTLING}
    errors: dict[str, str] = {}
    found: w.Figures = {}
    ways = [way for way in given.ways if way != "jax" or name in ("char_gpt", "mlp")]
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(w.Worker(__file__, way, given.threads, cold=True)) for way in ways}
        colds = {way: [answer] for way, answer in w.ask_all(workers, errors, **first).items()}
        warm = {way: worker for way, worker in workers.items() if way != "aot_eager" and way not in errors}
        blocks, more = w.in_turns(warm, given.rounds, do="measure", count=1 if quick else 5)
        errors |= more
        memory = w.ask_all({way: workers[way] for way in blocks}, errors, do="memory", steps=0 if quick else 10)
    for _ in range(given.colds - 1):
        for way in colds:
            if way.startswith(("aot_eager", *OURS)):
                with w.Worker(__file__, way, given.threads, cold=True) as worker:
                    colds[way] += w.ask_all({way: worker}, errors, **first).values()
    for way in ways:
        found[way] = {"error": errors[way]} if way in errors else dict(memory.get(way, {}))
        if way in blocks:
            found[way]["step"] = w.summary(blocks[way]) | {"all": blocks[way]}
        for key in ("first_step", "ready") if way in colds else ():
            found[way][key] = w.summary([cold[key] for cold in colds[way]])
        for key in ("resident_mb", "peak_mb"):
            if key in found[way]:
                found[way][key] = w.summary([found[way][key]])
    check_losses(name, {way: answers[0]["losses"] for way, answers in colds.items() if way != "jax"}, found)
    return found


def check_losses(name: str, losses: dict[str, list[float]], found: w.Figures) -> None:
    """Marks ways whose first steps do not train as eager does; with random numbers of their own, roughly so."""
    from models import CASES

    case = CASES[name]
    for way, mine in losses.items():
        pairs = zip(mine, losses.get("eager", mine), strict=True)
        allowed = 0.1 if case.has_dropout or case.random else 1e-3
        if any(not abs(x - y) <= allowed * abs(y) for x, y in pairs):
            found[way] = {"error": f"losses {mine} differ from eager's {losses['eager']}"}


@dataclass(frozen=True)
class Comparison:
    """A table: a figure of some ways, times a scale, and how many times better ours are than others."""

    title: str
    key: str
    ways: str
    ours: str
    others: str
    scale: float = 1.0
    spreads: bool = False


EAGER = "eager eager+jemalloc eager+tcmalloc"
COMPILING = "accelerate train_step ourjit aot_eager inductor inductor-opt inductor-max jax"
COMPARISONS = (
    Comparison(
        "training step, optimizer compiled, ms", "step", f"{EAGER} accelerate train_step inductor-opt jax",
        "accelerate train_step", f"{EAGER} inductor-opt jax", 1e3, True,
    ),
    Comparison(
        "training step, optimizer eager, ms", "step", f"{EAGER} ourjit inductor inductor-max",
        "ourjit", f"{EAGER} inductor inductor-max", 1e3, True,
    ),
    Comparison("first step in a fresh process, s", "first_step", COMPILING, "accelerate train_step", "aot_eager"),
    Comparison("first three steps in a fresh process, s", "ready", COMPILING, "accelerate train_step", "aot_eager"),
    Comparison("highest resident memory of a warm step, MB", "peak_mb", f"{EAGER} {COMPILING}", "", ""),
)  # fmt: skip


def compared(what: Comparison, results: w.Figures) -> w.Table:
    """A row for each model, and the geometric means."""
    known = {way for row in results.values() for way in row if what.key in row[way]}
    ways = [way for way in what.ways.split() if way in known]
    pairs = [(way, other) for way in what.ours.split() for other in what.others.split() if {way, other} <= known]
    table = w.Table(what.title, "model", *ways, *(f"{way}\nover {other}" for way, other in pairs))
    ratios: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for name, row in results.items():
        figures = {way: row[way][what.key] for way in ways if what.key in row.get(way, {})}
        cells = [w.shown(figures.get(way), what.scale) for way in ways]
        cells = cells if what.spreads else [cell.partition(" ")[0] for cell in cells]
        for way, other in pairs:
            ratio = w.median_ratio(figures, other, way)
            ratios[way, other] += [] if ratio is None else [ratio]
            cells.append(w.times(ratio))
        table.add(name, *cells)
    if pairs:
        means = [w.times(w.geometric_mean(found)) for found in ratios.values()]
        table.add("geometric mean", *[""] * len(ways), *means)
    return table


def tables(results: w.Figures) -> list[w.Table]:
    known = {way for row in results.values() for way, figures in row.items() if "error" not in figures}
    wanted = [what for what in COMPARISONS if not what.ours or known.intersection(what.ours.split())]
    found = [*(compared(what, results) for what in wanted), counters(results)]
    return [table for table in found if len(table.columns) > 1 and table.rows]


def counters(results: w.Figures) -> w.Table:
    table = w.Table("ourjit's own counters", "model", "way", "backend, s", "graphs", "kernels", "fallbacks")
    for name, row in results.items():
        for way in OURS:
            stats = row.get(way, {}).get("stats")
            if stats:
                fallbacks = sum(fallback["count"] for fallback in stats["fallbacks"].values())
                kernels = stats["kernels_compiled"]
                table.add(name, way, f"{stats['backend_seconds']:.2f}", stats["graphs"], kernels, fallbacks)
    return table


def main() -> None:
    if w.wanted():
        w.serve(Training)
        return
    from models import CASES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=[*CASES], metavar="model", help="of: " + ", ".join(CASES))
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="(default %(default)s)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default %(default)s)")
    parser.add_argument("--ways", default=WAYS, help="comma-separated (default %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=11, help="turns of five steps each (default %(default)s); 1: one step, not warm"
    )
    parser.add_argument("--colds", type=int, default=3, help="fresh processes for first steps (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    given.ways = w.usable(given.ways.split(","))
    unknown = [name for name in given.models if name not in CASES]
    if unknown:
        parser.error(f"unknown model {unknown[0]}; the models are {', '.join(CASES)}")
    results: w.Figures = {}
    for name in given.models:
        w.say(f"measuring {name} ...")
        results[name] = measure_model(name, given)
    wrong = {(name, way): row[way]["error"] for name, row in results.items() for way in row if "error" in row[way]}
    errors = {f"{name}, {way}": text for (name, way), text in wrong.items()}
    w.finish(tables(results), results, errors, given.json)


if __name__ == "__main__":
    main()
