"""A mode of another backend."""

import torch

ERROR = "RuntimeError"
MESSAGE = "mode 'reduce-overhead' belongs to the inductor backend"


def run() -> None:
    torch.compile(lambda x: x + 1, backend="ourjit", mode="reduce-overhead")(torch.ones(3))
