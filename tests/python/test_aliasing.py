"""Who shares memory with whom: a table of programs that mutate, view and return their inputs, observed as eager's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from check import STRICT, check_function, compiled, strides
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.usefixtures("device")

Program = Callable[..., Any]
Make = Callable[[], list[Any]]


def tensors(tree: Any) -> list[Tensor]:
    return [t for t in tree_leaves(tree) if isinstance(t, Tensor)]


def storage(t: Tensor) -> int:
    return t.untyped_storage().data_ptr() if t.numel() else 0


def observe(fn: Program, args: list[Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """Values (outputs, inputs after the call, gradients), and all else that a caller can see of them."""
    versions = [t._version for t in tensors(args)]
    outputs = tensors(fn(*args))
    every = tensors(args) + outputs
    roots = [storage(t) for t in every]
    seen: dict[str, Any] = {
        "who shares memory": [roots.index(root) for root in roots],
        "who is the same object": [next(j for j, u in enumerate(every) if u is t) for t in every],
        "offsets in shared memory": [
            t.storage_offset() - every[roots.index(storage(t))].storage_offset() for t in every
        ],
        "shapes": [tuple(t.shape) for t in every],
        "strides": [strides(t) for t in every],
        "dtypes": [t.dtype for t in every],
        "requires_grad": [t.requires_grad for t in every],
        "is_leaf": [t.is_leaf for t in every],
        "mutated": {i for i, (t, n) in enumerate(zip(tensors(args), versions, strict=True)) if t._version > n},
    }
    values = [t.detach().clone() for t in every]
    roots_of_loss = [t for t in outputs if t.requires_grad] or [t for t in tensors(args) if not t.is_leaf]
    if roots_of_loss:
        loss = sum((t.float() * torch.linspace(1, 2, t.numel()).view(t.shape)).sum() for t in roots_of_loss)
        leaves = [t for t in tensors(args) if t.is_leaf and t.requires_grad]
        if isinstance(loss, Tensor) and leaves:
            gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
            seen["gradients"] = [g is not None for g in gradients]
            values += [g for g in gradients if g is not None]
    return values, seen


def check(fn: Program, make: Make, strict: bool = True) -> None:
    jit = torch.compile(fn, backend="ourjit", options=STRICT if strict else {})
    for _ in range(2):
        torch.manual_seed(0)
        expected, want = observe(fn, make())
        torch.manual_seed(0)
        got, have = observe(jit, make())
        # AOTAutograd also counts what eager hides from autograd (.data, running statistics).
        assert have.pop("mutated") >= want.pop("mutated")
        assert have == want
        for a, b in zip(expected, got, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5, equal_nan=True)


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


class Attributes(nn.Module):
    """Parameters, a buffer that is written, and one that is bound anew."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4, momentum=0.5)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        return self.norm(self.linear(x)) * self.calls


def overlapping() -> list[Any]:
    base = torch.randn(10)
    return [base[:6], base[4:]]


def nested_views() -> list[Any]:
    base = torch.randn(4, 6)
    return [base, base[1:3], base.t()]


def of_one_leaf() -> list[Any]:
    x = leaf(4, 4)
    return [x, x.view(-1), x * 2]


def twice() -> list[Any]:
    x = torch.randn(4)
    return [x, x]


def add_to_both(x: Tensor, y: Tensor) -> Tensor:
    x.add_(1)
    y.mul_(2)
    return x.sum() + y.sum()


def add_to_base_then_view(base: Tensor, rows: Tensor, turned: Tensor) -> tuple[Tensor, ...]:
    rows.mul_(2)
    base.add_(1)
    turned[0] = 7
    return rows * 2, base.sum(0), turned.exp()


def write_into(x: Tensor, out: Tensor) -> Tensor:
    torch.mul(x, 2, out=out)
    torch.add(x, out, out=out[:])
    return out


def mutate_leaf(x: Tensor) -> Tensor:
    with torch.no_grad():
        x.mul_(2)
    return x.sin().sum()


def mutate_twice_removed(x: Tensor) -> Tensor:
    y = x.sin()
    z = y.view(-1)[1:]
    z.mul_(3)
    y[0].add_(1)
    return y * z.sum()


