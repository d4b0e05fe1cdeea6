"""An option with a value that it cannot have."""

import torch

ERROR = "RuntimeError"
MESSAGE = "option 'max_vector_bits' must be 0, 128, 256 or 512, not 100"


def run() -> None:
    torch.compile(lambda x: x + 1, backend="ourjit", options={"max_vector_bits": 100})(torch.ones(3))
