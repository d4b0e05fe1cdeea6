"""Files that reproduce an error of the compiler: text alone, which is parsed and never run.

    # ourjit repro 1
    # versions: ourjit 0.1.0, torch 2.13.0, Python 3.11.2, Linux x86_64
    # error: "InternalError: no place in memory"
    # option fusion: false
    # input: float32 [4, 8], strides [8, 1], cpu
    graph @forward_0(%x: f32[4, 8]) -> (f32[4, 8]) {
      ...

Lines in front of the graph carry JSON behind a name; those whose names are not known are for people. The options are
those that are not at their defaults.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import torch

from ourjit import _C

FORMAT = "# ourjit repro 1"


@dataclass(frozen=True)
class Repro:
    """What a file says: the graph's text, the options that are set, and the error that was met."""

    graph: str
    options: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    notes: Sequence[str] = ()

    def text(self) -> str:
        lines = [FORMAT, f"# error: {json.dumps(self.error)}"]
        lines += [f"# option {name}: {json.dumps(value)}" for name, value in sorted(self.options.items())]
        lines += [f"# {note}" for note in self.notes]
        return "\n".join(lines) + "\n" + self.graph.rstrip() + "\n"


def parse(text: str) -> Repro:
    """Raises UserError for text that is no repro."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != FORMAT:
        raise _C.UserError(f"not a repro: the first line is not '{FORMAT}'")
    head = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
    known = {name for name, *_ in _C.option_table()}
    options, error, notes = {}, "", []
    for number, line in enumerate(head[1:], 2):
        name, _, value = line[1:].strip().partition(": ")
        try:
            if name == "error":
                error = str(json.loads(value))
            elif name.startswith("option "):
                option = name.removeprefix("option ")
                if option not in known:
                    raise _C.UserError(f"line {number}: there is no option '{option}'")
                options[option] = json.loads(value)
            else:
                notes.append(line[1:].strip())
        except json.JSONDecodeError as bad:
            raise _C.UserError(f"line {number}: {bad}") from None
    return Repro("\n".join(lines[len(head) :]), options, error, notes)


def signature(error: str) -> str:
    """What stays the same of an error while the program that meets it gets smaller."""
    return re.sub(r"\d+", "", error.partition("\n")[0])


def described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def write(
    error: Exception, graph: str | Mapping[str, Any], inputs: Sequence[Any], options: Mapping[str, Any]
) -> tuple[str, str]:
    """Writes what met `error` into the folder of option dump, or else that of temporary files.

    Returns the path, empty if there is none, and a sentence for the error's message.
    """
    try:
        text = _C.import_graph(graph)
    except (_C.UserError, _C.Unsupported, _C.InternalError) as bad:
        return "", f"There is no repro, as the graph cannot be written down: {bad}"
    name = re.match(r"graph @(\w*)", text)
    defaults = {name: default for name, _, default, _, _, _ in _C.option_table()}
    changed = {name: value for name, value in options.items() if value != defaults[name] and name not in _OF_MACHINE}
    notes = [f"versions: {_versions()}", *map(_input, inputs)]
    repro = Repro(text, changed, described(error), notes)
    try:
        folder = options["dump"] or tempfile.gettempdir()
        os.makedirs(folder, exist_ok=True)
        handle, path = tempfile.mkstemp(prefix=f"ourjit_{name[1] if name else ''}_", suffix=".repro", dir=folder)
        with os.fdopen(handle, "w") as file:
            file.write(repro.text())
    except OSError as bad:
        return "", f"There is no repro, as it cannot be written: {bad}"
    return path, f"`python -m ourjit repro {path}` shows it again; add the file to your report."


_OF_MACHINE = frozenset(
    {"dump", "log", "nvrtc", "emulator", "cache", "cache_dir", "cache_limit_mb"}
)  # options that mean nothing elsewhere


def _versions() -> str:
    try:
        own = metadata.version("ourjit")
    except metadata.PackageNotFoundError:
        own = "of a checkout"
    return (
        f"ourjit {own}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}"
    )


def _input(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return f"input: {value}"
    sizes, strides = ", ".join(map(str, value.shape)), ", ".join(map(str, value.stride()))
    return f"input: {str(value.dtype).removeprefix('torch.')} [{sizes}], strides [{strides}], {value.device}"
