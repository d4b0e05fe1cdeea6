"""ourjit: a JIT compiler inside PyTorch.

    model = torch.compile(model, backend="ourjit", options={...})

needs no import of this package. What it adds: `stats()` and `reset()` for counters, `explain(fn, *args)` and
`emit(fn, *args)` to see what a function compiles to, and the errors that compilation raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # loads the libraries that the extension binds to

from ourjit._C import BackendError, InternalError, Unsupported, UserError

__all__ = [
    "BackendError",
    "InternalError",
    "Unsupported",
    "UserError",
    "accelerate",
    "emit",
    "explain",
    "reset",
    "stats",
    "train_step",
]


def stats() -> dict[str, Any]:
    """Counters since the start or the last reset(), over all options in use.

    graphs, kernels_compiled, kernels_loaded (from the disk cache), backend_seconds (export, passes, code generation,
    machine code), library_calls (operator -> calls planned), fallbacks (operator -> {count, reason}: what was meant to
    be compiled and could not), guard_misses and, with option cuda_graphs, graph_captures, graph_replays and graph_skips
    (reason -> calls that were neither). graphs_restored: those that AOTAutograd found in its cache, so that they were
    neither traced nor cut; graphs_not_kept: reason -> captured graphs that no later process will find there.
    disk_cache: hits, misses, stores, corrupt and refused entries, evicted ones and errors of the file system, since the
    start of the process. products lists the products of matrices that were measured in this process:
    form, chosen, and microseconds of each who could compute it (see option matmul).
    """
    from ourjit import _C, backend

    total: dict[str, Any] = {
        "graphs": 0,
        "kernels_compiled": 0,
        "kernels_loaded": 0,
        "backend_seconds": 0.0,
        "library_calls": {},
        "fallbacks": {},
        "guard_misses": 0,
        "graph_captures": 0,
        "graph_replays": 0,
        "graph_skips": {},
        "graphs_restored": 0,
        "graphs_not_kept": {},
        "disk_cache": {},
        "products": _C.products(),
    }
    for session in backend.sessions():
        for name, value in session.stats().items():
            if name in ("library_calls", "graph_skips", "graphs_not_kept", "disk_cache"):
                for operator, count in value.items():
                    total[name][operator] = total[name].get(operator, 0) + count
            elif name == "fallbacks":
                for operator, entry in value.items():
                    counted = total[name].setdefault(operator, {"count": 0, "reason": entry["reason"]})
                    counted["count"] += entry["count"]
            else:
                total[name] = total.get(name, 0) + value
    return total


def reset() -> None:
    """Sets all counters to zero and forgets kernels that no compiled graph holds any more.

    Functions that torch.compile has compiled stay compiled; torch.compiler.reset() drops those.
    """
    from ourjit import backend

    for session in backend.sessions():
        session.reset()


def accelerate(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None, **keywords: Any) -> None:
    """Compiles forward, backward and the optimizer's step in place: see ourjit.optimizer_step.accelerate."""
    from ourjit.optimizer_step import accelerate as accelerate_in_place

    accelerate_in_place(model, optimizer, **keywords)


def train_step(
    model: torch.nn.Module,
    loss_fn: Callable[[Any, Any], torch.Tensor] | None,
    optimizer: torch.optim.Optimizer,
    **keywords: Any,
) -> Callable[..., torch.Tensor]:
    """Forward, backward and update as one function of a batch: see ourjit.training.train_step."""
    from ourjit.training import train_step as make

    return make(model, loss_fn, optimizer, **keywords)


def explain(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What becomes of fn(*args, **kwargs): an object whose text names graphs, groups, guards, kernels, fallbacks.

    Its `.html(path)` is a page with pictures of them and measured times: see ourjit.inspection.
    """
    from ourjit.inspection import explain as explain_function

    return explain_function(fn, *args, **kwargs)


def emit(fn: Callable[..., Any], *args: Any, target: str = "cpu", **kwargs: Any) -> list[Any]:
    """The kernels of fn(*args, **kwargs): .name .source .assembly() .binary() .resources() .provenance."""
    from ourjit.inspection import emit as emit_function

    return emit_function(fn, *args, target=target, **kwargs)
