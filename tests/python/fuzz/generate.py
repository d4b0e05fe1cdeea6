"""Draws a program from a seed: every step is run eagerly while it is drawn, and what eager refuses is drawn again."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from fuzz.program import FLOATS, INTEGERS, LAYOUTS, Input, Program, Step

SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 7, 8, 15, 16, 17, 33)
LARGEST = 2048  # elements
HUGE = 1e4  # results above are drawn again, mostly

Test = Callable[[Tensor], bool]


def is_float(x: Tensor) -> bool:
    return x.dtype.is_floating_point


def is_number(x: Tensor) -> bool:
    return x.dtype != torch.bool


def is_integer(x: Tensor) -> bool:
    return not is_float(x) and is_number(x)


def is_bool(x: Tensor) -> bool:
    return not is_number(x)


def anything(x: Tensor) -> bool:
    return True


class Builder:
    """A program that grows, with the eager value of each step."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.inputs: list[Input] = []
        self.steps: list[Step] = []
        self.values: dict[str, Tensor] = {}
        self.rounded: set[int] = set()  # storages whose elements depend on rounding
        main = rng.choices(("float32", "bfloat16", "float16", "float64"), (5, 2, 1, 1))[0]
        self.floats = rng.choice(((main,), (main, main, main, *FLOATS)))
        self.grad = rng.random() < 0.4
        self.special = rng.random() < 0.15
        self.shapes = [self.fresh_shape() for _ in range(2)]

    def exact(self, name: str) -> bool:
        return storage(self.values[name]) not in self.rounded

    def new_input(self, shape: tuple[int, ...], dtype: str, fill: str = "normal") -> str:
        special = fill == "normal" and dtype in FLOATS and self.special
        made = Input(
            f"a{len(self.inputs)}",
            shape,
            dtype,
            self.rng.choice(list(LAYOUTS)) if self.rng.random() < 0.5 else "contiguous",
            "special" if special else fill,
            self.grad and dtype in FLOATS and self.rng.random() < 0.6,
        )
        self.inputs.append(made)
        self.values[made.name] = made.make()
        return made.name

    def new_shape(self) -> tuple[int, ...]:
        return self.rng.choice(self.shapes) if self.rng.random() < 0.6 else self.fresh_shape()

    def fresh_shape(self) -> tuple[int, ...]:
        rank = self.rng.choices(range(6), (1, 2, 4, 4, 2, 1))[0]
        shape = [self.rng.choice(SIZES) for _ in range(rank)]
        while math.prod(shape) > LARGEST:
            shape[self.rng.randrange(rank)] = self.rng.choice((1, 2, 3))
        return tuple(shape)

    def dtype_for(self, test: Test) -> str:
        dtypes = (*self.floats * 3, *INTEGERS, "bool")
        fitting = [t for t in dtypes if test(torch.empty(0, dtype=getattr(torch, t)))]
        return self.rng.choice(fitting or dtypes)

    def pick(self, test: Test = anything, rank: int = 0, exact: bool = False) -> str:
        """A value that passes, mostly a late one; or a new input."""
        known = [n for n, x in self.values.items() if test(x) and x.dim() >= rank and (not exact or self.exact(n))]
        if known and self.rng.random() < 0.92:
            return known[min(int(self.rng.expovariate(0.3)), len(known) - 1) * -1 - 1]
        shape = self.new_shape()
        while len(shape) < rank:
            shape = self.fresh_shape()
        return self.new_input(shape, self.dtype_for(test))

    def beside(self, name: str, test: Test = anything, exact: bool = False) -> str:
        """A value whose shape broadcasts with that of `name`."""
        x = self.values[name]
        names = [n for n, y in self.values.items() if test(y) and fits(x, y) and (not exact or self.exact(n))]
        if names and self.rng.random() < 0.9:
            return self.rng.choice(names)
        shape = [1 if self.rng.random() < 0.2 else size for size in x.shape]
        cut = self.rng.randrange(len(shape) + 1) if self.rng.random() < 0.3 else 0
        return self.new_input(tuple(shape[cut:]), self.dtype_for(test))

    def shaped(self, shape: tuple[int, ...], dtype: str, fill: str = "normal") -> str:
        """A value of just this form."""
        names = [n for n, y in self.values.items() if y.shape == shape and str(y.dtype)[6:] == dtype]
        if fill == "normal" and names and self.rng.random() < 0.5:
            return self.rng.choice(names)
        return self.new_input(shape, dtype, fill)

    def dim(self, name: str) -> int:
        rank = self.values[name].dim()
        return self.rng.randrange(-rank, rank) if rank else 0

    def add(self, code: str, *operands: str, kind: str = "same") -> bool:
        """Appends a step if eager runs it.

        kind: same, rounds (the result is never exact), jumps (exact operands), "jumps and rounds".
        """
        if "jumps" in kind and not all(map(self.exact, operands)):
            return False
        step = Step(f"v{len(self.steps)}", code, operands)
        if step.in_place and overlaps(self.values[operands[0]]):
            return False
        try:
            result = step.function()(*(self.values[n] for n in operands))
        except (RuntimeError, IndexError, ValueError, TypeError):
            return False
        if result.numel() > LARGEST or result.dtype not in KNOWN:
            return False
        rounds = "rounds" in kind and (is_float(result) or any(is_float(self.values[n]) for n in operands))
        if not step.in_place and self.explodes(result, operands):
            return False
        if rounds or (not all(map(self.exact, operands)) and is_float(result)):
            self.rounded.add(storage(result))
        self.steps.append(replace(step, rounds=rounds))
        self.values[step.name] = result
        return True

    def explodes(self, result: Tensor, operands: tuple[str, ...]) -> bool:
        """True for results that would hide what is computed from them."""
        if not is_float(result) or result.numel() == 0:
            return False
        tame = all(bool((self.values[n].detach().double().abs() < HUGE).all()) for n in operands)
        wild = not bool((result.detach().abs() < HUGE).all())
        return tame and wild and self.rng.random() < 0.95


