"""A matrix product whose inner sizes differ, at the second call of a function that is compiled already."""

import torch

ERROR = "RuntimeError"
MESSAGE = "4"


def run() -> None:
    f = torch.compile(lambda x, y: (x @ y).relu(), backend="ourjit")
    f(torch.ones(2, 3), torch.ones(3, 2))
    f(torch.ones(2, 3), torch.ones(4, 2))
