"""Errors of f32 functions of one operand, ours and eager's, in units in the last place of the exact result.

python tests/python/accuracy.py            a million values of each function
python tests/python/accuracy.py --table    the same, and writes docs/accuracy.md
python tests/python/accuracy.py --all --only exp,tanh    all 2^32 values
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import unary
from torch import Tensor
from torch.testing._internal.opinfo.core import OpInfo

CHUNK = 1 << 20
TABLE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
TINY, LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max


def functions() -> dict[str, OpInfo]:
    """Those of torch's operator database whose results are not exact anyway."""
    known = unary.operators(torch.float32).items()
    return {name: op for name, op in known if op.name not in EXACT and name not in REPEATED}


# Results are an operand, an integer, a truth value or complex; or the numbers are random.
EXACT = set(
    """abs angle bfloat16 bool byte cdouble ceil cfloat chalf char clone conj conj_physical contiguous double
    exponential fill float floor frac frexp half imag int isfinite isinf isnan isneginf isposinf isreal
    jiterator_unary logical_not long nan_to_num neg nn.functional.hardshrink nn.functional.relu
    nn.functional.relu6 nn.functional.softshrink nn.functional.threshold nn.functional.hardtanh
    nn.functional.leaky_relu nn.functional.prelu nn.functional.rrelu positive real round sgn short sign signbit
    trunc nn.functional.dropout""".split()
)


# The database gives them all n = 4.
REPEATED = {f"polygamma (polygamma_n_{n})" for n in (1, 2, 3)}

# In f64, where torch takes microseconds for a number.
SLOW = {"polygamma", "special.polygamma", "mvlgamma", "special.multigammaln"}


def count(name: str) -> int:
    """How many values of a function to look at."""
    return CHUNK // 64 if name.split(maxsplit=1)[0] in SLOW else CHUNK


@dataclass
class Error:
    """The largest one in units in the last place, and where; infinite where one result is finite and the other not."""

    units: float = 0.0
    at: float = 0.0

    def add(self, x: Tensor, result: Tensor, exact: Tensor) -> None:
        finite = exact.abs() <= LARGEST
        special = ~finite & ~exact.isnan()
        # Beyond the largest number, the largest number and infinity are both within a unit; so are zero and the
        # least number below.
        units = (result.double() - exact).abs() / unit_of(exact)
        units = torch.where(special, torch.where(result.abs() >= LARGEST, 0, torch.inf), units)
        units = torch.where(finite & result.isinf() & (exact.abs() > LARGEST * (1 - 1e-6)), 0, units)
        units = torch.where(exact.isnan() & result.isnan(), 0, units)
        units = torch.where(units < 1e300, units, torch.inf)  # NaN too
        worst = int(units.argmax())
        if units[worst] > self.units:
            self.units, self.at = float(units[worst]), float(x[worst])


def unit_of(exact: Tensor) -> Tensor:
    """The distance of f32 numbers at `exact`."""
    exponent = torch.frexp(exact.abs().clamp(TINY, LARGEST))[1]
    return torch.ldexp(torch.ones_like(exact), exponent - 24)


def some(count: int) -> Iterator[Tensor]:
    """`count` values: half of all numbers, half of ordinary ones, and those where things happen."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (count // 2,), generator=generator, dtype=torch.int64)
    ordinary = torch.randn(count // 4, generator=generator) * 4
    unit = torch.rand(count // 4 - 64, generator=generator) * 2 - 1
    special = torch.tensor([0.0, 1.0, torch.inf, TINY, TINY / 2, LARGEST, 0.5, 2.0, torch.pi, torch.e, 88.72, 104.0])
    special = torch.cat([special, -special, torch.full((64 - 2 * special.numel(),), torch.nan)])
    yield torch.cat([bits.to(torch.int32).view(torch.float32), ordinary, unit, special])


def everything() -> Iterator[Tensor]:
    for first in range(-(2**31), 2**31, CHUNK):
        yield torch.arange(first, first + CHUNK, dtype=torch.int64).to(torch.int32).view(torch.float32)


def measure(op: OpInfo, values: Iterator[Tensor]) -> tuple[Error, Error]:
    """Ours and eager's, against torch's function on f64."""
    torch.compiler.reset()
    f = unary.function(op, torch.float32)
    compiled = torch.compile(f, backend="ourjit", options={"strict": True})
    ours, eager = Error(), Error()
    for x in values:
        exact = f(x.double())
        ours.add(x, compiled(x), exact)
        eager.add(x, f(x), exact)
    return ours, eager


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true", help="all 2^32 values")
    parser.add_argument("--only", default="", help="functions, with commas")
    parser.add_argument("--table", action="store_true", help="write docs/accuracy.md")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    wanted = set(filter(None, given.only.split(",")))
    lines = []
    for name, op in functions().items():
        if wanted and name not in wanted:
            continue
        ours, eager = measure(op, everything() if given.all else some(count(name)))
        lines.append(f"| `{name}` | {ours.units:.4g} | {ours.at:.6g} | {eager.units:.4g} | {eager.at:.6g} |")
        print(lines[-1], flush=True)
    if given.table:
        TABLE.write_text(HEAD + "\n".join(sorted(lines)) + "\n")


HEAD = """# Accuracy of f32 functions

Written by `python tests/python/accuracy.py --table`. The largest error over a million values (half of them any bits,
the rest between -20 and 20), in units in the last place of the result that torch computes in f64; 0.5 is a correctly
rounded function. Below the least normal number a unit is that number's. "inf": one result overflows where the other
does not. `tests/python/test_accuracy.py` holds ours to 2 units, or to eager's error plus one.

| function | ours | at | eager | at |
| --- | --- | --- | --- | --- |
"""

if __name__ == "__main__":
    main()
