"""Pointwise operators: elementary functions, conversion, arithmetic, selection."""

from __future__ import annotations

import torch

from op_cases.case import FLOATS, INTEGERS, WIDE, Cases, Operand, index, mask, of, one, two

CASES = Cases()
case = CASES.add


# Elementary functions: name -> range of the operand.
_UNARY = {
    "neg": (-2, 2),
    "abs": (-2, 2),
    "sign": (-2, 2),
    "exp": (-3, 3),
    "exp2": (-3, 3),
    "expm1": (-2, 2),
    "log": (0.1, 4),
    "log2": (0.1, 4),
    "log10": (0.1, 4),
    "log1p": (-0.9, 4),
    "sqrt": (0.1, 4),
    "rsqrt": (0.1, 4),
    "reciprocal": (0.5, 4),
    "sin": (-9, 9),
    "cos": (-9, 9),
    "tan": (-1.4, 1.4),
    "asin": (-0.9, 0.9),
    "acos": (-0.9, 0.9),
    "atan": (-5, 5),
    "sinh": (-3, 3),
    "cosh": (-3, 3),
    "tanh": (-3, 3),
    "asinh": (-5, 5),
    "acosh": (1.1, 5),
    "atanh": (-0.9, 0.9),
    "sigmoid": (-5, 5),
    "erf": (-3, 3),
    "erfc": (-3, 3),
    "erfinv": (-0.9, 0.9),
    "lgamma": (0.2, 6),
    "digamma": (0.2, 6),
    "square": (-2, 2),
    "frac": (-4, 4),
    "deg2rad": (-90, 90),
    "rad2deg": (-2, 2),
    "sgn": (-2, 2),
    "sinc": (-3, 3),
    "logit": (0.1, 0.9),
    "positive": (-2, 2),
}
for _name, (_low, _high) in _UNARY.items():
    case(_name, getattr(torch, _name), one(_low, _high))
for _name in (
    "floor",
    "ceil",
    "round",
    "trunc",
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
    "isposinf",
    "isneginf",
):
    case(_name, getattr(torch, _name), one(-9, 9), dtypes=(*FLOATS, torch.int64), gradient=False, exact=True)
case("round_decimals", lambda x: torch.round(x, decimals=2), one(-9, 9), dtypes=WIDE, gradient=False)
case("angle", torch.angle, one(), dtypes=WIDE, gradient=False)
case("logit_eps", lambda x: torch.logit(x, eps=0.2), one(0.0, 1.0), dtypes=WIDE)
case("nan_to_num", lambda x: torch.nan_to_num(x.log(), 3.0, 4.0, -5.0), one(-1, 2), dtypes=WIDE)
case("nan_to_num_default", lambda x: torch.nan_to_num(x / x.floor()), one(-1, 2), gradient=False)
case("entr", torch.special.entr, one(-1, 2), dtypes=WIDE, gradient=False)
case("bitwise_not", torch.bitwise_not, one(), dtypes=(*INTEGERS, torch.bool), gradient=False, exact=True)
for _name in ("neg", "abs", "square", "sign"):
    case(
        f"{_name}_int",
        getattr(torch, _name),
        one(-9, 9),
        dtypes=(torch.int64, torch.int32, torch.int8),
        gradient=False,
        exact=True,
    )
for _name in ("sin", "sqrt", "exp", "reciprocal", "sigmoid"):
    case(
        f"{_name}_of_int",
        getattr(torch, _name),
        one(1, 2),
        dtypes=(torch.int64, torch.uint8, torch.bool),
        gradient=False,
    )

# Conversion and copies.
for _dtype in (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
):
    case(
        f"to_{str(_dtype)[6:]}",
        lambda x, t=_dtype: x.to(t) if t != x.dtype else x.clone(),
        one(0, 20),
        dtypes=(torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool),
        gradient=False,
        exact=True,
    )
