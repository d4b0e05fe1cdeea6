"""Attention in f32 on the CPU, which kernels of our own compute: values, gradients, layouts, masks, and equal bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import check_function, compiled
from torch import Tensor

FORWARD = "aten._scaled_dot_product_flash_attention_for_cpu.default"
BACKWARD = "aten._scaled_dot_product_flash_attention_for_cpu_backward.default"


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


def of_qkv(x: Tensor, heads: int, causal: bool = True) -> Tensor:
    """As in a GPT: queries, keys and values are views of one tensor, and heads are joined behind."""
    q, k, v = x.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("tokens", "size"), [(1, 8), (16, 1), (17, 5), (64, 64), (100, 33), (250, 16), (70, 256)])
def test_views_of_one_tensor(tokens: int, size: int, causal: bool) -> None:
    check_function(lambda x: of_qkv(x, 3, causal), randn(2, tokens, 9 * size))
    assert {FORWARD, BACKWARD} <= set(ourjit.stats()["library_calls"])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(30, 70), (70, 30), (1, 200), (5, 300)])
def test_more_keys_than_queries_and_fewer(queries: int, keys: int, causal: bool) -> None:
    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.2)

    check_function(f, randn(2, 2, queries, 24), randn(2, 2, keys, 24), randn(2, 2, keys, 24))


@pytest.mark.parametrize("shape", [(40, 40), (2, 3, 40, 40), (2, 1, 1, 40), (1, 3, 40, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("boolean", [False, True])
def test_masks(shape: tuple[int, ...], boolean: bool) -> None:
    mask = torch.rand(shape) > 0.4 if boolean else torch.randn(shape)

    def f(x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = x.unflatten(-1, (3, 3, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    check_function(f, randn(2, 40, 144), mask)


def test_rows_that_see_nothing_and_masks_in_other_orders() -> None:
    def f(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    inputs = [randn(2, 2, 40, 16) for _ in range(3)]
    mask = torch.randn(40, 40).masked_fill(torch.rand(40, 40) < 0.3, -torch.inf)
    mask[::7] = -torch.inf
    for m in (mask, mask.t(), torch.full((40, 40), torch.finfo(torch.float32).min), mask[:, :1].expand(40, 40)):
        check_function(f, *inputs, m)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(1, 2),
        lambda x: x.transpose(2, 3),
        lambda x: x[:, :, ::2],
        lambda x: x[..., ::2],
        lambda x: x[:, :1].expand(-1, 4, -1, -1),
        lambda x: x.flip(2),
    ],
)
def test_layouts_of_inputs(view: Callable[[Tensor], Tensor]) -> None:
    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(view(q), view(k) * 1.5, view(v))

    check_function(f, *(randn(2, 24, 24, 24) for _ in range(3)))


def test_gradients_that_are_expanded() -> None:
    check_function(lambda x: of_qkv(x, 2).sum(), randn(2, 50, 48))
    check_function(lambda x: of_qkv(x, 2).mean(1), randn(2, 50, 48))


def test_few_heads_of_keys_for_many_of_queries() -> None:
    def f(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True, is_causal=True)

    check_function(f, randn(2, 6, 50, 16), randn(2, 2, 50, 16), randn(2, 2, 50, 16))


def test_without_gradients_and_with_an_output_that_is_changed() -> None:
    with torch.no_grad():
        check_function(lambda x: of_qkv(x, 4).mul_(2).exp(), torch.randn(1, 80, 96))


def test_sizes_and_dtypes_that_are_left_to_aten() -> None:
    check_function(lambda x: of_qkv(x, 1), randn(1, 20, 3 * 300))
    check_function(lambda x: of_qkv(x, 2), randn(1, 20, 48).detach().double().requires_grad_(), tol=1e-9)
    half = torch.randn(1, 20, 48, dtype=torch.bfloat16, requires_grad=True)
    check_function(lambda x: of_qkv(x, 2), half, tol=2e-2)


def test_dynamic_shapes() -> None:
    f = compiled(lambda x: of_qkv(x, 2), dynamic=True)
    for tokens in (3, 16, 65, 200):
        x = randn(2, tokens, 96)
        torch.testing.assert_close(f(x), of_qkv(x, 2), atol=1e-5, rtol=1e-5)
    check_function(lambda x: of_qkv(x, 2), randn(2, 90, 96), dynamic=True)


@pytest.mark.parametrize(("batch", "tokens"), [(1, 330), (3, 64)])
def test_equal_bits_for_every_number_of_threads(batch: int, tokens: int, threads: Callable[[int], None]) -> None:
    f = compiled(lambda x: of_qkv(x, 3))
    x = randn(batch, tokens, 144)
    results = []
    for count in (1, 2, 2, 3):
        threads(count)
        y = f(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), x)))
    for y, grad in results[1:]:
        assert torch.equal(y, results[0][0])
        assert torch.equal(grad, results[0][1])
