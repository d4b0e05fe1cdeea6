"""The largest errors of f32 functions: at most 2 units in the last place, or eager's error and one."""

from __future__ import annotations

import pytest
from accuracy import count, functions, measure, some

# Left of zero torch sums millions of terms of either sign, in f64 too: its digits are gone, and there is no reference.
NO_REFERENCE = {"polygamma (polygamma_n_4)"}


@pytest.mark.parametrize("name", [name for name in functions() if name not in NO_REFERENCE])
def test_accuracy(name: str) -> None:
    ours, eager = measure(functions()[name], some(count(name)))
    assert ours.units <= max(2, eager.units + 1), f"{ours} instead of eager's {eager}"