KNOWN = {getattr(torch, name) for name in (*FLOATS, *INTEGERS, "bool")}


def overlaps(x: Tensor) -> bool:
    """True if elements may share memory: what a write leaves behind is undefined then."""
    reach = 0
    for stride, size in sorted((st, si) for st, si in zip(x.stride(), x.shape, strict=True) if si > 1):
        if stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata


def fits(x: Tensor, y: Tensor) -> bool:
    try:
        return math.prod(torch.broadcast_shapes(x.shape, y.shape)) <= LARGEST
    except RuntimeError:
        return False


def draw(seed: int) -> Program:
    """The program of a seed."""
    from fuzz.rules import RULES

    rng = random.Random(seed)
    builder = Builder(rng)
    wanted = rng.choice((1, 2, 3, 4, 6, 8, 12)) if rng.random() < 0.9 else rng.randint(12, 40)
    rules, weights = zip(*RULES, strict=True)
    for _ in range(20 * wanted):
        rng.choices(rules, weights)[0](builder)
        if len(builder.steps) >= wanted:
            break
    return finished(builder)


def finished(builder: Builder) -> Program:
    """The builder's program with some of its values as outputs; without gradients if eager has none."""
    rng = builder.rng
    read = {name for step in builder.steps for name in step.operands}
    results = [step.name for step in builder.steps]
    outputs = [name for name in results if name not in read or rng.random() < 0.15]
    if rng.random() < 0.05:
        outputs += [rng.choice(outputs)]
    needed = read | set(outputs)
    inputs = tuple(i for i in builder.inputs if i.name in needed)
    program = Program(inputs, tuple(builder.steps), tuple(outputs), rng.random() < 0.08)
    if program.runs():
        return program
    return replace(program, inputs=tuple(replace(i, grad=False) for i in inputs))
