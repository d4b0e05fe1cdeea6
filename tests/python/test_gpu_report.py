"""The script behind ./dev gpu: what it makes of results, of parts that fail, and of the emulated device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from ourjit import _gpu

# Appended: benchmarks/models.py must not hide the models of the tests.
sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"))
import report as reports
import run
import timing
import training_kernels

KEYS = {"version", "machine", "quick", "emulated", "errors", "bars", "tests", "models", "kernels"}
needs_emulator = pytest.mark.skipif(not _gpu.find_emulator(), reason="the emulator is not built")


def sample(emulated: bool = False) -> reports.Report:
    """A report of a run in which everything passed."""
    report = reports.new_report({"device": "GPU <1>"}, quick=True, emulated=emulated)
    report["tests"] = {"passed": 900, "failed": 0, "skipped": 2, "failures": []}
    report["models"] = {
        name: {"eager": {"step": 4e-3}, "ourjit": {"step": 1e-3, "first_step": 1.0}, "inductor": {"step": step}}
        for name, step in (("mlp", 1e-3), ("vae", 4e-3))
    }
    times = {"eager": {"ms": 4.0}, "ourjit": {"ms": 2.0, "launches": 1, "fallbacks": 0}, "inductor": {"ms": 2.1}}
    report["kernels"] = {name: times for name in ("softmax_f32", "softmax_f32_backward", "adamw_400")}
    report["kernels"]["host_time_per_launch"] = {"ourjit": {"us": 2.25, "launches": 64}}
    return report


def verdicts(report: reports.Report) -> dict[str, Any]:
    return {bar["name"]: bar["passed"] for bar in reports.judge(report)}


class Text(HTMLParser):
    """The text of a page, and what it would load from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_a_good_run_passes_every_bar(tmp_path: Path) -> None:
    report = sample()
    as_json, as_page = reports.write(report, tmp_path / "new" / "folder")
    read = json.loads(as_json.read_text())
    assert set(read) == KEYS and read["version"] == reports.VERSION
    assert all(set(bar) == {"name", "bar", "value", "passed"} for bar in read["bars"])
    assert len(read["bars"]) == 9 and all(bar["passed"] is True for bar in read["bars"])
    mean = read["bars"][-1]
    assert mean["value"] == pytest.approx(2.0)  # of 1 and 4
    page = Text(as_page.read_text())
    assert page.links == [] and "GPU <1>" in page.text and "900 passed, 0 failed, 2 skipped" in page.text
    assert "missed" not in page.text and "softmax_f32_backward over Inductor at least 1.0 1.05 passed" in page.text


@pytest.mark.parametrize(
    ("path", "value", "bar"),
    [
        (("tests", "failed"), 1, "tests that fail"),
        (("tests", "passed"), 0, "tests that fail"),
        (("kernels", "host_time_per_launch", "ourjit", "us"), 2.6, "host time a launch, us"),
        (("kernels", "adamw_400", "ourjit", "launches"), 2, "AdamW over 400 tensors, launches"),
        (("kernels", "adamw_400", "eager", "ms"), 1.9, "AdamW over torch's fused"),
        (("kernels", "adamw_400", "ourjit", "fallbacks"), 3, "operators of kernels that fall back"),
        (("kernels", "softmax_f32", "inductor", "ms"), 1.9, "softmax_f32 over Inductor"),
        (("kernels", "softmax_f32", "ourjit", "error"), "no", "kernels and models that fail"),
        (("models", "mlp", "error"), "no", "kernels and models that fail"),
        (("models", "vae", "inductor", "step"), 1e-3, "training steps over Inductor, geometric mean"),
    ],
)
def test_what_misses_a_bar(path: tuple[str, ...], value: Any, bar: str) -> None:
    report = json.loads(json.dumps(sample()))
    at = report
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    assert [name for name, passed in verdicts(report).items() if passed is False] == [bar]


def test_speed_is_not_judged_on_an_emulated_device() -> None:
    judged = [name for name, passed in verdicts(sample(emulated=True)).items() if passed is not None]
    assert judged == ["tests that fail", "kernels and models that fail", "operators of kernels that fall back"]


