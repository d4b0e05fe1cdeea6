#!/usr/bin/env python3
"""Fits the minimax polynomials of the CPU vector maths and prints coefficients.h.

    python3 tools/fit_coefficients.py > coefficients.h        (needs mpmath)

Each polynomial minimises the largest weighted error over its interval (Remez exchange). The leading
coefficients are rounded from the lowest up, and what remains is fitted again after each rounding, so
that the rounded ones stay near-minimax.
"""

import struct
import sys

import mpmath as mp

mp.mp.prec = 200


def round_to(value, kind):
    """Rounds an mpf to the nearest float or double."""
    if kind == "f64":
        return mp.mpf(float(value))
    nearest = struct.unpack("f", struct.pack("f", float(value)))[0]
    return mp.mpf(nearest)


def remez(target, weight, lo, hi, powers, rounds=12):
    """Coefficients of x**p, p in powers, that minimise the largest weighted distance to target."""
    count = len(powers)
    mid, half = (lo + hi) / 2, (hi - lo) / 2
    points = [mid + half * mp.cos(mp.pi * (2 * i + 1) / (2 * count + 2)) for i in range(count, -1, -1)]
    grid = [mid - half * mp.cos(mp.pi * i / (24 * count)) for i in range(24 * count + 1)]
    grid = [x if x != 0 else half / 10**6 for x in grid]
    samples = [(x, target(x), weight(x)) for x in grid]
    coefficients, best = None, None
    for _ in range(rounds):
        rows = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for i, x in enumerate(points):
            w = weight(x)
            for j, power in enumerate(powers):
                rows[i, j] = x**power * w
            rows[i, count] = (-1) ** i
            right[i] = target(x) * w
        solution = mp.lu_solve(rows, right)
        trial = [solution[j] for j in range(count)]
        errors = [w * (sum(c * x**p for c, p in zip(trial, powers, strict=True)) - t) for x, t, w in samples]
        worst = max(abs(e) for e in errors)
        if best is None or worst < best:
            coefficients, best = trial, worst
        if worst < abs(solution[count]) * mp.mpf("1.02"):
            break
        extrema = []
        for (x, _, _), e in zip(samples, errors, strict=True):
            if extrema and (e > 0) == (extrema[-1][1] > 0):
                if abs(e) > abs(extrema[-1][1]):
                    extrema[-1] = (x, e)
            else:
                extrema.append((x, e))
        while len(extrema) > count + 1:
            drop_first = abs(extrema[0][1]) < abs(extrema[-1][1])
            extrema.pop(0 if drop_first else -1)
        if len(extrema) < count + 1:
            break
        points = [x for x, _ in extrema]
    return coefficients, best


def fit(name, kind, target, weight, lo, hi, degree):
    """Prints the rounded coefficients of 1, x, .. x**degree."""
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    done = []
    while len(done) <= degree:
        powers = list(range(len(done), degree + 1))

        def rest(x, done=tuple(done)):
            return target(x) - sum(c * x**i for i, c in enumerate(done))

        coefficients, error = remez(rest, weight, lo, hi, powers)
        if not done:
            print(f"{name}_{kind}: weighted error 2^{float(mp.log(error, 2)):.1f}", file=sys.stderr)
        # Only the leading three matter for the error of rounding; the others are rounded together.
        take = 1 if len(done) < 3 else len(coefficients)
        done += [round_to(c, kind) for c in coefficients[:take]]
    ctype, suffix = ("float", "f") if kind == "f32" else ("double", "")
    print(f"inline constexpr {ctype} {name}_{kind}[] = {{")
    for first in range(0, len(done), 4):
        print("    " + " ".join(literal(c) + suffix + "," for c in done[first : first + 4]))
    print("};")


def literal(value):
    """A hexadecimal literal without trailing zeros."""
    mantissa, exponent = float(value).hex().split("p")
    return mantissa.rstrip("0").rstrip(".") + "p" + exponent


def expm1_rest(x):
    return mp.expm1(x) / x**2 - 1 / x


def log_rest(x):
    return (mp.log1p(x) - x + x**2 / 2) / x**3


