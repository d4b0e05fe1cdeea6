"""Two samples of each entry of torch's operator database, in each dtype. `sweep.py` runs all samples.

On the emulated device one, in fewer dtypes: `sweep.py --target emulate` has the others.
"""

from __future__ import annotations

import counts
import forms
import pytest
import samples
import table
import torch

EMULATED_DTYPES = (torch.float32, torch.bfloat16, torch.int64)
DATABASE = samples.database()


@pytest.mark.parametrize("name", DATABASE)
def test_samples(name: str, device: str) -> None:
    op = DATABASE[name]
    dtypes, count = (EMULATED_DTYPES, 1) if device == "emulated" else (samples.DTYPES, 2)
    for dtype in dtypes:
        if dtype not in op.supported_dtypes(torch.get_default_device().type):
            continue
        for i, sample in enumerate(samples.samples(op, dtype, count)):
            with samples.quiet():
                outcome = samples.check(op, sample)
            assert not outcome.failed, f"{dtype} sample {i}: {outcome.status}: {outcome.detail}"


def test_the_table_has_a_row_for_each_entry() -> None:
    real = {dtype for dtype in samples.DTYPES if not dtype.is_complex}
    entries = {name for name, op in DATABASE.items() if real & set(op.supported_dtypes("cpu"))}
    assert set(table.rows()) == entries, "sweep.py --table writes the table anew"


def test_the_count_on_the_emulated_device_is_that_of_this_database() -> None:
    rows = {dtype: [int(cell) for cell in line.split("|")[2:-1]] for dtype, line in counts.rows().items()}
    assert set(rows) == {str(dtype).removeprefix("torch.") for dtype in forms.DTYPES}
    for dtype, (entries, drawn, *ways, fail) in rows.items():
        assert entries == counts.entries(dtype), "sweep.py --target emulate --together --count writes it anew"
        assert drawn == sum(ways) + fail and fail == 0
    assert counts.forms_text() in counts.PATH.read_text()
