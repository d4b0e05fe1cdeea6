"""An operator that is not compiled, in strict mode: the error names it and the line."""

import torch

ERROR = "RuntimeError"
MESSAGE = "special_airy_ai"


def run() -> None:
    f = torch.compile(lambda x: torch.special.airy_ai(x).sin(), backend="ourjit", options={"strict": True})
    f(torch.eye(3))
