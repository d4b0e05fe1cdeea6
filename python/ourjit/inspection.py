"""Looks into compilation: `explain` reports what became of a function, `emit` returns its kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from ourjit import _C, _gpu, _torch
from ourjit.backend import Session, session
from ourjit.recording import Compiled, Event, Recording


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel: `source` is its LLVM IR or CUDA text, `loop_ir` the scheduled loops that it came from.

    `lowered` are the loops before they were scheduled.
    """

    name: str
    source: str
    loop_ir: str
    lowered: str
    provenance: tuple[str, ...]
    reads_bytes: str
    writes_bytes: str
    _executable: _C.Executable
    _index: int
    _target: str

    def assembly(self) -> str:
        """Machine code as text: for a GPU SASS, or PTX where no disassembler is installed."""
        if self._target != "cpu" and _gpu.tool("cuobjdump") and _gpu.tool("nvdisasm"):
            return _gpu.disassemble(self.binary())
        return self._executable.assembly(self._index)

    def text_of_machine_code(self) -> str:
        """`assembly()`, or, where a library for that is missing or fails, what it said."""
        try:
            return self.assembly()
        except _C.BackendError as error:
            return f"not available: {error}"

    def binary(self) -> bytes:
        """The object file; for a GPU the cubin."""
        return self._executable.binary(self._index)

    def resources(self) -> dict[str, Any]:
        """What the kernel needs: bytes of its binary, launches in a call, bytes read and written in one launch.

        For a GPU also the threads of a block, registers and bytes of stack of a thread, spills (instructions that move
        registers to or from the stack) and bytes of shared memory of a block; raises BackendError where cuobjdump is
        missing.
        """
        kernel = self._executable.kernels()[self._index]
        binary = self.binary()
        found = {key: kernel[key] for key in ("launches", "reads_bytes", "writes_bytes")}
        found["code_bytes"] = len(binary)
        if self._target != "cpu":
            found["threads"] = kernel["threads"]
            found.update(_gpu.resource_usage(binary, self.name))
        return found


@dataclass(frozen=True)
class GraphFacts:
    """What is known of one compiled graph: `report` for reading, `data` for tools (see `_C.Executable`)."""

    report: dict[str, Any]
    data: dict[str, Any]
    kernels: tuple[Kernel, ...]
    files: dict[str, str]
    """The paths of the Python files, by locations such as "model.py:41"."""
    step_seconds: list[float] | None
    """Median time of each step of the plan; None where nothing ran."""


@dataclass(frozen=True)
class Explanation:
    """What became of a function: one report for each compiled graph, and why others did not compile."""

    facts: tuple[GraphFacts, ...]
    fallbacks: dict[str, dict[str, Any]]
    guard_text: str
    """The guards of Dynamo, under which it takes the compiled code."""
    events: tuple[Event, ...]
    """The stages of compilation; those in others lie within their time."""
    target: str
    """What the first graph was compiled for, as option `target` names it."""

    @property
    def graphs(self) -> tuple[dict[str, Any], ...]:
        """The report of each compiled graph."""
        return tuple(facts.report for facts in self.facts)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of all graphs."""
        return tuple(kernel for facts in self.facts for kernel in facts.kernels)

    def data(self) -> dict[str, Any]:
        """All of this as plain data for JSON: see `ourjit.report.figures.describe`.

        The first call in a process measures what the machine can do, which takes some 0.1 s.
        """
        from ourjit.report.figures import describe
        from ourjit.report.machine import limits

        ran = any(facts.step_seconds for facts in self.facts)
        return describe(self, limits(_gpu.device_of(self.target)) if ran else None)

    def html(self, path: str | Path | None = None, title: str = "ourjit") -> str:
        """One page that needs no other file and no network; also written to `path` if given.

        It shows the graphs with their fusion groups, for each kernel its Python lines, loops, code, bytes, operations,
        time and which limit of the machine it reaches, library calls, memory over time, guards, fallbacks, and where
        compile time went. Raises OSError if the file cannot be written.
        """
        from ourjit.report.page import render

        text = render(self.data(), title)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def __str__(self) -> str:
        parts = [
            f"{len(self.graphs)} graph(s), {len(self.kernels)} kernel(s), {len(self.fallbacks)} kind(s) of fallback"
        ]
        for report in self.graphs:
            parts.append(_graph_text(report))
        if self.guard_text:
            parts.append("Dynamo guards:\n" + _indent(self.guard_text))
        parts.append("fallbacks:" + ("\n" + _indent(_fallback_text(self.fallbacks)) if self.fallbacks else " none"))
        return "\n\n".join(parts)


def explain(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Compiles `fn` for these arguments, runs it once, and reports what became of it.

    The report, as text through `str()`: the graphs after the passes, fusion groups and why neighbours were not fused,
    guards, kernels, library calls, fallbacks and memory; `.html("report.html")` makes a page with pictures and times of
    it. Where gradients are needed the backward graph is included; no gradient is accumulated. The first call of each
    graph is repeated some times on copies of what it writes, to time its steps.
    """
    own = session(_gpu.with_target(None, tree_leaves((args, kwargs)))).derive()
    recording = Recording(measures=True)
    _compile(own, fn, args, kwargs, recording)
    return explanation_of(recording, own.stats()["fallbacks"])


