"""An input that the backward needs is changed in place before it."""

import torch

ERROR = "RuntimeError"
MESSAGE = "modified by an inplace operation"


def run() -> None:
    x, w = torch.ones(3), torch.ones(3, requires_grad=True)
    y = torch.compile(lambda x, w: (x * w).sin(), backend="ourjit")(x, w)
    x.add_(1)
    y.sum().backward()
