"""Places the nodes of a compiled graph in a picture: what runs as one step is a box, boxes stand in layers.

Boxes follow the order of data from top to bottom. All lengths are in pixels of the unscaled picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NODE_WIDTH, NODE_HEIGHT = 132, 20
GAP_X, GAP_Y = 10, 16  # between nodes
PADDING, TITLE = 8, 16  # of boxes
BOX_GAP_X, BOX_GAP_Y = 26, 44
COLUMN_GAP = 110
_WIDEST_LAYER = 2600
_ASPECT = 1.5  # of the whole picture, where columns can give it that
_SWEEPS = 4


@dataclass
class Box:
    """One step of the plan; `nodes` gives the places of its nodes relative to the box."""

    step: int
    nodes: dict[int, tuple[float, float]] = field(default_factory=dict)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    column: int = 0


@dataclass
class Layout:
    """Where everything is: boxes by step, and edges between nodes by their numbers."""

    boxes: dict[int, Box]
    edges: list[tuple[int, int]]
    home: list[int]
    """The step of the box of each node."""
    width: float
    height: float

    def place(self, node: int) -> tuple[float, float]:
        """The upper left corner of a node."""
        box = self.boxes[self.home[node]]
        x, y = box.nodes[node]
        return box.x + x, box.y + y


def layout(nodes: Sequence[Mapping[str, Any]]) -> Layout:
    """Places nodes, which are in order of execution and have `reads` and `defines` (names), and `step`.

    Nodes without a step, which are computed where they are read, stand in the box of their first reader.
    """
    definer = {name: i for i, node in enumerate(nodes) for name in node["defines"]}
    edges = [(definer[name], i) for i, node in enumerate(nodes) for name in node["reads"] if name in definer]
    edges = list(dict.fromkeys(edges))
    home = _homes(nodes, edges)
    boxes = {step: _box(step, [i for i, h in enumerate(home) if h == step], edges) for step in dict.fromkeys(home)}
    between = {(home[a], home[b]) for a, b in edges if home[a] != home[b]}
    width, height = _arrange(boxes, between)
    return Layout(boxes, edges, home, width, height)


def _homes(nodes: Sequence[Mapping[str, Any]], edges: Sequence[tuple[int, int]]) -> list[int]:
    home: list[int] = [node["step"] for node in nodes]
    readers: dict[int, list[int]] = {}
    operands: dict[int, list[int]] = {}
    for a, b in edges:
        readers.setdefault(a, []).append(b)
        operands.setdefault(b, []).append(a)
    for i in reversed(range(len(nodes))):
        if home[i] < 0:
            home[i] = min((home[r] for r in readers.get(i, ()) if home[r] >= 0), default=-1)
    for i in range(len(nodes)):  # what nobody reads: views of results
        if home[i] < 0:
            home[i] = max((home[o] for o in operands.get(i, ())), default=-1)
    return home


def _layers(members: Iterable[int], edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The longest path to each member, whose numbers grow along the edges; sources stand just above their readers."""
    before: dict[int, list[int]] = {}
    behind: dict[int, list[int]] = {}
    for a, b in edges:
        before.setdefault(b, []).append(a)
        behind.setdefault(a, []).append(b)
    layer: dict[int, int] = {}
    ordered = sorted(members)
    for m in ordered:
        layer[m] = 1 + max((layer[p] for p in before.get(m, ()) if p in layer), default=-1)
    for m in reversed(ordered):
        readers = [layer[r] for r in behind.get(m, ()) if r in layer]
        if m not in before and readers:
            layer[m] = max(0, min(readers) - 1)
    return layer


def _rows(layer: Mapping[int, int]) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for member in sorted(layer):
        rows[layer[member]].append(member)
    return [row for row in rows if row]


