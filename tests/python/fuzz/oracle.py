"""Compares a compiled program with eager: what differs and is not explained by rounding is a failure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import ourjit
import torch
from check import assert_no_fallbacks, run_function, strides
from ourjit import _gpu, backend
from torch import Tensor

from fuzz.program import Program, storage_of

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
NOISY_RUNS = 6

Named = list[tuple[str, Tensor | None]]


@dataclass(frozen=True)
class Failure:
    """`kind` is equal for failures that are probably the same bug."""

    kind: str
    detail: str
    excuse: str = ""
    """Why it is no bug of ours; empty if nothing says so."""


def results(fn: Callable[..., Any], args: tuple[Tensor, ...]) -> Named:
    """Outputs, gradients, and all memory of the inputs after the call."""
    outputs, gradients = run_function(fn, args)
    found: Named = [(f"output {i}", x) for i, x in enumerate(outputs)]
    found += [(f"gradient {i}", x) for i, x in enumerate(gradients)]
    return found + [(f"input {i} after the call", storage_of(x)) for i, x in enumerate(args)]


def compiled(program: Program, target: str, direct: bool, **more: Any) -> Callable[..., Any]:
    """The program through torch.compile; `direct`: through AOTAutograd and the compiler, without Dynamo."""
    options = {"strict": True, **({"target": target} if target else {}), **more}
    if direct and not program.dynamic:
        return captured(program, options)
    return torch.compile(program.function(), backend="ourjit", options=options, fullgraph=True, dynamic=program.dynamic)


def captured(program: Program, options: dict[str, Any]) -> Callable[..., Any]:
    graph = torch.fx.Graph()
    values = {i.name: graph.placeholder(i.name) for i in program.inputs}
    for step in program.steps:
        values[step.name] = graph.call_function(step.function(), tuple(values[name] for name in step.operands))
    graph.output(tuple(values[name] for name in program.outputs))
    module = torch.fx.GraphModule(torch.nn.Module(), graph)

    def run(*args: Tensor) -> Any:
        from torch._guards import TracingContext, tracing
        from torch._subclasses import FakeTensorMode

        mode = FakeTensorMode()
        with tracing(TracingContext(mode)):
            fn = backend.session(_gpu.with_target(options, args)).capture(module, args)
        return fn(*args)

    return run


def check(program: Program, target: str = "", direct: bool = False) -> Failure | None:
    """None if the compiled program does what eager does."""
    torch.compiler.reset()
    ourjit.reset()
    failure = first_difference(program, compiled(program, target, direct))
    return failure and replace(failure, excuse=excuse(program, failure, target, direct))


def excuse(program: Program, failure: Failure, target: str, direct: bool) -> str:
    """Strides are to be eager's in any case, and errors that only a bug of ours raises have no excuse."""
    if failure.kind.startswith(("InternalError", "output strides")):
        return ""
    uncompiled = first_difference(program, of_torch(program, "aot_eager"), layout=False)
    if uncompiled is not None:
        reference = of_torch(program, "aot_eager")
        torch.compiler.reset()
        ours = compiled(program, target, direct)
        if raised(uncompiled) or first_difference(program, ours, layout=False, reference=reference) is None:
            return f"aot_eager does not do what eager does either: {uncompiled.kind}"
    if failure.kind.endswith(" values") and has_halves(program):
        torch.compiler.reset()
        if first_difference(program, compiled(program, target, direct, exact_rounding=True)) is None:
            return "rounded later than in eager, as documented"
    # Which of NaN and infinity comes out of operators with infinite operands depends on the form of their formula.
    if re.search(r"(nan|inf) instead of -?(nan|inf);", failure.detail):
        decomposed = first_difference(program, of_torch(program, "aot_eager_decomp_partition"), layout=False)
        if decomposed is not None and decomposed.detail == failure.detail:
            return "not finite in another way than in eager, as by torch's own decompositions"
    return ""


def of_torch(program: Program, backend: str) -> Callable[..., Any]:
    """The program through a backend of torch that generates no code."""
    torch.compiler.reset()
    return torch.compile(program.function(), backend=backend, fullgraph=True, dynamic=program.dynamic)


