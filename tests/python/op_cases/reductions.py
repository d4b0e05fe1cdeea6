"""Reductions, softmax and norms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from op_cases.case import FLOATS, INTEGERS, SINGLE, WIDE, Cases, Operand, of

CASES = Cases()
case = CASES.add


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
