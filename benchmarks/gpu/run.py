"""Tests and measures ourjit on the GPU of this machine; `./dev gpu` builds it and runs this.

Runs the correctness tests, the models and the kernels, each in processes of its own, and writes gpu.json and gpu.html
(report.py says what is in them). What fails is in the page and does not stop the rest. Exit code: 0 if all tests pass
and no part failed, 1 if not, 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import report as reports
import torch
import training_kernels

ROOT = Path(__file__).resolve().parents[2]
TESTS = (
    "test_gpu.py", "test_forms.py", "test_ops.py", "test_op_table.py", "test_mutation.py", "test_aliasing.py",
    "test_dynamic_shapes.py", "test_optimizers.py",
)  # fmt: skip
SECONDS = 3600  # that a process may take

# What a quick run on an emulated device does: one of each kind.
FEW_MODELS = ("mlp",)
FEW_KERNELS = ("rms_norm_f32_backward", "adamw_400", "host_time_per_launch")


def output_of(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


def last_lines(done: subprocess.CompletedProcess[str], count: int = 15) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines()
    return "\n".join(lines[-count:]) or f"exit code {done.returncode}"


def driver_version() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def machine(emulated: bool) -> dict[str, Any]:
    """What was measured on: names and versions."""
    from ourjit import _C, _gpu

    facts = {
        "device": "an emulated GPU",
        "host": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda of torch": torch.version.cuda or "none",
        "nvrtc": _gpu.find_nvrtc() or "the toolkit's, if there is one",
        "cpu target": "in this build" if _C.HAS_CPU_TARGET else "none: built without LLVM",
    }
    if not emulated:
        properties = torch.cuda.get_device_properties(0)
        facts["device"] = properties.name
        facts["architecture"] = f"sm_{properties.major}{properties.minor}"
        facts["multiprocessors"] = properties.multi_processor_count
        facts["memory, GiB"] = round(properties.total_memory / 2**30, 1)
        facts["driver"] = driver_version()
    return facts


def read_junit(path: Path) -> dict[str, Any]:
    """Counts of a pytest run, and the failures with the ends of their texts."""
    result: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "failures": []}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        problem = next((child for child in case if child.tag in ("failure", "error")), None)
        if problem is not None:
            result["failed"] += 1
            text = "\n".join((problem.text or "").strip().splitlines()[-25:])
            result["failures"].append({"name": f"{case.get('classname')}.{case.get('name')}", "text": text})
        elif case.find("skipped") is not None:
            result["skipped"] += 1
        else:
            result["passed"] += 1
    return result


def run_tests(quick: bool, emulated: bool) -> dict[str, Any]:
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    files = TESTS[:1] if quick and emulated else TESTS
    if emulated:
        env["OURJIT_TEST_EMULATED"] = "12" if quick else "all"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={path}"]
        if quick and emulated:
            command += ["-k", "not train"]
        done = output_of([*command, *(f"tests/python/{name}" for name in files)], env)
        if not path.exists():
            raise RuntimeError("pytest did not run:\n" + last_lines(done))
        result = read_junit(path)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest stopped with exit code {done.returncode}:\n" + last_lines(done))
    return result


def run_models(quick: bool, emulated: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.json"
        command = [sys.executable, "benchmarks/models.py", "--json", str(path)]
        if emulated:
            command += ["--device", "emulated", "--ways", "eager,ourjit", "--rounds", "1", "--colds", "1"]
            command += FEW_MODELS if quick else ()
        else:
            words = "--device cuda --ways eager,ourjit,inductor,aot_eager --colds 1 --rounds"
            command += [*words.split(), "3" if quick else "11"]
        done = output_of(command)
        if not path.exists():
            raise RuntimeError("benchmarks/models.py failed:\n" + last_lines(done))
        results = json.loads(path.read_text())["results"]
    return {name: {way: medians(figures) for way, figures in row.items()} for name, row in results.items()}


def medians(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures that have a spread, without it."""
    return {key: f["median"] if isinstance(f, dict) and "median" in f else f for key, f in figures.items()}


def run_kernel(name: str, device: str, rounds: int) -> dict[str, Any]:
    """One case in a fresh process: its figures, or its error."""
    command = [sys.executable, "benchmarks/gpu/training_kernels.py", device, name, "--rounds", str(rounds)]
    if device == "emulated":
        command += ["--backends", "eager,ourjit"]
    try:
        done = output_of(command)
    except subprocess.TimeoutExpired:
        return {"error": f"took more than {SECONDS} s"}
    if done.returncode != 0:
        return {"error": last_lines(done, 1)[:300]}
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def run_kernels(quick: bool, emulated: bool) -> dict[str, Any]:
    names = FEW_KERNELS if quick and emulated else (*training_kernels.CASES, *training_kernels.SPECIAL)
    device, rounds = ("emulated", 1) if emulated else ("cuda", 3 if quick else 11)
    results = {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        results[name] = run_kernel(name, device, rounds)
    return results


PARTS = {"tests": run_tests, "models": run_models, "kernels": run_kernels}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="dev gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--emulate", action="store_true", help="on the emulated device at small sizes: tests this tool")
    parser.add_argument("--out", type=Path, default=ROOT / "gpu_report", help="folder of the results (%(default)s)")
    parser.add_argument("--look", action="store_true", help="only look whether there is a GPU")
    given = parser.parse_args()
    if not given.emulate and not torch.cuda.is_available():
        why = "is a build without CUDA" if torch.version.cuda is None else "finds no GPU and driver"
        print(f"dev gpu: there is no GPU to run on: torch {torch.__version__} {why}", file=sys.stderr)
        return 2
    if given.look:
        return 0
    report = reports.new_report(machine(given.emulate), given.quick, given.emulate)
    for name, part in PARTS.items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        reports.run_part(report, name, lambda part=part: part(given.quick, given.emulate))  # type: ignore[misc]
        reports.write(report, given.out)  # what is known so far, should this run be stopped
    for bar in report["bars"]:
        verdict = {None: "not judged", True: "passed", False: "MISSED"}[bar["passed"]]
        print(f"{bar['name']}: {bar['value']} (bar: {bar['bar']}): {verdict}")
    for name, text in report["errors"].items():
        print(f"{name} FAILED: {text}")
    print(f"written: {given.out / 'gpu.json'}, {given.out / 'gpu.html'}")
    good = report["bars"][0]["passed"] and report["bars"][1]["passed"] and not report["errors"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
