"""The GPU target: code for architectures on any machine, programs on the emulated device, and clear errors."""

from __future__ import annotations

import copy
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import ourjit
import pytest
import torch
import torch.nn.functional as F
from check import check_model, kernels_made, needs_cuobjdump, needs_emulator, needs_gpu, needs_nvrtc
from emulator import calls_of
from models import CASES
from ourjit import _C, _gpu
from torch import Tensor

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")


@needs_gpu
def test_a_gpu_is_here() -> None:
    f = torch.compile(lambda x: x.sin() + 1, backend="ourjit", options={"strict": True})
    x = torch.randn(1000, device="cuda")
    torch.testing.assert_close(f(x), x.sin() + 1)


def pointwise(x: Tensor, y: Tensor) -> Tensor:
    return F.gelu(x * y + 1, approximate="tanh").sigmoid() * x


def rows(x: Tensor, y: Tensor) -> Tensor:
    return F.layer_norm(x * y, (x.shape[-1],)).softmax(dim=-1)


def columns(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum(dim=0)


def transposed(x: Tensor, y: Tensor) -> Tensor:
    return (x.t() + 1).contiguous() * y.t().contiguous()


def gathered(x: Tensor, y: Tensor) -> Tensor:
    return F.embedding((y.abs() * 3).long() % x.shape[0], x)


FORMS = (pointwise, rows, columns, transposed, gathered)


def kernels(target: str, dtype: torch.dtype = torch.float32) -> list[ourjit.Kernel]:
    x, y = (torch.randn(64, 1024, dtype=dtype, requires_grad=True) for _ in range(2))
    return [k for fn in FORMS[:4] for k in ourjit.emit(fn, x, y, target=target)]


@pytest.mark.parametrize("fn", FORMS, ids=lambda fn: fn.__name__)
def test_text_needs_nothing_installed(fn: object) -> None:
    x = torch.randn(40, 96, requires_grad=True)
    emitted = ourjit.emit(fn, x, torch.randn(40, 96), target="sm_90")  # type: ignore[arg-type]
    assert any("test_gpu.py:" in line for line in emitted[0].provenance)
    for kernel in emitted:
        assert 'extern "C" __global__ void __launch_bounds__' in kernel.source
        assert kernel.name in kernel.source and "oj_" in kernel.source
        assert "threads(" in kernel.loop_ir


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=lambda t: str(t)[6:])
def test_binaries(architecture: str, dtype: torch.dtype) -> None:
    for kernel in kernels(architecture, dtype):
        assert kernel.binary()[:4] == b"\x7fELF"


def norm(x: Tensor, y: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), y[0], y[1])


def rms_norm(x: Tensor, y: Tensor) -> Tensor:
    return F.rms_norm(F.dropout(x, 0.1), (x.shape[-1],), y[0])


