"""How an optimizer updates one parameter: its step traced on stand-ins.

A copy of the optimizer steps over fake parameters, gradients and state, and what it does is written down. The trace
must fall apart into one graph for each parameter, alike for parameters of one kind and alike again for another number
of parameters. Then that graph is the update of any such parameter; else the optimizer is refused, since what it
computes for one parameter depends on others, or on something that the trace cannot see.

Numbers that change from step to step, above all the learning rate, are inputs of the graph: 0-d f64 tensors.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ourjit import _torch
from ourjit.operator_schemas import is_mutable
from ourjit.python_numbers import AsNumbers, math_of_tensors

# Sizes of stand-ins: different ones, so that none is mistaken for another, and none that broadcasts.
_SIZES = (7, 5, 11, 13, 17, 19, 23, 29)

# What reads and writes at one place beside the operators that torch tags as pointwise.
_ELEMENTWISE = {
    f"aten.{name}.default"
    for name in "_to_copy clone copy_ detach empty_like full full_like ones_like scalar_tensor zero_ zeros_like".split()
} | {"aten.fill_.Scalar", "aten.fill_.Tensor", "aten._local_scalar_dense.default"}

# What a copy of an optimizer has of its own.
_OWN_ATTRIBUTES = {"state", "param_groups", "step", *_torch.STEP_HOOKS}

Path = tuple[Any, ...]
"""Where a parameter group has a number: (name,), or (name, index) in a list or tuple."""

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides."""

_PLAIN = (bool, int, float, complex, str, type(None))


class Refused(Exception):
    """The step cannot be compiled; the message says why."""


