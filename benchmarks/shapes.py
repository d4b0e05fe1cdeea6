"""Times training on sizes that change from step to step: eager, ourjit and Inductor.

A residual block of a language model (RMS norm, linear, GELU, linear, softmax over the width) on batches of so many
rows each, forward and backward. "first pass" is the seconds of going through all sizes once, caches empty, compilation
included; "step" the microseconds of a step once all of them have been seen, the geometric mean over the sizes. Ways
named "-static" compile each size anew (dynamic=False); the others are as torch.compile does it: a size that changes
becomes a symbol.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import workers as w

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 128
SIZES = (1, 2, 3, 7, 16, 31, 64, 100, 128, 255, 256, 511, 777, 1024, 2047, 4096)  # rows
WAYS = "eager,eager+jemalloc,ourjit,ourjit-static,inductor"


class Shapes:
    """What a worker has ready: the block and a batch of each size."""

    def __init__(self, way: str) -> None:
        import torch
        import torch._dynamo

        self.way = way
        torch.manual_seed(0)
        self.weights = [torch.ones(WIDTH), *(torch.randn(WIDTH, WIDTH) / WIDTH**0.5 for _ in range(2))]
        for weight in self.weights:
            weight.requires_grad_()

    def block(self, x: Tensor) -> Tensor:
        import torch.nn.functional as F

        scale, up, down = self.weights
        hidden = F.gelu(F.rms_norm(x, (WIDTH,), scale, 1e-5) @ up) @ down
        return (x + hidden).log_softmax(-1).mean()

    def first(self, sizes: list[int]) -> w.Figures:
        import torch

        torch._dynamo.config.cache_size_limit = len(sizes) + 1
        backend, _, static = self.way.partition("-")
        options = {"dynamic": False} if static else {}
        block = self.block
        self.run = block if backend == "eager" else torch.compile(block, backend=backend, **options)
        self.batches = [torch.randn(size, WIDTH) for size in sizes]
        start = time.perf_counter()
        losses = [float(self.step(batch)) for batch in self.batches]
        found: w.Figures = {"first": time.perf_counter() - start, "losses": losses}
        if backend == "ourjit":
            import ourjit

            found["stats"] = ourjit.stats()
        return found

    def step(self, batch: Tensor) -> Tensor:
        loss = self.run(batch)
        loss.backward()
        for weight in self.weights:
            weight.grad = None
        return loss.detach()

    def measure(self) -> list[float]:
        """Seconds of a step of each size: the median of three."""
        found = []
        for batch in self.batches:
            times = []
            for _ in range(3):
                start = time.perf_counter()
                self.step(batch)
                times.append(time.perf_counter() - start)
            found.append(sorted(times)[1])
        return found


def main() -> None:
    if w.wanted():
        w.serve(Shapes)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES], help="rows of the batches, in this order")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="(default %(default)s)")
    parser.add_argument("--ways", default=WAYS, help="comma-separated (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="turns (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    ways = w.usable(given.ways.split(","))
    errors: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(w.Worker(__file__, way, given.threads, cold=True)) for way in ways}
        w.say("measuring sizes that change ...")
        first = w.ask_all(workers, errors, do="first", sizes=given.sizes)
        for way, answer in first.items():
            pairs = zip(answer["losses"], first.get("eager", answer)["losses"], strict=True)
            if any(abs(x - y) > 1e-4 * abs(y) for x, y in pairs):
                errors[way] = "losses differ from those of eager"
        able = {way: worker for way, worker in workers.items() if way not in errors}
        blocks, more = w.in_turns(able, given.rounds, do="measure")
    title = f"training on {len(given.sizes)} sizes, {w.counted(given.threads)}"
    table = w.Table(title, "way", "first pass, s", "step, µs", "over eager", "recompilations", "kernels", "fallbacks")
    results = {}
    for way, found in blocks.items():
        by_size = [w.summary([block[i] for block in found]) for i in range(len(given.sizes))]
        results[way] = {"first": first[way]["first"], "steps": by_size, "stats": first[way].get("stats")}
    for way, row in results.items():
        mean = w.geometric_mean(figure["median"] for figure in row["steps"])
        pairs = zip(row["steps"], results.get("eager", row)["steps"], strict=True)
        over = w.geometric_mean(theirs["median"] / ours["median"] for ours, theirs in pairs)
        stats = row["stats"]
        counts = (
            [len(stats["recompilations"]), stats["kernels_compiled"], len(stats["fallbacks"])] if stats else ["-"] * 3
        )
        table.add(way, w.number(row["first"]), w.number(mean * 1e6), w.times(over), *counts)
    w.finish([table], {"sizes": given.sizes, "ways": results}, errors | more, given.json)


if __name__ == "__main__":
    main()
