"""What a program does around its compiled graphs: breaks, modes, transforms, tensors of other kinds, hooks."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import assert_same, compiled, run_function
from torch import Tensor, nn
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.checkpoint import checkpoint

pytestmark = pytest.mark.usefixtures("device")

Program = Callable[..., Any]


def fresh_copy(x: Any) -> Any:
    if not isinstance(x, Tensor) or x.layout != torch.strided:
        return x
    return x.detach().clone().requires_grad_(x.requires_grad)


def check(fn: Program, *args: Any, tol: float = 1e-5, **keywords: Any) -> None:
    """Outputs, gradients and inputs after the call equal eager's, graph breaks and fallbacks allowed."""
    eager_args, jit_args = tree_map(fresh_copy, args), tree_map(fresh_copy, args)
    expected = run_function(fn, eager_args)
    got = run_function(torch.compile(fn, backend="ourjit", **keywords), jit_args)
    assert_same(expected, got, tol=tol)
    assert_same(eager_args, jit_args, tol=tol, what="input after the call")
    for a, b in zip(tree_leaves(expected[0]), tree_leaves(got[0]), strict=True):
        if isinstance(a, Tensor):
            assert (a.requires_grad, a.is_inference()) == (b.requires_grad, b.is_inference())


# --- graph breaks and modes --------------------------------------------------------------------------


def breaks_in_two(x: Tensor) -> Tensor:
    y = x.sin() * 2
    torch._dynamo.graph_break()
    return y.cos() + x


def branches_on_a_value(x: Tensor) -> Tensor:
    y = x * 2
    return y.exp() if y.sum().item() > 0 else y - 1


def mixes_modes(x: Tensor) -> tuple[Tensor, ...]:
    with torch.no_grad():
        y = x.exp()
    torch._dynamo.graph_break()
    with torch.enable_grad():
        z = x * y
    return y, z, z.detach()


def default_dtype_changes(x: Tensor) -> Tensor:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    y = torch.ones(3) + x.shape[0] / 3
    torch.set_default_dtype(before)
    return y + torch.ones(3)


def loops(x: Tensor) -> Tensor:
    for i in range(3):
        x = x * i + 1
        if i == 1:
            torch._dynamo.graph_break()
    return x


def calls_back(x: Tensor) -> Tensor:
    inner = torch.compiler.disable(lambda t: t.sinh())
    return inner(x * 2) + x


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    "fn", [breaks_in_two, branches_on_a_value, mixes_modes, default_dtype_changes, loops, calls_back]
)
def test_several_graphs(fn: Program, sign: float) -> None:
    check(fn, torch.full((3,), sign, requires_grad=True))


