"""The torch.compile backend: captured graphs go through AOTAutograd and come back as C++ executables."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ourjit import _C, _gpu, _torch, composites, eager_strides, higher_order, interpolation, stages, warm_start
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
        self.graphs.clear()

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """What happens meanwhile is work of the backend."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
            for warning in self.compiler.take_warnings():
                log.warning("ourjit's disk cache: %s", warning)

    def capture(self, module: torch.fx.GraphModule, inputs: Sequence[Any], recording: Recording | None = None) -> Any:
        """Compiles a graph that Dynamo captured: what runs in its place."""
        number = next(self.numbers)
        kept = recording is None and self.is_kept(module, inputs)
        timed = timer_of(recording)
        split = _torch.min_cut_partition(prepare)

        def timed_partition(*arguments: Any, **keywords: Any) -> Any:
            with timed("partition"):
                return split(*arguments, **keywords)

        def stage(kind: str) -> Callable[..., Compiled]:
            def compile_stage(graph: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Compiled:
                start = time.perf_counter_ns()
                with timed(f"{kind}_{number}"):
                    run, stored = self.compile(graph, example_inputs, f"{kind}_{number}", recording)
                return warm_start.CompiledGraph(run, stored, time.perf_counter_ns() - start) if kept else run

            return compile_stage

        forward, backward, inference = map(stage, ("forward", "backward", "inference"))
        aot = _torch.aot_autograd(
            fw_compiler=_torch.cacheable_compiler(forward) if kept else forward,
            bw_compiler=_torch.hidden_from_dynamo(backward),
            inference_compiler=inference,
            decompositions=decomposition_table(self.options["fallback_random"]),
            partition_fn=split if recording is None else timed_partition,
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
            made = (
                self.run_uncompiled(module, name, str(error) if known else f"the compiler failed: {error}"),
                str(error),
            )
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
        executable = self.compiler.compile(graph, constants=constants)
        higher_order.hold_with(executable, graph["calls"])
        if name.startswith("forward"):
            strides = executable.output_strides[: graph["returned"]]
            _torch.report_output_strides([_static(s) for s in strides])
        stored: StoredGraph | str = "Python runs higher-order operators"
        if not graph["calls"]:
            key = warm_start.key_of(self.options)
            stored = StoredGraph(key, self.given, executable.captured, constants, wrapping)
        watch = None if recording is None else recording.watch(self.options["target"], graph["files"])
        return self.wrapped(executable, wrapping, watch), stored

    def restore(self, stored: StoredGraph) -> Compiled:
        """What compile_whole made of a graph, made again. Raises Unsupported."""
        with self.timed():
            executable = self.compiler.compile(stored.text, constants=stored.constants)
            self.graphs_restored += 1
            return self.wrapped(executable, stored.wrapping)

    def wrapped(
        self, executable: _C.Executable, wrapping: Wrapping, watch: Callable[[_C.Executable], Compiled] | None = None
    ) -> Compiled:
        """The executable, or what `watch` makes of it, as its caller wants it."""
        _gpu.log_machine_code(executable, self.options)
        run: Compiled = executable
        if watch is not None:
            run = watch(executable)
        elif self.options["cuda_graphs"]:
            run = replayed(executable, self.options["target"], self.graphs, wrapping.host_inputs)
        run = _torch.with_host_outputs(run, wrapping.host_outputs)
        run = _torch.with_views(run, wrapping.views, wrapping.returned)
        run = _torch.without_tokens(run, wrapping.tokens)
        return _torch.without_nested_ints(run, wrapping.ragged)

    def run_uncompiled(self, module: torch.fx.GraphModule, name: str, reason: str) -> Compiled:
        log.warning("ourjit runs %s uncompiled: %s", name, reason)
        counted = self.fallbacks.setdefault("graph", {"count": 0, "reason": reason})
        counted["count"] += 1
        return _torch.boxed(module)

    def count_fallback(self, name: str, why: str) -> None:
        """Counts a call that runs otherwise than meant, and warns of the first. Raises Unsupported if strict."""
        if self.options["strict"]:
            raise _C.Unsupported(f"{name} cannot be compiled: {why}")
        counted = self.fallbacks.setdefault(name, {"count": 0, "reason": why})
        if counted["count"] == 0:
            log.warning("ourjit runs %s uncompiled: %s", name, why)
        counted["count"] += 1

    def stats(self) -> dict[str, Any]:
        stats = dict(self.compiler.stats())
        stats["backend_seconds"] = self.seconds
        stats["fallbacks"] = {**stats["fallbacks"], **self.fallbacks}
        stats["graph_captures"], stats["graph_replays"] = self.graphs.captures, self.graphs.replays
        stats["graph_skips"] = dict(self.graphs.skips)
        stats["graphs_restored"], stats["graphs_not_kept"] = self.graphs_restored, dict(self.graphs_not_kept)
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
    return session_for(module, example_inputs, options).capture(module, example_inputs)


def session_for(
    module: torch.fx.GraphModule, example_inputs: Sequence[Any], options: Mapping[str, Any] | None
) -> Session:
    """The session that compiles a captured graph: of these options, for the device that its tensors are on."""
    made = (node.meta.get("example_value") for node in module.graph.nodes)
    return session(_gpu.with_target(options, itertools.chain(example_inputs, made)))
