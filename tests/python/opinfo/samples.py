"""Samples of torch's operator database through ourjit, compared with eager and, where they differ, with aot_eager."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import ourjit
import torch
from check import strides
from fuzz.program import placed
from torch import Tensor
from torch._dynamo.utils import counters, same
from torch.testing._internal import common_methods_invocations
from torch.testing._internal.opinfo.core import OpInfo, SampleInput
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

DTYPES = (
    torch.float32, torch.float64, torch.bfloat16, torch.float16,
    torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64,
)  # fmt: skip

# Some entries reseed in front of each call, which breaks graphs. Here `run` seeds.
common_methods_invocations.wrapper_set_seed = lambda op, *args, **keywords: op(*args, **keywords)

# What these return is not initialised.
UNINITIALISED = {"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"}

# How tensors may lie in memory; see `samples`.
LAYOUTS = ("contiguous", "transposed", "channels_last", "sliced", "padded", "first transposed")

# What `same` allows besides the error that eager itself has against float64.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9, torch.complex64: 1e-5}


@dataclasses.dataclass
class Outcome:
    """What one sample showed.

    status: "same"; "random" (only forms could be compared); "eager raises"; "aot_eager" (it does not give eager's
    result either); "wrong" (another result); "error" (an exception where eager gives none).
    """

    status: str
    detail: str = ""
    fallbacks: dict[str, str] = dataclasses.field(default_factory=dict)  # target or "graph": reason
    library: list[str] = dataclasses.field(default_factory=list)  # targets
    breaks: list[str] = dataclasses.field(default_factory=list)  # reasons

    @property
    def failed(self) -> bool:
        return self.status in ("wrong", "error")


def entry_name(op: OpInfo) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name


def database() -> dict[str, OpInfo]:
    return {entry_name(op): op for op in common_methods_invocations.op_db}


def relaid(x: Any, layout: str) -> Any:
    """A tensor with the same values in a layout of the fuzzer."""
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.is_quantized or layout == "contiguous":
        return x
    strides, offset, elements = placed(tuple(x.shape), layout)
    y = torch.empty(elements, dtype=x.dtype, device=x.device).as_strided(x.shape, strides, offset)
    return y.copy_(x.detach()).requires_grad_(x.requires_grad)


def samples(op: OpInfo, dtype: torch.dtype, limit: int | None, layout: str = "contiguous") -> Iterator[SampleInput]:
    """The first `limit` samples (None: all) on the default device, drawn from a fixed seed.

    Tensors lie in memory in a layout of the fuzzer; "first transposed": the first of a sample does, and no other.
    """
    device = torch.get_default_device().type
    wants_grad = op.supports_autograd and dtype in op.supported_backward_dtypes(device)
    torch.manual_seed(0)
    for sample in itertools.islice(op.sample_inputs(device, dtype, requires_grad=wants_grad), limit):
        first = itertools.chain(["transposed"], itertools.repeat("contiguous"))
        layouts = first if layout == "first transposed" else itertools.repeat(layout)

        def place(x: Any, layouts: Iterator[str] = layouts) -> Any:
            return relaid(x, next(layouts)) if isinstance(x, Tensor) else x

        sample.input, sample.args, sample.kwargs = tree_map(place, (sample.input, sample.args, sample.kwargs))
        yield sample


def _fresh(x: Any, exact: bool) -> Any:
    """A leaf with the same values, strides and offset; `exact`: in float64 or complex128."""
    if not isinstance(x, Tensor):
        return torch.float64 if exact and isinstance(x, torch.dtype) and x.is_floating_point else x
    base = x.detach()
    if x.layout == torch.strided and not x.is_quantized and x.numel():
        extent = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True)) + 1
        memory = base.as_strided((base.storage_offset() + extent,), (1,), 0).clone()
        copy = memory.as_strided(base.shape, base.stride(), base.storage_offset())
    else:
        copy = base.clone()
    if exact and copy.dtype.is_floating_point:
        copy = copy.to(torch.float64)
    elif exact and copy.is_complex():
        copy = copy.to(torch.complex128)
    return copy.requires_grad_(x.requires_grad)


def _tangent(t: Tensor, seed: int) -> Tensor:
    """The same numbers, whatever the dtype of `t`: those of bf16 are numbers of all."""
    generator = torch.Generator("cpu").manual_seed(seed)
    values = torch.randn((2, *t.shape), generator=generator, dtype=torch.float64, device="cpu")
    if t.is_complex():
        return torch.complex(values[0], values[1]).to(t)
    return values[0].to(torch.bfloat16).to(t)


Result = tuple[Any, list[Any], list[Any]]


def run(call: Callable[..., Any], op: OpInfo, sample: SampleInput, exact: bool = False, seed: int = 0) -> Result:
    """(outputs, gradients, inputs after the call) of one call on fresh inputs."""
    given = (sample.input, sample.args, sample.kwargs)
    tensors = tree_map(lambda x: _fresh(x, exact), given)
    torch.manual_seed(seed)
    outputs = call(tensors[0], *tensors[1], **tensors[2])
    inputs = [t for t in tree_leaves(tensors) if isinstance(t, Tensor)]
    leaves = [t for t in inputs if t.requires_grad]
    if not leaves or not op.supports_autograd:
        return outputs, [], inputs
    roots = [t for t in tree_leaves(sample.output_process_fn_grad(outputs)) if isinstance(t, Tensor)]
    roots = [t for t in roots if t.requires_grad and t.layout == torch.strided]
    if not roots:
        return outputs, [], inputs
    tangents = [_tangent(t, i) for i, t in enumerate(roots)]
    return outputs, list(torch.autograd.grad(roots, leaves, tangents, allow_unused=True)), inputs


def _value_differs(a: Tensor, b: Tensor, exact: Any) -> str | None:
    try:
        torch.testing.assert_close(b, a, equal_nan=True)
        return None
    except AssertionError as error:
        message = " ".join(str(error).split())[:300]
    if not isinstance(exact, Tensor) or exact.shape != a.shape or exact.is_complex() != a.is_complex():
        return message
    tol = TOLERANCE.get(a.dtype, 1e-3)
    if a.is_complex():
        a, b, exact = torch.view_as_real(a), torch.view_as_real(b), torch.view_as_real(exact.detach())
    if a.dtype.is_floating_point and same(
        a, b, exact.detach(), tol=tol, equal_nan=True, use_larger_multiplier_for_smaller_tensor=True
    ):
        return None
    return message


def _differs(a: Any, b: Any, exact: Any, values: bool, layout: bool) -> str | None:
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        equal = type(a) is type(b) and (not values or repr(a) == repr(b))
        return None if equal else f"{b!r} instead of {a!r}"
    if (a.dtype, a.shape, a.layout) != (b.dtype, b.shape, b.layout):
        return f"{b.dtype} {list(b.shape)} instead of {a.dtype} {list(a.shape)}"
    if layout and a.layout == torch.strided and strides(a) != strides(b):
        return f"strides {b.stride()} instead of {a.stride()}"
    return _value_differs(a.detach(), b.detach(), exact) if values else None


def difference(expected: Result, got: Result, exact: Result | None = None, values: bool = True) -> str | None:
    """Why two results are not the same, or None. Strides of outputs count; those of gradients are nobody's business."""
    for k, what in enumerate(("output", "gradient", "input")):
        (a, form), (b, other) = tree_flatten(expected[k]), tree_flatten(got[k])
        if form != other:
            return f"{what}: {other} instead of {form}"
        c = tree_leaves(exact[k]) if exact is not None else []
        c = c if len(c) == len(a) else [None] * len(a)
        for i, (x, y, z) in enumerate(zip(a, b, c, strict=True)):
            message = _differs(x, y, z, values, what == "output")
            if message:
                return f"{what} {i}: {message}"
    return None


