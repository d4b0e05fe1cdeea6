"""An option with a value of another type."""

import torch

ERROR = "RuntimeError"
MESSAGE = "option 'strict' must be a bool, not 'yes'"


def run() -> None:
    torch.compile(lambda x: x + 1, backend="ourjit", options={"strict": "yes"})(torch.ones(3))