def through_set(x: Tensor, y: Tensor) -> Tensor:
    x.set_(y.clone())
    return x + y


def through_data(x: Tensor) -> Tensor:
    x.data.mul_(2)
    return x * 3


def unsqueezed_in_place(x: Tensor) -> Tensor:
    x.unsqueeze_(0)
    x.transpose_(0, 1)
    return x + 1


def swap_through_views(x: Tensor) -> tuple[Tensor, Tensor]:
    a, b = x.chunk(2)
    saved = a.clone()
    a.copy_(b)
    b.copy_(saved)
    return a, b


def index_put_into_a_view(x: Tensor) -> Tensor:
    x.t()[torch.tensor([0, 2, 0]), 1] += 5
    x.diagonal().zero_()
    return x.sum(0)


def custom_inplace(x: Tensor) -> Tensor:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * 2

    return Double.apply(x.clone()) + 1


# Programs without a name of their own: (what they do, inputs).
SHORT: dict[str, tuple[Program, Make]] = {
    "output is input": (lambda x: (x, x + 1), lambda: [torch.randn(3)]),
    "output is leaf": (lambda x: (x, x * 2), lambda: [leaf(3)]),
    "output is a view of the input": (lambda x: (x[1:].t(), x.sin()), lambda: [torch.randn(4, 6)]),
    "output is a view of a leaf": (lambda x: (x[1:].t(), x.sin()), lambda: [leaf(4, 6)]),
    "one output twice": (lambda x: ((y := x * 2), y), lambda: [leaf(4, 6)]),
    "one input twice": (lambda x: (x, x), lambda: [torch.randn(4)]),
    "outputs are views of each other": (lambda x: ((y := x.exp()), y[1:], y.t()), lambda: [torch.randn(4, 4)]),
    "views of a hidden value": (lambda x: ((y := x.exp())[1:], y[0]), lambda: [leaf(4, 4)]),
    "detached and not": (lambda x: ((y := x.exp()), y.detach(), y.data), lambda: [leaf(4, 4)]),
    "detached input": (lambda x: (x.detach(), x.detach() * 2 + x), lambda: [leaf(4)]),
    "view of a detached input": (lambda x: (x.detach().view(-1), x * 2), lambda: [leaf(4, 2)]),
    "nothing": (lambda x: None, lambda: [torch.randn(4)]),
    "expanded": (lambda x: (x.expand(3, 4), x + 1), lambda: [leaf(4)]),
    "real view of complex": (lambda x: (torch.view_as_real(x), x * 2), lambda: [torch.randn(3, dtype=torch.complex64)]),
    "other dtype of the same memory": (lambda x: (x.view(torch.int32), x + 1), lambda: [torch.randn(4)]),
    "split input": (lambda x: (*x.split(2), x.sum()), lambda: [torch.randn(5)]),
    "as_strided of the input": (lambda x: x.as_strided((2, 2), (1, 2), 1), lambda: [torch.randn(8)]),
    "empty view": (lambda x: (x[5:], x[:0] * 2), lambda: [torch.randn(5)]),
    "mutated and returned": (lambda x: x.add_(1), lambda: [torch.randn(4)]),
    "mutated, view returned": (lambda x: x.add_(1).view(2, 2), lambda: [torch.randn(4)]),
    "mutated by zero": (lambda x: x.add_(0) * 2, lambda: [torch.randn(4)]),
    "mutated and put back": (lambda x: x.add_(1).sub_(1) * 2, lambda: [torch.arange(4.0)]),
    "mutated non-leaf": (lambda x: x.mul_(2).sin(), lambda: [leaf(4) * 3]),
    "mutated view of non-leaf": (lambda x: x[1:].mul_(2).sin(), lambda: [leaf(4) * 3]),
    "mutated strided": (lambda x: x.t().add_(1), lambda: [torch.randn(4, 4)[:, ::2][::2]]),
    "mutated expanded copy": (lambda x: x.expand(3, 4).clone().add_(1), lambda: [leaf(4)]),
    "copied from another dtype": (lambda x, y: x.copy_(y), lambda: [torch.randn(4), torch.arange(4)]),
    "copied onto an overlapping part": (lambda x: x[1:].copy_(x[:-1].clone()), lambda: [torch.randn(6)]),
    "same tensor passed twice": (lambda x, y: x.add_(1) * y, twice),
    "both of one memory mutated": (add_to_both, twice),
    "overlapping inputs mutated": (add_to_both, overlapping),
    "base and views mutated": (add_to_base_then_view, nested_views),
    "views of a leaf read": (lambda x, v, y: (x + v.view(4, 4), y), of_one_leaf),
    "out=": (write_into, lambda: [torch.randn(4), torch.empty(4)]),
    "out= of another shape": (lambda x, out: torch.add(x, x, out=out), lambda: [torch.randn(4), torch.empty(0)]),
    "filled from a number": (lambda x, n: x.fill_(n) + 1, lambda: [torch.randn(4), torch.tensor(3.0)]),
    "running statistics": (
        lambda x, m, v: F.batch_norm(x, m, v, training=True, momentum=0.2),
        lambda: [leaf(4, 3), torch.zeros(3), torch.ones(3)],
    ),
    "embedding renormed": (
        lambda i, w: F.embedding(i, w, max_norm=1.0),
        lambda: [torch.tensor([0, 2]), torch.randn(4, 8) * 3],
    ),
    "relu in place": (lambda x: F.relu(x * 2, inplace=True), lambda: [leaf(4, 4)]),
    "list appended": (lambda xs: [*xs, xs[0] + 1], lambda: [[torch.randn(3), torch.randn(3)]]),
    "foreach": (lambda xs: torch._foreach_add_(xs, 1.0), lambda: [[torch.randn(3), torch.randn(4)]]),
    "scatter in place": (
        lambda x, i: x.scatter_add_(0, i, torch.ones(3)).exp(),
        lambda: [torch.randn(4), torch.tensor([1, 1, 3])],
    ),
    "equal values": (lambda x: (x + 1, x + 1, x.clone(), x.clone()), lambda: [leaf(4)]),
    "views of equal values": (lambda x: ((x + 1).t(), (x + 1)[0]), lambda: [leaf(4, 4)]),
    "view_copy": (lambda x: (torch.view_copy(x, (8,)), torch.unsqueeze_copy(x, 0)), lambda: [torch.randn(4, 2)]),
    "as_strided_copy": (lambda x: torch.as_strided_copy(x, (2, 2), (2, 1)), lambda: [torch.randn(8)]),
    "dropout that drops nothing": (lambda x: (F.dropout(x, 0.5, False), F.dropout(x, 0.0)), lambda: [leaf(4)]),
    "dropout that drops nothing of none": (lambda x: (F.dropout(x), x + 1), lambda: [torch.randn(0, 3)]),
    "dropout in place that drops nothing": (lambda x: F.dropout(x, 0.5, False, True) * 2, lambda: [torch.randn(4)]),
    "windows of an output": (lambda x: ((y := x * 2), y.unfold(0, 3, 1)), lambda: [torch.randn(6)]),
    "as_strided of an output": (lambda x: ((y := x * 2), y.as_strided((2, 2), (1, 2), 1)), lambda: [torch.randn(8)]),
    "half of a concatenation": (lambda x, y: ((z := torch.cat([x * 2, y * 2])), z[:4]), lambda: [*twice()]),
    "pieces of a concatenation": (lambda x, y: ((z := torch.cat([x * 2, y * 2]))[:3], z[2:]), lambda: [*twice()]),
    "row of constants": (lambda x: ((y := torch.zeros_like(x)), y[0], y.view(-1)), lambda: [torch.randn(4, 4)]),
    "what was padded": (lambda x: ((y := F.pad(x, (1, 1))), y[:, 1:-1]), lambda: [torch.randn(4, 4)]),
    "beside what was written": (
        lambda x: ((y := torch.arange(8.0)), y[2:].add_(x), y[:2], y[4]),
        lambda: [torch.randn(6)],
    ),
    "pieces beside the whole": (lambda x, y: ((z := torch.cat([x, y])), *z.split(2)), lambda: [leaf(2, 3), leaf(2, 3)]),
    "row of what autograd does not follow": (
        lambda x: (x.sin(), (y := torch.stack([x, x]).detach()), y[0]),
        lambda: [leaf(4)],
    ),
    "parts of equal values": (lambda x: ((x + 1)[:3], (x + 1)[1:]), lambda: [torch.randn(4, 4)]),
    "where both are one": (lambda x, y: torch.where(x > 0, x, y).mul_(2) + x, twice),
}  # fmt: skip

