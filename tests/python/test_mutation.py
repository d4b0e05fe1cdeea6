"""Mutated inputs, aliases and views: what eager leaves behind, the compiled function leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from check import assert_same, check_function, compiled
from torch import Tensor

pytestmark = pytest.mark.usefixtures("device")


def add_in_place(x: Tensor) -> Tensor:
    x.add_(1)
    return x * 2


def swap_halves(x: Tensor) -> None:
    low = x[:2].clone()
    x[:2] = x[2:]
    x[2:] = low


def overlapping_slices(x: Tensor) -> None:
    x[:, 2:] = x[:, 2:] + 1
    x[:, 1:3] = x[:, :2] * 2


def through_a_view(x: Tensor) -> Tensor:
    y = x.t()
    y[0].mul_(3)
    return x.sum(dim=0)


def read_after_write(x: Tensor, y: Tensor) -> Tensor:
    before = x + y
    x.copy_(before * 2)
    return before + x


def two_inputs(x: Tensor, y: Tensor) -> Tensor:
    x.add_(y)
    y.sub_(x)
    return x * y


def to_itself_transposed(x: Tensor) -> None:
    x.copy_(x.t().clone() + 1)


def swap(x: Tensor, y: Tensor) -> Tensor:
    before = x.clone()
    x.copy_(y)
    y.copy_(before)
    return x - y


def joined_before(x: Tensor) -> Tensor:
    return (torch.cat([x, x]), torch.stack([x, x]), x.neg_())[:2]


def moved_before(x: Tensor) -> Tensor:
    rows = torch.arange(3)
    before = x.roll(1), x.flip(0), F.pad(x, (1, 1)), x[rows], x.index_select(1, rows), x.gather(0, rows[:, None])
    x.fill_(7)
    return before


def view_of_what_was_read_before(x: Tensor) -> Tensor:
    y = torch.cat([x, x[:, :0]], 1)
    y[:, 2:].neg_()
    x.sub_(x, alpha=2)
    return y.select(0, 0)


def written_transposed(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Rows of what is written through the transposed view are reduced: square, so that all shapes fit."""
    z = x.transpose(0, 1)
    z.mul_(z)
    return torch.cat([y, z]), F.cross_entropy(x, torch.tensor([2, 2, 0, 1]))


@pytest.mark.parametrize(
    "fn",
    [add_in_place, swap_halves, overlapping_slices, through_a_view, read_after_write, two_inputs,
     to_itself_transposed, swap, joined_before, moved_before, view_of_what_was_read_before, written_transposed],
)  # fmt: skip
def test_inputs_after_the_call(fn: Callable[..., Any]) -> None:
    args = [torch.randn(4, 4) for _ in range(fn.__code__.co_argcount)]
    check_function(fn, *args)


