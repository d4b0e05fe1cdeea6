"""Checks that csrc/ includes only downwards: a folder includes folders of a lower level, or itself.

Also: LibTorch and LLVM headers only where they belong, and private torch names only in python/ourjit/_torch.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

LEVELS = {
    "base": 0,
    "ourjit": 0,
    "graph": 1,
    "loop": 1,
    "cache": 1,
    "passes": 2,
    "schedule": 2,
    "codegen": 2,
    "fusion": 3,
    "backend": 3,
    "lower": 4,
    "runtime": 4,
    "": 5,  # csrc/*.{h,cpp}
    "adapter": 6,
    "bindings": 6,
}
# What a folder of levels 2 to 4 may see of the levels below, where it is less than all.
ONLY = {
    "passes": {"base", "graph"},
    "schedule": {"base", "loop"},
    "codegen": {"base", "loop"},
    "fusion": {"base", "graph", "passes"},
    "backend": {"base", "cache", "loop", "schedule", "codegen"},
    "lower": {"base", "graph", "loop", "fusion"},
    "runtime": {"base", "codegen", "backend"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)
PRIVATE_TORCH = re.compile(
    r"torch\._(dynamo|functorch|inductor|guards|decomp|subclasses|prims|refs)\b|functorch\.compile|"
    r"from torch import _|\.node\.expr\b"
)


def folder_of(path: Path) -> str:
    relative = path.relative_to(ROOT / "csrc")
    return relative.parts[0] if len(relative.parts) > 1 else ""


def check_include(path: Path, quoted: bool, name: str) -> str | None:
    here = folder_of(path)
    if not quoted:
        if name.startswith(("torch/", "ATen/", "c10/", "pybind11/", "Python.h")) and here not in (
            "adapter",
            "bindings",
        ):
            return f"includes <{name}>, which belongs to adapter and bindings"
        if name.startswith(("llvm/", "llvm-c/")) and not (
            here == "backend" or (here == "codegen" and path.name.startswith("llvm_"))
        ):
            return f"includes <{name}>, which belongs to codegen/llvm_* and backend"
        return None
    if name == "cpu_bitcode.h":
        return None if here == "backend" else "includes cpu_bitcode.h, which belongs to backend"
    if name.startswith(("llvm/", "llvm-c/", "torch/", "ATen/", "c10/")):
        return check_include(path, False, name)
    folder = name.split("/", maxsplit=1)[0] if "/" in name else ""
    if folder not in LEVELS:
        return f"includes {name}, whose folder has no level"
    if folder == here or (folder == "ourjit" and here != ""):
        return None
    if here in ONLY and folder not in ONLY[here]:
        return f"includes {name}: {here} may include only {', '.join(sorted(ONLY[here]))}"
    if LEVELS[folder] >= LEVELS[here] and here != "bindings":
        return f"includes {name}: {folder or 'csrc'} is level {LEVELS[folder]}, {here or 'csrc'} is {LEVELS[here]}"
    return None


def main() -> int:
    problems = []
    for path in sorted((ROOT / "csrc").rglob("*")):
        if path.suffix not in (".h", ".cpp", ".def"):
            continue
        for quote, name in INCLUDE.findall(path.read_text()):
            problem = check_include(path, quote == '"', name)
            if problem:
                problems.append(f"{path.relative_to(ROOT)}: {problem}")
    for path in sorted((ROOT / "python").rglob("*.py")):
        if path.parent.name == "_torch":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if PRIVATE_TORCH.search(line):
                problems.append(f"{path.relative_to(ROOT)}:{number}: private torch name outside _torch")
    print("\n".join(problems) if problems else "check_layers: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