case("clone", lambda x: x.clone(), one(), dtypes=(*FLOATS, torch.int64, torch.bool), gradient=False, exact=True)
case("contiguous", lambda x: x.contiguous() * 1, one(), exact=True)
case("fill", lambda x: torch.fill(x, 3), one(), gradient=False, exact=True)

# Arithmetic.
for _name, _range in {
    "add": (-2, 2),
    "sub": (-2, 2),
    "mul": (-2, 2),
    "div": (0.5, 3),
    "atan2": (0.5, 3),
    "minimum": (-2, 2),
    "maximum": (-2, 2),
    "fmin": (-2, 2),
    "fmax": (-2, 2),
    "hypot": (0.5, 3),
    "logaddexp": (-3, 3),
    "logaddexp2": (-3, 3),
    "xlogy": (0.5, 3),
    "copysign": (0.5, 3),
}.items():
    case(_name, getattr(torch, _name), two(*_range))
case("pow_tensor", torch.pow, two(0.5, 2, -2, 2))
case("fmod", torch.fmod, two(-9, 9, 0.7, 3), gradient=False, dtypes=WIDE)
case("remainder", torch.remainder, two(-9, 9, 0.7, 3), gradient=False, dtypes=WIDE)
case("div_floor", lambda x, y: torch.div(x, y, rounding_mode="floor"), two(-9, 9, 0.7, 3), gradient=False, dtypes=WIDE)
case("div_trunc", lambda x, y: torch.div(x, y, rounding_mode="trunc"), two(-9, 9, 0.7, 3), gradient=False, dtypes=WIDE)
case("heaviside", torch.heaviside, two(), gradient=False)
case("xlog1py", torch.special.xlog1py, two(0.5, 3), dtypes=WIDE)
for _name in ("add", "sub", "mul", "minimum", "maximum", "bitwise_and", "bitwise_or", "bitwise_xor"):
    _skip_bool = _name == "sub"
    case(
        f"{_name}_int",
        getattr(torch, _name),
        two(0, 9),
        gradient=False,
        exact=True,
        dtypes=INTEGERS if _skip_bool else (*INTEGERS, torch.bool),
    )
for _name in ("fmod", "remainder", "floor_divide"):
    case(
        f"{_name}_int",
        getattr(torch, _name),
        two(-9, 9, 1, 4),
        dtypes=(torch.int64, torch.int32),
        gradient=False,
        exact=True,
    )
