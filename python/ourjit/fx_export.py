"""Exports an FX graph of ATen operators as plain data, the only form in which the C++ side sees it.

The graph is a dict {name, inputs, nodes, outputs, calls, host_inputs, host_outputs, views, returned, files}:

* Values are numbered 0, 1, 2, ...: the inputs first, then the results of each node in order. Every result takes a
  number, also one that is None or unused.
* A tensor type is (dtype, sizes, strides, device): names as in `DTYPES`, sizes and strides are ints, or text such as
  "s0*128" where symbolic (`symbol_text`).
* `inputs`: (name, type) of a tensor, or (name, "sym:s0") of a number that is the value of symbol s0.
* `nodes`: (target, args, result_names, result_types, loc). `args` holds every argument of the operator's schema in
  order, keyword arguments and defaults filled in; see `Exporter.encode`. The type of a None or unused result is None.
* `outputs`: ("v", number of a value), ("v", number, "free") if its strides may be chosen, ("sym", text), an int, or
  None.
* `calls`: what runs the nodes of higher-order operators; who runs the graph holds it (`higher_order.hold_with`).
* `host_inputs`, `host_outputs`: positions of those that are on the CPU in a graph for another device.
* `views`: (position, of an output, number, rank) of each output that is a view of an input, or of an output, as only
  guards know. It is None among the outputs; its sizes, strides and distance from the start of what it is a view of are
  outputs behind all others, in this order. The first `returned` outputs are those of the FX graph.
* `files`: the path of the Python file of each `loc` such as "model.py:41".

Constants that the graph holds become additional inputs behind the others.

Scalars on the CPU may take part in a graph for another device, as in eager: all tensors of the graph are on its device,
inputs are brought there at the call, and what is computed from them is computed there.
"""

from __future__ import annotations

import itertools
import operator
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from ourjit import higher_order
from ourjit._C import Unsupported
from ourjit._torch import (
    TORCH_FOLDER,
    Outputs,
    can_be_negative,
    guard_count,
    is_nested_int,
    is_with_effects,
    moved,
    signed_expression,
    symbolic_expression,
)
from ourjit.operator_schemas import arguments_of, is_mutable, operator_name
from ourjit.output_views import View, output_views
from ourjit.symbolic_numbers import (
    float_value,
    from_the_front,
    is_symbolic_float,
    size_text,
    symbol_text,
    with_tensors,
)

DTYPES: dict[torch.dtype, str] = {
    getattr(torch, name): short
    for name, short in (
        ("float32", "f32"),
        ("float64", "f64"),
        ("bfloat16", "bf16"),
        ("float16", "f16"),
        ("int64", "i64"),
        ("int32", "i32"),
        ("int16", "i16"),
        ("int8", "i8"),
        ("uint8", "u8"),
        ("uint16", "u16"),
        ("uint32", "u32"),
        ("uint64", "u64"),
        ("bool", "bool"),
        ("complex64", "c64"),
        ("complex128", "c128"),
        ("float8_e4m3fn", "f8e4m3"),
        ("float8_e5m2", "f8e5m2"),
    )
    if hasattr(torch, name)
}

_RESIZE_STORAGE = {"inductor.resize_storage_bytes_.default", "aten.set_.source_Tensor", "aten.resize_.default"}
_LAYOUTS = {torch.strided: "strided"}
_MEMORY_FORMATS = {
    torch.contiguous_format: "contiguous_format",
    torch.channels_last: "channels_last",
    torch.channels_last_3d: "channels_last_3d",
    torch.preserve_format: "preserve_format",
}

Graph = dict[str, Any]
_NOT_THE_USERS = (TORCH_FOLDER, __file__.rpartition("/")[0])
_ANY_OUTPUTS = Outputs()


