"""Runs the fuzzers of a sanitized build: python tests/fuzz/run.py BUILD [--runs N] [--seed S]

Seeds are the bodies of the text tests. Exit code 1 if a fuzzer found something; the input lies in BUILD/found.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEXTS = Path(__file__).resolve().parents[1] / "text"
FUZZERS = {"graph_text_fuzz": "graph @", "kernel_text_fuzz": "kernel @"}  # and how their seeds begin


def bodies() -> Iterator[str]:
    """What the cases of the text tests give to their commands."""
    for path in sorted(TEXTS.rglob("*.ojt")):
        for case in path.read_text().split("\n# ---\n"):
            before, _, _ = case.partition("\n# expect:")
            _, _, after = before.partition("# command: ")
            yield after.partition("\n")[2]


def words(texts: list[str]) -> str:
    """A dictionary for libFuzzer: what stands between blanks and brackets."""
    found = {word.strip("(){}[],:;") for text in texts for word in text.split()}
    plain = (word for word in sorted(found) if 1 < len(word) < 40 and word.isascii() and not set(word) & set('"\\'))
    return "".join(f'"{word}"\n' for word in plain)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of a build with OURJIT_SANITIZE=ON")
    parser.add_argument("--runs", type=int, default=20000, help="of each fuzzer")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    found = given.build / "found"
    found.mkdir(exist_ok=True)
    failed = False
    for name, begin in FUZZERS.items():
        seeds = [body for body in bodies() if begin in body]
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder, "corpus")
            corpus.mkdir()
            for i, body in enumerate(seeds):
                (corpus / f"{i:04}").write_text(body)
            Path(folder, "words").write_text(words(seeds))
            command = [
                given.build / name,
                corpus,
                f"-runs={given.runs}",
                f"-seed={given.seed}",
                f"-dict={folder}/words",
                f"-artifact_prefix={found}/",
                "-max_len=4000",
                "-timeout=20",
                "-rss_limit_mb=4096",
                "-verbosity=0",
            ]
            done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
        print(f"{name}: {len(seeds)} seeds, {given.runs} runs, {'failed' if done.returncode else 'ok'}", flush=True)
        if done.returncode != 0:
            print(done.stderr[-8000:].decode(errors="replace"))
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
