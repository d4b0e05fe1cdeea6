"""What compiling leaves to look at: executables, when each stage ran, what each step of a plan takes."""

from __future__ import annotations

import contextlib
import statistics
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ourjit import _C, _gpu, _torch

# Repeats of a graph: as many as fit into this time, within bounds.
_MEASURE_SECONDS = 0.2
_FEWEST, _MOST = 3, 15


@dataclass(frozen=True)
class Event:
    """A stage of a compilation; seconds of time.perf_counter()."""

    name: str
    start: float
    seconds: float


@dataclass
class Compiled:
    """A graph that was compiled, and what is known of it beside the executable."""

    executable: _C.Executable
    target: str
    files: dict[str, str]
    """The paths of the Python files, by locations such as "model.py:41"."""
    step_seconds: list[float] | None = None
    """Median time of each step of its plan; None where it was not measured."""


class Recording:
    """Follows all that is compiled while it watches. `measures`: times the steps of each graph at its first call."""

    def __init__(self, *, measures: bool = False) -> None:
        self.measures = measures
        self.graphs: list[Compiled] = []
        self.events: list[Event] = []
        self.codes: list[types.CodeType] = []
        self.measuring_seconds = 0.0
        """Time that measuring took: it is not the program's."""

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """What happens meanwhile is an event of this name."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.events.append(Event(name, start, time.perf_counter() - start))

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, compilations are events, and the guards of Dynamo are kept findable."""

        def compiled(name: str, start: float, end: float) -> None:
            self.events.append(Event(name, start, end - start))

        with _torch.watching_dynamo(compiled, self.codes.append):
            yield

    def add(self, executable: _C.Executable, target: str, files: dict[str, str]) -> Callable[[list[Any]], Any]:
        """Keeps a compiled graph; returns what is to run in its place."""
        graph = Compiled(executable, target, files)
        self.graphs.append(graph)
        phases = (Event(*phase) for phase in executable.data()["phases"])
        self.events += [event for event in phases if event not in self.events]  # one graph may serve several tables
        if not self.measures or _gpu.only_emits(target):
            return executable

        def run(inputs: list[Any]) -> Any:
            if graph.step_seconds is None:
                self.measure(graph, inputs)
            return executable(inputs)

        return _torch.takes_one_list(torch.compiler.disable(run, reason="measures the steps of a graph"))

    def watch(self, target: str, files: dict[str, str]) -> Callable[[_C.Executable], Callable[[list[Any]], Any]]:
        """`add` for a graph of which all but the executable is known."""
        return lambda executable: self.add(executable, target, files)

    def measure(self, graph: Compiled, inputs: list[Any]) -> None:
        """Times the steps of a graph on copies of what it writes. Random generators stay as they are."""
        start = time.perf_counter()
        devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices):
            graph.executable.time_steps(inputs, 1)  # library calls choose their kernels in the first run
            (once,) = graph.executable.time_steps(inputs, 1)
            repeats = min(_MOST, max(_FEWEST, int(_MEASURE_SECONDS / max(sum(once), 1e-6))))
            runs = graph.executable.time_steps(inputs, repeats)
        graph.step_seconds = [statistics.median(times) for times in zip(*runs, strict=True)]
        self.measuring_seconds += time.perf_counter() - start

    def guard_text(self) -> str:
        """The guards of Dynamo, one a line, under the function that each frame compiled."""
        return "\n".join(_torch.guards_of(code) for code in dict.fromkeys(self.codes)).strip()


def timer_of(recording: Recording | None) -> Callable[[str], contextlib.AbstractContextManager[None]]:
    """What times a stage for the recording, if there is one."""
    return recording.timed if recording is not None else lambda name: contextlib.nullcontext()
