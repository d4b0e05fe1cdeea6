"""What the GPU target needs of this machine: where NVRTC, the emulator and NVIDIA's tools are."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ourjit import _C

_TOOLS_ADVICE = "install it with `pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm`"


def with_target(options: Mapping[str, Any] | None, values: Iterable[Any]) -> Mapping[str, Any] | None:
    """The options with a target: theirs, that of the environment, or the first GPU that a value is on."""
    if options is not None and (not isinstance(options, Mapping) or "target" in options):
        return options
    if "OURJIT_TARGET" in os.environ:
        return {**(options or {}), "target": os.environ["OURJIT_TARGET"]}
    for value in values:
        if isinstance(value, torch.Tensor) and value.device.type == "cuda":
            return {**(options or {}), "target": str(value.device)}
    return options


def device_of(target: str) -> str:
    """Torch's name of the device that tensors of a program for `target` are on."""
    return "cuda:0" if target == "cuda" else target if target.startswith("cuda") else "cpu"


def only_emits(target: str) -> bool:
    """True for architectures: code for them is made, but nothing runs."""
    return target.startswith("sm_")


def with_libraries(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the paths of the libraries of the GPU target that are found."""
    found = dict(options)
    for name, find in (("nvrtc", find_nvrtc), ("emulator", find_emulator)):
        found[name] = found.get(name) or find()
    return found


def _nvidia_folders(kind: str) -> Iterable[Path]:
    """Folders named `kind` of NVIDIA's Python packages, newer CUDA first."""
    spec = importlib.util.find_spec("nvidia")
    for root in (spec and spec.submodule_search_locations) or []:
        yield from sorted(Path(root).glob(f"*/{kind}"), reverse=True)


def find_nvrtc() -> str:
    """The path of the NVRTC of NVIDIA's Python packages, or empty."""
    if given := os.environ.get("OURJIT_NVRTC"):
        return given
    for folder in _nvidia_folders("lib"):
        for path in sorted(folder.glob("libnvrtc.so.*")):
            return str(path)
    return ""


def find_emulator() -> str:
    """The path of the emulator that the checkout's build made, or empty."""
    if given := os.environ.get("OURJIT_EMULATOR"):
        return given
    package = Path(__file__).resolve().parent
    for folder in (package, package.parents[1] / "build"):
        path = folder / "libourjit_emulator.so"
        if path.exists():
            return str(path)
    return ""


def tool(name: str) -> str | None:
    """The path of one of NVIDIA's binary tools, if it is installed."""
    for folder in _nvidia_folders("bin"):
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name)


def _cuobjdump(cubin: bytes, flag: str) -> str:
    path = tool("cuobjdump")
    if path is None:
        raise _C.BackendError(f"cuobjdump, which reads machine code of NVIDIA GPUs, is missing: {_TOOLS_ADVICE}")
    # cuobjdump looks for nvdisasm in PATH.
    folders = [str(Path(found).parent) for found in (path, tool("nvdisasm")) if found]
    env = {**os.environ, "PATH": os.pathsep.join([*folders, os.environ.get("PATH", "")])}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([path, flag, file.name], capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise _C.BackendError(f"cuobjdump {flag} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def disassemble(cubin: bytes) -> str:
    """SASS, the machine code of the GPU as text. Raises BackendError where the tools are missing or fail."""
    return _cuobjdump(cubin, "-sass")


def resource_usage(cubin: bytes, kernel: str) -> dict[str, int]:
    """Registers and stack bytes of a thread, shared bytes of a block, and spills: instructions that move registers to
    or from the stack. Raises BackendError without cuobjdump.
    """
    text = _cuobjdump(cubin, "--dump-resource-usage")
    match = re.search(rf"Function {re.escape(kernel)}:\s*(.*)", text)
    if match is None:
        raise _C.BackendError(f"cuobjdump says nothing about kernel {kernel}:\n{text}")
    values = {key: int(value) for key, value in re.findall(r"([A-Z]+):(\d+)", match.group(1))}
    spills = len(re.findall(r"\b(?:STL|LDL)\b", disassemble(cubin))) if values["STACK"] else 0
    return {
        "registers": values["REG"],
        "stack_bytes": values["STACK"],
        "spills": spills,
        "shared_bytes": values["SHARED"],
    }


def log_machine_code(executable: _C.Executable, options: Mapping[str, Any]) -> None:
    """Stage `sass` of options `log` and `dump`, where the tools for it are installed."""
    logs = options["log"] == "all" or "sass" in options["log"].split(",")
    if options["target"] in ("cpu", "emulate") or not (logs or options["dump"]):
        return
    if tool("cuobjdump") is None or tool("nvdisasm") is None:
        return
    for index, kernel in enumerate(executable.kernels()):
        text = disassemble(executable.binary(index))
        if logs:
            print(f"[ourjit {executable.label}] sass: {kernel['name']}.sass\n{text}", file=sys.stderr)
        if options["dump"]:
            (Path(options["dump"]) / executable.label / f"{kernel['name']}.sass").write_text(text)
