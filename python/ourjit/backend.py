"""The torch.compile backend: captured graphs go through AOTAutograd and come back as C++ executables."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ourjit import (
    _C,
    _gpu,
    _torch,
    composites,
    eager_strides,
    higher_order,
    interpolation,
    repro,
    saved_random_state,
    stages,
    warm_start,
)
from ourjit.cuda_graphs import Counts, replayed
from ourjit.decompositions import decomposition_table
from ourjit.fx_export import export_graph, leading_tokens
from ourjit.joint_graph import prepare
from ourjit.options import check_options, with_torch_settings
from ourjit.recording import Recording, timer_of
from ourjit.warm_start import StoredGraph, Wrapping

log = logging.getLogger("ourjit")
_torch.spare_imports()

Compiled = Callable[[list[Any]], Any]
Made = tuple[Compiled, StoredGraph | str]
"""What runs a graph, and what to keep of it for later processes, or why not."""


class Session:
    """A compiler with one set of options, and what its Python side counts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.given = dict(options)
        self.compiler = _C.Compiler(_gpu.with_libraries(options))
        self.options = self.compiler.options()
        self.numbers = itertools.count()
        self.graphs = Counts()
        self.reset()

    def derive(self) -> Session:
        """A session with the same options that counts apart, and that compiles all itself."""
        return Session({**self.options, "cache": False})

    def reset(self) -> None:
        """Forgets all counts and compiled kernels that no graph holds any more."""
        self.compiler.reset()
        self.seconds = 0.0
        self.fallbacks: dict[str, dict[str, Any]] = {}
        self.graphs_restored = 0
        self.graphs_not_kept: Counter[str] = Counter()
        self.recompilations: list[dict[str, str]] = []
        self.graphs.clear()

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """What happens meanwhile is work of the backend."""
        start = time.perf_counter()
        before = self.compiler.stats()
        try:
            with _torch.timed("ourjit.compile"):
                yield
        finally:
            self.seconds += time.perf_counter() - start
            for warning in self.compiler.take_warnings():
                log.warning("ourjit's disk cache: %s", warning)
            after = self.compiler.stats()
            for name in ("graphs", "kernels_compiled", "kernels_loaded"):
                _torch.count(name, after[name] - before[name])
            _torch.count("fallbacks", _calls(after["fallbacks"]) - _calls(before["fallbacks"]))

    def capture(self, module: torch.fx.GraphModule, inputs: Sequence[Any], recording: Recording | None = None) -> Any:
        """Compiles a graph that Dynamo captured: what runs in its place."""
        number = next(self.numbers)
        kept = recording is None and self.is_kept(module, inputs)
        timed = timer_of(recording)
        split = _torch.min_cut_partition(prepare, saved_random_state.settle)

        def partition(*arguments: Any, **keywords: Any) -> Any:
            with timed("partition"):
                return split(*arguments, **keywords)

        def stage(kind: str) -> Callable[..., Compiled]:
            def compile_stage(graph: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Compiled:
                start = time.perf_counter_ns()
                with timed(f"{kind}_{number}"):
                    run, stored = self.compile(graph, example_inputs, f"{kind}_{number}", recording)
                if not kept:
                    return run
                from ourjit.compiled_graph import CompiledGraph

                _torch.donate_nothing()
                return CompiledGraph(run, stored, time.perf_counter_ns() - start)

            return compile_stage

        forward, backward, inference = map(stage, ("forward", "backward", "inference"))
        aot = _torch.aot_autograd(
            fw_compiler=_torch.cacheable_compiler(forward) if kept else forward,
            bw_compiler=_torch.hidden_from_dynamo(backward),
            inference_compiler=inference,
            decompositions=decomposition_table(self.options["fallback_random"]),
            partition_fn=partition,
            keep_inference_input_mutations=True,
        )
        with contextlib.ExitStack() as scope:
            scope.enter_context(timed("AOTAutograd"))
            scope.enter_context(_torch.traced_by(interpolation.rules() | composites.rules()))
            scope.enter_context(eager_strides.kept())
            if kept:
                scope.enter_context(warm_start.kept_by(self))
            return aot(module, inputs)

    def is_kept(self, module: torch.fx.GraphModule, inputs: Sequence[Any]) -> bool:
        """True if what a captured graph compiles to is to be found again by later processes."""
        if not self.options["cache"]:
            return False
        reason = warm_start.why_not(module, inputs)
        if reason is not None:
            self.graphs_not_kept[reason] += 1
        return reason is None

    def compile(
        self, module: torch.fx.GraphModule, example_inputs: Sequence[Any], name: str, recording: Recording | None
    ) -> Made:
        """An ATen graph as an executable that takes one list, or the FX graph itself if it cannot be compiled."""

        def compile_part(part: torch.fx.GraphModule, number: int) -> Compiled:
            return self.compile_whole(part, (), f"part_{number}_of_{name}", _torch.Outputs(), recording)[0]

        try:
            with self.timed():
                if stages.are_needed(module):
                    with eager_strides.kept():
                        _torch.trace_sizes_again(module, example_inputs)
                    made: Made = stages.compile_stages(module, compile_part), "data decide sizes of the graph"
                else:
                    outputs = _torch.Outputs() if name.startswith("backward") else _torch.outputs_of_forward()
                    made = self.compile_whole(module, example_inputs, name, outputs, recording)
        except (_C.Unsupported, _C.UserError, _C.InternalError) as error:
            if self.options["strict"]:
                raise
            known = isinstance(error, _C.Unsupported)
            reason = str(error) if known else f"the compiler failed: {error}"
            made = self.run_uncompiled(module, name, reason), reason
        return (_torch.boxed(module), "code is only emitted") if _gpu.only_emits(self.options["target"]) else made

    def compile_whole(
        self,
        module: torch.fx.GraphModule,
        example_inputs: Sequence[Any],
        name: str,
        outputs: _torch.Outputs,
        recording: Recording | None,
    ) -> Made:
        """An ATen graph as one executable. Raises Unsupported."""
        device = _gpu.device_of(self.options["target"])
        with timer_of(recording)("export"):
            graph, constants = export_graph(module, name, outputs, example_inputs, device)
        wrapping = Wrapping(
            returned=graph["returned"],
            views=tuple(graph["views"]),
            host_inputs=tuple(graph["host_inputs"]),
            host_outputs=tuple(graph["host_outputs"]),
            tokens=leading_tokens(module),
            ragged=tuple(i for i, value in enumerate(example_inputs) if _torch.is_nested_int(value)),
        )
        executable = self.compile_exported(graph, constants, example_inputs, reports=recording is not None)
        higher_order.hold_with(executable, graph["calls"])
        if name.startswith("forward"):
            strides = executable.output_strides[: graph["returned"]]
            _torch.report_output_strides([_static(s) for s in strides])
        stored: StoredGraph | str = "option cache is off"
        if graph["calls"]:
            stored = "Python runs higher-order operators"
        elif self.options["cache"]:
            key = warm_start.key_of(self.options)
            stored = StoredGraph(key, self.given, executable.captured, constants, wrapping)
        run = executable if recording is None else recording.add(executable, self.options["target"], graph["files"])
        return self.wrapped(run, wrapping), stored

    def restore(self, stored: StoredGraph, example_inputs: Sequence[Any]) -> Compiled:
        """What compile_whole made of a graph, made again. Raises Unsupported."""
        with self.timed():
            executable = self.compile_exported(stored.text, stored.constants, example_inputs)
            self.graphs_restored += 1
            return self.wrapped(executable, stored.wrapping)

    def wrapped(self, run: Compiled, wrapping: Wrapping) -> Compiled:
        """An executable, or what records its calls, as the caller of the graph wants it."""
        replays = self.options["cuda_graphs"] and not self.options["check_nan"]  # replays run no checks
        if replays and isinstance(run, _C.Executable):
            run = replayed(run, self.options["target"], self.graphs, wrapping.host_inputs)
        run = _torch.with_host_outputs(run, wrapping.host_outputs)
        run = _torch.with_views(run, wrapping.views, wrapping.returned)
        run = _torch.without_tokens(run, wrapping.tokens)
        return _torch.without_nested_ints(run, wrapping.ragged)

    def compile_exported(
        self,
        graph: Mapping[str, Any] | str,
        constants: Sequence[Any],
        example_inputs: Sequence[Any],
        table_rows: int = 1,
        reports: bool = False,
    ) -> _C.Executable:
        """Exported data, or graph text, as an executable; an error of the compiler leaves a repro file behind.

        `reports`: see _C.Compiler.compile.
        """
        try:
            reports = reports or _torch.output_code_log().isEnabledFor(logging.DEBUG)
            executable = self.compiler.compile(graph, constants, table_rows, reports)
        except (_C.InternalError, _C.BackendError) as error:
            _, sentence = repro.write(error, graph, example_inputs, self.options)
            raise type(error)(f"{error}\n{sentence}") from None
        _gpu.log_machine_code(executable, self.options)
        _log_output_code(executable, self.options["target"])
        return executable

    def run_uncompiled(self, module: torch.fx.GraphModule, name: str, reason: str) -> Compiled:
        log.warning("ourjit runs %s uncompiled: %s", name, reason)
        self.add_fallback("graph", reason)
        return _torch.boxed(module)

    def count_fallback(self, name: str, why: str) -> None:
        """Counts a call that runs otherwise than meant, and warns of the first. Raises Unsupported if strict."""
        if self.options["strict"]:
            raise _C.Unsupported(f"{name} cannot be compiled: {why}")
        if self.add_fallback(name, why) == 1:
            log.warning("ourjit runs %s uncompiled: %s", name, why)

    def add_fallback(self, name: str, why: str) -> int:
        """How many there are now of this name."""
        counted = self.fallbacks.setdefault(name, {"count": 0, "reason": why})
        counted["count"] += 1
        _torch.count("fallbacks", 1)
        return int(counted["count"])

    def add_recompilation(self, what: _torch.Recompilation) -> None:
        """Keeps and logs why a function is compiled again. Raises Unsupported if it is not and that is an error."""
        saw = f", but is {what.value}" if what.value and "actual" not in what.guard else ""
        if what.limit:
            self.count_fallback(
                what.function,
                f"it is compiled no more, as {what.limit} is reached, and runs eagerly where no compiled version fits; "
                f"raise that setting, or make what changes dynamic; the guard that failed last: {what.guard}{saw}",
            )
            return
        self.recompilations.append({"function": what.function, "guard": what.guard, "value": what.value})
        if self.logs("guards"):
            print(f"[ourjit {what.function}] guards: compiled again: {what.guard}{saw}", file=sys.stderr)

    def logs(self, stage: str) -> bool:
        stages = self.options["log"].split(",")
        return stages == ["all"] or stage in stages

    def stats(self) -> dict[str, Any]:
        stats = dict(self.compiler.stats())
        stats["backend_seconds"] = self.seconds
        stats["fallbacks"] = {**stats["fallbacks"], **self.fallbacks}
        stats["graph_captures"], stats["graph_replays"] = self.graphs.captures, self.graphs.replays
        stats["graph_skips"] = dict(self.graphs.skips)
        stats["graphs_restored"], stats["graphs_not_kept"] = self.graphs_restored, dict(self.graphs_not_kept)
        stats["recompilations"] = list(self.recompilations)
        return stats


_sessions: dict[tuple[tuple[str, Any], ...], Session] = {}
_sessions_lock = threading.Lock()


def session(options: Mapping[str, Any] | None) -> Session:
    """The session of these options; made at their first use. Raises UserError for bad options."""
    checked = with_torch_settings(check_options(options))
    key = tuple(sorted(checked.items()))
    with _sessions_lock:
        found = _sessions.get(key)
        if found is None:
            found = _sessions[key] = Session(checked)
        return found


def sessions() -> list[Session]:
    with _sessions_lock:
        return list(_sessions.values())


def _recompiled(what: _torch.Recompilation) -> None:
    if what.backend is ourjit:
        options = _gpu.with_target(what.keywords.get("options"), what.arguments)
        session(options).add_recompilation(what)


def _calls(fallbacks: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(entry["count"] for entry in fallbacks.values())


def _log_output_code(executable: _C.Executable, target: str) -> None:
    """For TORCH_LOGS="output_code"."""
    output_code = _torch.output_code_log()
    if not output_code.isEnabledFor(logging.DEBUG):
        return
    for kernel in executable.kernels():
        lines = kernel["provenance"] if target == "cpu" else ()  # CUDA text tells them itself
        head = "".join(f"; {line}\n" for line in lines)
        output_code.debug("Output code of %s, %s:\n%s%s", executable.label, kernel["name"], head, kernel["source"])


def _static(strides: Sequence[int | str] | None) -> tuple[int, ...] | None:
    """Strides that AOTAutograd can be told: numbers. Symbolic ones are those of the graph, which it knows."""
    if strides is None or not all(isinstance(stride, int) for stride in strides):
        return None
    return tuple(strides)  # type: ignore[arg-type]


def ourjit(
    module: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Any:
    """The backend of `torch.compile(..., backend="ourjit", options={...})`.

    Options are those of `python -c "import ourjit; help(ourjit.options)"`; an unknown one or a bad value raises
    UserError.
    """
    if mode not in (None, "default"):
        raise _C.UserError(f"mode '{mode}' belongs to the inductor backend; ourjit is steered by options={{...}}")
    _torch.watch_recompilations(_recompiled)
    return session_for(module, example_inputs, options).capture(module, example_inputs)


def session_for(
    module: torch.fx.GraphModule, example_inputs: Sequence[Any], options: Mapping[str, Any] | None
) -> Session:
    """The session that compiles a captured graph: of these options, for the device that its tensors are on."""
    made = (node.meta.get("example_value") for node in module.graph.nodes)
    return session(_gpu.with_target(options, itertools.chain(example_inputs, made)))