def _box(step: int, members: Sequence[int], edges: Sequence[tuple[int, int]]) -> Box:
    inside = set(members)
    rows = _rows(_layers(members, [(a, b) for a, b in edges if a in inside and b in inside]))
    widest = max(len(row) for row in rows)
    box = Box(step)
    box.width = widest * (NODE_WIDTH + GAP_X) - GAP_X + 2 * PADDING
    box.height = TITLE + len(rows) * (NODE_HEIGHT + GAP_Y) - GAP_Y + 2 * PADDING
    for r, row in enumerate(rows):
        left = (box.width - len(row) * (NODE_WIDTH + GAP_X) + GAP_X) / 2
        for c, member in enumerate(row):
            box.nodes[member] = (left + c * (NODE_WIDTH + GAP_X), PADDING + TITLE + r * (NODE_HEIGHT + GAP_Y))
    return box


def _arrange(boxes: Mapping[int, Box], edges: set[tuple[int, int]]) -> tuple[float, float]:
    """Gives boxes their places; returns the size of the whole."""
    rows = [part for row in _rows(_layers(boxes, edges)) for part in _narrow(row, boxes)]
    near: dict[int, list[int]] = {}
    for a, b in edges:
        near.setdefault(a, []).append(b)
        near.setdefault(b, []).append(a)
    for row in rows:
        _spread(row, boxes, [0.0] * len(row))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = {}
            for step in row:
                centers = [boxes[n].x + boxes[n].width / 2 for n in near.get(step, ())]
                wanted[step] = sum(centers) / len(centers) if centers else boxes[step].x + boxes[step].width / 2
            row.sort(key=lambda step: wanted[step])
            _spread(row, boxes, [wanted[step] for step in row])
    return _columns(rows, boxes)


def _columns(rows: Sequence[Sequence[int]], boxes: Mapping[int, Box]) -> tuple[float, float]:
    """Stacks the rows; a graph that is much taller than wide goes on in further columns. Returns the size."""
    if not rows:
        return 0.0, 0.0
    heights = [max(boxes[step].height for step in row) + BOX_GAP_Y for row in rows]
    widths = [boxes[row[-1]].x + boxes[row[-1]].width - boxes[row[0]].x for row in rows]
    count = max(1, round(math.sqrt(_ASPECT * sum(heights) / (max(widths) + COLUMN_GAP))))
    tallest = max(sum(heights) / count, *heights)
    columns: list[list[int]] = [[]]
    reached = 0.0
    for i, height in enumerate(heights):
        if columns[-1] and reached + height > tallest * 1.02:
            columns.append([])
            reached = 0.0
        columns[-1].append(i)
        reached += height
    right = bottom = 0.0
    for number, column in enumerate(columns):
        members = [step for i in column for step in rows[i]]
        shift = right - min(boxes[step].x for step in members)
        y = 0.0
        for i in column:
            for step in rows[i]:
                boxes[step].x += shift
                boxes[step].y = y
                boxes[step].column = number
            y += heights[i]
        right = max(boxes[step].x + boxes[step].width for step in members) + COLUMN_GAP
        bottom = max(bottom, y - BOX_GAP_Y)
    return right - COLUMN_GAP, bottom


def _narrow(row: Sequence[int], boxes: Mapping[int, Box]) -> list[list[int]]:
    """A layer as several, none of them too wide."""
    parts: list[list[int]] = [[]]
    width = 0.0
    for step in row:
        if parts[-1] and width + boxes[step].width > _WIDEST_LAYER:
            parts.append([])
            width = 0.0
        parts[-1].append(step)
        width += boxes[step].width + BOX_GAP_X
    return parts


def _spread(row: Sequence[int], boxes: Mapping[int, Box], centers: Sequence[float]) -> None:
    """Places the boxes of a row side by side, near the centers that they want, as a block where these collide."""
    reached = None
    for step, center in zip(row, centers, strict=True):
        box = boxes[step]
        box.x = center - box.width / 2 if reached is None else max(reached, center - box.width / 2)
        reached = box.x + box.width + BOX_GAP_X
    shift = sum(
        boxes[step].x + boxes[step].width / 2 - center for step, center in zip(row, centers, strict=True)
    ) / len(row)
    for step in row:
        boxes[step].x -= shift
