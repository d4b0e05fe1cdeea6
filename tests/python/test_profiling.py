"""What other tools see of compiled programs: torch.profiler, TORCH_LOGS, Dynamo's counters, logs of guards."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from check import STRICT, compiled
from ourjit import _C
from torch import Tensor
from torch._dynamo import config
from torch._dynamo.utils import compile_times, counters
from torch.profiler import ProfilerActivity, profile


def two_lines(x: Tensor) -> Tensor:
    y = torch.sin(x)
    return (y * 2).sum()


def line_of(text: str) -> str:
    """Where `text` stands first in this file, as file.py:41."""
    lines = Path(__file__).read_text().splitlines()
    return f"{Path(__file__).name}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


def profiled(run: Callable[[], Any], **keywords: Any) -> Any:
    with profile(activities=[ProfilerActivity.CPU], **keywords) as recorded:
        run()
    return recorded


def test_kernels_and_graphs_are_records_of_the_profiler(device: str) -> None:
    run = compiled(two_lines)
    x = torch.randn(64, 32, requires_grad=True)
    run(x).backward()
    kernels = {kernel.name for kernel in ourjit.explain(two_lines, x).kernels}
    recorded = profiled(lambda: run(x).backward())
    parents = {e.name: e.cpu_parent.name for e in recorded.events() if e.name.startswith("ourjit::")}
    graphs = {name for name in parents if re.fullmatch(r"ourjit::(forward|backward)_\d+", name)}
    assert len(graphs) == 2
    assert {name.removeprefix("ourjit::") for name in parents.keys() - graphs} == kernels
    assert all(parents[name] in graphs for name in parents.keys() - graphs)
    assert {f"ourjit::{name}" for name in kernels} <= {average.key for average in recorded.key_averages()}


def test_a_trace_tells_python_lines(tmp_path: Path) -> None:
    run = compiled(two_lines)
    x = torch.randn(64, 32, requires_grad=True)
    run(x).backward()
    path = tmp_path / "trace.json"
    profiled(lambda: run(x).backward(), record_shapes=True).export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    lines = [e["args"].get("python", "") for e in events if str(e.get("name")).startswith("ourjit::k")]
    assert len(lines) >= 2, "forward and backward"
    assert all(line_of("y = torch.sin") in line or line_of("y * 2") in line for line in lines), lines


def test_library_calls_are_seen_too() -> None:
    run = compiled(lambda x: torch.linalg.svdvals(x @ x) * 2)
    x = torch.randn(8, 8)
    run(x)
    names = [e.name for e in profiled(lambda: run(x)).events()]
    assert "ourjit::aten.mm.default" in names and "aten::_linalg_svd" in names


def test_a_large_kernel_over_the_pool_is_one_record() -> None:
    run = compiled(lambda x: torch.tanh(x) * 2)
    x = torch.randn(1 << 20)
    run(x)
    names = [e.name for e in profiled(lambda: run(x)).events()]
    assert len([name for name in names if name.startswith("ourjit::k")]) == 1


def test_calls_of_several_threads_are_all_recorded() -> None:
    run = compiled(lambda x: x * 2 + 1)
    x = torch.randn(16)
    run(x)

    def in_threads() -> None:
        threads = [threading.Thread(target=run, args=(x,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    everywhere = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    names = [e.name for e in profiled(in_threads, experimental_config=everywhere).events()]
    assert len([name for name in names if name.startswith("ourjit::k")]) == 3


def test_an_error_ends_the_records() -> None:
    run = compiled(lambda x, i: x[i] * 2)
    x = torch.randn(4)
    run(x, torch.tensor([0]))

    def wrong() -> None:
        with pytest.raises(IndexError):
            run(x, torch.tensor([7]))
        run(x, torch.tensor([1]))

    recorded = profiled(wrong)
    graphs = [e for e in recorded.events() if e.name.startswith("ourjit::inference")]
    assert len(graphs) == 2 and all(e.cpu_parent is None or "ourjit" not in e.cpu_parent.name for e in graphs)


def test_guard_misses_tell_their_reason(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    kind = ("f32", (4, 8), (8, 1), "cpu")
    node = ("aten.add.Tensor", (("v", 0), 1, 1), ("r",), (kind,), "test.py:1")
    graph = {"name": "g", "inputs": [("x", kind)], "nodes": [node], "outputs": [("v", 1)]}
    compiler = _C.Compiler({"log": "guards"})
    run = compiler.compile(graph)
    for _ in range(2):
        run([torch.zeros(8, 4).t()])
    reason = "g: input 0 (x) was expected with strides [8, 1], but has [1, 4] and is copied"
    stats = compiler.stats()
    assert stats["guard_misses"] == 2
    assert stats["guard_miss_reasons"] == {reason: 2}
    assert capfd.readouterr().err.splitlines() == [f"[ourjit 0_g] guards: {reason}"] * 2


def test_recompilations_tell_their_guard(capfd: pytest.CaptureFixture[str]) -> None:
    def scaled(x: Tensor, n: float) -> Tensor:
        return x * n

    run = torch.compile(scaled, backend="ourjit", dynamic=False, options={"log": "guards"})
    run(torch.ones(4), 0.5)
    run(torch.ones(4), 1.5)
    run(torch.ones(5), 1.5)
    first, second = ourjit.stats()["recompilations"]
    assert first["function"] == f"scaled ({line_of('def scaled')})"
    assert first["guard"].startswith("n == 0.5") and first["value"] == "1.5"
    assert "size mismatch at index 0. expected 4, actual 5" in second["guard"] and second["value"] == "5"
    said = [line for line in capfd.readouterr().err.splitlines() if "guards: compiled again" in line]
    assert len(said) == 2 and "n == 0.5" in said[0] and said[0].endswith("but is 1.5")
    ourjit.reset()
    assert ourjit.stats()["recompilations"] == []


def test_other_backends_recompile_unseen() -> None:
    run = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
    compiled(lambda x: x + 2)(torch.ones(2))
    run(torch.ones(2))
    run(torch.ones(3))
    assert ourjit.stats()["recompilations"] == []


def test_the_recompile_limit_is_a_fallback(caplog: pytest.LogCaptureFixture) -> None:
    def limited(x: Tensor) -> Tensor:
        return x + 1

    run = torch.compile(limited, backend="ourjit", dynamic=False)
    with config.patch(recompile_limit=2), caplog.at_level(logging.WARNING, "ourjit"):
        for n in range(1, 6):
            assert torch.equal(run(torch.ones(n)), torch.full((n,), 2.0))
    name = f"limited ({line_of('def limited')})"
    reason = ourjit.stats()["fallbacks"][name]["reason"]
    assert "torch._dynamo.config.recompile_limit (2)" in reason and "size mismatch" in reason
    assert ourjit.stats()["fallbacks"][name]["count"] == 1
    assert len(ourjit.stats()["recompilations"]) == 1
    assert [r.getMessage() for r in caplog.records if r.name == "ourjit"] == [
        f"ourjit runs {name} uncompiled: {reason}"
    ]


def test_the_recompile_limit_is_an_error_if_strict() -> None:
    run = torch.compile(lambda x: x + 1, backend="ourjit", dynamic=False, options=STRICT)
    with config.patch(recompile_limit=1):
        run(torch.ones(2))
        with pytest.raises(Exception, match=r"recompile_limit \(1\)"):
            run(torch.ones(3))


def test_dynamos_counters_and_times() -> None:
    counters.clear()
    compiled(lambda x: (torch.sin(x) * 2).sum())(torch.randn(8, requires_grad=True)).backward()
    counted = counters["ourjit"]
    assert counted["graphs"] == 2
    assert counted["kernels_compiled"] + counted["kernels_loaded"] >= 2
    assert counted["fallbacks"] == 0
    assert "ourjit.compile" in compile_times(repr="csv")[0]
    torch.compile(lambda x: x.to(torch.uint16).float(), backend="ourjit")(torch.ones(3))
    assert counters["ourjit"]["fallbacks"] == sum(entry["count"] for entry in ourjit.stats()["fallbacks"].values()) > 0


def test_dynamo_explains_a_function() -> None:
    def broken(x: Tensor) -> Tensor:
        y = torch.sin(x)
        torch._dynamo.graph_break()
        return y * 2

    explained = torch._dynamo.explain(torch.compile(broken, backend="ourjit"))(torch.ones(4))
    assert (explained.graph_count, explained.graph_break_count) == (2, 1)
    assert torch.equal(torch.compile(broken, backend="ourjit")(torch.ones(4)), broken(torch.ones(4)))


def test_loops_tell_python_lines(tmp_path: Path) -> None:
    """Statements of the loop IR name their line, before and after scheduling, on both targets."""

    def normed(x: Tensor) -> Tensor:
        y = torch.cos(x)
        z = y - y.mean(1, keepdim=True)
        return z * 3

    wanted = {"cos": line_of("torch.cos(x)"), "sub": line_of("z = y - y.mean"), "reduce": line_of("z = y - y.mean")}
    for target in ("cpu", "sm_90"):
        folder = tmp_path / target
        options = {"dump": str(folder), "target": target}
        torch.compile(normed, backend="ourjit", options=options)(torch.randn(64, 200))
        texts = [path.read_text() for path in [*folder.rglob("*.loop"), *folder.rglob("*.scheduled")]]
        assert len(texts) == 2
        for text in texts:
            for word, line in wanted.items():
                found = [row for row in text.splitlines() if f" {word} " in row and not row.startswith("#")]
                assert found and all(row.endswith(f"# {line}") for row in found), (word, text)
            stores = [row for row in text.splitlines() if "store b" in row]
            assert stores and all(row.endswith(f"# {line_of('return z * 3')}") for row in stores), text
        torch.compiler.reset()


SCRIPT = """
import torch
def scaled(x, n):
    y = torch.sin(x) * n
    torch._dynamo.graph_break()
    return y + 1
