"""Every operator that has a rule, forward and backward, against eager and an fp64 reference."""

from __future__ import annotations

import pytest
import torch
from op_cases import CASES, Case
from torch import Tensor
from torch._dynamo.utils import same

pytestmark = pytest.mark.usefixtures("device")

TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 2e-3, torch.float32: 1e-4, torch.float64: 1e-9}
PARAMETERS = [pytest.param(c, t, id=f"{c.name}-{str(t)[6:]}") for c in CASES for t in c.dtypes]


def run(function: object, groups: list[list[Tensor]], gradient: bool) -> tuple[list[Tensor], list[Tensor | None]]:
    """Results and, if asked for, gradients of a fixed weighting of them."""
    leaves = [x.detach().clone(memory_format=torch.preserve_format) for group in groups for x in group]
    wanted = [gradient and x.is_floating_point() for x in leaves]
    for x, w in zip(leaves, wanted, strict=True):
        x.requires_grad_(w)
    flat = iter(leaves)
    results = function([[next(flat) for _ in group] for group in groups])  # type: ignore[operator]
    if not gradient:
        return results, []
    smooth = [r for r in results if r.requires_grad]
    weights = [torch.linspace(0.5, 1.5, r.numel(), dtype=torch.float64).reshape(r.shape).to(r) for r in smooth]
    torch.autograd.backward(smooth, weights)
    return results, [x.grad for x in leaves]


def widen(groups: list[list[Tensor]]) -> list[list[Tensor]]:
    return [[x.double() if x.is_floating_point() else x for x in group] for group in groups]


def check(
    actual: list[Tensor | None], expected: list[Tensor | None], exact64: list[Tensor | None], case: Case, equal: bool
) -> None:
    assert len(actual) == len(expected)
    for k, (a, e, reference) in enumerate(zip(actual, expected, exact64, strict=True)):
        if e is None:
            assert a is None, f"{case.name}: result {k} exists"
            continue
        assert a is not None, f"{case.name}: result {k} is missing"
        assert (a.dtype, a.shape) == (e.dtype, e.shape), f"{case.name}: result {k}"
        if equal:
            # Moving data is exact; the exponentials among these cases may round differently.
            torch.testing.assert_close(a, e, rtol=1e-6 if e.is_floating_point() else 0, atol=0, equal_nan=True)
            continue
        wide = reference if reference is not None and reference.is_floating_point() else None
        tolerance = TOLERANCE.get(e.dtype, 0)
        assert same(e, a, wide, tol=tolerance, equal_nan=True), f"{case.name}: result {k} differs by {difference(a, e)}"


def difference(a: Tensor, b: Tensor) -> float:
    return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0


@pytest.mark.parametrize(("case", "dtype"), PARAMETERS)
def test_operator(case: Case, dtype: torch.dtype) -> None:
    torch._dynamo.reset()
    groups = [[x.to(torch.get_default_device()) for x in group] for group in case.operands(dtype)]
    gradient = case.gradient and dtype.is_floating_point
    compiled = torch.compile(case.apply, backend="ourjit", fullgraph=True, dynamic=False, options={"strict": True})
    expected, expected_grads = run(case.apply, groups, gradient)
    exact, exact_grads = run(case.apply, widen(groups), gradient)
    actual, grads = run(compiled, groups, gradient)
    check(actual, expected, exact, case, case.exact)
    check(grads, expected_grads, exact_grads, case, False)


SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-30, -1e30, 3e38, float("inf"), -float("inf"), float("nan"), 0.5, -0.5])
UNARY_SPECIAL = [
    c
    for c in CASES
    # ATen's gelu overflows within: gelu(inf) is nan there.
    if not c.name.startswith("gelu")
    and len(c.groups) > 6
    and len(c.groups[0]) == 1
    and torch.float32 in c.dtypes
    and not c.name.startswith("to_")
]


@pytest.mark.parametrize("case", UNARY_SPECIAL, ids=lambda c: c.name)
def test_special_values(case: Case) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(case.apply, backend="ourjit", fullgraph=True, dynamic=False, options={"strict": True})
    x = SPECIAL.to(torch.get_default_device())
    for a, e in zip(compiled([[x]]), case.apply([[x]]), strict=True):
        torch.testing.assert_close(a, e, equal_nan=True, rtol=1e-5, atol=1e-6)
