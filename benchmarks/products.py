"""Times products of f32 matrices: ATen (MKL), oneDNN and ourjit's kernel, and what `matmul="fastest"` chooses.

GFLOP/s, the best of turns in one process, for each of the four forms; the last columns are the chosen one over the
best, and over the best of ATen and oneDNN.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from workers import Table, counted, finish, geometric_mean

SIZES = ("64x64x64", "128x128x128", "256x256x256", "512x512x512", "1024x1024x1024", "2048x256x1024", "2048x1024x256")
WAYS = ("aten", "onednn", "ourjit", "fastest")
FORMS = {"a b": (False, False), "a b'": (False, True), "a' b": (True, False), "a' b'": (True, True)}


def matrix(rows: int, columns: int, turned: bool) -> torch.Tensor:
    return torch.randn(columns, rows).t() if turned else torch.randn(rows, columns)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


def best_seconds(way: str, a: torch.Tensor, b: torch.Tensor, turns: int) -> float:
    """Of a compiled product without the call around it: the difference between two products and one."""
    torch._dynamo.reset()
    options = {"matmul": way, "strict": True}
    one = torch.compile(product, backend="ourjit", options=options)
    two = torch.compile(lambda a, b, c: (a @ b, c @ b), backend="ourjit", options=options)
    other = a.clone(memory_format=torch.preserve_format)
    best = [math.inf, math.inf]
    for _ in range(turns + 1):
        for i, call in enumerate((lambda: one(a, b), lambda: two(a, b, other))):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], time.perf_counter() - start)
    return max(best[1] - best[0], 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SIZES, help="as in 512x256x1024: rows, columns, terms")
    parser.add_argument("--turns", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    title = f"products of f32 matrices, GFLOP/s, {counted(given.threads)}"
    table = Table(title, "product", "form", *WAYS, "fastest / best", "fastest / best of libraries")
    shares: list[tuple[float, float]] = []
    rows = []
    for size in given.sizes:
        m, n, k = map(int, size.split("x"))
        for form, (a_turned, b_turned) in FORMS.items():
            a, b = matrix(m, k, a_turned), matrix(k, n, b_turned)
            rates = [2e-9 * m * n * k / best_seconds(way, a, b, given.turns) for way in WAYS]
            shares.append((rates[-1] / max(rates[:-1]), rates[-1] / max(rates[:2])))
            rows.append({"size": size, "form": form, "gflops": dict(zip(WAYS, rates, strict=True))})
            table.add(size, form, *(f"{rate:.0f}" for rate in rates), *(f"{share:.2f}" for share in shares[-1]))
    means = [f"{geometric_mean(column):.2f}" for column in zip(*shares, strict=True)]
    table.add("geometric mean", "", *[""] * len(WAYS), *means)
    finish([table], rows, {}, given.json)


if __name__ == "__main__":
    main()
