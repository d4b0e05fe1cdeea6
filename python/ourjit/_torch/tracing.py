"""Traces of operators: rules, strides, symbolic numbers, fake tensors."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import sympy  # type: ignore[import-untyped]
import torch


def memory_format_of(x: torch.Tensor) -> torch.memory_format:
    """The one that ATen's operators give to results for an operand with the strides of `x`."""
    return torch._prims_common.suggest_memory_format(x)


def is_dense(x: torch.Tensor) -> bool:
    """True for a tensor without gaps and without elements that share memory."""
    return bool(torch._prims_common.is_non_overlapping_and_dense_or_false(x))


def common_dtype(*operands: torch.Tensor) -> torch.dtype:
    """The one that operands are converted to where they meet in an elementwise operator."""
    kind = torch._prims_common.ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT
    found: torch.dtype = torch._prims_common.elementwise_dtypes(*operands, type_promotion_kind=kind)[1]
    return found


def is_negative(number: Any) -> bool:
    """True for a symbolic int that is negative, False for one that is not; from now on, guards keep it so.

    A number that data decide is taken for positive: its uses ask for its sign themselves.
    """
    return isinstance(number, torch.SymInt) and number.node.has_hint() and bool(number < 0)


def is_one_by_guards(size: torch.SymInt) -> bool | None:
    """Whether a size is 1 wherever the guards hold, among them, from now on, that a size which is 1 now stays so.

    None if it is not 1 for the traced inputs; False if it is and no guard can be added any more. A number that data
    decide is never taken for 1.
    """
    node = size.node
    if not node.has_hint() or node.hint != 1:
        return None
    evaluate = getattr(node.shape_env, "_maybe_evaluate_static", None)
    if evaluate is not None and bool(evaluate(sympy.Eq(node.expr, 1))):
        return True
    return not getattr(node.shape_env, "frozen", True) and bool(size == 1)


def guard_count(module: torch.fx.GraphModule) -> int:
    """How many guards the trace of a graph with symbolic inputs has made up to now; 0 without such inputs."""
    for node in module.graph.find_nodes(op="placeholder"):
        value = node.meta.get("val")
        for size in value.shape if isinstance(value, torch.Tensor) else (value,):
            if isinstance(size, torch.SymInt):
                return len(getattr(size.node.shape_env, "guards", ()))
    return 0


def symbolic_expression(value: Any) -> Any:
    """The sympy expression of a SymInt, SymFloat or SymBool; the number itself if it is one."""
    node = getattr(value, "node", None)
    return value if node is None else node.expr


def symbols_of(value: Any) -> frozenset[Any]:
    """The symbols in the expression of a SymInt; a number has none."""
    return frozenset(getattr(symbolic_expression(value), "free_symbols", ()))


def signed_expression(value: Any) -> Any:
    """`symbolic_expression`, where the names of integers tell whether they can be negative.

    Such names begin with u, or u_s where guards can depend on the number; those of sizes and of other integers that are
    known not to be negative do not.
    """
    expression = symbolic_expression(value)
    ranges = getattr(getattr(getattr(value, "node", None), "shape_env", None), "var_to_range", {})
    renamed = {}
    for symbol in getattr(expression, "free_symbols", ()):
        if symbol not in ranges or not symbol.is_integer:
            continue
        signed = bool(ranges[symbol].lower < 0)
        if symbol.name.startswith("u") != signed:
            prefix = "u" if signed else "s"
            renamed[symbol] = sympy.Symbol(f"{prefix}_{symbol.name}", integer=True, nonnegative=not signed or None)
    return expression.xreplace(renamed) if renamed else expression


def can_be_negative(value: Any) -> bool:
    """Whether the ranges of its symbols leave it open that a SymInt is below zero."""
    return bool(value.node.shape_env.bound_sympy(value.node.expr).lower < 0)


def python_rules(overload: Any) -> dict[str, Callable[..., Any]]:
    """What torch has registered in Python for `overload`, by dispatch key."""
    rules = {}
    for key, rule in getattr(overload, "py_kernels", {}).items():
        if isinstance(key, torch._C.DispatchKey):
            rules[key.name] = rule
    return rules


def composite_rule(overload: Any) -> Callable[..., Any] | None:
    """How tracing takes `overload` apart, if torch has registered that."""
    return python_rules(overload).get("CompositeImplicitAutograd")


