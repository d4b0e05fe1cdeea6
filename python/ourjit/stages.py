"""Graphs in which data decide sizes, cut into parts.

The size of what `nonzero` returns is known once it has run. What depends on it is compiled as a graph of its own, which
gets the size among its inputs, so that one kernel serves all sizes. Parts that run in Python take turns with compiled
ones: numbers, checks of numbers and operators whose results have sizes that data decide, then all that can be computed
from there on. A part is handed values, but no views of them: it makes those again, so that a compiled part sees what
shares memory.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from ourjit._C import Unsupported
from ourjit._torch import are_known, boxed, is_nested_int, symbolic_expression, takes_one_list
from ourjit.operator_schemas import is_mutable
from ourjit.output_views import is_view

aten = torch.ops.aten

_CHECKS = {aten._assert_scalar.default, aten.sym_constrain_range.default, aten.sym_constrain_range_for_size.default}

Compiled = Callable[[list[Any]], Any]
Symbol = Any  # of sympy


class Source(NamedTuple):
    """Where the value of a symbol is found."""

    node: Node
    traced: torch.SymInt | torch.SymBool
    find: Callable[[Any], int]
    """The number in the node's value."""


@dataclass
class Part:
    """Nodes that run together. The first part are the inputs; then odd ones run in Python, even ones are compiled."""

    nodes: list[Node] = field(default_factory=list)
    made_again: set[Node] = field(default_factory=set)
    """Views, floats and constants, which every part makes for itself."""
    inputs: list[Node] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    """Inputs behind the others."""
    outputs: list[Node] = field(default_factory=list)
    tells: list[Symbol] = field(default_factory=list)
    """Symbols whose values are known from the outputs."""
    dead: list[Node] = field(default_factory=list)
    """What no later part needs."""


def are_needed(module: GraphModule) -> bool:
    """True for a graph with sizes that data decide, or with checks of numbers."""
    for node in module.graph.nodes:
        if node.op == "placeholder":
            value = node.meta.get("val")
            numbers = value.shape if isinstance(value, torch.Tensor) else (value,)
            if not are_known(number for number in numbers if not is_nested_int(number)):
                return True
        elif _is_check(node) or ("unbacked_bindings" in node.meta and _symbols(node)):
            return True
    return False


