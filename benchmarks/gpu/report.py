"""What a run on a GPU machine showed: bars judged, as one JSON file and one HTML page.

The JSON: version 1, machine, quick, emulated, tests {passed, failed, skipped, failures}, models {name -> backend ->
figures}, kernels {name -> backend -> figures}, errors {part -> text}, bars [{name, bar, value, passed}]. A part that
failed is missing, and named in errors. `passed` is null where the run could not judge a bar.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Report = dict[str, Any]
VERSION = 1


def new_report(machine: dict[str, Any], quick: bool, emulated: bool) -> Report:
    return {"version": VERSION, "machine": machine, "quick": quick, "emulated": emulated, "errors": {}, "bars": []}


def run_part(report: Report, name: str, part: Callable[[], Any]) -> None:
    """Adds what `part` answers as `name`; if it raises, its error instead, so that the others still run."""
    try:
        report[name] = part()
    except Exception as error:  # a page with the error in it is what is wanted
        report["errors"][name] = f"{type(error).__name__}: {error}"


def speed_up(figures: dict[str, Any], key: str, other: str) -> float | None:
    """How many times as fast as `other` ourjit is, None where one of them has no figure."""
    ours, theirs = (figures.get(backend, {}).get(key) for backend in ("ourjit", other))
    return theirs / ours if ours and theirs else None


def geometric_mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return math.exp(statistics.fmean(map(math.log, known))) if known else None


def _bar(name: str, bar: str, value: float | None, good: Callable[[float], bool], judged: bool) -> dict[str, Any]:
    return {"name": name, "bar": bar, "value": value, "passed": good(value) if judged and value is not None else None}


def judge(report: Report) -> list[dict[str, Any]]:
    """The bars. Speed is not judged on an emulated device."""
    real = not report["emulated"]
    bars = []
    tests = report.get("tests")
    bars.append(_bar("tests that fail", "0", tests and tests["failed"], lambda n: n == 0 and tests["passed"] > 0, True))
    kernels, models = report.get("kernels", {}), report.get("models", {})
    rows = [*kernels.values(), *models.values()]
    failing = sum("error" in row or "error" in row.get("ourjit", {}) for row in rows)
    bars.append(_bar("kernels and models that fail", "0", failing if rows else None, lambda n: n == 0, True))
    fallbacks = sum(figures.get("ourjit", {}).get("fallbacks", 0) for figures in kernels.values())
    bars.append(
        _bar("operators of kernels that fall back", "0", fallbacks if kernels else None, lambda n: n == 0, True)
    )
    launch = kernels.get("host_time_per_launch", {}).get("ourjit", {}).get("us")
    bars.append(_bar("host time a launch, us", "at most 2.5", launch, lambda us: us <= 2.5, real))
    adamw = kernels.get("adamw_400", {})
    launches = adamw.get("ourjit", {}).get("launches")
    bars.append(_bar("AdamW over 400 tensors, launches", "1", launches, lambda n: n == 1, real))
    bars.append(
        _bar("AdamW over torch's fused", "at least 1.0", speed_up(adamw, "ms", "eager"), lambda x: x >= 1.0, real)
    )
    for name, figures in kernels.items():
        if name.startswith(("layer_norm", "rms_norm", "softmax", "cross_entropy")):
            ratio = speed_up(figures, "ms", "inductor")
            bars.append(_bar(f"{name} over Inductor", "at least 1.0", ratio, lambda x: x >= 1.0, real))
    mean = geometric_mean(speed_up(figures, "step", "inductor") for figures in models.values())
    bars.append(_bar("training steps over Inductor, geometric mean", "at least 1.3", mean, lambda x: x >= 1.3, real))
    return bars


def row_error(figures: dict[str, Any]) -> str:
    """The errors of a row of figures: its own, or those of backends."""
    found = [figures["error"]] if "error" in figures else []
    found += [f"{name}: {f['error']}" for name, f in figures.items() if isinstance(f, dict) and "error" in f]
    return "; ".join(found)


def page(report: Report) -> str:
    """The report as one HTML file that needs nothing else."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(speed_up=speed_up, row_error=row_error)
    environment.filters["figure"] = lambda x, form="{:.3g}": "-" if x is None else form.format(x)
    template = environment.from_string((Path(__file__).resolve().parent / "page.html").read_text(encoding="utf-8"))
    return template.render(report=report)


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Judges the report and writes gpu.json and gpu.html into `folder`."""
    report["bars"] = judge(report)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "gpu.json", folder / "gpu.html"
    paths[0].write_text(json.dumps(report, indent=1), encoding="utf-8")
    paths[1].write_text(page(report), encoding="utf-8")
    return paths
