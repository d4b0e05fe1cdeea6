"""Worker processes that take turns, and tables of what they measured: the same for the benchmarks that `run_all` runs.

What is compared runs in processes of its own, a *way* each: a backend, with an allocator where one is preloaded. All
are made ready first, then they are asked in turns for a block of calls each, so that the machine's drift hits all of
them alike and nothing that one leaves behind (memory, threads, compiled code) changes another. A script that makes
workers of itself calls `serve` where `wanted()` says so.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4"}  # of Debian's packages
# Freed memory stays with the process, as torch's guide to tuning on CPUs advises, rather than go back to the system.
KEEP = {"MALLOC_CONF": "oversize_threshold:0,dirty_decay_ms:-1,muzzy_decay_ms:-1", "TCMALLOC_RELEASE_RATE": "0"}
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
PAUSE = 0.002  # seconds between turns: threads of the worker before stop spinning

Figures = dict[str, Any]


class WorkerError(Exception):
    """A worker's own error, or the last line of what it said before it died."""


def allocator_of(way: str) -> str | None:
    """The allocator named in a way such as "eager+jemalloc"."""
    return way.partition("+")[2] or None


def backend_of(way: str) -> str:
    return way.partition("+")[0]


def library(allocator: str) -> Path | None:
    """The file to preload, None where it is not installed."""
    paths = (Path(folder, ALLOCATORS[allocator]) for folder in LIBRARIES)
    return next((path for path in paths if path.exists()), None)


def why_not(way: str) -> str | None:
    """What is missing for a way, None if it can be measured."""
    allocator = allocator_of(way)
    if allocator is not None and allocator not in ALLOCATORS:
        return f"allocators are {', '.join(ALLOCATORS)}"
    if allocator is not None and library(allocator) is None:
        return f"{ALLOCATORS[allocator]} is not installed: apt-get install libjemalloc2 libtcmalloc-minimal4"
    if backend_of(way) == "jax" and not can_import("jax"):
        return "jax is not installed: .venv/bin/pip install 'jax[cpu]'"
    return None


def can_import(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def usable(ways: Iterable[str]) -> list[str]:
    """Those of `ways` that can be measured here; says of the others why not."""
    found = []
    for way in ways:
        why = why_not(way)
        if why is None:
            found.append(way)
        else:
            print(f"without {way}: {why}", file=sys.stderr)
    return found


class Worker:
    """A process that runs `script` and answers requests, one after the other; to be used in `with`."""

    def __init__(self, script: str, way: str, threads: int, *, cold: bool = False) -> None:
        self.folder = tempfile.TemporaryDirectory()
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        if threads == 1:
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"  # of JAX
        if cold:  # nothing that earlier processes compiled
            for name, place in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("OURJIT_CACHE_DIR", "ourjit")):
                environment[name] = str(Path(self.folder.name, place))
        allocator = allocator_of(way)
        if allocator is not None:
            environment |= {"LD_PRELOAD": str(library(allocator)), **KEEP}
        self.errors = open(Path(self.folder.name, "stderr"), "w+")  # noqa: SIM115  open as long as the process
        self.process = subprocess.Popen(
            [sys.executable, script, "--worker", backend_of(way), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment, text=True,
        )  # fmt: skip

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(self.last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    def last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines()
        return lines[-1][:200] if lines else f"exit code {code}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None and stream is not self.process.stdin:
                stream.close()
        self.folder.cleanup()


def wanted() -> bool:
    """Whether this process is a worker."""
    return sys.argv[1:2] == ["--worker"]


def serve(make: Callable[[str], object]) -> None:
    """Answers requests until there are none: `do` names the method of `make(backend)` that gets the other keywords."""
    backend, threads = sys.argv[2:4]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    if backend != "jax":
        import torch

        torch.set_num_threads(int(threads))
    subject = make(backend)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            result: Figures = {"result": getattr(subject, request.pop("do"))(**request)}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]}
        answers.write(json.dumps(result) + "\n")
        answers.flush()


def compiler(backend: str) -> Callable[..., Any]:
    """What compiles a function for a backend, for sizes as they are."""
    import torch

    if backend == "eager":
        return lambda fn: fn
    if backend == "inductor-max":
        return lambda fn: torch.compile(fn, mode="max-autotune", dynamic=False)
    return lambda fn: torch.compile(fn, backend=backend, dynamic=False)


def ask_all(workers: Mapping[str, Worker], errors: dict[str, str], **request: Any) -> Figures:
    """Asks every worker that has not failed before; the answers of those that have not now."""
    answers = {}
    for way, worker in workers.items():
        if way not in errors:
            try:
                answers[way] = worker.ask(**request)
            except WorkerError as error:
                errors[way] = str(error)
    return answers


def in_turns(workers: Mapping[str, Worker], rounds: int, **request: Any) -> tuple[dict[str, list[Any]], dict[str, str]]:
    """The answers of each worker in each round, and the errors of those that failed."""
    answers: dict[str, list[Any]] = {way: [] for way in workers}
    errors: dict[str, str] = {}
    for _ in range(rounds):
        for way, answer in ask_all(workers, errors, **request).items():
            answers[way].append(answer)
            time.sleep(PAUSE)
    return {way: found for way, found in answers.items() if way not in errors}, errors


# --- figures -------------------------------------------------------------------------------------------


def spread(values: list[float]) -> float:
    """Half of what lies between the quartiles, as a part of the median."""
    if len(values) < 4:
        return (max(values) - min(values)) / 2 / statistics.median(values)
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def summary(values: list[float], best: bool = False) -> Figures:
    return {"median": min(values) if best else statistics.median(values), "spread": spread(values)}


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def number(value: float) -> str:
    """Three digits: 0.0123, 1.23, 123, 12345."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def shown(figure: Figures | None, scale: float = 1.0) -> str:
    """A median with its spread, "-" where there is none."""
    return "-" if figure is None else f"{number(figure['median'] * scale)} ±{figure['spread'] * 100:.0f}%"


def counted(threads: int) -> str:
    return f"{threads} thread" + ("s" if threads > 1 else "")


def times(ratio: float | None) -> str:
    return "-" if ratio is None or math.isnan(ratio) else f"{ratio:.2f}x"


def median_ratio(figures: Mapping[str, Figures], over: str, way: str = "ourjit") -> float | None:
    """How many times as fast as `over` a way is, None where one of them has no figure."""
    if over not in figures or way not in figures:
        return None
    return float(figures[over]["median"] / figures[way]["median"])


# --- tables --------------------------------------------------------------------------------------------


class Table:
    """Rows of texts under a title, to print and to put on a page."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title, self.columns = title, columns
        self.rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        self.rows.append([str(cell) for cell in cells] + [""] * (len(self.columns) - len(cells)))

    def data(self) -> Figures:
        return {"title": self.title, "columns": self.columns, "rows": self.rows}

    def print(self) -> None:
        from rich.console import Console
        from rich.table import Table as RichTable

        table = RichTable(title=self.title)
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*row)
        Console(width=None if sys.stdout.isatty() else 200).print(table)


def finish(tables: list[Table], results: Any, errors: Mapping[str, str], path: Path | None) -> None:
    """Prints the tables and errors; writes all of it to `path` as JSON, which `run_all` reads."""
    for table in tables:
        table.print()
    for name, text in errors.items():
        print(f"{name}: {text}")
    if path is not None:
        data = {"tables": [table.data() for table in tables], "results": results, "errors": dict(errors)}
        path.write_text(json.dumps(data, indent=1))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
