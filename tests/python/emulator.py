"""The driver of the emulated device, as tests ask it."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

from ourjit import _gpu


def driver() -> ctypes.CDLL:
    """The library, with the types of its functions `ourjit_emulator_*` (tests/emulator/driver.cpp)."""
    library = ctypes.CDLL(_gpu.find_emulator())
    library.ourjit_emulator_log.restype = ctypes.c_char_p
    library.ourjit_emulator_counters.restype = ctypes.c_char_p
    library.ourjit_emulator_shuffle.argtypes = [ctypes.c_uint64]
    library.ourjit_emulator_cache.argtypes = [ctypes.c_int64]
    return library


def calls_of(step: Callable[[], Any]) -> list[dict[str, Any]]:
    """What `step` asks of the driver, in order."""
    library = driver()
    library.ourjit_emulator_clear()
    step()
    return [json.loads(line) for line in library.ourjit_emulator_log().decode().splitlines()]