def cross_entropy(x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(x.float(), (y[:, 0] * 0).long())


def gated(x: Tensor, y: Tensor) -> Tensor:
    return F.silu(x) * y.sin()


@needs_nvrtc
@needs_cuobjdump
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_canonical_kernels_spill_nothing(architecture: str, dtype: torch.dtype) -> None:
    x, y = (torch.randn(64, 1024, dtype=dtype, requires_grad=True) for _ in range(2))
    forms = (*FORMS[:4], norm, rms_norm, cross_entropy, gated)
    for kernel in (k for fn in forms for k in ourjit.emit(fn, x, y, target=architecture)):
        resources = kernel.resources()
        assert resources["stack_bytes"] == 0 and resources["spills"] == 0, kernel.name
        few_operators = len(kernel.provenance) <= 16
        assert 0 < resources["registers"] <= (64 if few_operators else 128), (kernel.name, resources)
        assert resources["shared_bytes"] <= 48 * 1024
        assert 32 <= resources["threads"][0] * resources["threads"][1] <= 1024


@needs_nvrtc
@needs_cuobjdump
def test_contiguous_kernels_load_128_bits_at_once() -> None:
    x = torch.randn(64, 1024)
    (kernel,) = ourjit.emit(pointwise, x, x, target="sm_90")
    sass = kernel.assembly()
    assert "Function : " + kernel.name in sass and "LDG.E.128" in sass and "STG.E.128" in sass


@needs_nvrtc
@needs_cuobjdump
@pytest.mark.parametrize(
    ("dtype", "instructions"),
    [
        (torch.bfloat16, ["F2FP.BF16"]),
        (torch.float16, ["F2FP.F16.F32"]),
        (torch.float8_e4m3fn, ["F2FP.SATFINITE.E4M3", "F2FP.F16.E4M3"]),
        (torch.float8_e5m2, ["F2FP.SATFINITE.E5M2"]),
    ],
    ids=lambda x: str(x)[6:] if isinstance(x, torch.dtype) else "",
)
def test_conversions_are_done_in_hardware(dtype: torch.dtype, instructions: list[str]) -> None:
    x = torch.randn(64, 1024)
    (narrow,) = ourjit.emit(lambda x: (x * 2).to(dtype), x, target="sm_90")
    (wide,) = ourjit.emit(lambda x: x.float() * 2, x.to(dtype), target="sm_90")
    sass = narrow.assembly() + wide.assembly()
    assert all(instruction in sass for instruction in instructions)


@needs_emulator
def test_inputs_that_are_not_aligned() -> None:
    f = torch.compile(lambda x, y: x.mul_(2) + y, backend="ourjit", options={"target": "emulate", "strict": True})
    for start, kernels in ((0, 1), (1, 2), (3, 2), (0, 2)):
        x, y = torch.randn(1004)[start : start + 1000], torch.randn(1000)
        expected = x * 2 + y
        assert torch.equal(f(x, y), expected)
        assert kernels_made() == kernels


@needs_nvrtc
@needs_cuobjdump
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tables_of_tensors_are_read_where_they_lie(architecture: str) -> None:
    def update(xs: list[Tensor], ys: list[Tensor]) -> None:
        for x, y in zip(xs, ys, strict=True):
            x.mul_(0.5).add_(y)

    xs, ys = ([torch.randn(10 + i) for i in range(300)] for _ in range(2))
    (kernel,) = ourjit.emit(update, xs, ys, target=architecture)
    assert "oj_table<" in kernel.source and ", 512>" in kernel.source
    resources = kernel.resources()
    assert resources["stack_bytes"] == 0 and resources["registers"] <= 40


def embed(weight: Tensor, index: Tensor) -> Tensor:
    return F.embedding(index, weight)


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=lambda t: str(t)[6:])
def test_embedding_gradients_are_added_atomically(architecture: str, dtype: torch.dtype) -> None:
    weight = torch.randn(1000, 64, dtype=dtype, requires_grad=True)
    kernel = ourjit.emit(embed, weight, torch.randint(0, 1000, (8, 128)), target=architecture)[-1]
    assert "store atomic" in kernel.loop_ir and "oj_atomic_add(b" in kernel.source
    assert kernel.binary()[:4] == b"\x7fELF"
    assert re.search(r"threads\((16|32), ", kernel.loop_ir), "the columns of a row are added by neighbouring threads"


def test_deterministic_algorithms_add_in_order() -> None:
    weight, index = torch.randn(100, 8, requires_grad=True), torch.randint(0, 100, (50,))
    torch.use_deterministic_algorithms(True)
    try:
        emitted = ourjit.emit(embed, weight, index, target="sm_90")
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any("store atomic" in kernel.loop_ir for kernel in emitted)
    assert any("store accumulate" in kernel.loop_ir for kernel in emitted)


def index_add(x: Tensor, i: Tensor, source: Tensor) -> Tensor:
    return x.index_add(0, i, source)


def index_put(x: Tensor, i: Tensor, source: Tensor) -> Tensor:
    return x.index_put((i,), source, accumulate=True)


def scatter_add(x: Tensor, i: Tensor, source: Tensor) -> Tensor:
    return x.scatter_add(0, i[:, None].expand(source.shape), source)


