"""Pooling and interpolation, over one, two and three dims."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from op_cases.case import SINGLE, Cases, Operand, of

CASES = Cases()
case = CASES.add

POOLED = (torch.float32, torch.bfloat16)

_LINES = of([(2, 3, 23)], [(3, 7)], [(0, 2, 9)], [Operand((2, 3, 11), layout="transposed")])
_IMAGES = of(
    [(2, 3, 9, 13)],
    [(3, 8, 8)],
    [(1, 1, 7, 7)],
    [(0, 3, 9, 7)],
    [Operand((2, 4, 8, 9), layout="channels_last")],
    [Operand((2, 3, 9, 8), layout="transposed")],
)
_VOLUMES = of([(2, 3, 5, 8, 7)], [(2, 6, 5, 7)])


def _all(*functions: Callable[[Tensor], Any]) -> Callable[[Tensor], list[Tensor]]:
    """The results of all, tensors and pairs of tensors in one list."""

    def apply(x: Tensor) -> list[Tensor]:
        results = [function(x) for function in functions]
        return list(itertools.chain.from_iterable([r] if isinstance(r, Tensor) else r for r in results))

    return apply


# Windows that overlap, tile, reach into the padding, leave gaps, and hang over the end.
_WINDOWS: list[dict[str, Any]] = [
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 3},
    {"kernel_size": 5, "stride": 2, "padding": 2, "ceil_mode": True},
]
_LONG = {"kernel_size": 7, "stride": 1, "padding": 3}  # more elements than are taken apart, in two dims

case(
    "max_pool1d",
    _all(*(lambda x, w=w: F.max_pool1d(x, **w) for w in _WINDOWS)),
    _LINES,
    dtypes=(*POOLED, torch.float64),
)
case("max_pool2d", _all(*(lambda x, w=w: F.max_pool2d(x, **w) for w in [*_WINDOWS, _LONG])), _IMAGES, dtypes=POOLED)
case(
    "max_pool2d_places",
    _all(*(lambda x, w=w: F.max_pool2d(x, **w, return_indices=True) for w in [*_WINDOWS, _LONG])),
    _IMAGES,
    dtypes=(*POOLED, torch.int64),
)
case(
    "max_pool2d_dilated",
    _all(
        lambda x: F.max_pool2d(x, 3, 2, 1, dilation=2, return_indices=True),
        lambda x: F.max_pool2d(x, (1, 2), (1, 3), dilation=(1, 3), return_indices=True),
    ),
    _IMAGES,
    dtypes=SINGLE,
)
case("max_pool3d", _all(*(lambda x, w=w: F.max_pool3d(x, **w) for w in _WINDOWS)), _VOLUMES, dtypes=SINGLE)
for _count in (True, False):
    case(
        f"avg_pool_padding_{'counts' if _count else 'does_not_count'}",
        _all(*(lambda x, w=w, c=_count: F.avg_pool2d(x, **w, count_include_pad=c) for w in [*_WINDOWS, _LONG])),
        _IMAGES,
        dtypes=POOLED,
    )
case("avg_pool1d", _all(*(lambda x, w=w: F.avg_pool1d(x, **w) for w in _WINDOWS)), _LINES, dtypes=SINGLE)
case("avg_pool1d_long", lambda x: F.avg_pool1d(x, 60, 1), of([(2, 3, 100)]), dtypes=SINGLE)
case("avg_pool3d", _all(*(lambda x, w=w: F.avg_pool3d(x, **w) for w in _WINDOWS)), _VOLUMES, dtypes=SINGLE)
case("avg_pool_divisor", lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5), _IMAGES, dtypes=SINGLE)

_TARGETS = (1, 2, 3, (4, 5), (None, 1), 11)
case("adaptive_avg_pool", _all(*(lambda x, t=t: F.adaptive_avg_pool2d(x, t) for t in _TARGETS)), _IMAGES, dtypes=POOLED)
case(
    "adaptive_avg_pool3d", _all(*(lambda x, t=t: F.adaptive_avg_pool3d(x, t) for t in (1, 3))), _VOLUMES, dtypes=SINGLE
)
case(
    "adaptive_max_pool",
    _all(*(lambda x, t=t: F.adaptive_max_pool2d(x, t, return_indices=True) for t in _TARGETS)),
    _IMAGES,
    dtypes=SINGLE,
)
case(
    "adaptive_max_pool3d", _all(*(lambda x, t=t: F.adaptive_max_pool3d(x, t) for t in (1, 3))), _VOLUMES, dtypes=SINGLE
)
case("lp_pool", lambda x: F.lp_pool2d(x, 2.0, 2), of([Operand((2, 3, 8, 8), 0.5, 2.0)]), dtypes=SINGLE)
case("local_response_norm", lambda x: F.local_response_norm(x, 3), of([(2, 7, 5, 5)]), dtypes=SINGLE)

# Up, down, by a whole number, and to the same size.
_SIZES: list[dict[str, Any]] = [
    {"scale_factor": 2},
    {"scale_factor": 3},
    {"scale_factor": 1.4},
    {"scale_factor": 0.5},
    {"size": 5},
    {"size": 40},
]
_MODES = {
    "nearest": (_LINES[:1], _IMAGES[:1] + _IMAGES[4:5], _VOLUMES[:1]),
    "nearest-exact": (_LINES[:1], _IMAGES[:1] + _IMAGES[4:5], _VOLUMES[:1]),
    "linear": (_LINES[:1],),
    "bilinear": (_IMAGES[:1] + _IMAGES[4:5],),
    "bicubic": (_IMAGES[:1] + _IMAGES[4:5],),
    "trilinear": (_VOLUMES[:1],),
}
for _mode, _groups in _MODES.items():
    _corners: list[dict[str, bool]] = [{}] if "nearest" in _mode else [{}, {"align_corners": True}]
    case(
        f"interpolate_{_mode}",
        _all(
            *(
                lambda x, s=s, c=c, m=_mode: F.interpolate(x, mode=m, **s, **c)
                for s, c in itertools.product(_SIZES, _corners)
            )
        ),
        list(itertools.chain.from_iterable(_groups)),
        dtypes=POOLED,
    )
case("interpolate_area", lambda x: F.interpolate(x, size=(4, 6), mode="area"), _IMAGES[:1], dtypes=SINGLE)
