"""One case for each operator that the compiler turns into its own kernels: a function and operands of many shapes.

A case is compiled once: its function is applied to every group of operands, so that one graph covers broadcasting,
0-d, empty, size-one and non-contiguous tensors.
"""

from op_cases import images, indexing, nn, pointwise, reductions, special, views
from op_cases.case import Case

CASES: list[Case] = [
    *pointwise.CASES,
    *special.CASES,
    *views.CASES,
    *reductions.CASES,
    *indexing.CASES,
    *nn.CASES,
    *images.CASES,
]

__all__ = ["CASES", "Case"]