def test_a_part_that_fails_is_shown_and_stops_nothing(tmp_path: Path) -> None:
    report = reports.new_report({"device": "GPU"}, quick=False, emulated=False)

    def broken() -> None:
        raise RuntimeError("the tests <could> not start")

    reports.run_part(report, "tests", broken)
    reports.run_part(report, "kernels", lambda: {"softmax_f32": {"error": "exit code -11"}})
    assert "tests" not in report and report["errors"] == {"tests": "RuntimeError: the tests <could> not start"}
    _, as_page = reports.write(report, tmp_path)
    text = Text(as_page.read_text()).text
    assert "tests failed RuntimeError: the tests <could> not start" in text and "exit code -11" in text
    assert verdicts(report)["tests that fail"] is None and verdicts(report)["kernels and models that fail"] is False


def test_counts_of_a_pytest_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\n@pytest.mark.skip\ndef test_c(): pass\n"
        "@pytest.fixture\ndef broken(): raise ValueError('no fixture')\ndef test_d(broken): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", tmp_path, "--junitxml=found.xml"]
    subprocess.run([*command, "test_some.py"], cwd=tmp_path, capture_output=True, check=False)
    found = run.read_junit(tmp_path / "found.xml")
    assert [found[key] for key in ("passed", "failed", "skipped")] == [1, 2, 1]
    assert [failure["name"] for failure in found["failures"]] == ["test_some.test_b", "test_some.test_d"]
    assert "assert 1 == 2" in found["failures"][0]["text"] and "no fixture" in found["failures"][1]["text"]


@needs_emulator
def test_kernels_are_measured_in_processes_of_their_own() -> None:
    figures = run.run_kernel("softmax_f32_backward", "emulated", rounds=1)
    assert figures["eager"]["ms"] > 0 and figures["ourjit"]["ms"] > 0
    assert figures["ourjit"]["launches"] == 2 and figures["ourjit"]["fallbacks"] == 0
    assert "error" in run.run_kernel("no_such_kernel", "emulated", rounds=1)


def test_wrong_results_are_errors() -> None:
    x = torch.randn(100)
    assert training_kernels.differs([x], [x + 1e-6], torch.float32) == ""
    assert "wrong result" in training_kernels.differs([x], [x + 0.1], torch.float32)
    assert "wrong result" in training_kernels.differs([x], [x * torch.nan], torch.float32)


def test_median_of_each_round_in_turns() -> None:
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in ("a", "b")}
    times = timing.in_turns(calls, "cpu", rounds=2, count=3)
    assert order == ["a"] * 4 + ["b"] * 4 + ["a"] * 4 + ["b"] * 4
    assert all(len(times[name]) == 2 and min(times[name]) > 0 for name in calls)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said_and_is_an_error(tmp_path: Path) -> None:
    command = [sys.executable, run.__file__, "--out", tmp_path / "out"]
    env = {**os.environ, "PYTHONPATH": str(Path(ourjit.__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2 and "there is no GPU to run on: torch" in done.stderr
    assert not (tmp_path / "out").exists()


def test_page_of_benchmarks(tmp_path: Path) -> None:
    """The page of ./dev bench: bars of what was measured, and what failed."""
    import page

    figures = {"eager": {"median": 2e-3, "spread": 0.01}, "ourjit": {"median": 1e-3, "spread": 0.1}}
    row = {"case": "softmax", "elements": 10000, "threads": 1, "forward": figures, "backward": figures}
    table = {"title": "kernels", "columns": ["kernel", "eager,\nµs"], "rows": [["softmax", "2000 ±1%"]]}
    part = {"tables": [table], "results": [row], "errors": {"softmax, inductor": "no compiler"}}
    empty = {"tables": [], "results": None, "errors": {"models": "ended with exit code 1"}}
    data = {"models": empty, "kernels": part}
    for name in data:
        data[name] |= {"command": f"./dev bench {name}", "minutes": 1.0}
    written = page.write({"CPU": "one"}, data, tmp_path, "./dev bench")
    text = written[0].read_text()
    for line in (
        "| kernels over eager, forward, 1 thread | 2.00x | 2.00x |",
        "| softmax | 2000 ±1% |",
        "- softmax, inductor: no compiler",
        "- models: ended with exit code 1",
    ):
        assert line in text
    assert all(path.exists() for path in written)
