"""Products of matrices by each of those who can compute them, and how one of them is chosen."""

from __future__ import annotations

import math
from collections.abc import Callable

import check
import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import assert_same, check_function, compiled
from torch import Tensor

Product = Callable[[Tensor, Tensor], Tensor]

FORMS: dict[str, Product] = {
    "a b": lambda a, b: a @ b,
    "a b'": lambda a, b: a @ b.mT.contiguous().mT,
    "a' b": lambda a, b: a.mT.contiguous().mT @ b,
    "a' b'": lambda a, b: a.mT.contiguous().mT @ b.mT.contiguous().mT,
    "transposed": lambda a, b: (a @ b).mT.contiguous(),
    "bias": lambda a, b: torch.addmm(b.sum(0), a, b) if a.dim() == 2 else torch.baddbmm(b.sum(1, True), a, b),
    "matrix added": lambda a, b: torch.baddbmm(a @ b, a, b) if a.dim() == 3 else torch.addmm(a @ b, a, b),
    "scaled": lambda a, b: torch.addmm(a @ b, a, b, beta=0.5, alpha=2) if a.dim() == 2 else a @ b * 2,
}

SIZES = ((5, 64, 33), (1, 300, 40), (130, 7, 257))


@pytest.fixture(params=["ourjit", "fastest"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(check, "STRICT", {"strict": True, "matmul": request.param})
    return request.param


@pytest.mark.parametrize("form", FORMS)
def test_products(form: str, by: str) -> None:
    for m, n, k in SIZES:
        check_function(FORMS[form], torch.randn(m, k, requires_grad=True), torch.randn(k, n, requires_grad=True))


@pytest.mark.parametrize("form", FORMS)
def test_batches_of_products(form: str, by: str) -> None:
    for m, n, k in SIZES[:2]:
        check_function(FORMS[form], torch.randn(3, m, k, requires_grad=True), torch.randn(3, k, n, requires_grad=True))


@pytest.mark.parametrize("option", ["aten", "onednn"])
def test_others_are_asked_for_by_name(option: str) -> None:
    a, b = torch.randn(20, 30), torch.randn(30, 40)
    f = torch.compile(lambda a, b: a @ b, backend="ourjit", options={"strict": True, "matmul": option})
    assert_same(a @ b, f(a, b))


def test_products_of_steps_are_merged() -> None:
    """The gradient of a weight that each step of a recurrent network uses is one product over all steps."""

    def run(x: Tensor, h: Tensor, w: Tensor) -> Tensor:
        for step in x:
            h = torch.tanh(step + F.linear(h, w))
        return h

    check_function(run, torch.randn(6, 4, 64), torch.randn(4, 64), torch.randn(64, 64, requires_grad=True))
    # Forward; gradients of all states but the first; of the weight.
    assert ourjit.stats()["library_calls"]["aten.mm.default"] == 6 + 5 + 1


def test_views_of_operands(by: str) -> None:
    a, b = torch.randn(40, 90)[3:, 5:76], torch.randn(2, 71, 50)[1, :, ::2]
    check_function(lambda a, b: a @ b, a, b)
    check_function(lambda a, b: a.expand(3, -1, -1) @ b, a, b)
    check_function(lambda a, b: a[:0] @ b + (a[:, :0] @ b[:0]).sum(), a, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64])
def test_other_dtypes_are_left_to_aten(dtype: torch.dtype, by: str) -> None:
    a, b = (torch.randn(20, 20).mul(3).to(dtype) for _ in range(2))
    check_function(lambda a, b: a @ b, a, b)


def test_our_bits_do_not_depend_on_the_number_of_threads() -> None:
    def run(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a @ b, torch.bmm(a[:300].view(3, 100, 600), b.expand(3, -1, -1))

    f = torch.compile(run, backend="ourjit", options={"matmul": "ourjit", "strict": True})
    a, b = torch.randn(333, 600), torch.randn(600, 257)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(f(a, b))
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        for x, y in zip(results[0], result, strict=True):
            assert torch.equal(x, y)


def test_a_choice_is_measured_once_and_can_be_looked_at() -> None:
    a, b = torch.randn(3001, 5), torch.randn(5, 7)
    f = compiled(lambda a, b: a @ b)
    first = f(a, b)
    found = [p for p in ourjit.stats()["products"] if p["form"].startswith("[3001, 5] x [5, 7], Float")]
    assert len(found) == 1
    times = found[0]["microseconds"]
    assert set(times) == {"aten", "onednn", "ourjit"} and times["aten"] < math.inf
    assert times[found[0]["chosen"]] == min(times.values()) or found[0]["chosen"] == "aten"
    for _ in range(3):
        assert torch.equal(f(a, b), first)
    known = len(ourjit.stats()["products"])
    compiled(lambda a, b: a @ b)(torch.randn(2999, 5), b)  # nearly the same
    assert len(ourjit.stats()["products"]) == known


def test_deterministic_algorithms_leave_products_to_aten() -> None:
    a, b = torch.randn(61, 62), torch.randn(62, 63)
    torch.use_deterministic_algorithms(True)
    try:
        torch._dynamo.reset()
        assert torch.equal(compiled(lambda a, b: a @ b)(a, b), a @ b)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(p["form"].startswith("[61, 62] x") for p in ourjit.stats()["products"])


def test_an_unknown_way_is_an_error() -> None:
    with pytest.raises(Exception, match="option 'matmul' must be fastest, aten, onednn or ourjit, not 'mkl'"):
        torch.compile(lambda a: a @ a, backend="ourjit", options={"matmul": "mkl"})(torch.randn(2, 2))


def test_a_nan_stays_in_its_row(by: str) -> None:
    a, b = torch.randn(20, 30), torch.randn(30, 40)
    a[7, 3] = math.nan
    b[4, 5] = math.inf
    assert_same(a @ b, compiled(lambda a, b: a @ b)(a, b))