class Counts(Refused):
    """The step changes a number in the state of a parameter."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it changes the number '{name}' of its state")
        self.name = name


@dataclass(frozen=True)
class Slot:
    """A tensor of a parameter, or of its state: its name, its dtype, and how it is shaped.

    `shape` is "full" for the shape of the parameter, "scalar" for a 0-d tensor, or (sizes, strides).
    """

    name: str
    dtype: torch.dtype
    device: torch.device
    shape: str | Layout
    is_counter: bool = False  # a Python number that the step changes

    def layout(self, full: Layout) -> Layout:
        """Its sizes and strides, for a parameter of these."""
        if isinstance(self.shape, tuple):
            return self.shape
        return ((), ()) if self.shape == "scalar" else full

    @property
    def is_number(self) -> bool:
        """True for what Python would read as a number, and compute with in f64, as a count of steps."""
        return self.shape == "scalar" and self.dtype.is_floating_point


@dataclass(frozen=True)
class Kind:
    """What parameters have in common that are updated alike.

    `slots` are the parameter, its gradient, the tensors of its state and then its counters; `dims` is the number of
    dims of the parameter, or its sizes and strides where the update is traced for these alone.
    """

    group: int
    dims: int | Layout
    slots: tuple[Slot, ...]
    constants: tuple[tuple[str, Any], ...] = ()  # of the state


@dataclass
class Update:
    """The graph that updates a parameter. Its inputs are the slots of the kind, then numbers.

    An elementwise one was traced for any shape: each result depends on elements at its place alone.
    """

    module: torch.fx.GraphModule
    numbers: dict[Path, torch.dtype]  # of the parameter group
    elementwise: bool


def scalars_of(states: Iterable[tuple[Tensor, Mapping[str, Any]]]) -> set[str]:
    """Names of state that is one number for a parameter of any shape."""
    return {
        name
        for parameter, state in states
        for name, value in state.items()
        if parameter.dim() > 0 and isinstance(value, Tensor) and value.dim() == 0
    }


def kind_of(
    group: int,
    parameter: Tensor,
    state: Mapping[str, Any],
    scalars: Collection[str] = (),
    counters: Collection[str] = (),
    *,
    shaped: bool = False,
) -> Kind:
    """The kind of a parameter that has a gradient; `shaped`: of its shape alone.

    `scalars` tells state that is one number from state that is shaped as a 0-d parameter; `counters` are the numbers of
    its state that the step changes. Raises Refused for what is not plain memory.
    """
    slots = [_slot("param", parameter, parameter, False), _slot("grad", parameter.grad, parameter, False)]
    constants = []
    for name, value in state.items():
        if isinstance(value, Tensor):
            slots.append(_slot(name, value, parameter, name in scalars))
        elif name in counters:
            slots.append(Slot(name, torch.float64, parameter.device, "scalar", is_counter=True))
        elif isinstance(value, _PLAIN):
            constants.append((name, value))
        else:
            raise Refused(f"its state '{name}' is a {type(value).__name__}")
    dims: Any = (tuple(parameter.shape), parameter.stride()) if shaped else parameter.dim()
    if not shaped:
        odd = next((s for s in slots if s.shape not in ("full", "scalar")), None)
        if odd is not None:
            return kind_of(group, parameter, state, scalars, counters, shaped=True)
    return Kind(group, dims, tuple(sorted(slots, key=lambda slot: slot.is_counter)), tuple(constants))


def _slot(name: str, tensor: Tensor | None, parameter: Tensor, is_scalar: bool) -> Slot:
    if tensor is None or tensor.layout is not torch.strided or type(tensor) not in (Tensor, torch.nn.Parameter):
        kind = type(tensor).__name__ if tensor is None or tensor.layout is torch.strided else tensor.layout
        raise Refused(f"a {name} is a {kind}")
    shape: Any = (tuple(tensor.shape), tensor.stride())
    if tensor.dim() == 0 and (is_scalar or parameter.dim() > 0):
        shape = "scalar"
    elif tensor.shape == parameter.shape and tensor.stride() == parameter.stride() and _torch.is_dense(tensor):
        shape = "full"
    return Slot(name, tensor.dtype, tensor.device, shape)


def trace_updates(
    optimizer: torch.optim.Optimizer,
    step: Callable[..., Any],
    kinds: Sequence[Kind],
    numbers: Mapping[int, Mapping[Path, torch.dtype]],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> list[Update | None]:
    """The update of each kind; None where it depends on the shape, which the kind leaves open.

    `step` is the optimizer's own step, without hooks; `numbers` are those of each group that are inputs,
    `settings` replace others. Raises Refused if there is no such update.
    """
    # Sizes are symbols in the first copy alone, since those take longer to trace.
    pairs = _Trace(optimizer, step, [k for kind in kinds for k in (kind, kind)], numbers, settings)
    single = _Trace(optimizer, step, kinds[:1], numbers, settings)
    updates: list[Update | None] = []
    for i, kind in enumerate(kinds):
        parts = [pairs.part(2 * i), pairs.part(2 * i + 1)] + ([single.part(0)] if i == 0 else [])
        free = isinstance(kind.dims, int)
        if free and (pairs.has_guards or not is_elementwise(parts[0].graph)):
            updates.append(None)
            continue
        if len({text_of(part.graph) for part in parts}) > 1:
            raise Refused("it does not treat all parameters alike")
        updates.append(Update(parts[0], dict(numbers[kind.group]), free))
    return updates


class _Trace:
    """The step over a stand-in for each of `kinds`, and its parts; the sizes of every other one are numbers."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        step: Callable[..., Any],
        kinds: Sequence[Kind],
        numbers: Mapping[int, Mapping[Path, torch.dtype]],
        settings: Mapping[str, Any],
    ) -> None:
        self.kinds = kinds
        self.groups = sorted({kind.group for kind in kinds})
        self.numbers = {g: dict(numbers[g]) for g in self.groups}
        self.settings = dict(settings)
        self.fakes = _torch.FakeInputs()
        self.tensors: list[Tensor] = []
        self.where: list[range] = []  # the inputs of each stand-in
        for number, kind in enumerate(kinds):
            first = len(self.tensors)
            symbolic = number % 2 == 0 and isinstance(kind.dims, int)
            self.tensors += [self._stand_in(slot, kind, symbolic) for slot in kind.slots]
            self.where.append(range(first, len(self.tensors)))
        self.number_at: dict[tuple[int, Path], int] = {}
        for g in self.groups:
            for name in self.numbers[g]:
                self.number_at[g, name] = len(self.tensors)
                self.tensors.append(self.fakes.empty((), (), torch.float64, torch.device("cpu"), free=False))
        try:
            self.module = self.fakes.trace(lambda *inputs: self._run(optimizer, step, inputs), self.tensors)
        except Refused:
            raise
        except Exception as error:  # whatever the step of a user raises on stand-ins
            raise Refused(f"tracing it failed: {type(error).__name__}: {_first_line(error)}") from error
        self.has_guards = self.fakes.has_guards()
        self.placeholders = [n for n in self.module.graph.nodes if n.op == "placeholder"]
        self.owner = self._find_owners()

    def _stand_in(self, slot: Slot, kind: Kind, symbolic: bool) -> Tensor:
        if isinstance(kind.dims, int):
            sizes = (_SIZES if symbolic else _SIZES[::-1])[: kind.dims]
            full = (sizes, tuple(torch.empty(sizes, device="meta").stride()))
        else:
            full = kind.dims
        sizes, strides = slot.layout(full)
        dtype = torch.float64 if slot.is_number else slot.dtype
        fake = self.fakes.empty(sizes, strides, dtype, slot.device, free=symbolic)
        return fake.requires_grad_() if slot.name == "param" else fake

    def _run(self, optimizer: torch.optim.Optimizer, step: Callable[..., Any], inputs: Sequence[Tensor]) -> list[Any]:
        shadow = object.__new__(type(optimizer))
        attributes = {name: value for name, value in vars(optimizer).items() if name not in _OWN_ATTRIBUTES}
        vars(shadow).update({n: copy.deepcopy(v) if _is_plain(v) else v for n, v in attributes.items()})
        shadow.state = defaultdict(dict)
        shadow.param_groups = []
        vars(shadow).update({name: OrderedDict() for name in _torch.STEP_HOOKS})
        members: dict[int, list[Tensor]] = {g: [] for g in self.groups}
        given: list[tuple[Tensor, Tensor, dict[str, Any]]] = []
        numbers = [inputs[i] for i in self.number_at.values()]
        for kind, where in zip(self.kinds, self.where, strict=True):
            parameter, gradient, *rest = (inputs[i] for i in where)
            parameter.grad = gradient
            state = dict(zip((slot.name for slot in kind.slots[2:]), rest, strict=True)) | dict(kind.constants)
            numbers += [state[slot.name] for slot in kind.slots if slot.is_counter]
            if state:
                shadow.state[parameter] = state
            members[kind.group].append(parameter)
            given.append((parameter, gradient, dict(state)))
        for g in self.groups:
            group = dict(optimizer.param_groups[g])
            # Ways to compute the same.
            group |= {name: False for name in ("foreach", "fused") if name in group}
            group |= {"params": members[g]} | self.settings
            for name, *index in self.numbers[g]:
                number = inputs[self.number_at[g, (name, *index)]]
                if index:
                    entries = list(group[name])
                    entries[index[0]] = number
                    number = type(group[name])(entries)
                group[name] = number
            shadow.param_groups.append(group)
        before = [dict(group) for group in shadow.param_groups]
        with torch.no_grad(), AsNumbers(numbers, Refused), math_of_tensors(), _torch.compiling():
            returned = step(shadow)
        if returned is not None:
            raise Refused(f"it returns a {type(returned).__name__}")
        with torch.no_grad():
            for kind, (parameter, _, state) in zip(self.kinds, given, strict=True):
                _count(kind, state, shadow.state.get(parameter, {}))
        for parameter, gradient, state in given:
            _check_same(state, shadow.state.get(parameter, {}), "its state")
            if parameter.grad is not gradient:
                raise Refused("it replaces gradients")
        for old, new in zip(before, shadow.param_groups, strict=True):
            _check_same(old, new, "its parameter group's")
        _check_same(attributes, {n: v for n, v in vars(shadow).items() if n not in _OWN_ATTRIBUTES}, "its attribute")
        return []

    def _find_owners(self) -> dict[torch.fx.Node, int | None]:
        """Which stand-in each node belongs to; None: it depends on numbers alone."""
        owner: dict[torch.fx.Node, int | None] = {}
        of_input = {i: number for number, where in enumerate(self.where) for i in where}
        for i, node in enumerate(self.placeholders):
            owner[node] = of_input.get(i)
        for node in self.module.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            found = {owner[n] for n in node.all_input_nodes} - {None}
            if len(found) > 1:
                raise Refused("what it computes for one parameter depends on others")
            owner[node] = found.pop() if found else None
            if owner[node] is None and is_mutable(node.target):
                raise Refused(f"it writes to a number of its parameter groups, by {node.target}")
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise Refused(f"it draws random numbers, by {node.target}")
            if node.op == "get_attr":
                raise Refused("it uses a tensor that is neither a parameter nor state")
        return owner

    def part(self, stand_in: int) -> torch.fx.GraphModule:
        """The graph of a stand-in: inputs are its tensors, then the numbers of its group."""
        kind = self.kinds[stand_in]
        graph = torch.fx.Graph()
        inputs = [self.placeholders[i] for i in self.where[stand_in]]
        inputs += [self.placeholders[self.number_at[kind.group, name]] for name in self.numbers[kind.group]]
        new: dict[torch.fx.Node, torch.fx.Node] = {}
        for i, node in enumerate(inputs):
            new[node] = graph.placeholder(f"input_{i}")
            new[node].meta = dict(node.meta)

        def copied(node: torch.fx.Node) -> torch.fx.Node:
            if node not in new:
                # What numbers alone decide comes where it is first used, whichever parameter was the first to need it.
                for operand in node.all_input_nodes:
                    copied(operand)
                new[node] = graph.node_copy(node, copied)
            return new[node]

        for node in self.module.graph.nodes:
            if node.op == "call_function" and self.owner[node] == stand_in:
                copied(node)
        graph.output(())
        return torch.fx.GraphModule(self.module, graph)


