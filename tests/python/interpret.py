"""Runs an exported graph through ATen: the oracle of the export format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ourjit.fx_export import DTYPES

_DTYPES = {name: dtype for dtype, name in DTYPES.items()}
_FUNCTIONS = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max}


class Interpreter:
    def __init__(self, graph: dict[str, Any]) -> None:
        self.graph = graph
        self.values: list[Any] = []
        self.symbols: dict[str, int] = {}

    def size(self, text: int | str) -> int:
        return text if isinstance(text, int) else eval(text, dict(_FUNCTIONS), self.symbols)

    def decode(self, arg: Any) -> Any:
        if isinstance(arg, list):
            return [self.decode(item) for item in arg]
        if not isinstance(arg, tuple):
            return arg
        kind, name = arg
        if kind == "v":
            return self.values[name]
        if kind == "sym":
            return self.size(name)
        if kind == "dtype":
            return _DTYPES[name]
        if kind == "device":
            return torch.device(name)
        return getattr(torch, name)

    def check(self, expected: Any, value: Any) -> None:
        dtype, sizes, strides, device = expected
        assert value.dtype == _DTYPES[dtype] and str(value.device) == device
        assert tuple(value.shape) == tuple(map(self.size, sizes))
        if value.numel():
            wanted = tuple(map(self.size, strides))
            for size, a, b in zip(value.shape, wanted, value.stride(), strict=True):
                assert size == 1 or a == b, (wanted, value.stride())

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        assert len(inputs) == len(self.graph["inputs"])
        for value, (_, kind) in zip(inputs, self.graph["inputs"], strict=True):
            if isinstance(kind, str):
                self.symbols[kind.removeprefix("sym:")] = value
            self.values.append(value)
        for value, (_, kind) in zip(inputs, self.graph["inputs"], strict=True):
            if not isinstance(kind, str):
                self.check(kind, value)
        for target, args, names, types, _ in self.graph["nodes"]:
            namespace, operator, overload = target.split(".")
            function = getattr(getattr(getattr(torch.ops, namespace), operator), overload)
            schema = function._schema.arguments
            assert len(schema) == len(args), target
            decoded = [self.decode(arg) for arg in args]
            positional = [value for value, argument in zip(decoded, schema, strict=True) if not argument.kwarg_only]
            keywords = {a.name: value for value, a in zip(decoded, schema, strict=True) if a.kwarg_only}
            result = function(*positional, **keywords)
            results = [result] if isinstance(result, torch.Tensor) else list(result or ())
            assert len(results) == len(names) == len(types), target
            for value, kind in zip(results, types, strict=True):
                if kind is not None:
                    self.check(kind, value)
                self.values.append(value)
        return [self.decode(output) for output in self.graph["outputs"]]
