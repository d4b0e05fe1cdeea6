"""Single operators and short chains, forward and backward, against eager in strict mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from check import assert_no_fallbacks, check_function, compiled
from torch import Tensor

pytestmark = pytest.mark.usefixtures("device")

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    name: getattr(torch, name)
    for name in (
        "abs acos asin atan ceil cos cosh erf erfc exp exp2 expm1 floor frac lgamma digamma log log10 log1p log2 neg "
        "reciprocal relu round rsqrt sigmoid sign sin sinh sqrt square tan tanh trunc atanh asinh acosh erfinv"
    ).split()
} | {
    name: getattr(F, name)
    for name in (
        "silu mish gelu elu celu selu leaky_relu softplus softsign hardtanh hardswish hardsigmoid relu6 logsigmoid "
        "tanhshrink hardshrink softshrink"
    ).split()
}
UNARY |= {
    name: getattr(torch.special, name)
    for name in "i0 i0e i1 i1e erfcx ndtri log_ndtr modified_bessel_i0 modified_bessel_i1".split()
}
# Where a function is defined, if not around zero.
DOMAIN = {name: (0.1, 3.0) for name in "log log10 log2 rsqrt sqrt reciprocal lgamma digamma".split()}
DOMAIN |= {"ndtri": (0.01, 0.99)}
DOMAIN |= {name: (-0.9, 0.9) for name in "acos asin atanh erfinv log1p".split()} | {"acosh": (1.1, 4.0)}


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    low, high = DOMAIN.get(name, (-3.0, 3.0))
    x = (torch.rand(5, 37) * (high - low) + low).requires_grad_()
    check_function(UNARY[name], x)


@pytest.mark.parametrize(
    "fn",
    [torch.add, torch.sub, torch.mul, torch.div, torch.atan2, torch.maximum, torch.minimum, torch.fmod, torch.remainder,
     torch.hypot, torch.copysign, torch.logaddexp, lambda x, y: x.abs() ** y],
    ids=["add", "sub", "mul", "div", "atan2", "maximum", "minimum", "fmod", "remainder", "hypot", "copysign",
         "logaddexp", "pow"],
)  # fmt: skip
@pytest.mark.parametrize("shapes", [((7, 33), (7, 33)), ((7, 33), (33,)), ((7, 1), (1, 33)), ((), (3, 5))], ids=str)
def test_binary_broadcast(fn: Callable[..., Tensor], shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    x, y = ((torch.rand(shape) + 0.2).requires_grad_() for shape in shapes)
    check_function(fn, x, y)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_float_dtypes(dtype: torch.dtype) -> None:
    def f(x: Tensor, w: Tensor) -> Tensor:
        return F.layer_norm(F.gelu(x) * w, (64,)).softmax(dim=-1).sum(dim=0)

    tol = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float64: 1e-9}[dtype]
    check_function(f, torch.randn(9, 64, dtype=dtype, requires_grad=True), torch.randn(64, dtype=dtype), tol=tol)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8], ids=str)
def test_integers(dtype: torch.dtype) -> None:
    x, y = torch.randint(0, 50, (6, 21)).to(dtype), torch.randint(1, 9, (6, 21)).to(dtype)
    check_function(lambda x, y: (x * y + 3 - x, x // y, x % y, x & y, x | y, x ^ y, x > y, -x, x.abs()), x, y)
    check_function(lambda x, y: (x.sum(), x.amax(0), y.amin(1), x.prod(1), x.argmax(1), x.float() / y), x, y)


def test_integer_division_and_shifts_of_negative_numbers() -> None:
    x, y = torch.randint(-50, 50, (100,)), torch.tensor([-7, -3, 2, 5]).repeat(25)
    check_function(lambda x, y: (x // y, x % y, torch.div(x, y, rounding_mode="trunc"), torch.fmod(x, y)), x, y)
    check_function(lambda x: (x << 3, x >> 2, ~x), x)


def test_mixed_dtypes_and_scalars() -> None:
    x, i, h = torch.randn(4, 5), torch.arange(5), torch.randn(4, 5, dtype=torch.bfloat16)
    check_function(
        lambda x, i, h: (x + i, x * 2, i * 2.5, i / 2, h + x, h * 3.14159, i > 2.5, x.to(torch.int32)), x, i, h
    )


def test_special_values() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-42, -1e38, 3e38])
    check_function(lambda x: (x.exp(), x.tanh(), x.sigmoid(), x.log(), x.sqrt(), x.abs(), x * 2, 1 / x), x)
    check_function(
        lambda x: (x.isnan(), x.isinf(), x.isfinite(), torch.nan_to_num(x), x.sign(), x.relu(), x.relu().signbit()), x
    )
    check_function(lambda x: (x.amax(), x.amin(), x.clamp(-1, 1), torch.maximum(x, x.flip(0)), x.sum()), x)


RAMPS = {
    name: UNARY[name]
    for name in (
        "silu mish elu celu selu leaky_relu softplus softsign hardtanh hardswish hardsigmoid relu6 logsigmoid"
    ).split()
} | {"logit": lambda x: torch.logit(x, eps=0.2), "threshold": lambda x: F.threshold(x, 0.1, 0.2)}


@pytest.mark.parametrize("name", RAMPS)
def test_gradients_at_special_values(name: str) -> None:
    """Each value sixteen times: ATen's vectors and its single elements differ at NaN, and we follow the vectors."""
    values = [torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1e-42, -1e-42, 3, -3, 1, -1, 6, 20, 100, -100, 1e30, -1e30]
    results = []
    for f in (RAMPS[name], compiled(RAMPS[name])):
        x = torch.tensor(values).repeat_interleave(16).requires_grad_()
        y = f(x)
        results.append(torch.autograd.grad(y, x, torch.full_like(y, 1.5))[0])
    torch.testing.assert_close(results[1], results[0], rtol=2e-4, atol=1e-30, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_what_jumps_sees_rounded_numbers(dtype: torch.dtype) -> None:
    x = (torch.rand(50, 40) + 0.01).to(dtype).requires_grad_()
    check_function(lambda x: (x.log().amax(0), (x.exp() * 3).amin(1), x.sqrt().max(1)[0]), x, tol=1e-2)
    y = (torch.randn(50, 40) * 4).to(dtype)
    check_function(lambda y: ((y * 1.7).floor(), (y * 0.3).argmax(1), y * 1.1 == y + y * 0.1, (y * 3).int()), y)


COMPARE = {
    "where": lambda x, y: torch.where(x > y, x, y * 2),
    "masked_fill": lambda x, y: x.masked_fill(y > 0, -1.0),
    "clamp": lambda x, y: x.clamp(-0.5, 0.5) + y.clamp(min=0) + x.clamp(max=0.1),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.5),
    "addcdiv": lambda x, y: torch.addcdiv(x, x, y.abs() + 1, value=0.5),
    "logical": lambda x, y: ((x > 0) & (y > 0)) | ~(x < y),
    "threshold": lambda x, y: F.threshold(x, 0.1, 20) + y,
    "glu": lambda x, y: F.glu(x[:, :20]) + y[:, :10],
}


