"""What calls AOTAutograd: tracing, partition, and what it tells of graphs."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch

from ourjit._torch import aot_mends


def aot_autograd(**keywords: Any) -> Callable[..., Any]:
    """What traces an FX module with its inputs, partitions it and compiles it, as torch's `AotAutograd` does.

    But that imports Inductor's code generators, a third of a second, for logs that it then does not write unless
    TORCH_COMPILE_DEBUG asks for them; and it wraps what the backward compiler returns in two Python functions, a cost
    at each call that a C++ executable does not need.
    """
    from torch._dynamo.exc import TensorifyScalarRestartAnalysis
    from torch._dynamo.utils import counters, flatten_graph_inputs
    from torch._functorch.aot_autograd import aot_module_simplified

    def trace(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        if any(isinstance(x, (list, tuple, dict)) for x in inputs):
            return flatten_graph_inputs(module, inputs, trace)
        count = counters["aot_autograd"]
        count["total"] += 1
        try:
            with _aot_logs(), aot_mends.mended():
                compiled = aot_module_simplified(module, inputs, **keywords)
        except TensorifyScalarRestartAnalysis:
            raise
        except Exception:
            count["not_ok"] += 1
            raise
        count["ok"] += 1
        return torch.compiler.disable(compiled, reason="what AOTAutograd made of a graph")

    return trace


def _aot_logs() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, AOTAutograd writes the logs that TORCH_COMPILE_DEBUG asks for."""
    if os.environ.get("TORCH_COMPILE_DEBUG", "0") != "1":
        return contextlib.nullcontext()
    from torch._inductor.debug import enable_aot_logging

    logs: contextlib.AbstractContextManager[Any] = enable_aot_logging()
    return logs


def spare_imports() -> None:
    """Has Dynamo trace optimizers without importing Inductor, which it does to ask whether CUDA graphs hold a gradient.

    That takes half a second and more. Where Inductor's CUDA graphs were never imported, none of them holds anything.
    Does nothing where Dynamo is not imported yet: torch.compile imports it first.
    """
    optimizer: Any = sys.modules.get("torch._dynamo.variables.optimizer")
    ask = getattr(optimizer, "_is_static_for_cudagraphs", None)
    address_type = getattr(sys.modules.get("torch._dynamo.utils"), "get_static_address_type", None)
    if ask is None or address_type is None or hasattr(ask, "__wrapped__"):
        return

    @functools.wraps(ask)
    def is_static(x: torch.Tensor) -> bool:
        if "torch._inductor.cudagraph_trees" in sys.modules:
            return bool(ask(x))
        return not x.is_cuda or address_type(x) is not None

    optimizer._is_static_for_cudagraphs = is_static


def min_cut_partition(
    prepare: Callable[[torch.fx.Graph], None], finish: Callable[[torch.fx.GraphModule], None]
) -> Callable[..., Any]:
    """AOTAutograd's min-cut partition of a joint graph, after `prepare`; both parts go through `finish`.

    Its own merging of equal nodes is switched off: that imports all of Inductor, half a second and 20 MB. So is
    torch's memory budget where there are seeds of random numbers: it would draw them again in the backward.
    """
    from torch._functorch import config
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    def partition(joint_module: torch.fx.GraphModule, joint_inputs: Any, **keywords: Any) -> Any:
        prepare(joint_module.graph)
        settings: dict[str, Any] = {"cse": False}
        if any(str(node.target) == "ourjit.rng_seed.default" for node in joint_module.graph.nodes):
            settings["activation_memory_budget"] = 1.0
        with config.patch({name: value for name, value in settings.items() if hasattr(config, name)}):
            parts = min_cut_rematerialization_partition(joint_module, joint_inputs, **keywords)
        for part in parts:
            finish(part)
        return parts

    return partition


def decompositions_by_name(names: Iterable[str]) -> dict[Any, Callable[..., Any]]:
    """Torch's own decompositions of overloads such as "aten.addr.default"; names that torch lacks are skipped."""
    from torch._decomp import global_decomposition_table

    table = global_decomposition_table["post_autograd"]
    found = {}
    for name in names:
        overload = find_overload(name)
        if overload is not None and overload in table:
            found[overload] = unless_data_dependent(table[overload])
    return found


@functools.cache
def unless_data_dependent(decomposition: Callable[..., Any]) -> Callable[..., Any]:
    """`decomposition`, but an operator whose sizes only the data tells stays whole where they decide its parts."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    @functools.wraps(decomposition)
    def decompose(*args: Any, **keywords: Any) -> Any:
        try:
            return decomposition(*args, **keywords)
        except GuardOnDataDependentSymNode:
            return NotImplemented

    return decompose


def find_overload(name: str) -> Any | None:
    """The operator overload named "namespace.operator.overload", or None."""
    namespace, operator, overload = name.split(".")
    packet = getattr(getattr(torch.ops, namespace), operator, None)
    return getattr(packet, overload, None) if packet is not None else None


def hidden_from_dynamo(compiler: Callable[..., Any]) -> Callable[..., Any]:
    """A compiler that is called while a program runs, when its first backward does."""
    hidden: Callable[..., Any] = torch.compiler.disable(compiler, reason="ourjit's backward compiler")
    return hidden


class Outputs(NamedTuple):
    """What becomes of the outputs of a graph."""

    saved: slice = slice(0, 0)
    """Tensors that only the backward graph will see."""
    written: Sequence[int] = ()
    """The inputs to which the first outputs will be written."""
    views: Sequence[tuple[int, int]] = ()
    """(output, input): who gets the output will be given a view of the input."""
    differentiable: Sequence[int] = ()
    """Outputs that autograd will follow."""


def outputs_of_forward() -> Outputs:
    """Of the graph that AOTAutograd compiles, which is no backward."""
    from torch._guards import TracingContext

    context = TracingContext.try_get() if hasattr(TracingContext, "try_get") else None
    metadata = getattr(context, "fw_metadata", None)
    saves = getattr(metadata, "num_symints_saved_for_bw", None) is not None
    saved = getattr(metadata, "tensors_saved_for_backwards_slice", None) if saves else None
    written = getattr(metadata, "mutated_inp_runtime_indices", None) or ()
    returned = list(enumerate(getattr(metadata, "output_info", ()), len(written)))
    views = [(i, info.base_idx) for i, info in returned if info.output_type.name == "alias_of_input"]
    bases = getattr(metadata, "num_intermediate_bases", 0)  # behind the others
    followed = [i for i, info in returned if info.requires_grad]
    followed += range(len(written) + len(returned), len(written) + len(returned) + bases)
    return Outputs(saved if isinstance(saved, slice) else slice(0, 0), written, views, followed)


def donate_nothing() -> None:
    """Called while AOTAutograd compiles a forward: no saved tensor is given to the backward to write to.

    A backward may then run twice, and torch does not refuse that.
    """
    from torch._guards import TracingContext

    metadata: Any = getattr(TracingContext.try_get(), "fw_metadata", None)
    if hasattr(metadata, "bw_donated_idxs"):
        metadata.bw_donated_idxs = []


def report_output_strides(strides: Sequence[tuple[int, ...] | None]) -> None:
    """Tells AOTAutograd the strides that a compiled forward graph really returns."""
    from torch._guards import TracingContext

    context = TracingContext.try_get() if hasattr(TracingContext, "try_get") else None
    reported = getattr(context, "output_strides", None)
    if reported is not None and len(reported) == 0:
        reported.extend(strides)
