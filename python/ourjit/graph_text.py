"""Graph IR as text that can be made smaller line by line. What the lines mean, only the compiler knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ourjit import _C

_HEAD = re.compile(r"graph @(\S+?)\((.*)\) -> \((.*)\) \{")
_NODE = re.compile(r"((?:(?:%[\w.]+(?:: [^=]*?)?|none)(?:, )?)+) = (.*)")
_VALUE = re.compile(r"%[\w.]+")
_WRITE = re.compile(r"copy_to|call \S+_\.")
_SIZE = re.compile(r"(?<![\w.%-])\d+(?![\w.])")


@dataclass(frozen=True)
class Node:
    """`results` as they stand left of '=', each with its type; `rest` is what stands right of it."""

    results: tuple[str, ...]
    rest: str

    def __str__(self) -> str:
        return f"{', '.join(self.results)} = {self.rest}" if self.results else self.rest


@dataclass(frozen=True)
class GraphText:
    """A graph cut into its inputs, nodes and outputs."""

    name: str
    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: tuple[str, ...]
    outputs: tuple[str, ...]

    @staticmethod
    def parse(text: str) -> GraphText:
        """Raises UserError for text that is no graph."""
        lines = [line.strip() for line in text.strip().splitlines()]
        head = _HEAD.fullmatch(lines[0]) if lines else None
        if head is None or len(lines) < 3 or lines[-1] != "}" or not lines[-2].startswith("return"):
            raise _C.UserError("there is no graph of the form 'graph @name(...) -> (...) {', nodes, 'return ...', '}'")
        nodes = []
        for line in lines[1:-2]:
            node = _NODE.fullmatch(line)
            nodes.append(Node(_split(node[1]), node[2]) if node else Node((), line))
        outputs = _split(lines[-2].removeprefix("return"))
        return GraphText(head[1], _split(head[2]), tuple(nodes), _split(head[3]), outputs)

    def __str__(self) -> str:
        lines = [f"graph @{self.name}({', '.join(self.inputs)}) -> ({', '.join(self.types)}) {{"]
        lines += [f"  {node}" for node in self.nodes]
        return "\n".join([*lines, f"  return {', '.join(self.outputs)}", "}"]) + "\n"

    def with_fewer_outputs(self) -> Iterator[GraphText]:
        """Up to one node, whose result is the output; or all outputs but one."""
        for i, node in enumerate(self.nodes):
            for name, _, kind in (result.partition(": ") for result in node.results if ":" in result):
                yield replace(self, nodes=self.nodes[: i + 1], types=(kind,), outputs=(name,)).without_unused()
        for i in range(len(self.outputs)):
            types, outputs = (xs[:i] + xs[i + 1 :] for xs in (self.types, self.outputs))
            yield replace(self, types=types, outputs=outputs).without_unused()

    def with_fewer_nodes(self) -> Iterator[GraphText]:
        """Without ranges of nodes, large ones first, whose results become inputs; then without an input."""
        size = len(self.nodes)
        while size >= 1:
            for first in range(0, len(self.nodes), size):
                cut = self.nodes[first : first + size]
                made = tuple(result for node in cut for result in node.results if ":" in result)
                nodes = self.nodes[:first] + self.nodes[first + size :]
                yield replace(self, inputs=self.inputs + made, nodes=nodes).without_unused()
            size //= 2
        yield self.without_unused()
        for i in range(len(self.inputs)):
            yield replace(self, inputs=self.inputs[:i] + self.inputs[i + 1 :])

    def with_smaller_sizes(self) -> Iterator[GraphText]:
        """A number that stands in a type, wherever it stands, replaced by a smaller one."""
        text = str(self)
        types = [*self.inputs, *self.types, *(result for node in self.nodes for result in node.results)]
        sizes = {int(size) for kind in types for size in _SIZE.findall(kind.partition("[")[2])}
        for size in sorted(sizes, reverse=True):
            for smaller in dict.fromkeys((1, 2, size // 2, size - 1)):
                if 0 < smaller < size:
                    yield GraphText.parse(re.sub(rf"(?<![\w.%-]){size}(?![\w.])", str(smaller), text))

    def without_unused(self) -> GraphText:
        """Without the nodes and tensors on which no output and no write depends."""
        needed = set(_VALUE.findall(" ".join(self.outputs)))
        nodes = []
        for node in reversed(self.nodes):
            results = set(_VALUE.findall(" ".join(node.results)))
            writes = not results or _WRITE.match(node.rest)
            if writes or results & needed:
                nodes.append(node)
                needed |= set(_VALUE.findall(node.rest))
        kept = tuple(i for i in self.inputs if not i.startswith("%") or i.partition(":")[0] in needed)
        return replace(self, inputs=kept, nodes=tuple(reversed(nodes)))


def _split(text: str) -> tuple[str, ...]:
    """Parts between the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return tuple(part for part in parts if part)
