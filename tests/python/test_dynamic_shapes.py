"""Graphs for all sizes: symbols as sizes, numbers, positions and floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from check import assert_no_fallbacks, assert_same, check_function, compiled, kernels_made
from torch import Tensor

pytestmark = pytest.mark.usefixtures("device")


def test_shapes_that_are_equal_by_what_was_guarded() -> None:
    x = torch.randn(16, requires_grad=True)
    check_function(lambda x: x.view(4, 2, 2, 1, 1).sin().reshape([2, 2, 4, 1, 1]) * 2, x, dynamic=True)
    check_function(
        lambda x: (x.reshape([2, 2, 4, 1]), x.t().reshape([8, 2]).sum(0)), x.detach().view(4, 4), dynamic=True
    )


def test_joined_sizes_that_are_equal_by_what_was_guarded() -> None:
    """Half of 33 is 17, as guards say: two names of one size."""
    x, y = torch.randn(2, 33, 3), torch.randn(2, 17, 3)
    check_function(lambda x, y: (torch.stack([x[:, ::2], y], -3), torch.cat([y, x[:, ::2]], 0)), x, y, dynamic=True)


def test_pooled_sizes_that_are_equal_by_what_was_guarded() -> None:
    x = torch.randn(2, 6, 12, requires_grad=True)
    check_function(lambda x: F.max_pool2d(x, 5, 1).reshape([2, 1, -1, 8]), x, dynamic=True)


def test_degrees_of_freedom_below_zero() -> None:
    check_function(lambda x: [x.var(-1, correction=c) for c in (1.3, 4, 10)], torch.randn(2, 4), dynamic=True)


FOR_ALL_SIZES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda x: x.softmax(dim=-1) * 2,
    "sum_columns": lambda x: x.sin().sum(dim=0),
    "layer_norm": lambda x: F.layer_norm(x, (x.shape[-1],)).relu(),
    "cat": lambda x: torch.cat([x, x.exp()], dim=0),
    "reshape": lambda x: x.reshape(x.shape[0] * x.shape[1]).tanh(),
    "embedding": lambda x: F.embedding(torch.arange(x.shape[0]), x) + x.shape[1],
    "std": lambda x: x.std(0) + x.var(1).sum(),
    "ratio": lambda x: x * (x.shape[0] / x.shape[1]) + math.sqrt(x.shape[1]),
    "attention": lambda x: F.scaled_dot_product_attention(x[None], x[None], x[None]),
    "full": lambda x: x + torch.full((x.shape[1],), x.shape[0] * 0.3),
    "some_rows": lambda x: x[: int(x.shape[0] / 2)].sum(0) + x[: math.ceil(x.shape[0] / 2)].sum(0),
    "half_of_blocks": lambda x: x.new_ones(int(math.ceil(x.shape[0] / 16) * 16 * 0.5)) * x.sum(),
    "resized": lambda x: F.interpolate(x[None, None], scale_factor=1.5),
}


@pytest.mark.parametrize("name", FOR_ALL_SIZES)
def test_dynamic_shapes(name: str) -> None:
    """One compilation serves several sizes, forward and backward."""
    fn = FOR_ALL_SIZES[name]
    f = compiled(fn, dynamic=True)
    for shape in ((4, 6), (5, 8), (17, 130), (3, 2)):
        x = torch.randn(shape, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        expected, got = fn(x), f(y)
        expected.sin().sum().backward()
        got.sin().sum().backward()
        assert_same(expected, got, what="output")
        assert_same(x.grad, y.grad, what="gradient")
    assert_no_fallbacks()


@pytest.mark.parametrize("from_data", [False, True])
def test_numbers_of_any_sign(from_data: bool) -> None:
    """Python rounds quotients of ints down; numbers that are no sizes may be negative."""

    def fn(x: Tensor, n: int | Tensor) -> list[Tensor]:
        k = int(n.item()) if isinstance(n, Tensor) else n
        numbers = (k, k // 3, k % 5, (k * 4) // 4, (k + 7) // 2, max(k, 0), min(k, 3), (k // 2) * 3 % 7)
        return [x * number for number in numbers] + [torch.full((3,), k // 2), torch.arange(4) * k]

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        f = compiled(fn, dynamic=True)
        for n in (3, -7, 0, -1, 12):
            x = torch.randn(5)
            argument = torch.tensor(n) if from_data else n
            assert_same(fn(x, argument), f(x, argument), what=f"output for {n}")
    assert_no_fallbacks()


def test_saved_numbers_of_any_sign() -> None:
    """The backward graph of a roll by n is one by -n, which is saved for it."""

    def fn(x: Tensor, n: int) -> list[Tensor]:
        return [x.roll(n - 7, 1), x.roll((n, -x.shape[1]), (0, 1)), x.roll(n), x.roll(x.shape[0] // 2, 0)]

    f = compiled(fn, dynamic=True)
    for shape, n in (((4, 5), 3), ((6, 3), -8), ((3, 7), 14), ((3, 6), 0), ((5, 4), 21)):
        for x in (torch.randn(shape, requires_grad=True), torch.randn(shape[::-1]).t().requires_grad_()):
            y = x.detach().requires_grad_()
            expected, got = fn(x, n), f(y, n)
            weight = torch.randn(shape)
            for out in (expected, got):
                sum(((o * weight).sum() for o in out), torch.zeros(())).backward()
            assert_same(expected, got, what="output")
            assert_same(x.grad, y.grad, what=f"gradient for {n}")
    assert_no_fallbacks()


POSITIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "slice": lambda x, n: x[n:] * 2,
    "slice from the end": lambda x, n: x[-n:] * 2,
    "slice to": lambda x, n: x[:n] * 2,
    "select": lambda x, n: x[n] * 2,
    "select_scatter": lambda x, n: torch.select_scatter(x, x[0] * 2, 0, n),
    "slice_scatter": lambda x, n: torch.slice_scatter(x, x[:2] * 2, 0, n, n + 2),
    "narrow": lambda x, n: x.narrow(0, n, 1) * 2,
    "diagonal": lambda x, n: x.diagonal(n).sum() * x,
}


@pytest.mark.parametrize("name", POSITIONS)
def test_positions_that_are_arguments(name: str) -> None:
    """Negative ones count from the end, whether they were so at the first call or not."""
    fn = POSITIONS[name]
    f = compiled(fn, dynamic=True)
    for n in (-3, -4, 2, 3, -5):
        x, y = (torch.arange(30.0).view(10, 3).requires_grad_() for _ in range(2))
        expected, got = fn(x, n), f(y, n)
        assert_same(expected, got, what="output")
        assert_same(*(torch.autograd.grad(o.square().sum(), i) for o, i in ((expected, x), (got, y))), what="gradient")
    assert_no_fallbacks()


def test_sizes_that_guards_make_one() -> None:
    """A slice of computed length broadcasts where it has one element."""
    check_function(lambda x: x * x + x[:, :, -2:2:2], torch.randn(1, 2, 2), dynamic=True)
    check_function(lambda x: torch.cat([x[:1, :0], x[-2:2:2]], -1), torch.randn(2, 2), dynamic=True)
    f = compiled(lambda x: x * 2 + x[-2:2:2], dynamic=True)
    for n in (2, 3):
        x = torch.randn(n, 3)
        torch.testing.assert_close(f(x), x * 2 + x[-2:2:2])


def test_sizes_as_numbers() -> None:
    f = compiled(lambda x: (x.sum() / x.shape[0], x.shape[0] * 2, x.new_ones(x.shape[0] + 1)), dynamic=True)
    for n in (5, 9):
        got = f(torch.ones(n, 3))
        assert got[0].item() == 3 and got[1] == 2 * n and got[2].shape == (n + 1,)


FACTORS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": lambda x, a: torch.add(x, x.sin(), alpha=a) - torch.sub(x, x.cos(), alpha=a * 2),
    "lerp": lambda x, a: torch.lerp(x, x.sin(), a),
    "addcmul": lambda x, a: torch.addcmul(x, x.sin(), x.cos(), value=a),
    "addcdiv": lambda x, a: torch.addcdiv(x, x.sin(), x.exp(), value=-a),
    "clamp": lambda x, a: x.clamp(1 - a, 1 + a) + x.clamp(-1, a) + x.clamp_min(a) * x.clamp_max(a),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_that_are_arguments(name: str) -> None:
    fn = FACTORS[name]
    f = compiled(fn, dynamic=True)
    for a in (0.25, 0.3, -1.5):
        x = torch.randn(5, 7, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        expected, got = fn(x, a), f(y, a)
        expected.sin().sum().backward()
        got.sin().sum().backward()
        assert_same(expected, got, what="output")
        assert_same(x.grad, y.grad, what="gradient")
    assert_no_fallbacks()


def test_floats_that_are_read_from_tensors() -> None:
    def f(x: Tensor, scale: Tensor) -> Tensor:
        a = (scale + 1).item()
        return x * (1 - 0.9**a) + torch.full_like(x, a)

    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        g = compiled(f)
        for value in (0.5, 2.0):
            x = torch.randn(5)
            assert_same(f(x, torch.tensor(value)), g(x, torch.tensor(value)))
    assert_no_fallbacks()


def test_results_between_whose_elements_are_gaps_may_have_none() -> None:
    """What lies between the first and the last element is then less than nothing."""

    def fn(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.abs()
        return y.diagonal(1, 1, 0)[-1:0:1].relu_(), y + 1

    f = compiled(fn, dynamic=True)
    for rows in (8, 1, 5):
        x = torch.randn(rows, 1)
        expected, got = fn(x), f(x)
        assert_same(expected, got)
        assert expected[0].stride() == got[0].stride()
        assert got[0].untyped_storage().nbytes() >= 0
    assert_no_fallbacks()


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "a dim split": lambda x: x.view(-1, 2, x.shape[1], x.shape[2]),
    "two dims of a slice joined": lambda x: x[1:].flatten(1),
    "a row reshaped": lambda x: x[:, 1].view(-1, 2, x.shape[2]),
    "rows of a reshaped tensor": lambda x: x.view(-1, 2, x.shape[1], x.shape[2])[:, 1],
    "a piece reshaped": lambda x: x.split(2, 0)[1].view(-1, 2, *x.shape[1:]),
    "dims of another order": lambda x: x.permute(1, 0, 2).view(x.shape[1], -1, 2, x.shape[2]),
    "windows": lambda x: x.unfold(0, 2, 1),
    "strides of its own": lambda x: x.as_strided((2, x.shape[2]), (x.stride(0), x.stride(2))),
}
LAYOUTS: dict[str, Callable[[int], Tensor]] = {
    "contiguous": lambda n: torch.randn(n, 5, 6),
    "with gaps": lambda n: torch.randn(n + 1, 10, 12)[1:, ::2, :6],
    "in another order": lambda n: torch.randn(6, 5, n).permute(2, 1, 0),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", VIEWS)
def test_views_of_inputs(name: str, layout: str) -> None:
    """They are views of any sizes: a copy would be taken for the memory that the view has in eager."""
    fn = VIEWS[name]
    f = compiled(lambda x: (fn(x), x * 2), dynamic=True)
    for n in (4, 8):
        x = LAYOUTS[layout](n)
        if layout != "contiguous" and "joined" in name:
            continue  # no view in eager
        expected, (got, _) = fn(x), f(x)
        assert torch.equal(expected, got) and expected.stride() == got.stride()
        assert expected.data_ptr() == got.data_ptr()
    assert_no_fallbacks()


def test_gradient_through_views_of_inputs() -> None:
    x = torch.randn(8, 10, 12, requires_grad=True)
    check_function(lambda x: (x[:, ::2].view(-1, 2, 5, 12), x[:, 1].view(-1, 2, 12)), x, dynamic=True)


def test_an_input_reshaped_and_then_written() -> None:
    check_function(lambda x: (x.view(-1, 2, 5), x.mul_(2))[0], torch.randn(8, 10)[:, ::2], dynamic=True)


WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "flattened": lambda x: x.flatten().mul_(2),
    "half": lambda x: x[x.shape[0] // 2 :].mul_(2),
    "half of what was written": lambda x: x.mul_(2)[x.shape[0] // 2 :],
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_views_of_inputs_that_are_written(name: str, grad: bool) -> None:
    """The caller sees the input, wherever it lies in its memory."""
    fn = WRITTEN[name]
    f = compiled(fn, dynamic=True)
    for n in (4, 6):
        memory = torch.arange(40.0, requires_grad=grad)
        x, y = ((memory * 1).as_strided((1, n, 1), (4, 2, 2), 3) for _ in range(2))
        if "half" in name:
            x, y = x[0], y[0]
        expected, got = fn(x), f(y)
        assert torch.equal(expected, got) and torch.equal(x, y)
        assert expected.storage_offset() == got.storage_offset() and expected.stride() == got.stride()
        assert got.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


@pytest.mark.parametrize("grad", [False, True])
def test_views_of_what_is_computed(grad: bool) -> None:
    """They share memory with each other, returned or not what they are views of."""

    def f(x: Tensor) -> tuple[Tensor, ...]:
        y, z = x * 2, x * 3
        return y, y[:, 1].view(-1, 2, x.shape[2]), z[1:].flatten(1), z.view(-1, 2, *x.shape[1:])[:, 1]

    g = compiled(f, dynamic=True)
    for n in (4, 8):
        x = torch.randn(n, 5, 6, requires_grad=grad)
        expected, got = f(x), g(x)
        for a, b in zip(expected, got, strict=True):
            assert torch.equal(a, b) and a.stride() == b.stride() and a.storage_offset() == b.storage_offset()
        roots = [t.untyped_storage().data_ptr() for t in got]
        assert roots[0] == roots[1] != roots[2] == roots[3]


def test_a_view_of_a_value_that_is_also_written_to_an_input_is_its_own() -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        z = y * 2
        x.copy_(z)
        return z[y.shape[0] // 2 :]

    x, y = torch.zeros(6), torch.arange(6.0)
    assert compiled(f, dynamic=True)(x, y).untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


def test_a_reshaped_view_of_one_row() -> None:
    numbers = torch.tensor([1, 4, 1, 5, 1, 5, 1])
    x = numbers.as_strided((1, 1, 3, 1), (6, 6, 2, 2), 1)
    f = compiled(lambda x: x.reshape([1, 1, -1, 3, 1, 1]), dynamic=True)
    assert f(x).flatten().tolist() == [4, 5, 5]
    assert f(x).data_ptr() == x.data_ptr()


def test_size_that_is_one_for_the_first_input() -> None:
    """One computed from others is 1 now; guards say so, and another size is compiled for any."""
    fn = compiled(lambda x: (x.unfold(0, 2, 1) * 2, x[1:] + x[:1]), dynamic=True)
    for size in (2, 3, 7, 2):
        x = torch.randn(size, 3)
        for got, expected in zip(fn(x), (x.unfold(0, 2, 1) * 2, x[1:] + x[:1]), strict=True):
            assert torch.equal(got, expected)


def test_gradient_through_a_size_that_is_one() -> None:
    fn = compiled(lambda x: (x[1:] * x[:1]).sin(), dynamic=True)
    for size in (2, 5, 2):
        x = torch.randn(size, 3, requires_grad=True)
        (got,) = torch.autograd.grad(fn(x).sum(), x)
        (expected,) = torch.autograd.grad((x[1:] * x[:1]).sin().sum(), x)
        torch.testing.assert_close(got, expected)


def test_size_that_is_one_is_known_to_what_was_computed_before() -> None:
    def f(x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return y.unfold(1, 2, 1).sum(-1)

    fn = compiled(f, dynamic=True)
    for size in (2, 3, 2):
        x, y = torch.randn(size, 3), torch.randn(0, size)
        before = x.clone()
        assert torch.equal(fn(x, y), y.unfold(1, 2, 1).sum(-1))
        assert torch.equal(x, before + 1)
    assert_no_fallbacks()


def test_writes_to_slices_with_steps_that_may_be_empty() -> None:
    def f(x: Tensor) -> Tensor:
        some = x[2:-1:2]
        some.mul_(some)
        return x + 1

    g = compiled(f, dynamic=True)
    for rows in (7, 3, 4, 5):
        x = torch.randn(rows, 2, 1)
        y = x.clone()
        assert_same(f(x), g(y))
        assert torch.equal(x, y)
    assert_no_fallbacks()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8], ids=str
)
@pytest.mark.parametrize("rows", [5, 200])
def test_extremes_of_columns_whose_rows_are_reduced_first(rows: int, dtype: torch.dtype) -> None:
    """Blocks of rows have partial extremes, which nothing of a row may start: it is not reduced yet."""

    def f(x: Tensor) -> tuple[Tensor, ...]:
        y = x - x.sum(1, keepdim=True).to(x.dtype)
        return y.amax(0), y.amin(0), (y > 1).any(0), (y > 1).all(0), y.to(torch.float32).softmax(1).softmax(0)

    x = (torch.randn(rows, 8) * 9).to(dtype)
    for dynamic in (False, True):
        torch.compiler.reset()
        assert_same(f(x), compiled(f, dynamic=dynamic)(x), tol=2e-2 if dtype == torch.bfloat16 else 1e-4)
    if dtype.is_floating_point:
        x[rows // 2, 3] = torch.nan
        assert_same(f(x), compiled(f)(x), tol=2e-2 if dtype == torch.bfloat16 else 1e-4)
        x = torch.full((rows, 8), -torch.inf, dtype=dtype)
        assert_same(x.amax(0), compiled(lambda x: (x.clone() + x.sum(1, keepdim=True).clamp(max=0)).amax(0))(x))


def test_gradients_with_a_factor_that_changes() -> None:
    """One graph serves all factors, forward and backward."""
    fn = compiled(lambda x, y, factor: torch.add(x.sin(), y, alpha=factor) / factor, dynamic=True)
    made = []
    for factor in (0.5, 0.25, 3.5):
        x, y = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
        got = torch.autograd.grad(fn(x, y, factor).sum(), (x, y))
        torch.testing.assert_close(got, (x.detach().cos() / factor, torch.ones(5)))
        made.append(kernels_made())
    assert made[0] == made[-1]
