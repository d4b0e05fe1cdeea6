"""The pictures of a page, as inline SVG: a graph, memory over time, compile time as a flame chart."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ourjit.report.figures import ROUNDING
from ourjit.report.graph_layout import NODE_HEIGHT, NODE_WIDTH, layout

Data = Mapping[str, Any]


def shade(name: str | int, light: int = 88) -> str:
    """A colour that stays the same for a name; numbers that follow each other get hues far apart."""
    number = name if isinstance(name, int) else zlib.crc32(name.encode())
    return f"hsl({number * 137.508 % 360:.0f} 65% {light}%)"


def amount(value: float | None, unit: str) -> str:
    """A number of three digits with a decimal prefix, as in "1.53 MB"; a dash for None."""
    if value is None:
        return "-"
    scales = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9))
    for prefix, scale in scales if unit == "s" else scales[:5]:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {'' if unit == 's' and scale > 1 else prefix}{unit}"
    return f"0 {unit}"


def seconds_text(value: float | None) -> str:
    """A time as people read it: "1.53 ms"; seconds have no prefix above 1 s."""
    return f"{value:.3g} s" if value is not None and value >= 1 else amount(value, "s")


def graph_svg(graph: Data, prefix: str) -> str:
    """A compiled graph: a box for each step, coloured by kernel; grey boxes are library calls.

    Nodes have the attribute data-node: `prefix` and their number, by which the page knows them.
    """
    nodes, steps = graph["nodes"], graph["steps"]
    placed = layout(nodes)
    parts = []
    for a, b in placed.edges:
        (x0, y0), (x1, y1) = placed.place(a), placed.place(b)
        x0, x1, y0 = x0 + NODE_WIDTH / 2, x1 + NODE_WIDTH / 2, y0 + NODE_HEIGHT
        bend = max(12.0, min(60.0, abs(y1 - y0) / 2))
        kind = "e" if placed.home[a] == placed.home[b] else "x"
        if placed.boxes[placed.home[a]].column != placed.boxes[placed.home[b]].column:
            kind = "y"
        parts.append(
            f'<path class="{kind}" d="M{x0:.0f} {y0:.0f}C{x0:.0f} {y0 + bend:.0f} '
            f'{x1:.0f} {y1 - bend:.0f} {x1:.0f} {y1:.0f}"/>'
        )
    for number, box in placed.boxes.items():
        step = steps[number] if 0 <= number < len(steps) else None
        is_kernel = step is not None and step["kernel"] is not None
        fill = shade(step["kernel"]) if step is not None and is_kernel else "#e4e4e7"
        title = step["name"].removeprefix("aten.").removesuffix(".default") if step else "views"
        if step and step["seconds"] is not None:
            title = f"{title}  {seconds_text(step['seconds'])}"
        shown = title if len(title) * 7 < box.width - 8 else title[: max(3, int(box.width / 7) - 2)] + "…"
        parts.append(
            f'<g class="b" data-step="{prefix}{number}" transform="translate({box.x:.0f} {box.y:.0f})">'
            f'<rect width="{box.width:.0f}" height="{box.height:.0f}" rx="6" fill="{fill}"/>'
            f'<text x="8" y="15">{escape(shown)}</text><title>{escape(title)}</title></g>'
        )
    for i, node in enumerate(nodes):
        x, y = placed.place(i)
        name = node["defines"][0] if node["defines"] else ""
        op = node["op"].removeprefix("aten.").removesuffix(".default")
        label = f"{op} {name}" if name and not name.startswith(op) else name or op
        label = label if len(label) <= 20 else label[:19] + "…"
        parts.append(
            f'<g class="n{" f" if node["step"] < 0 else ""}" data-node="{prefix}{i}" transform="translate({x:.0f} '
            f'{y:.0f})"><rect width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="4"/><text x="6" y="14">{escape(label)}'
            f"</text><title>{escape(node['text'])}</title></g>"
        )
    size = f"-12 -12 {placed.width + 24:.0f} {placed.height + 24:.0f}"
    return f'<svg class="graph" viewBox="{size}" role="img" aria-label="graph"><g>{"".join(parts)}</g></svg>'


def memory_svg(graph: Data) -> str:
    """Buffers as rectangles: steps of the plan to the right, bytes upwards.

    Temporaries are where they are in the arena. Above the line stands what leaves the call or comes from a library
    call, stacked.
    """
    memory, steps = graph["memory"], max(1, len(graph["steps"]))
    own = [b for b in memory["buffers"] if b["kind"] == "temp" and b["bytes"] and b["first"] >= 0]
    others = [b for b in memory["buffers"] if b["kind"] in ("output", "call result") and b["bytes"]]
    stacked = sum(b["bytes"] for b in others)
    arena = memory["arena_bytes"]
    total = max(1, arena + stacked)
    width, height, left, bottom = 1000.0, 300.0, 70.0, 24.0

    def rectangle(buffer: Data, offset: int, first: int, last: int) -> str:
        x, right = left + first / steps * width, left + (last + 1) / steps * width
        y, tall = height - (offset + buffer["bytes"]) / total * height, buffer["bytes"] / total * height
        text = f"{buffer['kind']} {buffer['name']}: {amount(buffer['bytes'], 'B')}, steps {first} to {last}"
        style = f'fill="{shade(buffer["name"], 78)}"'
        return (
            f'<rect class="m {buffer["kind"].replace(" ", "-")}" x="{x:.1f}" y="{y:.2f}" width="{right - x:.1f}" '
            f'height="{max(0.5, tall):.2f}" {style}><title>{escape(text)}</title></rect>'
        )

    parts = [rectangle(b, b["offset"], b["first"], b["last"]) for b in own]
    top = arena
    for buffer in others:
        parts.append(rectangle(buffer, top, max(0, buffer["first"]), steps - 1))
        top += buffer["bytes"]
    line = height - arena / total * height
    parts.append(f'<path class="axis" d="M{left} {line:.1f}H{left + width}M{left} 0V{height}H{left + width}"/>')
    marks = [(0, "0"), (total, amount(total, "B"))]
    if 0.06 < arena / total < 0.94:
        marks.append((arena, amount(arena, "B")))
    for at, text in marks:
        y = height - at / total * height
        parts.append(f'<text class="mark" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    stride = max(1, round(steps / 12))
    for step in range(0, steps, stride):
        x = left + (step + 0.5) / steps * width
        parts.append(f'<text class="mark" x="{x:.1f}" y="{height + 16}" text-anchor="middle">{step}</text>')
    size = f"0 -8 {left + width + 8:.0f} {height + bottom + 8:.0f}"
    return f'<svg class="memory" viewBox="{size}" role="img" aria-label="memory over time">{"".join(parts)}</svg>'


def flame_svg(events: Sequence[Data]) -> str:
    """Events as bars, those that lie within others beneath them; the time between compilations is left out."""
    ordered = sorted(events, key=lambda e: (e["start"], -e["seconds"]))
    bars: list[tuple[int, float, Data]] = []  # depth, start on the axis
    open_until: list[float] = []
    skipped, reached = 0.0, None
    for event in ordered:
        start, end = event["start"], event["start"] + event["seconds"]
        while open_until and start >= open_until[-1] - ROUNDING:
            open_until.pop()
        if not open_until and (reached is None or start > reached):
            skipped += start - (reached or 0.0)
        bars.append((len(open_until), start - skipped, event))
        open_until.append(end)
        reached = end if reached is None else max(reached, end)
    total = max((start + event["seconds"] for _, start, event in bars), default=0.0) or 1.0
    rows, width, row = 1 + max((depth for depth, _, _ in bars), default=0), 1000.0, 20
    parts = []
    for depth, start, event in bars:
        x, wide = start / total * width, event["seconds"] / total * width
        text = f"{event['name']}: {seconds_text(event['seconds'])}"
        shown = text if wide > len(text) * 6.8 else event["name"] if wide > len(event["name"]) * 6.8 else ""
        label = f'<text x="{x + 4:.1f}" y="{depth * row + 14}">{escape(shown)}</text>'
        parts.append(
            f'<g data-bar="{x:.3f} {wide:.3f}" data-name="{escape(event["name"])}">'
            f'<rect x="{x:.2f}" y="{depth * row}" width="{wide:.2f}" height="{row - 2}" '
            f'fill="{shade(event["name"], 80)}"/>{label}<title>{escape(text)}</title></g>'
        )
    return (
        f'<svg class="flame" viewBox="0 0 {width:.0f} {rows * row}" role="img" aria-label="compile time">'
        f"{''.join(parts)}</svg>"
    )
