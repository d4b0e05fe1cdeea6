"""Checks the `options={...}` of torch.compile against the one table of options, include/ourjit/options.def."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import torch

from ourjit import _C

_PYTHON_TYPES: dict[str, type] = {"bool": bool, "int64_t": int, "std::string": str}


def check_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The given options, checked: names that exist, values of their types.

    Raises UserError that names the near ones for an unknown option, and the type for a bad value.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise _C.UserError(f"options must be a dict of name -> value, not a {type(options).__name__}")
    table = {name: (kind, text) for name, kind, _, _, _, text in _C.option_table()}
    checked = {}
    for name, value in options.items():
        if name not in table:
            raise _C.UserError(_unknown(str(name), list(table)))
        kind, text = table[name]
        wanted = _PYTHON_TYPES[kind]
        if type(value) is not wanted:
            raise _C.UserError(
                f"option '{name}' must be a {wanted.__name__}, not {value!r} of type {type(value).__name__} ({text})"
            )
        checked[name] = value
    return checked


def with_torch_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what torch's global switches say where they say nothing."""
    found = dict(options)
    if torch.are_deterministic_algorithms_enabled():
        found.setdefault("deterministic", True)
    return found


def _unknown(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(f"'{n}'" for n in near) + "?"
    else:
        hint = "the options are " + ", ".join(sorted(names))
    return f"unknown option '{name}'; {hint}"
