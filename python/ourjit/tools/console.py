"""Prints tables to terminals: with rich where it is installed, else as aligned text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO


def print_rows(title: str, rows: Sequence[tuple[str, str]], file: TextIO) -> None:
    """Prints names and values under a title; a value may have several lines."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        _print_plain(title, rows, file)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(_literal(name), _literal(value))
    # Where nobody sees it, lines are as long as they are.
    console = Console(file=file, width=None if file.isatty() else 200, highlight=False)
    console.print(title, style="bold", markup=False)
    console.print(table)


def _literal(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print_plain(title: str, rows: Sequence[tuple[str, str]], file: TextIO) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    print(title, file=file)
    for name, value in rows:
        print(f"{name:{width}}  " + value.replace("\n", "\n" + " " * (width + 2)), file=file)
