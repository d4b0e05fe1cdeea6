"""Times attention in f32 on the CPU: our kernels, called from a compiled graph of such calls, beside ATen's.

Microseconds of ATen's call and how many times as fast ours is, forward and backward, medians of turns in one process.
A turn makes a call for each of several tensors, as the layers of a model do, so that the cost of starting a compiled
graph counts little. --few takes few queries for many keys, where ATen's may be faster: what is_worthwhile()
(csrc/adapter/attention_call.cpp) leaves to ATen shows as about 1.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import ourjit  # noqa: F401  registers the backend
import torch
from timing import in_turns
from torch import Tensor
from workers import Table, finish, geometric_mean

LAYERS = 8
Call = Callable[[], object]
forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def compiled(fn: Callable[..., object], *args: object) -> Call:
    jit = torch.compile(fn, backend="ourjit", options={"strict": True}, fullgraph=True)
    jit(*args)
    return lambda: jit(*args)


def calls(queries: int, keys: int, heads: int, size: int, form: str) -> dict[str, Call]:
    """Queries, keys and values are views of one tensor, as in a GPT."""
    xs = torch.randn(LAYERS, 1, max(queries, keys), 3 * heads * size)
    mask = torch.randn(queries, keys) if form == "mask" else None
    causal = form == "causal"

    def views(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = x.unflatten(-1, (3, heads, size)).permute(2, 0, 3, 1, 4)
        return q[:, :, :queries], k[:, :, :keys], v[:, :, :keys]

    def run(xs: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return attend([views(x) for x in xs])

    def attend(inputs: list[tuple[Tensor, Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [forward(*qkv, 0.0, causal, attn_mask=mask) for qkv in inputs]

    def run_back(xs: Iterable[Tensor], grads: Tensor, outs: list[tuple[Tensor, Tensor]]) -> object:
        return attend_back([views(x) for x in xs], list(grads), outs)

    def attend_back(
        inputs: list[tuple[Tensor, Tensor, Tensor]], grads: list[Tensor], outs: list[tuple[Tensor, Tensor]]
    ) -> object:
        return [
            backward(grad, *qkv, *out, 0.0, causal, attn_mask=mask)
            for qkv, grad, out in zip(inputs, grads, outs, strict=True)
        ]

    outs = run(xs)
    grads = torch.randn(LAYERS, 1, queries, heads, size).transpose(2, 3)
    # ATen's calls get their views for nothing, as compiled graphs do.
    inputs, gradients = [views(x) for x in xs], list(grads)
    torch.compiler.reset()
    return {
        "forward": lambda: attend(inputs),
        "our forward": compiled(run, xs),
        "backward": lambda: attend_back(inputs, gradients, outs),
        "our backward": compiled(run_back, xs, grads, outs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 128], help="of heads")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--forms", nargs="+", default=["plain", "causal", "mask"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    shapes = [(n, k) for n in (1, 2, 4, 8, 12, 16, 20, 24) for k in (64, 1024)]
    if not given.few:
        shapes = [(n, n) for n in given.tokens]
    columns = ("queries", "keys", "form", "forward, µs", "ours", "backward, µs", "ours")
    table = Table("attention: ATen's time, and how many times as fast ours is", "threads", "head", *columns)
    rows = []
    ratios: dict[str, list[float]] = {"forward": [], "backward": []}
    for threads in given.threads:
        torch.set_num_threads(threads)
        for size in given.sizes:
            for queries, keys in shapes:
                for form in given.forms:
                    count = max(1, min(20, 500_000 // (queries * keys)))
                    with torch.no_grad():
                        turns = in_turns(calls(queries, keys, given.heads, size, form), "cpu", given.rounds, count)
                    seconds = {name: statistics.median(times) for name, times in turns.items()}
                    row = [str(n) for n in (threads, size, queries, keys)] + [form]
                    for name, found in ratios.items():
                        found.append(seconds[name] / seconds["our " + name])
                        row += [f"{seconds[name] / LAYERS * 1e6:.0f}", f"{found[-1]:.2f}x"]
                    table.add(*row)
                    sizes = {"threads": threads, "head": size, "queries": queries, "keys": keys, "form": form}
                    rows.append(sizes | {"seconds": seconds})
    forward_mean, backward_mean = (f"{geometric_mean(found):.2f}x" for found in ratios.values())
    table.add("geometric mean", "", "", "", "", "", forward_mean, "", backward_mean)
    finish([table], rows, {}, given.json)


if __name__ == "__main__":
    main()
