"""What a second process finds of the first one's work, and what it must not find."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from check import assert_same, compiled, kernels_made, needs_emulator
from ourjit import _C, backend, warm_start
from torch import Tensor, nn
from torch._dynamo.utils import counters

TESTS = Path(__file__).parent

# Trains a model for two steps and says what was found on disk.
TRAINING = """
    import json, sys, torch, ourjit
    from torch._dynamo.utils import counters
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 32), torch.nn.LayerNorm(32), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(32, 5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    options = {"strict": True, "matmul": "aten"}
    forward = torch.compile(model, backend="ourjit", options=options)
    step = torch.compile(optimizer.step, backend="ourjit", options=options)
    losses = []
    for _ in range(2):
        loss = forward(torch.randn(16, 20)).square().mean()
        loss.backward()
        step()
        optimizer.zero_grad()
        losses.append(loss.item())
    stats = ourjit.stats()
    print(json.dumps({
        "losses": losses, "weights": [p.double().sum().item() for p in model.parameters()],
        "hits": counters["aot_autograd"]["autograd_cache_hit"],
        **{name: stats[name] for name in ("kernels_compiled", "kernels_loaded", "graphs_restored", "graphs")}}))
"""


def run(code: str, folder: Path, env: dict[str, str] | None = None, *arguments: str) -> dict[str, Any]:
    """What a process with its caches in `folder` prints as JSON in its last line."""
    caches = {"OURJIT_CACHE": "1", "OURJIT_CACHE_DIR": str(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch")}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(
        command, env=os.environ | caches | (env or {}), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["warnings"] = [line for line in done.stderr.splitlines() if "ourjit" in line]
    return found


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first, second = run(TRAINING, tmp_path), run(TRAINING, tmp_path)
    assert first["kernels_compiled"] > 0 and first["kernels_loaded"] == first["graphs_restored"] == 0
    assert second["kernels_compiled"] == 0 and second["kernels_loaded"] == first["kernels_compiled"]
    assert second["graphs_restored"] == second["graphs"] == first["graphs"] == 3 and second["hits"] == 2
    assert second["losses"] == first["losses"] and second["weights"] == first["weights"]


@needs_emulator
def test_gpu_code_is_kept_as_well(tmp_path: Path) -> None:
    env = {"OURJIT_TARGET": "emulate"}
    first, second = run(TRAINING, tmp_path, env), run(TRAINING, tmp_path, env)
    assert second["kernels_compiled"] == 0 and second["kernels_loaded"] == first["kernels_compiled"] > 0
    assert second["losses"] == first["losses"] and second["weights"] == first["weights"]


def test_damaged_entries_are_compiled_again(tmp_path: Path) -> None:
    first = run(TRAINING, tmp_path)
    for i, file in enumerate(sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)):
        contents = file.read_bytes()
        middle = len(contents) // 2
        damaged = (contents[:middle], contents[:middle] + bytes([contents[middle] ^ 1]) + contents[middle + 1 :], b"")
        file.write_bytes(damaged[i % 3])
    second = run(TRAINING, tmp_path)
    assert second["kernels_compiled"] == first["kernels_compiled"] and second["losses"] == first["losses"]
    assert 1 <= sum("disk cache" in line for line in second["warnings"]) <= 4
    third = run(TRAINING, tmp_path)
    assert third["kernels_compiled"] == 0 and third["losses"] == first["losses"]


def test_graphs_without_kernels_are_restored_with_new_kernels(tmp_path: Path) -> None:
    first = run(TRAINING, tmp_path)
    second = run(TRAINING, tmp_path, {"OURJIT_CACHE_DIR": str(tmp_path / "other")})
    assert second["graphs_restored"] == 3 and second["kernels_compiled"] == first["kernels_compiled"]
    assert second["losses"] == first["losses"]


def test_a_graph_of_which_one_kernel_is_missing_is_compiled(tmp_path: Path) -> None:
    first = run(TRAINING, tmp_path)
    kernels = sorted(filter(is_kernel, tmp_path.glob("??/*.v*")))
    assert len(kernels) == first["kernels_compiled"]
    kernels[-1].unlink()
    second = run(TRAINING, tmp_path)
    assert second["kernels_compiled"] == 1 and second["kernels_loaded"] == first["kernels_compiled"] - 1
    assert second["losses"] == first["losses"]


def is_kernel(path: Path) -> bool:
    return any(name == "kernel" for name, _ in _C.cache_read(str(path.parents[1]), path.name.partition(".")[0])["key"])


def test_without_a_cache_nothing_is_written(tmp_path: Path) -> None:
    run(TRAINING, tmp_path, {"OURJIT_CACHE": "0"})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_other_options_and_settings_find_nothing(tmp_path: Path) -> None:
    run(TRAINING, tmp_path)
    assert run(TRAINING, tmp_path, {"OURJIT_MAX_VECTOR_BITS": "128"})["hits"] == 0
    assert run(TRAINING, tmp_path, {"OURJIT_FUSION": "0"})["graphs_restored"] == 0
    assert (
        run(TRAINING.replace("torch.manual_seed(0)", "torch.backends.cuda.enable_math_sdp(False)"), tmp_path)["hits"]
        == 0
    )


def test_folders_that_others_can_write_to_are_not_used(tmp_path: Path) -> None:
    run(TRAINING, tmp_path)
    (tmp_path / "torch").chmod(0o777)
    second = run(TRAINING, tmp_path)
    assert second["graphs_restored"] == 0 and second["kernels_compiled"] == 0
    tmp_path.chmod(0o777)
    third = run(TRAINING, tmp_path)
    assert third["kernels_loaded"] == 0 and any("disk cache" in line for line in third["warnings"])


def test_artifacts_carry_graphs_to_another_folder(tmp_path: Path) -> None:
    saved = (
        TRAINING + "\n    open(sys.argv[1], 'wb').write(torch.compiler.save_cache_artifacts()[0])\n    print('{}')\n"
    )
    loaded = TRAINING.replace(
        "torch.manual_seed(0)", "torch.compiler.load_cache_artifacts(open(sys.argv[1], 'rb').read())", 1
    ).replace("model =", "torch.manual_seed(0)\n    model =", 1)
    file = str(tmp_path / "artifacts")
    run(saved, tmp_path / "a", None, file)
    second = run(loaded, tmp_path / "b", None, file)
    assert second["graphs_restored"] == 3 and second["hits"] == 2


def test_dynamo_s_work_can_be_kept_as_well(tmp_path: Path) -> None:
    code = TRAINING.replace(
        "torch.manual_seed(0)", "torch._dynamo.config.caching_precompile = True; torch.manual_seed(0)"
    )
    code = code.replace(
        'step = torch.compile(optimizer.step, backend="ourjit", options=options)', "step = optimizer.step"
    )
    code += """
    if len(sys.argv) > 1:
        torch.compiler.save_cache_artifacts()
    found = dict(counters["dynamo_cache"]), counters["stats"]["unique_graphs"]
    print(json.dumps({"losses": losses, "dynamo": found, "graphs_restored": stats["graphs_restored"],
                      "kernels_compiled": stats["kernels_compiled"]}))
    """
    first, second = run(code, tmp_path, None, "save"), run(code, tmp_path)
    assert first["dynamo"] == [{"dynamo_cache_miss": 1}, 1]
    assert second["dynamo"] == [{"dynamo_cache_hit": 1}, 0]
    assert second["graphs_restored"] == 2 and second["kernels_compiled"] == 0
    assert second["losses"] == first["losses"]
    elsewhere = run(code, tmp_path, {"OURJIT_MAX_VECTOR_BITS": "128"})
    assert elsewhere["dynamo"] == second["dynamo"] and elsewhere["kernels_compiled"] > 0


def test_functions_in_files_run_without_tracing_on_any_machine(tmp_path: Path) -> None:
    head = """
    import json, sys, torch, ourjit
    from torch._dynamo.utils import counters
    def f(x, w):
        return torch.nn.functional.gelu(x @ w).softmax(-1)
    x, w = torch.linspace(-1, 1, 24).view(3, 8), torch.linspace(-2, 1, 128).view(8, 16)
    torch.set_grad_enabled(False)
    """
    save = """
    torch.compile(f, fullgraph=True, backend="ourjit").aot_compile(((x, w), {})).save_compiled_function(sys.argv[1])
    print("{}")
    """
    load = """
    g = torch.compiler.load_compiled_function(open(sys.argv[1], "rb"))
    torch.testing.assert_close(g(x, w), f(x, w))
    print(json.dumps({"graphs": ourjit.stats()["graphs"], "traced": counters["stats"]["unique_graphs"]}))
    """
    file = str(tmp_path / "function")
    run(head + save, tmp_path / "a", None, file)
    for env in ({}, {"OURJIT_MAX_VECTOR_BITS": "128"}):
        found = run(head + load, tmp_path / "b", env, file)
        assert found["graphs"] == 1 and found["traced"] == 0


# --- in one process: torch.compiler.reset() forgets all but what is on disk ---


def twice(make: Callable[[], Callable[..., Any]], *arguments: Tensor) -> tuple[int, int]:
    """Compiles equal functions one after the other, compares both with eager, and counts graphs restored."""
    counts = []
    for _ in range(2):
        torch.compiler.reset()
        ourjit.reset()
        fn = make()
        copies = [t.detach().clone().requires_grad_(t.requires_grad) for t in arguments]
        others = [t.detach().clone().requires_grad_(t.requires_grad) for t in arguments]
        expected, got = fn(*copies), compiled(fn)(*others)
        assert_same(expected, got)
        if isinstance(expected, Tensor) and expected.requires_grad:
            expected.sum().backward()
            got.sum().backward()
            assert_same([t.grad for t in copies], [t.grad for t in others], what="gradient")
        counts.append(ourjit.stats()["graphs_restored"])
    return counts[0], counts[1]


def test_equal_graphs_of_one_process_are_found_too() -> None:
    assert twice(lambda: lambda x: (x * 1.25).sin().exp(), torch.randn(7, requires_grad=True)) == (0, 2)


def test_a_strict_session_is_not_served_by_one_that_is_not() -> None:
    def f(x: Tensor) -> Tensor:
        return x.to(torch.uint16).float() * 2.5

    x = torch.ones(3)
    torch.compile(f, backend="ourjit", options={"cache": True})(x)
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="u16 is not native"):
        compiled(f)(x)


def test_what_a_key_cannot_tell_is_not_kept() -> None:
    def with_views(x: Tensor, y: Tensor) -> Tensor:
        x.add_(1)
        return y * 2

    @torch.library.custom_op("ourjit_tests::halved", mutates_args=())
    def halved(x: Tensor) -> Tensor:
        return x * 0.5

    halved.register_fake(torch.empty_like)
    halved.register_autograd(lambda ctx, g: g * 0.5)
    assert twice(lambda: lambda x: halved(x).sin(), torch.randn(4, requires_grad=True)) == (0, 0)
    assert any("code of the user" in reason for reason in ourjit.stats()["graphs_not_kept"])
    for offset in (0, 2, 4):
        torch.compiler.reset()
        memory, other = torch.zeros(8), torch.zeros(8)
        expected, got = (
            with_views(memory[:4], memory[offset : offset + 4]),
            torch.compile(with_views, backend="ourjit", options={"cache": True})(other[:4], other[offset : offset + 4]),
        )
        assert_same(expected, got)
        assert torch.equal(memory, other)
    assert ourjit.stats()["graphs_not_kept"]["inputs share memory"] >= 1


def test_floats_that_change_do_not_hide_in_an_entry() -> None:
    f = compiled(lambda x, a: torch.addcmul(x, x.sin(), x.cos(), value=a), dynamic=True)
    for a in (0.25, 0.5, -1.5):
        x = torch.randn(5, requires_grad=True)
        y = x.detach().clone().requires_grad_()
        torch.addcmul(x, x.sin(), x.cos(), value=a).sum().backward()
        f(y, a).sum().backward()
        assert_same(x.grad, y.grad)


def test_constants_are_kept_with_their_values() -> None:
    for value in (1.0, 2.0):
        got = twice(lambda value=value: lambda x: x + torch.tensor([value, 3.0, 4.0]), torch.randn(3))  # type: ignore[misc]
        assert got == (0, 1)


def test_backward_twice_from_an_entry() -> None:
    for _ in range(2):
        torch.compiler.reset()
        x = torch.randn(4, requires_grad=True)
        y = compiled(lambda x: (x.sin().exp() * x * 1.5).sum())(x)
        y.backward(retain_graph=True)
        y.backward()
        expected = torch.autograd.grad((x.sin().exp() * x * 1.5).sum(), x)[0]
        torch.testing.assert_close(x.grad, 2 * expected)


def test_symbolic_sizes_come_with_their_guards() -> None:
    def f(x: Tensor) -> Tensor:
        return x.softmax(-1) * (2.0 if x.shape[0] > 8 else 3.0)

    for _ in range(2):
        torch.compiler.reset()
        g = compiled(f, dynamic=True)
        for rows in (3, 5, 12, 20, 7):
            x = torch.randn(rows, 6)
            assert_same(f(x), g(x))


def test_each_component_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    options = backend.session({"cache": True}).options
    keys = {warm_start.key_of(options)}
    for name, _, value, _, affects_code, _ in _C.option_table():
        other = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value + "x"
        key = warm_start.key_of({**options, name: other})
        assert (key in keys) != affects_code, name
        keys.add(key)
    before = len(keys)
    with torch.inference_mode():
        keys.add(warm_start.key_of(options))
    for set_to, value, back in (
        (torch.set_default_dtype, torch.float64, torch.float32),
        (torch.set_float32_matmul_precision, "medium", "highest"),
        (torch.backends.cuda.enable_flash_sdp, False, True),
    ):
        set_to(value)
        keys.add(warm_start.key_of(options))
        set_to(back)
    monkeypatch.setattr(warm_start, "build", lambda: "another")
    keys.add(warm_start.key_of(options))
    assert len(keys) == before + 5


def test_renamed_parameters_and_reordered_options_find_their_graphs() -> None:
    class Model(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            setattr(self, name, nn.Parameter(torch.ones(6)))

        def forward(self, x: Tensor) -> Tensor:
            return (x * getattr(self, self.name)).tanh()

    restored = []
    kept = {"cache": True}
    for name, options in (
        ("a", {"strict": True, "fusion": True, **kept}),
        ("b", {**kept, "fusion": True, "strict": True}),
    ):
        torch.compiler.reset()
        ourjit.reset()
        torch.compile(Model(name), backend="ourjit", options=options)(torch.randn(3, 6)).sum().backward()
        restored.append(kernels_made())
        assert ourjit.stats()["kernels_compiled"] == (kernels_made() if name == "a" else 0)
    assert restored[0] == restored[1] > 0


def test_reports_compile_all_themselves() -> None:
    def f(x: Tensor) -> Tensor:
        return (x * 3.5).cos().sum()

    x = torch.randn(9)
    assert_same(f(x), compiled(f)(x))
    for _ in range(2):
        assert all("define" in kernel.source and kernel.loop_ir for kernel in ourjit.emit(f, x))
        assert "cos" in str(ourjit.explain(f, x))


def test_bypass_is_counted_by_torch() -> None:
    before = counters["aot_autograd"]["autograd_cache_bypass"]
    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        f = compiled(lambda x: x[x > 0] * 2)
        x = torch.randn(9)
        assert_same(x[x > 0] * 2, f(x))
    assert counters["aot_autograd"]["autograd_cache_bypass"] == before + 1
