"""Calls to ATen inside of compiled graphs: their results, effects, errors, and how they are counted."""

from __future__ import annotations

import gc

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import assert_no_fallbacks, check_function, compiled
from ourjit import higher_order
from torch import Tensor

pytestmark = pytest.mark.usefixtures("device")


def test_a_failed_check_raises_eagers_error() -> None:
    f = compiled(lambda x: torch.linalg.cholesky(x) * 2)
    for requires_grad in (False, True):
        x = torch.eye(3, requires_grad=requires_grad)
        assert torch.equal(f(x), x * 2)
        with pytest.raises(torch.linalg.LinAlgError, match="not positive-definite"):
            f(-x)
    assert_no_fallbacks()
    assert "aten._linalg_check_errors.default" in ourjit.stats()["library_calls"]


def test_gradients_pass_through_linear_algebra() -> None:
    x = torch.randn(4, 4, dtype=torch.float64)
    x = (x @ x.t() + torch.eye(4)).requires_grad_()
    check_function(lambda x: (torch.linalg.cholesky(x).sin(), torch.linalg.inv(x).sum()), x, tol=1e-8)
    check_function(lambda x: (x.sort(dim=1).values * 2, x.topk(2).values.exp(), torch.linalg.det(x)), x, tol=1e-8)


@pytest.mark.parametrize("left", [True, False])
def test_results_that_are_conjugated_lazily(left: bool) -> None:
    a, b = (torch.randn(3, 3, dtype=torch.complex64) for _ in range(2))
    lu, pivots = torch.linalg.lu_factor(a)
    expected = torch.linalg.lu_solve(lu, pivots, b, left=left, adjoint=True)
    got = compiled(lambda *args: torch.linalg.lu_solve(*args, left=left, adjoint=True))(lu, pivots, b)
    torch.testing.assert_close(got, expected)


def test_complex_numbers_and_constants() -> None:
    def f(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        z = torch.complex(x, y) * (1 - 2j) + complex(torch.nan, 1)
        return z.real.nan_to_num(), z.imag.exp(), torch.full((2,), 3j), (x * (0.5 + 1j)).abs()

    check_function(f, torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True))


def test_results_that_are_expanded() -> None:
    z = torch.randn(3, 4, dtype=torch.complex64, requires_grad=True)
    compiled(lambda z: z.sum(0))(z).sum().abs().backward()
    expected = torch.autograd.grad(z.sum(0).sum().abs(), z)[0]
    torch.testing.assert_close(z.grad, expected)


def test_results_that_nobody_wants() -> None:
    check_function(lambda x: F.max_pool2d(x, 2) + 1, torch.randint(0, 99, (1, 2, 4, 4)))
    lu, pivots = torch.linalg.lu_factor(torch.randn(3, 3))
    check_function(lambda lu, p: torch.lu_unpack(lu, p, unpack_pivots=False)[1] * 2, lu, pivots)


def test_results_that_are_none_where_traces_have_empty_ones() -> None:
    x, w, b = torch.randn(1, 3, 6), torch.randn(18, 6), torch.randn(18)

    def attend(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch._native_multi_head_attention(x, x, x, 6, 2, w, b, w[:6], b[:6], None, False)

    expected, got = attend(x, w, b), torch.compile(attend, backend="ourjit", fullgraph=True)(x, w, b)
    torch.testing.assert_close(got[0], expected[0])
    assert got[1] is expected[1] is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_products_with_an_addend_are_rounded_once(dtype: torch.dtype) -> None:
    x, w, b = (torch.randn(*sizes).to(dtype) for sizes in ((64, 48), (32, 48), (32,)))
    got = compiled(F.linear)(x, w, b)
    assert torch.equal(got, F.linear(x, w, b))


def test_calls_are_told_from_fallbacks() -> None:
    f = torch.compile(lambda x: (x.sort().values + torch.igamma(x, x), x.to(torch.uint16).float()), backend="ourjit")
    f(torch.rand(4))
    stats = ourjit.stats()
    assert set(stats["library_calls"]) == {"aten.sort.default", "aten.igamma.default"}
    assert {entry["reason"] for entry in stats["fallbacks"].values()} == {"dtype u16 is not native"}


def test_higher_order_operators_are_calls_for_as_long_as_their_graph_lives() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x * 2,)) + 1

    jit = compiled(f, dynamic=True)
    for x in (torch.ones(3), -torch.ones(3), torch.ones(5)):
        torch.testing.assert_close(jit(x), f(x))
    check_function(f, torch.randn(3, requires_grad=True))
    assert "ourjit.higher_order.cond" in ourjit.stats()["library_calls"]
    assert higher_order._calls
    del jit
    torch.compiler.reset()
    gc.collect()
    assert not higher_order._calls


def test_custom_operators_that_write_to_their_inputs_are_calls() -> None:
    with torch.library._scoped_library("ourjit_test", "FRAGMENT") as library:
        library.define("shift_(Tensor(a!) x, Tensor y) -> Tensor")
        library.impl("shift_", lambda x, y: x.add_(y) * 2, "CompositeExplicitAutograd")
        library.impl("shift_", lambda x, y: torch.empty_like(x), "Meta")

        def f(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            z = x * 2
            w = torch.ops.ourjit_test.shift_(z[1:], y)
            torch.ops.ourjit_test.shift_(x, y)
            return z + 1, w - 1

        check_function(f, torch.randn(3, 4), torch.randn(4))
        assert "ourjit.higher_order.auto_functionalized_v2" in ourjit.stats()["library_calls"]


def test_custom_operators_with_nested_results_are_calls() -> None:
    with torch.library._scoped_library("ourjit_test", "FRAGMENT") as library:
        library.define("parts(Tensor x, int n) -> (Tensor[], int, Tensor)")
        library.impl(
            "parts", lambda x, n: ([part * 2 for part in x.chunk(n)], n + 1, x.exp()), "CompositeExplicitAutograd"
        )

        def f(x: Tensor) -> tuple[Tensor, ...]:
            parts, n, y = torch.ops.ourjit_test.parts(x + 1, 3)
            return parts[0] * n, parts[2] + y[: parts[2].shape[0]]

        check_function(f, torch.randn(6, 4))
        check_function(f, torch.randn(6, 4), dynamic=True)
        assert "ourjit.higher_order.ourjit_test_parts" in ourjit.stats()["library_calls"]
