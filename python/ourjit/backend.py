"""The torch.compile backend: captured graphs go through AOTAutograd and come back as C++ executables."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ourjit import _C, _gpu, _torch, composites, eager_strides, higher_order, interpolation, stages
from ourjit.cuda_graphs import Counts, replayed
from ourjit.decompositions import decomposition_table
from ourjit.fx_export import export_graph, leading_tokens
from ourjit.joint_graph import prepare
from ourjit.options import check_options, with_torch_settings
from ourjit.recording import Recording, timer_of

log = logging.getLogger("ourjit")

Compiled = Callable[[list[Any]], Any]


class Session:
    """A compiler with one set of options, and what its Python side counts."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.compiler = _C.Compiler(_gpu.with_libraries(options))
        self.options = self.compiler.options()
        self.numbers = itertools.count()
        self.graphs = Counts()
        self.reset()

    def derive(self) -> Session:
        """A session with the same options that counts apart."""
        return Session(self.options)

    def reset(self) -> None:
        """Forgets all counts and compiled kernels that no graph holds any more."""
        self.compiler.reset()
        self.seconds = 0.0
        self.fallbacks: dict[str, dict[str, Any]] = {}
        self.graphs.clear()

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """What happens meanwhile is work of the backend."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start

    def capture(self, module: torch.fx.GraphModule, inputs: Sequence[Any], recording: Recording | None = None) -> Any:
        """Compiles a graph that Dynamo captured: what runs in its place."""
        number = next(self.numbers)
        timed = timer_of(recording)

        def partition(*arguments: Any, **keywords: Any) -> Any:
            with timed("partition"):
                return split(*arguments, **keywords)

        def stage(kind: str) -> Callable[..., Compiled]:
            def compile_stage(graph: torch.fx.GraphModule, example_inputs: Sequence[Any]) -> Compiled:
                with timed(f"{kind}_{number}"):
                    return self.compile(graph, example_inputs, f"{kind}_{number}", recording)

            return compile_stage

        split = _torch.min_cut_partition(prepare)
        aot = _torch.aot_autograd(
            fw_compiler=stage("forward"),
            bw_compiler=_torch.mark_backward_compiler(stage("backward")),
            inference_compiler=stage("inference"),
            decompositions=decomposition_table(self.options["fallback_random"]),
            partition_fn=partition,
            keep_inference_input_mutations=True,
        )
        rules = interpolation.rules() | composites.rules()
        with timed("AOTAutograd"), _torch.traced_by(rules), eager_strides.kept():
            return aot(module, inputs)

    def compile(
        self, module: torch.fx.GraphModule, example_inputs: Sequence[Any], name: str, recording: Recording | None
    ) -> Compiled:
        """An ATen graph as an executable that takes one list, or the FX graph itself if it cannot be compiled."""

        def compile_part(part: torch.fx.GraphModule, number: int) -> Compiled:
            return self.compile_whole(part, (), f"part_{number}_of_{name}", _torch.Outputs(), recording)

        try:
            with self.timed():
                if stages.are_needed(module):
                    with eager_strides.kept():
                        _torch.trace_sizes_again(module, example_inputs)
                    run = stages.compile_stages(module, compile_part)
                else:
                    outputs = _torch.Outputs() if name.startswith("backward") else _torch.outputs_of_forward()
                    run = self.compile_whole(module, example_inputs, name, outputs, recording)
        except (_C.Unsupported, _C.UserError, _C.InternalError) as error:
            if self.options["strict"]:
                raise
            known = isinstance(error, _C.Unsupported)
            return self.run_uncompiled(module, name, str(error) if known else f"the compiler failed: {error}")
        return _torch.boxed(module) if _gpu.only_emits(self.options["target"]) else run

    def compile_whole(
        self,
        module: torch.fx.GraphModule,
        example_inputs: Sequence[Any],
        name: str,
        outputs: _torch.Outputs,
        recording: Recording | None,
    ) -> Compiled:
        """An ATen graph as one executable. Raises Unsupported."""
        device = _gpu.device_of(self.options["target"])
        with timer_of(recording)("export"):
            graph, constants = export_graph(module, name, outputs, example_inputs, device)
        executable = self.compiler.compile(graph, constants=constants)
        higher_order.hold_with(executable, graph["calls"])
        _gpu.log_machine_code(executable, self.options)
        if name.startswith("forward"):
            strides = executable.output_strides[: graph["returned"]]
            _torch.report_output_strides([_static(s) for s in strides])
        run: Compiled = executable
        if recording is not None:
            run = recording.add(executable, self.options["target"], graph["files"])
        elif self.options["cuda_graphs"]:
            run = replayed(executable, self.options["target"], self.graphs, graph["host_inputs"])
        run = _torch.with_host_outputs(run, graph["host_outputs"])
        run = _torch.with_views(run, graph["views"], graph["returned"])
        run = _torch.without_tokens(run, leading_tokens(module))
        return _torch.without_nested_ints(run, example_inputs)

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