def test_windows_over_rows_of_f64_that_end_within_a_vector() -> None:
    """Masks of several registers, of which one is off as a whole."""
    windows = {"stride": 1, "padding": 1, "divisor_override": 2}
    check_function(lambda x: F.avg_pool3d(x, 2, **windows), torch.randn(1, 2, 4, 4, 4, dtype=torch.float64))
    check_function(lambda x: F.avg_pool2d(x, 2, 1, 1), torch.randn(1, 2, 5, 4, dtype=torch.float64))
    check_function(lambda x: F.avg_pool1d(x, 2, 1, 1), torch.randint(-9, 9, (2, 4)).double())


@pytest.mark.parametrize("name", COMPARE)
def test_selecting(name: str) -> None:
    check_function(COMPARE[name], torch.randn(7, 21, requires_grad=True), torch.randn(7, 21, requires_grad=True))


REDUCE: dict[str, Callable[[Tensor], Any]] = {
    "sum": lambda x: x.sum(),
    "sum_rows": lambda x: x.sum(dim=-1),
    "sum_columns": lambda x: x.sum(dim=0),
    "sum_middle": lambda x: x.sum(dim=1, keepdim=True),
    "sum_outer_inner": lambda x: x.sum(dim=(0, 2)),
    "mean": lambda x: x.mean(dim=(1, 2)),
    "var": lambda x: x.var(dim=-1),
    "var_biased": lambda x: x.var(dim=(0, 1), correction=0, keepdim=True),
    "std": lambda x: x.std(dim=1),
    "var_mean": lambda x: torch.var_mean(x, dim=2),
    "amax": lambda x: x.amax(dim=-1),
    "amin": lambda x: x.amin(dim=(0, 1)),
    "max": lambda x: x.max(),
    "max_dim": lambda x: x.max(dim=1),
    "min_dim": lambda x: x.min(dim=2),
    "prod": lambda x: x.detach().prod(dim=1),
    "argmax": lambda x: (x.argmax(), x.argmax(dim=1), x.argmin(dim=0, keepdim=True)),
    "any_all": lambda x: ((x > 1).any(), (x > -3).all(dim=1), (x > 0).any(dim=(0, 2))),
    "logsumexp": lambda x: x.logsumexp(dim=-1),
    "norm": lambda x: x.norm(),
    "norm_dim": lambda x: (torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(x, ord=1, dim=2)),
    "softmax": lambda x: x.softmax(dim=-1),
    "softmax_middle": lambda x: x.softmax(dim=1),
    "log_softmax": lambda x: x.log_softmax(dim=0),
    "normalize": lambda x: F.normalize(x, dim=1),
}


