"""Makes a failing program small: tries simpler programs one after the other, and keeps those that fail alike."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor

from fuzz.generate import draw
from fuzz.oracle import Failure, Interpreter, check
from fuzz.program import LAYOUTS, MARGIN, Input, Program, Step, storage_of

Fails = Callable[[Program], bool]


def shrink(program: Program, fails: Fails, seconds: float = 60) -> Program:
    """A smaller program that `fails` too."""
    end = time.monotonic() + seconds
    found = True
    while found:
        found = False
        for candidate in simpler(program):
            if time.monotonic() > end:
                return program
            if candidate != program and candidate.runs() and fails(candidate):
                program, found = candidate, True
                break
    return program


def simpler(program: Program) -> Iterator[Program]:
    """Programs that are simpler by one change, those that save most first."""
    outputs = program.outputs
    for half in (outputs[: len(outputs) // 2], outputs[len(outputs) // 2 :]) if len(outputs) > 2 else ():
        yield trimmed(replace(program, outputs=half))
    for i in range(len(outputs) if len(outputs) > 1 else 0):
        yield trimmed(replace(program, outputs=outputs[:i] + outputs[i + 1 :]))
    yield trimmed(program)
    for step in reversed(program.steps):
        if len(program.steps) > 1:
            yield from without(program, step)
    if program.dynamic:
        yield replace(program, dynamic=False)
    for size in sorted({size for i in program.inputs for size in i.shape if size > 1}, reverse=True):
        for smaller in (1, 2, size // 2, size - 1):
            if smaller < size:
                yield from resized(program, size, smaller)
    for i, old in enumerate(program.inputs):
        for new in simpler_inputs(old):
            yield replace(program, inputs=(*program.inputs[:i], new, *program.inputs[i + 1 :]))


def trimmed(program: Program) -> Program:
    """The program without inputs and steps that no output needs; steps that write in place stay."""
    needed = set(program.outputs)
    steps: list[Step] = []
    for step in reversed(program.steps):
        if step.name in needed or step.in_place:
            needed |= set(step.operands)
            steps.append(step)
    inputs = tuple(i for i in program.inputs if i.name in needed)
    return replace(program, inputs=inputs, steps=tuple(reversed(steps)))


def without(program: Program, step: Step) -> Iterator[Program]:
    """The program without one step: an operand, or a new input like the result, stands for what it computed."""
    values = eager_values(program)
    result = values[step.name]
    rest = tuple(s for s in program.steps if s is not step)
    alike = [n for n in step.operands if (values[n].shape, values[n].dtype) == (result.shape, result.dtype)]
    for name in alike:
        yield trimmed(renamed(replace(program, steps=rest), step.name, name))
    dtype = str(result.dtype)[6:]
    new = Input(f"{step.name}_in", tuple(result.shape), dtype, grad=result.requires_grad)
    yield trimmed(renamed(replace(program, steps=rest, inputs=(*program.inputs, new)), step.name, new.name))


def renamed(program: Program, old: str, new: str) -> Program:
    def name(text: str) -> str:
        return new if text == old else text

    steps = tuple(replace(s, operands=tuple(map(name, s.operands))) for s in program.steps)
    return replace(program, steps=steps, outputs=tuple(map(name, program.outputs)))


def eager_values(program: Program) -> dict[str, Tensor]:
    run = Interpreter(program, wide=False, run=0)
    run(*program.make_inputs())
    return run.values


def resized(program: Program, size: int, smaller: int) -> Iterator[Program]:
    """The program with another size in all inputs: also where the code names it, and not."""
    inputs = tuple(replace(i, shape=tuple(smaller if s == size else s for s in i.shape)) for i in program.inputs)
    steps = tuple(
        replace(s, code=re.sub(rf"(?<![\w.{{]){size}(?![\w.}}])", str(smaller), s.code)) for s in program.steps
    )
    yield replace(program, inputs=inputs, steps=steps)
    yield replace(program, inputs=inputs)
    for i, old in enumerate(inputs):
        yield replace(program, inputs=(*program.inputs[:i], old, *program.inputs[i + 1 :]))


def simpler_inputs(x: Input) -> Iterator[Input]:
    if x.layout != "contiguous":
        yield replace(x, layout="contiguous")
        yield from (replace(x, layout=name) for name in list(LAYOUTS)[1 : list(LAYOUTS).index(x.layout)])
    if x.grad:
        yield replace(x, grad=False)
    if x.fill == "special":
        yield replace(x, fill="normal")
    if x.fill == "normal":
        yield replace(x, fill="ones")
    if x.dtype in ("float64", "float16", "bfloat16"):
        yield replace(x, dtype="float32")


SCRIPT = """\
import torch
import torch.nn.functional as F
from torch import inf, nan

{source}

def inputs():
    return [
{inputs}
    ]

eager, jit = inputs(), inputs()
expected = program(*eager)
got = torch.compile(program, backend="ourjit", options={options}, fullgraph=True, dynamic={dynamic})(*jit)
for a, b in zip((*expected, *eager), (*got, *jit)):
    print(a.stride(), b.stride(), torch.equal(a, b), a, b, sep="\\n")
"""

GRADIENTS = """\
for outputs, leaves in ((expected, eager), (got, jit)):
    outputs, leaves = ([x for x in some if x.requires_grad] for some in (outputs, leaves))
    tangents = [
        torch.randn(x.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64).to(x)
        for i, x in enumerate(outputs)
    ]
    print(torch.autograd.grad(outputs, leaves, tangents, allow_unused=True))
"""


def script(program: Program, target: str = "") -> str:
    """A Python script that shows what the program does, compiled and not."""
    options = {"strict": True, **({"target": target} if target else {})}
    lines = []
    for made in (i.make() for i in program.inputs):
        values = f"torch.tensor({storage_of(made)[:-MARGIN].tolist()}, dtype={made.dtype})"
        view = f".as_strided({tuple(made.shape)}, {made.stride()}, {made.storage_offset()})"
        lines.append(f"        {values}{view}{'.requires_grad_()' if made.requires_grad else ''},")
    text = SCRIPT.format(
        source=program.source(), inputs="\n".join(lines), options=options, dynamic=program.dynamic or None
    )
    return text + GRADIENTS if any(i.grad for i in program.inputs) else text


def report(seed: int, failure: Failure, target: str = "", direct: bool = False, seconds: float = 30) -> str:
    """The failing program of a seed as a small script."""

    def fails(program: Program) -> bool:
        found = check(program, target, direct)
        return found is not None and found.kind == failure.kind

    program = shrink(draw(seed), fails, seconds)
    smaller = check(program, target, direct) or failure
    return f"# seed {seed}: {smaller.kind}\n# {smaller.detail.splitlines()[0]}\n{script(program, target)}"
