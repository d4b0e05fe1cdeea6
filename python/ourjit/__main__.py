"""`python -m ourjit COMMAND ...`."""

from __future__ import annotations

import argparse
import importlib
import sys

COMMANDS = {
    "repro": "compile the graph of a repro file again, and make it smaller",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ourjit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {}
    for name, text in COMMANDS.items():
        modules[name] = importlib.import_module(f"ourjit.tools.{name}")
        modules[name].add_arguments(commands.add_parser(name, help=text, description=text))
    arguments = parser.parse_args()
    code: int = modules[arguments.command].run(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
