"""`python -m ourjit doctor`: what is here, what is missing and how to get it, and whether a small program works."""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ourjit import _C, _gpu, backend
from ourjit.tools.console import print_rows

NVRTC_ADVICE = "pip install nvidia-cuda-nvrtc==13.0.88"
_FEATURES = "avx avx2 fma f16c avx512f avx512bw avx512vl avx512_bf16 avx512_fp16 amx_bf16".split()
_TARGET = "sm_90"  # that the self-test compiles for

Facts = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--json", action="store_true", help="print JSON: {section: {name: value}}, and `problems`")


def run(arguments: argparse.Namespace) -> int:
    """Prints what is found. 1 if a part of the self-test fails, else 0."""
    found = examine()
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for section in ("versions", "cpu", "gpu", "cache", "options", "self_test"):
            rows = [(name.replace("_", " "), _text(value)) for name, value in found[section].items()]
            print_rows(section.replace("_", "-"), rows or [("none", "")], sys.stdout)
            print()
        for problem in found["problems"]:
            print("problem: " + problem)
        print("all is well" if not found["problems"] else "something is wrong: see above")
    return 1 if found["problems"] else 0


def examine() -> Facts:
    """All that the command reports; `problems` lists the parts of the self-test that failed, with their errors."""
    nvrtc = _nvrtc()
    tests = _self_tests(nvrtc)
    return {
        "versions": _versions(),
        "cpu": _cpu(),
        "gpu": {"nvrtc": nvrtc["path"] or f"not found: {NVRTC_ADVICE}", "nvrtc_version": nvrtc["version"], **_gpus()},
        "cache": _cache(),
        "options": _set_options(),
        "self_test": tests,
        "problems": [f"{name}: {outcome}" for name, outcome in tests.items() if not outcome.startswith(("ok", "not "))],
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else str(value)


def _versions() -> Facts:
    try:
        own = importlib.metadata.version("ourjit")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed: on the path only"
    host = _C.host_cpu()
    return {
        "ourjit": own,
        "torch": torch.__version__,
        "llvm": host["llvm_version"] if host else None,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def _cpu() -> Facts:
    host = _C.host_cpu()
    if host is None:
        return {"target_built_in": False, "threads": torch.get_num_threads()}
    return {
        "target_built_in": _C.HAS_CPU_TARGET,
        "name": host["name"],
        "vector_bits": host["vector_bits"],
        "features": " ".join(name for name in _FEATURES if name in _cpu_flags()),
        "unlike_others_of_its_name": host["features"],
        "threads": torch.get_num_threads(),
    }


def _cpu_flags() -> set[str]:
    """The features of the CPU as Linux names them; none on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())


def _nvrtc() -> Facts:
    """Path and version of NVRTC; empty where it is not found or cannot be opened."""
    for name in filter(None, (_gpu.find_nvrtc(), "libnvrtc.so.13", "libnvrtc.so.12")):
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        major, minor = ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return {"path": name, "version": f"{major.value}.{minor.value}"}
    return {"path": "", "version": None}


def _gpus() -> Facts:
    """The driver, opened as the runtime opens it, and the GPUs that torch sees."""
    found: Facts = {"driver": "not found: the NVIDIA driver brings libcuda.so.1", "torch_built_for_cuda": False}
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        version = ctypes.c_int()
        driver.cuDriverGetVersion(ctypes.byref(version))
        found["driver"] = f"libcuda.so.1, for CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    except OSError:
        pass
    found["torch_built_for_cuda"] = torch.version.cuda is not None
    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    found["gpus"] = ", ".join(gpus) or "none"
    found["cuobjdump"] = _gpu.tool("cuobjdump") or "not found: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
    return found


def _cache() -> Facts:
    """The disk cache as options say it: folder, whether it can be used, files and bytes in it."""
    options = getattr(_C, "options", lambda: _C.Compiler({}).options())()
    own_default = getattr(_C, "cache_default_folder", lambda: str(Path.home() / ".cache" / "ourjit"))
    folder = Path(options["cache_dir"] or own_default())
    usable = "yes"
    entries: list[Facts] = []
    try:
        entries = getattr(_C, "cache_list", _files)(str(folder))
    except _C.UserError as error:
        usable = f"no: {error}"
    above = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not options["cache"]:
        usable = "no: option cache is off"
    elif not os.access(above, os.W_OK | os.X_OK):
        usable = f"no: {above} cannot be written; set OURJIT_CACHE_DIR"
    broken = sum(entry["state"] in ("corrupt", "refused", "unreadable") for entry in entries)
    return {
        "folder": str(folder),
        "usable": usable,
        "files": len(entries),
        "broken": f"{broken}: see python -m ourjit cache verify" if broken else 0,
        "bytes": sum(entry["bytes"] for entry in entries),
        "limit_bytes": options["cache_limit_mb"] << 20,
    }


def _files(folder: str) -> list[Facts]:
    """The files in a folder and their sizes, for builds that cannot read them."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [{"state": "unknown", "bytes": path.stat().st_size} for path in paths]


def _set_options() -> Facts:
    """The options that the environment sets."""
    return {variable: os.environ[variable] for _, _, _, variable, _, _ in _C.option_table() if variable in os.environ}


def _self_tests(nvrtc: Facts) -> dict[str, str]:
    """The outcome of each part: "ok", "not ..." where it cannot be tried here, else what went wrong."""
    tests: dict[str, Callable[[], str]] = {
        "compiles_and_runs": _compiles_and_runs,
        "compiles_for_gpus": _compiles_cubin,
    }
    outcomes = {}
    for name, test in tests.items():
        if name == "compiles_for_gpus" and not nvrtc["path"]:
            outcomes[name] = "not tried: NVRTC is missing"
            continue
        try:
            outcomes[name] = test()
        except Exception as error:  # whatever it is, it is what the user wants to know
            outcomes[name] = f"{type(error).__name__}: {error}"
    return outcomes


def _small_program(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.gelu(x @ w + 1).softmax(dim=-1).square().sum()


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(64, 64, generator=generator).requires_grad_() for _ in range(2))  # type: ignore[return-value]


def _compiles_and_runs() -> str:
    if not _C.HAS_CPU_TARGET:
        return "not tried: this build has no CPU target"
    own = backend.session({"target": "cpu", "strict": True}).derive()
    compiled = torch.compile(_small_program, backend=own.capture, fullgraph=True)
    results = []
    for function in (_small_program, compiled):
        inputs = _inputs()
        loss = function(*inputs)
        results.append((loss.detach(), *torch.autograd.grad(loss, inputs)))
    for name, eager, ours in zip(("result", "gradient of x", "gradient of w"), *results, strict=True):
        if not torch.allclose(eager, ours, rtol=1e-4, atol=1e-6):
            return f"the {name} differs from eager's by {float((eager - ours).abs().max()):.3g}"
    return f"ok: forward and backward agree with eager, {own.stats()['kernels_compiled']} kernels"


def _compiles_cubin() -> str:
    from ourjit.inspection import emit

    kernels = emit(_small_program, *_inputs(), target=_TARGET)
    return f"ok: {len(kernels)} kernels for {_TARGET}, {sum(len(k.binary()) for k in kernels)} bytes"
