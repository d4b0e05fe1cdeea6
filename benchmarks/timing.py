"""Devices to measure on, and timing of calls: the same for all benchmarks in Python."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

import torch

DEVICES = ("cpu", "cuda", "emulated")
Call = Callable[[], object]


def use_device(device: str) -> torch.device:
    """Where tensors go, to be used in `with` while they are made; what ourjit compiles for "emulated" runs there.

    It must not be torch's default device while something is timed: that costs time in each call of torch.
    """
    if device == "emulated":
        os.environ["OURJIT_TARGET"] = "emulate"
    return torch.device("cuda" if device == "cuda" else "cpu")


def wait(device: str) -> None:
    """Returns when `device` has done all that was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(call: Call, device: str, count: int) -> float:
    """Seconds of a call: the median of `count`.

    On a GPU the mean, between CUDA events around `count` calls in a row: the host runs ahead, as it does in training.
    """
    if device != "cuda":
        times = []
        for _ in range(count):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    wait(device)
    first.record()
    for _ in range(count):
        call()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3 / count


def in_turns(calls: Mapping[str, Call], device: str, rounds: int, count: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, from `count` calls behind one that is not counted.

    They take turns, so that the machine's drift hits all of them alike.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            call()
            times[name].append(seconds(call, device, count))
    return times
