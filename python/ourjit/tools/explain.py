"""`python -m ourjit explain script.py`: what becomes of a script, as text, JSON or a page."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from ourjit.inspection import explanation_of
from ourjit.report.figures import Data
from ourjit.report.svg import amount, seconds_text
from ourjit.tools import script
from ourjit.tools.console import print_rows

_SLOWEST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--html", metavar="FILE", help="write a page; then no text is printed")
    parser.add_argument("--json", action="store_true", help="print JSON: what ourjit.report.figures.describe() returns")
    parser.add_argument("script", help="the script; what it prints goes to standard error")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")


def summary_rows(data: Data) -> list[tuple[str, str]]:
    """What the page has at its top, as names and texts."""
    summary, limits = data["summary"], data["limits"]
    rows = [
        (name.replace("_", " "), str(summary[name])) for name in ("graphs", "kernels", "library_calls", "fallbacks")
    ]
    rows.append(("compiling", seconds_text(summary["compile_seconds"])))
    rows.append(("all steps, once each", seconds_text(summary["run_seconds"])))
    if limits:
        reached = f"{amount(limits['bytes_per_second'], 'B/s')}, {amount(limits['flops_per_second'], 'flop/s')}"
        rows.append(("limits", f"{reached}: a copy and an f32 matrix product, measured here"))
    return rows


def slowest_rows(data: Data) -> list[tuple[str, str]]:
    """The steps of all graphs that take longest, with what part of the nearer limit they reach."""
    steps = [(graph["name"], step) for graph in data["graphs"] for step in graph["steps"] if step["seconds"]]
    steps.sort(key=lambda entry: -entry[1]["seconds"])
    return [
        (
            f"{name} step {step['number']}: {step['name']}",
            f"{seconds_text(step['seconds'])}, {step['share']:.0%} of {step['bound']}"
            + ("  " + ", ".join(line["loc"] for line in step["lines"][:2]) if step["lines"] else ""),
        )
        for name, step in steps[:_SLOWEST]
    ]


def run(arguments: argparse.Namespace) -> int:
    """Runs the script and prints the report. 1 if the script fails, or if nothing of it was compiled."""
    script.check(arguments.script, arguments.html)
    with script.compiled_script(0, reports=True) as watched, contextlib.redirect_stdout(sys.stderr):
        code = script.run_script(arguments.script, arguments.arguments)
    explanation = explanation_of(watched.recording, script.fallbacks(watched))
    if arguments.html:
        explanation.html(arguments.html, title=f"ourjit explain {arguments.script}")
        print(f"report: {arguments.html}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(explanation.data()))
    elif not arguments.html:
        data = explanation.data()
        print_rows("ourjit explain", summary_rows(data), sys.stdout)
        print_rows("\nslowest steps", slowest_rows(data), sys.stdout)
        print(f"\n{explanation}")
    if code != 0:
        print(f"ourjit explain: the script ended with exit code {code}", file=sys.stderr)
    elif not explanation.facts:
        print("ourjit explain: nothing was compiled: the script called no module with parameters", file=sys.stderr)
    return 1 if code != 0 or not explanation.facts else 0
