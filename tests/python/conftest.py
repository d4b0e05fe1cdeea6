"""What all Python tests share: a fresh Dynamo, fresh counters, a fixed seed, and the devices to run on."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator

# Nothing is found on disk that another run has left there; OURJIT_CACHE_DIR names caches to keep between runs.
if "OURJIT_CACHE_DIR" not in os.environ:
    caches = tempfile.mkdtemp(prefix="ourjit_tests_")
    atexit.register(shutil.rmtree, caches, ignore_errors=True)
    os.environ["OURJIT_CACHE_DIR"] = caches
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(os.environ["OURJIT_CACHE_DIR"], "torch"))
os.environ.setdefault("OURJIT_CACHE", "0")

if os.environ.get("OURJIT_TEST_CUDA") == "emulated":
    import emulated_cuda  # noqa: F401  before torch

import check
import ourjit
import pytest
import torch
from ourjit import _C, _gpu

# Keeping thousands of graphs of one operator takes a tenth of the tests' time: only these files do, or all with
# OURJIT_CACHE=1.
KEPT = """
    test_aliasing test_around_the_graph test_dynamic_shapes test_models test_mutation test_random test_stages
    test_warm_start
""".split()

# One in so many tests of operators runs on the emulated device; OURJIT_TEST_EMULATED=all runs them all.
EMULATED_SHARE = 1 if os.environ.get("OURJIT_TEST_EMULATED") == "all" else 12
EMULATED_CUDA = os.environ.get("OURJIT_TEST_CUDA") == "emulated"  # emulated devices stand for cuda


@pytest.fixture(autouse=True)
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.module.__name__.rpartition(".")[2] in KEPT:
        monkeypatch.setitem(check.STRICT, "cache", True)
    torch.compiler.reset()
    ourjit.reset()
    torch.manual_seed(0)
    yield
    torch.compiler.reset()


@pytest.fixture(params=["cpu", "emulated", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Runs a test for each device: what is compiled runs there, and new tensors are there."""
    if request.param == "emulated":
        monkeypatch.setenv("OURJIT_TARGET", "emulate")
    with torch.device("cuda" if request.param == "cuda" else "cpu"):
        yield request.param


def _runs(item: pytest.Item) -> bool:
    """False for tests on devices that are not here (test_gpu.py shows that), and for most emulated ones."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    on = params.get("device")
    if on == "cpu":
        return _C.HAS_CPU_TARGET
    if on == "cuda":
        return torch.cuda.is_available() and (not EMULATED_CUDA or _is_drawn(item, 3 * EMULATED_SHARE))
    if on == "emulated":
        return _is_drawn(item, EMULATED_SHARE) and bool(_gpu.find_emulator())
    return True


def _is_drawn(item: pytest.Item, share: int) -> bool:
    return EMULATED_SHARE == 1 or zlib.crc32(item.nodeid.encode()) % share == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not _runs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _runs(item)]
