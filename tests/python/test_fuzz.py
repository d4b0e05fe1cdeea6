"""Random programs, compiled and eager. `python tests/python/fuzz/run.py` runs more, and makes small what fails.

OURJIT_FUZZ_PROGRAMS says how many programs; every one is a seed, and one in eight goes through Dynamo.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from fuzz.generate import draw
from fuzz.oracle import check
from fuzz.shrink import report

# Not mended yet: which failures are let pass, by how their kind begins.
KNOWN = (
    "Unsupported: option 'strict' is set and these operators would run through ATen: aten.copy.default",  # any sizes
)

PROGRAMS = int(os.environ.get("OURJIT_FUZZ_PROGRAMS", "1000"))
CHUNK = 50


@pytest.mark.parametrize("first", range(0, PROGRAMS, CHUNK))
def test_programs(first: int) -> None:
    reports = []
    for seed in range(first, min(first + CHUNK, PROGRAMS)):
        with warnings.catch_warnings(action="ignore"):
            failure = check(draw(seed), direct=seed % 8 != 0)
            if failure is not None and not failure.excuse and not failure.kind.startswith(KNOWN):
                reports.append(report(seed, failure, direct=seed % 8 != 0, seconds=5))
    assert not reports, "\n\n".join(reports)


def test_kernels_stay_within_their_tensors() -> None:
    """Programs between pages that may not be touched: a process that dies is a failure."""
    script = Path(__file__).parent / "fuzz" / "run.py"
    command = [sys.executable, str(script), "--direct", "--seeds", "50000:50200"]
    done = subprocess.run(
        command, env=os.environ | {"OURJIT_GUARD_PAGES": "1"}, capture_output=True, text=True, timeout=600, check=False
    )
    assert "0 crashes" in done.stdout, done.stdout + done.stderr