def compile_stages(module: GraphModule, compile_part: Callable[[GraphModule, int], Compiled]) -> Compiled:
    """What runs `module`, with its inputs in one list; `compile_part` takes a graph and its number.

    Raises Unsupported for what cannot be cut so.
    """
    results = next(node for node in module.graph.nodes if node.op == "output").args[0]
    parts, sources = _cut(module, results)
    _link(parts, sources, results)
    steps: list[tuple[Part, Compiled]] = [(parts[0], list)]
    for number, part in enumerate(parts[1:], 1):
        if part.nodes:
            graph = _extract(module, part, sources)
            steps.append((part, boxed(graph) if number % 2 else compile_part(graph, number // 2)))

    def run(inputs: list[Any]) -> list[Any]:
        values: dict[Node, Any] = {}
        numbers: dict[Symbol, int] = {}
        for part, step in steps:
            if part is not parts[0]:
                inputs = [*(values[node] for node in part.inputs), *(numbers[symbol] for symbol in part.symbols)]
            values.update(zip(part.outputs, step(inputs), strict=True))
            inputs.clear()
            numbers |= {symbol: sources[symbol].find(values[sources[symbol].node]) for symbol in part.tells}
            for node in part.dead:
                del values[node]
        return [values[result] if isinstance(result, Node) else result for result in results]

    return takes_one_list(torch.compiler.disable(run, reason="runs a graph part by part"))


def _is_check(node: Node) -> bool:
    return node.target in _CHECKS and bool(node.args) and isinstance(node.args[0], Node)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, torch.SymInt, torch.SymBool))


def _symbols(node: Node) -> set[Symbol]:
    """The integers on which the sizes, or the number, of a node depend."""
    found: set[Symbol] = set()
    for leaf in tree_leaves(node.meta.get("val")):
        numbers: Sequence[Any] = (leaf,)
        if isinstance(leaf, torch.Tensor):
            numbers = leaf.shape
            if leaf.layout is torch.strided:
                numbers = (*numbers, *leaf.stride(), leaf.storage_offset())
        for number in numbers:
            if isinstance(number, (torch.SymInt, torch.SymBool)) and not is_nested_int(number):
                found.update(s for s in symbolic_expression(number).free_symbols if s.is_integer)
    return found


def _depends_on(node: Node) -> set[Symbol]:
    """The symbols that a node, or a number that it takes, depends on."""
    numbers = (operand for operand in node.all_input_nodes if _is_number(operand.meta.get("val")))
    return _symbols(node).union(*map(_symbols, numbers))


def _of_result(find: Callable[[Any], int], result: int | None) -> Callable[[Any], int]:
    if result is None:
        return find

    def find_in_results(results: Any) -> int:
        return find(results[result])

    return find_in_results


def _sources(node: Node) -> Iterator[tuple[Symbol, Source]]:
    """The symbols that are a number that a node gives, or a size or the offset of a tensor that it gives."""
    value = node.meta.get("val")
    for result, leaf in enumerate(value) if isinstance(value, (tuple, list)) else ((None, value),):
        numbers: list[tuple[Any, Callable[[Any], int]]] = [(leaf, int)]
        if isinstance(leaf, torch.Tensor):
            numbers = [(size, functools.partial(torch.Tensor.size, dim=d)) for d, size in enumerate(leaf.shape)]
            if leaf.layout is torch.strided:
                numbers.append((leaf.storage_offset(), torch.Tensor.storage_offset))
        for number, find in numbers:
            if isinstance(number, (torch.SymInt, torch.SymBool)) and not is_nested_int(number):
                symbol = symbolic_expression(number)
                if isinstance(number, torch.SymBool) and type(symbol).__name__ == "Equality" and symbol.rhs == 1:
                    symbol = symbol.lhs  # the truth of a number that is 0 or 1
                if symbol.is_Symbol:
                    yield symbol, Source(node, number, _of_result(find, result))


def _is_made_again(node: Node) -> bool:
    return node.op == "get_attr" or isinstance(node.meta.get("val"), torch.SymFloat) or is_view(node)


def _operands(node: Node) -> list[Node]:
    """What has to be there before a node: compiled parts, and views, need no numbers, only their symbols."""
    if _is_number(node.meta.get("val")) or _is_check(node) or "unbacked_bindings" in node.meta:
        return list(node.all_input_nodes)
    return [operand for operand in node.all_input_nodes if not _is_number(operand.meta.get("val"))]


def _needed(module: GraphModule, results: Sequence[Any]) -> set[Node]:
    wanted = [node for node in module.graph.nodes if _is_check(node) or "unbacked_bindings" in node.meta]
    wanted += [node for node in module.graph.nodes if is_mutable(node.target) or node.is_impure()]
    wanted += [result for result in results if isinstance(result, Node)]
    needed: set[Node] = set()
    while wanted:
        node = wanted.pop()
        if node not in needed:
            needed.add(node)
            wanted += _operands(node)
    return needed


def _cut(module: GraphModule, results: Sequence[Any]) -> tuple[list[Part], dict[Symbol, Source]]:
    """The parts with their nodes, each as early as it can be, but writes after all before them."""
    parts = [Part()]
    sources: dict[Symbol, Source] = {}
    where: dict[Node, int] = {}  # the part after which a node is there
    told: dict[Symbol, int] = {}  # and a symbol
    barrier = 0
    needed = _needed(module, results)
    writes = any(is_mutable(node.target) for node in needed)

    def tell(node: Node) -> None:
        for symbol, source in _sources(node):
            if symbol not in sources:
                sources[symbol], told[symbol] = source, where[node]

    for node in module.graph.nodes:
        if node.op == "placeholder":
            if is_nested_int(node.meta.get("val")):
                raise Unsupported("ragged dims where data decide sizes")
            where[node] = 0
            parts[0].outputs.append(node)
            tell(node)
        if node.op in ("placeholder", "output") or node not in needed:
            continue
        depends_on = _depends_on(node)
        new = depends_on - told.keys()
        if new and "unbacked_bindings" not in node.meta:
            raise Unsupported(f"no size of an input is {min(map(str, new))}, which {node.name} depends on")
        if new and not isinstance(node.target, torch._ops.OpOverload):
            raise Unsupported(f"data decide sizes in operator {node.target}")
        if new and writes and is_view(node):
            raise Unsupported(f"data decide the size of the view {node.name}, where inputs are written to")
        number = max((where[operand] for operand in _operands(node)), default=0)
        number = max((number, barrier, *(told[symbol] for symbol in depends_on - new)))
        if not new and _is_made_again(node) and node not in results:
            where[node] = number
            continue
        of_python = node.target is operator.getitem and where[node.args[0]] % 2 == 1
        of_python |= bool(new) or _is_check(node) or isinstance(node.meta.get("val"), (torch.SymFloat, bool))
        of_python |= _is_number(node.meta.get("val"))
        if is_mutable(node.target):
            number = barrier = max(number, len(parts) - 1 + (len(parts) - 1) % 2)
        number = max(number, 1)
        number += number % 2 != of_python
        where[node] = number
        parts += [Part() for _ in range(number + 1 - len(parts))]
        parts[number].nodes.append(node)
        tell(node)
        if new - told.keys():
            raise Unsupported(f"no size of a result of {node.name} is {min(map(str, new - told.keys()))}")
    return parts, sources


def _link(parts: Sequence[Part], sources: dict[Symbol, Source], results: Sequence[Any]) -> None:
    """Finds what each part takes and gives."""
    for number, part in enumerate(parts[1:], 1):
        waiting = list(part.nodes)
        inputs: set[Node] = set()
        while waiting:
            node = waiting.pop()
            operands = node.all_input_nodes if number % 2 else _operands(node)
            for operand in set(operands) - part.made_again - inputs - set(part.nodes):
                if _is_made_again(operand):
                    part.made_again.add(operand)
                    waiting.append(operand)
                else:
                    inputs.add(operand)
        part.inputs = sorted(inputs)
        if number % 2 == 0:
            symbols = set().union(*map(_depends_on, (*part.nodes, *part.made_again)))
            part.symbols = sorted(symbols, key=str)
    later: set[Node] = {result for result in results if isinstance(result, Node)}
    wanted = {symbol for part in parts for symbol in part.symbols}
    for part in reversed(parts):
        given = parts[0].outputs if part is parts[0] else part.nodes
        part.tells = [symbol for symbol in sorted(wanted, key=str) if sources[symbol].node in given]
        shown = {sources[symbol].node for symbol in part.tells}
        part.outputs = [node for node in given if part is parts[0] or node in later or node in shown]
        part.dead = [node for node in {*part.inputs, *part.outputs} if node not in later]
        later.update(part.inputs)


def _extract(module: GraphModule, part: Part, sources: dict[Symbol, Source]) -> GraphModule:
    """A part as a graph of its own."""
    graph = Graph()
    copies: dict[Node, Node] = {}
    for node in part.inputs:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta["val"] = node.meta.get("val")
    for symbol in part.symbols:
        graph.placeholder(f"size_{symbol}").meta["val"] = sources[symbol].traced
    for node in sorted((*part.nodes, *part.made_again)):
        for operand in node.all_input_nodes:
            if operand not in copies:  # a number, of which only the trace counts
                copies[operand] = graph.call_function(operator.index, ())
                copies[operand].meta["val"] = operand.meta["val"]
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(tuple(copies[node] for node in part.outputs))
    return GraphModule(module, graph)
