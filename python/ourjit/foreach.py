"""Operators on lists of tensors, which optimizers use on GPUs, as operators on the tensors of the lists."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

_NAMES = """
    abs add addcdiv addcmul clamp_max clamp_min copy cos div erf exp expm1 lerp log log1p maximum minimum mul neg pow
    reciprocal rsqrt sigmoid sign sin sqrt sub tanh
""".split()


def _each(packet: Any, keyword: str, *lists: Any, **keywords: Any) -> Any:
    """Calls an operator with the first elements of all lists, then the second, and so on."""
    count = next(len(x) for x in lists if isinstance(x, (list, tuple)))
    results = []
    for i in range(count):
        arguments = [x[i] if isinstance(x, (list, tuple)) else x for x in lists]
        extra = {keyword: arguments.pop()} if keyword and len(arguments) == 4 else {}
        results.append(packet(*arguments, **extra, **keywords))
    return results


@functools.cache
def decompositions() -> dict[Any, Callable[..., Any]]:
    """Rules by overload. The factor of addcmul and addcdiv goes by its name."""
    found: dict[Any, Callable[..., Any]] = {}
    for name in _NAMES:
        operator = getattr(torch.ops.aten, f"_foreach_{name}", None)
        keyword = "value" if name.startswith("addc") else ""
        for overload in operator.overloads() if operator is not None else ():
            # The others take numbers where the operator takes none, or factors as a tensor.
            known = overload == "List" if name in ("maximum", "minimum") else not (keyword and overload == "Tensor")
            if known and overload != "out" and not overload.endswith("_out"):
                rule = functools.partial(_each, getattr(torch.ops.aten, name), keyword)
                found[getattr(operator, overload)] = rule
    return found
