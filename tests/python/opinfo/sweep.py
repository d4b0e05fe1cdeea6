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

import samples
import table
import torch
from samples import Outcome

SPAWN = multiprocessing.get_context("spawn")


@dataclasses.dataclass
class Task:
    entry: str
    dtype: str


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=2, help="samples of an entry and dtype; 0: all")
    parser.add_argument("--only", default="", help="entries, with commas")
    parser.add_argument("--dtypes", default="", help="such as float32,bool")
    parser.add_argument("--dynamic", action="store_true", help="compile for any sizes")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=300, help="seconds of one entry and dtype")
    parser.add_argument("--table", action="store_true", help="write docs/operators.md")
    parser.add_argument("--out", help="write all outcomes as JSON")
    return parser.parse_args()


def work(tasks: Any, results: Any, limit: int | None, dynamic: bool | None) -> None:
    """Takes tasks until there is none; reports the begin and the end of each."""
    database, me = samples.database(), os.getpid()
    while (task := tasks.get()) is not None:
        results.put((me, task, None))
        op = database[task.entry]
        try:
            drawn = samples.samples(op, getattr(torch, task.dtype), limit)
            with samples.quiet():
                found = [samples.check(op, sample, dynamic) for sample in drawn]
        except Exception as error:
            found = [Outcome("no samples", f"{type(error).__name__}: {error}"[:300])]
        results.put((me, task, found))


class Pool:
    """Worker processes; one that dies or takes too long is replaced."""

    def __init__(self, tasks: list[Task], options: argparse.Namespace) -> None:
        self.todo, self.results, self.timeout = SPAWN.Queue(), SPAWN.Queue(), options.timeout
        for task in tasks:
            self.todo.put(task)
        self.arguments = (self.todo, self.results, options.limit or None, True if options.dynamic else None)
        self.workers: dict[int, Any] = {}
        self.running: dict[int, tuple[Task, float]] = {}
        for _ in range(options.workers):
            self.start()

    def start(self) -> None:
        worker = SPAWN.Process(target=work, args=self.arguments)
        worker.start()
        self.workers[worker.pid] = worker

    def poll(self) -> list[tuple[Task, list[Outcome]]]:
        """What ended within a second or so."""
        ended = []
        try:
            pid, task, found = self.results.get(timeout=1)
            if found is None:
                self.running[pid] = (task, time.monotonic())
            else:
                self.running.pop(pid, None)
                ended.append((task, found))
        except queue.Empty:
            pass
        for pid, (task, began) in list(self.running.items()):
            dead = not self.workers[pid].is_alive()
            if dead or time.monotonic() - began > self.timeout:
                ended.append((task, [Outcome("crash" if dead else "hang", f"exit code {self.workers[pid].exitcode}")]))
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
        Task(name, str(dtype).removeprefix("torch."))
        for name, op in database.items() if not names or name in names
        for dtype in dtypes if dtype in op.supported_dtypes("cpu")
    ]  # fmt: skip
    pool, start = Pool(tasks, options), time.monotonic()
    done: list[tuple[Task, list[Outcome]]] = []
    while len(done) < len(tasks):
        for task, found in pool.poll():
            done.append((task, found))
            for i, o in enumerate(found):
                if o.failed or o.status in ("crash", "hang", "no samples"):
                    print(f"{task.entry} {task.dtype} sample {i}: {o.status}: {o.detail}", flush=True)
            if len(done) % 100 == 0:
                print(f"{len(done)} of {len(tasks)}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    pool.stop()
    counts: dict[str, int] = {}
    for _, found in done:
        for o in found:
            counts[o.status] = counts.get(o.status, 0) + 1
    print(f"{sum(counts.values())} samples in {time.monotonic() - start:.0f} s: {counts}")
    if options.table:
        real: dict[str, list[Outcome]] = {}
        for task, found in done:
            if not task.dtype.startswith("complex"):
                real.setdefault(task.entry, []).extend(found)
        table.write({**table.rows(), **{name: table.row(name, found) for name, found in real.items()}})
    if options.out:
        with open(options.out, "w") as out:
            json.dump([[t.entry, t.dtype, [dataclasses.asdict(o) for o in found]] for t, found in done], out)
    return int(any(status in counts for status in ("wrong", "error", "crash", "hang", "no samples")))


if __name__ == "__main__":
    sys.exit(main())
