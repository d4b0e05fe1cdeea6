"""CUDA devices of torch on a machine without: importing this before torch gives it two, in host memory.

The library tests/emulator/torch_cuda.cpp registers what torch's CUDA library would, and is the driver and NVRTC too.
Here is what the Python side of a CPU build of torch lacks.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "python" / "ourjit" / "libourjit_emulated_cuda.so"
DEVICES = 2

assert "torch" not in sys.modules, "torch looks for CUDA when it is imported"
_library = ctypes.CDLL(str(LIBRARY))
_library.ourjit_emulator_log.restype = ctypes.c_char_p
_library.ourjit_emulator_new_graph.restype = ctypes.c_void_p
os.environ["OURJIT_NVRTC"] = str(LIBRARY)

import torch  # noqa: E402


class Properties:
    """What programs ask of `torch.cuda.get_device_properties`."""

    name = "emulated device"
    major, minor = 9, 0
    multi_processor_count = 132
    total_memory = 1 << 34


class Stream(torch.Stream):
    """torch.cuda.Stream."""

    @property
    def cuda_stream(self) -> int:
        return self.native_handle or 0


class CUDAGraph:
    """torch.cuda.CUDAGraph."""

    def __init__(self) -> None:
        self._graph = ctypes.c_void_p(_library.ourjit_emulator_new_graph())

    def __del__(self) -> None:
        _library.ourjit_emulator_delete_graph(self._graph)

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        assert torch.cuda.current_stream().native_handle, "the default stream cannot be captured"
        _library.ourjit_emulator_capture(self._graph)

    def capture_end(self) -> None:
        _library.ourjit_emulator_capture(None)

    def replay(self) -> None:
        _library.ourjit_emulator_replay(self._graph)


def _index(device: Any) -> int:
    index = torch.device(device if device is not None else "cuda").index if not isinstance(device, int) else device
    return torch.accelerator.current_device_index() if index is None else index


def _current_stream(device: Any = None) -> Stream:
    stream = torch.accelerator.current_stream(_index(device))
    return Stream(stream_id=stream.stream_id, device_index=stream.device_index, device_type=stream.device_type)


def _exchange_device(index: int) -> int:
    before = torch.accelerator.current_device_index()
    if index >= 0 and index != before:
        torch.accelerator.set_device_index(index)
    return before


def _maybe_exchange_device(index: int) -> int:
    """A function of its own, as Dynamo has a rule for each of the two."""
    return _exchange_device(index)


_functions = {
    "_lazy_init": lambda: None,
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "is_bf16_supported": lambda including_emulation=True: True,
    "is_current_stream_capturing": lambda: bool(_library.ourjit_emulator_captures()),
    "device_count": lambda: DEVICES,
    "current_device": torch.accelerator.current_device_index,
    "set_device": lambda device: torch.accelerator.set_device_index(_index(device)),
    "_exchange_device": _exchange_device,
    "_maybe_exchange_device": _maybe_exchange_device,
    "current_stream": _current_stream,
    "synchronize": lambda device=None: torch.accelerator.synchronize(_index(device)),
    "stream": lambda stream: stream,
    "get_device_properties": lambda device=None: Properties(),
    "get_device_capability": lambda device=None: (Properties.major, Properties.minor),
    "get_device_name": lambda device=None: Properties.name,
    "Stream": Stream,
    "CUDAGraph": CUDAGraph,
}
for _name, _function in _functions.items():
    for _module in (torch.cuda, torch.cuda.random):
        if hasattr(_module, _name):
            setattr(_module, _name, _function)
torch.cuda.default_generators = tuple(map(torch.ops.emulated_cuda.default_generator, range(DEVICES)))


def _clone(storage: Any) -> Any:
    tensor = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    return tensor.clone().untyped_storage()


torch.UntypedStorage.clone = _clone  # what copy.deepcopy calls


def clear_log() -> None:
    _library.ourjit_emulator_clear()


def log() -> list[dict[str, Any]]:
    """Calls of the driver and of NVRTC, and allocations, waits and events of torch, since clear_log()."""
    return [json.loads(line) for line in _library.ourjit_emulator_log().decode().splitlines()]