@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 64, 48), (1, 1, 1000), (2, 3000, 3)], ids=str)
@pytest.mark.parametrize("name", REDUCE)
def test_reductions(name: str, shape: tuple[int, ...]) -> None:
    if name in ("var", "std", "var_mean") and 1 in shape:
        shape = tuple(size + 1 for size in shape)
    check_function(REDUCE[name], torch.randn(shape, requires_grad=True))


LONG = 40_003  # more than one thread or block searches alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int32], ids=str)
@pytest.mark.parametrize("shape", [(LONG,), (3, LONG), (2, LONG, 1)], ids=str)
def test_the_first_extreme_of_long_rows_is_found(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    x = (torch.randn(shape) * 20).to(dtype)  # bfloat16 and int32 repeat their extremes
    dim = shape.index(LONG)
    check_function(lambda x: (x.argmax(), x.argmin(dim), *x.max(dim), x.argmax(dim, keepdim=True)), x)


def test_not_a_number_is_the_extreme_of_long_rows() -> None:
    x = torch.randn(3, LONG)
    x[0, -1], x[1, 500], x[1, -5], x[2] = 1e9, torch.nan, torch.nan, 0
    check_function(lambda x: (x.argmax(1), x.argmin(1), x.argmax(), (x * 2).argmax(-1), x.t().argmin(0)), x)


@pytest.mark.parametrize("length", [40_960, LONG])
def test_few_long_rows(length: int) -> None:
    x = torch.randn(3, length, requires_grad=True)
    check_function(lambda x: (x.softmax(-1), F.layer_norm(x, (length,)), x - x.mean(1, keepdim=True)), x, tol=1e-4)
    check_function(lambda x: (x.t() * 2, x + torch.arange(length), x[:, 1:].sin()), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_large_sums_are_accurate(dtype: torch.dtype) -> None:
    x = torch.rand(3, 1_000_000).to(dtype)
    f = compiled(lambda x: (x.sum(), x.mean(dim=1), x.sum(dim=0).sum()))
    for got, exact in zip(f(x), (x.double().sum(), x.double().mean(dim=1), x.double().sum()), strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=1e-2 if dtype == torch.bfloat16 else 1e-6, atol=0)
    assert_no_fallbacks()


NORM: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "layer_norm": lambda x, w, b: F.layer_norm(x, (48,), w, b),
    "layer_norm_plain": lambda x, w, b: F.layer_norm(x, (48,)) * w + b,
    "layer_norm_two_dims": lambda x, w, b: F.layer_norm(x, (10, 48)) + w,
    "rms_norm": lambda x, w, b: F.rms_norm(x, (48,), w) + b,
    "layer_norm_gelu": lambda x, w, b: F.gelu(F.layer_norm(x, (48,), w, b), approximate="tanh"),
    "residual": lambda x, w, b: x + F.layer_norm(x.sin(), (48,), w, b).relu(),
    "group_norm": lambda x, w, b: F.group_norm(x, 5) * w + b,
    "batch_norm": lambda x, w, b: F.batch_norm(x.transpose(1, 2).contiguous(), None, None, w, b, training=True),
    "instance_norm": lambda x, w, b: F.instance_norm(x) + w,
}


@pytest.mark.parametrize("name", NORM)
def test_norms(name: str) -> None:
    x, w, b = (torch.randn(shape, requires_grad=True) for shape in ((6, 10, 48), (48,), (48,)))
    check_function(NORM[name], x, w, b, tol=2e-4)


def test_batch_norm_updates_its_statistics() -> None:
    def f(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return F.batch_norm(x, mean, var, training=True, momentum=0.2).relu()

    check_function(f, torch.randn(8, 5, 9, 9, requires_grad=True), torch.randn(5), torch.rand(5))


LOSS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "cross_entropy_sum": lambda x, t: F.cross_entropy(x, t, reduction="sum"),
    "cross_entropy_none": lambda x, t: F.cross_entropy(x, t, reduction="none"),
    "cross_entropy_ignore": lambda x, t: F.cross_entropy(x, t, ignore_index=3),
    "cross_entropy_smooth": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
    "cross_entropy_weight": lambda x, t: F.cross_entropy(x, t, weight=torch.arange(1.0, 12.0)),
    "mse": lambda x, t: F.mse_loss(x, F.one_hot(t, 11).float()),
    "l1": lambda x, t: F.l1_loss(x, F.one_hot(t, 11).float()),
    "smooth_l1": lambda x, t: F.smooth_l1_loss(x, F.one_hot(t, 11).float(), beta=0.5),
    "huber": lambda x, t: F.huber_loss(x, F.one_hot(t, 11).float(), delta=0.7),
    "bce": lambda x, t: F.binary_cross_entropy(x.sigmoid(), F.one_hot(t, 11).float()),
    "bce_logits": lambda x, t: F.binary_cross_entropy_with_logits(x, F.one_hot(t, 11).float()),
    "kl_div": lambda x, t: F.kl_div(x.log_softmax(1), x.detach().softmax(1), reduction="batchmean"),
}


@pytest.mark.parametrize("name", LOSS)
def test_losses(name: str) -> None:
    check_function(LOSS[name], torch.randn(40, 11, requires_grad=True), torch.randint(0, 11, (40,)))


VIEW: dict[str, Callable[[Tensor], Any]] = {
    "transpose": lambda x: x.transpose(0, 2) + 1,
    "permute_contiguous": lambda x: x.permute(2, 0, 1).contiguous(),
    "reshape": lambda x: x.reshape(8, -1).exp().reshape(2, 3, -1),
    "transpose_reshape": lambda x: (x.transpose(1, 2).reshape(x.shape[0], -1) * 2).sum(dim=1),
    "slice": lambda x: x[1:, ::2, -5:] * 2,
    "slice_steps": lambda x: x[:, 1::3].relu() + x[:, :1],
    "select": lambda x: x[2] - x[:, 3].sum(),
    "expand": lambda x: x[:, :1].expand(-1, 6, -1) + x[:, :, :1],
    "unsqueeze": lambda x: x.unsqueeze(1) * x.unsqueeze(2),
    "flip": lambda x: x.flip(0, 2).sin(),
    "cat": lambda x: torch.cat([x, x * 2, x[:, :1]], dim=1),
    "cat_inner": lambda x: torch.cat([x.sin(), x.cos()], dim=-1) + 1,
    "stack": lambda x: torch.stack([x, x.exp()], dim=2),
    "split": lambda x: [t * i for i, t in enumerate(x.split(3, dim=1))],
    "chunk": lambda x: x.chunk(3, dim=2)[1].tanh(),
    "unbind": lambda x: x.unbind(1)[0] * x.unbind(1)[1],
    "pad": lambda x: F.pad(x, (1, 2, 0, 3), value=0.5),
    "pad_negative": lambda x: F.pad(x, (-1, 2)),
    "repeat": lambda x: x.repeat(2, 1, 3) + 1,
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1) * 2,
    "roll": lambda x: x.roll(2, 1) + x,
    "tril_triu": lambda x: x.tril(1) + x.triu(-1),
    "unfold": lambda x: x.unfold(1, 3, 2) * 2,
    "diagonal": lambda x: x[:, :6, :6].diagonal(dim1=1, dim2=2) * 3,
    "channels_last": lambda x: x[None].contiguous(memory_format=torch.channels_last) * 2,
    "movedim": lambda x: x.movedim(0, -1).flatten(1) / 2,
    "squeeze": lambda x: x.sum(1, keepdim=True).squeeze(1) + x[:, 0],
}


