"""An operator that is not compiled, in strict mode: the error names it and the reason."""

import torch

ERROR = "RuntimeError"
MESSAGE = "dtype u16 is not native"


def run() -> None:
    f = torch.compile(lambda x: x.to(torch.uint16).float(), backend="ourjit", options={"strict": True})
    f(torch.eye(3))
