"""Special functions: Bessel's, the normal distribution's, zeta and its kin, neighbours of floats."""

from __future__ import annotations

import torch

from op_cases.case import FLOATS, WIDE, Cases, one, two

CASES = Cases()
case = CASES.add

# name -> range of the operand.
_UNARY = {
    "i0": (-12, 12),
    "i0e": (-12, 12),
    "i1": (-12, 12),
    "i1e": (-12, 12),
    "erfcx": (-3, 12),
    "ndtri": (0.001, 0.999),
    "log_ndtr": (-12, 5),
    "ndtr": (-5, 5),
}
for _name, (_low, _high) in _UNARY.items():
    case(_name, getattr(torch.special, _name), one(_low, _high), dtypes=WIDE)
    if _name != "ndtri":
        case(
            f"{_name}_of_int",
            getattr(torch.special, _name),
            one(0, 2),
            dtypes=(torch.int64, torch.uint8, torch.bool),
            gradient=False,
        )
case("i0_half", torch.i0, one(-12, 12), dtypes=(torch.bfloat16, torch.float16), gradient=False)
for _name in ("modified_bessel_i0", "modified_bessel_i1", "spherical_bessel_j0"):
    case(_name, getattr(torch.special, _name), one(-12, 12), dtypes=WIDE, gradient=False)
for _name in (
    "modified_bessel_k0",
    "modified_bessel_k1",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
):
    case(_name, getattr(torch.special, _name), one(0.01, 9), dtypes=WIDE, gradient=False)
for _name, _low in {"j0": -12.0, "j1": -12.0, "y0": 0.1, "y1": 0.1}.items():
    case(f"bessel_{_name}", getattr(torch.special, f"bessel_{_name}"), one(_low, 12), dtypes=WIDE, gradient=False)
case("airy_ai", torch.special.airy_ai, one(-6, 12), dtypes=WIDE, gradient=False)

for _n in (1, 2, 3, 7):
    case(f"polygamma_{_n}", lambda x, n=_n: torch.polygamma(n, x), one(0.2, 6), dtypes=WIDE)
case("zeta", lambda x, y: torch.special.zeta(x.detach(), y), two(1.1, 9, 0.2, 6), dtypes=WIDE)
case("nextafter", torch.nextafter, two(), dtypes=(*FLOATS, torch.float16), gradient=False, exact=True)
for _name in ("gcd", "lcm"):
    case(
        _name,
        getattr(torch, _name),
        two(-9, 9),
        dtypes=(torch.int64, torch.int32, torch.int16, torch.int8),
        gradient=False,
        exact=True,
    )
case("gcd_unsigned", lambda x, y: (torch.gcd(x, y), torch.lcm(x, y)), two(0, 9), dtypes=(torch.uint8,), gradient=False)
case("ldexp", torch.ldexp, two(-2, 2), dtypes=FLOATS)
