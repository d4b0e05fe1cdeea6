"""One case for each operator that the compiler turns into its own kernels: a function and operands of many shapes.

A case is compiled once: its function is applied to every group of operands, so that one graph covers broadcasting,
0-d, empty, size-one and non-contiguous tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

FLOATS = (torch.float32, torch.float64, torch.bfloat16)
WIDE = (torch.float32, torch.float64)
SINGLE = (torch.float32,)
INTEGERS = (torch.int64, torch.int32, torch.uint8)


@dataclass(frozen=True)
class Operand:
    """How to make one tensor: drawn between `low` and `high`, or indices below `high`, or bool."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    kind: str = "value"  # value, index, mask
    layout: str = "contiguous"  # contiguous, transposed, sliced, channels_last
    dtype: torch.dtype | None = None

    def make(self, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
        shape = self.shape
        if self.layout == "transposed":
            shape = tuple(reversed(shape))
        if self.layout == "sliced":
            shape = (*shape[:-1], 2 * shape[-1])
        unit = torch.rand(shape, generator=generator, dtype=torch.float64)
        x = unit * (self.high - self.low) + self.low
        if self.kind == "mask":
            x = unit < 0.5
        elif self.kind == "index":
            x = x.floor().long()
        else:
            wanted = self.dtype or dtype
            x = (x * (1 if wanted.is_floating_point else 5)).to(wanted)
        if self.layout == "transposed":
            x = x.permute(*reversed(range(x.dim())))
        if self.layout == "sliced":
            x = x[..., ::2]
        if self.layout == "channels_last":
            x = x.contiguous(memory_format=torch.channels_last)
        return x


@dataclass(frozen=True)
class Case:
    name: str
    function: Callable[..., Any]
    groups: Sequence[Sequence[Operand]]
    dtypes: Sequence[torch.dtype] = FLOATS
    gradient: bool = True
    exact: bool = False  # results must be equal to eager's; gradients add up in any order

    def operands(self, dtype: torch.dtype, seed: int = 0) -> list[list[Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        return [[o.make(dtype, generator) for o in group] for group in self.groups]

    def apply(self, groups: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        results: list[Tensor] = []
        for group in groups:
            result = self.function(*group)
            results.extend([result] if isinstance(result, Tensor) else result)
        return results


SHAPES = ((), (1,), (5,), (3, 33), (0, 4), (2, 1, 17))


def one(low: float = -2.0, high: float = 2.0) -> list[list[Operand]]:
    """Groups of one operand."""
    groups = [[Operand(shape, low, high)] for shape in SHAPES]
    groups.append([Operand((6, 9), low, high, layout="transposed")])
    groups.append([Operand((4, 5), low, high, layout="sliced")])
    return groups


def two(
    low: float = -2.0, high: float = 2.0, low2: float | None = None, high2: float | None = None
) -> list[list[Operand]]:
    """Groups of two operands that broadcast."""
    low2, high2 = (low if low2 is None else low2), (high if high2 is None else high2)
    pairs = (
        ((3, 33), (3, 33)),
        ((3, 33), (33,)),
        ((4, 1), (1, 5)),
        ((), (2, 3)),
        ((2, 3), ()),
        ((0, 3), (1, 3)),
        ((), ()),
    )
    groups = [[Operand(a, low, high), Operand(b, low2, high2)] for a, b in pairs]
    groups.append([Operand((6, 9), low, high, layout="transposed"), Operand((6, 9), low2, high2)])
    return groups


def of(*groups: Sequence[Operand | tuple[int, ...]]) -> list[list[Operand]]:
    """Groups given by shapes or operands."""
    return [[o if isinstance(o, Operand) else Operand(o) for o in group] for group in groups]


def index(shape: tuple[int, ...], high: int, low: int = 0) -> Operand:
    return Operand(shape, low, high, kind="index")


def mask(shape: tuple[int, ...]) -> Operand:
    return Operand(shape, kind="mask")


CASES: list[Case] = []


def case(name: str, function: Callable[..., Any], groups: Sequence[Sequence[Operand]], **keywords: Any) -> None:
    CASES.append(Case(name, function, groups, **keywords))


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

# Views.
_CUBE = of(((2, 3, 4),), (Operand((2, 3, 4), layout="transposed"),))
_VIEWS: dict[str, Callable[[Tensor], Any]] = {
    "reshape": lambda x: (x.reshape(6, 4) + 1, x.reshape(-1) * 2, x.reshape(2, 3, 2, 2).exp()),
    "flatten": lambda x: x.flatten(1).sin(),
    "unsqueeze": lambda x: (x.unsqueeze(0) * 2, x.unsqueeze(-1) * 2, x.unsqueeze(2) + x.unsqueeze(2)),
    "squeeze": lambda x: (x[:1].squeeze(0) * 2, x[:1, :1].squeeze() * 2, x[:, :1].squeeze((1,)) * 3),
    "expand": lambda x: (x.unsqueeze(0).expand(5, 2, 3, 4) * 2, x[:, :1].expand(2, 6, 4).cos()),
    "permute": lambda x: (x.permute(2, 0, 1) * 2, x.permute(-1, 1, 0).exp()),
    "transpose": lambda x: (x.transpose(0, 2) * 2, x.mT.exp(), x[0].t() + 1),
    "movedim": lambda x: (x.movedim(0, 2) * 2, x.movedim((0, 1), (1, 2)) * 2),
    "select": lambda x: (x[1] * 2, x[:, -1] * 2, x[..., 2].exp()),
    "slice": lambda x: (x[1:] * 2, x[:, -2:] * 2, x[..., ::2] * 2, x[..., 1:100] * 2, x[:, 2:1] * 2, x[-100:1] * 2),
    "split": lambda x: [
        p * 2 for p in (*x.split(2, 1), *x.split([1, 3], 2), *x.chunk(2, 2), *x.unbind(1), *x.tensor_split(3, 2))
    ],
    "narrow": lambda x: x.narrow(2, 1, 2) * 2,
    "diagonal": lambda x: (x.diagonal(0, 1, 2) * 2, x.diagonal(1, 0, 2) * 2, x.diagonal(-1, 1, 2) * 2),
    "unfold": lambda x: (x.unfold(2, 2, 1) * 2, x.unfold(1, 2, 1) * 2, x.unfold(2, 3, 2) * 2),
    "flip": lambda x: (x.flip(0) * 2, x.flip(1, 2) * 2),
    "roll": lambda x: (x.roll(1, 2) * 2, x.roll(-2, 1) * 2, x.roll((1, 2), (0, 2)) * 2, x.roll(3) * 2),
    "repeat": lambda x: (x.repeat(2, 1, 3) * 2, x.repeat(2, 2, 1, 1) * 2, x.repeat_interleave(2, 1) * 2),
    "cat": lambda x: (torch.cat([x, x * 2, x[:1]], 0), torch.cat([x, x[..., :2].exp()], -1)),
    "stack": lambda x: (torch.stack([x, x * 2], 0), torch.stack([x, x.exp()], -1)),
    "pad": lambda x: (
        F.pad(x, (1, 2)),
        F.pad(x, (0, 1, 2, 0), value=3.0),
        F.pad(x, (-1, 2, 1, -1)),
        F.pad(x, (-1, -1)),
    ),
    "tril": lambda x: (x.tril(), x.tril(1), x.triu(), x.triu(-1)),
    "diag_embed": lambda x: (torch.diag_embed(x), torch.diag_embed(x, 1), torch.diag_embed(x, -2, 0, 2)),
    "select_scatter": lambda x: (
        torch.select_scatter(x, x[0] * 2, 0, 1),
        torch.select_scatter(x, x[..., 0].exp(), 2, -1),
    ),
    "slice_scatter": lambda x: (
        torch.slice_scatter(x, x[:, :2] * 2, 1, 1),
        torch.slice_scatter(x, x[..., :2].exp(), 2, 0, 4, 2),
        torch.slice_scatter(x, x[:1] * 2, 0, -1),
    ),
    "rot90": lambda x: torch.rot90(x, 1, (1, 2)) * 2,
    "swapaxes": lambda x: x.swapaxes(0, 1) * 2,
}
for _name, _function in _VIEWS.items():
    case(_name, _function, _CUBE, exact=True, dtypes=(torch.float32, torch.bfloat16))
    case(
        f"{_name}_int",
        lambda x, f=_function: [r.long() for r in ([f(x)] if isinstance(f(x), Tensor) else f(x))],
        _CUBE,
        dtypes=(torch.int64,),
        gradient=False,
    )
case(
    "as_strided",
    lambda x: torch.as_strided(x * 1, (4, 2, 3), (1, 12, 4)) * 2,
    of(((2, 3, 4),)),
    gradient=False,
    exact=True,
)
case("cat_mixed", lambda x, i: torch.cat([x, i], 0), of(((2, 3), index((4, 3), 9))), gradient=False)
case("cat_empty", lambda x: (torch.cat([x, x[:0]], 0), torch.cat([x.new_zeros(0), x], 0)), of(((2, 3),)))
case("inplace_slices", lambda x: _fill_slices(x), of(((4, 6),)), exact=True)  # noqa: PLW0108


def _fill_slices(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[0] = x[1] * 2
    y[1:3, 2:4] = x[:2, :2]
    y[:, ::3] += x[:, ::3]
    y[x > 1] = 5.0
    return y


# Creation.
case(
    "creation",
    lambda x: (
        torch.zeros_like(x),
        torch.ones_like(x),
        torch.full_like(x, 2.5),
        x.new_zeros(3),
        x.new_full((2, 2), 7),
        torch.full((2, 3), 1.5),
        torch.ones(4, dtype=torch.int64),
        torch.zeros(()),
    ),
    of(((2, 3),)),
    gradient=False,
    exact=True,
)
case(
    "arange",
    lambda x: (
        torch.arange(5),
        torch.arange(2, 9),
        torch.arange(1, 10, 3),
        torch.arange(5.0),
        torch.arange(0, 1, 0.1),
        torch.arange(5, 0, -2),
        torch.arange(3, dtype=torch.float64),
        x * 1,
    ),
    of(((3,),)),
    gradient=False,
    dtypes=SINGLE,
)
case(
    "linspace",
    lambda x: (
        torch.linspace(0, 1, 11),
        torch.linspace(-3, 5, 4),
        torch.linspace(2, 3, 1),
        torch.eye(3),
        torch.eye(2, 4),
        x * 1,
    ),
    of(((3,),)),
    gradient=False,
    dtypes=SINGLE,
)
case("one_hot", lambda i: F.one_hot(i, 5), of((index((3, 4), 5),)), dtypes=SINGLE, gradient=False, exact=True)

# Reductions.
_REDUCED = of(((5, 33),), ((2, 3, 17),), (Operand((9, 7), layout="transposed"),), ((3, 1),))
for _name in ("sum", "mean", "amax", "amin", "logsumexp"):
    _op = getattr(torch, _name)
    _full = (lambda x: x.logsumexp(tuple(range(x.dim())))) if _name == "logsumexp" else _op
    case(
        _name,
        lambda x, op=_op, full=_full: (full(x), op(x, 0), op(x, -1, keepdim=True), op(x, (0, 1)), op(x, 1)),
        _REDUCED,
    )
# The gradient of prod is made of cumprod, which runs through ATen.
case(
    "prod",
    lambda x: (x.prod(), x.prod(0), x.prod(-1, keepdim=True)),
    of(((3, 4),), ((2, 3, 2),)),
    dtypes=WIDE,
    gradient=False,
)
case(
    "sum_dtype",
    lambda x: (x.sum(dtype=torch.float64), x.sum(0, dtype=torch.float32), x.mean(1, dtype=torch.float64)),
    _REDUCED,
    gradient=False,
)
case(
    "sum_int",
    lambda x: (x.sum(), x.sum(0), x.prod(0), x.amax(1), x.amin(0), x.max(), x.min()),
    of(((3, 5),)),
    dtypes=(*INTEGERS, torch.bool),
    gradient=False,
    exact=True,
)
case(
    "any_all",
    lambda x: (
        x.any(),
        x.any(0),
        x.all(),
        x.all(1, keepdim=True),
        (x > 0).any(1),
        (x > -9).all(),
        torch.count_nonzero(x),
    ),
    _REDUCED,
    dtypes=(torch.float32, torch.int64, torch.bool),
    gradient=False,
    exact=True,
)
case(
    "argmax",
    lambda x: (x.argmax(), x.argmax(0), x.argmax(-1, keepdim=True), x.argmin(), x.argmin(1)),
    _REDUCED,
    dtypes=(*FLOATS, torch.int64),
    gradient=False,
    exact=True,
)
case(
    "max_dim",
    lambda x: (*x.max(0), *x.min(-1, keepdim=True), x.max(), x.min(), *torch.aminmax(x)),
    _REDUCED,
    dtypes=(torch.float32, torch.float64),
)
case(
    "reduce_0d",
    lambda x: (x.sum(), x.mean(), x.amax(), x.argmax(), x.max(), x.logsumexp(0), x.norm(), x.softmax(0), *x.max(0)),
    of(((),)),
    gradient=False,
)
case("sum_empty", lambda x: (x.sum(), x.sum(0), x.prod(0), x.any(0), x.all()), of(((0, 3),)), gradient=False)
case(
    "var",
    lambda x: (x.var(), x.std(), x.var(0), x.std(1, keepdim=True), x.var(1, correction=0), x.std((0, 1), correction=2)),
    of(((5, 33),), ((4, 3, 17),)),
)
case(
    "var_mean",
    lambda x: (*torch.var_mean(x), *torch.std_mean(x, 0), *torch.var_mean(x, 1, correction=0, keepdim=True)),
    of(((5, 33),)),
    dtypes=WIDE,
)
case(
    "var_scale",
    lambda x: ((x * 1e-20).std(1), (x + 1e4).var(0), (x * 1e18).std()),
    of(((5, 33),)),
    dtypes=WIDE,
    gradient=False,
)
case(
    "norm",
    lambda x: (
        x.norm(),
        x.norm(dim=1),
        x.norm(1),
        x.norm(3, dim=0),
        x.norm(math.inf),
        torch.linalg.vector_norm(x, 2, 1, True),
        torch.linalg.vector_norm(x, -math.inf),
        torch.linalg.vector_norm(x, 0),
    ),
    of(((5, 33),), ((2, 3, 4),)),
    dtypes=WIDE,
)
case("nansum", lambda x: torch.nansum(x.log(), 1), of(((5, 33),)), gradient=False)
case("normalize", lambda x: (F.normalize(x, dim=-1), F.cosine_similarity(x, x.flip(0), dim=-1)), of(((5, 33),)))
case(
    "large_reductions",
    lambda x: (x.sum(), x.mean(0), x.sum(1), x.amax(), x.argmax()),
    of(((300, 700),), ((3, 40000),), ((40000, 3),)),
    dtypes=SINGLE,
)

# Reading and writing through indices.
case("index_select", lambda x, i: (x.index_select(1, i), x.index_select(0, i[:2])), of(((5, 7), index((4,), 5))))
case(
    "embedding",
    lambda w, i: (F.embedding(i, w), F.embedding(i, w, padding_idx=2)),
    of(((9, 16), index((3, 4), 9)), ((9, 5), index((), 9))),
)
case("gather", lambda x, i: (x.gather(1, i), x.gather(0, i[:, :5] % 4)), of(((4, 6), index((4, 6), 6))))
case(
    "index",
    lambda x, i, j: (
        x[i],
        x[:, j],
        x[i, j],
        x[i, :, j],
        x[:, i, j],
        x[i[:, None], j],
        x[-1 - i],
        x[..., i, :],
        x[i, 1:],
    ),
    of(((5, 4, 5), index((3,), 4), index((3,), 4))),
)
# The gradient of take is made of put, which runs through ATen.
case("take", lambda x, i: x.take(i), of(((4, 6), index((3, 5), 24))), gradient=False)
case(
    "scatter",
    lambda x, i, s: (x.scatter(1, i, s), x.scatter(1, i, 3.5), x.scatter_add(0, i, s)),
    of(((9, 9), Operand((1, 4), 0, 9, kind="index"), (1, 4))),
    dtypes=WIDE,
    gradient=False,
)
case(
    "scatter_add",
    lambda x, i, s: (x.scatter_add(0, i, s), x.scatter_reduce(1, i, s, "sum")),
    of(((6, 6), index((5, 4), 6), (5, 4))),
    dtypes=WIDE,
)
case(
    "index_put",
    lambda x, i, v: (
        x.index_put((i,), v),
        x.index_put((i,), v, accumulate=True),
        x.index_put((torch.arange(3), i - 1), v[:, 0]),
    ),
    of(((9, 4), Operand((3,), 1, 4, kind="index"), (3, 4))),
    dtypes=WIDE,
    gradient=False,
)
case(
    "index_add",
    lambda x, i, v: (
        x.index_add(0, i, v),
        x.index_add(0, i, v, alpha=0.5),
        x.index_fill(0, i, 7.0),
        x.index_copy(0, i[:1], v[:1]),
    ),
    of(((9, 4), index((3,), 9), (3, 4))),
    dtypes=WIDE,
)
case(
    "masked_put",
    lambda x, m: x.index_put((m,), torch.tensor(2.0, dtype=x.dtype)),
    of(((4, 5), mask((4, 5))), ((4, 5), mask((4,)))),
)

# Activations.
_ACTIVATIONS: dict[str, Callable[[Tensor], Any]] = {
    "relu": F.relu,
    "relu6": lambda x: F.relu6(4 * x),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "elu": lambda x: (F.elu(x), F.elu(x, 0.7)),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.8),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "softplus": lambda x: (F.softplus(x), F.softplus(x, 2.0, 1.5)),
    "logsigmoid": F.logsigmoid,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 1.5),
    "hardswish": lambda x: F.hardswish(3 * x),
    "hardsigmoid": lambda x: F.hardsigmoid(3 * x),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "tanhshrink": F.tanhshrink,
    "softsign": F.softsign,
    "threshold": lambda x: F.threshold(x, 0.1, -3.0),
    "sigmoid_fn": torch.sigmoid,
}
for _name, _function in _ACTIVATIONS.items():
    # ATen's derivative of hardsigmoid multiplies by 1/6 rounded to float, in f64 too.
    _wide = (torch.float32,) if _name == "hardsigmoid" else WIDE
    case(_name, _function, one(-3, 3), dtypes=(*_wide, torch.bfloat16))
    case(f"{_name}_far", _function, one(-60, 60), dtypes=_wide)
case("prelu", F.prelu, of(((3, 5, 4), (5,)), ((3, 5), (1,))), dtypes=WIDE)
case("glu", lambda x: (F.glu(x, -1), F.glu(x, 0)), of(((4, 6),)))

# Softmax and norms.
case("softmax", lambda x: (x.softmax(-1), x.softmax(0)), of(((5, 33),), ((2, 3, 17),), ((1, 1),)))
case("log_softmax", lambda x: (x.log_softmax(-1), x.log_softmax(0)), of(((5, 33),), ((2, 3, 17),)))
case("softmax_large", lambda x: ((x * 1e4).softmax(-1), (x * 1e4).log_softmax(-1)), of(((5, 33),)), dtypes=WIDE)
case("softmax_dtype", lambda x: x.softmax(-1, dtype=torch.float32), of(((5, 33),)), dtypes=(torch.bfloat16,))
case("softmin", lambda x: F.softmin(x, 1), of(((5, 33),)))
case(
    "layer_norm",
    lambda x, w, b: (F.layer_norm(x, (33,), w, b), F.layer_norm(x, (33,)), F.layer_norm(x, (33,), w)),
    of(((5, 33), (33,), (33,)), ((2, 3, 33), (33,), (33,))),
)
case("layer_norm_2d", lambda x, w, b: F.layer_norm(x, (3, 17), w, b), of(((4, 3, 17), (3, 17), (3, 17))), dtypes=WIDE)
case("rms_norm", lambda x, w: (F.rms_norm(x, (33,), w, 1e-5), F.rms_norm(x, (33,))), of(((5, 33), (33,))))
case(
    "group_norm",
    lambda x, w, b: (F.group_norm(x, 2, w, b), F.group_norm(x, 3)),
    of(((2, 6, 5), (6,), (6,)), ((2, 6, 3, 4), (6,), (6,)), ((4, 6), (6,), (6,))),
    dtypes=WIDE,
)
case("instance_norm", lambda x, w, b: F.instance_norm(x, weight=w, bias=b), of(((2, 3, 4, 5), (3,), (3,))), dtypes=WIDE)
case(
    "batch_norm_train",
    lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
    of(((8, 3, 4, 5), (3,), (3,)), ((8, 5), (5,), (5,)), (Operand((8, 3, 4, 5), layout="channels_last"), (3,), (3,))),
    dtypes=WIDE,
)
case(
    "batch_norm_eval",
    lambda x, w, b, m, v: (F.batch_norm(x, m.detach(), v.detach(), w, b), F.batch_norm(x, m.detach(), v.detach())),
    of(((8, 3, 4, 5), (3,), (3,), (3,), Operand((3,), 0.5, 2))),
    dtypes=WIDE,
)

# Losses.
_PAIR = of(((5, 7), (5, 7)), ((3,), (3,)))
for _reduction in ("mean", "sum", "none"):
    _r: dict[str, Any] = {"reduction": _reduction}
    case(f"mse_{_reduction}", lambda x, y, r=_r: F.mse_loss(x, y, **r), _PAIR)
    case(f"l1_{_reduction}", lambda x, y, r=_r: F.l1_loss(x, y, **r), _PAIR)
    case(
        f"smooth_l1_{_reduction}",
        lambda x, y, r=_r: (F.smooth_l1_loss(x, y, **r), F.smooth_l1_loss(x, y, beta=0.3, **r)),
        _PAIR,
    )
    case(f"huber_{_reduction}", lambda x, y, r=_r: F.huber_loss(x, y, delta=0.4, **r), _PAIR)
    case(
        f"bce_{_reduction}",
        lambda x, y, w, r=_r: (
            F.binary_cross_entropy(x, y.detach(), **r),
            F.binary_cross_entropy(x, y.detach(), w.detach(), **r),
        ),
        of((Operand((5, 7), 0.05, 0.95), Operand((5, 7), 0, 1), Operand((5, 7), 0, 2))),
        dtypes=WIDE,
    )
    case(
        f"bce_logits_{_reduction}",
        lambda x, y, w, r=_r: (
            F.binary_cross_entropy_with_logits(x, y, **r),
            F.binary_cross_entropy_with_logits(x, y, w.detach(), pos_weight=w[0].detach(), **r),
        ),
        of((Operand((5, 7)), Operand((5, 7), 0, 1), Operand((5, 7), 0.5, 2))),
        dtypes=WIDE,
    )
    case(
        f"soft_margin_{_reduction}",
        lambda x, y, r=_r: F.soft_margin_loss(x, y.sign().detach(), **r),
        _PAIR,
        dtypes=WIDE,
    )
    case(
        f"kl_div_{_reduction}",
        lambda x, y, r=_r: F.kl_div(x.log_softmax(1), y.softmax(1), **r),
        of(((5, 7), (5, 7))),
        dtypes=WIDE,
    )
    case(
        f"cross_entropy_{_reduction}",
        lambda x, t, w, r=_r: (
            F.cross_entropy(x, t, **r),
            F.cross_entropy(x, t, w.detach(), **r),
            F.cross_entropy(x, t, ignore_index=2, label_smoothing=0.1, **r),
        ),
        of(
            (Operand((6, 9)), index((6,), 9), Operand((9,), 0.5, 2)),
            (Operand((9,)), index((), 9), Operand((9,), 0.5, 2)),
        ),
    )
    case(
        f"nll_ignored_{_reduction}",
        lambda x, t, r=_r: (
            F.nll_loss(x.log_softmax(1), torch.where(t == 3, -100, t), **r),
            F.nll_loss(x.log_softmax(1), t, ignore_index=3, **r),
        ),
        of((Operand((6, 9)), index((6,), 9))),
        dtypes=WIDE,
    )
    case(
        f"nll_2d_{_reduction}",
        lambda x, t, r=_r: F.cross_entropy(x, t, **r),
        of((Operand((2, 5, 3, 4)), index((2, 3, 4), 5))),
        dtypes=WIDE,
    )

# Matrix products with addends, and leftovers.
case(
    "linear",
    lambda x, w, b: F.gelu(F.linear(x, w, b)),
    of(((5, 7), (9, 7), (9,)), ((2, 3, 7), (4, 7), (4,))),
    dtypes=WIDE,
)
case(
    "addmm",
    lambda x, a, b: (torch.addmm(x, a, b), torch.addmm(x, a, b, beta=0.5, alpha=2), torch.addmm(x, a, b, beta=0)),
    of(((4, 6), (4, 5), (5, 6)), ((6,), (4, 5), (5, 6))),
    dtypes=WIDE,
)
case(
    "baddbmm",
    lambda x, a, b: (torch.baddbmm(x, a, b, beta=0.5, alpha=2), torch.addbmm(x[0], a, b)),
    of(((3, 4, 6), (3, 4, 5), (3, 5, 6))),
    dtypes=WIDE,
)
case(
    "addmv",
    lambda x, a, v: (
        torch.addmv(x, a, v),
        torch.outer(x, v),
        torch.dot(x, x),
    ),
    of(((4,), (4, 5), (5,))),
    dtypes=WIDE,
)
case("addr", lambda x, a, b: torch.addr(x, a, b, beta=0.5, alpha=2), of(((4, 5), (4,), (5,))), dtypes=WIDE)
case("dropout_eval", lambda x: F.dropout(x, 0.3, training=False) * 2, one())
