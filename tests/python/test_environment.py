"""Where nothing can be written and no compiler is found, everything works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ourjit import _C

PROGRAM = """
import sys
import torch
import torch._dynamo

def refuse(event, args):
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") and args[0] != "/dev/null":
        raise PermissionError(13, "a read-only world", args[0])
    if event in ("os.mkdir", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork"):
        raise PermissionError(13, f"{event} in a read-only world")

sys.addaudithook(refuse)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.GELU(), torch.nn.Linear(16, 1))
f = torch.compile(model, backend="ourjit", options={"strict": True})
x = torch.randn(32, 8)
loss = f(x).square().mean()
loss.backward()
expected = model(x).square().mean()
torch.testing.assert_close(loss, expected)
import ourjit
assert ourjit.stats()["kernels_compiled"] > 0
print("trained")
"""


def run(code: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def test_nothing_is_written_and_no_compiler_is_needed(tmp_path: Path) -> None:
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CC", "CXX", "OURJIT_CACHE", "OURJIT_CACHE_DIR")
    }
    nowhere = "/proc/nowhere"
    env |= {name: nowhere for name in ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME")}
    env["TORCHINDUCTOR_CACHE_DIR"] = "/proc"  # torch._dynamo cannot be imported unless this one exists
    done = run(PROGRAM, tmp_path, env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "trained"
    assert list(tmp_path.iterdir()) == []


def test_bad_environment_variable_is_named(tmp_path: Path) -> None:
    code = "import torch; torch.compile(lambda x: x + 1, backend='ourjit')(torch.ones(3))"
    done = run(code, tmp_path, {**os.environ, "OURJIT_VERIFY": "maybe"})
    assert done.returncode == 1
    assert "OURJIT_VERIFY" in done.stderr and "'maybe' is not an integer" in done.stderr


@pytest.mark.skipif(not shutil.which("readelf") or not shutil.which("nm"), reason="readelf and nm are not installed")
def test_extension_binds_to_nothing_that_only_one_build_of_torch_has() -> None:
    """Built against the CPU build of torch, it loads into a CUDA build of the same version, and the other way round."""
    libraries = subprocess.run(["readelf", "-d", _C.__file__], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"NEEDED.*\[(lib\w+)", libraries))
    assert {name for name in needed if "torch" in name or "c10" in name} == {
        "libtorch_cpu",
        "libtorch_python",
        "libc10",
    }
    assert not [name for name in needed if re.search("cuda|nv|absl|LLVM", name)]
    symbols = subprocess.run(["nm", "-D", "--undefined-only", _C.__file__], capture_output=True, text=True, check=True)
    assert "THPVariable_Wrap" in symbols.stdout
    assert not re.findall(r"\S*(?:cuda|cublas|cudnn)\S*", symbols.stdout, re.I)
