"""An option that does not exist."""

import torch

ERROR = "RuntimeError"
MESSAGE = "unknown option 'fuison'; did you mean 'fusion'?"


def run() -> None:
    torch.compile(lambda x: x + 1, backend="ourjit", options={"fuison": False})(torch.ones(3))