def is_elementwise(graph: torch.fx.Graph) -> bool:
    """True if each result depends on elements at its place, and on scalars, alone."""
    shape = next(iter(graph.nodes)).meta["val"].shape
    for node in graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if torch.Tag.pointwise not in node.target.tags and str(node.target) not in _ELEMENTWISE:
            return False
        arguments = [*_leaves(node.args), *_leaves(node.kwargs.values())]
        values = [a.meta.get("val") if isinstance(a, torch.fx.Node) else a for a in arguments]
        if any(isinstance(v, torch.SymInt) and _torch.depends_on_sizes(v) for v in values):
            return False
        shapes = [v.shape for v in (*values, node.meta.get("val")) if isinstance(v, Tensor)]
        if any(len(s) > 0 and s != shape for s in shapes):
            return False
    return True


def settings_of(group: Mapping[str, Any]) -> dict[Path, Any]:
    """Everything in a parameter group but its parameters; lists and tuples entry by entry."""
    found: dict[Path, Any] = {}
    for name, value in group.items():
        if type(value) in (list, tuple) and name != "params":
            found |= {(name, i): entry for i, entry in enumerate(value)}
        elif name != "params":
            found[name,] = value
    return found


def functional(update: Update, kind: Kind, decompositions: dict[Any, Callable[..., Any]]) -> torch.fx.GraphModule:
    """The update as a graph that writes to its inputs at its end alone, taken apart into operators that we compile.

    Tensors of an elementwise update have one dim. Numbers are computed with in f64; all are on the parameter's device.
    """
    fakes = _torch.FakeInputs()
    inputs = []
    for slot in kind.slots:
        sizes, strides = slot.layout(kind.dims if isinstance(kind.dims, tuple) else ((_SIZES[0],), (1,)))
        inputs.append(fakes.empty(sizes, strides, slot.dtype, slot.device, free=update.elementwise))
    device = kind.slots[0].device
    inputs += [fakes.empty((), (), dtype, device, free=False) for dtype in update.numbers.values()]
    written = _written_inputs(update.module.graph)

    def values(*tensors: Tensor) -> list[Tensor]:
        update.module(*tensors)
        return [tensors[i] for i in written]

    def run(*tensors: Tensor) -> list[Any]:
        computed = [x.double() if i >= len(kind.slots) or kind.slots[i].is_number else x for i, x in enumerate(tensors)]
        for i, value in zip(written, _torch.without_mutation(values)(*computed), strict=True):
            tensors[i].copy_(value)
        return []

    return fakes.trace(run, inputs, decompositions)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, set)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(k) and _is_plain(v) for k, v in value.items())
    return isinstance(value, _PLAIN)


