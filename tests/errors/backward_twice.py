"""A second backward pass through freed activations."""

import torch

ERROR = "RuntimeError"
MESSAGE = "backward through the graph a second time"


def run() -> None:
    y = torch.compile(lambda x: x.sin().exp(), backend="ourjit")(torch.ones(3, requires_grad=True)).sum()
    y.backward()
    y.backward()
