"""Softmax, losses and norms over long rows: what they compute, and how often the GPU target moves their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import needs_emulator
from emulator import driver
from torch import Tensor

INF, NAN = float("inf"), float("nan")


def softmax(x: Tensor, _: Tensor) -> Tensor:
    return F.softmax(x, -1)


def log_softmax(x: Tensor, _: Tensor) -> Tensor:
    return F.log_softmax(x, -1)


def logsumexp(x: Tensor, _: Tensor) -> Tensor:
    return torch.logsumexp(x, -1)


def cross_entropy(x: Tensor, t: Tensor) -> Tensor:
    return F.cross_entropy(x, t, reduction="none")


def smoothed(x: Tensor, t: Tensor) -> Tensor:
    return F.cross_entropy(x, t, label_smoothing=0.1, ignore_index=3)


def probabilities_too(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    y = F.log_softmax(2 * x, -1)
    return F.nll_loss(y, t), y


def soft_targets(x: Tensor, _: Tensor) -> Tensor:
    places = torch.arange(x.shape[1], dtype=x.dtype) / x.shape[1]
    return F.cross_entropy(x, places.softmax(0).expand_as(x))


FORMS = [softmax, log_softmax, logsumexp, cross_entropy, smoothed, probabilities_too, soft_targets]


def rows(length: int, dtype: torch.dtype) -> Tensor:
    """Ordinary rows, and rows with infinities and NaN: far apart, so that they are in different threads and chunks."""
    x = torch.randn(8, length)
    x[0] *= 20
    x[1, 7] = x[2, 7] = -INF
    x[2, -5] = x[3, 11] = INF
    x[4, length // 2] = NAN
    x[5] = -INF
    x[6, : length // 2] = -INF
    x[7] -= 3000
    return x.to(dtype)


@needs_emulator
@pytest.mark.parametrize("length,dynamic", [(20000, False), (100003, True)])
@pytest.mark.parametrize(
    "form,dtype",
    [(form, torch.float32) for form in FORMS] + [(form, torch.bfloat16) for form in (softmax, cross_entropy)],
    ids=lambda x: str(x)[6:] if isinstance(x, torch.dtype) else x.__name__,
)
def test_rows_of_all_kinds(form: Callable[..., Tensor], dtype: torch.dtype, length: int, dynamic: bool) -> None:
    """Few rows are cut into chunks if their length allows; of many, or an unknown number, each is read by a block."""
    x = rows(length, dtype)
    t = torch.tensor([5, 3, length - 1, 0, 9, 2, length - 2, 4])
    step = torch.compile(form, backend="ourjit", options={"target": "emulate", "strict": True})
    results = []
    # Eager's own sums over so many elements are less exact than what is tested.
    for f, leaf in ((form, x.double() if dtype == torch.float32 else x.clone()), (step, x.clone())):
        leaf.requires_grad_()
        if dynamic:
            torch._dynamo.mark_dynamic(leaf, 0)
            torch._dynamo.mark_dynamic(t, 0)
        out = f(leaf, t)
        outs = out if isinstance(out, tuple) else (out,)
        torch.stack([o.mean() for o in outs]).sum().backward()
        assert leaf.grad is not None
        results.append([y.to(dtype) for y in (*outs, leaf.grad)])
    close = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(results[1], results[0], equal_nan=True, **close)


@pytest.mark.parametrize("shape", [(512, 50257), (64, 128256), (16, 200000)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_a_cross_entropy_meets_its_logits_once(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """In forward and backward each; no tensor of their size is written but their gradient."""
    x = torch.empty(shape, dtype=dtype, requires_grad=True)
    emitted = ourjit.emit(F.cross_entropy, x, torch.zeros(shape[0], dtype=torch.long), target="sm_90")
    size = shape[0] * shape[1]
    loads, written = 0, 0
    for kernel in emitted:
        for name, access in re.findall(rf"(b\d+): (in|out|inout) \w+\[{size}\]", kernel.loop_ir):
            written += access != "in"
            # The element of the target is picked by an index that was bound.
            loads += len(re.findall(rf"load {name}\[(?!.*\bi0\b)", kernel.loop_ir))
    assert (loads, written) == (2, 1)


def layer_norm(x: Tensor, *parameters: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:], *parameters)


def group_norm(x: Tensor) -> Tensor:
    return F.group_norm(x, 2)


def batch_norm(x: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, training=True)


def variance(x: Tensor) -> Tensor:
    return x.var(-1)


def deviation_of_all(x: Tensor) -> Tensor:
    return x.std()


def deviation_of_columns(x: Tensor) -> Tensor:
    return x.std(0)


def smoothed_and_weighted(x: Tensor, weight: Tensor) -> Tensor:
    target = torch.zeros(x.shape[0], dtype=torch.long)
    return F.cross_entropy(x, target, weight.detach(), label_smoothing=0.1, ignore_index=3)


def divergence(x: Tensor, y: Tensor) -> Tensor:
    return F.kl_div(F.log_softmax(x, -1), y.detach().sigmoid(), reduction="batchmean")


def column_sums(x: Tensor) -> Tensor:
    return x.sum(0)


LONG, ODD = 65536, 50257
FEW, MANY = 8, 256  # rows for the 132 multiprocessors of the emulated device
CACHE = 16 * 1024


@pytest.fixture
def moved() -> Iterator[Callable[[], tuple[float, float]]]:
    """Bytes that were loaded past a cache too small for a row, and stored, since the call before."""
    library = driver()
    library.ourjit_emulator_cache(CACHE)

    def bytes_moved() -> tuple[float, float]:
        counters = json.loads(library.ourjit_emulator_counters().decode()).values()
        library.ourjit_emulator_clear()
        return sum(kernel["fetched"] for kernel in counters), sum(kernel["stored"] for kernel in counters)

    yield bytes_moved
    library.ourjit_emulator_cache(0)


@needs_emulator
@pytest.mark.parametrize(
    "fn,shapes,forward,backward",
    # Loads and stores, in sizes of the first input. Gradients take two readings of what comes in and of x.
    [
        (layer_norm, [(FEW, 200000)], (2, 1), (4, 1)),
        # Blocks read the weights with each row, and write column sums once for 16 rows.
        (layer_norm, [(FEW, LONG), (LONG,), (LONG,)], (4, 1), (5.13, 1.25)),
        (layer_norm, [(MANY, LONG), (LONG,), (LONG,)], (4, 1), (5.2, 1.13)),
        (group_norm, [(4, 16, 64, 128)], (2, 1), (4, 1)),
        (F.instance_norm, [(2, 4, 256, 256)], (2, 1), (4, 1)),
        (batch_norm, [(16, 4, 64, 64)], (2, 1), (4, 1)),
        (variance, [(FEW, 200000)], (1, 0), (2, 1)),
        (deviation_of_all, [(FEW, ODD)], (1, 0), (2, 1)),
        (deviation_of_columns, [(LONG, 64)], (1.02, 0), None),
        (smoothed_and_weighted, [(MANY, ODD), (ODD,)], (2, 0), None),
        (divergence, [(MANY, ODD), (MANY, ODD)], (2, 0), None),
        (column_sums, [(MANY, LONG)], (1.06, 0.06), None),
    ],
    ids=lambda p: p.__name__ if callable(p) else "x".join(map(str, p[0])) if isinstance(p, list) else "",
)
def test_long_rows_are_moved_as_few_times_as_can_be(
    moved: Callable[[], tuple[float, float]],
    fn: Callable[..., Tensor],
    shapes: list[tuple[int, ...]],
    forward: tuple[float, float],
    backward: tuple[float, float] | None,
) -> None:
    inputs = [torch.randn(shape, requires_grad=backward is not None) for shape in shapes]
    step = torch.compile(fn, backend="ourjit", options={"target": "emulate", "strict": True})
    size = inputs[0].numel() * 4
    step(*inputs)
    moved()
    out = step(*inputs)
    phases = [(moved(), forward)]
    if backward is not None:
        out.backward(torch.randn_like(out))
        phases.append((moved(), backward))
    for (loaded, stored), (loads, stores) in phases:
        assert loaded <= 1.02 * loads * size
        assert stored <= 1.02 * stores * size + 0.02 * size


def peculiar_rows(length: int) -> Tensor:
    """Means far from 0, an outlier at the shift, one value throughout, scales near the ends of f32, infinities, NaN."""
    x = torch.randn(10, length)
    x[1] = 1e4 + 1e-2 * x[1]
    x[2] *= 1e15
    x[3] *= 1e-15
    x[4] = 3.7
    x[5, 0] = 1e6
    x[6, 0] = INF
    x[7, 9] = -INF
    x[8, 5] = NAN
    x[9] += 1e5
    return x


@pytest.mark.parametrize("target", ["cpu", pytest.param("emulate", marks=needs_emulator)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_moments_of_peculiar_rows(target: str, dtype: torch.dtype) -> None:
    """As from f64 throughout; but a mean is as infinite as its row."""

    def moments(x: Tensor) -> tuple[Tensor, ...]:
        return x.var(-1), *torch.std_mean(x, -1), x.T.contiguous().std(0)

    x = peculiar_rows(40009).to(dtype)
    step = torch.compile(moments, backend="ourjit", options={"target": target, "strict": True})
    expected = list(moments(x.double()))
    expected[2] = x.double().mean(-1)
    for got, want in zip(step(x), expected, strict=True):
        close = {"rtol": 1e-6, "atol": 0.0} if dtype == torch.float32 else {"rtol": 4e-3, "atol": 0.0}
        rows = [i for i in range(len(x)) if i != 4]
        torch.testing.assert_close(got[rows].double(), want[rows], equal_nan=True, **close)
    assert step(x)[0][4] == 0
    torch.testing.assert_close(step(x)[2][4], x[4, 0])


@pytest.mark.parametrize("target", ["cpu", pytest.param("emulate", marks=needs_emulator)])
def test_norms_of_peculiar_rows(target: str) -> None:
    """Nowhere further from f64 than eager, but for what the mean's rounding to f32 gives both."""
    x = peculiar_rows(40009)[[0, 1, 3, 4, 5, 6, 7, 8, 9]]
    step = torch.compile(layer_norm, backend="ourjit", options={"target": target, "strict": True})
    exact, eager = layer_norm(x.double()), layer_norm(x)
    error = (step(x).double() - exact).abs().amax(-1)
    limit = (eager.double() - exact).abs().amax(-1)
    torch.testing.assert_close(error.isnan(), limit.isnan())
    assert (error.nan_to_num() <= 1.5 * limit.nan_to_num() + 1e-6).all(), (error, limit)
