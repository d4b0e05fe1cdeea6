"""Runs a script as `python script.py` does, while its modules and optimizers run compiled.

A module that is called from outside of any other module, and has parameters, is compiled as by
`module.compile(backend="ourjit")`; what the script itself gives to torch.compile is compiled by ourjit, whatever its
backend; an optimizer steps as after `ourjit.accelerate`. The first steps run as they are, to compare with.

`nn.Module.__call__` asks its module for `_compiled_call_impl`. While the script runs, the class answers that with what
compiles; during a call it answers None again, so that Dynamo sees modules as they always are.
"""

from __future__ import annotations

import contextlib
import functools
import os
import runpy
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ourjit import _C, _torch, backend
from ourjit.optimizer_step import accelerate_optimizer
from ourjit.recording import Recording
from ourjit.report.figures import compile_seconds

_INTERRUPTED = 130  # the exit code that shells give a process which Ctrl-C ended


@dataclass
class Watched:
    """What was seen of a script."""

    recording: Recording
    keeps_graphs: bool
    """All graphs are in the recording, and compiled for that; else they may come from AOTAutograd's cache."""
    eager_steps: int
    ends: list[float] = field(default_factory=list)
    """When the first step began and when each step ended, by a clock that stands still while steps are measured."""
    compiled_from: int | None = None
    """How many steps ran before compiling began; None if it never did."""
    step_is: str = "a call of a module"
    modules: dict[str, int] = field(default_factory=dict)
    """Calls from outside, by class."""
    eager: dict[str, str] = field(default_factory=dict)
    """What ran as it is, and why."""

    def note(self, name: str, why: str) -> None:
        """Keeps that something ran as it is; the first reason counts."""
        self.eager.setdefault(name, why)

    @property
    def seconds(self) -> list[float]:
        """The time of each step, with all that the script does in it."""
        return [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]


def check(path: str, report: str | None) -> None:
    """Raises UserError if there is no such script, or where the report could not be written."""
    if not Path(path).exists():
        raise _C.UserError(f"there is no script '{path}' in {Path.cwd()}: give its path, then its own arguments")
    if report is not None and (Path(report).is_dir() or not os.access(Path(report).resolve().parent, os.W_OK)):
        raise _C.UserError(f"the report cannot be written to '{report}': give the path of a file in a folder of yours")


def run_script(path: str, arguments: Sequence[str]) -> int:
    """Runs a script as `python path arguments...` does; returns its exit code.

    What it raises is printed as Python does it, to standard error.
    """
    before = sys.argv[:], sys.path[:]
    sys.argv[:] = [path, *arguments]
    if Path(path).is_file():
        sys.path[0:1] = [str(Path(path).resolve().parent)]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException as error:
        frames = error.__traceback__
        while frames is not None and not frames.tb_frame.f_code.co_filename.startswith(path):
            frames = frames.tb_next  # ours and runpy's
        sys.excepthook(type(error), error.with_traceback(frames), frames)
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.argv[:], sys.path[:] = before
    return 0


class _Answer:
    """Stands for `_compiled_call_impl` in nn.Module: what a module that is called from outside runs, or None."""

    def __init__(self, of: Callable[[nn.Module], Callable[..., Any] | None]) -> None:
        self.of = of

    def __get__(self, module: nn.Module | None, kind: type | None = None) -> Callable[..., Any] | None:
        return None if module is None else self.of(module)


