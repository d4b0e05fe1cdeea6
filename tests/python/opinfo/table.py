"""docs/operators.md: how each entry of torch's operator database is computed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from samples import Outcome

PATH = Path(__file__).resolve().parents[3] / "docs" / "operators.md"

HEAD = """# How operators are computed

One row for each entry of torch's operator database (`op_db`), forward and backward, over its real dtypes. Made by
`python tests/python/opinfo/sweep.py --table`, which compares every result with eager's.

- **native**: in kernels that ourjit compiles.
- **library**: these calls go to ATen, on purpose: matrix products, convolutions, sorting, linear algebra and so on.
  Complex numbers always do.
- **fallback**: these calls go to ATen because a rule is missing; strict mode refuses them.
- **graph break**: Dynamo ends a graph there, for the reason given; what lies around is compiled.

| operator | computed | by ATen, or why |
| --- | --- | --- |
"""


def _short(target: str) -> str:
    return target.removeprefix("aten.").removesuffix(".default")


def row(name: str, outcomes: Iterable[Outcome]) -> str:
    """The line of one entry."""
    outcomes = list(outcomes)
    breaks = sorted({reason for o in outcomes for reason in o.breaks})
    fallbacks = {target: reason for o in outcomes for target, reason in o.fallbacks.items()}
    library = sorted({_short(target) for o in outcomes for target in o.library})
    if breaks:
        how, why = "graph break", "; ".join(breaks)
    elif fallbacks:
        how = "fallback"
        why = "; ".join(f"{_short(target)}: {reason}" for target, reason in sorted(fallbacks.items()))
    else:
        how, why = ("library", ", ".join(library)) if library else ("native", "")
    why = re.sub(r" at \w+\.py:\d+", "", why).replace("|", "\\|")
    return f"| `{name}` | {how} | {why} |"


def rows() -> dict[str, str]:
    """The lines of the table as it stands, by entry."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    return {line.split("`")[1]: line for line in lines if line.startswith("| `")}


def write(lines: dict[str, str]) -> None:
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(HEAD + "".join(lines[name] + "\n" for name in sorted(lines)))
