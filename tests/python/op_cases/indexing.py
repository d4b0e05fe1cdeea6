"""Reading and writing through indices."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from op_cases.case import WIDE, Cases, Operand, index, mask, of

CASES = Cases()
case = CASES.add


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
case(
    "lines_of_0d",
    lambda x, i: (x.sum().index_add(0, i, x[0]), x.sum().index_copy(0, i, x[1]), x.sum().index_fill(0, i, 3)),
    of(((4,), index((1,), 1))),
)
case(
    "masked_put_rows",
    lambda x, v, m: (x.index_put((m,), v), x.index_put((m,), v[None], accumulate=True)),
    of(((4, 6, 5), (5,), mask((4, 6))), ((4, 6, 5), (6, 1), mask((4,)))),
    gradient=False,
)
