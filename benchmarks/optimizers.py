"""Times the step of an optimizer over many tensors: eager, foreach, fused, ourjit and Inductor.

    accelerate          ourjit.accelerate(model, optimizer)
    ourjit, inductor    torch.compile(optimizer.step), which goes through Dynamo and takes its time to compile

Milliseconds a step on the CPU, medians of turns in processes of their own, for so many tensors of five shapes in turn;
seconds of the steps that compile, caches empty, and kernels compiled.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import workers as w

if TYPE_CHECKING:
    import torch

SHAPES = [(64, 64), (256, 64), (64,), (256,), (1000, 64)]
WAYS = "eager,eager+jemalloc,foreach,fused,accelerate,inductor"
OTHERS = ("eager", "foreach", "fused", "inductor")
SETTLING = 3  # steps that may compile: optimizers make their state in the first
MOST_FOR_DYNAMO = 100  # tensors: beyond that it takes minutes


def make(name: str, tensors: int, **keywords: object) -> torch.optim.Optimizer:
    import torch

    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(SHAPES[i % len(SHAPES)])) for i in range(tensors)]
    for p in parameters:
        p.grad = torch.randn_like(p)
    return getattr(torch.optim, name)(parameters, lr=1e-3, **keywords)


class Optimizer:
    """What a worker has ready."""

    def __init__(self, way: str) -> None:
        self.way = way

    def first(self, name: str, tensors: int) -> w.Figures:
        import torch
        import torch._dynamo

        keywords = {self.way: True} if self.way in ("foreach", "fused") else {}
        if self.way == "eager":
            keywords["foreach"] = False
        optimizer = make(name, tensors, **keywords)
        self.run: Callable[[], Any] = optimizer.step
        start = time.perf_counter()
        if self.way == "accelerate":
            import ourjit

            ourjit.accelerate(torch.nn.Module(), optimizer)
            self.run = optimizer.step
        elif self.way in ("ourjit", "inductor"):
            self.run = torch.compile(optimizer.step, backend=self.way)
        for _ in range(SETTLING):
            self.run()
        seconds = time.perf_counter() - start
        means = [[p.double().mean().item() for p in group["params"]] for group in optimizer.param_groups]
        found: w.Figures = {"ready": seconds, "means": means[0]}
        if self.way in ("accelerate", "ourjit"):
            import ourjit

            found["stats"] = ourjit.stats()
        return found

    def measure(self, count: int) -> float:
        from timing import seconds

        self.run()
        return seconds(self.run, "cpu", count)


def measure(name: str, tensors: int, given: argparse.Namespace) -> w.Figures:
    errors: dict[str, str] = {}
    ways = [way for way in given.ways if tensors <= given.dynamo or way not in ("ourjit", "inductor")]
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(w.Worker(__file__, way, given.threads, cold=True)) for way in ways}
        first = w.ask_all(workers, errors, do="first", name=name, tensors=tensors)
        for way, answer in first.items():
            pairs = zip(answer["means"], first.get("eager", answer)["means"], strict=True)
            if any(abs(x - y) > 1e-5 for x, y in pairs):
                errors[way] = "parameters differ from those of eager"
        able = {way: worker for way, worker in workers.items() if way not in errors}
        blocks, more = w.in_turns(able, given.rounds, do="measure", count=max(3, 2000 // tensors))
    figures = {way: w.summary(found) for way, found in blocks.items()}
    ready = {way: first[way]["ready"] for way in blocks}
    stats = first.get("accelerate", {}).get("stats")
    row = {"optimizer": name, "tensors": tensors, "step": figures, "ready": ready, "stats": stats}
    return row | {"errors": errors | more}


def table_of(rows: list[w.Figures], ways: list[str], threads: int) -> w.Table:
    others = [way for way in OTHERS if way in ways]
    compiling = [way for way in ("accelerate", "ourjit", "inductor") if way in ways]
    columns = [*ways, *(f"over\n{way}" for way in others), *(f"ready, s\n{way}" for way in compiling), "kernels"]
    table = w.Table(f"step of an optimizer, ms, {w.counted(threads)}", "optimizer", "tensors", *columns)
    for row in rows:
        ratios = [w.times(w.median_ratio(row["step"], over, "accelerate")) for over in others]
        ready = [w.number(row["ready"][way]) if way in row["ready"] else "-" for way in compiling]
        kernels = row["stats"]["kernels_compiled"] if row["stats"] else "-"
        cells = [w.shown(row["step"].get(way), 1e3) for way in ways]
        table.add(row["optimizer"], row["tensors"], *cells, *ratios, *ready, kernels)
    return table


def main() -> None:
    if w.wanted():
        w.serve(Optimizer)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["SGD", "Adam", "AdamW"], help="of torch.optim")
    parser.add_argument("--tensors", type=int, nargs="+", default=[10, 100, 500, 1000])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default %(default)s)")
    parser.add_argument("--ways", default=WAYS, help="comma-separated (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="turns (default %(default)s)")
    parser.add_argument(
        "--dynamo", type=int, default=MOST_FOR_DYNAMO, metavar="TENSORS",
        help="the most for which torch.compile(optimizer.step) is tried (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    given.ways = w.usable(given.ways.split(","))
    rows = []
    for name in given.names:
        for tensors in given.tensors:
            w.say(f"measuring {name}, {tensors} tensors ...")
            rows.append(measure(name, tensors, given))
    errors = {f"{r['optimizer']}, {r['tensors']}, {way}": text for r in rows for way, text in r["errors"].items()}
    w.finish([table_of(rows, given.ways, given.threads)], rows, errors, given.json)


if __name__ == "__main__":
    main()
