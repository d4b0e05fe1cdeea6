"""Option cuda_graphs: what is replayed gives what eager gives, whatever moves, lives on or is modified in place.

The emulated device repeats a call at the addresses of its capture, as a CUDA graph does.
"""

from __future__ import annotations

from typing import Any

import ourjit
import pytest
import torch
from check import needs_emulator, needs_gpu
from ourjit import cuda_graphs
from torch import Tensor, nn

TARGETS = [
    pytest.param("emulate", marks=needs_emulator, id="emulated"),
    pytest.param("cuda", marks=needs_gpu, id="cuda"),
]


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def device(target: str) -> str:
    return "cuda" if target == "cuda" else "cpu"


def compiled(fn: Any, target: str) -> Any:
    return torch.compile(fn, backend="ourjit", options={"target": target, "cuda_graphs": True})


def network(where: str) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 3)).to(where)


def test_training_replays_and_gives_what_eager_gives(target: str) -> None:
    where = device(target)
    expected, got = network(where), network(where)
    step = compiled(got, target)
    losses: list[tuple[Tensor, Tensor]] = []  # all kept: none may be overwritten
    for net, forward in ((expected, expected), (got, step)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        torch.manual_seed(2)
        for k in range(12):
            x = torch.randn(5, 6, device=where)
            loss = forward(x).square().mean()
            loss.backward()
            losses.append((loss, loss.detach().clone()))
            if k % 4 != 1:  # two backwards add up in one gradient now and then
                optimizer.step()
                optimizer.zero_grad()
    for loss, then in losses:
        torch.testing.assert_close(loss.detach(), then, rtol=0, atol=0)
    for (_, a), (_, b) in zip(losses[:12], losses[12:], strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(expected.state_dict().values(), got.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b)
    stats = ourjit.stats()
    assert stats["graph_replays"] >= 6 and stats["graph_captures"] >= 2, stats
    assert not stats["graph_skips"], stats


def test_outputs_that_live_on_are_not_overwritten(target: str) -> None:
    f = compiled(lambda x: (x.sin(), x.cos() + 1), target)
    x = torch.randn(4, 5, device=device(target))
    kept = [(f(x.mul_(0.5)), x.sin(), x.cos() + 1) for _ in range(8)]
    for (s, c), sin, cos in kept:
        torch.testing.assert_close(s, sin)
        torch.testing.assert_close(c, cos)
    assert ourjit.stats()["graph_replays"] >= 4


def test_a_layer_used_twice_before_its_backward(target: str) -> None:
    layer = nn.Linear(4, 4).to(device(target))
    f = compiled(lambda x: layer(x).tanh(), target)
    for _ in range(6):
        a, b = (torch.randn(3, 4, device=device(target), requires_grad=True) for _ in range(2))
        (f(a) * f(b)).sum().backward()
        got = [a.grad, b.grad, layer.weight.grad]
        a.grad = b.grad = layer.weight.grad = None
        (layer(a).tanh() * layer(b).tanh()).sum().backward()
        for x, y in zip(got, [a.grad, b.grad, layer.weight.grad], strict=True):
            torch.testing.assert_close(x, y)
        layer.zero_grad()


def test_inputs_modified_in_place(target: str) -> None:
    def f(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        x.add_(y)
        return x.t(), x * y

    where = device(target)
    g = compiled(f, target)
    x, keep = torch.zeros(3, 4, device=where), []
    expected = torch.zeros(3, 4, device=where)
    for k in range(40):
        if k % 10 == 9:  # elsewhere from now on
            keep.append(x)
            x = x.clone()
        y = torch.randn(3, 4, device=where)
        view, product = g(x, y)
        expected += y
        torch.testing.assert_close(x, expected)
        torch.testing.assert_close(product, expected * y)
        assert view.data_ptr() == x.data_ptr() and view.shape == (4, 3)
        keep.append(y)
    assert ourjit.stats()["graph_replays"] >= 25


def test_inputs_that_never_stay_end_in_plain_calls(target: str, caplog: pytest.LogCaptureFixture) -> None:
    g = compiled(lambda x: x.mul_(2), target)
    kept = []
    for _ in range(cuda_graphs.MOST_CAPTURES + 4):
        kept.append(torch.ones(5, device=device(target)))
        g(kept[-1])
    assert all((x == 2).all() for x in kept)
    (reason,) = ourjit.stats()["graph_skips"]
    assert "modified in place" in reason and "stops capturing" in caplog.text


def test_sizes_and_strides_have_captures_of_their_own(target: str) -> None:
    f = compiled(lambda x: x.softmax(-1) + 1, target)
    x = torch.randn(24, device=device(target))
    for _ in range(5):
        for y in (x.view(4, 6), x.view(6, 4).t(), x.view(2, 12), x.view(3, 8)):
            torch.testing.assert_close(f(y), y.softmax(-1) + 1)
    assert ourjit.stats()["graph_replays"] >= 8


def test_expanded_and_overlapping_inputs_that_move(target: str) -> None:
    f = compiled(lambda x: x * 2 + 1, target)
    kept = [torch.randn(1, 6, device=device(target)) for _ in range(6)]
    for x in kept:
        torch.testing.assert_close(f(x.expand(4, 6)), x.expand(4, 6) * 2 + 1)
    assert ourjit.stats()["graph_replays"] >= 3 and not ourjit.stats()["graph_skips"]
    for x in kept:
        windows = x.flatten().unfold(0, 3, 1)
        torch.testing.assert_close(f(windows), windows * 2 + 1)
    assert "an input whose elements overlap moves" in ourjit.stats()["graph_skips"]


def test_each_replay_draws_new_numbers(target: str) -> None:
    f = compiled(lambda x: nn.functional.dropout(x, 0.5), target)
    x = torch.ones(1000, device=device(target))
    f(x)
    ourjit.reset()  # counts from here on, also what is compiled already
    masks = [f(x).clone() for _ in range(6)]
    assert ourjit.stats()["graph_replays"] >= 2
    for i, a in enumerate(masks):
        assert 350 < (a == 0).sum() < 650
        assert not any(torch.equal(a, b) for b in masks[:i])


@needs_emulator
def test_errors_of_replayed_kernels_are_raised() -> None:
    f = compiled(lambda x, i: x[i] * 2, "emulate")
    x, i = torch.arange(5.0), torch.tensor([1, 4])
    for _ in range(4):
        assert f(x, i).tolist() == [2, 8]
    i[1] = 9
    with pytest.raises(IndexError):
        f(x, i)
    i[1] = 0
    assert f(x, i).tolist() == [2, 0]


def test_the_cpu_has_no_graphs() -> None:
    f = torch.compile(lambda x: x + 1, backend="ourjit", options={"target": "cpu", "cuda_graphs": True})
    assert f(torch.ones(2)).tolist() == [2, 2]
    assert ourjit.stats()["graph_skips"] == {"the graph is on the CPU": 1}
