"""Each form of kernel for each dtype, forward and backward, against eager in strict mode."""

from __future__ import annotations

from typing import Any

import pytest
from check import check_function
from forms import DTYPES, FORMS, operands

pytestmark = pytest.mark.usefixtures("device")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_form(form: Any) -> None:
    def of_each_dtype(given: list[Any]) -> list[Any]:
        return [form(*some) for some in given]

    check_function(of_each_dtype, [operands(dtype) for dtype in DTYPES], tol=1e-3)
