"""Counts the lines of csrc, kernels and python that are for one target alone: python tests/tools/target_share.py"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("include", "csrc", "kernels", "python")
SOURCES = {".h", ".cpp", ".cuh", ".def", ".py"}

# Files by what they are for; all others serve both targets.
ALONE = {
    "CPU": r"kernels/cpu/|codegen/llvm_|backend/(llvm_|cpu_)|code_target_cpu|"
    r"schedule/(schedule_cpu|cost|partition|transpose)\.",
    "GPU": r"kernels/cuda/|codegen/cuda_|backend/(cuda_|gpu_|nvrtc|device|dynamic_)|ourjit/(_gpu|cuda_graphs)\.py|"
    r"schedule/(schedule_gpu|barriers|online_softmax|registers|transpose_gpu|unblock|widen_halves)\.",
}


def count() -> Counter[str]:
    """Lines by target, and of those that serve both."""
    lines: Counter[str] = Counter()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in SOURCES:
                name = path.relative_to(ROOT).as_posix()
                target = next((t for t, pattern in ALONE.items() if re.search(pattern, name)), "both")
                lines[target] += len(path.read_text().splitlines())
    return lines


if __name__ == "__main__":
    found = count()
    for target, number in found.most_common():
        print(f"{target:4} {number:6} lines  {100 * number / found.total():3.0f} %")
