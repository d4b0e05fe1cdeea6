"""Adding tensors whose shapes do not broadcast."""

import torch

ERROR = "RuntimeError"
MESSAGE = "broadcast"


def run() -> None:
    torch.compile(lambda x, y: x + y, backend="ourjit")(torch.ones(3), torch.ones(4))
