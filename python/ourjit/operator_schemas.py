"""Names and arguments of operator overloads, looked up once for each: neither ever changes."""

from __future__ import annotations

from typing import Any

import torch

_names: dict[torch._ops.OpOverload, str] = {}


def operator_name(target: torch._ops.OpOverload) -> str:
    """As in "aten.add.Tensor"."""
    name = _names.get(target)
    if name is None:
        name = _names[target] = str(target)
    return name


def is_mutable(target: Any) -> bool:
    """True for an operator that writes to one of its arguments."""
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


# Schemas write defaults of these types as numbers; these are the only ones in use.
_ENUM_DEFAULTS = {"Optional[ScalarType]": ("dtype", "i64"), "MemoryFormat": ("memory_format", "contiguous_format")}

_schemas: dict[torch._ops.OpOverload, tuple[tuple[str, Any, str], ...]] = {}


def arguments_of(target: torch._ops.OpOverload) -> tuple[tuple[str, Any, str], ...]:
    """What the exporter asks of a schema: (argument's name, encoded default, kind) in order."""
    known = _schemas.get(target)
    if known is None:
        arguments = []
        for argument in target._schema.arguments:
            text = str(argument.type).removeprefix("Optional[").rstrip("]?")
            if "List[" in text or "[" in text:
                kind = "list"
            else:
                kind = "float" if text == "float" else ""
            default = argument.default_value
            if isinstance(default, (list, tuple)):
                default = list(default)
            elif isinstance(default, int) and str(argument.real_type) in _ENUM_DEFAULTS:
                default = _ENUM_DEFAULTS[str(argument.real_type)]
            elif kind == "float" and isinstance(default, int):
                default = float(default)
            arguments.append((argument.name, default, kind))
        known = _schemas[target] = tuple(arguments)
    return known
