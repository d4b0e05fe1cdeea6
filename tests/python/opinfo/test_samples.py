"""Two samples of each entry of torch's operator database, in each dtype. `sweep.py` runs all samples."""

from __future__ import annotations

import pytest
import samples
import table
from ourjit import _C

pytestmark = pytest.mark.skipif(not _C.HAS_CPU_TARGET, reason="this build compiles for GPUs only")

DATABASE = samples.database()


@pytest.mark.parametrize("name", DATABASE)
def test_samples(name: str) -> None:
    op = DATABASE[name]
    for dtype in samples.DTYPES:
        if dtype not in op.supported_dtypes("cpu"):
            continue
        for i, sample in enumerate(samples.samples(op, dtype, 2)):
            with samples.quiet():
                outcome = samples.check(op, sample)
            assert not outcome.failed, f"{dtype} sample {i}: {outcome.status}: {outcome.detail}"


def test_the_table_has_a_row_for_each_entry() -> None:
    real = {dtype for dtype in samples.DTYPES if not dtype.is_complex}
    entries = {name for name, op in DATABASE.items() if real & set(op.supported_dtypes("cpu"))}
    assert set(table.rows()) == entries, "sweep.py --table writes the table anew"