NAMED: dict[Program, Make] = {
    mutate_leaf: lambda: [leaf(4)],
    mutate_twice_removed: lambda: [leaf(4, 4)],
    through_set: lambda: [torch.randn(4), torch.randn(4)],
    through_data: lambda: [leaf(4)],
    unsqueezed_in_place: lambda: [torch.randn(4)],
    swap_through_views: lambda: [torch.randn(6)],
    index_put_into_a_view: lambda: [torch.randn(4, 4)],
    custom_inplace: lambda: [leaf(4)],
}


# AOTAutograd makes one input of inputs that overlap, and as_strided of it: such graphs run as they are.
UNCOMPILED = {"as_strided of the input", "overlapping inputs mutated", "base and views mutated"}


@pytest.mark.parametrize("name", [*SHORT, *(f.__name__ for f in NAMED)])
def test_seen_from_outside(name: str) -> None:
    fn, make = SHORT.get(name) or next((f, m) for f, m in NAMED.items() if f.__name__ == name)
    check(fn, make, strict=name not in UNCOMPILED)


def test_pieces_of_an_input_are_views_to_autograd() -> None:
    """AOTAutograd leaves views that come several at a time to the graph."""
    for fn in (lambda x: x.unbind(0), lambda x: x.split(2)):
        x = leaf(4, 3) * 1
        pieces = compiled(fn)(x)
        with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
            pieces[0].mul_(2)


