"""A matrix product of two dtypes."""

import torch

ERROR = "RuntimeError"
MESSAGE = "same dtype"


def run() -> None:
    torch.compile(lambda x, y: x @ y, backend="ourjit")(torch.ones(2, 3), torch.ones(3, 2, dtype=torch.float64))