@pytest.mark.parametrize("name", VIEW)
def test_views(name: str) -> None:
    check_function(VIEW[name], torch.randn(4, 6, 9, requires_grad=True))


@pytest.mark.parametrize("name", ["transpose", "reshape", "slice", "cat", "pad", "permute_contiguous"])
def test_views_of_strided_inputs(name: str) -> None:
    base = torch.randn(9, 12, 6)
    x = base.permute(2, 1, 0)[:4, ::2].detach().requires_grad_()
    check_function(VIEW[name], x)


INDEX: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "embedding": lambda x, i: F.embedding(i, x) * 2,
    "embedding_padding": lambda x, i: F.embedding(i, x, padding_idx=0),
    "index_select": lambda x, i: x.index_select(0, i[0]) + x.index_select(1, i[1] % 8)[:1].sum(),
    "index": lambda x, i: x[i].sum(dim=1),
    "index_negative": lambda x, i: x[i - 3],
    "index_two": lambda x, i: x[i, i % 8] + 1,
    "index_slice": lambda x, i: x[:, i[0] % 8],
    "gather": lambda x, i: x.gather(0, i[:, :8]) + 1,
    "gather_inner": lambda x, i: x[:5].gather(1, i % 8),
    "take_along": lambda x, i: torch.take_along_dim(x, i[:, :8], dim=0),
    "scatter": lambda x, i: x.scatter(0, i[:, :8] * 0 + torch.arange(5)[:, None], x[:5] * 2),
    "scatter_add": lambda x, i: x.scatter_add(0, i[:, :8], x[:5]),
    "index_add": lambda x, i: x.index_add(0, i[0], x[:9] * 2),
    "index_put_accumulate": lambda x, i: x.index_put((i[0],), x[:9] * 2, accumulate=True),
    "index_put": lambda x, i: x.index_put((torch.arange(5),), x[5:10] * 2),
    "one_hot": lambda x, i: F.one_hot(i, 12).sum(dim=1),
    "assign": lambda x, i: torch.cat([x[:3] * 0, x[3:]]),
}


