"""The operators of one operand in torch's operator database."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import unary_ufuncs
from torch.testing._internal.opinfo.core import OpInfo


def operators(dtype: torch.dtype) -> dict[str, OpInfo]:
    """Those that take `dtype`, by name and, in brackets, variant."""
    return {
        op.name + (f" ({op.variant_test_name})" if op.variant_test_name else ""): op
        for op in unary_ufuncs
        if dtype in op.dtypes and not op.name.startswith("_refs.")
    }


def function(op: OpInfo, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """The operator with the numbers of its first sample."""
    numbers, _ = op.sample_kwargs("cpu", dtype, torch.ones(3, dtype=dtype))

    def f(x: Tensor) -> Tensor:
        return op.op(x, **numbers)

    return f
