"""Compiled graphs in AOTAutograd's cache: a later process neither traces, differentiates nor cuts a graph again.

What is kept of a graph is its text in our own IR, and from that text each process compiles anew; what it compiles to
comes from our own disk cache. Nothing that depends on the machine is therefore in an entry, and none can be stale:

* AOTAutograd's key covers the captured graph, the layouts of its inputs, and most of torch's settings.
* `key_of` adds all else that tracing and export depend on: the build of ourjit (its C++ and its Python), the options
  that affect code, and the settings that torch's key leaves out.
* An entry holds that key once more and is a miss where it differs. What was saved with Dynamo's work
  (caching_precompile, or a file of torch.compile(...).aot_compile) asks for no key: its text is compiled by the build
  and for the machine that loads it.
* What no key can tell keeps a graph out of the cache: `why_not` before it is traced, and afterwards the reason that a
  `CompiledGraph` then has for `stored`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ourjit import _C, _torch

if TYPE_CHECKING:
    from ourjit.backend import Session

# Their operators trace alike wherever torch and ourjit are the same. Those of other namespaces are defined by users,
# whose rules for derivatives are traced into graphs.
_NAMESPACES = {"aten", "prims", "prim", "profiler", "inductor", "mkldnn", "quantized", "_c10d_functional", "ourjit"}


@dataclass(frozen=True)
class Wrapping:
    """What the caller of a graph expects beyond the results of its plan: see `fx_export`."""

    returned: int
    views: tuple[tuple[int, bool, int, int], ...]
    host_inputs: tuple[int, ...]
    host_outputs: tuple[int, ...]
    tokens: int
    """Of effects: so many of the first inputs and of the first outputs."""
    ragged: tuple[int, ...]
    """Positions of inputs that are sizes of ragged dims."""


@dataclass(frozen=True)
class StoredGraph:
    """What a process needs in order to compile a graph: plain data, and tensors."""

    key: str
    options: dict[str, Any]
    """As the session was asked for."""
    text: str
    constants: list[torch.Tensor]
    wrapping: Wrapping


owner: ContextVar[Session | None] = ContextVar("ourjit_session", default=None)
"""Who is compiling; None where Dynamo's work was saved too, so that nobody is."""


@contextlib.contextmanager
def kept_by(session: Session) -> Iterator[None]:
    """While it lasts, graphs that the session compiles are looked for in AOTAutograd's cache, and kept there."""
    before = owner.set(session)
    try:
        with _torch.graph_cache(key_of(session.options)):
            yield
    finally:
        owner.reset(before)


@functools.cache
def build() -> str:
    """Tells builds of ourjit apart: the build id of the extension and a hash of the package's Python."""
    digest = hashlib.sha256(_C.build_id().encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key_components(options: Mapping[str, Any]) -> dict[str, Any]:
    """By name, what graphs depend on beside what torch's own key covers."""
    affecting = {name for name, _, _, _, affects_code, _ in _C.option_table() if affects_code}
    return {
        "build": build(),
        "options": {name: value for name, value in sorted(options.items()) if name in affecting},
        **_torch.settings_of_tracing(),
    }


def key_of(options: Mapping[str, Any]) -> str:
    return json.dumps(key_components(options), sort_keys=True)


def why_not(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> str | None:
    """Why a captured graph cannot be kept, if it cannot."""
    if reason := _torch.why_no_graph_cache():
        return reason
    storages = set()
    owned = [*module.parameters(), *module.buffers()]  # which AOTAutograd makes inputs as well
    for value in (*inputs, *owned):
        if not isinstance(value, torch.Tensor):
            continue
        if not _torch.is_plain_fake(value):
            return f"an input is a {type(value).__name__}"
        if value.layout is not torch.strided or value.is_quantized:
            return "an input is no plain memory"
        storage = value.untyped_storage()._cdata
        if storage in storages:
            return "inputs share memory"  # how they overlap is guarded by what a hit does not run
        storages.add(storage)
    known = set(map(id, owned))
    for node in _nodes(module):
        if isinstance(node.meta.get("example_value"), torch.SymFloat):
            return "the captured graph has a symbolic float"  # an entry's guards are about integers
        if node.op == "get_attr":
            value = _attribute(module, str(node.target))
            if isinstance(value, torch.Tensor) and id(value) not in known:
                return "the captured graph holds a tensor"
        if isinstance(node.target, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
            namespace = str(node.target).partition(".")[0]
            if namespace not in _NAMESPACES:
                return f"{node.target} may be differentiated by code of the user"
    return None


def _nodes(module: torch.fx.GraphModule) -> Iterator[torch.fx.Node]:
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield from part.graph.nodes


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part, None)
    return module
