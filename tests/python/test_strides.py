"""Outputs and their views lie in memory as eager's do: operators that torch traces with other strides than it runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from check import check_function, compiled, strides
from ourjit import eager_strides
from torch import Tensor
from torch._subclasses import FakeTensorMode

aten = torch.ops.aten


def numbers(*sizes: int, order: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Tensor:
    """Of these sizes, whose dims lie in memory in this order, the outermost first; in reverse if none is given."""
    order = order or tuple(reversed(range(len(sizes))))
    generator = torch.Generator("cpu").manual_seed(0)
    memory = torch.randn([sizes[dim] for dim in order], generator=generator).to(dtype)
    return memory.permute([order.index(dim) for dim in range(len(sizes))])


def rows(*sizes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return numbers(*sizes, order=tuple(range(len(sizes))), dtype=dtype)


def channels_last(*sizes: int) -> Tensor:
    return numbers(*sizes, order=(0, *range(2, len(sizes)), 1))


BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "copysign": torch.copysign,
    "div": torch.div,
    "div by rounding": lambda a, b: torch.div(a, b.abs() + 1, rounding_mode="trunc"),
    "floor_divide": lambda a, b: a // (b.abs() + 1),
    "heaviside": torch.heaviside,
    "logaddexp": torch.logaddexp,
    "logical_or": torch.logical_or,
    "pow": lambda a, b: torch.pow(a.abs() + 0.5, b.clamp(-2, 2)),
    "xlogy": lambda a, b: torch.xlogy(a, b.abs() + 1),
    "smooth_l1_loss": lambda a, b: F.smooth_l1_loss(a, b, reduction="none"),
    "huber_loss": lambda a, b: F.huber_loss(*torch.broadcast_tensors(a, b), reduction="none"),
    "threshold_backward": lambda a, b: aten.threshold_backward(a, b, 0.1),
    "rsub": torch.rsub,
    "where": lambda a, b: torch.where(a > 0, b, a),
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.filterwarnings("ignore:.*broadcasting")
def test_broadcast_operands_in_other_orders(name: str, device: str) -> None:
    for a, b in (
        (numbers(3, 4, 5), rows(3, 4, 5)),
        (rows(3, 4, 5), numbers(3, 4, 5)),
        (numbers(3, 1, 5), numbers(4, 1)),
        (rows(3, 1, 5), numbers(3, 4, 5, order=(1, 0, 2))),
    ):
        check_function(lambda a, b: (c := BINARY[name](a, b), c.flatten(), c.transpose(0, 1)), a, b)


def test_16_bit_operands_that_are_expanded(device: str) -> None:
    a, b = numbers(1, 4, 5, dtype=torch.bfloat16), numbers(3, 4, 5, dtype=torch.bfloat16)
    check_function(lambda a, b: (a.expand(3, 4, 5) + b, a.expand(3, 4, 5).sin(), a.expand(3, 4, 5) > b), a, b)


def test_operands_that_are_converted(device: str) -> None:
    a, b = numbers(1, 4, 5).mul(4).int(), numbers(3, 4, 5, order=(1, 2, 0))
    check_function(lambda a, b: (a.expand(3, 4, 5) + b, torch.atan2(b, a.expand(3, 4, 5)), a < b), a, b)


def test_three_operands(device: str) -> None:
    operands = numbers(3, 1, 5), numbers(4, 1), rows(3, 4, 5)
    for a, b, c in itertools.permutations(operands):
        check_function(lambda a, b, c: (torch.addcmul(a, b, c), torch.lerp(a, b, c), torch.clamp(a, b, c)), a, b, c)


def test_strides_of_single_elements_decide_a_later_layout(device: str) -> None:
    x = torch.ones(3).as_strided((3, 1, 1, 1), (1, 3, 3, 3))
    check_function(lambda x: torch.pow(x.abs() + 0.5, x.unfold(0, 2, 1).clamp(-2, 2)), x)
    x = torch.rand(8, 1, 1).as_strided((8, 1, 1), (1, 1, 1))
    check_function(lambda x: x.unfold(1, 0, 1) * 2, torch.ones(1, 0))
    check_function(lambda x: torch.minimum(x, x.unfold(-1, 1, 2)), x)  # one window, which lies where two would


def test_indices_in_another_order_than_what_they_read(device: str) -> None:
    index = torch.tensor([[0, 1, 2], [2, 0, 1]])
    for x, i in itertools.product((rows(3, 4, 5), numbers(3, 4, 5)), (index, index.t().contiguous().t())):
        check_function(
            lambda x, i: (x[i], x[:, i], x[..., i], x[i, i], x[i, :, i], x[:, i, 0], x[i[0], None], x[i].flatten(1)),
            x,
            i,
        )


def test_an_index_into_a_dim_of_one_element(device: str) -> None:
    x = torch.arange(6.0).as_strided((1, 2, 3, 1), (1, 1, 2, 6))
    check_function(lambda x, i: x[:, :, i], x, torch.tensor([2, 2]))
    check_function(lambda x, i: x[i].permute(3, 1, 2, 0), torch.randn(8, 2, 1), torch.tensor([[7], [4]]))


def test_indices_with_dims_of_one_element(device: str) -> None:
    """The strides of such dims decide how what was indexed lies, also where the index was viewed or is converted."""
    x = torch.ones(2).as_strided((1, 2, 1), (2, 1, 1))
    index = torch.zeros(9, dtype=torch.long)
    narrow = index.int()
    places = (index.as_strided((1, 2, 1), (1, 1, 2)), narrow.as_strided((1, 2, 1), (1, 1, 2)), narrow[:3].expand(2, 3))
    for i in places:
        check_function(lambda x, i: (x[i - 1 + 1], x[:, (i % 1)[None]], (i % 1).view(-1, *i.shape) + 1), x, i)
    check_function(lambda x, i, j: x[i, j], torch.randn(1, 2), narrow[:2].view(1, 2), narrow.as_strided((3, 2), (1, 3)))


def test_log_sigmoid(device: str) -> None:
    check_function(F.logsigmoid, numbers(3, 4, 5).requires_grad_())


def test_batch_norm(device: str) -> None:
    for x in (
        numbers(4, 3, 5),
        numbers(4, 3, 5, 5),
        numbers(4, 3, 5, 5, order=(1, 0, 2, 3)),
        channels_last(4, 3, 5, 5),
    ):
        mean, variance = torch.zeros(3), torch.ones(3)
        check_function(F.batch_norm, x, mean, variance)
        check_function(lambda x, m, v: F.batch_norm(x, m, v, training=True), x.requires_grad_(), mean, variance)


def test_losses_and_their_gradients(device: str) -> None:
    a, b = numbers(3, 4).requires_grad_(), rows(3, 4)

    def losses(a: Tensor, b: Tensor) -> list[Tensor]:
        found = []
        for loss in (F.mse_loss, F.smooth_l1_loss, F.huber_loss):
            found += torch.autograd.grad(loss(a, b), a)
        found += torch.autograd.grad(F.cross_entropy(a, torch.tensor([0, 1, 3])), a)
        return found

    for expected, got in zip(losses(a, b), torch.compile(losses, backend="ourjit")(a, b), strict=True):
        assert strides(expected) == strides(got)
        torch.testing.assert_close(expected, got)


@pytest.mark.parametrize("x", [numbers(2, 4, 4, 6), channels_last(2, 4, 4, 6), rows(2, 4, 4, 6)], ids=str)
def test_images(x: Tensor, device: str) -> None:
    check_function(lambda x: (F.channel_shuffle(x, 2), F.pixel_shuffle(x, 2), F.pixel_unshuffle(x, 2)), x)
    check_function(lambda x: [F.pad(x, (1, 2, 1, 0), mode=m) for m in ("constant", "reflect", "replicate")], x)
    check_function(lambda x: F.grid_sample(x, x[:, :, :, :2] * 0.1, align_corners=False), x)
    check_function(lambda x: (x.roll(1, 1), x.roll((1, 2), (0, 3)), x.roll(3), x.roll(4, 1)), x)


def test_rolls_of_any_size() -> None:
    for x in (channels_last(2, 4, 4, 6), channels_last(17, 2, 7, 1), rows(2, 4, 4, 6)):
        check_function(lambda x: (x.roll(-1, -3), x.roll(1, -1), x.roll((1, 2), (0, 3)), x.roll(3)), x, dynamic=True)


def test_random_numbers_in_the_order_of_a_tensor(device: str) -> None:
    x = numbers(3, 4, 5)

    def draw(x: Tensor) -> list[Tensor]:
        found = [
            torch.rand_like(x),
            torch.randn_like(x),
            torch.randint_like(x, 9),
            F.rrelu(x),
            F.rrelu(x, training=True),
        ]
        found += [torch.normal(x, x.abs()), torch.normal(x, 1.0), x.bernoulli(0.5), torch.empty_like(x).uniform_()]
        return [*found, torch.rand_like(x, memory_format=torch.contiguous_format), F.dropout(x, 0.5)]

    for expected, got in zip(draw(x), compiled(draw)(x), strict=True):
        assert strides(expected) == strides(got)


def test_what_is_written_in_place_stays_where_it_is(device: str) -> None:
    def write(x: Tensor, y: Tensor, i: Tensor) -> tuple[Tensor, ...]:
        x.masked_fill_(y > 0, 1.0)
        z = x.neg().scatter_add_(-1, i, y).mul_(2)
        return z, x.relu(), y.neg().index_add_(0, i[:, 0], y), x.flatten()

    index = torch.tensor([[0, 1], [2, 0], [1, 2]])
    check_function(write, numbers(3, 4), numbers(3, 4), index)
    check_function(write, numbers(3, 4), rows(3, 4), index)


def test_what_is_written_between_gaps_keeps_them(device: str) -> None:
    def write(x: Tensor) -> tuple[Tensor, ...]:
        a = torch.empty_strided((4, 3), (5, 1), device=x.device).copy_(x)
        b = torch.empty_strided((4, 3), (1, 6), device=x.device)
        b[:] = x + 1
        return a, b.mul_(2).exp_(), a[1] + 1, b + 1

    check_function(write, numbers(4, 3))


def test_views_that_are_made_in_place(device: str) -> None:
    def turn(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        a, b, c, d = x.clone(), x + 1, x * 2, y.neg()
        view = c.view(4, 4)
        a.t_()
        b.swapaxes_(0, 1).mul_(y)
        view.transpose_(0, 1).add_(y)
        d.as_strided_((4, 4), (1, 4))
        return a, b, c, view, d, a + y

    check_function(turn, numbers(4, 4), numbers(4, 4))


def test_any_sizes(device: str) -> None:
    a, b = numbers(3, 4, 5), numbers(4, 1)
    check_function(lambda a, b: (torch.copysign(a, b), F.logsigmoid(a), a[:, b.abs().long()[:, 0]]), a, b, dynamic=True)


def test_what_torch_remembers_of_its_traces_stays_as_it_is() -> None:
    x = numbers(3, 4)
    for _ in range(2):
        with FakeTensorMode() as mode:
            fake = mode.from_tensor(x)
            before = aten.log_sigmoid_forward(fake)[0].stride()
            with eager_strides.kept():
                assert aten.log_sigmoid_forward(fake)[0].stride() == (4, 1)
            assert aten.log_sigmoid_forward(fake)[0].stride() == before


BESIDE_NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + 1,
    "rsub": lambda x: 1 - x,
    "div": lambda x: x / 3,
    "remainder": lambda x: x % 2,
    "floor_divide": lambda x: x // 2,
    "lt": lambda x: x < 1,
    "pow": lambda x: x**2,
    "clamp": lambda x: x.clamp(0, 1),
    "deg2rad": torch.deg2rad,
    "rad2deg": torch.rad2deg,
    "hardtanh": F.hardtanh,
    "nan_to_num": lambda x: x.nan_to_num(0.5),
    "sin": torch.sin,
    "two tensors": lambda x: x + x.sin(),
}


@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_strides_of_single_elements_beside_numbers(name: str) -> None:
    """They mean nothing by themselves, but decide in which memory format a concatenation lies."""
    fn = BESIDE_NUMBERS[name]
    for sizes, places in (((1, 1, 2, 1), (2, 1, 1, 1)), ((1, 2, 1), (7, 1, 5)), ((2, 1, 3), (1, 9, 2))):
        x = torch.rand(99).as_strided(sizes, places)
        got = compiled(lambda x: (fn(x), torch.cat([fn(x), fn(x)], -2)))(x)
        assert got[0].stride() == fn(x).stride()
        assert got[1].stride() == torch.cat([fn(x), fn(x)], -2).stride()
