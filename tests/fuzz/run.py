"""Runs the fuzzers of a sanitized build: python tests/fuzz/run.py BUILD [--runs N] [--seed S]

Seeds are the bodies of the text tests, and cache entries. Exit code 1 if a fuzzer found something; the input lies in
BUILD/found.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TEXTS = Path(__file__).resolve().parents[1] / "text"
FUZZERS = {"graph_text_fuzz": "graph @", "kernel_text_fuzz": "kernel @"}  # and how their seeds begin
ENTRY_FUZZER = "cache_entry_fuzz"


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


def entry(notes: list[tuple[bytes, bytes]], key: list[tuple[bytes, bytes]], payload: bytes) -> bytes:
    """A cache entry (csrc/cache/entry.cpp) without checksums, which the fuzzer adds."""
    texts = [text for component in notes + key for text in component]
    head = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    header = struct.pack("<8sIIIIQQQ", b"ourjit\r\n", 1, len(notes), len(key), len(head), len(payload), 0, 0)
    return header + head + payload


def entries() -> list[bytes]:
    name, build, kernel = (b"name", b"kernel_1"), (b"build", b"0123"), (b"kernel", b"for i in 0..n:\n" * 9)
    return [
        entry([], [], b""),
        entry([], [(b"", b"")], b"\x7fELF"),
        entry([name], [build, kernel], bytes(range(256))),
        entry([name, name, (b"seconds", b"0.1")], [kernel, build, (b"target", b"avx2 fma")], b"code" * 50),
    ]


def fuzz(given: argparse.Namespace, name: str, seeds: list[bytes], dictionary: str) -> bool:
    """True if the fuzzer found nothing."""
    found = given.build / "found"
    found.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for i, seed in enumerate(seeds):
            (corpus / f"{i:04}").write_bytes(seed)
        Path(folder, "words").write_text(dictionary)
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
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of a build with OURJIT_SANITIZE=ON")
    parser.add_argument("--runs", type=int, default=20000, help="of each fuzzer")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    passed = fuzz(given, ENTRY_FUZZER, entries(), '"ourjit"\n')
    for name, begin in FUZZERS.items():
        texts = [body for body in bodies() if begin in body]
        passed &= fuzz(given, name, [text.encode() for text in texts], words(texts))
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
