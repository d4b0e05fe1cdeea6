"""Option `cuda_graphs`: a compiled graph is captured as a CUDA graph at its second call and replayed from then on.

A replay reads and writes the addresses of the capture, so a call may be replayed only if that is right for its tensors:

- an input is read where it lies as long as it comes at the same address; one that moves is copied to memory of the
  capture from then on. Inputs that are modified in place are never copied;
- an output is handed out where the replay wrote it. If it still lives at the next call, that call is captured anew, in
  other memory, and this output is copied out from then on.

So each surprise costs one more capture and teaches what to copy; after `MOST_CAPTURES` of one layout its calls run
without replays, which `ourjit.stats()["graph_skips"]` counts with the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from ourjit import _C, _torch

log = logging.getLogger("ourjit")

MOST_CAPTURES = 8  # of one layout of inputs
MOST_LAYOUTS = 16  # of one compiled graph that are captured

Tensors = Mapping[int, torch.Tensor]  # by position
Recording = tuple[list[Any], Callable[[Tensors], None]]  # outputs of a call, and what writes them again


class NotCapturable(Exception):
    """CUDA refused the capture."""


@dataclass
class Place:
    """Where a tensor lies and how, without keeping its memory."""

    address: int
    dtype: torch.dtype
    device: torch.device
    sizes: torch.Size
    strides: tuple[int, ...]

    @staticmethod
    def of(tensor: torch.Tensor) -> Place:
        return Place(tensor.data_ptr(), tensor.dtype, tensor.device, tensor.shape, tensor.stride())

    def new(self) -> torch.Tensor:
        """A tensor like it in memory of its own, uninitialized."""
        return torch.empty_strided(self.sizes, self.strides, dtype=self.dtype, device=self.device)

    def overlaps(self) -> bool:
        """True if elements share memory otherwise than by expansion: nothing can be copied to such a tensor."""
        own = [(n, s) for n, s in zip(self.sizes, self.strides, strict=True) if s != 0]
        return _torch.may_overlap([n for n, _ in own], [s for _, s in own])

    def within(self, base: torch.Tensor, distance: int) -> torch.Tensor:
        """A tensor like it in the memory of `base`, so many bytes from where `base` begins."""
        return _C.tensor_within(base, self.dtype, self.sizes, self.strides, distance)

    def on_the_host(self) -> torch.Tensor:
        """The tensor, whoever owns its memory now."""
        if self.sizes.numel() == 0:
            return self.new()
        elements = 1 + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True))
        memory = (ctypes.c_char * (elements * self.dtype.itemsize)).from_address(self.address)
        return self.within(torch.frombuffer(memory, dtype=torch.uint8), 0)


def fill(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Copies to a tensor of the same sizes and strides, which may be expanded; returns it."""
    compact, values = target, source
    for dim, (size, stride) in enumerate(zip(target.shape, target.stride(), strict=True)):
        if stride == 0 and size > 1:
            compact, values = compact.narrow(dim, 0, 1), values.narrow(dim, 0, 1)
    compact.copy_(values)
    return target


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in memory of its own, with the same strides."""
    return fill(Place.of(tensor).new(), tensor)


class CudaDevice:
    """Captures on an NVIDIA GPU."""

    def __init__(self, name: str) -> None:
        self.name = name

    def current(self) -> AbstractContextManager[Any]:
        """Where the other functions may be called."""
        return torch.cuda.device(self.name)  # type: ignore[no-any-return, unused-ignore]

    def stream(self) -> int:
        return int(torch.cuda.current_stream().cuda_stream)

    def finish(self) -> None:
        """Waits for replays, whose graph and memory may go then."""
        torch.cuda.current_stream().synchronize()

    def is_capturing(self) -> bool:
        return bool(torch.cuda.is_current_stream_capturing())

    def capture(self, executable: _C.Executable, arguments: list[Any], _: Tensors) -> Recording:
        """The outputs of a call and what repeats it in the same memory. Raises NotCapturable."""
        graph = torch.cuda.CUDAGraph()
        # Capturing takes a stream other than the default one.
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(current)
        try:
            with torch.cuda.stream(side):
                graph.capture_begin(capture_error_mode="thread_local")  # other threads may go on allocating
                try:
                    outputs = executable(arguments)
                finally:
                    graph.capture_end()
        except RuntimeError as error:
            raise NotCapturable(str(error)) from error
        current.wait_stream(side)
        graph.replay()  # nothing has run yet
        return outputs, lambda _: graph.replay()


class EmulatedDevice:
    """Repeats calls as a graph does: it reads and writes the addresses of the first time, whatever lies there."""

    name = "cpu"

    def current(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def stream(self) -> int:
        return 0

    def finish(self) -> None:
        pass

    def is_capturing(self) -> bool:
        return False

    def capture(self, executable: _C.Executable, arguments: list[Any], copies: Tensors) -> Recording:
        places = [
            Place.of(x) if isinstance(x, torch.Tensor) and i not in copies else x for i, x in enumerate(arguments)
        ]

        def replay(own: Tensors) -> None:
            outputs = executable([x.on_the_host() if isinstance(x, Place) else x for x in places])
            for i, tensor in own.items():
                fill(tensor, outputs[i])

        return executable(arguments), replay


@dataclass
class Recorded:
    """A captured call."""

    replay: Callable[[Tensors], None]
    copies: dict[int, torch.Tensor]  # of inputs that are not read where they lie
    own: dict[int, torch.Tensor]  # outputs in memory of the capture
    in_inputs: dict[int, tuple[int, int, Place]]  # outputs in that of an input: which, bytes from its start, what
    others: list[Any]  # outputs that are no tensors; None for tensors

    def outliving(self) -> set[int]:
        """Outputs of the replay before that somebody still holds."""
        positions = list(self.own)
        return {positions[i] for i in _C.held_elsewhere(list(self.own.values()))}


@dataclass
class Layout:
    """What is known about calls whose inputs have the same sizes and strides, on one stream."""

    addresses: list[int]  # of the inputs of the captured call; of the first one before there is one
    moving: set[int] = field(default_factory=set)  # inputs to copy
    outliving: set[int] = field(default_factory=set)  # outputs to copy
    captures: int = 0
    recorded: Recorded | None = None
    refusal: str = ""  # why it is not captured

    def moved(self, addresses: list[int]) -> set[int]:
        """Inputs that are read where they lie and lie elsewhere now."""
        pairs = enumerate(zip(self.addresses, addresses, strict=True))
        return {i for i, (then, now) in pairs if then != now} - self.moving


@dataclass
class Counts:
    """For `ourjit.stats()`."""

    captures: int = 0
    replays: int = 0
    skips: Counter[str] = field(default_factory=Counter)

    def clear(self) -> None:
        self.captures = self.replays = 0
        self.skips.clear()


class Replayed:
    """Stands in for an executable, and captures and replays its calls."""

    def __init__(
        self,
        executable: _C.Executable,
        device: CudaDevice | EmulatedDevice,
        counts: Counts,
        host_inputs: Sequence[int] = (),
    ) -> None:
        self.executable, self.device, self.counts, self.host_inputs = executable, device, counts, host_inputs
        self.written = {i for i, written in enumerate(executable.written_inputs) if written}
        self.layouts: dict[tuple[int, bytes], Layout] = {}
        self.lock = threading.Lock()

    def __call__(self, inputs: list[Any]) -> list[Any]:
        """Takes one list of inputs, which it empties."""
        with self.device.current():
            return self.run(inputs)

    def run(self, inputs: list[Any]) -> list[Any]:
        # Memory of the host may change before a replay comes to read it.
        for i in self.host_inputs:
            inputs[i] = inputs[i].detach().to(self.device.name, non_blocking=True)
        if self.device.is_capturing():
            return self.plainly(inputs, "the stream is being captured already")
        if not self.lock.acquire(blocking=False):
            return self.plainly(inputs, "another thread runs the same graph")
        try:
            with torch.no_grad():
                return self.replay_or_capture(inputs)
        finally:
            self.lock.release()

    def plainly(self, inputs: list[Any], reason: str) -> list[Any]:
        if reason:
            self.counts.skips[reason] += 1
        return self.executable(inputs)

    def replay_or_capture(self, inputs: list[Any]) -> list[Any]:
        layout_key, addresses = _C.layout_and_addresses(inputs)
        key = (self.device.stream(), layout_key)
        layout = self.layouts.get(key)
        if layout is None:
            if len(self.layouts) >= MOST_LAYOUTS:
                return self.plainly(inputs, f"more than {MOST_LAYOUTS} layouts of inputs")
            # The first call loads and measures what later ones find.
            self.layouts[key] = Layout(addresses)
            return self.plainly(inputs, "")
        if layout.refusal:
            return self.plainly(inputs, layout.refusal)
        moved, recorded = layout.moved(addresses), layout.recorded
        if recorded is not None:
            outliving = recorded.outliving()
            if not moved and not outliving:
                return self.replay(recorded, layout, inputs)
            layout.outliving |= outliving
            if any(Place.of(recorded.own[i]).overlaps() for i in outliving):
                layout.refusal = "an output whose elements overlap lives on"
            self.device.finish()
            layout.recorded = recorded = None
        layout.moving |= moved - self.written
        if any(Place.of(inputs[i]).overlaps() for i in layout.moving):
            layout.refusal = "an input whose elements overlap moves"
        elif layout.captures == MOST_CAPTURES:
            layout.refusal = (
                f"captured {MOST_CAPTURES} times; inputs that are modified in place move, or other outputs live on"
            )
        if layout.refusal:
            log.warning("ourjit stops capturing %s: %s", self.executable.label, layout.refusal)
            return self.plainly(inputs, layout.refusal)
        return self.capture(layout, inputs, addresses)

    def capture(self, layout: Layout, inputs: list[Any], addresses: list[int]) -> list[Any]:
        copies = {i: copied(inputs[i]) for i in layout.moving}
        arguments = [copies.get(i, x) for i, x in enumerate(inputs)]
        layout.captures += 1
        try:
            outputs, replay = self.device.capture(self.executable, list(arguments), copies)
        except NotCapturable as error:
            layout.refusal = f"CUDA cannot capture it: {error}"
            log.warning("ourjit does not capture %s: %s", self.executable.label, error)
            return self.plainly(inputs, layout.refusal)
        self.counts.captures += 1
        memory = {_C.memory_address(x): i for i, x in enumerate(arguments) if isinstance(x, torch.Tensor) and x.numel()}
        own, in_inputs = {}, {}
        for i, x in enumerate(outputs):
            if not isinstance(x, torch.Tensor):
                continue
            source = memory.get(_C.memory_address(x)) if x.numel() else None
            if source is None:
                own[i] = x
            else:
                in_inputs[i] = (source, x.data_ptr() - arguments[source].data_ptr(), Place.of(x))
        others = [None if isinstance(x, torch.Tensor) else x for x in outputs]
        layout.addresses = addresses
        layout.recorded = Recorded(replay, copies, own, in_inputs, others)
        return self.hand_out(layout.recorded, layout, inputs)

    def replay(self, recorded: Recorded, layout: Layout, inputs: list[Any]) -> list[Any]:
        self.executable.raise_reported()
        for i, copy in recorded.copies.items():
            fill(copy, inputs[i])
        recorded.replay(recorded.own)
        self.counts.replays += 1
        return self.hand_out(recorded, layout, inputs)

    @staticmethod
    def hand_out(recorded: Recorded, layout: Layout, inputs: list[Any]) -> list[Any]:
        """New tensors for the outputs: autograd writes to them."""
        made: dict[int, torch.Tensor] = {}  # an output that is returned twice is one tensor
        outputs = list(recorded.others)
        for i, x in recorded.own.items():
            if id(x) not in made:
                made[id(x)] = copied(x) if i in layout.outliving else x.data
            outputs[i] = made[id(x)]
        for i, (source, distance, place) in recorded.in_inputs.items():
            x = inputs[source]
            same = distance == 0 and (x.dtype, x.shape, x.stride()) == (place.dtype, place.sizes, place.strides)
            outputs[i] = x if same else place.within(x, distance)
        inputs.clear()
        return outputs


def replayed(executable: _C.Executable, target: str, counts: Counts, host_inputs: Sequence[int]) -> Any:
    """`executable` with its calls captured and replayed; itself where `target` is no device that can.

    `host_inputs` are positions of inputs that come on the CPU.
    """
    if target == "cpu":
        counts.skips["the graph is on the CPU"] += 1
        return executable
    device = EmulatedDevice() if target == "emulate" else CudaDevice(target)
    replay = Replayed(executable, device, counts, host_inputs).__call__
    return _torch.takes_one_list(torch.compiler.disable(replay, reason="replays a CUDA graph"))
