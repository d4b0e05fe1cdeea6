"""The eight models: loss and every gradient against eager, in strict mode."""

from __future__ import annotations

import copy

import ourjit
import pytest
import torch
from check import STRICT, assert_no_fallbacks, check_model, compiled
from models import CASES


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients(name: str) -> None:
    case = CASES[name]
    check_model(case.build(0.0), case.batch(1), steps=2)


@pytest.mark.parametrize("name", CASES)
def test_only_library_work_is_left_to_aten(name: str) -> None:
    case = CASES[name]
    model = compiled(case.build(0.1))
    model(*case.batch(1)).backward()
    library = {
        "mm", "bmm", "addmm", "baddbmm", "convolution", "convolution_backward",
        "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward",
        "_assert_async", "mkldnn",
    }  # fmt: skip
    for call in ourjit.stats()["library_calls"]:
        assert call.split(".")[1] in library, call
    assert ourjit.stats()["kernels_compiled"] + ourjit.stats()["kernels_loaded"] > 0
    assert_no_fallbacks()


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize("name", ["resnet", "bert"])
def test_inference(name: str) -> None:
    case = CASES[name]
    model = case.build(0.0).eval()
    batch = case.batch(1)
    with torch.no_grad():
        torch.testing.assert_close(compiled(model)(*batch), model(*batch), rtol=1e-4, atol=1e-4)
    assert_no_fallbacks()


@pytest.mark.parametrize("name", ["char_gpt", "mlp", "resnet"])
def test_dynamic_batch(name: str) -> None:
    """One compilation serves every batch size."""
    case = CASES[name]
    model = case.build(0.0)
    jit_model = copy.deepcopy(model)
    jit = torch.compile(jit_model, backend="ourjit", options=STRICT, dynamic=True)
    graphs = None
    for scale in (2, 3, 4):
        batch = case.batch(scale)
        expected, got = model(*batch), jit(*batch)
        expected.backward()
        got.backward()
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        for (parameter, a), b in zip(model.named_parameters(), jit_model.parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-3, msg=parameter)
        graphs = graphs or ourjit.stats()["graphs"]
        assert ourjit.stats()["graphs"] == graphs
    assert_no_fallbacks()


def test_training_follows_eager() -> None:
    """100 steps of AdamW on the character-level GPT: each loss within 1e-4 of eager's."""
    case = CASES["char_gpt"]
    model = case.build(0.0)
    jit_model = copy.deepcopy(model)
    jit = compiled(jit_model)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-3) for m in (model, jit_model)]
    for step in range(100):
        batch = case.batch(1)
        losses = []
        for run, optimizer in zip((model, jit), optimizers, strict=True):
            loss = run(*batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert abs(losses[1] - losses[0]) <= 1e-4 * abs(losses[0]), f"step {step}: {losses}"


def test_runs_are_bit_equal_for_any_number_of_threads() -> None:
    case = CASES["mlp"]
    model = case.build(0.0)
    batch = case.batch(1)
    jit = compiled(model)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            model.norm.weight.grad = model.norm.bias.grad = None
            loss = jit(*batch)
            loss.backward()
            results.append((loss.detach().clone(), model.norm.weight.grad.clone(), model.norm.bias.grad.clone()))
    finally:
        torch.set_num_threads(threads)
    # Matrix products are the library's; what they feed may differ between thread counts only through them.
    for a, b in zip(results[1], results[3], strict=True):
        assert torch.equal(a, b)
