"""A target class that the scores do not have."""

import torch
import torch.nn.functional as F

ERROR = "IndexError"
MESSAGE = "out of "


def run() -> None:
    torch.compile(F.cross_entropy, backend="ourjit")(torch.randn(4, 10), torch.tensor([1, 2, 10, 3]))
