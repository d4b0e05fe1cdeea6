"""Options, counters, explain and emit."""

from __future__ import annotations

import subprocess
import sys

import ourjit
import pytest
import torch
from check import compiled, kernels_made
from models import CASES
from ourjit import _C
from ourjit.options import check_options
from torch import Tensor


def test_entry_point_needs_no_import() -> None:
    code = (
        "import torch, sys; assert 'ourjit' not in sys.modules; "
        "f = torch.compile(lambda x: x.sin() + 1, backend='ourjit'); "
        "x = torch.randn(9); torch.testing.assert_close(f(x), x.sin() + 1); assert 'ourjit._C' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_import_is_light() -> None:
    code = "import ourjit, sys; assert 'torch._dynamo' not in sys.modules; assert 'torch._inductor' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_every_option_has_a_known_type_and_help() -> None:
    for name, kind, default, environment, _, text in _C.option_table():
        assert kind in ("bool", "int64_t", "std::string")
        assert environment == "OURJIT_" + name.upper()
        assert text and check_options({name: default}) == {name: default}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stric": True}, "unknown option 'stric'; did you mean 'strict'?"),
        ({"zzz": True}, "the options are"),
        ({"strict": 1}, "option 'strict' must be a bool"),
        ({"compile_threads": True}, "option 'compile_threads' must be a int"),
        ({"compile_threads": 2.0}, "option 'compile_threads' must be a int"),
        ({"dump": None}, "option 'dump' must be a str"),
        ([("strict", True)], "options must be a dict"),
    ],
)
def test_bad_options(options: object, message: str) -> None:
    with pytest.raises(ourjit.UserError) as caught:
        check_options(options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_bad_option_through_torch_compile() -> None:
    f = torch.compile(lambda x: x + 1, backend="ourjit", options={"max_vector_bits": 100})
    with pytest.raises(RuntimeError, match="max_vector_bits"):
        f(torch.ones(3))


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_vector_widths(bits: int) -> None:
    f = torch.compile(lambda x: (x.tanh() * x).sum(dim=1), backend="ourjit", options={"max_vector_bits": bits})
    x = torch.randn(33, 77)
    torch.testing.assert_close(f(x), (x.tanh() * x).sum(dim=1))


def test_without_fusion_there_are_more_kernels() -> None:
    x = torch.randn(100)

    def f(x: Tensor) -> Tensor:
        return (x.sin() + 1).exp() * x

    counts = []
    for fusion in (True, False):
        torch.compiler.reset()
        ourjit.reset()
        got = torch.compile(f, backend="ourjit", options={"fusion": fusion})(x)
        torch.testing.assert_close(got, f(x))
        counts.append(kernels_made())
    assert counts[0] == 1 and counts[1] > 1


def test_stats_and_reset() -> None:
    assert ourjit.stats()["graphs"] == 0
    compiled(lambda x, w: (x @ w).relu().sum())(torch.randn(8, 8, requires_grad=True), torch.randn(8, 8)).backward()
    stats = ourjit.stats()
    assert stats["graphs"] == 2
    assert kernels_made() >= 1
    assert 0 < stats["backend_seconds"] < 60
    assert sum(stats["library_calls"].values()) == 2
    assert stats["fallbacks"] == {} and stats["guard_misses"] == 0
    ourjit.reset()
    assert ourjit.stats()["graphs"] == 0 and ourjit.stats()["library_calls"] == {}


def test_fallback_is_counted_and_strict_mode_refuses_it() -> None:
    def f(x: Tensor) -> Tensor:
        return x.to(torch.uint16).float() + x

    x = torch.eye(4) * 2
    got = torch.compile(f, backend="ourjit")(x)
    torch.testing.assert_close(got, f(x))
    fallbacks = ourjit.stats()["fallbacks"]
    assert any("_to_copy" in name for name in fallbacks)
    assert all(entry["count"] > 0 and entry["reason"] for entry in fallbacks.values())
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="u16 is not native"):
        compiled(f)(x)


def test_a_graph_at_which_the_compiler_fails_runs_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ourjit.InternalError("a rule is broken")

    monkeypatch.setattr("ourjit.backend.export_graph", fails)
    x = torch.randn(3)
    assert torch.equal(torch.compile(torch.sin, backend="ourjit")(x), x.sin())
    assert "the compiler failed: a rule is broken" in ourjit.stats()["fallbacks"]["graph"]["reason"]
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="a rule is broken"):
        torch.compile(torch.cos, backend="ourjit", options={"strict": True})(x)


def test_explain_names_everything() -> None:
    case = CASES["mlp"]
    model = case.build(0.0)
    text = str(ourjit.explain(model, *case.batch(1)))
    for part in ("forward", "backward", "kernel", "aten.mm", "fallbacks: none", "models.py:"):
        assert part in text, part
    assert all(parameter.grad is None for parameter in model.parameters())
    assert ourjit.stats()["graphs"] == 0  # explaining counts apart


def test_explain_leaves_compiled_functions_alone() -> None:
    f = compiled(lambda x: x.sin() + 1)
    x = torch.randn(10)
    f(x)
    graphs = ourjit.stats()["graphs"]
    for _ in range(12):  # more often than Dynamo's recompile limit
        assert len(ourjit.explain(f, x).kernels) == 1
    f(x)
    assert ourjit.stats()["graphs"] == graphs


def test_emit() -> None:
    x = torch.randn(50, 60, requires_grad=True)
    kernels = ourjit.emit(lambda x: (x.tanh() * 2).sum(dim=1), x)
    assert len(kernels) == 2  # forward and backward
    for kernel in kernels:
        assert kernel.name in kernel.source and "define" in kernel.source
        assert "ret" in kernel.assembly()
        assert kernel.binary()[:4] == b"\x7fELF"
        assert any("test_options.py:" in line for line in kernel.provenance)
        assert kernel.resources()
    with pytest.raises(ourjit.UserError, match="option 'target' must be"):
        ourjit.emit(lambda x: x + 1, x, target="gpu")
