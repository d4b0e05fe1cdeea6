"""The C++ side: a compiler of exported graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

class UserError(RuntimeError):
    """The call is wrong: the message says what to change."""

class Unsupported(RuntimeError):
    """Not supported by the compiler; in strict mode an error, else it runs through ATen."""

class BackendError(RuntimeError):
    """LLVM, NVRTC or the CUDA driver failed, or is missing; the message carries its log."""

class InternalError(RuntimeError):
    """A bug of ourjit."""

HAS_CPU_TARGET: bool  # False in a build without LLVM

def host_cpu() -> dict[str, Any] | None:
    """The CPU that kernels are made for: name, features, vector_bits, llvm_version; None without a CPU target."""

def nvrtc_options(architecture: str, major: int) -> list[str]:
    """What NVRTC of this major version is told beside the text."""

def build_id() -> str:
    """Tells builds of the extension apart."""

def option_table() -> list[tuple[str, str, Any, str, bool, str]]:
    """(name, type, default, environment variable, affects_code, help) of each option."""

def options(given: Mapping[str, Any] = ...) -> dict[str, Any]:
    """All options: those given, else those of the environment, else their defaults."""

def cache_default_folder() -> str:
    """Where the disk cache lies without option cache_dir; empty if there is no home directory."""

def cache_list(folder: str, payloads: bool = ..., text_limit: int = ...) -> list[dict[str, Any]]:
    """The files of a disk cache: name, digest, bytes, used (seconds since 1970), state, problem, notes, key.

    state is ok, corrupt, refused (others can write it), unreadable, version (of another format), temporary or foreign.
    notes and key are lists of (name, text), texts cut to text_limit bytes. With payloads all of each file is checked,
    else its head alone. Raises UserError for a folder that cannot be used.
    """

def cache_read(folder: str, digest: str) -> dict[str, Any]:
    """One entry: key, notes, payload. Raises UserError if it is missing or corrupt."""

def cache_save(folder: str, key: Sequence[tuple[str, str]], notes: Sequence[tuple[str, str]], payload: bytes) -> str:
    """Keeps an entry and returns its digest. Raises UserError if that fails."""

def cache_prune(folder: str, limit_bytes: int) -> dict[str, int]:
    """Deletes entries, those used least recently first, down to limit_bytes, and temporary files an hour old.

    Returns files and bytes (that are gone), files_left, bytes_left and temporary (unfinished files that are gone).
    """

def cache_clear(folder: str) -> dict[str, int]:
    """Deletes all entries and temporary files; returns what cache_prune does."""

def cache_differences(a: Sequence[tuple[str, str]], b: Sequence[tuple[str, str]]) -> list[str]:
    """Names of the components that differ between two keys, or that only one of them has."""

class Executable:
    """A compiled graph. Called with one list, which it empties; returns a list of tensors, ints and None."""

    _boxed_call: bool
    output_strides: Sequence[Sequence[int | str] | None]
    def __call__(self, inputs: list[Any], /) -> list[Any]: ...
    def kernels(self) -> list[dict[str, Any]]: ...
    def assembly(self, index: int) -> str: ...
    def binary(self, index: int) -> bytes: ...
    label: str
    captured: str
    """The graph as text, before all passes."""
    written_inputs: Sequence[bool]
    def accepts(self, inputs: list[Any], /) -> bool:
        """True if the tensors are laid out in memory as a graph without symbolic sizes expects them."""
    def over_table(self, rows: Sequence[Sequence[torch.Tensor]], /) -> Executable:
        """Does for each row what this one does for its inputs; takes the tensors of all rows in one list.

        A tensor without gaps of any shape stands for an input with one dim of symbolic size. Rows must not depend on
        each other. Raises UserError for tensors that do not fit, Unsupported for graphs with outputs, numbers or
        constants.
        """
    def raise_reported(self) -> None: ...
    def report(self) -> dict[str, Any]: ...
    def data(self) -> dict[str, Any]:
        """The graph and its plan as plain data, for tools.

        nodes: [{op, text, loc, reads, defines, step}] of the optimized graph; names of values; a step of -1 is index
        arithmetic of its readers, or a view. phases: [(name, start, seconds)] of the compilation, by perf_counter().
        For the sizes of the call made last, None where sizes are symbolic and no call was made, and for architectures
        that code is only emitted for: steps: [{kernel, target, loc, rows, reads_bytes, writes_bytes, flops, operands,
        results}], where kernel and flops are None for library calls, and operands and results of those are (dtype,
        sizes); memory: {arena_bytes, buffers: [{name, kind, bytes, offset, first, last}]}, where offset, in the arena,
        is -1 but for temporaries, and first and last are steps, -1 where none touches the buffer.
        """
    def time_steps(self, inputs: list[Any], repeats: int, /) -> list[list[float]]:
        """Runs the graph `repeats` times on copies of what it writes: seconds of each step, run by run.

        The device is waited for after each step. Raises what a call does; the list stays as it is.
        """

class Compiler:
    """Compiles graphs with one set of options."""

    def __init__(self, options: Mapping[str, Any]) -> None: ...
    def options(self) -> dict[str, Any]: ...
    def compile(
        self,
        graph: str | Mapping[str, Any],
        constants: Sequence[torch.Tensor] = ...,
        table_rows: int = ...,
        reports: bool = ...,
    ) -> Executable:
        """Compiles graph text or exported data, or finds them compiled in the disk cache.

        `reports`: all that reports show is wanted; else a graph from the disk cache lacks its texts.
        """
    def take_warnings(self) -> list[str]:
        """What the disk cache has warned of since the last call."""
    def stats(self) -> dict[str, Any]: ...
    def reset(self) -> None: ...

def layout_and_addresses(inputs: list[Any]) -> tuple[bytes, list[int]]:
    """A key, equal for two lists of inputs if nothing but addresses and contents differs, and the addresses."""

def memory_address(tensor: torch.Tensor) -> int:
    """Where the memory begins that the tensor lies in."""

def tensor_within(
    base: torch.Tensor, dtype: torch.dtype, sizes: Sequence[int], strides: Sequence[int], byte_offset: int
) -> torch.Tensor:
    """A tensor in the memory of `base`, so many bytes from where `base` begins."""

def is_profiled() -> bool:
    """True if a profiler, or whatever else asked torch for records, listens on this thread."""

def products() -> list[dict[str, Any]]:
    """Products of matrices as measured: form, chosen, microseconds by who computes."""

def held_elsewhere(tensors: Sequence[torch.Tensor]) -> list[int]:
    """Positions of the tensors whose memory others than these very tensors hold too."""

def interpret_graph(graph: str | Mapping[str, Any], inputs: Sequence[Any]) -> list[Any]:
    """Runs graph text or exported data operator by operator through ATen."""

def run_passes(graph: str | Mapping[str, Any], names: Sequence[str]) -> str:
    """The text of a graph after the passes of these names."""

def import_graph(graph: str | Mapping[str, Any]) -> str:
    """The text of exported data."""