def has_halves(program: Program) -> bool:
    """Whether 16-bit floats occur, among inputs or by a cast."""
    return any("float16" in text for text in (program.source(), *(i.dtype for i in program.inputs)))


def first_difference(
    program: Program, fn: Callable[..., Any], layout: bool = True, reference: Callable[..., Any] | None = None
) -> Failure | None:
    """From eager, or from `reference`; of one call, and of another with one size changed if sizes are dynamic.

    Without `layout` strides may differ.
    """
    reference = reference or program.function()
    failure = difference(program, fn, results(reference, program.make_inputs()), layout)
    other = resized(program) if program.dynamic and failure is None else None
    if other is not None and other.runs():
        failure = difference(other, fn, results(reference, other.make_inputs()), layout)
    return failure


def resized(program: Program) -> Program | None:
    """The program for inputs of which one size, the largest, is one more."""
    largest = max((size for i in program.inputs for size in i.shape), default=0)
    if largest < 2:
        return None
    inputs = [replace(i, shape=tuple(s + (s == largest) for s in i.shape)) for i in program.inputs]
    return replace(program, inputs=tuple(inputs))


def difference(program: Program, fn: Callable[..., Any], expected: Named, layout: bool) -> Failure | None:
    try:
        got = results(fn, program.make_inputs())
        assert_no_fallbacks()
    except Exception as error:
        return refused(error)
    names = [what for what, _ in expected]
    if names != [what for what, _ in got]:
        return Failure("other results", f"{[what for what, _ in got]} instead of {names}")
    noise: list[dict[str, Tensor | None]] = []
    roundings: dict[str, float] | None = None
    for (what, a), (_, b) in zip(expected, got, strict=True):
        found = form_difference(what, a, b)
        if found is not None and (layout or found.kind != "output strides"):
            return found
        if a is None or b is None or bool(close(a, b, tolerance(program, what, a)).all()):
            continue
        noise = noise or [dict(named) for named in noisy_results(program)]
        roundings = rounding_tolerances(program) if roundings is None else roundings
        allowed = max(tolerance(program, what, a), roundings.get(what, 0.0))
        left = ~explained(a.detach(), b.detach(), [run.get(what) for run in noise], allowed)
        if bool(left.any()):
            at = tuple(left.nonzero()[0].tolist())
            numbers = f"{b[at].item()} instead of {a[at].item()}"
            text = f"{what} at {list(at)}: {numbers}; {int(left.sum())} of {left.numel()} differ"
            return Failure(f"{kind_of(what)} values", text)
    return None


def kind_of(what: str) -> str:
    return re.sub(r" [0-9]+", "", what)


def form_difference(what: str, a: Tensor | None, b: Tensor | None) -> Failure | None:
    """Of everything but the elements."""
    kind = kind_of(what)
    if a is None or b is None:
        return None if a is b else Failure(f"{kind} is None", f"{what}: {b} instead of {a}")
    form, wanted = (b.dtype, b.shape), (a.dtype, a.shape)
    if form != wanted:
        return Failure(f"{kind} form", f"{what}: {form} instead of {wanted}")
    if kind == "output" and strides(a) != strides(b):
        return Failure(f"{kind} strides", f"{what}: strides {b.stride()} instead of {a.stride()}")
    return None


def tolerance(program: Program, what: str, x: Tensor) -> float:
    """That of the dtype; gradients may come through any dtype of the program."""
    text = program.source() + " ".join(f"torch.{i.dtype}" for i in program.inputs)
    others = [tol for dtype, tol in TOLERANCE.items() if what.startswith("gradient") and str(dtype) in text]
    return max([TOLERANCE.get(x.dtype, 0.0), *others])


