"""Joins what is known of compiled graphs to plain data, of which texts, JSON and pages are made."""

from __future__ import annotations

import linecache
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ourjit.inspection import Explanation, GraphFacts
from ourjit.recording import Event
from ourjit.report.machine import Limits

ROUNDING = 1e-7  # seconds by which stages that follow each other may seem to overlap

Data = dict[str, Any]
Tensor = tuple[str, Sequence[int]]  # dtype and sizes


def describe(explanation: Explanation, limits: Limits | None) -> Data:
    """All of an explanation as plain data that JSON can hold; `limits` of its device, to compare measured times with.

    {summary, limits, graphs: [{name, nodes, steps, kernels, memory, ...}], stages, events, fallbacks, guards}. Times
    are in seconds, amounts of memory in bytes.
    """
    graphs = [_graph(facts, explanation, limits) for facts in explanation.facts]
    measured = [graph["seconds"] for graph in graphs if graph["seconds"] is not None]
    return {
        "summary": {
            "graphs": len(graphs),
            "kernels": len(explanation.kernels),
            "library_calls": sum(step["kernel"] is None for graph in graphs for step in graph["steps"]),
            "fallbacks": sum(entry["count"] for entry in explanation.fallbacks.values()),
            "compile_seconds": compile_seconds(explanation.events),
            "run_seconds": sum(measured) if measured else None,
            "target": explanation.target,
            "load": os.getloadavg()[0],
            "cores": os.cpu_count() or 1,
        },
        "limits": limits and {"bytes_per_second": limits.bytes_per_second, "flops_per_second": limits.flops_per_second},
        "graphs": graphs,
        "stages": _stages(explanation.events),
        "events": [{"name": e.name, "start": e.start, "seconds": e.seconds} for e in explanation.events],
        "fallbacks": explanation.fallbacks,
        "guards": explanation.guard_text,
    }


def compile_seconds(events: Sequence[Event]) -> float:
    """The time that events cover together; events in others count once."""
    total, reached = 0.0, -math.inf
    for event in sorted(events, key=lambda e: e.start):
        end = event.start + event.seconds
        total += max(0.0, end - max(event.start, reached))
        reached = max(reached, end)
    return total


def _stages(events: Sequence[Event]) -> list[Data]:
    """Sums by name, in order of first appearance: {name, count, seconds, own_seconds: those not in stages within}."""
    sums: dict[str, Data] = {}
    around: list[Event] = []
    for event in sorted(events, key=lambda e: (e.start, -e.seconds)):
        while around and event.start >= around[-1].start + around[-1].seconds - ROUNDING:
            around.pop()
        if around:
            sums[around[-1].name]["own_seconds"] -= event.seconds
        around.append(event)
        stage = sums.setdefault(event.name, {"name": event.name, "count": 0, "seconds": 0.0, "own_seconds": 0.0})
        stage["count"] += 1
        stage["seconds"] += event.seconds
        stage["own_seconds"] += event.seconds
    return list(sums.values())


def source_lines(locations: Sequence[str], files: Mapping[str, str]) -> list[Data]:
    """The Python lines of locations such as "model.py:41", each once, in order: {loc, path, number, text}."""
    lines = []
    for location in dict.fromkeys(filter(None, locations)):
        path, number = files.get(location, ""), int(location.rpartition(":")[2] or 0)
        text = linecache.getline(path, number).strip() if path else ""
        lines.append({"loc": location, "path": path, "number": number, "text": text})
    return sorted(lines, key=lambda line: (line["path"], line["number"]))