# By the type of the device.
MODES: dict[str, Callable[[str], AbstractContextManager[Any]]] = {
    "none": lambda _: nullcontext(),
    "no_grad": lambda _: torch.no_grad(),
    "inference_mode": lambda _: torch.inference_mode(),
    "bf16": lambda kind: torch.autocast(kind, torch.bfloat16),
    "f16": lambda kind: torch.autocast(kind, torch.float16),
    "anomaly": lambda _: torch.autograd.set_detect_anomaly(True),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("inside", [True, False])
def test_modes(mode: str, inside: bool) -> None:
    """Around the call, or within the function; one compiled function goes through all of them."""
    linear, kind = nn.Linear(8, 8), torch.get_default_device().type

    def body(x: Tensor) -> Tensor:
        return F.softmax(linear(x), -1).sin()

    def within(x: Tensor) -> Tensor:
        with MODES[mode](kind):
            y = body(x)
        return y * 2

    x = torch.randn(4, 8, requires_grad=True)
    if inside:
        check(within, x, tol=1e-2)
        return
    jit = torch.compile(body, backend="ourjit")
    for name in (mode, "none", mode):
        with MODES[name](kind):
            assert_same(body(x), jit(x), tol=1e-2)
            assert body(x).requires_grad == jit(x).requires_grad


def test_default_dtype_of_the_caller() -> None:
    jit = torch.compile(lambda x: torch.ones(3) * x.shape[0] + 0.5, backend="ourjit")
    x = torch.randn(2)
    for dtype in (torch.float32, torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        try:
            assert jit(x).dtype == dtype
        finally:
            torch.set_default_dtype(torch.float32)


def test_python_random_numbers_are_inputs() -> None:
    """Dynamo traces a float as fp32 and passes fp64."""

    def f(x: Tensor) -> tuple[Tensor, ...]:
        return x + random.random(), random.uniform(1, 2) * x, x * random.randint(3, 9)

    jit = torch.compile(f, backend="ourjit")
    for seed in range(3):
        random.seed(seed)
        expected = f(torch.ones(3))
        random.seed(seed)
        assert_same(expected, jit(torch.ones(3)))


@pytest.mark.parametrize("capture", [True, False])
def test_sizes_that_the_data_tells(capture: bool) -> None:
    def f(x: Tensor, n: Tensor) -> tuple[Tensor, ...]:
        longer = torch.cat([x, torch.zeros(int(n.item()), 3)])
        longer[:4] = 7
        return longer, x[x > 0], x.nonzero(), torch.arange(3).repeat_interleave(torch.tensor([0, 2, 1]))

    names = ("capture_scalar_outputs", "capture_dynamic_output_shape_ops")
    with torch._dynamo.config.patch(dict.fromkeys(names, capture)):
        for n in (0, 1, 5):
            check(f, torch.randn(4, 3), torch.tensor(n))


# --- functions of functions --------------------------------------------------------------------------


def cubed(x: Tensor) -> Tensor:
    return (x.sin() ** 3).sum()


FUNCTIONALS: dict[str, Program] = {
    "grad": torch.func.grad(cubed),
    "grad of grad": torch.func.grad(lambda x: torch.func.grad(cubed)(x).sum()),
    "vmap": torch.func.vmap(lambda x: x.softmax(0) @ x),
    "vmap of grad": torch.func.vmap(torch.func.grad(cubed)),
    "jvp": lambda x: torch.func.jvp(cubed, (x,), (torch.ones_like(x),)),
    "vjp": lambda x: torch.func.vjp(torch.sin, x)[1](torch.ones_like(x)),
    "jacrev": torch.func.jacrev(lambda x: x.sum(0).exp()),
    "jacfwd": torch.func.jacfwd(lambda x: x.sum(0).exp()),
    "hessian": torch.func.hessian(cubed),
    "functional_call": lambda x: torch.func.functional_call(nn.ReLU(), {}, (x,)),
    "cond": lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)),
    "checkpoint": lambda x: checkpoint(lambda t: t.sin().exp(), x, use_reentrant=False),
    "autograd.grad": lambda x: torch.autograd.grad(cubed(y := x.detach().requires_grad_()), y)[0],
}


@pytest.mark.parametrize("name", FUNCTIONALS)
def test_functionals_inside(name: str) -> None:
    check(FUNCTIONALS[name], torch.randn(3, 3))


@pytest.mark.parametrize("name", ["cond", "checkpoint", "vmap"])
def test_functionals_inside_with_gradients(name: str) -> None:
    check(FUNCTIONALS[name], torch.randn(3, 3, requires_grad=True))


def test_loops_as_operators() -> None:
    from torch._higher_order_ops.scan import scan
    from torch._higher_order_ops.while_loop import while_loop

    def repeat(x: Tensor) -> Tensor:
        return while_loop(lambda i, t: i < 3, lambda i, t: (i + 1, t.sin() * 2), (torch.tensor(0), x))[1]

    def running(x: Tensor) -> tuple[Tensor, Tensor]:
        return scan(lambda carry, t: (carry + t, carry * t), torch.zeros(4), x, dim=0)

    check(repeat, torch.randn(4))
    check(running, torch.randn(5, 4))


def test_flex_attention() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return flex_attention(q, k, v, score_mod=lambda score, b, h, i, j: score + (i - j)) * 2

    check(attend, *(torch.randn(1, 2, 16, 16) for _ in range(3)), tol=1e-4)
    # The sums that it returns beside are f64 in eager, f32 in its trace.
    check(attend, *(torch.randn(1, 2, 16, 16, dtype=torch.float64) for _ in range(3)))


