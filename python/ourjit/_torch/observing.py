"""What tells of Dynamo's work: recompilations, guards, times, logs; and where modules are called."""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch


class Recompilation(NamedTuple):
    """Dynamo compiles a function once more, or does so no more as it met a limit."""

    backend: Callable[..., Any]
    """What the function that torch.compile was given calls for each graph, free of wrappers."""
    keywords: dict[str, Any]
    """What the backend is called with beside graph and inputs."""
    function: str
    guard: str
    """The first guard that failed, of those of the version that was compiled last."""
    value: str
    """What the guard saw, as far as that is known."""
    arguments: Sequence[Any]
    """The local variables of the function as it was called."""
    limit: str
    """The setting that forbids to compile again; empty if there is none."""


_NO_VALUE = object()


def watch_recompilations(seen: Callable[[Recompilation], None]) -> None:
    """Calls `seen` at each recompilation of any function, also of those that a limit forbids. Installs itself once.

    Dynamo asks two questions in a row for a function that it has compiled before: why no version fits, and whether
    there are too many.
    """
    from torch._dynamo import config, convert_frame

    why = getattr(convert_frame, "get_and_maybe_log_recompilation_reasons", None)
    is_too_many = getattr(convert_frame, "exceeds_recompile_limit", None)
    if why is None or is_too_many is None or hasattr(why, "__wrapped__"):
        return
    asked = threading.local()

    @functools.wraps(why)
    def why_and_remember(entries: Any, frame: Any, backend: Any, *rest: Any, **keywords: Any) -> Any:
        reasons = why(entries, frame, backend, *rest, **keywords)
        asked.last = (frame, backend, reasons)
        return reasons

    @functools.wraps(is_too_many)
    def is_too_many_and_tell(*rest: Any, **keywords: Any) -> Any:
        answer = is_too_many(*rest, **keywords)
        frame, backend, reasons = asked.__dict__.pop("last", (None, None, None))
        if frame is not None:
            exceeded, limit = answer
            setting = f"torch._dynamo.config.{limit} ({getattr(config, limit)})" if exceeded else ""
            seen(_recompilation(frame, backend, reasons[0] if reasons else "unknown", setting))
        return answer

    convert_frame.get_and_maybe_log_recompilation_reasons = why_and_remember
    convert_frame.exceeds_recompile_limit = is_too_many_and_tell


def _recompilation(frame: Any, backend: Any, reason: str, limit: str) -> Recompilation:
    keywords = dict(getattr(backend, "kwargs", {}))
    backend = getattr(backend, "compiler_fn", backend)
    while isinstance(backend, functools.partial):
        keywords = {**backend.keywords, **keywords}
        backend = backend.func
    code = frame.f_code
    # "0/0: n == 3  # return x * n  # model.py:7 in f"
    guard = re.sub(r"\s+#", "  #", re.sub(r"^\d+/\d+: ", "", reason.strip().partition("\n")[0]))
    name = re.search(r"L\['(\w+)'\]|^(\w+)\b", guard)
    value = frame.f_locals.get(name[1] or name[2], _NO_VALUE) if name else _NO_VALUE
    seen = re.search(r"actual (.*)", guard)
    if isinstance(value, (bool, int, float, str, type(None))):
        shown = repr(value)
    else:
        shown = seen[1] if seen else ""
    function = f"{code.co_name} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})"
    return Recompilation(backend, keywords, function, guard, shown, tuple(frame.f_locals.values()), limit)


def count(name: str, by: int) -> None:
    """Adds to torch._dynamo.utils.counters["ourjit"], where Dynamo is in use."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    if by and hasattr(utils, "counters"):
        utils.counters["ourjit"][name] += by


def timed(phase: str) -> contextlib.AbstractContextManager[Any]:
    """What happens meanwhile is a phase of compilation in torch's timings and traces, where Dynamo is in use."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    if not hasattr(utils, "dynamo_timed"):
        return contextlib.nullcontext()
    measured: contextlib.AbstractContextManager[Any] = utils.dynamo_timed(phase, log_pt2_compile_event=True)
    return measured


@functools.cache
def output_code_log() -> logging.Logger:
    """Where TORCH_LOGS="output_code" prints; off unless that is asked for. torch prints what is below its own name."""
    make = getattr(torch._logging, "getArtifactLogger", None)
    return logging.getLogger("ourjit.output_code") if make is None else make("torch.ourjit", "output_code")


