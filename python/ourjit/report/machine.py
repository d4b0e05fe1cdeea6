"""What this machine can do at most, measured: the limits that kernels are compared with."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_COPY_BYTES = 64 << 20
_MATRIX = 1024
_RUNS = 7


@dataclass(frozen=True)
class Limits:
    """Of a device, as one process reaches them."""

    bytes_per_second: float
    """Read and written by a copy of 64 MiB, which is more than caches hold."""
    flops_per_second: float
    """Of a product of two f32 matrices of 1024 x 1024: multiplications and additions."""

    def share(self, seconds: float, moved: float, flops: float) -> tuple[float, str]:
        """What part of the nearer limit is reached, and which one that is: "bandwidth" or "arithmetic".

        More than 1 means that the data were in a cache.
        """
        if seconds <= 0:
            return 0.0, ""
        memory, arithmetic = moved / self.bytes_per_second, flops / self.flops_per_second
        return max(memory, arithmetic) / seconds, "bandwidth" if memory >= arithmetic else "arithmetic"


def limits(device: str) -> Limits:
    """The limits of a device such as "cpu" or "cuda:0", measured at the first call: some 0.1 s on a CPU."""
    return _measured(str(torch.device(device)), torch.get_num_threads())


@functools.cache
def _measured(device: str, threads: int) -> Limits:
    source = torch.ones(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    matrix = torch.ones(_MATRIX, _MATRIX, device=device)
    product = torch.empty_like(matrix)
    with torch.no_grad():
        copy = _best(lambda: target.copy_(source), device)
        multiply = _best(lambda: torch.mm(matrix, matrix, out=product), device)
    return Limits(2 * _COPY_BYTES / copy, 2 * _MATRIX**3 / multiply)


def _best(run: Callable[[], object], device: str) -> float:
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times = []
    for _ in range(_RUNS):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return min(times)
