"""What AOTAutograd's cache pickles of a compiled graph, and compiles again. Imports Dynamo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ourjit import _torch, warm_start
from ourjit.backend import session
from ourjit.warm_start import StoredGraph


class CompiledGraph(_torch.output_code_type()):  # type: ignore[misc]
    """What runs in place of a graph, in the form that AOTAutograd's cache takes."""

    def __init__(self, run: Callable[[list[Any]], Any] | None, stored: StoredGraph | str, nanoseconds: int) -> None:
        """`stored`: what to keep, or why that cannot be; `nanoseconds`: of its compilation."""
        super().__init__()
        self._boxed_call = True  # where wrappers of this object look for it
        self._time_taken_ns = nanoseconds
        self.stored = stored
        if run is not None:
            self.call(run)

    def call(self, run: Callable[[list[Any]], Any]) -> None:
        """Makes calls of this object calls of `run`, without a Python frame between: they come at each step."""
        self.__class__ = type(CompiledGraph.__name__, (CompiledGraph,), {"__call__": staticmethod(run)})

    def __reduce__(self) -> Any:
        return CompiledGraph, (None, self.stored, self._time_taken_ns)

    def prepare_for_serialization(self) -> None:
        """Called on a copy, which is pickled next. Raises what tells torch to leave it."""
        if isinstance(self.stored, str):
            raise _torch.cache_bypass(self.stored)

    def post_compile(self, example_inputs: Any, constants: Any, graph_kwargs: Any) -> None:
        """Called on what was unpickled: compiles it. Raises what tells torch to take it for a miss."""
        stored = self.stored
        if not isinstance(stored, StoredGraph):
            raise _torch.cache_miss("an entry without a graph")
        owner = warm_start.owner.get()
        if owner is not None and stored.key != warm_start.key_of(owner.options):
            raise _torch.cache_miss("an entry for another build or other options")
        # Without an owner Dynamo's work was saved as well, so that nobody could trace the graph again. Its text is
        # compiled anew, by this build and for this machine.
        owner = owner or session(stored.options)
        self.call(owner.restore(stored, example_inputs or ()))

    def set_triton_bundle(self, triton_bundle: Any) -> None:
        """There is none."""
