"""Checks sizes: no file above 1,000 lines, no function above 100; names files above 500."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("csrc", "include", "kernels", "python", "examples", "benchmarks", "tests")
SOFT, HARD, FUNCTION = 500, 1000, 100

# A line at which a C++ function's body opens: something that ends in `) {`, possibly with const, noexcept and so on.
OPENS = re.compile(r"^[A-Za-z_~][^;=#]*\)[^;=]*\{\s*$|^\s+.*\)\s*(const|noexcept|override|\s)*\{\s*$")
CONTROL = re.compile(r"^\s*(\}\s*)?(if|for|while|switch|else|do|catch|namespace|try)\b")


def cpp_functions(lines: list[str]) -> list[tuple[int, int]]:
    """(first line, length) of each outermost function body, by counting braces."""
    found = []
    depth_stack: list[tuple[int, int]] = []
    depth = 0
    for number, line in enumerate(lines, 1):
        code = re.sub(r'"(\\.|[^"\\])*"|//.*', "", line)
        code = re.sub(r"'(\\.|[^'\\])'", "", code)
        if OPENS.match(code) and not CONTROL.match(code) and not depth_stack:
            depth_stack.append((depth, number))
        depth += code.count("{") - code.count("}")
        if depth_stack and depth <= depth_stack[-1][0]:
            _, start = depth_stack.pop()
            found.append((start, number - start + 1))
    return found


def python_functions(text: str) -> list[tuple[int, int]]:
    return [
        (node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def main() -> int:
    problems, notes = [], []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".py", ".def"):
                continue
            text = path.read_text()
            lines = text.splitlines()
            name = path.relative_to(ROOT)
            if len(lines) > HARD:
                problems.append(f"{name}: {len(lines)} lines, the limit is {HARD}")
            elif len(lines) > SOFT:
                notes.append(f"{name}: {len(lines)} lines")
            functions = python_functions(text) if path.suffix == ".py" else cpp_functions(lines)
            problems += [
                f"{name}:{start}: a function of {length} lines, the limit is {FUNCTION}"
                for start, length in functions
                if length > FUNCTION
            ]
    if notes:
        print(f"check_sizes: above {SOFT} lines: " + "; ".join(notes))
    print("\n".join(problems) if problems else "check_sizes: ok")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
