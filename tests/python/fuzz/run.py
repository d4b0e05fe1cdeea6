"""Runs programs of many seeds:  python tests/python/fuzz/run.py --seeds 0:2000 [--target emulate] [--direct]

Each failure is made small and printed as a script. A process that crashes is named with its seed, and the next goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from fuzz.generate import draw
from fuzz.oracle import check
from fuzz.shrink import report

FOUND = 2  # how a process ends that has found failures


def run_seeds(first: int, last: int, options: argparse.Namespace, position: Path, known: dict[str, int]) -> None:
    for seed in range(first, last):
        position.write_text(str(seed))
        failure = check(draw(seed), options.target, options.direct)
        if failure is None:
            continue
        if failure.excuse:
            print(f"# seed {seed}: {failure.excuse} ({failure.kind}: {failure.detail})", flush=True)
            continue
        known[failure.kind] = known.get(failure.kind, 0) + 1
        if known[failure.kind] <= options.same:
            print(report(seed, failure, options.target, options.direct, options.seconds), flush=True)
        else:
            print(f"# seed {seed}: {failure.kind} again", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0:100", help="first:last")
    parser.add_argument("--target", default="", help="cpu or emulate")
    parser.add_argument("--direct", action="store_true", help="without Dynamo, which takes half of the time")
    parser.add_argument("--same", type=int, default=5, help="how many failures of one kind are made small")
    parser.add_argument("--seconds", type=float, default=60, help="for making one small")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    first, last = map(int, options.seeds.split(":"))
    position = Path(os.environ.get("TMPDIR", "/tmp")) / f"fuzz_{os.getpid()}"
    start, seed, crashes, failed = time.monotonic(), first, 0, False
    while seed < last:
        child = os.fork()
        if child == 0:
            known: dict[str, int] = {}
            run_seeds(seed, last, options, position, known)
            os._exit(FOUND if known else 0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        failed = failed or status != 0
        if status in (0, FOUND):
            break
        seed = int(position.read_text()) + 1
        crashes += 1
        print(f"# seed {seed - 1}: the process ended with status {status}\n{draw(seed - 1).source()}", flush=True)
    position.unlink(missing_ok=True)
    print(f"{last - first} programs, {(time.monotonic() - start) / max(last - first, 1):.3f} s each, {crashes} crashes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