def export_graph(
    module: torch.fx.GraphModule,
    name: str,
    outputs: Outputs = _ANY_OUTPUTS,
    example_inputs: Sequence[Any] = (),
    device: str = "cpu",
) -> tuple[Graph, list[torch.Tensor]]:
    """The graph of `module`, for a device, as plain data, and its constants.

    The types of inputs are those of `example_inputs` where given: AOTAutograd puts the strides there that the forward
    graph really returned, while the nodes of the backward graph still tell those of its trace.
    The strides of outputs that are saved may be chosen: nobody but a backward graph, which is told them, sees these.
    Raises Unsupported for a graph that cannot be written so: numbers computed from tensors, tensors with other layouts.
    """
    # A guard that is added on the way may tell more of what was exported before it.
    guards = -1
    while guards != guard_count(module):
        guards = guard_count(module)
        exporter = Exporter(module, name, example_inputs, device)
        graph, constants = exporter.run(outputs)
    kept = range(*outputs.saved.indices(graph["returned"]))
    free_strides(graph, slice(kept.start, kept.stop))
    graph["host_outputs"] = [i for i in exporter.host_outputs if i not in kept]
    return graph, constants


def leading_tokens(module: torch.fx.GraphModule) -> int:
    """How many of the first inputs, and of the first outputs, are tokens of effects, which are not exported.

    They are None when the graph runs.
    """
    count = 0
    for node in module.graph.nodes:
        if node.op != "placeholder" or not any(is_with_effects(user.target) for user in node.users):
            break
        count += 1
    return count


