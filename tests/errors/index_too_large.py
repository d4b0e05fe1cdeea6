"""A tensor index beyond the size."""

import torch

ERROR = "IndexError"
MESSAGE = "out of "


def run() -> None:
    f = torch.compile(lambda x, i: x[i] + 1, backend="ourjit")
    f(torch.ones(5, 3), torch.tensor([1, -5]))
    f(torch.ones(5, 3), torch.tensor([1, -6]))