def _raised(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return call(), None
    except Exception as error:
        return None, error


def _compiled(op: OpInfo, backend: str, dynamic: bool | None) -> Callable[..., Any]:
    torch._dynamo.reset()

    def call(*args: Any, **kwargs: Any) -> Any:
        return op.op(*args, **kwargs)

    return torch.compile(call, backend=backend, dynamic=dynamic)


def _unlike(op: OpInfo, sample: SampleInput, expected: Result, got: Result) -> str | None:
    """Why `got` is another result than eager's, by what float64 gives where that is near."""
    values = op.name not in UNINITIALISED
    message = difference(expected, got, values=values)
    if message is None:
        return None
    exact, failed = _raised(lambda: run(op.op, op, sample, exact=True))
    return message if failed is not None else difference(expected, got, exact, values)


def check(op: OpInfo, sample: SampleInput, dynamic: bool | None = None) -> Outcome:
    """Runs one sample in eager and compiled."""
    expected, refused = _raised(lambda: run(op.op, op, sample))
    if refused is not None:
        return Outcome("eager raises", str(refused)[:200])
    ourjit.reset()
    counters.clear()
    got, error = _raised(lambda: run(_compiled(op, "ourjit", dynamic), op, sample))
    stats = ourjit.stats()
    outcome = Outcome(
        "same",
        fallbacks={target: found["reason"] for target, found in stats["fallbacks"].items()},
        library=sorted(stats["library_calls"]),
        breaks=[str(reason).splitlines()[0] for reason in counters["graph_break"]],
    )
    message = f"{type(error).__name__}: {error}"[:600] if error is not None else _unlike(op, sample, expected, got)
    if message is None:
        return outcome
    outcome.detail = message
    # Several seeds: two may give the same, where few places can be chosen.
    others = [_raised(lambda seed=seed: run(op.op, op, sample, seed=seed))[0] for seed in range(1, 6)]
    random = any(again is not None and difference(expected, again) is not None for again in others)
    if error is None and random and difference(expected, got, values=False) is None:
        outcome.status = "random"
        return outcome
    reference, failed = _raised(lambda: run(_compiled(op, "aot_eager", dynamic), op, sample))
    of_strides = error is None and ": strides " in message  # these are to be eager's in any case
    if not of_strides and (failed is not None or _unlike(op, sample, expected, reference) is not None):
        outcome.status = "aot_eager"
    else:
        outcome.status = "wrong" if error is None else "error"
    return outcome


def all_same(op: OpInfo, drawn: list[SampleInput], dynamic: bool | None = None) -> bool:
    """Whether all these samples, compiled as one function, give eager's results: one compilation instead of many."""

    def each(calls: list[tuple[Any, ...]]) -> list[Any]:
        return [op.op(first, *args, **keywords) for first, args, keywords in calls]

    def processed(outputs: list[Any]) -> list[Any]:
        return [s.output_process_fn_grad(output) for s, output in zip(drawn, outputs, strict=True)]

    every: Any = SimpleNamespace(name=op.name, op=each, supports_autograd=op.supports_autograd)
    calls = [(s.input, s.args, s.kwargs) for s in drawn]
    sample: Any = SimpleNamespace(input=calls, args=(), kwargs={}, output_process_fn_grad=processed)
    expected, refused = _raised(lambda: run(each, every, sample))
    if refused is not None:
        return False
    got, error = _raised(lambda: run(_compiled(every, "ourjit", dynamic), every, sample))
    return error is None and _unlike(every, sample, expected, got) is None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """One thread, no warnings and log lines, and no error that becomes eager."""
    loggers = [logging.getLogger(name) for name in ("ourjit", "torch")]
    levels, threads = [logger.level for logger in loggers], torch.get_num_threads()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings(action="ignore"), torch._dynamo.config.patch(suppress_errors=False):
            yield
    finally:
        torch.set_num_threads(threads)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