def test_custom_functions_and_operators() -> None:
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
            ctx.save_for_backward(x)
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
            (x,) = ctx.saved_tensors
            return g * ctx.factor + x, None  # not the derivative, so that it is seen

    @torch.library.custom_op("ourjit_around::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return x * 2

    twice.register_fake(torch.empty_like)
    twice.register_autograd(lambda ctx, g: g * 3)

    @torch.library.custom_op("ourjit_around::fill", mutates_args={"x"})
    def fill(x: Tensor, value: float) -> None:
        x.fill_(value)

    def f(x: Tensor) -> Tensor:
        y = torch.empty(4)
        fill(y, 3.0)
        return Scale.apply(twice(x).sin(), 2.0) + y

    check(f, torch.randn(4, requires_grad=True))


@pytest.mark.parametrize("dynamic", [False, True])
def test_custom_operators_that_write_to_views_of_inputs(dynamic: bool) -> None:
    """What they write to is a place in the storage of the input, which itself begins anywhere in its own."""

    @torch.library.custom_op("ourjit_around::triple", mutates_args={"x"})
    def triple(x: Tensor) -> None:
        x.mul_(3)

    def f(x: Tensor) -> Tensor:
        triple(x[0])
        return x + 1

    for begin, inner in [(1, 0), (2, 1), (0, 1)]:
        whole = [torch.arange(24.0).view(6, 4) for _ in range(2)]
        rows, more_rows = (w[begin:, inner:] for w in whole)
        fn = torch.compile(f, backend="ourjit", dynamic=dynamic)
        assert_same(f(rows), fn(more_rows))
        assert_same(f(rows[1]), fn(more_rows[1]))
        assert_same(whole[0], whole[1])


# --- tensors of other kinds --------------------------------------------------------------------------


def test_wrapper_subclasses() -> None:
    def f(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        y.mul_(2)
        return (x * y).sin(), y.t()

    pairs = [
        (
            TwoTensor(torch.arange(9.0).view(3, 3), torch.ones(3, 3)).requires_grad_(),
            TwoTensor(torch.ones(3, 3), torch.arange(9.0).view(3, 3)),
        )
        for _ in range(2)
    ]
    results = []
    for fn, (x, y) in zip((f, compiled(f)), pairs, strict=True):
        out, turned = fn(x, y)
        out.sum().backward()
        assert isinstance(out, TwoTensor) and isinstance(x.grad, TwoTensor)
        results.append([t for pair in (out, turned, y, x.grad) for t in (pair.a, pair.b)])
    assert_same(results[0], results[1])


RAGGED: dict[str, Program] = {
    "pointwise": lambda x: x.sin() * 2,
    "two outputs": lambda x: (x + 1, (x + 1).cos()),
    "normed": lambda x: F.layer_norm(x, (8,)),
    "transposed": lambda x: x.transpose(1, 2) * 2,
    "its size": lambda x: (x * x.size(0), x.size(1))[0],
    "its values": lambda x: (x * x).values(),
    "padded": lambda x: x.to_padded_tensor(0.0) + 1,
    "attention": lambda x: F.scaled_dot_product_attention(*(x.unflatten(-1, (2, 4)).transpose(1, 2),) * 3),
}


@pytest.mark.parametrize("name", RAGGED)
def test_ragged_tensors(name: str) -> None:
    """The size of a ragged dim is no number, and is known by the identity of the tensor of offsets."""

    def dense(t: Tensor) -> Tensor:
        return t.values() if t.is_nested else t

    values = [torch.randn(n, 8) for n in (2, 5, 3)]
    results = []
    for fn in (RAGGED[name], torch.compile(RAGGED[name], backend="ourjit")):
        x = torch.nested.nested_tensor(values, layout=torch.jagged, requires_grad=True)
        outputs = tree_leaves(fn(x))
        torch.stack([dense(t).square().sum() for t in outputs]).sum().backward()
        assert x.grad is not None and x.grad.shape == x.shape
        results.append([dense(t) for t in outputs] + [x.grad.values()])
    assert_same(results[0], results[1], tol=1e-5)


KINDS: dict[str, tuple[Program, Callable[[], Tensor]]] = {
    "sparse": (lambda x: x.to_dense() * 2, lambda: torch.eye(3).to_sparse()),
    "csr": (lambda x: x @ torch.ones(3, 2), lambda: torch.eye(3).to_sparse_csr()),
    "complex": (lambda x: (x * 2j).abs() + x.real, lambda: torch.randn(3, dtype=torch.complex64)),
    "conjugated": (lambda x: x * 2, lambda: torch.randn(3, dtype=torch.complex64).conj()),
    "negated": (lambda x: x * 2, lambda: torch.randn(3, dtype=torch.complex64).conj().imag),
    "quantized": (lambda x: x.dequantize() + 1, lambda: torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.qint8)),
    "inference": (lambda x: x.sin(), lambda: torch.inference_mode()(torch.ones)(3)),
    "zero-dim": (lambda x: x * 2 + x.shape.numel(), lambda: torch.tensor(3.0)),
    "meta": (lambda x: x * 2, lambda: torch.ones(3, device="meta")),
    "parameter": (lambda x: x * 2, lambda: nn.Parameter(torch.ones(3))),
}


@pytest.mark.parametrize("name", KINDS)
def test_inputs_of_other_kinds(name: str) -> None:
    fn, make = KINDS[name]
    x = make()
    expected, got = fn(x), torch.compile(fn, backend="ourjit")(x)
    assert (got.device, got.dtype, got.shape) == (expected.device, expected.dtype, expected.shape)
    if not expected.is_meta:
        torch.testing.assert_close(got, expected)


# --- the backward pass -------------------------------------------------------------------------------


def test_backward_twice() -> None:
    x = torch.randn(4, requires_grad=True)
    y = compiled(lambda x: (x.sin().exp() * x).sum())(x)
    y.backward(retain_graph=True)
    assert x.grad is not None
    first, x.grad = x.grad, None
    y.backward()
    assert torch.equal(x.grad, first)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_a_saved_input_that_was_changed_is_noticed() -> None:
    x, w = torch.randn(4, requires_grad=True), torch.randn(4)
    y = compiled(lambda x, w: (x * w).sin().sum())(x, w)
    w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_derivatives_of_derivatives_are_refused_by_name() -> None:
    x = torch.randn(4, requires_grad=True)
    (g,) = torch.autograd.grad(compiled(lambda x: x.sin().sum())(x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        g.sum().backward()


def test_forward_mode_derivatives_are_refused_not_lost() -> None:
    f = compiled(lambda x: x.sin() * 2)
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(torch.randn(3), torch.ones(3))
        with pytest.raises(ourjit.UserError, match="input 0 carries a forward-mode derivative"):
            f(x)
    assert_same(torch.ones(3).sin() * 2, f(torch.ones(3)))


def test_hooks_run_once_each() -> None:
    seen: list[str] = []
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model[0].weight.register_hook(lambda g: seen.append("tensor") or g * 2)
    model[0].register_forward_hook(lambda *_: seen.append("forward"))
    model[2].register_full_backward_hook(lambda *_: seen.append("backward"))
    model[2].weight.register_post_accumulate_grad_hook(lambda _: seen.append("accumulated"))
    x = torch.randn(3, 4)
    results = []
    for fn in (model, torch.compile(model, backend="ourjit")):
        model.zero_grad()
        seen.clear()
        fn(x).sum().backward()
        results.append(([p.grad for p in model.parameters()], sorted(seen)))
    assert_same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_unused_and_frozen_inputs() -> None:
    def f(x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x * y.detach(), z + 1

    x, y, z = (torch.randn(3, requires_grad=name != "z") for name in "xyz")
    out, other = compiled(f)(x, y, z)
    out.sum().backward()
    assert x.grad is not None and y.grad is None and not other.requires_grad
