"""Times `ourjit.accelerate(model, optimizer)` and, with --dynamo, `torch.compile(optimizer.step, backend="ourjit")`.

Milliseconds a step on the CPU beside eager, foreach and fused, median of turns in one process, for so many tensors of
five shapes in turn; seconds of the step that compiles, and of ourjit's own part in it; kernels compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import ourjit
import torch
from rich.console import Console
from rich.table import Table

SHAPES = [(64, 64), (256, 64), (64,), (256,), (1000, 64)]


def make(name: str, tensors: int, **keywords: object) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(SHAPES[i % len(SHAPES)])) for i in range(tensors)]
    for p in parameters:
        p.grad = torch.randn_like(p)
    return getattr(torch.optim, name)(parameters, lr=1e-3, **keywords)  # type: ignore[no-any-return]


def accelerated(name: str, tensors: int) -> Callable[[], object]:
    optimizer = make(name, tensors)
    ourjit.accelerate(torch.nn.Module(), optimizer)
    optimizer.step()  # makes the state
    return optimizer.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["SGD", "Adam", "AdamW"], help="of torch.optim")
    parser.add_argument("--tensors", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dynamo", action="store_true", help="through torch.compile, which takes its time")
    given = parser.parse_args()
    table = Table("optimizer", "eager", "foreach", "fused", "ourjit", "compiling, s", "ourjit's part, s", "kernels")
    for name in given.names:
        torch.compiler.reset()
        ourjit.reset()
        steps: dict[str, Callable[[], object]] = {
            "eager": make(name, given.tensors, foreach=False).step,
            "foreach": make(name, given.tensors, foreach=True).step,
            "fused": make(name, given.tensors, fused=True).step,
            "ourjit": torch.compile(make(name, given.tensors).step, backend="ourjit")
            if given.dynamo
            else accelerated(name, given.tensors),
        }
        start = time.perf_counter()
        steps["ourjit"]()
        first = time.perf_counter() - start
        steps["ourjit"]()  # through Dynamo, optimizers that make their state at the first step compile a second time
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for _ in range(given.rounds):
            for kind, step in steps.items():
                start = time.perf_counter()
                step()
                times[kind].append((time.perf_counter() - start) * 1e3)
        medians = [f"{statistics.median(times[kind]):.2f}" for kind in steps]
        stats = ourjit.stats()
        table.add_row(
            f"{name}, {given.tensors} tensors",
            *medians,
            f"{first:.1f}",
            f"{stats['backend_seconds']:.2f}",
            str(stats["kernels_compiled"]),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