run = torch.compile(scaled, backend="ourjit", dynamic=False)
x = torch.ones(4, requires_grad=True)
run(x, 0.5).sum().backward()
run(x, 1.5)
"""


def test_torch_logs(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    logs = "output_code,aot_graphs,+dynamo,recompiles,graph_breaks"
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "TORCH_LOGS": logs},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stderr
    assert "define void @k0_sin_mul" in said and "Output code of 0_forward_0, k0_sin_mul" in said
    assert "script.py:4" in said[said.index("Output code of") :]
    assert "Forward graph" in said and "Backward graph" in said
    assert "Recompiling function scaled" in said and "n == 0.5" in said
    assert "Graph break" in said
    assert "torchdynamo start compiling scaled" in said


def test_perf_map_names_kernels() -> None:
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    try:
        run = torch.compile(lambda x: torch.atan(x) * 5, backend="ourjit", options={**STRICT, "perf_map": True})
        run(torch.ones(8))
        rows = [line.split() for line in path.read_text().splitlines()]
        (row,) = [row for row in rows if row[2].startswith("ourjit::k0")]
        assert int(row[0], 16) > 0 and int(row[1], 16) > 16
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        path.unlink(missing_ok=True)


FAULTING = """
import ctypes
import torch
from ourjit import _C
kind = ("f32", (1 << 22,), (1,), "cpu")
node = ("aten.add.Tensor", (("v", 0), 1, 1), ("r",), (kind,), "test.py:1")
run = _C.Compiler({}).compile({"name": "g", "inputs": [("x", kind)], "nodes": [node], "outputs": [("v", 1)]})
torch.set_num_threads(1)
big = torch.empty(1 << 22)
ctypes.CDLL(None).mprotect(ctypes.c_void_p(big.data_ptr() // 4096 * 4096 + 4096), 1 << 20, 0)
run([big])
"""


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_gdb_knows_the_names_of_kernels(tmp_path: Path) -> None:
    """A kernel meets memory that may not be touched: gdb says in which it was."""
    (tmp_path / "fault.py").write_text(FAULTING)
    commands = ["-ex", "run", "-ex", "backtrace 6"]
    done = subprocess.run(
        ["gdb", "-batch", "-nx", *commands, "--args", sys.executable, str(tmp_path / "fault.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "SIGSEGV" in done.stdout, done.stdout + done.stderr
    frames = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert frames and "k0_add" in frames[0], done.stdout