def atanh_rest(z):
    """atanh(s) * 2 = 2 s + s * z * rest(z) with z = s * s."""
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) / s - 2) / z


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def fit_exponentials():
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.01")
    half = mp.mpf("0.505")
    for kind, degree in (("f32", 5), ("f64", 10)):
        # expm1(r) = r + r^2 P(r)
        fit(
            "expm1",
            kind,
            expm1_rest,
            lambda x: abs(x * x / mp.expm1(x)),
            -half_ln2,
            half_ln2,
            degree,
        )
        # tanh(x) = x + x^3 P(x^2) for |x| <= 0.55
        fit(
            "tanh",
            kind,
            lambda z: (mp.tanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
            lambda z: z * mp.sqrt(z) / mp.tanh(mp.sqrt(z)),
            0,
            mp.mpf("0.551") ** 2,
            4 if kind == "f32" else 11,
        )
        # 2^r = 1 + r P(r)
        top = half * mp.mpf("1.01")
        fit(
            "exp2",
            kind,
            lambda x: mp.expm1(x * mp.log(2)) / x,
            abs,
            -half,
            top,
            degree,
        )
    # log(1 + f) = f - f^2 / 2 + f^3 P(f)
    low, high = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1
    low, high = low * mp.mpf("1.005"), high * mp.mpf("1.005")
    fit("log", "f32", log_rest, lambda f: abs(f**3 / mp.log1p(f)), low, high, 8)
    # 2 atanh(s) = 2 s + s z P(z), z = s^2
    top = mp.mpf("0.1725") ** 2
    fit("atanh", "f64", atanh_rest, lambda z: z, 0, top, 7)
    # the same for pow, whose leading term 2/3 is carried in two doubles: P(z) = 2/3 + z Q(z)
    fit("pow_log", "f64", lambda z: (atanh_rest(z) - mp.mpf(2) / 3) / z, lambda z: z * z, 0, top, 8)

    # powf in doubles: log2(1 + f) = f P(f), 2^r = 1 + r P(r)
    fit(
        "pow_log2",
        "f64",
        lambda f: mp.log1p(f) / (f * mp.log(2)),
        lambda f: f / mp.log1p(f),
        low,
        high,
        13,
    )
    fit(
        "pow_exp2",
        "f64",
        lambda x: mp.expm1(x * mp.log(2)) / x,
        abs,
        -half,
        half * mp.mpf("1.01"),
        5,
    )


def fit_trigonometric():
    top = (mp.pi / 4 * mp.mpf("1.02")) ** 2
    for kind, degree in (("f32", 2), ("f64", 5)):
        # sin(x) = x + x^3 P(x^2);  cos(x) = 1 - x^2 / 2 + x^4 P(x^2)
        fit(
            "sin",
            kind,
            lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
            lambda z: z,
            0,
            top,
            degree,
        )
        fit(
            "cos",
            kind,
            lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
            lambda z: z * z,
            0,
            top,
            degree,
        )
    # atan(t) = t + t^3 P(t^2) for |t| <= tan(pi/8);  asin(x) = x + x^3 P(x^2) for |x| <= 1/2
    top = mp.mpf("0.4145") ** 2
    fit("atan", "f64", lambda z: (mp.atan(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda z: z, 0, top, 10)
    fit(
        "asin",
        "f64",
        lambda z: (mp.asin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
        lambda z: z,
        0,
        mp.mpf("0.2501"),
        12,
    )


def fit_error_function():
    def ratio(z):
        x = mp.sqrt(z)
        return mp.erf(x) / x - 1

    # erf(x) = x + x P(x^2)
    fit("erf", "f32", ratio, lambda z: 1, 0, mp.mpf("0.93") ** 2, 6)
    fit("erf", "f64", ratio, lambda z: 1, 0, 1, 11)
    # erfc(t) = exp(-t - t P(t))
    fit(
        "erfc_log",
        "f32",
        lambda t: -mp.log(mp.erfc(t)) / t - 1,
        lambda t: mp.erfc(t) * t / mp.erf(t),
        mp.mpf("0.92"),
        mp.mpf("4.0"),
        6,
    )

    # erfc(x) = exp(-x^2) P(q) / (1 + 2 x), q = (x - 4) / (x + 4), x >= 0
    def scaled(q):
        if q >= 1:
            return 2 / mp.sqrt(mp.pi)
        x = 4 * (1 + q) / (1 - q)
        return erfcx(x) * (1 + 2 * x)

    fit("erfcx", "f64", scaled, lambda q: 1, -1, mp.mpf("0.75"), 23)


def fit_gamma():
    # lgamma(1 + t) = t P(t) for t in [-1/4, 1/2];  lgamma(2 + t) = t P(t) for t in [-1/2, 1]
    fit("lgamma1", "f64", lambda t: mp.loggamma(1 + t) / t, lambda t: 1, "-0.01", "0.51", 18)
    fit("lgamma2", "f64", lambda t: mp.loggamma(2 + t) / t, lambda t: 1, "-0.51", "1.01", 21)


def main():
    print("// Minimax coefficients, lowest power first; printed by tools/fit_coefficients.py, which says")
    print("// what each fits.")
    print("// clang-format off")
    print("#pragma once")
    print()
    print("namespace oj {")
    print()
    fit_exponentials()
    fit_trigonometric()
    fit_error_function()
    fit_gamma()
    print()
    print("}  // namespace oj")


if __name__ == "__main__":
    main()
