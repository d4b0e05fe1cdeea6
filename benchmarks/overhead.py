"""Times calls in which next to nothing is computed: what it costs to get into a compiled function and out again.

Microseconds of a call, medians of turns in a process for each way. A call without gradients; one that records for
autograd; one with its backward; and a training step of a tiny model, with the ways of models.py. "floor" is a backend
whose compiled function only makes the tensors that it has to return: what Dynamo, AOTAutograd and autograd take.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import workers as w
from steps import step_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ELEMENTS = 16
CALLS = ("eager", "eager+jemalloc", "floor", "ourjit", "inductor")
STEPS = ("eager", "eager+jemalloc", "ourjit", "accelerate", "train_step", "inductor", "inductor-opt")
WAYS = ",".join(dict.fromkeys([*CALLS, *STEPS]))
PASSES = ("no gradients", "recorded", "with backward")


def three_operators(x: Tensor, y: Tensor) -> Tensor:
    return (x * y + x).relu()


def many_inputs(*xs: Tensor) -> Tensor:
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {  # and how many inputs they get
    "3 operators": (three_operators, 2),
    "100 inputs": (many_inputs, 100),
}
TINY_STEP = "training step"


# --- in a worker ---------------------------------------------------------------------------------------


def floor(graph: torch.fx.GraphModule, example_inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """A backend whose functions return uninitialized tensors."""
    import torch
    from torch._dynamo.backends.common import aot_autograd

    def compiled(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
        made = []
        for node in graph.graph.output_node().args[0]:
            value = node and node.meta["val"]
            made.append(None if value is None else (tuple(value.shape), value.stride()))

        def run(arguments: list[Tensor]) -> list[Tensor | None]:
            arguments.clear()
            return [form and torch.empty_strided(*form) for form in made]

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    return aot_autograd(fw_compiler=compiled, bw_compiler=compiled)(graph, example_inputs)


class Tiny:
    """What a worker has ready: one call."""

    def __init__(self, way: str) -> None:
        self.way = way

    def prepare(self, name: str, part: str) -> None:
        import torch

        torch.compiler.reset()
        torch.manual_seed(0)
        if name == TINY_STEP:
            self.call = step_of(tiny_model(), (torch.randn(4, ELEMENTS),), self.way)()
        else:
            self.call = self.make_call(*FUNCTIONS[name], part)
        for _ in range(20):
            self.call()

    def make_call(self, fn: Callable[..., Any], count: int, part: str) -> Callable[[], Any]:
        import torch

        inputs = [torch.randn(ELEMENTS, requires_grad=part != PASSES[0]) for _ in range(count)]
        run = torch.compile(fn, backend=floor, dynamic=False) if self.way == "floor" else w.compiler(self.way)(fn)
        grad = torch.randn(ELEMENTS)

        def backward() -> None:
            run(*inputs).backward(grad)
            for x in inputs:
                x.grad = None

        return backward if part == PASSES[2] else lambda: run(*inputs)

    def measure(self, seconds: float) -> float:
        """Seconds of a call: the mean of a block of about `seconds`, which is long beside one call."""
        clock, call = time.perf_counter, self.call
        call()
        start, count = clock(), 0
        while clock() < start + seconds:
            for _ in range(10):
                call()
            count += 10
        return (clock() - start) / count


def tiny_model() -> torch.nn.Module:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(ELEMENTS, ELEMENTS)
            self.second = torch.nn.Linear(ELEMENTS, ELEMENTS)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x).tanh()).square().mean()

    return Model()


# --- in the process that asks --------------------------------------------------------------------------


def measure(name: str, part: str, workers: dict[str, w.Worker], given: argparse.Namespace) -> w.Figures:
    errors: dict[str, str] = {}
    chosen = {way: worker for way, worker in workers.items() if way in (STEPS if name == TINY_STEP else CALLS)}
    w.ask_all(chosen, errors, do="prepare", name=name, part=part)
    able = {way: worker for way, worker in chosen.items() if way not in errors}
    blocks, more = w.in_turns(able, given.rounds, do="measure", seconds=given.block)
    figures = {way: w.summary(found) for way, found in blocks.items()}
    return {"name": name, "pass": part, "figures": figures, "errors": errors | more}


def tables(rows: list[w.Figures], ways: list[str]) -> list[w.Table]:
    found = []
    for title, names, kinds in (
        ("call", list(FUNCTIONS), CALLS),
        ("training step of a tiny model", [TINY_STEP], STEPS),
    ):
        shown = [way for way in ways if way in kinds]
        table = w.Table(f"{title}, µs, 1 thread", "what", "pass", *shown)
        for row in rows:
            if row["name"] in names:
                table.add(row["name"], row["pass"], *(w.shown(row["figures"].get(way), 1e6) for way in shown))
        found.append(table)
    return [table for table in found if table.rows]


def main() -> None:
    if w.wanted():
        w.serve(Tiny)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", default=WAYS, help="comma-separated (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="turns (default %(default)s)")
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a turn (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    ways = w.usable(given.ways.split(","))
    with contextlib.ExitStack() as stack:
        workers = {way: stack.enter_context(w.Worker(__file__, way, 1)) for way in ways}
        what = [(name, part) for name in FUNCTIONS for part in PASSES] + [(TINY_STEP, "all")]
        rows = []
        for name, part in what:
            w.say(f"measuring {name}, {part} ...")
            rows.append(measure(name, part, workers, given))
    errors = {f"{row['name']}, {row['pass']}, {way}": text for row in rows for way, text in row["errors"].items()}
    w.finish(tables(rows, ways), rows, errors, given.json)


if __name__ == "__main__":
    main()
