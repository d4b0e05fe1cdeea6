"""What all Python tests share: a fresh Dynamo, fresh counters, a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator

import ourjit
import pytest
import torch


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    ourjit.reset()
    torch.manual_seed(0)
    yield
    torch.compiler.reset()
