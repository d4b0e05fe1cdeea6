"""Times each form of kernel alone, forward and backward: eager, eager with jemalloc, ourjit and Inductor.

Microseconds of a call of the compiled function, and of `.backward` with a gradient that exists already; what they made
is dropped, gradients behind backward, and that is counted. Medians of turns of blocks, in a process for each way.
"limit" is the part of this machine's bandwidth (or arithmetic) that ourjit's kernels reach without the call around
them, as `explain` measures it; above 100 %: data in a cache.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers import (
    Table,
    Worker,
    ask_all,
    compiler,
    counted,
    finish,
    geometric_mean,
    in_turns,
    median_ratio,
    say,
    serve,
    shown,
    summary,
    times,
    usable,
    wanted,
)

if TYPE_CHECKING:
    from torch import Tensor

WAYS = "eager,eager+jemalloc,ourjit,inductor"
PASSES = ("forward", "backward")
WIDTH = 512  # elements of a row
CLASSES = 1000


@dataclass(frozen=True)
class Case:
    """`fn` of `rows(elements)` of `width`: `operands` such matrices, then vectors; `classes`: numbers of classes."""

    fn: Callable[..., Any]
    operands: int = 1
    vectors: int = 0
    width: int = WIDTH
    classes: bool = False
    random: bool = False  # draws random numbers: results are not compared


def softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.layer_norm(x, x.shape[-1:], weight, bias)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.rms_norm(x, x.shape[-1:], weight, 1e-5)


def cross_entropy(x: Tensor, target: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.cross_entropy(x, target)


def gelu_chain(x: Tensor, y: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.gelu(x + 1) * y


def tanh_chain(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + (0.7978845608 * (x + 0.044715 * x * x * x)).tanh())


def dropout(x: Tensor) -> Tensor:
    import torch.nn.functional as F

    return F.dropout(x, 0.1)


CASES = {
    "softmax": Case(softmax),
    "layer_norm": Case(layer_norm, vectors=2),
    "rms_norm": Case(rms_norm, vectors=1),
    "cross_entropy": Case(cross_entropy, width=CLASSES, classes=True),
    "gelu_chain": Case(gelu_chain, operands=2),
    "tanh_chain": Case(tanh_chain),
    "dropout": Case(dropout, random=True),
}


# --- in a worker ---------------------------------------------------------------------------------------


class Kernel:
    """What a worker has ready."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def prepare(self, name: str, elements: int) -> dict[str, list[float]]:
        """Compiles, and answers with figures of the results, which all ways must agree on."""
        import torch

        torch.compiler.reset()
        torch.manual_seed(0)
        case = CASES[name]
        rows = max(1, elements // case.width)
        inputs = [torch.randn(rows, case.width) for _ in range(case.operands)]
        inputs += [torch.rand(case.width) + 0.5 for _ in range(case.vectors)]
        self.leaves = [x.requires_grad_() for x in inputs]
        if case.classes:
            inputs.append(torch.randint(0, case.width, (rows,)))
        self.case, self.inputs = case, inputs
        self.run = compiler(self.backend)(case.fn)
        out = self.run(*inputs)
        self.grad = torch.randn(out.shape)
        out.backward(self.grad)
        results = [out, *(x.grad for x in self.leaves)]
        means = [[r.double().mean().item(), r.double().abs().mean().item()] for r in results]
        del out, results
        self.measure(0.0)
        return {"means": [] if case.random else means}

    def measure(self, seconds: float, best: bool = False) -> list[float]:
        """Median, or least, seconds of forward and backward in a block of about `seconds`."""
        run, inputs, leaves, grad, clock = self.run, self.inputs, self.leaves, self.grad, time.perf_counter
        found: list[tuple[float, float]] = []
        until = clock() + seconds
        while len(found) < 4 or clock() < until:
            start = clock()
            out = run(*inputs)
            middle = clock()
            out.backward(grad)
            del out
            for leaf in leaves:
                leaf.grad = None
            found.append((middle - start, clock() - middle))
        parts = [sorted(part) for part in zip(*found[1:], strict=True)]
        return [part[0 if best else len(part) // 2] for part in parts]

    def limits(self) -> list[dict[str, Any]]:
        """Of ourjit's forward and backward: seconds of the kernels alone and what part of the limit they reach."""
        import ourjit
        from ourjit.report.figures import describe
        from ourjit.report.machine import limits

        graphs = describe(ourjit.explain(self.case.fn, *self.inputs), limits("cpu"))["graphs"]
        found = []
        for graph in graphs:
            kernels = [k for k in graph["kernels"] if k["seconds"]]
            seconds = sum(k["seconds"] for k in kernels)
            share = sum(k["share"] * k["seconds"] for k in kernels) / seconds if seconds else math.nan
            found.append({"name": graph["name"], "seconds": seconds, "share": share, "kernels": len(kernels)})
        return found


# --- in the process that asks --------------------------------------------------------------------------


def differ(one: list[list[float]], other: list[list[float]]) -> bool:
    """Whether means of results differ by more than rounding, measured by the means of their absolute values."""
    pairs = zip(one, other, strict=True)
    return any(abs(x - y) > 1e-3 * max(a[1], b[1]) for a, b in pairs for x, y in zip(a, b, strict=True))


def measure(ways: list[str], name: str, elements: int, workers: dict[str, Worker], given: Any) -> dict[str, Any]:
    errors: dict[str, str] = {}
    ready = ask_all(workers, errors, do="prepare", name=name, elements=elements)
    for way, answer in ready.items():
        if differ(answer["means"], ready.get("eager", answer)["means"]):
            errors[way] = "results differ from those of eager"
    able = {way: worker for way, worker in workers.items() if way not in errors}
    blocks, more = in_turns(able, given.rounds, do="measure", seconds=given.block, best=given.best)
    row: dict[str, Any] = {"case": name, "elements": elements, "errors": errors | more}
    for i, part in enumerate(PASSES):
        row[part] = {way: summary([block[i] for block in found], given.best) for way, found in blocks.items()}
    if "ourjit" in blocks and not given.no_limits:
        row["limits"] = ask_all({"ourjit": workers["ourjit"]}, errors, do="limits").get("ourjit", [])
    return row


def tables(rows: list[dict[str, Any]], ways: list[str]) -> list[Table]:
    found = []
    others = [way for way in ways if way != "ourjit"]
    for threads in dict.fromkeys(row["threads"] for row in rows):
        titles = (*(f"{way}, µs" for way in ways), *(f"over {way}" for way in others), "kernels, µs", "limit")
        table = Table(f"kernels, {counted(threads)}", "kernel", "elements", "pass", *titles)
        for row in rows:
            for i, part in enumerate(PASSES):
                if row["threads"] == threads:
                    ratios = [times(median_ratio(row[part], over)) for over in others]
                    cells = [shown(row[part].get(way), 1e6) for way in ways]
                    alone = row.get("limits", [])[i : i + 1]
                    limit = [f"{g['seconds'] * 1e6:.3g}" for g in alone] + [f"{g['share']:.0%}" for g in alone]
                    table.add(row["case"], f"{row['elements']:.0e}", part, *cells, *ratios, *limit)
        found.append(table)
    means = Table("kernels, ourjit", "threads", "pass", "over", "geometric mean", "least", "where")
    for threads in dict.fromkeys(row["threads"] for row in rows):
        for part in PASSES:
            for over in others:
                mine = [row for row in rows if row["threads"] == threads]
                ratios_of = {f"{r['case']}, {r['elements']:.0e}": median_ratio(r[part], over) for r in mine}
                known = {where: ratio for where, ratio in ratios_of.items() if ratio is not None}
                if known:
                    least = min(known, key=lambda where: known[where])
                    means.add(threads, part, over, times(geometric_mean(known.values())), times(known[least]), least)
    return [*found, means]


def main() -> None:
    if wanted():
        serve(Kernel)
        return
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[*CASES], metavar="kernel", help="of: " + ", ".join(CASES))
    parser.add_argument("--elements", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7])
    parser.add_argument("--threads", type=int, nargs="+", default=sorted({1, cores}), help="(default: one, and all)")
    parser.add_argument("--ways", default=WAYS, help="comma-separated (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=11, help="turns (default %(default)s)")
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a turn (default %(default)s)")
    parser.add_argument("--best", action="store_true", help="least times, not medians: where others use the machine")
    parser.add_argument("--no-limits", action="store_true", help="without the kernels alone, which are not interleaved")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in CASES]
    if unknown:
        parser.error(f"unknown kernel {unknown[0]}; the kernels are {', '.join(CASES)}")
    ways = usable(given.ways.split(","))
    rows = []
    for threads in given.threads:
        with contextlib.ExitStack() as stack:
            workers = {way: stack.enter_context(Worker(__file__, way, threads)) for way in ways}
            for name in given.cases:
                for elements in map(int, given.elements):
                    say(f"measuring {name}, {elements} elements, {counted(threads)} ...")
                    rows.append({"threads": threads} | measure(ways, name, elements, workers, given))
    errors = {f"{r['case']}, {r['elements']}, {way}": text for r in rows for way, text in r["errors"].items()}
    finish(tables(rows, ways), rows, errors, given.json)


if __name__ == "__main__":
    main()
