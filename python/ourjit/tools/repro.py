"""`python -m ourjit repro FILE [--minimize]`: does the compiler still fail on the graph of a repro file?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ourjit import _C, _gpu
from ourjit.graph_text import GraphText
from ourjit.options import check_options
from ourjit.repro import Repro, described, parse, signature

FIXED, FAILS, WRONG_USAGE = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a file that an error of ourjit named")
    parser.add_argument("--minimize", action="store_true", help="write a smaller graph that meets the same error")
    parser.add_argument("--out", type=Path, help="where --minimize writes; default: FILE with .min before its suffix")


def run(arguments: argparse.Namespace) -> int:
    """0: the graph compiles, 1: it does not, 2: the file is no repro."""
    try:
        repro = parse(arguments.file.read_text())
        check_options(repro.options)
        GraphText.parse(repro.graph)
    except (OSError, UnicodeDecodeError, _C.UserError) as bad:
        print(f"{arguments.file}: {bad}", file=sys.stderr)
        return WRONG_USAGE
    error = failure(repro)
    if not error:
        print("the graph compiles: the error does not happen")
        return FIXED
    same = not repro.error or signature(error) == signature(repro.error)
    print(f"{'the error still happens' if same else 'another error happens than the file tells'}:\n{error}")
    if arguments.minimize:
        smaller = minimized(replace(repro, error=error))
        path = arguments.out or arguments.file.with_suffix(f".min{arguments.file.suffix}")
        path.write_text(smaller.text())
        before, after = (len(GraphText.parse(text).nodes) for text in (repro.graph, smaller.graph))
        print(f"{before} nodes became {after}: {path}")
    return FAILS


def failure(repro: Repro) -> str:
    """The error that compiling the graph raises; empty if it raises none."""
    try:
        _C.Compiler(_gpu.with_libraries(repro.options)).compile(repro.graph)
    except (_C.UserError, _C.Unsupported, _C.BackendError, _C.InternalError) as error:
        return described(error)
    return ""


def minimized(repro: Repro) -> Repro:
    """The smallest repro that is found whose graph meets the error of `repro`."""
    wanted = signature(repro.error)

    def meets(graph: GraphText) -> bool:
        return signature(failure(replace(repro, graph=str(graph)))) == wanted

    graph, shrinks = GraphText.parse(repro.graph), True
    while shrinks:
        shrinks = False
        # A step that succeeds is tried again on what it gave.
        for steps in (GraphText.with_fewer_outputs, GraphText.with_fewer_nodes, GraphText.with_smaller_sizes):
            while (found := next(filter(meets, _distinct(steps(graph), graph)), None)) is not None:
                graph, shrinks = found, True
    notes = [note for note in repro.notes if not note.startswith("input: ")]  # they are not those of the graph any more
    return replace(repro, graph=str(graph), notes=notes)


def _distinct(graphs: Iterator[GraphText], known: GraphText) -> Iterator[GraphText]:
    return (graph for graph in graphs if graph != known)
