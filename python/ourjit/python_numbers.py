"""Tensors in the place of Python's numbers while a step is traced: 0-d, of f64, and without a value."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


class AsNumbers(TorchFunctionMode):
    """While it lasts, `numbers` and what is computed from them alone behave as numbers: `x += 1` makes a new one.

    And `x.data` is traced as the tensor that it is; setting it raises `refused`.
    """

    def __init__(self, numbers: Sequence[Tensor], refused: type[Exception]) -> None:
        super().__init__()
        self.refused = refused
        self.numbers = {id(x): x for x in numbers}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function == Tensor.data.__get__:  # type: ignore[attr-defined]
            return args[0].detach()
        if function == Tensor.data.__set__:  # type: ignore[attr-defined]
            raise self.refused("it sets the .data of a tensor")
        if id(args[0] if args else None) in self.numbers:
            name = getattr(function, "__name__", "")
            if name.endswith("_") and not name.startswith("_"):  # what `x += 1` and its kin call
                function = getattr(Tensor, name[:-1])
        result = function(*args, **(kwargs or {}))
        tensors = [a for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)]
        if isinstance(result, Tensor) and tensors and all(id(a) in self.numbers for a in tensors):
            self.numbers[id(result)] = result
        return result


@contextlib.contextmanager
def math_of_tensors() -> Iterator[None]:
    """While it lasts, functions of `math` that steps use take the tensors that stand for numbers."""
    originals = {name: getattr(math, name) for name in ("sqrt", "pow", "exp", "log")}

    def taking_tensors(name: str) -> Callable[..., Any]:
        def function(*args: Any) -> Any:
            if any(isinstance(a, Tensor) for a in args):
                return getattr(torch, name)(*args)
            return originals[name](*args)

        return function

    for name in originals:
        setattr(math, name, taking_tensors(name))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(math, name, function)