def _count(kind: Kind, before: Mapping[str, Any], after: dict[str, Any]) -> None:
    """Writes the new values of counters to their stand-ins. Raises Counts for a number that is no counter yet."""
    for slot in kind.slots:
        if slot.is_counter and after.get(slot.name) is not before[slot.name]:
            new = after.get(slot.name)
            if not isinstance(new, (int, float)) and not (isinstance(new, Tensor) and new.dim() == 0):
                raise Refused(f"its state '{slot.name}' becomes a {type(new).__name__}")
            before[slot.name].copy_(torch.as_tensor(new))
            after[slot.name] = before[slot.name]
    for name, value in before.items():
        if type(value) in (int, float) and type(after.get(name)) in (int, float) and after[name] != value:
            raise Counts(name)


def _check_same(before: Mapping[str, Any], after: Mapping[str, Any], whose: str) -> None:
    for name in (*before, *after):
        old, new = before.get(name), after.get(name)
        if name not in before or name not in after or (old is not new and not (_is_plain(old) and old == new)):
            raise Refused(f"{whose} '{name}' is replaced in the step, not written to")


def _leaves(arguments: Iterable[Any]) -> Iterator[Any]:
    for a in arguments:
        if isinstance(a, (list, tuple)):
            yield from _leaves(a)
        else:
            yield a


