"""Explaining something that cannot be called."""

import ourjit

ERROR = "UserError"
MESSAGE = "expected a function or a module, not a int"


def run() -> None:
    ourjit.explain(3)
