"""Repro files: what an error of the compiler leaves behind, and `python -m ourjit repro`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
from ourjit import _C, backend, repro
from ourjit.__main__ import main
from ourjit.graph_text import GraphText

FALLS_BACK = """\
graph @forward_0(s0, %x: f32[16, s0], %y: f32[16, 32]) -> (f32[16, s0], f32[32], f32[16, 32]) {
  %a: f32[16, s0] = call aten.mul.Tensor(%x, 2)  # model.py:3
  none, %b: f32[16], none = call aten._linalg_svd.default(%y, true, true, none)
  %c: f32[32, 16]{1, 32} = call aten.permute.default(%y, [1, 0])
  %d: f32[32] = call aten.sum.dim_IntList(%c, [1], false, none)
  %e: f32[16, 32] = call aten.add.Tensor(%y, 1, 1)
  %f: f32[16, 32] = call aten.geometric.default(%e, 0.5, none)  # model.py:7
  %g: f32[16, 32] = call aten.exp.default(%f)
  %h: f32[16, 32] = call aten.copy_.default(%y, %g, false)
  return %a{s0, 1}, %d, %g
}
"""


def fails() -> repro.Repro:
    """A repro whose error is one of the user, which every build meets."""
    made = repro.Repro(FALLS_BACK, {"strict": True}, notes=["input: float32 [16, 4], strides [4, 1], cpu"])
    with pytest.raises(_C.Unsupported) as caught:
        _C.Compiler(made.options).compile(made.graph)
    return repro.Repro(made.graph, made.options, repro.described(caught.value), made.notes)


class Broken:
    """A compiler that raises `error`."""

    def __init__(self, compiler: Any, error: Exception) -> None:
        self.compiler, self.error = compiler, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiler, name)

    def compile(self, *_: Any) -> Any:
        raise self.error


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["ourjit", *map(str, words)])
    return main()


@pytest.mark.parametrize("error", [_C.InternalError("no place for 3 bytes\nin %h"), _C.BackendError("LLVM failed")])
def test_an_error_of_the_compiler_writes_a_repro(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"dump": str(tmp_path / "dump"), "fusion": False}
    session = backend.session(options)
    monkeypatch.setattr(session, "compiler", Broken(session.compiler, error))
    compiled = torch.compile(lambda x: (torch.relu(x) * 2).sum(), backend="ourjit", options=options)
    x = torch.randn(4, 8, requires_grad=True)
    if isinstance(error, _C.InternalError):  # a bug of ours is counted; the program goes on
        with caplog.at_level(logging.WARNING):
            compiled(x).backward()
        assert x.grad is not None
        said = caplog.text
        assert "no place for 3 bytes" in ourjit.stats()["fallbacks"]["graph"]["reason"]
    else:
        with pytest.raises(Exception, match="LLVM failed") as caught:
            compiled(x)
        said = str(caught.value)
    files = sorted((tmp_path / "dump").glob("*.repro"))
    assert len(files) == (2 if isinstance(error, _C.InternalError) else 1)
    assert all(f"python -m ourjit repro {path}" in said for path in files)

    found = repro.parse(files[-1].read_text())
    assert found.options == {"fusion": False}
    assert found.error == f"{type(error).__name__}: {error}"
    assert any(note.startswith("input: float32 [4, 8], strides [8, 1], cpu") for note in found.notes)
    assert any("torch 2." in note for note in found.notes)
    assert "test_repro.py:" in found.graph
    assert run(monkeypatch, "repro", files[-1]) == 0
    assert "does not happen" in capsys.readouterr().out


def test_the_error_still_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.repro"
    path.write_text(fails().text())
    assert run(monkeypatch, "repro", path) == 1
    out = capsys.readouterr().out
    assert "the error still happens" in out and "aten.geometric.default" in out


def test_another_error_than_the_file_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.repro"
    path.write_text(repro.Repro(FALLS_BACK, {"strict": True}, "InternalError: of yesterday").text())
    assert run(monkeypatch, "repro", path) == 1
    assert "another error" in capsys.readouterr().out


def test_minimize_keeps_the_error_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, smaller = tmp_path / "a.repro", tmp_path / "a.min.repro"
    path.write_text(fails().text())
    assert run(monkeypatch, "repro", path, "--minimize") == 1
    found = repro.parse(smaller.read_text())
    graph = GraphText.parse(found.graph)
    assert [node.rest.partition("(")[0] for node in graph.nodes] == ["call aten.geometric.default"]
    assert graph.inputs == ("%e: f32[1, 1]",) and graph.outputs == ("%f",)
    assert repro.signature(found.error) == repro.signature(fails().error)
    assert run(monkeypatch, "repro", smaller) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "import os\n",
        repro.FORMAT + "\n",
        repro.FORMAT + "\n# option fusion: perhaps\n" + FALLS_BACK,
        repro.FORMAT + "\n# option fusion: 3\n" + FALLS_BACK,
        repro.FORMAT + "\n# option colour: 3\n" + FALLS_BACK,
        repro.FORMAT + "\n__import__('os')\n",
    ],
)
def test_wrong_usage(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.repro"
    path.write_text(text)
    assert run(monkeypatch, "repro", path) == 2
    assert run(monkeypatch, "repro", tmp_path / "missing") == 2
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "repro")
    assert caught.value.code == 2


def test_text_of_a_repro_parses_back() -> None:
    made = fails()
    again = repro.parse(made.text())
    assert (again.graph.strip(), again.options, again.error) == (made.graph.strip(), made.options, made.error)
    assert GraphText.parse(str(GraphText.parse(FALLS_BACK))) == GraphText.parse(FALLS_BACK)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    graph = {"name": "g", "inputs": [], "nodes": [], "outputs": []}
    options = {name: default for name, _, default, _, _, _ in _C.option_table()}
    path, sentence = repro.write(_C.InternalError("x"), graph, (), {**options, "dump": str(tmp_path / "file" / "sub")})
    assert path == "" and "cannot be written" in sentence
