"""Looks into the disk cache of compiled kernels, checks it and makes it smaller.

  ls              the entries, those used last first
  show KEY        one entry: what its key is made of, and what is noted beside it
  verify          reads all entries and checks them
  prune           deletes entries, those used least recently first, down to a size
  clear           deletes all entries
  why A B         why two entries are not the same: the parts of their keys that differ

KEY, A and B are the first digits of entries' names. Exit codes: 0; 1 if something was found (corrupt entries, no entry
of that name, keys that differ); 2 for a wrong call, or a directory that cannot be used.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

FINE, FOUND, WRONG = 0, 1, 2
DIGITS = 12  # of a name that are printed in tables
BAD_STATES = ("corrupt", "refused", "unreadable")
STYLED_ROWS = 200  # longer tables are plain text: styling takes longer than reading the cache


class Stop(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--dir", help="the cache; else that of option cache_dir, else the default one")
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    add("ls", "list the entries").add_argument("--limit", type=int, metavar="N", help="only the first N")
    add("show", "show one entry").add_argument("key", metavar="KEY")
    add("verify", "read and check all entries")
    prune = add("prune", "delete entries down to a size")
    prune.add_argument("--limit-mb", type=float, metavar="N", help="size in MiB; else option cache_limit_mb")
    add("clear", "delete all entries").add_argument("--yes", action="store_true", help="do not ask")
    why = add("why", "say how the keys of two entries differ")
    why.add_argument("a", metavar="A")
    why.add_argument("b", metavar="B")


def run(arguments: argparse.Namespace) -> int:
    from ourjit import _C

    actions = {"ls": _ls, "show": _show, "verify": _verify, "prune": _prune, "clear": _clear, "why": _why}
    try:
        options = _C.options()
        folder = arguments.dir or options["cache_dir"] or _C.cache_default_folder()
        if not folder:
            raise Stop(WRONG, "there is no home directory: name the cache with --dir")
        return actions[arguments.action](folder, arguments, options)
    except Stop as stop:
        return _failed(arguments, stop.code, str(stop))
    except _C.UserError as error:
        return _failed(arguments, WRONG, str(error))
    except BrokenPipeError:
        # Who reads has enough, as `head` has; nothing may be flushed at the end.
        sys.stdout = None  # type: ignore[assignment]
        return FINE


def _failed(arguments: argparse.Namespace, code: int, message: str) -> int:
    if arguments.json:
        print(json.dumps({"error": message}))
    print(f"ourjit cache: {printable(message, lines=True)}", file=sys.stderr)
    return code


# --- commands ----------------------------------------------------------------------------------------


def _ls(folder: str, arguments: argparse.Namespace, options: dict[str, Any]) -> int:
    from ourjit import _C

    entries = sorted(_C.cache_list(folder), key=lambda entry: -float(entry["used"]))
    shown = entries[: arguments.limit]
    total = sum(entry["bytes"] for entry in entries)
    if arguments.json:
        found = [{**e, "notes": dict(e["notes"]), "key": dict(e["key"])} for e in shown]
        _print_json({"directory": folder, "files": len(entries), "bytes": total, "entries": found})
        return FINE
    now = time.time()
    rows = [
        [e["digest"][:DIGITS] or e["name"], _size(e["bytes"]), _age(now - e["used"]), e["state"], _about(e)]
        for e in shown
    ]
    _table(["key", "size", "used", "state", "about"], rows)
    limit = options["cache_limit_mb"]
    print(f"{len(entries)} files, {_size(total)} of {_size(limit << 20)}, in {printable(folder)}")
    return FINE


def _show(folder: str, arguments: argparse.Namespace, _options: dict[str, Any]) -> int:
    digest, entry = _read(folder, arguments.key)
    if arguments.json:
        _print_json(
            {
                "digest": digest,
                "key": dict(entry["key"]),
                "notes": dict(entry["notes"]),
                "payload_bytes": len(entry["payload"]),
            }
        )
        return FINE
    print(f"entry {digest}, {_size(len(entry['payload']))} of code")
    for title, components in (("notes", entry["notes"]), ("key", sorted(entry["key"]))):
        print(f"\n{title}:")
        for name, value in components:
            _print_component(name, value)
    return FINE


def _verify(folder: str, arguments: argparse.Namespace, _options: dict[str, Any]) -> int:
    from ourjit import _C

    entries = _C.cache_list(folder, payloads=True, text_limit=0)
    states: dict[str, int] = {}
    for entry in entries:
        states[entry["state"]] = states.get(entry["state"], 0) + 1
    bad = [entry for entry in entries if entry["state"] in BAD_STATES]
    if arguments.json:
        problems = [{key: entry[key] for key in ("name", "digest", "state", "problem")} for entry in bad]
        _print_json({"directory": folder, "states": states, "problems": problems})
    else:
        _table(["file", "state", "problem"], [[e["name"], e["state"], e["problem"]] for e in bad])
        counted = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        print(f"{len(entries)} files in {printable(folder)}" + (f": {counted}" if counted else ""))
        if "corrupt" in states:
            print("corrupt entries are deleted and compiled again when they are next asked for")
    return FOUND if bad else FINE


def _prune(folder: str, arguments: argparse.Namespace, options: dict[str, Any]) -> int:
    from ourjit import _C

    limit = options["cache_limit_mb"] if arguments.limit_mb is None else arguments.limit_mb
    if not 0 <= limit < 2**40:
        raise Stop(WRONG, f"a size must not be negative: {limit}")
    return _print_removed(_C.cache_prune(folder, int(limit * 2**20)), folder, arguments)


def _clear(folder: str, arguments: argparse.Namespace, _options: dict[str, Any]) -> int:
    from ourjit import _C

    if not arguments.yes:
        if not sys.stdin.isatty():
            raise Stop(WRONG, "pass --yes to delete all entries")
        if input(f"delete all entries in {printable(folder)}? [y/N] ").strip().lower() not in ("y", "yes"):
            return FINE
    return _print_removed(_C.cache_clear(folder), folder, arguments)


def _why(folder: str, arguments: argparse.Namespace, _options: dict[str, Any]) -> int:
    from ourjit import _C

    (digest_a, a), (digest_b, b) = (_read(folder, start) for start in (arguments.a, arguments.b))
    names = _C.cache_differences(a["key"], b["key"])
    values_a, values_b = dict(a["key"]), dict(b["key"])
    if arguments.json:
        found = [{"name": name, "a": values_a.get(name), "b": values_b.get(name)} for name in names]
        _print_json({"a": digest_a, "b": digest_b, "differences": found})
        return FOUND if names else FINE
    for name in names:
        _print_difference(name, values_a.get(name), values_b.get(name), digest_a, digest_b)
    if not names:
        print("the keys are the same")
    return FOUND if names else FINE


# --- entries -----------------------------------------------------------------------------------------


def _resolve(folder: str, start: str) -> str:
    """The digest of the one entry whose digest begins so."""
    from ourjit import _C

    digests = [e["digest"] for e in _C.cache_list(folder, text_limit=0) if e["digest"] and e["state"] != "version"]
    near = sorted(digest for digest in digests if start and digest.startswith(start.lower()))
    if len(near) > 1:
        raise Stop(WRONG, f"several entries begin with {start}:\n" + "\n".join(f"  {digest}" for digest in near))
    if not near:
        raise Stop(FOUND, f"no entry begins with {start!r} in {folder}")
    return str(near[0])


def _read(folder: str, start: str) -> tuple[str, dict[str, Any]]:
    from ourjit import _C

    digest = _resolve(folder, start)
    try:
        return digest, _C.cache_read(folder, digest)
    except _C.UserError as error:
        raise Stop(FOUND, str(error)) from error


def _about(entry: dict[str, Any]) -> str:
    """What is noted of an entry, or what is wrong with it."""
    if entry["state"] != "ok":
        return str(entry["problem"])
    return " ".join(value if name == "name" else f"{name}={value}" for name, value in entry["notes"])


# --- text --------------------------------------------------------------------------------------------


def printable(text: str, *, lines: bool = False) -> str:
    """The text with escapes for what a terminal would obey; with `lines` line ends and tabs stay."""
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"


def _print_json(data: dict[str, Any]) -> None:
    json.dump(data, sys.stdout, indent=1)  # escapes all but ASCII
    print()


def _print_removed(removed: dict[str, int], folder: str, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _print_json({"directory": folder, **removed})
    else:
        unfinished = f" and {removed['temporary']} unfinished files" if removed["temporary"] else ""
        print(
            f"deleted {removed['files']} entries ({_size(removed['bytes'])}){unfinished}; "
            f"{removed['files_left']} are left ({_size(removed['bytes_left'])})"
        )
    return FINE


def _print_component(name: str, value: str) -> None:
    if "\n" not in value:
        print(f"  {printable(name)}: {printable(value)}")
        return
    print(f"  {printable(name)}:")
    for line in value.splitlines():
        print(f"    {printable(line)}")


def _print_difference(name: str, a: str | None, b: str | None, digest_a: str, digest_b: str) -> None:
    """Short texts side by side, long ones as a diff."""
    if a is None or b is None:
        print(f"{printable(name)}: only in {digest_b if a is None else digest_a}")
        return
    if "\n" not in a + b and len(a) + len(b) <= 200:
        print(f"{printable(name)}: {printable(a)} -> {printable(b)}")
        return
    print(f"{printable(name)}:")
    # A long line, such as a list of CPU features, word by word.
    by_word = "\n" not in a + b
    pieces_a, pieces_b = ([*t.replace(",", ", ").split()] if by_word else t.splitlines() for t in (a, b))
    for line in difflib.unified_diff(pieces_a, pieces_b, digest_a, digest_b, lineterm="", n=0 if by_word else 3):
        print(f"  {printable(line)}")


def _table(titles: Sequence[str], rows: list[list[str]]) -> None:
    if not rows:
        return
    rows = [[printable(cell) for cell in row] for row in rows]
    if len(rows) <= STYLED_ROWS and sys.stdout.isatty():
        try:
            from rich.console import Console
            from rich.table import Table
            from rich.text import Text
        except ImportError:
            pass
        else:
            table = Table(*titles)
            for row in rows:
                table.add_row(*map(Text, row))  # as Text: brackets are no markup
            Console().print(table)
            return
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in [list(titles), *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
