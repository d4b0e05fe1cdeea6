"""Activations, losses, and matrix products with addends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from op_cases.case import WIDE, Cases, Operand, index, of, one

CASES = Cases()
case = CASES.add


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
    case(_name, _function, one(-3, 3), dtypes=(*WIDE, torch.bfloat16))
    case(f"{_name}_far", _function, one(-60, 60), dtypes=WIDE)
case("prelu", F.prelu, of(((3, 5, 4), (5,)), ((3, 5), (1,))), dtypes=WIDE)
case("glu", lambda x: (F.glu(x, -1), F.glu(x, 0)), of(((4, 6),)))

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
    case(
        f"multi_margin_{_reduction}",
        lambda x, t, w, r=_r: (
            F.multi_margin_loss(x, t, **r),
            F.multi_margin_loss(x, t, 2, 0.7, w.detach(), **r),
        ),
        of((Operand((6, 9)), index((6,), 9), Operand((9,))), (Operand((9,)), index((), 9), Operand((9,)))),
        dtypes=WIDE,
    )
    case(
        f"multilabel_margin_{_reduction}",
        lambda x, t, r=_r: F.multilabel_margin_loss(x, torch.where(t == 3, -1, t), **r),
        of((Operand((6, 5)), index((6, 5), 5)), (Operand((5,)), index((5,), 5))),
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