def explanation_of(recording: Recording, fallbacks: dict[str, dict[str, Any]]) -> Explanation:
    """What a recording tells, and what fell back while it was made."""
    return Explanation(
        facts=tuple(
            GraphFacts(
                report=graph.executable.report(),
                data=graph.executable.data(),
                kernels=tuple(_kernels(graph)),
                files=graph.files,
                step_seconds=graph.step_seconds,
            )
            for graph in recording.graphs
        ),
        fallbacks=fallbacks,
        guard_text=recording.guard_text(),
        events=tuple(recording.events),
        target=recording.graphs[0].target if recording.graphs else "cpu",
    )


def emit(fn: Callable[..., Any], *args: Any, target: str = "cpu", **kwargs: Any) -> list[Kernel]:
    """The kernels that `fn` compiles to for these arguments, forward and, where gradients are needed, backward.

    `target` is "cpu" or the architecture of an NVIDIA GPU, such as "sm_90". For the latter neither a GPU nor a driver
    is needed (`fn` runs through ATen); `.binary()`, `.assembly()` and `.resources()` need NVRTC, which
    `pip install nvidia-cuda-nvrtc` installs. Raises UserError for another target.
    """
    own = session({"target": target}).derive()
    recording = Recording()
    _compile(own, fn, args, kwargs, recording)
    return [kernel for graph in recording.graphs for kernel in _kernels(graph)]


def _compile(
    own: Session, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], recording: Recording
) -> None:
    """Compiles and runs `fn` once, apart from what torch.compile has compiled of it before."""
    if not callable(fn):
        raise _C.UserError(f"expected a function or a module, not a {type(fn).__name__}")

    def backend(module: torch.fx.GraphModule, inputs: Any) -> Any:
        return own.capture(module, inputs, recording)

    # A wrapper with code of its own has a Dynamo cache of its own: `fn` is always captured afresh, and what
    # torch.compile has made of it elsewhere stays.
    wrapper = _torch.framed(_torch.uncompiled(fn), "explained")
    with recording.watching():
        result = torch.compile(wrapper, backend=backend)(*args, **kwargs)
        _run_backward(result)


def _run_backward(result: Any) -> None:
    """Differentiates the result by everything it depends on, without accumulating into any `.grad`."""
    outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor) and t.requires_grad]
    leaves = []
    pending = [t.grad_fn for t in outputs]
    seen = set()
    while pending:
        function = pending.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if hasattr(function, "variable"):
            leaves.append(function.variable)
        pending.extend(following for following, _ in function.next_functions)
    if leaves:
        torch.autograd.grad(outputs, leaves, [torch.ones_like(t) for t in outputs], allow_unused=True)


def _kernels(graph: Compiled) -> list[Kernel]:
    return [
        Kernel(
            name=kernel["name"],
            source=kernel["source"],
            loop_ir=kernel["loop_ir"],
            lowered=kernel["lowered"],
            provenance=tuple(kernel["provenance"]),
            reads_bytes=str(kernel["reads_bytes"]),
            writes_bytes=str(kernel["writes_bytes"]),
            _executable=graph.executable,
            _index=index,
            _target=graph.target,
        )
        for index, kernel in enumerate(graph.executable.kernels())
    ]


def _graph_text(report: dict[str, Any]) -> str:
    lines = [f"=== {report.get('name', 'graph')} ==="]
    for key, value in report.items():
        if key == "name":
            continue
        title = key.replace("_", " ")
        if isinstance(value, str) and "\n" in value.strip():
            lines.append(f"{title}:\n{_indent(value)}")
        elif isinstance(value, dict):
            body = ", ".join(f"{k}: {v}" for k, v in value.items()) or "none"
            lines.append(f"{title}: {body}")
        elif isinstance(value, (list, tuple)):
            body = "\n".join(map(str, value))
            lines.append(f"{title}:\n{_indent(body)}" if value else f"{title}: none")
        else:
            lines.append(f"{title}: {value}")
    return "\n".join(lines)


def _fallback_text(fallbacks: dict[str, dict[str, Any]]) -> str:
    return "\n".join(f"{name} x{entry['count']}: {entry['reason']}" for name, entry in sorted(fallbacks.items()))


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.rstrip().splitlines())