def rounding_tolerances(program: Program) -> dict[str, float]:
    """By output, and by input after the call: that of the narrowest dtype in which a step on the way to it rounds."""
    args = program.make_inputs()
    values = dict(zip((i.name for i in program.inputs), args, strict=True))
    found: dict[int, float] = {}  # by storage

    def of(x: Tensor) -> float:
        return found.get(x.untyped_storage().data_ptr(), 0.0)

    with torch.no_grad():
        for step in program.steps:
            operands = [values[name] for name in step.operands]
            before = max(map(of, operands), default=0.0)
            result = values[step.name] = step.function()(*operands)
            if result.dtype.is_floating_point:
                own = TOLERANCE[result.dtype] if step.rounds else 0.0
                found[result.untyped_storage().data_ptr()] = max(of(result), before, own)
    tolerances = {f"output {i}": of(values[name]) for i, name in enumerate(program.outputs)}
    return tolerances | {f"input {i} after the call": of(x) for i, x in enumerate(args)}


def refused(error: Exception) -> Failure:
    """The failure to compile or run."""
    error = getattr(error, "inner_exception", error)
    text = re.sub(r"[0-9]+", "0", " ".join(str(error).split()))
    return Failure(f"{type(error).__name__}: {text[:160]}", str(error)[:2000])


def raised(failure: Failure) -> bool:
    return re.match(r"\w+: ", failure.kind) is not None


def close(a: Tensor, b: Tensor, tol: float) -> Tensor:
    if not a.dtype.is_floating_point:
        return a == b
    return torch.isclose(b.detach(), a.detach(), rtol=tol, atol=tol, equal_nan=True)


def explained(a: Tensor, b: Tensor, others: list[Tensor | None], tol: float) -> Tensor:
    """Where `b` is close to eager's `a`, or runs with other roundings are as far from `a` as `b` is."""
    found = close(a, b, tol)
    if not a.dtype.is_floating_point:
        return found
    a, b = a.double(), b.double()
    spread = torch.zeros_like(a)
    for other in others:
        if other is None or other.shape != a.shape:
            continue
        x = other.detach().double()
        jump = (x.isfinite() != a.isfinite()) | (x.isnan() != a.isnan())
        found |= jump | close(x, b, tol)
        spread = torch.maximum(spread, (x - a).abs().nan_to_num(0.0, 0.0, 0.0))
    return found | ((b - a).abs() <= 10 * spread)


@contextlib.contextmanager
def floats(dtype: torch.dtype) -> Iterator[None]:
    """The dtype of what operators make of integers."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def noisy_results(program: Program) -> list[Named]:
    """The results in fp64, and in runs that change operands and results of steps that round by about an ulp."""
    found = []
    for run in range(NOISY_RUNS + 1):
        wide = run == 0
        with contextlib.suppress(RuntimeError), floats(torch.float64 if wide else torch.float32):
            args = program.make_inputs(wide)
            found.append(results(Interpreter(program, wide, run), args))
    return found


class Interpreter:
    """Runs a program step by step; with noise unless run is 0."""

    def __init__(self, program: Program, wide: bool, run: int) -> None:
        self.program, self.wide = program, wide
        self.generator = torch.Generator("cpu").manual_seed(run) if run else None
        self.values: dict[str, Tensor] = {}

    def __call__(self, *args: Tensor) -> tuple[Tensor, ...]:
        values = self.values = dict(zip((i.name for i in self.program.inputs), args, strict=True))
        for step in self.program.steps:
            operands = [values[name] for name in step.operands]
            if step.rounds:
                operands = [x if step.in_place and i == 0 else self.noisy(x) for i, x in enumerate(operands)]
            result = step.function(self.wide)(*operands)
            if step.rounds and step.in_place:
                result.data.copy_(self.noisy(result.data))  # behind autograd's back
            values[step.name] = self.noisy(result) if step.rounds and not step.in_place else result
        return tuple(values[name] for name in self.program.outputs)

    def noisy(self, x: Tensor) -> Tensor:
        if self.generator is None or not x.dtype.is_floating_point:
            return x
        ulp = torch.finfo(x.dtype).eps
        noise = torch.rand(x.shape, generator=self.generator, dtype=torch.float64) * 2 - 1
        return (x.double() * (1 + ulp * noise)).to(x.dtype)
