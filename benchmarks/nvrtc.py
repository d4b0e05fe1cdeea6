"""Times NVRTC on the kernels of the models of tests/python/models.py; no GPU is needed.

For each model: kernels of its forward and backward, milliseconds a kernel in batches of 32 (dealt out to threads in
translation units of at most 16, as the backend does) and alone (the best of three; median and slowest), and seconds for
all of them, NVRTC opened but cold for these kernels.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ourjit
import torch
from ourjit import _C, _gpu
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))
from models import CASES

BATCH, UNIT = 32, 16


class Nvrtc:
    """NVRTC itself, with the options that ourjit gives it."""

    def __init__(self, architecture: str) -> None:
        path = Path(_gpu.find_nvrtc())
        if not path.is_file():
            sys.exit("NVRTC is not installed: pip install nvidia-cuda-nvrtc==13.0.88")
        for builtins in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(path))
        version = ctypes.c_int()
        self.library.nvrtcVersion(ctypes.byref(version), ctypes.byref(ctypes.c_int()))
        words = _C.nvrtc_options(architecture, version.value)
        self.options = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))

    def milliseconds(self, text: str) -> float:
        """The time to compile `text` to a cubin. Raises RuntimeError if NVRTC refuses it."""
        program = ctypes.c_void_p()
        self.library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"unit.cu", 0, None, None)
        start = time.perf_counter()
        code = self.library.nvrtcCompileProgram(program, len(self.options), self.options)
        elapsed = time.perf_counter() - start
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        if code != 0:
            raise RuntimeError(f"NVRTC failed with code {code}")
        return elapsed * 1e3


def kernels_of(model: str, architecture: str) -> list[str]:
    """The text of each kernel of a model's forward and backward, without the prelude."""
    torch.compiler.reset()
    case = CASES[model]
    net, batch = case.build(0.1 if case.has_dropout else 0.0), case.batch(1)
    found = []
    for number, kernel in enumerate(ourjit.emit(net, *batch, target=architecture)):
        # The prelude ends with an empty line. Names repeat between graphs.
        end = kernel.source.rindex("\n\n", 0, kernel.source.index("__global__ void __launch_bounds__"))
        found.append(kernel.source[end:].replace(kernel.name, f"u{number}_{kernel.name}"))
    return found


def unit_text(kernels: list[str]) -> str:
    """One translation unit."""
    text = "\n".join(kernels)
    return _C.cuda_prelude_for(text) + text


def batch_milliseconds(nvrtc: Nvrtc, kernels: list[str], threads: int) -> float:
    """The time to compile the kernels, in units of about equal size, on so many threads."""
    count = -(-max(1, -(-len(kernels) // UNIT)) // threads) * threads
    units: list[list[str]] = [[] for _ in range(min(count, len(kernels)))]
    for kernel in sorted(kernels, key=len, reverse=True):
        min(units, key=lambda unit: sum(map(len, unit))).append(kernel)
    texts = [unit_text(unit) for unit in units]
    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(nvrtc.milliseconds, texts))
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="model", help="of: " + ", ".join(CASES))
    parser.add_argument("--arch", default="sm_90", help="architecture (default sm_90)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads (default: one for each core)")
    given = parser.parse_args()
    if unknown := set(given.models) - set(CASES):
        parser.error(f"unknown models {', '.join(sorted(unknown))}; there are: {', '.join(CASES)}")
    nvrtc = Nvrtc(given.arch)
    nvrtc.milliseconds('extern "C" __global__ void warm_up() {}')
    table = Table(
        "model",
        "kernels",
        f"in batches of {BATCH}, ms",
        "alone, ms",
        "slowest, ms",
        "all, s",
        title=f"{given.arch}, {given.threads} threads",
    )
    for model in given.models or CASES:
        texts = kernels_of(model, given.arch)
        batches = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        together = [batch_milliseconds(nvrtc, batch, given.threads) for batch in batches]
        alone = [min(nvrtc.milliseconds(unit_text([text])) for _ in range(3)) for text in texts]
        table.add_row(
            model,
            str(len(texts)),
            f"{sum(together) / len(texts):.1f}",
            f"{statistics.median(alone):.1f}",
            f"{max(alone):.1f}",
            f"{sum(together) / 1e3:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
