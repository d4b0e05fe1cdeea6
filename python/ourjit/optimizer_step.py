"""Steps of optimizers without Dynamo: the update of one parameter is traced and compiled, and runs over all of them.

Parameters that an optimizer updates alike share a graph; where it works element by element, those of all shapes do.
A step gathers parameters, gradients, state and the numbers of parameter groups anew, so that schedulers, added groups
and loaded states need no word to it.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ourjit import _C, _gpu, _torch, backend
from ourjit.decompositions import decomposition_table
from ourjit.fx_export import export_graph
from ourjit.optimizer_proof import check_apart, is_within, on_copies
from ourjit.optimizer_trace import (
    Counts,
    Kind,
    Path,
    Refused,
    Update,
    functional,
    kind_of,
    scalars_of,
    settings_of,
    text_of,
    trace_updates,
)
from ourjit.recording import Recording, timer_of

log = logging.getLogger("ourjit")

# A step that would be traced again and again runs as it is.
_MOST_TRACES = 32


@dataclass
class _Table:
    """Parameters that one executable updates, a row each; `inputs` are those of the first row, then the second, ...

    Columns of a row: the parameter, its gradient, items of its state, of which the last are counters, and numbers.
    """

    executable: _C.Executable
    run: Callable[[list[Any]], Any]  # the executable, or what watches it
    positions: list[int]  # of its parameters among all that have gradients
    items: tuple[str, ...]
    counters: int  # how many of the items are Python numbers that the step changes
    constants: list[tuple[int, str, Any]]  # (row, name, value) of numbers that were compiled in
    inputs: list[Any]
    counts: Tensor  # the values of all counters, row by row
    written: Sequence[int] = ()

    def gather(self, gradients: list[Tensor], states: list[dict[str, Any]]) -> list[Tensor] | None:
        """The inputs as they are now; None if they do not fit any more."""
        states = [states[i] for i in self.positions]
        inputs = self.inputs.copy()
        width = len(inputs) // len(states)
        inputs[1::width] = [gradients[i] for i in self.positions]
        tensors = len(self.items) - self.counters
        try:
            for column, name in enumerate(self.items[:tensors], 2):
                inputs[column::width] = [state[name] for state in states]
            if self.counters:
                counts = [[state[name] for name in self.items[tensors:]] for state in states]
                self.counts.copy_(torch.tensor(counts, dtype=torch.float64))
        except KeyError:
            return None
        for row, name, value in self.constants:
            now = states[row].get(name)
            if now is not value and now != value:
                return None
        return inputs if self.executable.accepts(inputs) else None

    def count(self, states: list[dict[str, Any]]) -> None:
        """Gives state the new values of its counters."""
        if self.counters:
            for i, values in zip(self.positions, self.counts.tolist(), strict=True):
                for name, value in zip(self.items[-self.counters :], values, strict=True):
                    states[i][name] = type(states[i][name])(value)


@dataclass
class _Template:
    """The compiled update of one parameter."""

    executable: _C.Executable
    target: str
    numbers: list[Path]


Call = tuple[_Table, list[Tensor]]


class CompiledStep:
    """The step of an optimizer, compiled when it is first taken, and anew when what it takes has changed."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        options: Mapping[str, Any] | None,
        recording: Recording | None = None,
    ) -> None:
        self.options = options
        self.recording = recording
        self.step = _torch.step_without_hooks(type(optimizer))
        self.refused: str | None = None
        self.updates: dict[Any, list[Update | None]] = {}
        self.templates: dict[Any, _Template] = {}
        self.forget()
        # Which floats of the parameter groups are inputs: the rate, and what has changed since the first step.
        self.inputs: set[Path] = {("lr",)}
        self.counters: set[str] = set()  # numbers of the state that the step changes
        self.stepped = WeakTensorKeyDictionary()

    def forget(self) -> None:
        self.tables: list[_Table] | None = None
        self.proven = self.step.__module__.startswith("torch.optim.")  # by torch's and our tests
        self.parameters: list[Tensor] = []
        self.states: list[dict[str, Any]] = []  # of the parameters
        self.owners: list[Tensor] = []  # the keys and values of the optimizer's state
        self.owned: list[dict[str, Any]] = []
        self.settings: list[dict[Path, Any]] = []
        self.groups: list[dict[str, Any]] = []  # copies of the parameter groups that `settings` are of
        self.values: dict[tuple[int, Path], Tensor] = {}  # numbers that are inputs, by group
        self.copies: dict[tuple[int, Path, torch.device], Tensor] = {}  # of them, on devices of parameters

    def __call__(self, optimizer: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        """What `optimizer.step(closure)` does, without its hooks."""
        why = self.refused or _why_eager(optimizer, closure)
        if why is not None:
            return self.run_eager(optimizer, closure, why)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        try:
            calls = self.prepare(optimizer)
        except (Refused, _C.Unsupported, _C.UserError, _C.InternalError) as error:
            known = isinstance(error, (Refused, _C.Unsupported))
            self.refused = str(error) if known else f"the compiler failed: {error}"
            self.run_eager(optimizer, None, self.refused)
            return loss
        if calls is None:
            self.step(optimizer)
            return loss
        if not self.proven:
            self.prove(optimizer, calls)
            return loss
        with torch.no_grad():
            for table, inputs in calls:
                torch.autograd.graph.increment_version([inputs[i] for i in table.written])
                table.run(inputs)
                table.count(self.states)
        return loss

    def run_eager(self, optimizer: torch.optim.Optimizer, closure: Callable[[], Any] | None, why: str) -> Any:
        """The step as it is, counted with the reason. Raises Unsupported in strict mode."""
        name = type(optimizer).__name__
        backend.session(_gpu.with_target(self.options, ())).count_fallback(f"{name}.step", why)
        return self.step(optimizer) if closure is None else self.step(optimizer, closure)

    def prove(self, optimizer: torch.optim.Optimizer, calls: list[Call]) -> None:
        """Takes the step as it is, and compares it with the compiled one on copies; from then on, that runs or not.

        A step can ask for what no trace shows: the position of a parameter, or which of them it is.
        """
        with torch.no_grad():
            results = [on_copies(table.executable, inputs, table.written) for table, inputs in calls]
        self.step(optimizer)
        after = self.gather(optimizer, *_with_gradients(optimizer))
        found = after is not None and all(
            is_within(inputs[i], value, bound)
            for (_, inputs), result in zip(after, results, strict=True)
            for i, (value, bound) in result.items()
        )
        self.proven = True
        if not found:
            self.refused = "what it does is not what its trace on other parameters does"

    def prepare(self, optimizer: torch.optim.Optimizer) -> list[Call] | None:
        """The tables and their inputs; None if a first step, which makes the state of parameters, is to come."""
        parameters, gradients = _with_gradients(optimizer)
        calls = self.gather(optimizer, parameters, gradients)
        if calls is None:
            if not all(p in self.stepped or optimizer.state.get(p) for p in parameters):
                self.stepped.update(dict.fromkeys(parameters, True))
                self.forget()
                return None
            try:
                with timer_of(self.recording)(f"{type(optimizer).__name__}.step"):
                    self.plan(optimizer, parameters)
            except Counts as counts:
                self.counters.add(counts.name)
                return self.prepare(optimizer)
            calls = self.gather(optimizer, parameters, gradients)
            if calls is None:
                raise Refused("its tensors change while they are looked at")
            check_apart((inputs, table.written) for table, inputs in calls)
        return calls

    def gather(
        self, optimizer: torch.optim.Optimizer, parameters: list[Tensor], gradients: list[Tensor]
    ) -> list[Call] | None:
        """The inputs of each table; None if something is not as it was when they were made."""
        state = optimizer.state
        if (
            self.tables is None
            or not _are_same(parameters, self.parameters)
            or not _are_same(state, self.owners)
            or not _are_same(state.values(), self.owned)
            or not self.settings_hold(optimizer)
        ):
            return None
        for (g, path, _), number in self.copies.items():
            number.copy_(self.values[g, path], non_blocking=True)
        calls = []
        for table in self.tables:
            inputs = table.gather(gradients, self.states)
            if inputs is None:
                return None
            calls.append((table, inputs))
        return calls

    def settings_hold(self, optimizer: torch.optim.Optimizer) -> bool:
        """True if parameter groups are as before, but for numbers that are inputs: these are taken over."""
        groups = optimizer.param_groups
        if len(groups) != len(self.settings):
            return False
        holds = True
        for g, (group, before) in enumerate(zip(groups, self.settings, strict=True)):
            if _is_untouched(group, self.groups[g]):
                continue
            after = settings_of(group)
            if len(after) != len(before):
                return False
            for name, value in before.items():
                now = after.get(name)
                if now is value:
                    continue
                known = self.values.get((g, name))
                if type(now) is not type(value):
                    return False
                if known is None:
                    if isinstance(now, Tensor) or now != value:
                        if type(now) is float:
                            self.inputs.add(name)
                        holds = False
                elif isinstance(now, Tensor):
                    holds = False
                else:
                    known.fill_(now)
                    before[name] = now
            if holds:
                self.groups[g] = dict(group)
        return holds

    def plan(self, optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
        """Makes the tables for these parameters as they are."""
        self.forget()
        _make_capturable(optimizer, parameters)
        for g, group in enumerate(optimizer.param_groups):
            for name, value in settings_of(group).items():
                if isinstance(value, Tensor):
                    if value.dim() > 0:
                        raise Refused(f"its setting '{name[0]}' is a tensor of {value.dim()} dims")
                    self.values[g, name] = value
                elif type(value) is float and name in self.inputs:
                    self.values[g, name] = torch.tensor(value, dtype=torch.float64, device="cpu")
        self.parameters = parameters
        self.states = [optimizer.state.get(p, {}) for p in parameters]
        self.owners, self.owned = list(optimizer.state), list(optimizer.state.values())
        group_of = [g for g, group in enumerate(optimizer.param_groups) for p in group["params"] if p.grad is not None]
        scalars = scalars_of(zip(parameters, self.states, strict=True))
        rows: dict[Kind, list[int]] = {}
        for i, (g, p, own) in enumerate(zip(group_of, parameters, self.states, strict=True)):
            rows.setdefault(kind_of(g, p, own, scalars, self.counters), []).append(i)
        tables: dict[Any, tuple[_Template, list[tuple[Kind, int]]]] = {}
        for kind, template in self.compiled(optimizer, rows).items():
            key = (id(template), tuple(slot.name for slot in kind.slots))
            tables.setdefault(key, (template, []))[1].extend((kind, i) for i in rows[kind])
        self.tables = [self.table(*entry) for entry in tables.values()]
        self.settings = [settings_of(group) for group in optimizer.param_groups]
        self.groups = [dict(group) for group in optimizer.param_groups]

    def table(self, template: _Template, rows: list[tuple[Kind, int]]) -> _Table:
        slots = rows[0][0].slots
        counters = sum(slot.is_counter for slot in slots)
        counts = torch.zeros((len(rows), counters), dtype=torch.float64, device=slots[0].device)
        inputs: list[list[Tensor]] = []
        for (kind, i), row in zip(rows, counts, strict=True):
            p, own = self.parameters[i], self.states[i]
            tensors = [own[slot.name] for slot in slots[2:] if not slot.is_counter]
            numbers = [self.number(kind.group, path, p.device) for path in template.numbers]
            inputs.append([p, p.grad, *tensors, *row.unbind(), *numbers])  # type: ignore[list-item]
        executable = template.executable.over_table(inputs)
        run: Callable[[list[Any]], Any] = executable
        if self.recording is not None:
            run = self.recording.add(executable, template.target, {})
        return _Table(
            executable,
            run,
            [i for _, i in rows],
            tuple(slot.name for slot in slots[2:]),
            counters,
            [(row, name, value) for row, (kind, _) in enumerate(rows) for name, value in kind.constants],
            [x for row in inputs for x in row],
            counts,
            [i for i, is_written in enumerate(executable.written_inputs) if is_written],
        )

    def number(self, group: int, path: Path, device: torch.device) -> Tensor:
        """The input that a number is on a device, where it is copied at each step if it is elsewhere."""
        value = self.values[group, path]
        if value.device == device:
            return value
        return self.copies.setdefault((group, path, device), value.to(device))

    def compiled(self, optimizer: torch.optim.Optimizer, rows: dict[Kind, list[int]]) -> dict[Kind, _Template]:
        """The template of each kind; kinds whose update depends on the shape are replaced by ones of one shape."""
        updates = self.trace(optimizer, list(rows))
        shaped: dict[Kind, list[int]] = {}
        for kind in [kind for kind, update in updates.items() if update is None]:
            del updates[kind]
            for i in rows.pop(kind):
                one = kind_of(kind.group, self.parameters[i], self.states[i], (), self.counters, shaped=True)
                shaped.setdefault(one, []).append(i)
        if shaped:
            rows |= shaped
            updates |= self.trace(optimizer, list(shaped))
        return {kind: self.template(update, kind) for kind, update in updates.items() if update}

    def trace(self, optimizer: torch.optim.Optimizer, kinds: list[Kind]) -> dict[Kind, Update | None]:
        numbers: dict[int, dict[Path, torch.dtype]] = {g: {} for g in range(len(optimizer.param_groups))}
        for (g, name), tensor in self.values.items():
            numbers[g][name] = tensor.dtype
        settings = [
            {name: value for name, value in settings_of(group).items() if (g, name) not in self.values}
            for g, group in enumerate(optimizer.param_groups)
        ]
        key = (tuple(kinds), repr(numbers), repr(settings))
        if key not in self.updates:
            if len(self.updates) == _MOST_TRACES:
                raise Refused(f"it was traced {_MOST_TRACES} times, as parameters or settings keep changing")
            self.updates[key] = self.new_trace(optimizer, kinds, numbers)
        return dict(zip(kinds, self.updates[key], strict=True))

    def new_trace(
        self, optimizer: torch.optim.Optimizer, kinds: list[Kind], numbers: Mapping[int, Mapping[Path, torch.dtype]]
    ) -> list[Update | None]:
        try:
            return trace_updates(optimizer, self.step, kinds, numbers)
        except Counts:
            raise
        except Refused:
            # Many optimizers have a second form of their step, for CUDA graphs, that decides nothing by data.
            if not all("capturable" in group for group in optimizer.param_groups):
                raise
            return trace_updates(optimizer, self.step, kinds, numbers, {"capturable": True})

    def template(self, update: Update, kind: Kind) -> _Template:
        slots = [(slot.dtype, slot.device, slot.shape, slot.is_number) for slot in kind.slots]
        shape = None if update.elementwise else kind.dims
        key = (text_of(update.module.graph), tuple(slots), tuple(update.numbers), shape)
        found = self.templates.get(key)
        if found is None:
            device = kind.slots[0].device
            session = backend.session(_gpu.with_target(self.options, (torch.empty(0, device=device),)))
            with session.timed():
                module = functional(update, kind, decomposition_table(session.options["fallback_random"]))
                target = _gpu.device_of(session.options["target"])
                graph, constants = export_graph(module, f"update_{next(session.numbers)}", device=target)
                executable = session.compile_exported(graph, constants, (), table_rows=len(self.parameters))
            found = self.templates[key] = _Template(executable, session.options["target"], list(update.numbers))
        return found


def _with_gradients(optimizer: torch.optim.Optimizer) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that have gradients, and these."""
    everything = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in everything]
    parameters = [p for p, gradient in zip(everything, gradients, strict=True) if gradient is not None]
    return parameters, [gradient for gradient in gradients if gradient is not None]


def _are_same(now: Collection[Any], before: Collection[Any]) -> bool:
    """True if these are the same objects in the same order."""
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _is_untouched(group: dict[str, Any], before: dict[str, Any]) -> bool:
    """True if a parameter group has the very settings that it had, none of which can have changed within."""
    if not (_are_same(group.values(), before.values()) and list(group) == list(before)):
        return False
    return not any(type(value) is list and name != "params" for name, value in group.items())


def _why_eager(optimizer: torch.optim.Optimizer, closure: Callable[[], Any] | None) -> str | None:
    """Why a step must run as it is; None if it need not."""
    if closure is not None and not type(optimizer).__module__.startswith("torch.optim."):
        return "only steps of torch.optim are known to call their closure before anything else"
    if getattr(optimizer, "grad_scale", None) is not None or getattr(optimizer, "found_inf", None) is not None:
        return "GradScaler leaves the scale of gradients to fused optimizers; construct it without fused=True"
    if any(group.get("differentiable") for group in optimizer.param_groups):
        return "it is differentiable"
    return None


def _make_capturable(optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> None:
    """On GPUs counts of steps are kept on the device, as torch.compile does it, so that no step waits for it."""
    if not any(p.device.type == "cuda" for p in parameters):
        return
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = True
    for p in parameters:
        for name, value in optimizer.state.get(p, {}).items():
            if isinstance(value, Tensor) and value.dim() == 0 and value.device != p.device:
                optimizer.state[p][name] = value.to(p.device)


def accelerate(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Compiles a model's forward and backward, and an optimizer's step, in place; nothing else changes.

    The model is compiled at its next call, as by `model.compile(backend="ourjit", options=options)`. The optimizer
    needs no Dynamo: the first step of a parameter, which makes its state, is eager; at the next, the update of one
    parameter of each dtype is compiled, and runs over all of them. Hooks, closures, schedulers, GradScaler,
    `state_dict`, `load_state_dict` and `add_param_group` work as in eager; a rate that changes compiles nothing anew.
    Steps that are not torch's own are compared with what was compiled when that would run first.

    A step that cannot be compiled runs as it is, is counted in `ourjit.stats()["fallbacks"]` with its reason, and is an
    error under option strict. Raises UserError for objects of other types and for a step that was replaced.
    """
    backend.session(_gpu.with_target(options, ()))  # bad options are errors now
    if not isinstance(model, torch.nn.Module):
        raise _C.UserError(f"model must be a torch.nn.Module, not a {type(model).__name__}")
    if optimizer is not None:
        accelerate_optimizer(optimizer, options)
    given: dict[str, Any] = {"backend": "ourjit", "options": dict(options or {})}
    if _torch.needs_frame(model):
        model._compiled_call_impl = torch.compile(_torch.framed(model._call_impl, type(model).__name__), **given)
    else:
        model.compile(**given)


def accelerate_optimizer(
    optimizer: torch.optim.Optimizer, options: Mapping[str, Any] | None = None, recording: Recording | None = None
) -> None:
    """The part of `accelerate` that concerns the optimizer. One that is accelerated already stays as it is.

    `recording` keeps what is compiled.
    """
    backend.session(_gpu.with_target(options, ()))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise _C.UserError(f"optimizer must be a torch.optim.Optimizer, not a {type(optimizer).__name__}")
    if _torch.is_step_replaced(optimizer):
        raise _C.UserError("the step of this optimizer was replaced; accelerate it before that")
    _torch.replace_step(optimizer, CompiledStep(optimizer, options, recording), _C.is_profiled)
