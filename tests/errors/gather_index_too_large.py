"""A gather index beyond the size."""

import torch

ERROR = "IndexError"
MESSAGE = "out of range"


def run() -> None:
    torch.compile(lambda x, i: x.gather(0, i) + 1, backend="ourjit")(torch.ones(5), torch.tensor([1, 7]))