def test_a_write_to_one_output_is_noticed_by_who_saved_another() -> None:
    y, flat = compiled(lambda x: ((y := x.exp()), y.view(-1)))(torch.randn(4, 2))
    loss = (leaf(4, 2) * y).sum()
    flat.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("fn", [lambda x, w: (x @ w.t()).sum(), lambda x, w: F.linear(x.sin(), w).cos().sum()])
def test_a_step_between_forward_and_backward_is_noticed(fn: Program) -> None:
    x, w = leaf(3, 4), leaf(5, 4)
    loss = compiled(fn)(x, w)
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_one_value_is_one_object_and_two_values_are_two() -> None:
    a, b, c = compiled(lambda x: ((y := x * 2), y, y.detach()))(torch.randn(4))
    assert a is b and a is not c and a.data_ptr() == c.data_ptr()


def test_copies_of_inputs_that_are_modified_later_are_copies() -> None:
    """The input takes a gradient by the write, which is done after the graph has run."""

    def f(x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        before, joined = x.clone(), torch.cat([x, x[:0]])
        x.mul_(w)
        return before, joined, before.clone()

    for fn in (f, compiled(f)):
        x, w = torch.ones(3), torch.tensor([2.0], requires_grad=True)
        outputs = fn(x, w)
        assert x.tolist() == [2, 2, 2] and x.requires_grad
        assert all(o.tolist() == [1, 1, 1] for o in outputs)
        assert len({o.data_ptr() for o in (x, *outputs)}) == 4


def test_gradients_of_windows_that_overlap() -> None:
    """Torch would copy the gradient of an output to the strides of the output, where elements share memory."""
    x = torch.randn(2, 3, 6, requires_grad=True)
    check_function(lambda x: ((x * 2).as_strided((2, 3, 4, 3), (18, 6, 1, 1)), x.exp()), x)
    for dynamic in (False, True):
        check_function(lambda x: x.abs().unfold(2, 2, 1), x, dynamic=dynamic)


@pytest.mark.parametrize("first", [0, 1])
def test_outputs_beside_inputs_that_are_written_in_and_behind_the_graph(first: int) -> None:
    """Torch would put the input that the graph writes in the place of another output."""

    def program(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, ...]:
        a, d = (a, d) if first == 0 else (d, a)
        return a.sub_(b), c * 2, d.add_(1), c * 3

    for returned in (slice(None), slice(None, None, -1), slice(0, 3)):
        x, y = torch.randn(3, requires_grad=True), torch.randn(2, requires_grad=True)
        check_function(lambda *args, returned=returned: program(*args)[returned], torch.ones(3), x, y, torch.ones(3))