@contextlib.contextmanager
def traced_by(rules: dict[Any, dict[str, Callable[..., Any] | None]]) -> Iterator[None]:
    """While it lasts, tracing calls these Python rules of overloads, by dispatch key, and not those torch registers.

    None: there is none, so that the C++ kernel runs. Compiling holds Dynamo's lock, so that no other trace sees this.
    """
    kept: list[tuple[Any, dict[Any, Any]]] = []
    try:
        for overload, instead in rules.items():
            if not hasattr(overload, "py_kernels") or not hasattr(overload, "_dispatch_cache"):
                continue
            kept.append((overload, dict(overload.py_kernels)))
            for key, rule in instead.items():
                overload.py_kernels.pop(getattr(torch._C.DispatchKey, key), None)
                if rule is not None:
                    overload.py_kernels[getattr(torch._C.DispatchKey, key)] = rule
            overload._dispatch_cache.clear()
        yield
    finally:
        for overload, registered in kept:
            overload.py_kernels.clear()
            overload.py_kernels.update(registered)
            overload._dispatch_cache.clear()


def each_result(results: Any, change: Callable[[Any], Any]) -> Any:
    """What `change` makes of the result of an operator, or of each of several."""
    if isinstance(results, (tuple, list)):
        return tuple(map(change, results))
    return change(results)


