"""`python -m ourjit run script.py`: a training script as it is, compiled, and what that gained."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from dataclasses import asdict, dataclass
from typing import Any

from ourjit import UserError, _torch
from ourjit.report.svg import seconds_text
from ourjit.tools import script
from ourjit.tools.console import print_rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--report", metavar="FILE", help="write a page with all graphs, kernels and times (HTML)")
    parser.add_argument("--json", action="store_true", help="print what was gained as JSON, to standard error too")
    parser.add_argument(
        "--eager-steps",
        type=int,
        default=3,
        metavar="N",
        help="run the first N steps as they are, to compare with (default %(default)s; 0 compares with nothing)",
    )
    parser.add_argument("script", help="the script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its own arguments")


@dataclass(frozen=True)
class Gain:
    """What compiling gained over a run; times in seconds, None where nothing can be said."""

    step_is: str
    steps: int
    eager_steps: int
    eager_step: float | None
    """Median of the steps that ran as they are, without the first of several: it warms up."""
    first_compiled_step: float | None
    compiled_step: float | None
    """Median of the compiled steps but the first."""
    speed_up: float | None
    gained: float | None
    """What all compiled steps together took less than as many eager ones; negative: lost."""
    break_even_steps: int | None
    """Compiled steps from which on the run gains; None if it never does."""
    compile_seconds: float
    graphs: int
    graphs_restored: int
    """Of these, how many came from AOTAutograd's cache."""
    kernels_compiled: int
    kernels_loaded: int
    graph_breaks: dict[str, int]
    fallbacks: dict[str, dict[str, Any]]
    modules: dict[str, int]


def gain_of(watched: script.Watched) -> Gain:
    """Compares the steps before and after compiling began."""
    import ourjit

    stats = ourjit.stats()
    seconds = watched.seconds
    cut = len(seconds) if watched.compiled_from is None else watched.compiled_from
    before, after = seconds[:cut], seconds[cut:]
    eager = statistics.median(before[1:] or before) if before else None
    first = after[0] if after else None
    later = statistics.median(after[1:]) if len(after) > 1 else None
    gained = eager * len(after) - sum(after) if eager is not None and after else None
    break_even = None
    if eager is not None and later is not None and later < eager:
        extra = sum(after) - later * len(after)  # what compiling cost beyond the usual step
        break_even = max(1, math.ceil(extra / (eager - later)))
    return Gain(
        step_is=watched.step_is,
        steps=len(seconds),
        eager_steps=len(before),
        eager_step=eager,
        first_compiled_step=first,
        compiled_step=later,
        speed_up=eager / later if eager is not None and later else None,
        gained=gained,
        break_even_steps=break_even,
        compile_seconds=script.total_compile_seconds(watched),
        graphs=stats["graphs"],
        graphs_restored=stats["graphs_restored"],
        kernels_compiled=stats["kernels_compiled"],
        kernels_loaded=stats["kernels_loaded"],
        graph_breaks=_torch.graph_breaks(),
        fallbacks=script.fallbacks(watched),
        modules=watched.modules,
    )


def rows_of(gain: Gain) -> list[tuple[str, str]]:
    """The figures as names and texts."""
    compared = max(gain.eager_steps - 1, min(gain.eager_steps, 1))
    rows = [
        ("steps", f"{gain.steps}, each {gain.step_is}: {gain.eager_steps} eager, then {gain.steps - gain.eager_steps}"),
        ("modules", ", ".join(f"{name} ({calls} calls)" for name, calls in gain.modules.items()) or "none was called"),
        (
            "eager step",
            f"{seconds_text(gain.eager_step)} (median of {compared})" if gain.eager_step else "not measured",
        ),
        ("first compiled step", seconds_text(gain.first_compiled_step)),
        ("compiled step", f"{seconds_text(gain.compiled_step)} (median)"),
        ("speed-up", f"{gain.speed_up:.2f}" if gain.speed_up else "-"),
        ("this run", _gained_text(gain)),
        ("break-even", _break_even_text(gain)),
        ("compiling", f"{seconds_text(gain.compile_seconds)} in Dynamo, AOTAutograd and ourjit"),
        ("graphs", f"{gain.graphs}, {gain.graphs_restored} of them from the cache of graphs"),
        ("kernels", f"{gain.kernels_compiled} compiled, {gain.kernels_loaded} loaded from the disk cache"),
        ("graph breaks", "\n".join(f"{n}x {why.splitlines()[0]}" for why, n in gain.graph_breaks.items()) or "none"),
    ]
    fallbacks = [f"{name} {entry['count']}x: {entry['reason']}" for name, entry in sorted(gain.fallbacks.items())]
    return [*rows, ("fallbacks", "\n".join(fallbacks) or "none")]


def _gained_text(gain: Gain) -> str:
    if gain.gained is None:
        return "-"
    word = "gained" if gain.gained >= 0 else "lost"
    return f"{word} {seconds_text(abs(gain.gained))} against eager, compiling included"


def _break_even_text(gain: Gain) -> str:
    if gain.break_even_steps is None:
        return "-" if gain.eager_step is None or gain.compiled_step is None else "never: compiled steps are not faster"
    return f"after {gain.break_even_steps} compiled steps"


def run(arguments: argparse.Namespace) -> int:
    """Runs the script and reports to standard error; the exit code is the script's."""
    script.check(arguments.script, arguments.report)
    if arguments.eager_steps < 0:
        raise UserError(f"--eager-steps must be 0 or more, not {arguments.eager_steps}")
    with script.compiled_script(arguments.eager_steps, reports=bool(arguments.report)) as watched:
        code = script.run_script(arguments.script, arguments.arguments)
    sys.stdout.flush()
    gain = gain_of(watched)
    if arguments.json:
        print(json.dumps(asdict(gain), indent=2), file=sys.stderr)
    else:
        print_rows("\nourjit run", rows_of(gain), sys.stderr)
    if arguments.report:
        from ourjit.inspection import explanation_of
        from ourjit.report.page import render

        explanation = explanation_of(watched.recording, gain.fallbacks)
        page = render(explanation.data(), f"ourjit run {arguments.script}", {"rows": rows_of(gain)})
        with open(arguments.report, "w", encoding="utf-8") as file:
            file.write(page)
        print(f"report: {arguments.report}", file=sys.stderr)
    return code
