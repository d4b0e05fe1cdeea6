"""Every module of torch.nn, from torch's own database of modules: outputs, gradients and buffers as in eager."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from check import STRICT, assert_no_fallbacks, assert_same, leaf, run_function
from torch import nn
from torch.testing._internal.common_modules import ModuleInfo, ModuleInput, module_db
from torch.utils._pytree import tree_leaves, tree_map

SAMPLES = 2  # of a module and mode


def _samples(info: ModuleInfo, training: bool) -> list[ModuleInput]:
    """The first samples that call the module."""
    torch.manual_seed(0)
    device = torch.get_default_device().type
    drawn = info.module_inputs_func(info, device=device, dtype=torch.float32, requires_grad=True, training=training)
    return list(itertools.islice((s for s in drawn if s.forward_input is not None), SAMPLES))


def _run(module: nn.Module, call: Any, sample: ModuleInput) -> tuple[Any, Any, list[torch.Tensor]]:
    """Outputs, gradients of inputs and parameters, and buffers after one call."""
    args, keywords = tree_map(leaf, (sample.forward_input.args, sample.forward_input.kwargs))
    leaves = [t for t in tree_leaves((args, keywords)) if isinstance(t, torch.Tensor) and t.requires_grad]
    torch.manual_seed(1)
    outputs, gradients = run_function(lambda *_: call(*args, **keywords), (*leaves, *module.parameters()))
    return outputs, gradients, list(module.buffers())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("info", module_db, ids=lambda info: info.name.removeprefix("nn."))
def test_as_in_eager(info: ModuleInfo, training: bool, device: str) -> None:
    options: dict[str, Any] = {**STRICT, "fallback_random": True}
    for sample in _samples(info, training):
        made = sample.constructor_input
        module = info.module_cls(*made.args, **made.kwargs).to(torch.float32).train(training)
        twin = copy.deepcopy(module)
        expected = _run(module, module, sample)
        torch.compiler.reset()
        got = _run(twin, torch.compile(twin, backend="ourjit", options=options), sample)
        for what, a, b in zip(("output", "gradient", "buffer"), expected, got, strict=True):
            assert_same(a, b, what=what)
    assert_no_fallbacks()