@pytest.mark.parametrize("name", INDEX)
def test_indexing(name: str) -> None:
    check_function(INDEX[name], torch.randn(12, 8, requires_grad=True), torch.randint(0, 12, (5, 9)))


SCAN: dict[str, Callable[[Tensor, int], Tensor]] = {
    "cumsum": lambda x, dim: x.cumsum(dim) * 2,
    "cumprod": lambda x, dim: x.detach().cumprod(dim),
    "logcumsumexp": lambda x, dim: x.logcumsumexp(dim),
    "of_a_sum": lambda x, dim: (x + x.sum()).flip(dim).cumsum(dim),
}


@pytest.mark.parametrize("shape", [(7,), (5, 1, 33), (3, 40, 17), (0, 4), (2, 5000)], ids=str)
@pytest.mark.parametrize("name", SCAN)
def test_scans(name: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, requires_grad=True)
    check_function(lambda x: [SCAN[name](x, dim) for dim in range(len(shape))], x)


def test_scans_of_special_values_and_dtypes() -> None:
    x = torch.tensor([1.0, -torch.inf, 3, torch.inf, 2, torch.nan, 1])
    check_function(lambda x: (x.cumsum(0), x.cumprod(0), x.logcumsumexp(0), x[1:2].logcumsumexp(0)), x)
    for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float64):
        x = (torch.randn(6, 70) * 3).to(dtype)
        check_function(lambda x: (x.cumsum(1), x.cumprod(0), x.cumsum(0, dtype=torch.float32)), x)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduction", ["sum", "prod", "mean", "amax", "amin"])
