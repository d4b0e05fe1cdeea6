"""Sizes that data decide, captured in one graph: its parts are compiled once for all sizes, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from check import assert_no_fallbacks, assert_same, compiled, kernels_made
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def whole_graphs() -> Iterator[None]:
    with torch._dynamo.config.patch(capture_scalar_outputs=True, capture_dynamic_output_shape_ops=True):
        yield


def rows(*flags: int) -> Tensor:
    """Seven columns, the first of which is positive where a flag is set."""
    x = torch.randn(len(flags), 7)
    x[:, 0] = x[:, 0].abs() + 0.1
    x[torch.tensor(flags) == 0, 0] *= -1
    return x


def experts(x: Tensor, w: Tensor) -> Tensor:
    """Rows are given to one of two layers, as their first element tells."""
    out = torch.zeros_like(x)
    for chosen, scale in ((x[:, 0] > 0, 1.0), (x[:, 0] <= 0, -2.0)):
        places = chosen.nonzero().squeeze(1)
        out = out.index_add(0, places, torch.tanh(x[places] @ w) * scale)
    return out.softmax(-1)


def first_rows(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    k = int((x[:, 0] > 0).sum().item())
    torch._check(k >= 0)
    torch._check(k <= x.shape[0])
    part = x[:k]
    return part.cos() @ w, x.sin() * k + torch.zeros(k, 7).sum()


PROGRAMS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "rows": lambda x, w: (x[x[:, 0] > 0] @ w).relu().sum(1),
    "several results": lambda x, w: (x[x[:, 0] > 0].exp(), x[x[:, 0] <= 0].mean(0), w.sin()),
    "masked_select": lambda x, w: torch.masked_select(x, x > 0).sin() * 2,
    "mean of some": lambda x, w: x[x > 0].mean() + w.sum(),
    "padded": lambda x, w: torch.cat([x[x[:, 0] > 0], w]).softmax(0),
    "places": lambda x, w: (x.detach()[:, 0] > 0).nonzero() * 2 + x.shape[0],
    "twice": lambda x, w: x[x[:, 0] > 0][:, x[0].abs() > 0.5].exp().sum(1),
    "values": lambda x, w: torch.unique((x.detach() * 2).round()) * 2 + w.mean(),
    "repeated": lambda x, w: torch.repeat_interleave(x, (x[:, 0] > 0).long() + 1, dim=0).tanh() @ w,
    "written": lambda x, w: x.index_put((x[:, 0] > 0,), w.new_zeros(())).cos(),
    "experts": experts,
    "first rows": first_rows,
    "statistics": lambda x, w: (x[x[:, 0] > 0].sum(0), x[x[:, 0] > 0].var(0, correction=0).nan_to_num() + w.amax(0)),
    "normed": lambda x, w: nn.functional.layer_norm(x[x[:, 0] > 0] @ w, (7,)),
    "cumulative": lambda x, w: x.detach()[x.detach()[:, 0] > 0].cumsum(0) + w.sum(),
}

FLAGS = ((1, 0, 1, 1, 0, 1), (0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0), (1, 1, 1, 1, 1, 1), (1, 1, 1, 0, 0, 1))


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_compilation_for_all_sizes(name: str) -> None:
    fn = PROGRAMS[name]
    run = compiled(fn)
    w = torch.randn(7, 7)
    kernels = None
    for flags in FLAGS:
        x = rows(*flags)
        ours, theirs = ([t.clone().requires_grad_() for t in (x, w)] for _ in range(2))
        got, expected = run(*ours), fn(*theirs)
        assert_same(expected, got, what=f"output of {flags}")
        sums = [sum(t.sum() for t in (y if isinstance(y, tuple) else (y,)) if t.requires_grad) for y in (got, expected)]
        if isinstance(sums[0], Tensor):
            for total in sums:
                total.backward()
            for a, b in zip(ours, theirs, strict=True):
                assert_same(b.grad, a.grad, what=f"gradient of {flags}")
        compilations = kernels_made()
        assert kernels in (None, compilations), "a size was compiled anew"
        kernels = compilations
    assert_no_fallbacks()
    assert kernels_made() > 0


def test_checks_of_sizes_raise() -> None:
    def fn(x: Tensor, n: Tensor) -> Tensor:
        k = n.abs().item()
        torch._check(k >= 2)
        return x.sin() * torch.ones(k).sum()

    run = compiled(fn)
    x = torch.randn(8)
    assert_same(fn(x, torch.tensor(3)), run(x, torch.tensor(3)), what="output")
    with pytest.raises(RuntimeError, match="assertion failed"):
        run(x, torch.tensor(1))
    assert_same(fn(x, torch.tensor(5)), run(x, torch.tensor(5)), what="output after the error")


def test_numbers_from_data_are_outputs() -> None:
    def fn(x: Tensor) -> tuple[Tensor, int, int]:
        some = x[x > 0]
        return some * 2, some.shape[0], some.shape[0] * 3 + x.shape[0]

    run = compiled(fn)
    for _ in range(3):
        x = torch.randn(40)
        assert_same(fn(x), run(x), what="output")


def test_inputs_are_written_after_all_parts_have_read_them() -> None:
    def fn(x: Tensor, counts: Tensor) -> Tensor:
        head = x[:4]
        some = x[x > 0]
        counts += some.shape[0]
        x.mul_(2)
        return head.exp().sum() + some.sum() + x[x > 1].sum()

    run = compiled(fn)
    for _ in range(3):
        x, counts = torch.randn(33), torch.zeros(3)
        y, others = x.clone(), counts.clone()
        assert_same(fn(x, counts), run(y, others), what="output")
        assert_same((x, counts), (y, others), what="inputs")
    assert_no_fallbacks()


def test_sizes_beside_dynamic_ones() -> None:
    fn = PROGRAMS["rows"]
    run = compiled(fn, dynamic=True)
    for flags in ((1, 0, 1), (0, 1, 0, 0, 0, 1), (1, 1), (0, 0, 0, 1, 1, 1, 1, 0)):
        x, w = rows(*flags), torch.randn(7, 7)
        assert_same(fn(x, w), run(x, w), what=f"output of {flags}")
    assert_no_fallbacks()


def test_lists_of_sizes() -> None:
    def fn(x: Tensor, sizes: Tensor) -> list[Tensor]:
        lengths = sizes.tolist()
        for n in lengths:
            torch._check(n >= 0)
        return [part.exp().sum() for part in torch.split(x, lengths)]

    run = compiled(fn)
    x = torch.randn(9, 4)
    for sizes in ([2, 3, 4], [1, 0, 8], [9, 0, 0]):
        assert_same(fn(x, torch.tensor(sizes)), run(x, torch.tensor(sizes)), what=str(sizes))


def test_dropout_of_some_rows_has_one_mask() -> None:
    def fn(x: Tensor) -> Tensor:
        return nn.functional.dropout(x[x[:, 0] > 0], 0.5)

    x = rows(*(1, 0) * 20).requires_grad_()
    out = compiled(fn)(x)
    out.sum().backward()
    kept = x.grad[x[:, 0] > 0]
    assert_same(out, x.detach()[x[:, 0] > 0] * kept, what="mask")
    assert set(kept.unique().tolist()) == {0.0, 2.0}
