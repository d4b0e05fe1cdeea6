"""How compiled graphs are called: wrappers between AOTAutograd and an executable."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

_KEYS = {
    name: getattr(torch._C, f"_dispatch_tls_local_{name}_set")()
    for name in ("include", "exclude")
    if hasattr(torch._C, f"_dispatch_tls_local_{name}_set")
}


def as_user_code() -> contextlib.AbstractContextManager[Any]:
    """Operators dispatch as where users call them, though the caller is an operator itself."""
    guard = getattr(torch._C, "_ForceDispatchKeyGuard", None)
    return contextlib.nullcontext() if guard is None else guard(_KEYS["include"], _KEYS["exclude"])


def is_with_effects(target: Any) -> bool:
    """True for the higher-order operator that orders calls with effects by tokens."""
    return target is getattr(torch.ops.higher_order, "with_effects", None)


def takes_one_list(function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """`function`, marked for AOTAutograd as one that takes its arguments in a list, which it may empty."""
    function._boxed_call = True  # type: ignore[attr-defined]
    return function


def without_tokens(compiled: Callable[[list[Any]], Any], tokens: int) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller with so many tokens of effects in front of the inputs and the outputs."""
    if tokens == 0:
        return compiled

    def run(inputs: list[Any]) -> Any:
        del inputs[:tokens]
        return [*(None,) * tokens, *compiled(inputs)]

    return takes_one_list(run)


def moved(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on `device`; the caller may be tracing."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        return tensor.detach().to(device)


def with_host_outputs(compiled: Callable[[list[Any]], Any], positions: Sequence[int]) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller who expects these outputs on the CPU."""
    if not positions:
        return compiled

    def run(inputs: list[Any]) -> Any:
        outputs = list(compiled(inputs))
        for i in positions:
            outputs[i] = outputs[i].cpu()
        return outputs

    return takes_one_list(torch.compiler.disable(run, reason="copies outputs to the CPU"))


def with_views(
    compiled: Callable[[list[Any]], Any], views: Sequence[tuple[int, bool, int, int]], count: int
) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller with `count` outputs, views among them: it gives their numbers behind (`fx_export`)."""
    if not views:
        return compiled
    tail = sum(2 * rank + 1 for _, _, _, rank in views)

    def run(inputs: list[Any]) -> Any:
        kept = {number: inputs[number] for _, of_output, number, _ in views if not of_output}
        results = compiled(inputs)
        outputs, numbers = list(results[:count]), iter(results[-tail:])
        for position, of_output, number, rank in views:
            base = results[number] if of_output else kept[number]
            sizes, strides = (list(itertools.islice(numbers, rank)) for _ in range(2))
            outputs[position] = base.as_strided(sizes, strides, base.storage_offset() + next(numbers))
        return outputs

    return takes_one_list(torch.compiler.disable(run, reason="makes views of inputs and outputs"))


def is_nested_int(value: Any) -> bool:
    """True for the size of a ragged dim: it stands for the lengths of many tensors and is no number."""
    node = getattr(value, "node", None)
    return node is not None and hasattr(node, "is_nested_int") and bool(node.is_nested_int())


def without_nested_ints(compiled: Callable[[list[Any]], Any], positions: Sequence[int]) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller who passes sizes of ragged dims there, taken as zeros: nothing depends on them."""
    if not positions:
        return compiled

    def run(inputs: list[Any]) -> Any:
        for i in positions:
            inputs[i] = 0
        return compiled(inputs)

    return takes_one_list(run)


def boxed(module: torch.fx.GraphModule) -> Callable[[list[Any]], Any]:
    """A callable of one list that runs an FX graph as it is and that Dynamo does not trace."""

    # Not module.forward: the text of a graph does not spell all constants (complex ones with NaN).
    def run(inputs: list[Any]) -> Any:
        return torch.fx.Interpreter(module).boxed_run(inputs)

    return takes_one_list(torch.compiler.disable(run, reason="an FX graph that ourjit does not compile"))


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a function or module was before torch.compile wrapped it."""
    original = getattr(function, "_orig_mod", None) or getattr(function, "_torchdynamo_orig_callable", None)
    return function if original is None else original