@needs_emulator
@pytest.mark.parametrize("fn", [index_add, index_put, scatter_add], ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("deterministic", [False, True])
def test_scatters_add_all_that_meets(fn: Any, deterministic: bool) -> None:
    options = {"target": "emulate", "strict": True, "deterministic": deterministic}
    i = torch.randint(0, 5, (40,))
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int32, torch.int64, torch.uint8):
        x, source = (torch.randint(0, 9, (n, 7)).to(dtype) for n in (5, 40))
        torch.testing.assert_close(torch.compile(fn, backend="ourjit", options=options)(x, i, source), fn(x, i, source))


@needs_emulator
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=lambda t: str(t)[6:])
def test_halves_are_added_in_f32(dtype: torch.dtype) -> None:
    options = {"target": "emulate", "strict": True}
    ones = torch.ones(3000, 4, dtype=dtype)
    x, i = torch.full((2, 4), 72, dtype=dtype), torch.zeros(3000, dtype=torch.long)
    total = torch.compile(index_add, backend="ourjit", options=options)(x, i, ones)
    assert total.tolist() == [[3072] * 4, [72] * 4]  # one by one, halves stay at 2048 or 256


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int16, torch.uint8], ids=lambda t: str(t)[6:])
def test_narrow_types_are_added_atomically(dtype: torch.dtype) -> None:
    x, source = torch.zeros(5, 8, dtype=dtype), torch.ones(40, 8, dtype=dtype)
    emitted = ourjit.emit(index_add, x, torch.randint(0, 5, (40,)), source, target="sm_90")
    assert any("store atomic" in kernel.loop_ir for kernel in emitted)


def test_copies_for_outputs_know_their_line() -> None:
    weight = torch.randn(40, 8, requires_grad=True)
    emitted = ourjit.emit(lambda w: F.embedding(torch.arange(40), w).sum(), weight, target="sm_90")
    assert emitted and all("test_gpu.py:" in line for kernel in emitted for line in kernel.provenance)


def test_emitting_leaves_results_to_eager() -> None:
    x = torch.randn(8, 8)
    seen = []

    def f(x: Tensor) -> Tensor:
        y = x.exp() + 1
        seen.append(y.shape)
        return y

    assert len(ourjit.emit(f, x, target="sm_80")) == 1
    assert ourjit.stats()["graphs"] == 0  # emitting counts apart


def test_bad_targets_and_missing_libraries_are_named(tmp_path: Path) -> None:
    x = torch.ones(4)
    cases = [
        ({"target": "gpu"}, "option 'target' must be cpu, cuda"),
        ({"target": "cuda:x"}, "option 'target' must be"),
        ({"target": "emulate", "emulator": str(tmp_path / "none.so")}, "cannot open .*none.so"),
    ]
    if not torch.cuda.is_available():
        cases.append(({"target": "cuda"}, "cannot open libcuda.so.1|the CUDA driver does not start|there is no GPU"))
    for options, message in cases:
        with pytest.raises(RuntimeError, match=message):
            torch.compile(lambda x: x + 1, backend="ourjit", options=options)(x)
    kernel = ourjit.emit(lambda x: x + 1, x, target="sm_90")[0]
    broken = _C.Compiler({"target": "sm_90", "nvrtc": str(tmp_path / "libnvrtc.so.13")})
    assert broken.options()["target"] == "sm_90" and kernel.source


