"""Samples of torch's operator database through ourjit: python tests/python/opinfo/sweep.py --help

Workers are processes, so that a crash or a hang is a result too. Exit code 1 if anything failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import queue
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import counts
import samples
import table
import torch
from samples import Outcome
from torch.testing._internal.opinfo.core import OpInfo, SampleInput

SPAWN = multiprocessing.get_context("spawn")


@dataclasses.dataclass
class Task:
    entry: str
    dtypes: tuple[str, ...]

    def apart(self) -> list[Task]:
        return [Task(self.entry, (dtype,)) for dtype in self.dtypes]


Found = list[tuple[str, list[Outcome]]]  # for each dtype what its samples showed


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=2, help="samples of an entry and dtype; 0: all")
    parser.add_argument("--only", default="", help="entries, with commas")
    parser.add_argument("--dtypes", default="", help="such as float32,bool")
    parser.add_argument("--layout", choices=samples.LAYOUTS, default="contiguous", help="of the tensors in memory")
    parser.add_argument("--dynamic", action="store_true", help="compile for any sizes")
    parser.add_argument("--target", choices=("cpu", "emulate"), default="cpu", help="emulate: on the emulated GPU")
    parser.add_argument("--together", action="store_true", help="compile the samples of an entry as one function first")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=300, help="seconds of one entry")
    parser.add_argument("--table", action="store_true", help="write docs/operators.md")
    parser.add_argument("--count", action="store_true", help="write docs/emulated.md")
    parser.add_argument("--out", help="write all outcomes as JSON")
    given = parser.parse_args()
    if given.table and given.together:
        parser.error("--table needs the calls of each sample, which --together does not tell apart")
    return given


def check(op: OpInfo, dtypes: tuple[str, ...], limit: int | None, dynamic: bool | None, layout: str) -> Found:
    found: Found = []
    drawn: dict[str, list[SampleInput]] = {}
    for dtype in dtypes:
        try:
            drawn[dtype] = list(samples.samples(op, getattr(torch, dtype), limit, layout))
        except Exception as error:
            found.append((dtype, [Outcome("no samples", f"{type(error).__name__}: {error}"[:300])]))
    if len(dtypes) > 1 and samples.all_same(op, [s for some in drawn.values() for s in some], dynamic):
        return found + [(dtype, [Outcome("same") for _ in some]) for dtype, some in drawn.items()]
    return found + [(dtype, [samples.check(op, s, dynamic) for s in some]) for dtype, some in drawn.items()]


def work(tasks: Any, results: Any, *how: Any) -> None:
    """Takes tasks for ever; reports the begin and the end of each."""
    database, me = samples.database(), os.getpid()
    while True:
        task = tasks.get()
        results.put((me, task, None))
        with samples.quiet():
            found = check(database[task.entry], task.dtypes, *how)
        results.put((me, task, found))


class Pool:
    """Worker processes; one that dies or takes too long is replaced."""

    def __init__(self, tasks: list[Task], options: argparse.Namespace) -> None:
        self.todo, self.results, self.timeout = SPAWN.Queue(), SPAWN.Queue(), options.timeout
        self.pending = 0
        self.add(tasks)
        how = (options.limit or None, True if options.dynamic else None, options.layout)
        self.arguments = (self.todo, self.results, *how)
        self.workers: dict[int, Any] = {}
        self.running: dict[int, tuple[Task, float]] = {}
        for _ in range(options.workers):
            self.start()

    def add(self, tasks: list[Task]) -> None:
        self.pending += len(tasks)
        for task in tasks:
            self.todo.put(task)

    def start(self) -> None:
        worker = SPAWN.Process(target=work, args=self.arguments)
        worker.start()
        self.workers[worker.pid] = worker

    def poll(self) -> list[tuple[str, str, list[Outcome]]]:
        """What ended within a second or so: entry, dtype, outcomes."""
        ended: list[tuple[str, str, list[Outcome]]] = []
        try:
            pid, task, found = self.results.get(timeout=1)
            if found is None:
                self.running[pid] = (task, time.monotonic())
            else:
                self.running.pop(pid, None)
                self.pending -= 1
                ended += [(task.entry, dtype, outcomes) for dtype, outcomes in found]
        except queue.Empty:
            pass
        for pid, (task, began) in list(self.running.items()):
            dead = not self.workers[pid].is_alive()
            if dead or time.monotonic() - began > self.timeout:
                self.pending -= 1
                if len(task.dtypes) > 1:
                    self.add(task.apart())
                else:
                    outcome = Outcome("crash" if dead else "hang", f"exit code {self.workers[pid].exitcode}")
                    ended.append((task.entry, task.dtypes[0], [outcome]))
                self.workers[pid].kill()
                del self.running[pid]
                self.start()
        return ended

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.kill()


def main() -> int:
    options = arguments()
    names = set(filter(None, options.only.split(",")))
    dtypes = [getattr(torch, name) for name in options.dtypes.split(",")] if options.dtypes else samples.DTYPES
    database = samples.database()
    tasks = [
        Task(name, tuple(str(dtype).removeprefix("torch.") for dtype in dtypes if dtype in op.supported_dtypes("cpu")))
        for name, op in database.items() if not names or name in names
    ]  # fmt: skip
    tasks = [some for task in tasks if task.dtypes for some in ([task] if options.together else task.apart())]
    os.environ["OURJIT_TARGET"] = options.target  # the workers inherit it
    pool, start = Pool(tasks, options), time.monotonic()
    done: list[tuple[str, str, list[Outcome]]] = []
    told = 0.0
    while pool.pending:
        for entry, dtype, found in pool.poll():
            done.append((entry, dtype, found))
            for i, o in enumerate(found):
                if o.failed or o.status in ("crash", "hang", "no samples"):
                    print(f"{entry} {dtype} sample {i}: {o.status}: {o.detail}", flush=True)
        seconds = time.monotonic() - start
        if seconds - told > 60:
            told = seconds
            print(f"{pool.pending} tasks left after {seconds:.0f} s", file=sys.stderr, flush=True)
    pool.stop()
    statuses: dict[str, int] = {}
    for _, _, found in done:
        for o in found:
            statuses[o.status] = statuses.get(o.status, 0) + 1
    print(f"{sum(statuses.values())} samples in {time.monotonic() - start:.0f} s: {statuses}")
    if options.table:
        real: dict[str, list[Outcome]] = {}
        for entry, dtype, found in done:
            if not dtype.startswith("complex"):
                real.setdefault(entry, []).extend(found)
        table.write({**table.rows(), **{name: table.row(name, found) for name, found in real.items()}})
    if options.count:
        of_dtype = {dtype: [o for _, other, found in done if other == dtype for o in found] for _, dtype, _ in done}
        counts.write({**counts.rows(), **{dtype: counts.row(dtype, found) for dtype, found in of_dtype.items()}})
    if options.out:
        with open(options.out, "w") as out:
            json.dump([[entry, dtype, [dataclasses.asdict(o) for o in found]] for entry, dtype, found in done], out)
    return int(any(status in statuses for status in ("wrong", "error", "crash", "hang", "no samples")))


if __name__ == "__main__":
    sys.exit(main())
