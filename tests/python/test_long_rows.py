"""Softmax and losses over rows of the length of vocabularies, on the GPU target."""

from __future__ import annotations

import re
from collections.abc import Callable

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import needs_emulator
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


FORMS = [softmax, log_softmax, logsumexp, cross_entropy, smoothed, probabilities_too]


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
