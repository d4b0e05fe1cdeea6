"""`python -m ourjit`: doctor, run and explain; and the page about what was compiled."""

from __future__ import annotations

import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from ourjit import __main__ as command_line
from ourjit.report import figures, graph_layout, machine, svg

SCRIPT = """
import sys, torch
from helper import WIDTH
torch.manual_seed(0)
class Head(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x).tanh() * 3
model = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU(), Head(WIDTH, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
x, y = torch.randn(64, WIDTH), torch.randn(64, 1)
for step in range(int(sys.argv[1])):
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"{step} {loss.item():.3f}")
if len(sys.argv) > 2:
    if sys.argv[2] == "raise":
        raise ValueError("what the script raises")
    sys.exit(int(sys.argv[2]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("WIDTH = 32\n")
    return path


def python(*words: object, code: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


# --- commands ---------------------------------------------------------------------------------------


def test_wrong_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main([]) == 2
    assert command_line.main(["docter"]) == 2
    assert "there is no command 'docter'" in capsys.readouterr().err
    assert command_line.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in command_line.COMMANDS)


@pytest.mark.parametrize("command", ["run", "explain"])
def test_a_missing_script_is_told(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main([command, "missing.py"]) == 2
    error = capsys.readouterr().err
    assert "there is no script 'missing.py'" in error and "Traceback" not in error


def test_a_report_that_cannot_be_written_is_told_first(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["explain", "--html", str(script / "no" / "page.html"), str(script), "2"]) == 2
    assert command_line.main(["run", "--report", str(script.parent), str(script), "2"]) == 2
    assert command_line.main(["run", "--eager-steps", "-1", str(script), "2"]) == 2
    found = capsys.readouterr()
    assert found.err.count("the report cannot be written") == 2 and found.out == ""


def test_doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURJIT_VERIFY", "2")
    assert command_line.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert found["versions"]["torch"] == torch.__version__
    assert found["options"]["OURJIT_VERIFY"] == "2"
    assert found["self_test"]["compiles_and_runs"].startswith(("ok", "not"))


def test_doctor_finds_what_does_not_work(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ourjit.tools import doctor

    monkeypatch.setattr(doctor, "_compiles_and_runs", lambda: "the result differs")
    monkeypatch.setattr(doctor, "_compiles_cubin", lambda: 1 // 0)
    monkeypatch.setattr(doctor, "_nvrtc", lambda: {"path": "libnvrtc.so", "version": "13.0"})
    assert command_line.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "problem: compiles_and_runs: the result differs" in out and "ZeroDivisionError" in out


# --- scripts ----------------------------------------------------------------------------------------


def test_run_changes_nothing_and_tells_what_it_gained(script: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ourjit.tools import script as scripts

    assert scripts.run_script(str(script), ["8"]) == 0
    eager = capfd.readouterr().out
    done = python("-m", "ourjit", "run", "--json", script, 8, code=0)
    assert done.stdout == eager
    gain = json.loads(done.stderr[done.stderr.index("{") :])
    assert (gain["steps"], gain["eager_steps"], gain["modules"]) == (8, 3, {"Sequential": 8})
    assert gain["graphs"] >= 2 and gain["kernels_compiled"] + gain["kernels_loaded"] >= 2
    assert gain["fallbacks"] == {} and gain["graph_breaks"] == {}
    assert gain["eager_step"] > 0 and gain["first_compiled_step"] > gain["compiled_step"] > 0


def test_run_ends_as_the_script_does(script: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = python("-m", "ourjit", "run", "--eager-steps", 1, "--report", page, script, 3, "raise", code=1)
    assert "ValueError: what the script raises" in done.stderr and "runpy" not in done.stderr
    assert done.stderr.index("ValueError") < done.stderr.index("first compiled step")
    check_page(page.read_text(), {"forward_0", "backward_0"})


def test_explain_a_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["explain", "--json", str(script), "2"]) == 0
    printed = capsys.readouterr()
    data = json.loads(printed.out)
    assert [graph["name"].partition("_")[0] for graph in data["graphs"]] == ["forward", "backward", "update"]
    assert "0 " in printed.err  # what the script prints
    lines = [line for graph in data["graphs"] for kernel in graph["kernels"] for line in kernel["lines"]]
    assert any("tanh() * 3" in line["text"] for line in lines), lines


def in_process(script: Path, *words: str, eager_steps: int = 1) -> tuple[int, Any]:
    from ourjit.tools import run
    from ourjit.tools import script as scripts

    with scripts.compiled_script(eager_steps, reports=False) as watched:
        code = scripts.run_script(str(script), words)
    return code, run.gain_of(watched)


def test_exit_codes_and_inference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "infer.py"
    path.write_text(
        "import sys, torch\n"
        "model = torch.nn.Linear(4, 4)\n"
        "with torch.no_grad():\n"
        "    for _ in range(4): model(torch.ones(2, 4))\n"
        "sys.exit(int(sys.argv[1]))\n"
    )
    code, gain = in_process(path, "7")
    assert code == 7
    assert (gain.steps, gain.eager_steps, gain.step_is) == (4, 1, "a call of a module")
    assert gain.graphs == 1
    assert torch.nn.Module._compiled_call_impl is None


def test_what_the_script_compiles_is_compiled_by_ourjit(tmp_path: Path) -> None:
    path = tmp_path / "compiled.py"
    path.write_text(
        "import torch\n"
        "@torch.compile(mode='max-autotune')\n"
        "def f(x): return x.exp().sum()\n"
        "model = torch.compile(torch.nn.Linear(4, 4), backend='inductor')\n"
        "for _ in range(3): f(model(torch.ones(2, 4)))\n"
    )
    code, gain = in_process(path)
    assert code == 0 and gain.graphs >= 2 and gain.modules == {"OptimizedModule": 3}


def test_what_cannot_be_compiled_runs_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ourjit.BackendError("no compiler is here")

    monkeypatch.setattr("ourjit.backend.Session.capture", fails)
    path = tmp_path / "infer.py"
    path.write_text("import torch\nmodel = torch.nn.Linear(4, 4)\nfor _ in range(3): model(torch.ones(2, 4))\n")
    code, gain = in_process(path)
    assert code == 0 and "no compiler is here" in gain.fallbacks["a graph"]["reason"]


# --- pages ------------------------------------------------------------------------------------------

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that elements nest, and gathers what refers elsewhere, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.references += [values[name] or "" for name in ("src", "href", "data", "action") if name in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open[-5:], self.getpos())
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(text: str, names: set[str]) -> Page:
    assert len(text) < 5_000_000
    page = Page(text)
    assert all(reference.startswith(("#", "data:,")) for reference in page.references), page.references
    assert not re.search(r"https?://|@import|url\(", text)
    assert all(reference[1:] in page.ids for reference in page.references if reference.startswith("#"))
    assert len(set(page.ids)) == len(page.ids)
    assert all(name in page.text for name in names)
    return page


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.norm, self.down = torch.nn.Linear(16, 32), torch.nn.LayerNorm(32), torch.nn.Linear(32, 16)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self.down(torch.nn.functional.gelu(self.norm(self.up(x))))
        return torch.nn.functional.cross_entropy(scores, y.flatten())


@pytest.fixture(scope="module")
def explanation() -> Any:
    return ourjit.explain(Net(), torch.randn(8, 16), torch.arange(8).view(4, 2))


def test_the_page_shows_everything(explanation: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    text = explanation.html(path, title="<a & b>")
    assert path.read_text() == text
    names = {kernel.name for kernel in explanation.kernels}
    assert names
    page = check_page(text, {*names, "forward_0", "backward_0", "<a & b>", "aten.mm.default"})
    assert 'data-step="0:-1"' in text  # the view of y that backward needs
    assert "self.norm(self.up(x))" in page.text  # a line of Python
    assert "define " in page.text and ".text" in page.text  # LLVM IR and assembly
    assert "check_tensor" in explanation.guard_text


def test_figures_are_plain_data(explanation: Any) -> None:
    data = json.loads(json.dumps(explanation.data()))
    forward = data["graphs"][0]
    assert all(step["seconds"] > 0 and step["share"] > 0 for step in forward["steps"])
    (norm,) = [k for k in forward["kernels"] if any("self.norm" in line["text"] for line in k["lines"])][:1]
    assert norm["flops"] >= 8 * 32 * 5 and norm["reads_bytes"] >= 8 * 32 * 4
    mm = next(step for step in forward["steps"] if step["name"] == "aten.mm.default")
    assert mm["flops"] == 2 * 8 * 16 * 32
    assert {"Dynamo", "AOTAutograd", "partition", "export", "decompose", "fusion", "machine code"} <= {
        stage["name"] for stage in data["stages"]
    }
    assert 0 < data["summary"]["compile_seconds"] < sum(stage["seconds"] for stage in data["stages"])
    own = [b for b in forward["memory"]["buffers"] if b["kind"] == "temp"]
    assert all(0 <= b["offset"] <= forward["memory"]["arena_bytes"] - b["bytes"] for b in own)


def test_measuring_changes_nothing() -> None:
    bn = torch.nn.BatchNorm1d(4)
    x = torch.randn(8, 4)
    expected = torch.nn.BatchNorm1d(4)
    expected(x)
    state = torch.get_rng_state()
    ourjit.explain(bn, x)
    torch.testing.assert_close(bn.running_mean, expected.running_mean)
    assert bn.num_batches_tracked == 1 and torch.equal(state, torch.get_rng_state())


def test_symbolic_sizes_have_figures_after_a_call() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.mark_dynamic(x, 0)
        return x

    report = ourjit.explain(lambda x: x.exp() * 2, f(torch.randn(12, 5)))
    (graph,) = report.data()["graphs"]
    assert graph["memory"]["buffers"] and graph["steps"][0]["reads_bytes"] == 12 * 5 * 4
    assert graph["steps"][0]["flops"] == 2 * 12 * 5


def test_limits_of_the_machine() -> None:
    limits = machine.Limits(bytes_per_second=100.0, flops_per_second=1000.0)
    assert limits.share(2.0, moved=100.0, flops=500.0) == (0.5, "bandwidth")
    assert limits.share(2.0, moved=10.0, flops=500.0) == (0.25, "arithmetic")


def test_flops_of_library_calls() -> None:
    def flops(target: str, *operands: tuple[int, ...], result: tuple[int, ...]) -> float | None:
        return figures.library_flops(target, [("f32", o) for o in operands], [("f32", result)])

    assert flops("aten.mm.default", (3, 4), (4, 5), result=(3, 5)) == 2 * 3 * 4 * 5
    assert flops("aten.addmm.default", (5,), (3, 4), (4, 5), result=(3, 5)) == 2 * 3 * 4 * 5
    assert flops("aten.convolution.default", (1, 3, 8, 8), (6, 3, 3, 3), result=(1, 6, 6, 6)) == 2 * 216 * 27
    assert flops("aten.sort.default", (4,), result=(4,)) is None


def test_boxes_do_not_overlap() -> None:
    nodes = [
        {"reads": [f"v{i - 1}"] if i else [], "defines": [f"v{i}"], "step": -1 if i % 5 == 3 else i // 2}
        for i in range(200)
    ]
    placed = graph_layout.layout(nodes)
    boxes = list(placed.boxes.values())
    assert len(placed.edges) == 199
    for i, a in enumerate(boxes):
        assert a.x >= 0 and a.x + a.width <= placed.width + 1 and a.y + a.height <= placed.height + 1
        for b in boxes[:i]:
            apart = a.x >= b.x + b.width or b.x >= a.x + a.width or a.y >= b.y + b.height or b.y >= a.y + a.height
            assert apart, (a, b)


def test_amounts() -> None:
    assert [svg.amount(v, "B") for v in (0, 12, 1.53e6)] == ["0 B", "12 B", "1.53 MB"]
    assert [svg.seconds_text(v) for v in (None, 2.5, 0.0123, 4.2e-6)] == ["-", "2.5 s", "12.3 ms", "4.2 µs"]


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_browser_shows_the_page_without_errors(explanation: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    # A click on each node: errors of scripts go to the console.
    click = (
        "<script>for (const n of document.querySelectorAll('[data-node], [data-step], [data-bar]')) n.dispatchEvent("
    )
    click += "new MouseEvent('click', {bubbles: true})); console.log('all clicked');</script></body>"
    page.write_text(explanation.html().replace("</body>", click))
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}/c"]
    done = subprocess.run(
        [str(BROWSER), *words, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=False, timeout=120
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert [line for line in console if "all clicked" not in line] == [] and len(console) == 1, done.stderr[-2000:]
    assert 'class="n on"' in done.stdout or 'class="n f on"' in done.stdout or 'class="b on"' in done.stdout
