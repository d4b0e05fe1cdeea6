"""Views, joins, copies into slices, and creation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from op_cases.case import SINGLE, Cases, Operand, index, of

CASES = Cases()
case = CASES.add


def _fill_slices(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[0] = x[1] * 2
    y[1:3, 2:4] = x[:2, :2]
    y[:, ::3] += x[:, ::3]
    y[x > 1] = 5.0
    return y


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
    lambda x: (
        torch.as_strided(x * 1, (4, 2, 3), (1, 12, 4)) * 2,
        torch.as_strided(x * 1, (4, 5), (3, 2), 3) * 2,
        torch.as_strided((x * 1).mT, (3, 3), (0, 2)) * 2,
        torch.as_strided(x, (3, 6), (6, 1)) * 2,
    ),
    of(((2, 3, 4),)),
    exact=True,
)


def _write_windows(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    block, apart, all_of_it = x * 2, x * 8, x * 4
    block.as_strided((3, 2), (2, 1), 5).mul_(3)
    apart.as_strided((3, 2), (7, 2), 1).mul_(3)
    all_of_it.as_strided((4, 6), (6, 1)).mul_(3)
    return block, apart, all_of_it


case("as_strided_written", _write_windows, of(((2, 3, 4),)), exact=True)
case("unfold_0d", lambda x: x.sum().unfold(0, 1, 1) * 2, of(((2, 3),)))
case("cat_mixed", lambda x, i: torch.cat([x, i], 0), of(((2, 3), index((4, 3), 9))), gradient=False)
case("cat_empty", lambda x: (torch.cat([x, x[:0]], 0), torch.cat([x.new_zeros(0), x], 0)), of(((2, 3),)))
case("inplace_slices", _fill_slices, of(((4, 6),)), exact=True)

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
