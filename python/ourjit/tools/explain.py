"""`python -m ourjit explain script.py`: what becomes of a script, as text, JSON or a page."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from ourjit.inspection import explanation_of
from ourjit.tools import script


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--html", metavar="FILE", help="write a page; then no text is printed")
    parser.add_argument("--json", action="store_true", help="print JSON: what ourjit.report.figures.describe() returns")
    parser.add_argument("script", help="the script; what it prints goes to standard error")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")


def run(arguments: argparse.Namespace) -> int:
    """Runs the script and prints the report. 1 if the script fails, or if nothing of it was compiled."""
    script.check_script(arguments.script)
    with script.compiled_script(0, measures=True) as watched, contextlib.redirect_stdout(sys.stderr):
        code = script.run_script(arguments.script, arguments.arguments)
    explanation = explanation_of(watched.recording, script.fallbacks(watched))
    if arguments.html:
        explanation.html(arguments.html, title=f"ourjit explain {arguments.script}")
        print(f"report: {arguments.html}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(explanation.data()))
    elif not arguments.html:
        print(explanation)
    if code != 0:
        print(f"ourjit explain: the script ended with exit code {code}", file=sys.stderr)
    elif not explanation.facts:
        print("ourjit explain: nothing was compiled: the script called no module with parameters", file=sys.stderr)
    return 1 if code != 0 or not explanation.facts else 0
