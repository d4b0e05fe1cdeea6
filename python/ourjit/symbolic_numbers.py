"""Symbolic numbers of a trace: ints as text that the C++ side parses, floats as operators on 0-d tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch

from ourjit._C import Unsupported
from ourjit._torch import is_negative, is_one_by_guards, signed_expression

Emit = Callable[[str, Sequence[Any]], tuple[str, int]]
"""Appends a call (target, encoded arguments) with a 0-d f64 result; its encoded value."""

# Products of sizes and such fractions are exact in f64, so rounding them is integer arithmetic.
_LARGEST_EXACT = 1024


def symbol_text(size: Any) -> int | str:
    """A size as an int or as text: + - *, parentheses, integers, symbols, floordiv, mod, min and max.

    Raises Unsupported for what cannot be written so.
    """
    if type(size) is int:
        return size
    expression = signed_expression(size)
    if isinstance(expression, int):
        return expression
    if expression.is_Integer:
        return int(expression)
    return _print(expression)


def size_text(size: Any) -> int | str:
    """The size of a dim as text. What broadcasts must be seen: a size that guards make 1 is 1.

    Raises Unsupported for what cannot be written so, and for a size that is 1 now where no guard can keep it so.
    """
    text = symbol_text(size)
    if not isinstance(text, str) or (one := is_one_by_guards(size)) is None:
        return text
    if not one:
        raise Unsupported(f"size {text} may be 1 or not")
    return 1


def _print(e: Any) -> str:
    if e.is_Symbol:
        return str(e.name)
    if e.is_Integer:
        return str(int(e)) if e >= 0 else f"({int(e)})"
    kind = type(e).__name__
    args = e.args
    if kind == "Add":
        return "(" + " + ".join(map(_print, args)) + ")"
    if kind == "Mul":
        return "*".join(map(_print, args))
    if kind in ("Pow", "PowByNatural") and args[1].is_Integer and args[1] > 0:
        return "*".join([_print(args[0])] * int(args[1]))
    if kind in ("FloorDiv", "CleanDiv"):
        return f"floordiv({_print(args[0])}, {_print(args[1])})"
    if kind in ("Mod", "PythonMod"):
        return f"mod({_print(args[0])}, {_print(args[1])})"
    if kind == "ModularIndexing":
        return f"mod(floordiv({_print(args[0])}, {_print(args[1])}), {_print(args[2])})"
    if kind == "CeilDiv":
        return f"floordiv({_print(args[0])} + {_print(args[1])} - 1, {_print(args[1])})"
    if kind in ("Min", "Max"):
        text = _print(args[0])
        for arg in args[1:]:
            text = f"{kind.lower()}({text}, {_print(arg)})"
        return text
    if kind == "Identity":
        return _print(args[0])
    if kind in ("TruncToInt", "FloorToInt", "CeilToInt") and (ratio := _ratio(args[0])) is not None:
        above, below = map(_print, ratio)
        if kind == "CeilToInt":
            return f"(0 - floordiv(0 - {above}, {below}))"
        if kind == "FloorToInt" or ratio[0].is_nonnegative:
            return f"floordiv({above}, {below})"
        return f"(floordiv(max({above}, 0), {below}) - floordiv(max(0 - {above}, 0), {below}))"
    raise Unsupported(f"symbolic size {e} uses {kind}")


def _ratio(e: Any) -> tuple[Any, Any] | None:
    """Two ints whose quotient a float expression is, rounded nowhere; None for other expressions."""
    kind = type(e).__name__
    if kind == "IntTrueDiv" and e.args[1].is_positive:
        return e.args[0], e.args[1]
    if kind == "Mul" and len(e.args) == 2 and e.args[0].is_Float and type(e.args[1]).__name__ == "ToFloat":
        factor = Fraction(float(e.args[0]))
        if max(abs(factor.numerator), factor.denominator) <= _LARGEST_EXACT:
            return factor.numerator * e.args[1].args[0], sympy.Integer(factor.denominator)
    return None


_BINARY = {
    "Add": "aten.add.Tensor",
    "Mul": "aten.mul.Tensor",
    "FloatTrueDiv": "aten.div.Tensor",
    "IntTrueDiv": "aten.div.Tensor",
    "FloatPow": "aten.pow.Tensor_Tensor",
    "Max": "aten.maximum.default",
    "Min": "aten.minimum.default",
}
_UNARY = {
    f"OpaqueUnaryFn_{name}": f"aten.{name}.default"
    for name in ("acos", "asin", "atan", "cos", "cosh", "exp", "log", "log2", "sin", "sinh", "sqrt", "tan", "tanh")
}


def float_value(e: Any, emit: Emit, known: Mapping[Any, tuple[str, int]]) -> tuple[str, int]:
    """A symbolic float as operators on 0-d f64 tensors, in which Python's floats are computed.

    `known` are such tensors with the values of symbols that are read from data.
    Raises Unsupported for functions that have no such operator.
    """

    def number(value: Any) -> tuple[str, int]:
        return emit("aten.scalar_tensor.default", (value, ("dtype", "f64"), None, None, None))

    def binary(target: str, x: tuple[str, int], y: tuple[str, int]) -> tuple[str, int]:
        return emit(target, (x, y, 1) if target == "aten.add.Tensor" else (x, y))

    kind = type(e).__name__
    if e in known:
        return known[e]
    if e.is_number:
        return number(float(e))
    if e.is_integer and known.keys().isdisjoint(e.free_symbols):
        return number(("sym", _print(e)))
    if kind == "ToFloat":
        return float_value(e.args[0], emit, known)
    if kind in _UNARY:
        return emit(_UNARY[kind], (float_value(e.args[0], emit, known),))
    if kind in _BINARY:
        values = [float_value(argument, emit, known) for argument in e.args]
        return reduce(lambda x, y: binary(_BINARY[kind], x, y), values)
    raise Unsupported(f"symbolic number {e} uses {kind}")


# --- arguments ---------------------------------------------------------------------------------------


def is_symbolic_float(argument: Any) -> bool:
    return isinstance(_traced(argument), torch.SymFloat)


# Overloads that take a number, and those that take a 0-d tensor in its place.
_TENSOR_OVERLOADS = {"Scalar": "Tensor", "Tensor_Scalar": "Tensor_Tensor", "Tensor": "Tensor"}
_TAKE_BOTH = set(
    """
    aten.full.default aten.full_like.default aten.scalar_tensor.default
    aten.clamp.default aten.clamp_min.default aten.clamp_max.default aten.hardtanh.default
    """.split()
)


def with_tensors(target: torch._ops.OpOverload) -> torch._ops.OpOverload:
    """The overload of an operator to which symbolic floats, which become 0-d tensors, can be given."""
    if str(target) in _TAKE_BOTH:
        return target
    overload = _TENSOR_OVERLOADS.get(target._overloadname, "")
    if overload not in target.overloadpacket.overloads():
        raise Unsupported("a symbolic float where only a number can stand")
    return getattr(target.overloadpacket, overload)


# Arguments that count from the end of a dim where they are negative.
_POSITIONS = {"index", "start", "end"}


def from_the_front(target: torch._ops.OpOverload, args: Sequence[Any]) -> Sequence[Any]:
    """Symbolic positions in a dim that the trace found negative, and guards keep so, as counted from the front."""
    symbolic = [i for i, argument in enumerate(args) if isinstance(_traced(argument), torch.SymInt)]
    if not symbolic:
        return args
    names = [argument.name for argument in target._schema.arguments]
    negative = [i for i in symbolic if names[i] in _POSITIONS and is_negative(_traced(args[i]))]
    if "dim" not in names or not negative:
        return args
    dim = args[names.index("dim")] if len(args) > names.index("dim") else 0
    sizes = _traced(args[0]).shape if "input_sizes" not in names else args[names.index("input_sizes")]
    counted = list(args)
    for i in negative:
        counted[i] = torch.sym_max(0, _traced(sizes[dim]) + _traced(args[i]))
    return counted


def _traced(argument: Any) -> Any:
    return argument.meta.get("val") if isinstance(argument, torch.fx.Node) else argument