class _Watcher:
    """Patches torch for one script."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.answer = _Answer(self.compiled_call)
        self.lock = threading.Lock()
        self.depth = 0
        self.has_optimizers = False
        self.optimizers: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self.accelerated: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self.lead: weakref.ref[torch.optim.Optimizer] | None = None
        self.since_lead: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        self.compile = torch.compile
        self.forms: dict[int, Callable[..., Any]] = {}  # by the identities of modules that live
        self.backends: dict[str, Callable[..., Any]] = {}

    # --- modules -----------------------------------------------------------------------------------

    def compiled_call(self, module: nn.Module) -> Callable[..., Any] | None:
        """What a module runs where `nn.Module.__call__` asks for its compiled form; None: its own code."""
        if self.depth or next(module.parameters(), None) is None or isinstance(module, torch.jit.ScriptModule):
            return None
        return functools.partial(self.call, module)

    def form_of(self, module: nn.Module) -> Callable[..., Any]:
        """The compiled form of a module, which takes it as an argument and does not keep it alive."""
        key = id(module)
        found = self.forms.get(key)
        if found is None:
            found = _torch.call_of(module)
            if not _torch.wraps_compiled(module):
                found = self.compile(found, backend=self.backend(None))
            self.forms[key] = found
            weakref.finalize(module, self.forms.pop, key, None)
        return found

    def call(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Calls a module from outside."""
        with self.lock:
            self.depth += 1
            outermost = self.depth == 1
            if outermost:
                nn.Module._compiled_call_impl = None
        try:
            if outermost:
                name = type(module).__name__
                self.watched.modules[name] = self.watched.modules.get(name, 0) + 1
                if not self.watched.ends:
                    self.mark()
            return self.form_of(module)(module, *args, **kwargs)
        finally:
            with self.lock:
                self.depth -= 1
                if self.depth == 0:
                    nn.Module._compiled_call_impl = self.answer
            if outermost and not self.has_optimizers:
                self.end_step()

    def compile_as_asked(self, model: Any = None, **keywords: Any) -> Any:
        """torch.compile, by ourjit. Options and mode of other backends mean nothing to it."""
        if model is None:
            return functools.partial(self.compile_as_asked, **keywords)
        options = keywords.pop("options", None)
        keywords.pop("mode", None)
        own = keywords.pop("backend", None) in ("ourjit", backend.ourjit)
        return self.compile(model, backend=self.backend(options if own else None), **keywords)

    def backend(self, options: Mapping[str, Any] | None) -> Callable[..., Any]:
        """A backend of torch.compile with these options; the same for equal ones, as Dynamo asks which it is."""
        given = dict(options or {})
        key = repr(sorted(given.items()))
        if key in self.backends:
            return self.backends[key]

        def compile_graph(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
            session = backend.session_for(module, inputs, given)
            try:
                recording = self.watched.recording if self.watched.keeps_graphs else None
                return session.capture(module, inputs, recording)
            except Exception as error:
                if session.options["strict"]:
                    raise
                self.watched.note("a graph", f"{type(error).__name__}: {error}")
                return module.forward

        self.backends[key] = compile_graph
        return compile_graph

    # --- optimizers and steps ----------------------------------------------------------------------

    def see(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Called after each step of each optimizer.

        Where several take turns, a step of the first ends a step of the script; another takes its place once it has
        stepped twice without it.
        """
        self.optimizers.add(optimizer)
        if self.lead is None or optimizer in self.since_lead:
            self.lead = weakref.ref(optimizer)
            self.watched.step_is = f"a step of {type(optimizer).__name__}"
        if self.lead() is optimizer:
            self.since_lead.clear()
            self.end_step()
        else:
            self.since_lead.add(optimizer)
        if self.watched.compiled_from is not None:
            self.accelerate()

    def accelerate(self) -> None:
        for optimizer in list(self.optimizers):
            if optimizer in self.accelerated:
                continue
            self.accelerated.add(optimizer)
            try:
                accelerate_optimizer(optimizer, None, self.watched.recording)
            except _C.UserError as error:
                self.watched.note(f"{type(optimizer).__name__}.step", str(error))

    def end_step(self) -> None:
        self.mark()
        if self.watched.compiled_from is None and len(self.watched.seconds) >= self.watched.eager_steps:
            self.begin_compiling()

    def begin_compiling(self) -> None:
        self.watched.compiled_from = len(self.watched.seconds)
        torch.compiler.set_stance("default")

    def mark(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        self.watched.ends.append(time.perf_counter() - self.watched.recording.measuring_seconds)

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """While it lasts, torch does all of this."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        make = torch.optim.Optimizer.__init__

        @functools.wraps(make)
        def make_seen(optimizer: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> None:
            self.has_optimizers = True
            make(optimizer, *args, **kwargs)

        @functools.wraps(self.compile)
        def compile_as_asked(*args: Any, **kwargs: Any) -> Any:
            return self.compile_as_asked(*args, **kwargs)

        hook = register_optimizer_step_post_hook(torch.compiler.disable(self.see, reason="counts steps"))
        torch.optim.Optimizer.__init__ = make_seen
        torch.compile = compile_as_asked
        nn.Module._compiled_call_impl = self.answer
        if self.watched.eager_steps == 0:
            self.watched.compiled_from = 0
        else:
            torch.compiler.set_stance("force_eager")
        try:
            gave_up = _torch.hearing_what_runs_uncompiled(self.watched.note)
            with self.watched.recording.watching(), gave_up:
                yield
        finally:
            torch.compiler.set_stance("default")
            nn.Module._compiled_call_impl = None
            torch.compile = self.compile
            torch.optim.Optimizer.__init__ = make
            hook.remove()


@contextlib.contextmanager
def compiled_script(eager_steps: int, *, reports: bool) -> Iterator[Watched]:
    """While it lasts, what is called is compiled after so many steps; `reports`: graphs are kept and measured."""
    watched = Watched(Recording(measures=reports), reports, eager_steps)
    with _torch.without_errors_of_compilation(), _Watcher(watched).patched():
        yield watched


def fallbacks(watched: Watched) -> dict[str, dict[str, Any]]:
    """What ran otherwise than compiled, with reasons: {name: {count, reason}}."""
    import ourjit

    found = dict(ourjit.stats()["fallbacks"])
    for name, reason in watched.eager.items():
        found.setdefault(name, {"count": 1, "reason": reason})
    return found


def total_compile_seconds(watched: Watched) -> float:
    """Time in Dynamo, AOTAutograd and the backend, without what measuring took."""
    return compile_seconds(watched.recording.events)