@contextlib.contextmanager
def traced_with_strides(
    rule_of: Callable[[Any, bool], Callable[..., Sequence[Any] | None] | None],
    views_instead_of: Callable[[Any, Sequence[Any]], Sequence[tuple[Any, Sequence[Any]]]],
) -> Iterator[None]:
    """While it lasts, the results of an operator have the strides in tracing that its rule tells, if it has a rule.

    `rule_of` is also told whether the operator stands for the one that writes in place. A rule takes a result, the
    arguments and the keyword arguments; None: it has nothing against the strides. What torch remembers of its traces
    stays as it is. `views_instead_of` tells the views, one of another, that stand for a call: each with its arguments
    behind the operand; none: the call itself. Compiling holds Dynamo's lock, so that no other trace sees this.
    """
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
    from torch._subclasses.functional_tensor import FunctionalTensorMode

    dispatch, make_functional = FakeTensorMode.dispatch, FunctionalTensorMode.__torch_dispatch__
    in_place: list[str] = []  # the names of operators that are being replaced by those that do not write

    def relaid(result: Any, rule: Callable[..., Any], args: Any, keywords: Any, is_view: bool) -> Any:
        if not isinstance(result, FakeTensor) or result.constant is not None or not are_known(result.shape):
            return result
        strides = rule(result, args, keywords)
        if strides is None or tuple(strides) == result.stride():
            return result
        if is_view:
            return result.as_strided(result.shape, strides, result.storage_offset())
        return result.new_empty_strided(result.shape, strides)

    def dispatch_with_strides(
        mode: FakeTensorMode, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        results = dispatch(mode, function, types, args, kwargs or {})
        rule = rule_of(function, bool(in_place) and function.name().partition(".")[0] + "_" == in_place[-1])
        if rule is None:
            return results
        is_view = any(result.alias_info is not None for result in function._schema.returns)
        return each_result(results, lambda result: relaid(result, rule, args, kwargs or {}, is_view))

    def make_functional_with_strides(
        mode: FunctionalTensorMode, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        in_place.append(function.name().partition(".")[0])
        try:
            if views := views_instead_of(function, args):
                result = args[0]
                for view, arguments in views:
                    result = make_functional(mode, view, types, (result, *arguments), {})
                return result
            return make_functional(mode, function, types, args, kwargs)
        finally:
            in_place.pop()

    FakeTensorMode.dispatch = dispatch_with_strides  # type: ignore[method-assign]
    FunctionalTensorMode.__torch_dispatch__ = make_functional_with_strides  # type: ignore[method-assign]
    try:
        yield
    finally:
        FakeTensorMode.dispatch = dispatch  # type: ignore[method-assign]
        FunctionalTensorMode.__torch_dispatch__ = make_functional  # type: ignore[method-assign]


def are_known(sizes: Iterable[Any]) -> bool:
    """False if one of the sizes is a number that only data decide."""
    return all(not isinstance(size, torch.SymInt) or size.node.has_hint() for size in sizes)


def trace_sizes_again(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> None:
    """Sets what the trace of a graph tells of its values, from its traced inputs on.

    Where nodes were merged, one size that data decide had several names.
    """
    from torch._dispatch.python import enable_python_dispatcher
    from torch._subclasses.fake_tensor import FakeTensor
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    values = itertools.chain(inputs, (node.meta.get("val") for node in module.graph.nodes))
    mode = next((value.fake_mode for value in values if isinstance(value, FakeTensor)), None)
    if mode is None:
        return
    takes_constants, mode.allow_non_fake_inputs = mode.allow_non_fake_inputs, True
    try:
        with enable_python_dispatcher():
            FakeTensorProp(module, mode).propagate_dont_convert_inputs(*inputs)
    finally:
        mode.allow_non_fake_inputs = takes_constants


class FakeInputs:
    """Tensors without data, and traces of functions of them."""

    def __init__(self) -> None:
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.symbolic_shapes import ShapeEnv

        self.shapes = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
        self.mode = FakeTensorMode(shape_env=self.shapes)

    def empty(
        self, sizes: Sequence[int], strides: Sequence[int], dtype: torch.dtype, device: torch.device, *, free: bool
    ) -> torch.Tensor:
        """A tensor of these sizes or, where they are `free`, of any; equal free sizes stay equal."""
        from torch._subclasses.fake_tensor import FakeTensor

        meta = torch.empty_strided(sizes, strides, dtype=dtype, device="meta")
        fake = self.mode.from_tensor(meta, static_shapes=not free)
        return FakeTensor(self.mode, fake.to("meta"), device)

    def trace(
        self,
        function: Callable[..., Any],
        inputs: Sequence[torch.Tensor],
        decompositions: dict[Any, Callable[..., Any]] | None = None,
    ) -> torch.fx.GraphModule:
        """The ATen operators that `function(*inputs)` calls."""
        from torch._dispatch.python import enable_python_dispatcher
        from torch.fx.experimental.proxy_tensor import make_fx

        with self.mode, enable_python_dispatcher():
            return make_fx(function, decomposition_table=decompositions)(*inputs)

    def has_guards(self) -> bool:
        """True if a trace holds for some sizes only."""
        return len(self.shapes.guards) > 0


def without_mutation(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one that writes to no tensor; called while it is traced. It may return what it would write to."""
    from torch._subclasses.functional_tensor import dispatch_functionalize

    made: Callable[..., Any] = dispatch_functionalize(function)
    return made


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """While it lasts, torch.compiler.is_compiling() is true in this process."""
    flag = "_is_compiling_flag"
    before = getattr(torch.compiler, flag, None)
    if before is not None:
        setattr(torch.compiler, flag, True)
    try:
        yield
    finally:
        if before is not None:
            setattr(torch.compiler, flag, before)


def depends_on_sizes(number: torch.SymInt) -> bool:
    """True for a number that is computed from sizes, not from the data of tensors alone."""
    of_data = getattr(number.node.shape_env, "unbacked_var_to_val", {})
    return bool(number.node.expr.free_symbols - of_data.keys())


def tracing_gradients(function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """Calls a compiled function; if Dynamo traces it now, it takes torch.autograd.grad into its graphs.

    To write a setting of Dynamo by its name takes microseconds, and a step of training does it each time: where there
    is a variable behind the setting, that is written.
    """
    variable = _variable_of_gradient_tracing()
    if variable is None:
        from torch._dynamo import config

        with config.patch(trace_autograd_ops=True):
            return function(*args, **keywords)
    token = variable.set(True)
    try:
        return function(*args, **keywords)
    finally:
        variable.reset(token)


@functools.cache
def _variable_of_gradient_tracing() -> ContextVar[Any] | None:
    from torch._dynamo import config

    variable = getattr(getattr(config, "_config", {}).get("trace_autograd_ops"), "user_override", None)
    return variable if isinstance(variable, ContextVar) else None


def capture_errors() -> type[Exception]:
    """What Dynamo raises where a function is no single graph, or its backend fails."""
    from torch._dynamo.exc import TorchDynamoException

    found: type[Exception] = TorchDynamoException
    return found