case("div_int", torch.div, two(-9, 9, 1, 4), dtypes=(torch.int64, torch.int32), gradient=False)
case(
    "div_trunc_int",
    lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    two(-9, 9, 1, 4),
    dtypes=(torch.int64,),
    gradient=False,
    exact=True,
)
case(
    "shift_left",
    torch.bitwise_left_shift,
    two(0, 9, 0, 1),
    dtypes=(torch.int64, torch.int32),
    gradient=False,
    exact=True,
)
case(
    "shift_right",
    torch.bitwise_right_shift,
    two(-90, 90, 0, 1),
    dtypes=(torch.int64, torch.int32),
    gradient=False,
    exact=True,
)
case("pow_int", torch.pow, two(0, 1, 0, 1), dtypes=(torch.int64,), gradient=False, exact=True)
case("add_alpha", lambda x, y: torch.add(x, y, alpha=0.5) + torch.sub(x, y, alpha=3), two())
case(
    "scalars",
    lambda x: (x + 1, 1 - x, x * 2, 2 / (x + 3), x - 0.5, x / 3, x**2, 2**x, torch.rsub(x, 2, alpha=3)),
    one(),
)
case(
    "scalars_int",
    lambda x: (x + 1, 1 - x, x * 2, x - 7, x // 3, x % 3, x / 3, x + 0.5, x**2),
    one(-9, 9),
    dtypes=(torch.int64, torch.int32),
    gradient=False,
)
for _exponent in (0.5, -0.5, 1, 2, 3, -1, -2, 1.7, 0):
    case(f"pow_{_exponent}", lambda x, e=_exponent: x**e, one(0.2, 3), dtypes=WIDE)
case(
    "mixed_dtypes",
    lambda x, i, b: (x + i, x * b, i + b, x / i, torch.where(b, x, i), i * 2.5, b + 1, i > x),
    of((Operand((4, 5)), index((4, 5), 9, 1), mask((4, 5))), (Operand((4, 5)), index((), 9, 1), mask((5,)))),
    dtypes=(torch.float32, torch.float64, torch.bfloat16),
    gradient=False,
)
case(
    "zero_dim_promotion",
    lambda x, y: (x + y, x > y, torch.maximum(x, y), x * y.long()),
    of((Operand((3, 4)), Operand((), dtype=torch.float64)), (Operand((3, 4)), Operand((), dtype=torch.float32))),
    gradient=False,
)
for _name in ("eq", "ne", "lt", "le", "gt", "ge"):
    _op = getattr(torch, _name)
    case(
        _name,
        lambda x, y, op=_op: (op(x, y), op(x, 1), op(x, 0.5), op(x.round(), y.round())),
        two(),
        gradient=False,
        exact=True,
    )
    case(
        f"{_name}_int",
        lambda x, y, op=_op: (op(x, y), op(x, 1), op(x, 1.5)),
        two(0, 1),
        dtypes=(torch.int64, torch.uint8, torch.bool),
        gradient=False,
        exact=True,
    )
for _name in ("logical_and", "logical_or", "logical_xor"):
    case(
        _name,
        getattr(torch, _name),
        two(0, 1.5),
        dtypes=(torch.float32, torch.int64, torch.bool),
        gradient=False,
        exact=True,
    )

# Selection.
case(
    "where",
    torch.where,
    of((mask((3, 5)), (3, 5), (3, 5)), (mask((5,)), (3, 1), ()), (mask(()), (2, 3), (3,))),
)
case(
    "where_scalar",
    lambda m, x: (torch.where(m, x, 2.0), torch.where(m, 0, x)),
    of((mask((3, 5)), (3, 5)), (mask((5,)), (3, 1))),
)
case(
    "masked_fill",
    lambda x, m: x.masked_fill(m, -7.0),
    of(((3, 5), mask((3, 5))), ((2, 3, 5), mask((3, 1))), ((), mask(()))),
)
case("masked_fill_tensor", lambda x, m, v: x.masked_fill(m, v), of(((3, 5), mask((3, 5)), ())), gradient=False)
case(
    "clamp",
    lambda x: (x.clamp(-0.5, 0.7), x.clamp(min=0.1), x.clamp(max=0.2), x.clamp_min(0.3), x.clamp_max(0.4)),
    one(),
)
case(
    "clamp_tensor",
    lambda x, a, b: (torch.clamp(x, a, b), torch.clamp(x, min=a), torch.clamp(x, max=b)),
    of(((3, 5), (3, 5), (5,)), ((4,), (), (4,))),
    dtypes=WIDE,
)
case("clamp_int", lambda x: (x.clamp(2, 5), x.clamp(min=3)), one(0, 9), dtypes=INTEGERS, gradient=False, exact=True)
case("addcmul", lambda x, y, z: torch.addcmul(x, y, z, value=0.3), of(((3, 5), (3, 5), (3, 5)), ((3, 5), (5,), ())))
case(
    "addcdiv",
    lambda x, y, z: torch.addcdiv(x, y, z, value=0.3),
    of(((3, 5), (3, 5), Operand((3, 5), 0.5, 2)), ((3, 5), (5,), Operand((), 0.5, 2))),
)
case(
    "lerp",
    lambda x, y, w: (torch.lerp(x, y, 0.3), torch.lerp(x, y, 0.8), torch.lerp(x, y, w)),
    of(((3, 5), (3, 5), Operand((3, 5), 0, 1))),
)
