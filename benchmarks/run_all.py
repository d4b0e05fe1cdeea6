"""Runs all benchmarks, and makes a page of their tables with plots: docs/benchmarks.md.

Each benchmark is a process of its own and writes its figures as JSON into the folder of results. The page is made of
all that lies there, so that a part can be run again by itself: --parts kernels; --parts with nothing behind it only
makes the page. A full run takes about an hour and a half, most of it in Inductor's compiler; it wants a machine on
which nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import page
from workers import can_import

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """A benchmark: the words for a full run and for one of a few minutes in all."""

    full: str = ""
    quick: str = ""


PARTS = {
    "models": Part("", "mlp vae --rounds 3 --colds 1 --ways eager,eager+jemalloc,accelerate,train_step,aot_eager"),
    "kernels": Part("", "--elements 1e4 1e6 --rounds 3 --block 0.02 --ways eager,eager+jemalloc,ourjit"),
    "optimizers": Part("", "AdamW --tensors 10 100 --rounds 3 --ways eager,fused,accelerate"),
    "shapes": Part("", "--sizes 1 2 64 255 1024 --rounds 3 --ways eager,ourjit"),
    "overhead": Part("", "--rounds 3 --ways eager,floor,ourjit,accelerate,train_step"),
    "products": Part("", "128x128x128 512x512x512 --turns 7"),
    "attention": Part("", "--tokens 64 256 --sizes 64 --threads 1 --rounds 3"),
}


def machine() -> dict[str, str]:
    """What was measured on: names and versions."""
    import torch

    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    facts = {
        "CPU": model[0].partition(":")[2].strip() if model else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.release()}, glibc {platform.libc_ver()[1]}",
        "Python, torch": f"{platform.python_version()}, {torch.__version__}",
        "ourjit": said_by("git", "rev-parse", "--short", "HEAD"),
        "C++ compiler, for Inductor": said_by("g++", "-dumpfullversion"),
        "load before the run": f"{os.getloadavg()[0]:.2f}",
        "date": time.strftime("%Y-%m-%d"),
    }
    if can_import("jax"):
        facts["jax"] = version("jax")
    return {name: fact for name, fact in facts.items() if fact}


def said_by(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def run_part(name: str, words: str, folder: Path) -> dict[str, Any]:
    """Runs a benchmark; what it wrote, or an error in the same form."""
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    start = time.perf_counter()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *words.split(), "--json", str(path)]
    done = subprocess.run(command, check=False)
    if path.exists():
        data: dict[str, Any] = json.loads(path.read_text())
    else:
        data = {"tables": [], "results": None, "errors": {name: f"ended with exit code {done.returncode}"}}
    data |= {"command": f"./dev bench {name} {words}".strip(), "minutes": (time.perf_counter() - start) / 60}
    path.write_text(json.dumps(data, indent=1))
    return data


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="./dev bench NAME ... runs one of them with words of its own: see ./dev bench NAME --help",
    )  # fmt: skip
    parser.add_argument("--parts", nargs="*", choices=PARTS, metavar="NAME", help="of: " + ", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="some minutes: less of everything, and no Inductor")
    parser.add_argument("--results", type=Path, help="folder of the figures (bench_results, or bench_results/quick)")
    parser.add_argument("--page", type=Path, help="folder of the page (docs; with --quick that of the figures)")
    given = parser.parse_args()
    folder = given.results or ROOT / "bench_results" / ("quick" if given.quick else "")
    pages = given.page or (folder if given.quick else ROOT / "docs")
    folder.mkdir(parents=True, exist_ok=True)
    facts = folder / "machine.json"
    parts = PARTS if given.parts is None else given.parts
    if parts or not facts.exists():
        facts.write_text(json.dumps(machine(), indent=1))
    failed = False
    for name in parts:
        print(f"== {name}", file=sys.stderr, flush=True)
        data = run_part(name, PARTS[name].quick if given.quick else PARTS[name].full, folder)
        failed |= bool(data["errors"])
    found = {name: folder / f"{name}.json" for name in PARTS}
    data = {name: json.loads(path.read_text()) for name, path in found.items() if path.exists()}
    written = page.write(
        json.loads(facts.read_text()), data, pages, "./dev bench" + (" --quick" if given.quick else "")
    )
    print("written:", *written)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