@contextlib.contextmanager
def watching_dynamo(
    compiled: Callable[[str, float, float], None], saw_code: Callable[[types.CodeType], None]
) -> Iterator[None]:
    """While it lasts, tells when each compilation began and ended, by name, and the code objects that Dynamo compiled.

    Names are "Dynamo" and "lazy backward". Times are those of time.perf_counter(). What a torch release cannot tell is
    not told.
    """
    from torch._dynamo import callback, convert_frame

    handler = getattr(callback, "callback_handler", None)
    began: list[tuple[str, float]] = []

    def start(arguments: Any = None) -> None:
        trigger = getattr(getattr(arguments, "callback_trigger", None), "name", "DYNAMO")
        began.append(("Dynamo" if trigger == "DYNAMO" else trigger.lower().replace("_", " "), time.perf_counter()))

    def end(_: Any = None) -> None:
        if began:
            compiled(*began.pop(), time.perf_counter())

    def see(code: types.CodeType, _: types.CodeType) -> None:
        saw_code(code)

    with contextlib.ExitStack() as stack:
        if handler is not None:
            handler.register_start_callback(start)
            stack.callback(handler.remove_start_callback, start)
            handler.register_end_callback(end)
            stack.callback(handler.remove_end_callback, end)
        if hasattr(convert_frame, "register_bytecode_hook"):
            stack.callback(convert_frame.register_bytecode_hook(see).remove)
        yield


def guards_of(code: types.CodeType) -> str:
    """The guards of each compilation of a code object, as text; empty where there are none any more."""
    from torch._dynamo import eval_frame

    entries: Sequence[Any] = getattr(eval_frame, "_debug_get_cache_entry_list", lambda code: [])(code)
    lines = []
    for number, entry in enumerate(entries):
        lines.append(f"{code.co_name} ({code.co_filename}:{code.co_firstlineno}), compilation {number}")
        for line in str(getattr(entry, "guard_manager", "")).splitlines():
            kind, _, text = line.partition("+- ")[2].partition(": ")
            if text and "Manager" not in kind:
                lines.append("  " + text)
    return "\n".join(lines)


def graph_breaks() -> dict[str, int]:
    """Where Dynamo cut functions into several graphs since the last torch.compiler.reset(): reason -> times."""
    from torch._dynamo.utils import counters

    return dict(counters["graph_break"]) if "graph_break" in counters else {}


def needs_frame(module: torch.nn.Module) -> bool:
    """True for nn.Sequential and the like: Dynamo takes up no frame of a file of torch, so nothing of their calls."""
    from torch._dynamo import trace_rules

    is_method = isinstance(module.forward, types.MethodType)
    return is_method and hasattr(trace_rules, "check") and bool(trace_rules.check(module.forward))


def framed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`function` in a frame that Dynamo takes up, with a cache of its own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=name)
    return call


def call_of(module: torch.nn.Module) -> Callable[..., Any]:
    """What torch.compile is to compile of calls of a module: a function that takes the module and its arguments."""
    call: Callable[..., Any] = type(module)._call_impl
    return framed(call, type(module).__name__) if needs_frame(module) else call


@contextlib.contextmanager
def hearing_what_runs_uncompiled(tell: Callable[[str, str], None]) -> Iterator[None]:
    """While it lasts, tells (function, why) of what Dynamo gives up: compiled too often, or not at all."""

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines = [line.strip() for line in record.getMessage().splitlines() if line.strip()]
            function = next((line.partition(":")[2].strip() for line in lines if line.startswith("function:")), "")
            tell(function or "a function", " ".join(lines[:3]))

    handler = Hear(logging.WARNING)
    logger = logging.getLogger("torch._dynamo.convert_frame")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def wraps_compiled(module: torch.nn.Module) -> bool:
    """True for what torch.compile(module) returns."""
    return "_orig_mod" in vars(module).get("_modules", {})


def without_errors_of_compilation() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, what Dynamo cannot compile runs as it is."""
    from torch._dynamo import config

    patch: contextlib.AbstractContextManager[Any] = config.patch(suppress_errors=True)
    return patch
