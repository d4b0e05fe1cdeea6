"""docs/emulated.md: how many samples of torch's operator database, and forms of kernels, pass on the emulated GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import forms
import samples
import torch
from samples import Outcome

PATH = Path(__file__).resolve().parents[3] / "docs" / "emulated.md"

HEAD = """# What passes on the emulated GPU

Every program here runs as CUDA text on the emulated device (`CONTRIBUTING.md`), forward and, for floats, backward, and
its results are compared with eager's.

**Operators**: two samples of each entry of torch's operator database (`op_db`) that takes the dtype. *Equal*: eager's
results, or as near to those of float64 as eager's are. *Random*: random numbers, whose dtypes, shapes and strides are
compared. *Not to compare*: eager refuses the sample, or torch's own `aot_eager` does not give eager's result either.
Made by `python tests/python/opinfo/sweep.py --target emulate --together --count`.

| dtype | entries | samples | equal | random | not to compare | fail |
| --- | --- | --- | --- | --- | --- | --- |
"""

FORMS_HEAD = """
**Forms of kernels**: the programs of `tests/python/forms.py`, each in all of these dtypes, run by
`tests/python/test_forms.py`.

"""


def entries(dtype: str) -> int:
    """How many entries of the database take `dtype`."""
    return sum(getattr(torch, dtype) in op.supported_dtypes("cpu") for op in samples.database().values())


def row(dtype: str, outcomes: Iterable[Outcome]) -> str:
    statuses = [o.status for o in outcomes]
    equal, random = statuses.count("same"), statuses.count("random")
    apart = statuses.count("eager raises") + statuses.count("aot_eager")
    fail = len(statuses) - equal - random - apart
    return f"| {dtype} | {entries(dtype)} | {len(statuses)} | {equal} | {random} | {apart} | {fail} |"


def rows() -> dict[str, str]:
    """The lines of the table as it stands, by dtype."""
    lines = PATH.read_text().splitlines() if PATH.exists() else []
    cells = {line.split()[1]: line for line in lines if line.startswith("| ")}
    return {dtype: line for dtype, line in cells.items() if isinstance(getattr(torch, dtype, None), torch.dtype)}


def forms_text() -> str:
    names = [f"`{form.__name__}`" for form in forms.FORMS]
    dtypes = [str(dtype).removeprefix("torch.") for dtype in forms.DTYPES]
    return f"{len(names)} forms: {', '.join(names)}.\n{len(dtypes)} dtypes: {', '.join(dtypes)}.\n"


def write(lines: dict[str, str]) -> None:
    order = [str(dtype).removeprefix("torch.") for dtype in forms.DTYPES]
    PATH.write_text(
        HEAD + "".join(lines[dtype] + "\n" for dtype in order if dtype in lines) + FORMS_HEAD + forms_text()
    )
