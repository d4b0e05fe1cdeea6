"""`python -m ourjit COMMAND ...`: tools around the compiler.

Exit codes: 0 all is well, 1 something is wrong, 2 the command was used wrongly; `run` ends as the script that it runs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ourjit import BackendError, InternalError, Unsupported, UserError

# Each is a module of ourjit.tools, imported when it is used.
COMMANDS = {
    "run": "runs an unchanged training script with its modules and optimizers compiled, and says what that gained",
    "explain": "runs a script and reports what became of it: graphs, kernels, times, memory, guards, fallbacks",
    "doctor": "checks this installation and machine",
    "cache": "looks into the disk cache of machine code",
    "repro": "runs, and makes smaller, what was saved of a failure",
}


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command that the words, else those of the command line, name; returns the exit code."""
    words = sys.argv[1:] if words is None else words
    if not words or words[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    name = words[0]
    if name not in COMMANDS:
        print(f"ourjit: there is no command '{name}'\n\n{_usage()}", file=sys.stderr)
        return 2
    tool = importlib.import_module(f"ourjit.tools.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m ourjit {name}",
        description=tool.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tool.add_arguments(parser)
    arguments = parser.parse_args(words[1:])
    try:
        code: int = tool.run(arguments)
    except (UserError, OSError) as error:
        print(f"ourjit {name}: {error}", file=sys.stderr)
        return 2
    except (BackendError, Unsupported, InternalError) as error:
        print(f"ourjit {name}: {error}", file=sys.stderr)
        return 1
    return code


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: python -m ourjit COMMAND ...", "", *lines, "", "COMMAND --help says more"])


if __name__ == "__main__":
    sys.exit(main())
