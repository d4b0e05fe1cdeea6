"""An operator that is not compiled, in strict mode: the error names it and the line."""

import torch

ERROR = "RuntimeError"
MESSAGE = "igamma"


def run() -> None:
    f = torch.compile(lambda x: torch.igamma(x, x).sin(), backend="ourjit", options={"strict": True})
    f(torch.eye(3))