def _graph(facts: GraphFacts, explanation: Explanation, limits: Limits | None) -> Data:
    report, data = facts.report, facts.data
    nodes = data["nodes"]
    steps = [_step(i, step, facts, limits) for i, step in enumerate(data["steps"] or ())]
    return {
        "name": report["name"],
        "texts": {key: report[key] for key in ("captured", "graph", "groups", "plan", "memory")},
        "inputs": report["guards"],
        "library_calls": report["library_calls"],
        "fallbacks": report["fallbacks"],
        "compile_seconds": report["seconds"],
        "seconds": sum(facts.step_seconds) if facts.step_seconds else None,
        "nodes": [{**node, "lines": source_lines([node["loc"]], facts.files)} for node in nodes],
        "steps": steps,
        "kernels": [_kernel(i, kernel, steps, facts, limits) for i, kernel in enumerate(facts.kernels)],
        "memory": data["memory"],
    }


def _step(number: int, step: Data, facts: GraphFacts, limits: Limits | None) -> Data:
    nodes = [node for node in facts.data["nodes"] if node["step"] == number]
    known = step["flops"]
    flops = known if known is not None else library_flops(step["target"], step["operands"], step["results"])
    seconds = facts.step_seconds[number] if facts.step_seconds else None
    return {
        "number": number,
        "kernel": step["kernel"],
        "name": step["target"],
        "rows": step["rows"],
        "nodes": len(nodes),
        "lines": source_lines([node["loc"] for node in nodes], facts.files),
        "types": {kind: [f"{dtype}{list(sizes)}" for dtype, sizes in step[kind]] for kind in ("operands", "results")},
        "reads_bytes": step["reads_bytes"],
        "writes_bytes": step["writes_bytes"],
        "flops": flops,
        "seconds": seconds,
        **_limit(seconds, step["reads_bytes"] + step["writes_bytes"], flops, limits),
    }


def _kernel(index: int, kernel: Any, steps: Sequence[Data], facts: GraphFacts, limits: Limits | None) -> Data:
    launches = [step for step in steps if step["kernel"] == index]
    total: dict[str, float] = {
        key: sum(step[key] for step in launches) for key in ("reads_bytes", "writes_bytes", "flops")
    }
    seconds = sum(step["seconds"] for step in launches) if launches and facts.step_seconds else None
    return {
        "name": kernel.name,
        "provenance": list(kernel.provenance),
        "lines": source_lines([text.rpartition("# ")[2] for text in kernel.provenance if "# " in text], facts.files),
        "launches": [step["number"] for step in launches],
        **total,
        "seconds": seconds,
        **_limit(seconds, total["reads_bytes"] + total["writes_bytes"], total["flops"], limits),
        "lowered": kernel.lowered,
        "scheduled": kernel.loop_ir,
        "source": kernel.source,
        "assembly": kernel.text_of_machine_code(),
    }


def _limit(seconds: float | None, moved: float, flops: float | None, limits: Limits | None) -> Data:
    if seconds is None or limits is None:
        return {"share": None, "bound": ""}
    share, bound = limits.share(seconds, moved, flops or 0.0)
    return {"share": share, "bound": bound}


def library_flops(target: str, operands: Sequence[Tensor], results: Sequence[Tensor]) -> float | None:
    """Multiplications and additions of a library call, by the sizes of its tensors; None where no formula is known."""
    sizes = [shape for _, shape in operands]
    made = math.prod(results[0][1]) if results else 0
    match target.split(".")[1] if target.count(".") > 1 else target:
        case "mm" | "bmm" | "_linear_pointwise" | "linear":
            return 2.0 * made * sizes[0][-1]
        case "addmm" | "baddbmm":
            return 2.0 * made * sizes[1][-1]
        case "convolution":
            return 2.0 * made * math.prod(sizes[1][1:])
        case "convolution_backward":  # one such product for each of the gradients of image and weight
            return 2.0 * math.prod(sizes[0]) * math.prod(sizes[2][1:]) * min(2, len(results))
        case "_scaled_dot_product_flash_attention_for_cpu" | "_scaled_dot_product_flash_attention":
            return 4.0 * math.prod(sizes[0]) * sizes[1][-2]
        case (
            "_scaled_dot_product_flash_attention_for_cpu_backward" | "_scaled_dot_product_flash_attention_backward"
        ):  # five products where forward has two
            return 10.0 * math.prod(sizes[0]) * sizes[2][-2]
    return None
