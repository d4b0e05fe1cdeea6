"""Kernels for a target that does not exist."""

import ourjit
import torch

ERROR = "UserError"
MESSAGE = "option 'target' must be cpu, cuda, cuda:N, emulate or an architecture such as sm_90, not 'tpu'"


def run() -> None:
    ourjit.emit(lambda x: x + 1, torch.ones(3), target="tpu")
