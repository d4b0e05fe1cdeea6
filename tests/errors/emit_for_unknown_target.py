"""Kernels for a target that does not exist."""

import ourjit
import torch

ERROR = "UserError"
MESSAGE = "cannot emit for target 'tpu': the targets are 'cpu'"


def run() -> None:
    ourjit.emit(lambda x: x + 1, torch.ones(3), target="tpu")
