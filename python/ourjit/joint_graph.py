"""What is done to the joint graph of forward and backward before it is cut in two."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy

from ourjit import random_ops


def prepare(graph: torch.fx.Graph) -> None:
    """Merges equal nodes, and marks what is to be kept for the backward and what not.

    Of random numbers a seed is kept, not a mask. 16-bit floats that are tested for equality are kept: forward and
    backward round different parts of a chain, so that a backward that computed them again might find an extreme
    nowhere.
    """
    merge_equal_nodes(graph)
    keep_overwritten_inputs(graph)
    recompute_log_softmax(graph)
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        if node.target is random_ops.rng_seed:
            # A checkpointed region asks for all to be computed again, and a second seed is another one.
            node.meta["recompute"] = CheckpointPolicy.MUST_SAVE
        elif node.target in random_ops.RECOMPUTED:
            node.meta.setdefault("recompute", CheckpointPolicy.PREFER_RECOMPUTE)
        elif node.target is torch.ops.aten.eq.Tensor and all(map(_is_narrow, node.args)):
            for operand in node.args:
                operand.meta.setdefault("recompute", CheckpointPolicy.MUST_SAVE)


def _is_narrow(value: Any) -> bool:
    tensor = value.meta.get("val") if isinstance(value, torch.fx.Node) else None
    return isinstance(tensor, torch.Tensor) and tensor.dtype in (torch.float16, torch.bfloat16)


def keep_overwritten_inputs(graph: torch.fx.Graph) -> None:
    """Has the backward see inputs as they were before the forward wrote to them.

    The partitioner hands an input to the backward as the tensor that it is, also to compute from it again what it does
    not keep; but by then it has its new value.
    """
    aten = torch.ops.aten
    overwritten = [node.args[0] for node in graph.nodes if node.target is aten.copy_.default]
    overwritten = [node for node in overwritten if isinstance(node, torch.fx.Node) and node.op == "placeholder"]
    if not overwritten:
        return
    tangents = [node for node in graph.find_nodes(op="placeholder") if "tangents" in str(node.target)]
    backward = _depending_on(tangents)
    first = next(node for node in graph.nodes if node.op != "placeholder")
    for node in dict.fromkeys(overwritten):
        if not _depending_on([node]) & backward:
            continue
        with graph.inserting_before(first), node.meta["val"].fake_mode:
            old = graph.call_function(aten.clone.default, (node,))
            old.meta["val"] = aten.clone.default(node.meta["val"])
        old.meta["recompute"] = CheckpointPolicy.MUST_SAVE
        node.replace_all_uses_with(old, lambda user, old=old: user is not old and user.target is not aten.copy_.default)


def _depending_on(nodes: list[torch.fx.Node]) -> set[torch.fx.Node]:
    """What is computed from one of the nodes, but the output."""
    found: set[torch.fx.Node] = set()
    pending = list(nodes)
    while pending:
        for user in pending.pop().users:
            if user not in found and user.op != "output":
                found.add(user)
                pending.append(user)
    return found


def recompute_log_softmax(graph: torch.fx.Graph) -> None:
    """Has the backward compute logarithms of probabilities again, from their row's maximum and logarithm of the sum.

    A cross-entropy's forward then writes no tensor of the size of its logits. Those that the caller gets stay: they
    are in memory anyway.
    """
    aten = torch.ops.aten
    returned = _returned(graph)
    for node in list(graph.nodes):
        if node.target is not aten._log_softmax.default or node in returned:
            continue
        x, dim = node.args[:2]
        result = node.meta["val"]
        aliases = [node]
        for alias in aliases:
            aliases.extend(user for user in alias.users if user.target is aten.detach.default)
        users = {user.target for alias in aliases for user in alias.users}
        if aten._log_softmax_backward_data.default not in users or result.dim() == 0 or result.shape[dim] == 0:
            continue
        call = functools.partial(_call, graph, node)
        with graph.inserting_before(node), result.fake_mode:
            wide = call(aten._to_copy.default, x, dtype=torch.float32) if _is_narrow(x) else x
            shifted = call(aten.sub.Tensor, wide, call(aten.amax.default, wide, [dim], True))
            total = call(aten.sum.dim_IntList, call(aten.exp.default, shifted), [dim], True)
            new = call(aten.sub.Tensor, shifted, call(aten.log.default, total))
            if new.meta["val"].dtype != result.dtype:
                new = call(aten._to_copy.default, new, dtype=result.dtype)
        for alias in reversed(aliases):
            alias.replace_all_uses_with(new)
            graph.erase_node(alias)


def _call(graph: torch.fx.Graph, like: torch.fx.Node, target: Any, *args: Any, **keywords: Any) -> torch.fx.Node:
    """A new node in place of `like`; what is as large as that is computed again in the backward."""
    node = graph.call_function(target, args, keywords)
    node.meta = {name: value for name, value in like.meta.items() if name != "tensor_meta"}
    node.meta["val"] = target(*(a.meta["val"] if isinstance(a, torch.fx.Node) else a for a in args), **keywords)
    if node.meta["val"].shape == like.meta["val"].shape:
        node.meta.setdefault("recompute", CheckpointPolicy.PREFER_RECOMPUTE)
    return node


def merge_equal_nodes(graph: torch.fx.Graph) -> None:
    """Replaces a node that computes what an earlier one did; so that not both are kept for the backward.

    Two values that the caller gets stay two: writing to one must not show in the other.
    """
    seen: dict[Any, torch.fx.Node] = {}
    returned = _returned(graph)
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        target = node.target
        if isinstance(target, torch._ops.OpOverload):
            if target._schema.is_mutable:
                seen.clear()  # what was read before may be different now
                continue
            if torch.Tag.nondeterministic_seeded in target.tags:
                continue
        key = _key(node)
        first = seen.setdefault(key, node) if key is not None else node
        # Nodes with other annotations (checkpointing, say) are not interchangeable.
        if first is node or first.meta.get("recompute") != node.meta.get("recompute"):
            continue
        if not {first, node} <= returned:
            if node in returned:
                returned.add(first)
            node.replace_all_uses_with(first)
            graph.erase_node(node)


def _returned(graph: torch.fx.Graph) -> set[torch.fx.Node]:
    """What the caller gets, itself or as a view."""
    returned = set(graph.output_node().all_input_nodes)
    for node in reversed(graph.nodes):
        if node in returned and getattr(node.target, "is_view", False):
            returned.update(node.all_input_nodes[:1])
    return returned


def _key(node: torch.fx.Node) -> Any:
    """Equal for nodes that compute the same; None where that cannot be told. 1, 1.0 and True are different."""
    try:
        key = (
            node.target,
            _frozen(node.args),
            tuple((name, _frozen(value)) for name, value in sorted(node.kwargs.items())),
        )
        hash(key)
    except TypeError:
        return None
    return key


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        raise TypeError("a dict as an argument")
    if isinstance(value, float):
        return (float, value.hex())
    return value if isinstance(value, torch.fx.Node) else (type(value), value)