def test_scatters_that_reduce(reduction: str, include_self: bool) -> None:
    def f(x: Tensor, i: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        rows = i[0] if reduction == "sum" else i[0, :5]
        lines = x.clone() if reduction == "sum" else x.index_reduce(0, rows, y, reduction, include_self=include_self)
        return x.scatter_reduce(0, i, y, reduction, include_self=include_self), lines

    x, y = torch.randn(4, 9, requires_grad=True), torch.randn(5, 9, requires_grad=True)
    index = torch.randint(0, 4, (5, 9))
    check_function(f, x, index, y)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16):
        if dtype != torch.bool or (include_self and reduction != "mean"):
            check_function(f, (x.detach() * 5).to(dtype), index, (y.detach() * 5).to(dtype), tol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_narrow_floats_at_one_place_are_rounded_once(dtype: torch.dtype) -> None:
    x, index = torch.ones(2, 3, dtype=dtype), torch.zeros(4097, dtype=torch.int64)
    y = torch.full((4097, 3), 0.25, dtype=dtype)
    y[:4] = torch.tensor([60000.0, 60000.0, -60000.0, -60000.0])[:, None]
    expected = x.double().index_add(0, index, y.double()).to(dtype)
    for add in (lambda x, i, y: x.index_add(0, i, y), lambda x, i, y: x.index_put((i,), y, accumulate=True)):
        assert torch.equal(compiled(add)(x, index, y), expected)


def test_updates_may_be_the_base_itself() -> None:
    x, i = torch.randn(3, 4), torch.tensor([0, 2, 1])
    check_function(lambda x, i: (x.index_put((i,), x), (x * 2).index_add(0, i, x * 2)), x, i)
    check_function(lambda x, i: (x.scatter(0, i[:, None].expand(3, 4), x), x.scatter_add(0, i[:, None], x)), x, i)
    check_function(lambda i: (i.scatter(0, i, i), i.scatter_add(0, i, i), i.index_put((i,), i)), i)


def test_flat_puts() -> None:
    x, i = torch.randn(4, 5, requires_grad=True), torch.tensor([[3, -1], [19, 3]])
    y = torch.randn(2, 2, requires_grad=True)
    check_function(lambda x, i, y: (x.put(i, y, accumulate=True), x.put(i[:, 0], y[0])), x, i, y)
    check_function(
        lambda x, i: x.scatter(1, i, 2.0, reduce="multiply").scatter(0, i, x, reduce="add"), x.detach(), i % 4
    )


def test_empty_dims_are_neither_read_nor_divided() -> None:
    x, zero = torch.randn(0, 1, 5, 5, requires_grad=True), torch.zeros(1, dtype=torch.int64)
    check_function(lambda x: F.unfold(x, 2), x)
    check_function(lambda x: x.diagonal(-1, -1, -2), torch.ones(1, 2, 1))
    check_function(lambda x, y: (x // y, x.sum(1), F.pad(x, (1, 1)), x.prod()), torch.zeros(0, 3).long(), zero)


def test_embedding_gradient_of_repeated_rows() -> None:
    index = torch.randint(0, 3, (1000,))
    check_function(lambda w, i: F.embedding(i, w).sin(), torch.randn(3, 17, requires_grad=True), index)


CREATE: dict[str, Callable[[Tensor], Any]] = {
    "arange": lambda x: x + torch.arange(7) * 2,
    "arange_float": lambda x: x * torch.arange(0, 3.5, 0.5),
    "full": lambda x: torch.full((3, 7), 2.5) * x,
    "zeros_ones": lambda x: torch.zeros(7) + torch.ones_like(x) + x.new_zeros(7),
    "eye": lambda x: torch.eye(7) @ x[0] + x,
    "linspace": lambda x: torch.linspace(-1, 1, 7) * x,
    "scalar_tensor": lambda x: x * torch.tensor(3.0),
}


@pytest.mark.parametrize("name", CREATE)
def test_creation(name: str) -> None:
    check_function(CREATE[name], torch.randn(3, 7, requires_grad=True))


LIBRARY: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "linear_gelu": lambda x, w: F.gelu(x @ w.t()).sum(dim=0),
    "linear_bias": lambda x, w: F.linear(x, w, w[:, 0]).relu(),
    "bmm": lambda x, w: torch.bmm(x[None].expand(3, -1, -1), w.t()[None].expand(3, -1, -1)) + 1,
    "matmul_broadcast": lambda x, w: (x[None, None] @ w.t()).tanh(),
    "mv": lambda x, w: x @ w[0] + 1,
    "einsum": lambda x, w: torch.einsum("ij,kj->ki", x, w) * 2,
    "attention": lambda x, w: F.scaled_dot_product_attention(*(x.view(1, 2, 10, 16) * s for s in (1, 2, 3))) + w[0, 0],
}


@pytest.mark.parametrize("name", LIBRARY)
def test_library_work(name: str) -> None:
    x, w = torch.randn(20, 16, requires_grad=True), torch.randn(12, 16, requires_grad=True)
    check_function(LIBRARY[name], x, w, tol=2e-4)


def test_convolution_and_pooling() -> None:
    def f(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        y = F.conv2d(x, w, b, stride=2, padding=1).relu()
        return F.adaptive_avg_pool2d(F.max_pool2d(y, 2), 1).flatten(1) + F.avg_pool2d(y, 3).mean(dim=(2, 3))

    x, w, b = (torch.randn(s, requires_grad=True) for s in ((2, 3, 16, 16), (8, 3, 3, 3), (8,)))
    check_function(f, x, w, b, tol=2e-4)


def test_products_whose_parts_overflow() -> None:
    x = torch.tensor([1e30, 1e30, 1e-30, 1e-30] * 2 + [-3.0])
    for size in (9, 8):
        got = compiled(lambda x: (x.prod(), x.expand(3, -1).prod(1)))(x[:size])
        for y in got:
            torch.testing.assert_close(y, x[:size].double().prod().float().expand(y.shape))


def test_windows_of_one_row_for_many() -> None:
    """The inverse of a short-time Fourier transform adds up one row of windows for all rows of its result."""
    windows = torch.randn(1, 5, 4, requires_grad=True)
    check_function(lambda g: torch.ops.aten.unfold_backward(g, [3, 12], 1, 4, 2), windows)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (3, 0, 4)], ids=str)
def test_empty_tensors(shape: tuple[int, ...]) -> None:
    check_function(lambda x: (x.sin() + 1, x.sum(), x * x.sum(dim=-1, keepdim=True)), torch.randn(shape))


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 31, 33, 63, 64, 65, 1023, 4097])
def test_tails_of_vectors(size: int) -> None:
    check_function(
        lambda x: (x.exp() * 2, x.softmax(0), (x > 0).float(), x.sum()), torch.randn(size, requires_grad=True)
    )


@pytest.mark.parametrize("loss", (F.mse_loss, F.huber_loss, F.smooth_l1_loss, F.l1_loss))
def test_gradients_of_losses_without_elements(loss: Callable[..., Tensor]) -> None:
    check_function(loss, torch.randn(0, 4, requires_grad=True), torch.randn(0, 4))


def test_conditions_on_the_index() -> None:
    """Loops are cut where a condition on the index changes; each piece keeps what holds in it."""

    def f(x: Tensor) -> tuple[Tensor, ...]:
        c = torch.arange(64)
        inside, outside = (c >= 20) & (c < 40), (c < 20) | (c >= 40)
        return torch.where(inside, x + 1, x), torch.where(outside, x, -x), torch.where(~inside, x * 2, x)

    check_function(f, torch.randn(64))
    check_function(f, torch.randn(3, 64, requires_grad=True))
