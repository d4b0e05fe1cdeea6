"""Option check_nan: which step made a NaN of operands without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from check import compiled
from torch import Tensor

CHECK = {"strict": True, "check_nan": True}
NAN, INF = float("nan"), float("inf")


def checked(fn: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(fn, backend="ourjit", options=CHECK, fullgraph=True)


def line_of(text: str) -> str:
    """Where `text` stands first in this file, as file.py:41."""
    lines = Path(__file__).read_text().splitlines()
    return f"{Path(__file__).name}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


def log_between(x: Tensor) -> Tensor:
    y = x * 2
    z = torch.log(y)
    return torch.exp(z) + 1


def test_the_line_that_made_a_nan(device: str) -> None:
    with pytest.raises(FloatingPointError, match="made a NaN of operands without one") as caught:
        checked(log_between)(torch.tensor([1.0, -1.0]))
    assert "log" in str(caught.value) and line_of("torch.log(y)") in str(caught.value)
    assert str(caught.value).count(".py:") == 1, "one line, not those of its neighbours"
    assert torch.isnan(compiled(log_between)(torch.tensor([1.0, -1.0]))).any(), "without the option it is no error"


def test_the_emulated_device_tells_it_too() -> None:
    run = torch.compile(log_between, backend="ourjit", options={**CHECK, "target": "emulate"})
    with pytest.raises(FloatingPointError, match=line_of("torch.log(y)")):
        run(torch.tensor([1.0, -1.0]))


def test_a_nan_of_an_input_is_no_error() -> None:
    run = checked(log_between)
    assert torch.isnan(run(torch.tensor([1.0, NAN]))).any()
    with pytest.raises(FloatingPointError):
        run(torch.tensor([1.0, -1.0]))
    assert torch.isnan(run(torch.tensor([1.0, NAN]))).any(), "calls after an error check anew"


def test_infinity_is_no_nan() -> None:
    assert torch.equal(checked(log_between)(torch.tensor([0.0, INF])), torch.tensor([1.0, INF]))


def test_a_masked_nan_is_no_error() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert not checked(lambda x: torch.where(x > 0, torch.log(x), 0.0))(x).isnan().any()
    assert not checked(lambda x: torch.xlogy(x, x))(x.clamp(min=0)).isnan().any()
    mask = torch.tensor([[True, True], [False, True]])
    assert not checked(lambda x, m: torch.softmax(x.masked_fill(m, -INF), -1).nan_to_num(0))(x[:2], mask).isnan().any()


def test_backward_names_the_line_of_the_forward(device: str) -> None:
    def root(x: Tensor) -> Tensor:
        y = torch.sqrt(x)
        return torch.where(x > 0, y, 0.0)

    loss = checked(root)(torch.tensor([0.0, 1.0], requires_grad=True)).sum()
    with pytest.raises(FloatingPointError, match="backward") as caught:
        loss.backward()
    assert line_of("torch.sqrt(x)") in str(caught.value)


def test_a_library_call_that_makes_a_nan() -> None:
    def product(x: Tensor, y: Tensor) -> Tensor:
        return x @ y

    with pytest.raises(FloatingPointError, match=r"aten\.mm\.default") as caught:
        checked(product)(torch.full((2, 2), INF), torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    assert line_of("return x @ y") in str(caught.value)


def test_a_nan_that_a_library_call_passes_on() -> None:
    def twice(x: Tensor) -> Tensor:
        y = x / x
        return y @ y

    with pytest.raises(FloatingPointError, match="div") as caught:
        checked(twice)(torch.zeros(2, 2))
    assert line_of("y = x / x") in str(caught.value)


def test_an_input_that_is_written_to() -> None:
    def scale(x: Tensor) -> None:
        x.div_(x.sum())

    with pytest.raises(FloatingPointError, match="input 0, which is written to"):
        checked(scale)(torch.zeros(3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.complex64])
def test_dtypes(dtype: torch.dtype) -> None:
    run = checked(lambda x: x / (x - x))
    with pytest.raises(FloatingPointError, match="div"):
        run(torch.zeros(3, dtype=dtype))


def test_sizes_that_change() -> None:
    run = torch.compile(log_between, backend="ourjit", options=CHECK, dynamic=True)
    for n in (2, 3, 5):
        assert run(torch.ones(n)).shape == (n,)
        with pytest.raises(FloatingPointError, match=line_of("torch.log(y)")):
            run(torch.full((n,), -1.0))


def test_the_optimizer_is_checked() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    model = torch.nn.ParameterList([parameter])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ourjit.accelerate(model, optimizer, options={"check_nan": True})
    for gradient in (1.0, 1.0, INF):
        parameter.grad = torch.full((3,), gradient)
        optimizer.step()
    parameter.grad = torch.full((3,), -INF)
    with pytest.raises(FloatingPointError, match="which is written to"):
        optimizer.step()
