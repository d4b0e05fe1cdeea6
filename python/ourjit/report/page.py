"""The page: data and pictures put into one HTML file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from ourjit._C import UserError
from ourjit.report.figures import Data
from ourjit.report.svg import amount, flame_svg, graph_svg, memory_svg, seconds_text, shade

_FOLDER = Path(__file__).resolve().parent / "templates"


def render(data: Data, title: str, run: Data | None = None) -> str:
    """The page of `figures.describe()`; `run` is what `python -m ourjit run` found, if it makes the page.

    Raises UserError where Jinja2, on which torch depends, is missing.
    """
    pictures = [
        {"graph": graph_svg(graph, f"{i}:"), "memory": memory_svg(graph) if graph["memory"] else ""}
        for i, graph in enumerate(data["graphs"])
    ]
    page: str = _template().render(
        title=title,
        data=data,
        run=run,
        pictures=pictures,
        flame=flame_svg(data["events"]) if data["events"] else "",
        nodes=_for_script({str(i): _clickable(graph) for i, graph in enumerate(data["graphs"])}),
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "page.js").read_text(encoding="utf-8"),
    )
    return page


@functools.cache
def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise UserError("pages need Jinja2: pip install Jinja2") from None
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(amount=amount, seconds=seconds_text, shade=shade, percent=_percent)
    return environment.get_template("page.html.j2")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _clickable(graph: Data) -> Data:
    """What a click on a node or a box shows."""
    return {
        "nodes": [{"text": n["text"], "step": n["step"], "lines": n["lines"]} for n in graph["nodes"]],
        "steps": [
            {
                "name": step["name"],
                "kernel": step["kernel"],
                "seconds": seconds_text(step["seconds"]),
                "lines": step["lines"],
            }
            for step in graph["steps"]
        ],
    }


def _for_script(value: Any) -> str:
    """JSON that may stand within a script element."""
    return json.dumps(value, separators=(",", ":")).replace("</", "<\\/")