def _written_inputs(graph: torch.fx.Graph) -> list[int]:
    """Positions of the inputs that the graph writes to, or may write to through a view."""
    found = []
    for i, node in enumerate(n for n in graph.nodes if n.op == "placeholder"):
        targets = [user.target for user in node.users]
        if any(is_mutable(target) or getattr(target, "is_view", False) for target in targets):
            found.append(i)
    return found


def text_of(graph: torch.fx.Graph) -> str:
    """The graph with its nodes numbered, so that equal graphs have equal texts."""
    number = {node: i for i, node in enumerate(graph.nodes)}

    def text(a: Any) -> str:
        if isinstance(a, torch.fx.Node):
            return f"%{number[a]}"
        if isinstance(a, (list, tuple)):
            return "[" + ", ".join(map(text, a)) + "]"
        return repr(a)

    lines = []
    for node in graph.nodes:
        keywords = [f"{k}={text(v)}" for k, v in sorted(node.kwargs.items())]
        value = node.meta.get("val")
        kind = f"{value.dtype} {value.device}" if isinstance(value, Tensor) else ""
        lines.append(
            f"{node.op} {node.target if node.op == 'call_function' else ''} "
            f"{[text(a) for a in node.args]} {keywords} {kind}"
        )
    return "\n".join(lines)
