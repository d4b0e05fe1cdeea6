"""Where AOTAutograd gives other results than eager: what keeps it from that, while it traces."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch


@contextlib.contextmanager
def mended() -> Iterator[None]:
    """While it lasts, all of them. Compiling holds Dynamo's lock, so that no other trace sees this."""
    with _whole_tangents(), _outputs_in_place():
        yield


@contextlib.contextmanager
def _whole_tangents() -> Iterator[None]:
    """While it lasts, AOTAutograd expects no gradients of outputs in memory where elements lie on one another.

    It copies gradients to the strides of outputs. Where these are of overlapping windows, such as `unfold` gives, most
    of the gradient would be lost; torch looks for elements that are expanded only.
    """
    from torch._functorch._aot_autograd import schemas

    formats = getattr(schemas, "MemoryFormatMeta", None)
    if formats is None or not hasattr(formats, "from_tensor"):
        yield
        return
    of_tensor = formats.from_tensor

    def from_tensor(x: torch.Tensor, *others: Any, **keywords: Any) -> Any:
        if x.layout != torch.strided or x._has_symbolic_sizes_strides or not may_overlap(x.shape, x.stride()):
            return of_tensor(x, *others, **keywords)
        return formats(memory_format=torch.contiguous_format)

    formats.from_tensor = staticmethod(from_tensor)
    try:
        yield
    finally:
        formats.from_tensor = staticmethod(of_tensor)


def may_overlap(sizes: Sequence[int], strides: Sequence[int]) -> bool:
    """False if no two elements share memory: each dim steps over all that lies within its elements."""
    reach = 0
    for stride, size in sorted((s, n) for s, n in zip(strides, sizes, strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


@contextlib.contextmanager
def _outputs_in_place() -> Iterator[None]:
    """While it lasts, no input that the graph writes is put where another output belongs.

    Of an output that is such an input AOTAutograd returns the input itself, but counts outputs as if no others came
    first; those that are written behind the graph do. All inputs of such programs are written there.
    """
    from torch._functorch import aot_autograd
    from torch._functorch._aot_autograd import schemas

    collect = getattr(aot_autograd, "run_functionalized_fw_and_collect_metadata", None)
    if collect is None or not hasattr(schemas, "MutationType") or not hasattr(schemas, "OutputType"):
        yield
        return

    def would_be_moved(found: Any) -> bool:
        return found.num_mutated_inp_runtime_indices > 0 and any(
            output.output_type == schemas.OutputType.is_input
            and found.input_info[output.base_idx].mutation_type == schemas.MutationType.MUTATED_IN_GRAPH
            for output in found.output_info
        )

    def collect_apart(function: Any, *, keep_input_mutations: bool, **keywords: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            found = collect(function, keep_input_mutations=keep_input_mutations, **keywords)(*args)
            if keep_input_mutations and would_be_moved(found):
                found = collect(function, keep_input_mutations=False, **keywords)(*args)
            return found

        return run

    aot_autograd.run_functionalized_fw_and_collect_metadata = collect_apart
    try:
        yield
    finally:
        aot_autograd.run_functionalized_fw_and_collect_metadata = collect
