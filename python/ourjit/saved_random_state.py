"""What the partitioner makes of operators that draw random numbers and that a checkpointed region computes again.

The forward runs each through `run_and_save_rng_state`, which gives the generator's state as well, and the backward
through `run_with_rng_state`. Attention without dropout counts as such an operator though it draws nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx.node import map_arg

_SAVES, _LOADS = "run_and_save_rng_state", "run_with_rng_state"


def settle(module: torch.fx.GraphModule) -> None:
    """Calls operators that draw nothing as they are, and notes what the others give."""
    for node in list(module.graph.nodes):
        name = getattr(node.target, "__name__", "")
        if node.op != "call_function" or name not in (_SAVES, _LOADS):
            continue
        target, *args = node.args if name == _SAVES else node.args[1:]
        mode = _fake_mode(module)
        operands, keywords = map_arg((args, node.kwargs), lambda operand: operand.meta["val"])
        with mode:
            value = target(*operands, **keywords)
        states = [user for user in node.users if name == _SAVES and user.args[1] == 0]
        for state in states:
            state.meta["val"] = _of_known_size(state.meta["val"], mode)
        if not _draws_nothing(target, args, node.kwargs):
            node.meta["val"] = value if name == _LOADS else (states[0].meta["val"], value)
            continue
        with module.graph.inserting_before(node):
            plain = module.graph.call_function(target, tuple(args), node.kwargs)
        plain.meta = {**node.meta, "val": value}
        if name == _LOADS:
            node.replace_all_uses_with(plain)
        else:
            _replace_results(module.graph, node, plain)
        module.graph.erase_node(node)


def _draws_nothing(target: Any, args: list[Any], keywords: dict[str, Any]) -> bool:
    for i, argument in enumerate(target._schema.arguments):
        if argument.name == "dropout_p":
            given = args[i] if i < len(args) else keywords.get("dropout_p", argument.default_value)
            return bool(isinstance(given, (int, float)) and given == 0)
    return False


def _fake_mode(module: torch.fx.GraphModule) -> Any:
    values = (node.meta.get("val") for node in module.graph.nodes)
    return next(value.fake_mode for value in values if hasattr(value, "fake_mode"))


def _of_known_size(state: torch.Tensor, mode: Any) -> torch.Tensor:
    """The partitioner gives a state a symbolic size, of a symbol that stands nowhere else."""
    sizes = [size if isinstance(size, int) else size.node.hint for size in state.shape]
    with mode:
        return torch.empty(sizes, dtype=state.dtype, device=state.device)


def _replace_results(graph: torch.fx.Graph, node: torch.fx.Node, plain: torch.fx.Node) -> None:
    """The state that the backward does not need becomes a constant of its size."""
    for user in list(node.users):
        unused = plain
        if user.args[1] == 0:
            state = user.meta["val"]
            options = {"dtype": state.dtype, "device": state.device, "pin_memory": False}
            with graph.inserting_before(user):
                unused = graph.call_function(torch.ops.aten.full.default, (list(state.shape), 0), options)
            unused.meta["val"] = state
        user.replace_all_uses_with(unused)
        graph.erase_node(user)
