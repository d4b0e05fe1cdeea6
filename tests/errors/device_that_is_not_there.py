"""A device that this build of torch has no kernels for."""

import torch

ERROR = "RuntimeError"
MESSAGE = "device"


def run() -> None:
    torch.compile(lambda x: x + torch.ones(3, device="meta"), backend="ourjit")(torch.ones(3)).tolist()
