"""Compiled functions in threads and processes, copied and pickled, and after errors."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import os
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import compiled
from torch import Tensor, nn

Program = Callable[..., Any]


def model_and_batch() -> tuple[nn.Module, Tensor]:
    return nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.BatchNorm1d(32), nn.Linear(32, 4)), torch.randn(8, 16)


def test_the_number_of_threads_may_change() -> None:
    before = torch.get_num_threads()
    x = torch.randn(64, 1000)
    f = compiled(lambda x: (x.softmax(1) * 2).sum(0))
    try:
        for threads in (before, 1, 3, before):
            torch.set_num_threads(threads)
            torch.testing.assert_close(f(x), (x.softmax(1) * 2).sum(0))
    finally:
        torch.set_num_threads(before)


def test_threads_train_through_one_function() -> None:
    """Each thread has inputs of its own, of other sizes; one of them compiles while others run."""
    f = torch.compile(lambda x: (x.sin() * x).exp().sum(), backend="ourjit")
    failures: list[Any] = []

    def work(size: int) -> None:
        try:
            for _ in range(10):
                x = torch.linspace(0, 1, size).requires_grad_()
                y = x.detach().clone().requires_grad_()
                f(x).backward()
                (y.sin() * y).exp().sum().backward()
                torch.testing.assert_close(x.grad, y.grad)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(size,)) for size in (3, 300, 5000, 300)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_copies_of_a_compiled_model() -> None:
    model, x = model_and_batch()
    model.eval()
    jit = torch.compile(model, backend="ourjit")
    expected = model(x)
    torch.testing.assert_close(jit(x), expected)
    stream = io.BytesIO()
    torch.save(model, stream)
    stream.seek(0)
    for other in (
        copy.deepcopy(jit),
        torch.compile(copy.deepcopy(model), backend="ourjit"),
        torch.compile(pickle.loads(pickle.dumps(model)), backend="ourjit"),
        torch.load(stream, weights_only=False),
    ):
        torch.testing.assert_close(other(x), expected)
    other = copy.deepcopy(jit)
    with torch.no_grad():
        next(other.parameters()).zero_()
    torch.testing.assert_close(jit(x), expected)
    assert not torch.allclose(other(x), expected)


def test_state_travels() -> None:
    model, x = model_and_batch()
    jit = torch.compile(model, backend="ourjit")
    jit(x).sum().backward()
    twin, _ = model_and_batch()
    twin.load_state_dict(jit._orig_mod.state_dict())
    torch.testing.assert_close(twin.eval()(x), jit.eval()(x))
    jit.double()
    assert jit(x.double()).dtype == torch.float64


def times_two(x: Tensor) -> Tensor:
    return x * 2 + 1


class Mapped(torch.utils.data.Dataset[Tensor]):
    def __init__(self, fn: Program) -> None:
        self.fn = fn

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> Tensor:
        return self.fn(torch.full((4,), float(i)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("compiled_before", [True, False])
def test_workers_of_a_loader(compiled_before: bool) -> None:
    fn = torch.compile(times_two, backend="ourjit")
    if compiled_before:
        fn(torch.ones(4))
    loader = torch.utils.data.DataLoader(
        Mapped(fn), batch_size=2, num_workers=2, multiprocessing_context=multiprocessing.get_context("fork")
    )
    batches = torch.cat(list(loader))
    assert torch.equal(batches, times_two(torch.arange(6.0)[:, None].expand(6, 4)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_trains_and_compiles_anew() -> None:
    f = torch.compile(lambda x: x.softmax(-1).exp().sum(), backend="ourjit")
    f(torch.ones(64, 64, requires_grad=True)).backward()
    child = os.fork()
    if child == 0:
        x = torch.ones(32, 65, requires_grad=True)
        f(x).backward()
        os._exit(0 if x.grad is not None else 1)
    assert os.waitpid(child, 0)[1] == 0


# --- errors ------------------------------------------------------------------------------------------


def test_an_error_in_the_middle_of_a_call() -> None:
    """What ran before it is done, what comes after is not, and the next call works."""
    fail = [False]

    @torch.library.custom_op("ourjit_around::maybe", mutates_args=())
    def maybe(x: Tensor) -> Tensor:
        if fail[0]:
            raise ValueError("not today")
        return x.clone()

    maybe.register_fake(torch.empty_like)
    f = torch.compile(lambda x: maybe(x.sin()).cos(), backend="ourjit")
    x = torch.randn(64)
    for fail[0] in (False, True, False):
        if fail[0]:
            with pytest.raises(ValueError, match="not today"):
                f(x)
        else:
            torch.testing.assert_close(f(x), x.sin().cos())


ERRORS: dict[str, tuple[Program, list[Tensor], type[Exception]]] = {
    "index out of range": (lambda x, i: F.embedding(i, x), [torch.randn(3, 2), torch.tensor([7])], IndexError),
    "bad shapes": (lambda x, y: x @ y, [torch.randn(3, 2), torch.randn(3, 2)], RuntimeError),
    "singular": (torch.linalg.solve, [torch.zeros(2, 2), torch.ones(2)], RuntimeError),
    "leaf in place": (lambda x, y: x.add_(y), [torch.ones(2, requires_grad=True), torch.ones(2)], RuntimeError),
    "division by zero": (lambda x, y: x // y, [torch.ones(2).long(), torch.zeros(2).long()], RuntimeError),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_of_eager(name: str) -> None:
    fn, args, kind = ERRORS[name]
    with pytest.raises(kind):
        fn(*args)
    with pytest.raises((kind, RuntimeError)):
        torch.compile(fn, backend="ourjit")(*args)
    x = args[0].detach()
    torch.testing.assert_close(torch.compile(times_two, backend="ourjit")(x), times_two(x))


def test_memory_is_given_back() -> None:
    """After the last reference: neither graphs nor saved tensors stay."""
    model, x = model_and_batch()
    jit = torch.compile(model, backend="ourjit")
    jit(x).sum().backward()
    dead = [weakref.ref(model), weakref.ref(x)]
    del model, jit, x
    torch.compiler.reset()
    ourjit.reset()
    gc.collect()
    assert [r() is None for r in dead] == [True, True]
