"""Prints the Chebyshev series of csrc/passes/special_series.h: python kernels/cpu/tools/fit_chebyshev.py

Each series stands for a function on [-1, 1], found by discrete cosine transform of its values at 80 Chebyshev points in
40 digits, and ends where its terms fall below 2^-57 of the largest one.
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import mp, mpf

mp.dps = 40
POINTS = 80


def ndtri_tail(r: mpf) -> mpf:
    """(r - x) * r where the normal distribution is exp(-r * r / 2) at -x."""
    goal = -r * r / 2
    x = r
    for _ in range(200):
        tail = mp.log(mp.erfc(x / mp.sqrt(2)) / 2)
        slope = -mp.exp(-x * x / 2 - tail) / mp.sqrt(2 * mp.pi)
        step = (tail - goal) / slope
        x -= step
        if abs(step) < mpf(10) ** -38:
            break
    return (r - x) * r


# Name, function of t in [-1, 1].
SERIES: list[tuple[str, Callable[[mpf], mpf]]] = [
    ("kI0Near", lambda t: mp.exp(-4 * (t + 1)) * mp.besseli(0, 4 * (t + 1))),
    ("kI0Far", lambda t: far(0, t)),
    ("kI1Near", lambda t: mp.exp(-4 * (t + 1)) * (mp.besseli(1, 4 * (t + 1)) / (4 * (t + 1)) if t > -1 else 0.5)),
    ("kI1Far", lambda t: far(1, t)),
    ("kErfcx", lambda t: erfcx_scaled(mpf("3.75") * (1 + t) / (1 - t))),
    ("kNdtriNear", lambda t: ndtri_tail(1 / between(t, 1 / mpf(8), 1 / mpf("1.4")))),
    ("kNdtriFar", lambda t: ndtri_tail(1 / between(t, 1 / mpf(40), 1 / mpf(8)))),
]


def between(t: mpf, low: mpf, high: mpf) -> mpf:
    return low + (high - low) * (t + 1) / 2


def far(order: int, t: mpf) -> mpf:
    """sqrt(x) * exp(-x) * I(x) with t = 16 / x - 1."""
    x = 16 / (t + 1)
    return mp.sqrt(x) * mp.exp(-x) * mp.besseli(order, x)


def erfcx_scaled(x: mpf) -> mpf:
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x) if x < 1e6 else 2 / mp.sqrt(mp.pi) * (1 + 1 / (2 * x))


def coefficients(function: Callable[[mpf], mpf]) -> list[float]:
    angles = [mp.pi * (mpf(j) + mpf(1) / 2) / POINTS for j in range(POINTS)]
    values = [function(mp.cos(a)) for a in angles]
    found = [
        2 * mp.fsum(v * mp.cos(k * a) for v, a in zip(values, angles, strict=True)) / POINTS for k in range(POINTS)
    ]
    found[0] /= 2
    largest = max(abs(c) for c in found)
    while abs(found[-1]) < largest * mpf(2) ** -57:
        found.pop()
    return [float(c) for c in found]


def main() -> None:
    for name, function in SERIES:
        print(f"inline constexpr double {name}[] = {{")
        for c in coefficients(function):
            print(f"    {c!r},")
        print("};\n")


if __name__ == "__main__":
    main()