WINDOWS: dict[str, tuple[Callable[[], Tensor], int, int, int]] = {
    "in a row": (lambda: torch.arange(9.0), 0, 2, 3),
    "side by side, with elements behind them": (lambda: torch.arange(9.0), 0, 2, 2),
    "to the end of a row": (lambda: torch.arange(8.0), 0, 2, 3),
    "in columns": (lambda: torch.arange(40.0).view(4, 10).t(), 0, 2, 4),
    "of a tensor with gaps": (lambda: torch.arange(72.0).view(4, 18)[:, ::2], 1, 2, 3),
    "one, longer than the step": (lambda: torch.arange(15.0).view(3, 5).t(), 1, 3, 2),
    "one, with elements behind it": (lambda: torch.arange(15.0).view(3, 5).t(), 1, 2, 5),
    "one, of a tensor with gaps": (lambda: torch.arange(16.0).view(4, 4)[:, ::2], 1, 1, 2),
    "side by side, in columns": (lambda: torch.arange(36.0).view(4, 9).t(), 1, 2, 2),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_that_are_written(name: str) -> None:
    """What lies between them stays, and the whole keeps its strides."""
    make, dim, size, step = WINDOWS[name]
    check_function(lambda x: (x.unfold(dim, size, step).mul_(2), x * 1), make())


@pytest.mark.parametrize("dynamic", [False, True])
def test_what_is_written_to_an_expanded_view_is_all_that_counts(dynamic: bool) -> None:
    x = torch.tensor([[1, float("inf")], [1e30, 3]])
    check_function(lambda x: (x.expand(1, -1, 2).fill_(0.1), x * 1)[1], x, dynamic=dynamic)
    check_function(lambda x: x.t().expand_as(x).fill_(2), x > 2, dynamic=dynamic)


def test_output_is_input() -> None:
    x = torch.randn(3)
    got = compiled(lambda x: (x, x + 1))(x)
    assert got[0] is x or got[0].data_ptr() == x.data_ptr()


def test_output_is_view_of_input() -> None:
    x = torch.randn(4, 6)
    view, _ = compiled(lambda x: (x[1:].t(), x + 1))(x)
    assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    assert torch.equal(view, x[1:].t()) and view.stride() == x[1:].t().stride()


def test_outputs_share_memory_as_in_eager() -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x + 1
        return y, y.view(-1)[1:]

    x = torch.randn(3, 4)
    a, b = compiled(f)(x)
    assert torch.equal(a, f(x)[0]) and torch.equal(b, f(x)[1])
    a.fill_(5)
    assert torch.equal(b, torch.full((11,), 5.0))


def test_same_output_twice() -> None:
    check_function(lambda x: ((y := x.exp()), y, y + 1), torch.randn(5, requires_grad=True))


def test_results_of_two_calls_are_apart() -> None:
    f = compiled(lambda x: x * 2)
    first = f(torch.ones(1000))
    second = f(torch.zeros(1000))
    assert torch.all(first == 2) and torch.all(second == 0)


def test_saved_activations_of_two_calls_are_apart() -> None:
    f = compiled(lambda x: (x.sin().exp() * x).sum())
    x, y = torch.randn(100, requires_grad=True), torch.randn(100, requires_grad=True)
    a, b = f(x), f(y)
    b.backward()
    a.backward()
    for t in (x, y):
        s = t.detach().clone().requires_grad_()
        (s.sin().exp() * s).sum().backward()
        torch.testing.assert_close(t.grad, s.grad)


@pytest.mark.parametrize("offset", [0, 1, 3, 8])
def test_storage_offset_is_not_compiled_in(offset: int) -> None:
    """A kernel compiled for an aligned tensor serves one at any offset."""
    f = compiled(lambda x, y: x * y + 1)
    base, other = torch.randn(2, 300)
    f(base[:256], other[:256])
    got = f(base[offset : offset + 256], other[:256])
    assert torch.equal(got, base[offset : offset + 256] * other[:256] + 1)


def test_outputs_of_one_value_have_gradients_of_their_own() -> None:
    def f(x: Tensor) -> tuple[Tensor, ...]:
        y = x.sin()
        return y.detach(), y.t(), y * 2

    check_function(f, torch.randn(3, 4, requires_grad=True))
    check_function(lambda x: f(x)[:2], torch.randn(3, 4, requires_grad=True))


def test_other_elements_of_what_a_kernel_stores_are_computed_anew() -> None:
    def f(x: Tensor) -> tuple[Tensor, ...]:
        y = x * 2
        return y, y.t().softmax(1), y + y.t(), (y.t() - y.t().amax(1, keepdim=True)).exp()

    for size in (3, 16, 70):
        check_function(f, torch.randn(size, size, requires_grad=True))


def test_reads_beyond_a_tensor_see_its_storage() -> None:
    base = torch.arange(20.0)
    f = torch.compile(lambda x: x.as_strided((2, 2), (1, 2), 10) + 1, backend="ourjit")
    assert torch.equal(f(base[3:7]), base.as_strided((2, 2), (1, 2), 10) + 1)


def test_gradients_see_inputs_as_they_were_before_a_write() -> None:
    """What the backward computes again must not be computed from what the forward has left behind."""

    def chosen(values: Tensor, index: Tensor, x: Tensor) -> Tensor:
        picked = values[:, index]
        index.add_(1)
        return torch.maximum(picked, x) * picked

    def widened(values: Tensor, x: Tensor) -> Tensor:
        wide = values.expand(64, 8) * 2 + 1
        values.mul_(-3)
        return torch.where(wide > 6, x, wide).sin() * x

    values, index = torch.randint(1, 9, (2, 3, 4, 4)), torch.randint(2, (2, 2))
    for fn, arguments in (
        (chosen, (values, index, torch.tensor([4.5], requires_grad=True))),
        (widened, (torch.randint(1, 9, (8,)), torch.randn(64, 8, requires_grad=True))),
    ):
        left, right = ([t.detach().clone().requires_grad_(t.requires_grad) for t in arguments] for _ in range(2))
        fn(*left).sin().sum().backward()
        compiled(fn)(*right).sin().sum().backward()
        assert_same(left, right)
        assert_same(left[-1].grad, right[-1].grad, what="gradient")
