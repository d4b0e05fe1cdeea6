"""`python -m ourjit cache`: on caches that are good, damaged, of others, and with hostile names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ourjit import _C
from ourjit.__main__ import main

NAMES = ("build", "kernel", "target")
ESCAPES = "\x1b[31mred\x07\r\n[bold]"


def save(cache: Path, kernel: str, *, build: str = "b1", name: str = "add", payload: bytes = b"code" * 100) -> str:
    key = list(zip(NAMES, (build, kernel, "avx2"), strict=True))
    return _C.cache_save(str(cache), key, [("name", name), ("seconds", "0.1")], payload)


def file_of(cache: Path, digest: str) -> Path:
    (found,) = (cache / digest[:2]).glob(digest + ".v*")
    return found


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


class Tool:
    """Runs the tool on a cache: calls return its exit code, `out` and `error` are what it printed."""

    def __init__(self, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.cache, self.capsys = cache, capsys
        self.out = self.error = ""

    def __call__(self, *words: str) -> int:
        try:
            code = main(["cache", *words, "--dir", str(self.cache)])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        self.out, self.error = self.capsys.readouterr()
        return code

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        assert self(*words, "--json") == code
        found: dict[str, Any] = json.loads(self.out)
        assert self.out.isascii() and "\x1b" not in self.out
        return found


@pytest.fixture
def tool(cache: Path, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(cache, capsys)


def test_empty(tool: Tool) -> None:
    for words in (["ls"], ["verify"], ["prune"], ["clear", "--yes"]):
        assert tool(*words) == 0, words
        assert tool.json(*words)
    assert not tool.cache.exists()
    assert tool("show", "ab") == 1
    assert tool("why", "ab", "cd") == 1


def test_good(tool: Tool) -> None:
    digests = [save(tool.cache, f"for i: {i}", name=f"kernel_{i}") for i in range(3)]
    for age, digest in enumerate(digests):
        os.utime(file_of(tool.cache, digest), (time.time() - 1000 * age,) * 2)
    assert tool("ls") == 0
    lines = tool.out.splitlines()
    assert lines[0].split() == ["key", "size", "used", "state", "about"]
    assert [line.split()[0] for line in lines[1:4]] == [digest[:12] for digest in digests]
    assert "kernel_0 seconds=0.1" in lines[1] and "17 min ago" in lines[2]
    assert "3 files" in lines[4] and "1.0 GiB" in lines[4]
    found = tool.json("ls", "--limit", "1")
    assert found["files"] == 3 and len(found["entries"]) == 1
    assert found["entries"][0]["key"] == {"build": "b1", "kernel": "for i: 0", "target": "avx2"}
    assert tool("verify") == 0 and "3 ok" in tool.out
    assert tool.json("verify") == {"directory": str(tool.cache), "states": {"ok": 3}, "problems": []}
    assert tool("show", digests[1][:10].upper()) == 0
    assert digests[1] in tool.out and "kernel: for i: 1" in tool.out and "name: kernel_1" in tool.out
    shown = tool.json("show", digests[1])
    assert shown["digest"] == digests[1] and shown["payload_bytes"] == 400 and shown["notes"]["seconds"] == "0.1"


def test_corrupt(tool: Tool) -> None:
    digests = [save(tool.cache, str(i)) for i in range(4)]
    head, payload, empty = (file_of(tool.cache, digest) for digest in digests[:3])
    data = bytearray(head.read_bytes())
    data[60] ^= 1
    head.write_bytes(data)
    data = bytearray(payload.read_bytes())
    data[-1] ^= 1
    payload.write_bytes(data)
    empty.write_bytes(b"")
    assert tool("ls") == 0
    assert tool.out.count(" corrupt ") == 2
    assert tool("verify") == 1
    assert "3 corrupt, 1 ok" in tool.out and "the checksum of its payload is wrong" in tool.out
    assert {problem["digest"] for problem in tool.json("verify", code=1)["problems"]} == set(digests[:3])
    assert tool("show", digests[1]) == 1 and "corrupt" in tool.error
    assert "corrupt" in tool.json("why", digests[0], digests[3], code=1)["error"]
    assert tool("prune", "--limit-mb", "0") == 0
    assert tool.json("verify")["states"] == {}


def test_what_is_not_ours(tool: Tool, tmp_path: Path) -> None:
    digest = save(tool.cache, "0")
    outside = tmp_path / "outside"
    outside.write_text("stays")
    ours = file_of(tool.cache, digest)
    (tool.cache / ESCAPES.replace("/", "")).write_text("x")
    (tool.cache / os.fsdecode(b"\xff\xfe")).write_text("x")
    (ours.parent / "..hidden").write_text("x")
    (ours.parent / ("0" * 32 + ".v1")).symlink_to(outside)
    (ours.parent / ("1" * 32 + ".v0")).write_text("of another version")
    (ours.parent / ".host.1.0123.tmp").write_text("unfinished")
    (ours.parent / ".nfs0001").write_text("open elsewhere")
    assert tool("ls") == 0
    assert "\x1b" not in tool.out and "\x07" not in tool.out and "\\x1b[31mred\\x07\\r\\n[bold]" in tool.out
    states = tool.json("verify", code=1)["states"]
    assert states == {"foreign": 4, "ok": 1, "refused": 1, "temporary": 1, "version": 1}
    tool.json("ls")
    for hostile in ("../../outside", "..", "/etc/passwd", "", "%", ESCAPES):
        assert tool("show", hostile) == 1
        assert "\x1b" not in tool.error
        tool.json("show", hostile, code=1)
    assert tool("clear", "--yes") == 0
    assert outside.read_text() == "stays"
    assert tool.json("verify", code=1)["states"] == {"foreign": 4, "refused": 1}
    left = {path.name for path in tool.cache.rglob("*") if path.is_file() and not path.is_symlink()}
    assert left >= {".nfs0001", "..hidden"} and not any(name.startswith(digest) for name in left)


def test_hostile_texts(tool: Tool) -> None:
    a = _C.cache_save(str(tool.cache), [("kernel", ESCAPES), (ESCAPES, "x")], [("name", ESCAPES)], b"")
    b = _C.cache_save(str(tool.cache), [("kernel", ESCAPES + "y\n"), (ESCAPES, "y")], [("name", "[/red]")], b"")
    for words, code in ((["ls"], 0), (["show", a], 0), (["why", a, b], 1), (["verify"], 0)):
        assert tool(*words) == code
        assert not set(tool.out) & set("\x1b\x07\r"), words
        tool.json(*words, code=code)


def test_why(tool: Tool) -> None:
    body = "".join(f"line {i}\n" for i in range(40))
    a = save(tool.cache, body)
    b = save(tool.cache, body.replace("line 20\n", "line twenty\n"), build="b2")
    assert tool("why", a[:8], b[:8]) == 1
    assert "build: b1 -> b2" in tool.out and "target" not in tool.out
    assert "-line 20" in tool.out and "+line twenty" in tool.out and "line 5" not in tool.out
    differences = tool.json("why", a, b, code=1)["differences"]
    assert [d["name"] for d in differences] == ["build", "kernel"]
    assert differences[0] == {"name": "build", "a": "b1", "b": "b2"}
    assert tool("why", a, a) == 0
    assert tool.json("why", a, a)["differences"] == []
    more = _C.cache_save(str(tool.cache), [("kernel", body), ("target", "avx2 " * 99)], [], b"")
    assert tool("why", a, more) == 1
    assert "build: only in " + a in tool.out and "target:" in tool.out


def test_ambiguous(tool: Tool) -> None:
    digests = [save(tool.cache, str(i)) for i in range(40)]
    firsts = [digest[0] for digest in digests]
    twice = next(first for first in firsts if firsts.count(first) > 1)
    assert tool("why", twice, digests[0]) == 2
    assert all(digest in tool.error for digest in digests if digest.startswith(twice))
    assert "several" in tool.json("show", twice, code=2)["error"]


def test_prune_and_clear(tool: Tool) -> None:
    digests = [save(tool.cache, str(i), payload=bytes(1 << 20)) for i in range(5)]
    for age, digest in enumerate(digests):
        os.utime(file_of(tool.cache, digest), (time.time() - 1000 * age,) * 2)
    removed = tool.json("prune", "--limit-mb", "3.5")
    assert (removed["files"], removed["files_left"]) == (2, 3)
    assert tool("show", digests[2]) == 0 and tool("show", digests[3]) == 1
    assert tool("prune") == 0 and "3 are left" in tool.out
    assert tool("clear") == 2 and "--yes" in tool.error
    assert tool.json("clear", "--yes")["files"] == 3
    assert tool.json("ls")["entries"] == []


@pytest.mark.parametrize("has_rich", [True, False])
def test_on_a_terminal(tool: Tool, monkeypatch: pytest.MonkeyPatch, has_rich: bool) -> None:
    digest = save(tool.cache, "0", name=ESCAPES)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    if not has_rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)  # an import of it fails
    assert tool("ls") == 0
    assert digest[:12] in tool.out and "\x1b[31m" not in tool.out and "\\x1b[31mred\\x07\\r\\n[bold]" in tool.out


@pytest.mark.parametrize(
    "words", [[], ["dance"], ["show"], ["why", "ab"], ["prune", "--limit-mb", "x"], ["prune", "--limit-mb", "-1"]]
)
def test_wrong_calls(tool: Tool, words: list[str]) -> None:
    assert tool(*words) == 2
    assert tool.error


def test_folders_that_cannot_be_used(tool: Tool, tmp_path: Path) -> None:
    save(tool.cache, "0")
    tool.cache.chmod(0o777)
    assert tool("ls") == 2 and "chmod go-w" in tool.error
    assert "written by other users" in tool.json("verify", code=2)["error"]
    tool.cache.chmod(0o700)
    tool.cache = tmp_path / "link"
    tool.cache.symlink_to(tmp_path / "cache")
    assert tool("clear", "--yes") == 2 and "symbolic link" in tool.error
    tool.cache = tmp_path / "file"
    tool.cache.write_text("x")
    assert tool("ls") == 2


def test_as_a_program(cache: Path) -> None:
    digest = save(cache, "0")
    command = [sys.executable, "-m", "ourjit", "cache"]
    environment = {**os.environ, "OURJIT_CACHE_DIR": str(cache), "OURJIT_CACHE_LIMIT_MB": "0"}
    for words, code in ((["show", digest, "--json"], 0), (["show", "x"], 1), ([], 2)):
        done = subprocess.run([*command, *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
    done = subprocess.run([*command, "prune", "--json"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["files"] == 1
