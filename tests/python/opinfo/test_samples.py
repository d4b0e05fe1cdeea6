"""Two samples of each entry of torch's operator database, in each dtype, and the table of how they are computed.

`sweep.py` runs all samples.
"""

from __future__ import annotations

import pytest
import samples
import table
from ourjit import _C

pytestmark = pytest.mark.skipif(not _C.HAS_CPU_TARGET, reason="this build compiles for GPUs only")

DATABASE = samples.database()
ROWS = table.rows()


@pytest.mark.parametrize("name", DATABASE)
def test_samples(name: str) -> None:
    op, real = DATABASE[name], []
    for dtype in samples.DTYPES:
        if dtype not in op.supported_dtypes("cpu"):
            continue
        for i, sample in enumerate(samples.samples(op, dtype, 2)):
            with samples.quiet():
                outcome = samples.check(op, sample)
            assert not outcome.failed, f"{dtype} sample {i}: {outcome.status}: {outcome.detail}"
            real += [] if dtype.is_complex else [outcome]
    assert table.row(name, real) == ROWS.get(name), "sweep.py --table writes the table anew"


def test_the_table_has_no_other_rows() -> None:
    assert set(ROWS) == set(DATABASE)
