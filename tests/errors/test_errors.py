"""Runs each misuse of this folder: the stated error comes, the process lives, and the next call works.

A case is a file with ERROR (the exception's name, or that of a base), MESSAGE (what its text must contain) and run().
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parent
CASES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("test_errors", "conftest"))


@pytest.mark.parametrize("name", CASES)
def test_error(name: str) -> None:
    torch.compiler.reset()
    spec = importlib.util.spec_from_file_location(f"error_case_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    with pytest.raises(BaseException) as caught:
        case.run()
    names = [kind.__name__ for kind in type(caught.value).__mro__]
    assert case.ERROR in names, f"{type(caught.value).__name__}: {caught.value}"
    assert case.MESSAGE in str(caught.value), str(caught.value)
    assert "internal error" not in str(caught.value)
    x = torch.randn(5, 7)
    torch.testing.assert_close(torch.compile(lambda x: x.exp().sum(dim=1), backend="ourjit")(x), x.exp().sum(dim=1))


def test_there_are_cases() -> None:
    assert len(CASES) >= 10