class Exporter:
    def __init__(
        self, module: torch.fx.GraphModule, name: str, example_inputs: Sequence[Any] = (), device: str = "cpu"
    ) -> None:
        self.module = module
        self.example_inputs = example_inputs
        self.device = device
        self.name = name
        self.values: dict[torch.fx.Node, int | tuple[int | None, ...] | None] = {}
        self.count = 0
        self.inputs: list[tuple[str, Any]] = []
        self.nodes: list[tuple[Any, ...]] = []
        self.constants: list[torch.Tensor] = []
        self.data_numbers: dict[Any, tuple[str, int]] = {}  # 0-d f64 tensors by the symbols of their values
        self.others: dict[torch.fx.Node, Any] = {}  # subgraphs and what else higher-order operators refer to
        self.calls: list[higher_order.Call] = []
        self.host_inputs: list[int] = []
        self.host_outputs: list[int] = []
        self.views: list[tuple[int, bool, Any, int]] = []
        self.locations: dict[str | None, str] = {None: ""}
        self.files: dict[str, str] = {}  # the paths of locations
        self.devices: dict[torch.device, str] = {}
        self.loc = ""  # of the operator that is being exported

    def run(self, roles: Outputs) -> tuple[Graph, list[torch.Tensor]]:
        outputs: list[Any] = []
        placeholders = []
        constants = []
        operators = []
        for node in self.module.graph.nodes:
            if node.op == "call_function":
                operators.append(node)
            elif node.op == "placeholder":
                placeholders.append(node)
            elif node.op == "get_attr":
                constants.append(node)
            elif node.op == "output":
                results = node.args[0]
            else:
                raise Unsupported(f"FX node {node.name} of kind {node.op}")
        tokens = leading_tokens(self.module)
        self.example_inputs = self.example_inputs[tokens:]
        self.values |= dict.fromkeys(placeholders[:tokens])
        for node in placeholders[tokens:]:
            self.add_input(node)
        for node in constants:
            self.add_constant(node)
        for node in operators:
            self.add_operator(node)
        results = (results if isinstance(results, (tuple, list)) else (results,))[tokens:]
        views = output_views(placeholders[tokens:], results, roles)
        for result in results:
            if self.is_host_scalar(result) and result.op != "placeholder":
                self.host_outputs.append(len(outputs))
            outputs.append(self.encode_output(result) if len(outputs) not in views else None)
        self.add_views(views, outputs, roles)
        graph: Graph = {"name": self.name, "inputs": self.inputs, "nodes": self.nodes, "outputs": outputs}
        graph |= {"calls": self.calls, "host_inputs": self.host_inputs, "views": self.views}
        graph |= {"returned": len(results), "files": self.files}
        return graph, self.constants

    def add_input(self, node: torch.fx.Node) -> None:
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor):
            if self.is_host_scalar(node):
                self.host_inputs.append(len(self.inputs))
            if len(self.inputs) < len(self.example_inputs):
                value = self.example_inputs[len(self.inputs)]
            self.inputs.append((node.name, self.tensor_type(value)))
        elif isinstance(value, torch.SymInt):
            text = str(signed_expression(value))
            # A number that is not itself a symbol gets a name of its own, as `signed_expression` would name a symbol.
            # What refers to the size of a ragged dim is refused by `encode_other`.
            if not text.isidentifier() or is_nested_int(value):
                from_data = is_nested_int(value) or not value.node.has_hint()
                text = f"{'u' if from_data else 'u_s' if can_be_negative(value) else 's'}_input_{len(self.inputs)}"
            self.inputs.append((node.name, f"sym:{text}"))
        elif isinstance(value, int) and not isinstance(value, bool):
            self.inputs.append((node.name, f"sym:input_{len(self.inputs)}"))
        else:
            raise Unsupported(f"input {node.name} is a {type(value).__name__}, not a tensor or an int")
        self.values[node] = self.count
        self.count += 1

    def add_constant(self, node: torch.fx.Node) -> None:
        constant: Any = self.module
        for part in str(node.target).split("."):
            constant = getattr(constant, part)
        if not isinstance(constant, torch.Tensor):
            self.others[node] = constant
            return
        if constant.device.type == "cpu" and constant.dim() == 0 and self.device != "cpu":
            constant = moved(constant, self.device)
        self.inputs.append((node.name, self.tensor_type(constant)))
        self.constants.append(constant)
        self.values[node] = self.count
        self.count += 1

    def add_operator(self, node: torch.fx.Node) -> None:
        target = node.target
        value = node.meta.get("val")
        if target is operator.getitem:
            results = self.values.get(node.args[0])  # type: ignore[arg-type]
            if not isinstance(results, tuple):
                raise Unsupported(f"getitem of {node.args[0]}")
            self.values[node] = results[node.args[1]]  # type: ignore[index]
            return
        if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool, int, float)):
            if self.reads_tensor_data(node):
                if isinstance(value, torch.SymFloat):
                    return self.add_data_number(node, symbolic_expression(value))
                raise Unsupported(f"{target} computes a number from a tensor's elements")
            self.values[node] = None
            return
        if is_with_effects(target):
            return self.add_effect(node)
        if isinstance(target, torch._ops.HigherOrderOperator) or _gives_more_than_tensors(node, value):
            return self.add_python_call(node)
        if not isinstance(target, torch._ops.OpOverload):
            raise Unsupported(f"{target} is no operator")
        if operator_name(target) in _RESIZE_STORAGE:
            raise Unsupported(f"{target} gives its operand other memory")
        if is_mutable(target) and self.is_host_scalar(next(iter(node.args), None)):
            raise Unsupported(f"{target} writes to a tensor on the CPU, in a graph for {self.device}")
        loc = self.loc = self.location(node)
        try:
            if any(is_symbolic_float(a) for a in node.args):
                target = with_tensors(target)
            args = self.arguments(target, from_the_front(target, node.args), node.kwargs)
            if isinstance(value, torch.Tensor):
                names: tuple[str, ...] = (node.name,)
                types: tuple[Any, ...] = (self.tensor_type(value),)
                self.values[node] = self.count
            elif isinstance(value, (tuple, list)):
                names, types = self.results(node, value)
                self.values[node] = tuple(range(self.count, self.count + len(names)))
            elif value is None:
                names, types = (), ()
                self.values[node] = None
            else:
                raise Unsupported(f"a result is a {type(value).__name__}")
        except Unsupported as error:
            raise Unsupported(f"{target} at {loc or 'an unknown line'}: {error}") from None
        self.count += len(names)
        self.nodes.append((operator_name(target), args, names, types, loc))

    def add_data_number(self, node: torch.fx.Node, symbol: Any) -> None:
        """A float that is read from a tensor: what uses it takes the tensor."""
        tensor = node.args[0]
        encoded = self.encode(tensor)
        if tensor.meta["val"].dtype != torch.float64:  # type: ignore[union-attr]
            to_f64 = (encoded, ("dtype", "f64"), None, None, None, False, None)
            encoded = self.emit_number("aten._to_copy.default", to_f64)
        self.data_numbers[symbol] = encoded
        self.values[node] = None

    def add_effect(self, node: torch.fx.Node) -> None:
        """with_effects(token, operator, its arguments) -> (token, its results): a call that keeps its place.

        Calls without results do that anyway. Tokens are None when the graph runs.
        """
        token, target, *given = node.args
        if not isinstance(target, torch._ops.OpOverload) or target._schema.returns:
            raise Unsupported(f"operator {target} with effects and results")
        if self.values.get(token, 0) is not None:  # type: ignore[arg-type]
            raise Unsupported("a token of effects that is no leading input")
        args = self.arguments(target, given, node.kwargs)
        self.nodes.append((operator_name(target), args, (), (), self.location(node)))
        self.values[node] = (None, None)

    def add_python_call(self, node: torch.fx.Node) -> None:
        """A call that hands tensors and numbers to Python: of higher-order operators, and where results are nested.

        Only the tensors among the results are the call's; known numbers and None are constants.
        """
        tensors: list[torch.fx.Node] = []
        numbers: list[Any] = []
        for operand in node.all_input_nodes:
            if operand in self.others:
                continue
            value = operand.meta.get("val")
            if isinstance(value, torch.Tensor) or operand.op == "get_attr":
                tensors.append(operand)
            elif isinstance(value, (int, torch.SymInt)):
                numbers.append(self.encode(value))
            else:
                raise Unsupported(f"operator {node.target} of a {type(value).__name__}")
        places = itertools.count(self.count)

        def place(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return next(places)
            if isinstance(value, (tuple, list)):
                return tuple(map(place, value))
            if value is None or isinstance(value, (bool, int, float, str)):
                return None
            raise Unsupported(f"a result of operator {node.target} is a {type(value).__name__}")

        value = node.meta.get("val")
        self.values[node] = () if value is None else place(value)
        results = [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
        target = higher_order.operator_of(node.target)
        placed, offsets = higher_order.storage_offsets(node, tensors)
        number, call = higher_order.add_call(node, tensors, self.others, placed)
        numbers.extend(map(self.encode, offsets))
        self.calls.append(call)
        args = (number, [self.encode(t) for t in tensors], numbers)
        names = tuple(f"{node.name}.{i}" for i in range(len(results)))
        self.nodes.append(
            (operator_name(target), args, names, tuple(map(self.tensor_type, results)), self.location(node))
        )
        self.count += len(results)

    def reads_tensor_data(self, node: torch.fx.Node) -> bool:
        """True if a number-valued node depends on elements of a tensor, not on its shape alone."""
        target = node.target
        return isinstance(target, torch._ops.OpOverload) and operator_name(target).startswith(
            "aten._local_scalar_dense"
        )

    def results(self, node: torch.fx.Node, value: Any) -> tuple[tuple[str, ...], tuple[Any, ...]]:
        used: dict[int, str] = {}
        for user in node.users:
            if user.target is not operator.getitem:
                raise Unsupported("several results used as one")
            used[user.args[1]] = user.name  # type: ignore[index]
        names = []
        types = []
        for i, result in enumerate(value):
            names.append(used.get(i) or f"{node.name}.{i}")
            types.append(self.tensor_type(result) if i in used and result is not None else None)
        return tuple(names), tuple(types)

    def arguments(
        self, target: torch._ops.OpOverload, given: Sequence[Any], keywords: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        schema = arguments_of(target)
        encoded = []
        for i, (name, default, kind) in enumerate(schema):
            if i < len(given):
                value = given[i]
            elif keywords and name in keywords:
                value = keywords[name]
            else:
                encoded.append(default)
                continue
            if kind == "list" and not isinstance(value, (list, tuple)) and value is not None:
                value = (value,)
            elif kind == "float" and type(value) is int:
                value = float(value)
            encoded.append(self.encode(value))
        return tuple(encoded)

    def encode(self, value: Any) -> Any:
        """An argument as plain data.

        ("v", number) for a tensor or a symbolic float; ("sym", text) for a symbolic int; ("dtype" | "device" |
        "layout" | "memory_format", name); ("complex", bits of both parts, see csrc/graph/graph.h); a list for a list
        or tuple; int, float, bool, str and None as they are. An argument that the schema calls a Tensor may be a plain
        number.
        """
        if isinstance(value, torch.fx.Node):
            number = self.values[value]
            if type(number) is int:
                return ("v", number)
            return self.encode(value.meta["val"])
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, complex):
            real, imaginary = struct.unpack("<QQ", struct.pack("<dd", value.real, value.imag))
            return ("complex", f"x{real:016x}_{imaginary:016x}")
        if isinstance(value, (list, tuple)):
            return [self.encode(item) for item in value]
        return self.encode_other(value)

    def emit_number(self, target: str, args: Sequence[Any]) -> tuple[str, int]:
        """An operator on 0-d f64 tensors before the one that is being exported."""
        self.nodes.append((target, tuple(args), (f"number_{self.count}",), (("f64", (), (), self.device),), self.loc))
        self.count += 1
        return ("v", self.count - 1)

    def encode_other(self, value: Any) -> Any:
        if isinstance(value, torch.SymInt):
            if is_nested_int(value):
                raise Unsupported(f"the size {value} of a ragged dim is used as a number")
            size = symbol_text(value)
            return size if isinstance(size, int) else ("sym", size)
        if isinstance(value, (torch.SymFloat, torch.SymBool)):
            number = signed_expression(value)
            if not number.free_symbols if hasattr(number, "free_symbols") else True:
                return bool(number) if isinstance(value, torch.SymBool) else float(number)
            if isinstance(value, torch.SymBool):
                raise Unsupported(f"symbolic condition {number}")
            return float_value(number, self.emit_number, self.data_numbers)
        if isinstance(value, torch.dtype):
            return ("dtype", _dtype(value))
        if isinstance(value, torch.device):
            return ("device", self.device if value.type == "cpu" else str(value))
        if isinstance(value, torch.layout):
            if value not in _LAYOUTS:
                raise Unsupported(f"layout {value}")
            return ("layout", _LAYOUTS[value])
        if isinstance(value, torch.memory_format):
            return ("memory_format", _MEMORY_FORMATS[value])
        raise Unsupported(f"an argument is a {type(value).__name__}")

    def encode_output(self, value: Any) -> Any:
        if value is None or isinstance(value, int):
            return value
        if is_symbolic_float(value):
            raise Unsupported("an output is a float that is computed in the graph")
        encoded = self.encode(value)
        if isinstance(encoded, (list, float, str)):
            raise Unsupported(f"an output is a {type(encoded).__name__}")
        return encoded

    def add_views(self, views: Mapping[int, View], outputs: list[Any], roles: Outputs) -> None:
        """Appends to the outputs what tells how views lie, and the values that they are views of."""
        saved = range(*roles.saved.indices(len(outputs)))  # their strides may be chosen
        numbers: list[Any] = []
        for position, (base, tensor) in views.items():
            value: Any = self.values[base]
            of_output = base.op != "placeholder"
            if of_output:
                places = [i for i, output in enumerate(outputs) if output == ("v", value) and i not in saved]
                if not places:
                    outputs.append(("v", value))
                value = places[0] if places else len(outputs) - 1
            self.views.append((position, of_output, value, tensor.dim()))
            distance = tensor.storage_offset() - base.meta["val"].storage_offset()
            numbers.extend(map(self.encode, (*tensor.shape, *tensor.stride(), distance)))
        outputs.extend(numbers)

    def tensor_type(self, tensor: torch.Tensor) -> tuple[Any, ...]:
        if tensor.layout is not torch.strided:
            raise Unsupported(f"a tensor has layout {tensor.layout}")
        device = tensor.device
        name = self.devices.get(device)
        if name is None:
            name = self.devices[device] = str(device)
        if name != self.device and name == "cpu" and tensor.dim() == 0:
            name = self.device
        dtype = DTYPES.get(tensor.dtype) or _dtype(tensor.dtype)
        sizes = tuple(tensor.shape)
        strides = tensor.stride()
        for size in sizes:
            if type(size) is not int:
                break
        else:
            for size in strides:
                if type(size) is not int:
                    break
            else:
                return (dtype, sizes, strides, name)
        return (dtype, tuple(map(size_text, sizes)), tuple(map(symbol_text, strides)), name)

    def is_host_scalar(self, node: Any) -> bool:
        """True for a scalar on the CPU in a graph for another device."""
        value = node.meta.get("val") if isinstance(node, torch.fx.Node) and self.device != "cpu" else None
        return isinstance(value, torch.Tensor) and value.device.type == "cpu" and value.dim() == 0

    def location(self, node: torch.fx.Node) -> str:
        """The user's innermost line, as "model.py:41"; empty if unknown."""
        trace = node.stack_trace
        found = self.locations.get(trace)
        if found is None:
            path, line = _user_line(trace or "")
            found = self.locations[trace] = f"{path.rpartition('/')[2]}:{line}" if path else ""
            self.files[found] = path
        return found


def free_strides(graph: Graph, free: slice) -> None:
    """Marks the outputs `free` where their strides are numbers and no other output is the same value."""
    outputs = graph["outputs"]
    chosen = set(range(len(outputs))[free])
    kept = {output for i, output in enumerate(outputs) if i not in chosen}
    types = [kind for _, kind in graph["inputs"]]
    inputs = len(types)
    for node in graph["nodes"]:
        types.extend(node[3])
    for i in chosen:
        output = outputs[i]
        if not isinstance(output, tuple) or output[0] != "v" or output in kept or output[1] < inputs:
            continue
        if all(isinstance(stride, int) for stride in types[output[1]][2]):
            outputs[i] = (*output, "free")


def _gives_more_than_tensors(node: torch.fx.Node, value: Any) -> bool:
    """True if the results of `node` that are used are not all tensors."""
    if not isinstance(value, (tuple, list)):
        return False
    used = {user.args[1] for user in node.users if user.target is operator.getitem}
    return any(i in used and not isinstance(v, torch.Tensor) and v is not None for i, v in enumerate(value))


def _user_line(trace: str) -> tuple[str, str]:
    """Path and number of the innermost line that is neither torch's nor ours, else of the innermost one; or empty."""
    user = innermost = ("", "")
    for raw in trace.splitlines():
        line = raw.strip()
        if line.startswith('File "'):
            path, _, rest = line[6:].partition('", line ')
            innermost = (path, rest.partition(",")[0])
            if not path.startswith(_NOT_THE_USERS):
                user = innermost
    return user if user[0] else innermost


def _dtype(dtype: torch.dtype) -> str:
    name = DTYPES.get(dtype)
    if name is None:
        raise Unsupported(f"dtype {dtype}")
    return name