@needs_nvrtc
def test_texts_of_all_stages_are_dumped(tmp_path: Path) -> None:
    code = (
        "import torch, ourjit; from ourjit.backend import session; "
        f"s = session({{'target': 'sm_90', 'dump': {str(tmp_path)!r}}}); "
        "torch.compile(lambda x: x.sin() * 2, backend=lambda m, i: s.capture(m, i))(torch.ones(50))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
    names = [path.name for path in tmp_path.rglob("*")]
    assert any(name.endswith(".cu") for name in names)
    if _gpu.tool("cuobjdump") and _gpu.tool("nvdisasm"):
        (sass,) = tmp_path.rglob("*.sass")
        assert "Function : " in sass.read_text()


@needs_emulator
@pytest.mark.parametrize("name", list(CASES))
def test_models_train_on_the_emulated_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURJIT_TARGET", "emulate")
    case = CASES[name]
    check_model(case.build(0.0), case.batch(1), steps=3)


@needs_gpu
@pytest.mark.parametrize("name", list(CASES))
def test_models_train_on_a_gpu(name: str) -> None:
    case = CASES[name]
    with torch.device("cuda"):
        check_model(case.build(0.0), case.batch(1), steps=3)


@pytest.mark.skipif(_C.HAS_CPU_TARGET, reason="this build has a CPU target")
def test_a_build_without_llvm_names_what_it_lacks() -> None:
    with pytest.raises(RuntimeError, match="this build of ourjit has no CPU target, because it was built without LLVM"):
        torch.compile(lambda x: x + 1, backend="ourjit")(torch.ones(4))
    with pytest.raises(ourjit.BackendError, match="no CPU target"):
        ourjit.emit(lambda x: x + 1, torch.ones(4))


@needs_emulator
@pytest.mark.parametrize("fn", FORMS, ids=lambda fn: fn.__name__)
def test_forms_on_the_emulated_device(fn: object) -> None:
    options = {"target": "emulate", "strict": True}
    for shape in ((7, 33), (64, 128), (3, 2000)):
        x, y = (torch.randn(shape, requires_grad=True) for _ in range(2))
        a, b = copy.deepcopy((x, y))
        expected = fn(x, y)  # type: ignore[operator]
        torch.compiler.reset()
        got = torch.compile(fn, backend="ourjit", options=options)(a, b)  # type: ignore[call-overload]
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        expected.sin().sum().backward()
        got.sin().sum().backward()
        torch.testing.assert_close(a.grad, x.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(
    torch.cuda.is_available() or not Path(_C.__file__).with_name("libourjit_emulated_cuda.so").exists(),
    reason="there are GPUs, or the emulated ones are not built",
)
@pytest.mark.parametrize("files", ["test_cuda_tensors", "test_ops test_optimizers test_cuda_graphs"])
def test_tensors_on_emulated_cuda_devices(files: str) -> None:
    """Torch looks for CUDA when it is imported, so they have a process of their own."""
    paths = [str(Path(__file__).with_name(f"{name}.py")) for name in files.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "cuda", *paths]
    env = {**os.environ, "OURJIT_TEST_CUDA": "emulated"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-5000:]


@needs_emulator
def test_errors_of_emulated_kernels_are_raised_by_the_call() -> None:
    options = {"target": "emulate", "strict": True}
    f = torch.compile(lambda x, i: x[i] * 2, backend="ourjit", options=options)
    x = torch.arange(5.0)
    with pytest.raises(IndexError):
        f(x, torch.tensor([1, 9]))
    assert f(x, torch.tensor([1, 4])).tolist() == [2, 8]
    g = torch.compile(lambda a, b: a // b, backend="ourjit", options=options)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        g(torch.tensor([4, 6]), torch.tensor([2, 0]))
    assert g(torch.tensor([4, 6]), torch.tensor([2, 3])).tolist() == [2, 2]


@needs_emulator
def test_a_warm_training_step_only_launches() -> None:
    """Nothing in it may wait, allocate or load: a stream that is being captured allows none of these."""

    @torch.compile(backend="ourjit", options={"target": "emulate", "strict": True})
    def loss(x: Tensor, w: Tensor) -> Tensor:
        return F.dropout((x @ w).softmax(-1), 0.5).square().sum()

    x, w = torch.randn(16, 16), torch.randn(16, 16, requires_grad=True)
    loss(x, w).backward()
    calls = [call["function"] for call in calls_of(lambda: loss(x, w).backward())]
    assert calls.count("cuLaunchKernel") >= 2
    assert set(calls) <= {"cuCtxGetCurrent", "cuCtxSetCurrent", "cuLaunchKernel"}
