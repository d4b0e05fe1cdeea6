"""Every private name of torch that ourjit uses, in one place.

Each is looked up when it is first needed, and probed where a release may lack it, so that `import ourjit` stays
light and another torch release is checked against this file alone.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import re
import stat
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import sympy  # type: ignore[import-untyped]
import torch

TORCH_FOLDER = torch.__file__.rpartition("/")[0]


def aot_autograd(**keywords: Any) -> Callable[..., Any]:
    """What traces an FX module with its inputs, partitions it and compiles it, as torch's `AotAutograd` does.

    But that imports Inductor's code generators, a third of a second, for logs that it then does not write unless
    TORCH_COMPILE_DEBUG asks for them; and it wraps what the backward compiler returns in two Python functions, a cost
    at each call that a C++ executable does not need.
    """
    from torch._dynamo.exc import TensorifyScalarRestartAnalysis
    from torch._dynamo.utils import counters, flatten_graph_inputs
    from torch._functorch.aot_autograd import aot_module_simplified

    def trace(module: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        if any(isinstance(x, (list, tuple, dict)) for x in inputs):
            return flatten_graph_inputs(module, inputs, trace)
        count = counters["aot_autograd"]
        count["total"] += 1
        try:
            with _aot_logs():
                compiled = aot_module_simplified(module, inputs, **keywords)
        except TensorifyScalarRestartAnalysis:
            raise
        except Exception:
            count["not_ok"] += 1
            raise
        count["ok"] += 1
        return torch.compiler.disable(compiled, reason="what AOTAutograd made of a graph")

    return trace


def _aot_logs() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, AOTAutograd writes the logs that TORCH_COMPILE_DEBUG asks for."""
    if os.environ.get("TORCH_COMPILE_DEBUG", "0") != "1":
        return contextlib.nullcontext()
    from torch._inductor.debug import enable_aot_logging

    logs: contextlib.AbstractContextManager[Any] = enable_aot_logging()
    return logs


def spare_imports() -> None:
    """Has Dynamo trace optimizers without importing Inductor, which it does to ask whether CUDA graphs hold a gradient.

    That takes half a second and more. Where Inductor's CUDA graphs were never imported, none of them holds anything.
    Does nothing where Dynamo is not imported yet: torch.compile imports it first.
    """
    optimizer: Any = sys.modules.get("torch._dynamo.variables.optimizer")
    ask = getattr(optimizer, "_is_static_for_cudagraphs", None)
    address_type = getattr(sys.modules.get("torch._dynamo.utils"), "get_static_address_type", None)
    if ask is None or address_type is None or hasattr(ask, "__wrapped__"):
        return

    @functools.wraps(ask)
    def is_static(x: torch.Tensor) -> bool:
        if "torch._inductor.cudagraph_trees" in sys.modules:
            return bool(ask(x))
        return not x.is_cuda or address_type(x) is not None

    optimizer._is_static_for_cudagraphs = is_static


def min_cut_partition(prepare: Callable[[torch.fx.Graph], None]) -> Callable[..., Any]:
    """AOTAutograd's min-cut partition of a joint graph, after `prepare`.

    Its own merging of equal nodes is switched off: that imports all of Inductor, half a second and 20 MB. So is
    torch's memory budget where there are seeds of random numbers: it would draw them again in the backward.
    """
    from torch._functorch import config
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    def partition(joint_module: torch.fx.GraphModule, joint_inputs: Any, **keywords: Any) -> Any:
        prepare(joint_module.graph)
        settings: dict[str, Any] = {"cse": False}
        if any(str(node.target) == "ourjit.rng_seed.default" for node in joint_module.graph.nodes):
            settings["activation_memory_budget"] = 1.0
        with config.patch({name: value for name, value in settings.items() if hasattr(config, name)}):
            return min_cut_rematerialization_partition(joint_module, joint_inputs, **keywords)

    return partition


def decompositions_by_name(names: Iterable[str]) -> dict[Any, Callable[..., Any]]:
    """Torch's own decompositions of overloads such as "aten.addr.default"; names that torch lacks are skipped."""
    from torch._decomp import global_decomposition_table

    table = global_decomposition_table["post_autograd"]
    found = {}
    for name in names:
        overload = find_overload(name)
        if overload is not None and overload in table:
            found[overload] = unless_data_dependent(table[overload])
    return found


@functools.cache
def unless_data_dependent(decomposition: Callable[..., Any]) -> Callable[..., Any]:
    """`decomposition`, but an operator whose sizes only the data tells stays whole where they decide its parts."""
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    @functools.wraps(decomposition)
    def decompose(*args: Any, **keywords: Any) -> Any:
        try:
            return decomposition(*args, **keywords)
        except GuardOnDataDependentSymNode:
            return NotImplemented

    return decompose


def find_overload(name: str) -> Any | None:
    """The operator overload named "namespace.operator.overload", or None."""
    namespace, operator, overload = name.split(".")
    packet = getattr(getattr(torch.ops, namespace), operator, None)
    return getattr(packet, overload, None) if packet is not None else None


def hidden_from_dynamo(compiler: Callable[..., Any]) -> Callable[..., Any]:
    """A compiler that is called while a program runs, when its first backward does."""
    hidden: Callable[..., Any] = torch.compiler.disable(compiler, reason="ourjit's backward compiler")
    return hidden


_KEYS = {
    name: getattr(torch._C, f"_dispatch_tls_local_{name}_set")()
    for name in ("include", "exclude")
    if hasattr(torch._C, f"_dispatch_tls_local_{name}_set")
}


def as_user_code() -> contextlib.AbstractContextManager[Any]:
    """Operators dispatch as where users call them, though the caller is an operator itself."""
    guard = getattr(torch._C, "_ForceDispatchKeyGuard", None)
    return contextlib.nullcontext() if guard is None else guard(_KEYS["include"], _KEYS["exclude"])


def is_with_effects(target: Any) -> bool:
    """True for the higher-order operator that orders calls with effects by tokens."""
    return target is getattr(torch.ops.higher_order, "with_effects", None)


def takes_one_list(function: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    """`function`, marked for AOTAutograd as one that takes its arguments in a list, which it may empty."""
    function._boxed_call = True  # type: ignore[attr-defined]
    return function


def without_tokens(compiled: Callable[[list[Any]], Any], tokens: int) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller with so many tokens of effects in front of the inputs and the outputs."""
    if tokens == 0:
        return compiled

    def run(inputs: list[Any]) -> Any:
        del inputs[:tokens]
        return [*(None,) * tokens, *compiled(inputs)]

    return takes_one_list(run)


def moved(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """The tensor on `device`; the caller may be tracing."""
    from torch.utils._python_dispatch import _disable_current_modes

    with _disable_current_modes():
        return tensor.detach().to(device)


def with_host_outputs(compiled: Callable[[list[Any]], Any], positions: Sequence[int]) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller who expects these outputs on the CPU."""
    if not positions:
        return compiled

    def run(inputs: list[Any]) -> Any:
        outputs = list(compiled(inputs))
        for i in positions:
            outputs[i] = outputs[i].cpu()
        return outputs

    return takes_one_list(torch.compiler.disable(run, reason="copies outputs to the CPU"))


def with_views(
    compiled: Callable[[list[Any]], Any], views: Sequence[tuple[int, bool, int, int]], count: int
) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller with `count` outputs, views among them: it gives their numbers behind (`fx_export`)."""
    if not views:
        return compiled
    tail = sum(2 * rank + 1 for _, _, _, rank in views)

    def run(inputs: list[Any]) -> Any:
        kept = {number: inputs[number] for _, of_output, number, _ in views if not of_output}
        results = compiled(inputs)
        outputs, numbers = list(results[:count]), iter(results[-tail:])
        for position, of_output, number, rank in views:
            base = results[number] if of_output else kept[number]
            sizes, strides = (list(itertools.islice(numbers, rank)) for _ in range(2))
            outputs[position] = base.as_strided(sizes, strides, base.storage_offset() + next(numbers))
        return outputs

    return takes_one_list(torch.compiler.disable(run, reason="makes views of inputs and outputs"))


def is_nested_int(value: Any) -> bool:
    """True for the size of a ragged dim: it stands for the lengths of many tensors and is no number."""
    node = getattr(value, "node", None)
    return node is not None and hasattr(node, "is_nested_int") and bool(node.is_nested_int())


def without_nested_ints(compiled: Callable[[list[Any]], Any], positions: Sequence[int]) -> Callable[[list[Any]], Any]:
    """`compiled` for a caller who passes sizes of ragged dims there, taken as zeros: nothing depends on them."""
    if not positions:
        return compiled

    def run(inputs: list[Any]) -> Any:
        for i in positions:
            inputs[i] = 0
        return compiled(inputs)

    return takes_one_list(run)


def boxed(module: torch.fx.GraphModule) -> Callable[[list[Any]], Any]:
    """A callable of one list that runs an FX graph as it is and that Dynamo does not trace."""

    # Not module.forward: the text of a graph does not spell all constants (complex ones with NaN).
    def run(inputs: list[Any]) -> Any:
        return torch.fx.Interpreter(module).boxed_run(inputs)

    return takes_one_list(torch.compiler.disable(run, reason="an FX graph that ourjit does not compile"))


def uncompiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a function or module was before torch.compile wrapped it."""
    original = getattr(function, "_orig_mod", None) or getattr(function, "_torchdynamo_orig_callable", None)
    return function if original is None else original


class Outputs(NamedTuple):
    """What becomes of the outputs of a graph."""

    saved: slice = slice(0, 0)
    """Tensors that only the backward graph will see."""
    written: Sequence[int] = ()
    """The inputs to which the first outputs will be written."""
    views: Sequence[tuple[int, int]] = ()
    """(output, input): who gets the output will be given a view of the input."""


def outputs_of_forward() -> Outputs:
    """Of the graph that AOTAutograd compiles, which is no backward."""
    from torch._guards import TracingContext

    context = TracingContext.try_get() if hasattr(TracingContext, "try_get") else None
    metadata = getattr(context, "fw_metadata", None)
    saves = getattr(metadata, "num_symints_saved_for_bw", None) is not None
    saved = getattr(metadata, "tensors_saved_for_backwards_slice", None) if saves else None
    written = getattr(metadata, "mutated_inp_runtime_indices", None) or ()
    returned = enumerate(getattr(metadata, "output_info", ()), len(written))
    views = [(i, info.base_idx) for i, info in returned if info.output_type.name == "alias_of_input"]
    return Outputs(saved if isinstance(saved, slice) else slice(0, 0), written, views)


def donate_nothing() -> None:
    """Called while AOTAutograd compiles a forward: no saved tensor is given to the backward to write to.

    A backward may then run twice, and torch does not refuse that.
    """
    from torch._guards import TracingContext

    metadata: Any = getattr(TracingContext.try_get(), "fw_metadata", None)
    if hasattr(metadata, "bw_donated_idxs"):
        metadata.bw_donated_idxs = []


def report_output_strides(strides: Sequence[tuple[int, ...] | None]) -> None:
    """Tells AOTAutograd the strides that a compiled forward graph really returns."""
    from torch._guards import TracingContext

    context = TracingContext.try_get() if hasattr(TracingContext, "try_get") else None
    reported = getattr(context, "output_strides", None)
    if reported is not None and len(reported) == 0:
        reported.extend(strides)


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


def symbolic_expression(value: Any) -> Any:
    """The sympy expression of a SymInt, SymFloat or SymBool; the number itself if it is one."""
    node = getattr(value, "node", None)
    return value if node is None else node.expr


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

    def relaid(result: Any, rule: Callable[..., Any], args: Any, keywords: Any) -> Any:
        if not isinstance(result, FakeTensor) or result.constant is not None or not are_known(result.shape):
            return result
        strides = rule(result, args, keywords)
        if strides is None or tuple(strides) == result.stride():
            return result
        return result.new_empty_strided(result.shape, strides)

    def dispatch_with_strides(
        mode: FakeTensorMode, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        results = dispatch(mode, function, types, args, kwargs or {})
        rule = rule_of(function, bool(in_place) and function.name().partition(".")[0] + "_" == in_place[-1])
        if rule is None:
            return results
        return each_result(results, lambda result: relaid(result, rule, args, kwargs or {}))

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


@contextlib.contextmanager
def tracing_gradients() -> Iterator[None]:
    """While it lasts, Dynamo takes torch.autograd.grad into its graphs."""
    from torch._dynamo import config

    before = config.trace_autograd_ops
    config.trace_autograd_ops = True
    try:
        yield
    finally:
        config.trace_autograd_ops = before


def capture_errors() -> type[Exception]:
    """What Dynamo raises where a function is no single graph, or its backend fails."""
    from torch._dynamo.exc import TorchDynamoException

    found: type[Exception] = TorchDynamoException
    return found


STEP_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")  # attributes of optimizers


def step_without_hooks(kind: type[torch.optim.Optimizer]) -> Callable[..., Any]:
    """The step of a class of optimizers before torch.optim wrapped it into hooks."""
    step: Callable[..., Any] = kind.step
    return step.__wrapped__ if getattr(step, "hooked", False) else step  # type: ignore[attr-defined, no-any-return]


def is_step_replaced(optimizer: torch.optim.Optimizer) -> bool:
    """True if the step is not that of its class, or one that a scheduler has wrapped to see it called."""
    step = vars(optimizer).get("step")
    return step is not None and not hasattr(step, "_wrapped_by_lr_sched")


def replace_step(optimizer: torch.optim.Optimizer, run: Callable[..., Any]) -> None:
    """Makes `optimizer.step(closure)` call `run(optimizer, closure)` within its hooks, hidden from Dynamo."""

    def step(self: torch.optim.Optimizer, closure: Callable[[], Any] | None = None) -> Any:
        self._opt_called = True  # type: ignore[attr-defined]  # what schedulers would wrap it for
        return run(self, closure)

    hooked = torch.compiler.disable(torch.optim.Optimizer.profile_hook_step(step), reason="a compiled optimizer step")
    hooked._wrapped_by_lr_sched = True
    optimizer.step = types.MethodType(hooked, optimizer)  # type: ignore[method-assign]


# --- AOTAutograd's cache -------------------------------------------------------------------------------------------


def settings_of_tracing() -> dict[str, Any]:
    """Settings of torch that change what a graph is traced to, and that AOTAutograd's key does not tell."""
    cuda = torch.backends.cuda
    attention = ("flash", "mem_efficient", "math", "cudnn")
    return {
        "torch": (torch.__version__, torch.version.git_version),
        "inference_mode": torch.is_inference_mode_enabled(),
        "default_dtype": str(torch.get_default_dtype()),
        "mkldnn": torch.backends.mkldnn.enabled,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "attention": [getattr(cuda, f"{name}_sdp_enabled", lambda: None)() for name in attention],
    }


def is_plain_fake(value: torch.Tensor) -> bool:
    """True for what Dynamo traces a plain tensor or parameter as."""
    from torch._subclasses.fake_tensor import FakeTensor

    return type(value) in (FakeTensor, torch.Tensor, torch.nn.Parameter)


def output_code_type() -> type:
    """The base of what AOTAutograd's cache keeps of a graph."""
    from torch._inductor.output_code import OutputCode

    return OutputCode  # type: ignore[no-any-return]


def cacheable_compiler(compiler: Callable[..., Any]) -> Any:
    """`compiler`, which returns `OutputCode`, as one whose graphs AOTAutograd looks for in its cache first."""
    from torch._functorch.aot_autograd import SerializableAOTDispatchCompiler

    return SerializableAOTDispatchCompiler(output_code_type(), compiler)


def cache_bypass(reason: str) -> Exception:
    """Raised while an entry is saved: it is left out, for this reason."""
    from torch._functorch._aot_autograd.autograd_cache import BypassAOTAutogradCache

    bypass: Exception = BypassAOTAutogradCache(reason)
    return bypass


def cache_miss(reason: str) -> Exception:
    """Raised while an entry is loaded: it counts as a miss."""
    from torch._functorch._aot_autograd.autograd_cache import FXGraphCacheMiss

    miss: Exception = FXGraphCacheMiss(reason)
    return miss


def why_no_graph_cache() -> str | None:
    """Why AOTAutograd's cache is not to be used, if so: torch lacks it or has it off, or others could write to it.

    Its entries are unpickled, which runs what they say.
    """
    from torch._functorch import config
    from torch._functorch._aot_autograd import autograd_cache

    wanted = ("bundled_autograd_cache", "force_non_lazy_backward_lowering", "donated_buffer", "enable_autograd_cache")
    known = all(hasattr(config, name) for name in wanted)
    names = ("AOTAutogradCacheDetails", "FXGraphCacheMiss", "BypassAOTAutogradCache")
    if not known or not all(hasattr(autograd_cache, name) for name in names):
        return "this release of torch has no cache for the graphs of other backends"
    if not autograd_cache.should_use_local_autograd_cache():
        return "torch's cache of graphs is off (torch._functorch.config.enable_autograd_cache)"
    folder = autograd_cache.AOTAutogradCache._get_tmp_dir()
    for path in (folder.rpartition("/")[0], folder):
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return f"{path} is not a folder that only this user can write to (TORCHINDUCTOR_CACHE_DIR names another)"
    return None


@contextlib.contextmanager
def graph_cache(key: str) -> Iterator[None]:
    """While it lasts, AOTAutograd keeps what compilers return as `OutputCode`, under a key that holds `key` too.

    The backward is compiled along with the forward, as both are one entry. Compiling holds Dynamo's lock, so
    that no other thread sees this.
    """
    from torch._functorch import config
    from torch._functorch._aot_autograd import autograd_cache

    settings = {"bundled_autograd_cache": True, "force_non_lazy_backward_lowering": True, "donated_buffer": False}
    before = autograd_cache.AOTAutogradCacheDetails
    autograd_cache.AOTAutogradCacheDetails = functools.partial(_key_details(), key)
    try:
        with config.patch(settings):
            yield
    finally:
        autograd_cache.AOTAutogradCacheDetails = before


@functools.cache
def _key_details() -> type:
    """What AOTAutograd's key is a hash of, less what only Inductor depends on, and with a key of ours.

    To ask Inductor takes half a second, as its code generators are imported for that.
    """
    from torch._functorch._aot_autograd.autograd_cache import AOTAutogradCacheDetails

    class Details(AOTAutogradCacheDetails):  # type: ignore[misc]
        def __init__(self, key: str, *args: Any, **keywords: Any) -> None:
            self.ourjit = key
            super().__init__(*args, **keywords)

        def __reduce__(self) -> Any:
            return dict, (vars(self),)  # to be pickled, and never unpickled

        def _init_fx_graph_hash_details(self, module: Any, inputs: Sequence[Any], settings: Any) -> None:
            self.gm = module
            self.example_inputs = list(inputs)

        def get_triton_source_codes_from_gm(self, module: Any) -> list[str]:
            """Called where Triton is installed."""
            for part in module.modules():
                for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
                    if "triton" in str(node.target) or any(self._iter_triton_kernels_from_node(node)):
                        raise cache_bypass("the graph calls a Triton kernel")
            return []

    return Details


class Recompilation(NamedTuple):
    """Dynamo compiles a function once more, or does so no more as it met a limit."""

    backend: Callable[..., Any]
    """What the function that torch.compile was given calls for each graph, free of wrappers."""
    keywords: dict[str, Any]
    """What the backend is called with beside graph and inputs."""
    function: str
    guard: str
    """The first guard that failed, of those of the version that was compiled last."""
    value: str
    """What the guard saw, as far as that is known."""
    arguments: Sequence[Any]
    """The local variables of the function as it was called."""
    limit: str
    """The setting that forbids to compile again; empty if there is none."""


_NO_VALUE = object()


def watch_recompilations(seen: Callable[[Recompilation], None]) -> None:
    """Calls `seen` at each recompilation of any function, also of those that a limit forbids. Installs itself once.

    Dynamo asks two questions in a row for a function that it has compiled before: why no version fits, and whether
    there are too many.
    """
    from torch._dynamo import config, convert_frame

    why = getattr(convert_frame, "get_and_maybe_log_recompilation_reasons", None)
    is_too_many = getattr(convert_frame, "exceeds_recompile_limit", None)
    if why is None or is_too_many is None or hasattr(why, "__wrapped__"):
        return
    asked = threading.local()

    @functools.wraps(why)
    def why_and_remember(entries: Any, frame: Any, backend: Any, *rest: Any, **keywords: Any) -> Any:
        reasons = why(entries, frame, backend, *rest, **keywords)
        asked.last = (frame, backend, reasons)
        return reasons

    @functools.wraps(is_too_many)
    def is_too_many_and_tell(*rest: Any, **keywords: Any) -> Any:
        answer = is_too_many(*rest, **keywords)
        frame, backend, reasons = asked.__dict__.pop("last", (None, None, None))
        if frame is not None:
            exceeded, limit = answer
            setting = f"torch._dynamo.config.{limit} ({getattr(config, limit)})" if exceeded else ""
            seen(_recompilation(frame, backend, reasons[0] if reasons else "unknown", setting))
        return answer

    convert_frame.get_and_maybe_log_recompilation_reasons = why_and_remember
    convert_frame.exceeds_recompile_limit = is_too_many_and_tell


def _recompilation(frame: Any, backend: Any, reason: str, limit: str) -> Recompilation:
    keywords = dict(getattr(backend, "kwargs", {}))
    backend = getattr(backend, "compiler_fn", backend)
    while isinstance(backend, functools.partial):
        keywords = {**backend.keywords, **keywords}
        backend = backend.func
    code = frame.f_code
    # "0/0: n == 3  # return x * n  # model.py:7 in f"
    guard = re.sub(r"\s+#", "  #", re.sub(r"^\d+/\d+: ", "", reason.strip().partition("\n")[0]))
    name = re.search(r"L\['(\w+)'\]|^(\w+)\b", guard)
    value = frame.f_locals.get(name[1] or name[2], _NO_VALUE) if name else _NO_VALUE
    seen = re.search(r"actual (.*)", guard)
    if isinstance(value, (bool, int, float, str, type(None))):
        shown = repr(value)
    else:
        shown = seen[1] if seen else ""
    function = f"{code.co_name} ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})"
    return Recompilation(backend, keywords, function, guard, shown, tuple(frame.f_locals.values()), limit)


def count(name: str, by: int) -> None:
    """Adds to torch._dynamo.utils.counters["ourjit"], where Dynamo is in use."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    if by and hasattr(utils, "counters"):
        utils.counters["ourjit"][name] += by


def timed(phase: str) -> contextlib.AbstractContextManager[Any]:
    """What happens meanwhile is a phase of compilation in torch's timings and traces, where Dynamo is in use."""
    utils: Any = sys.modules.get("torch._dynamo.utils")
    if not hasattr(utils, "dynamo_timed"):
        return contextlib.nullcontext()
    measured: contextlib.AbstractContextManager[Any] = utils.dynamo_timed(phase, log_pt2_compile_event=True)
    return measured


@functools.cache
def output_code_log() -> logging.Logger:
    """Where TORCH_LOGS="output_code" prints; off unless that is asked for. torch prints what is below its own name."""
    make = getattr(torch._logging, "getArtifactLogger", None)
    return logging.getLogger("ourjit.output_code") if make is None else make("torch.ourjit", "output_code")


@contextlib.contextmanager
def watching_dynamo(
    compiled: Callable[[str, float, float], None], saw_code: Callable[[types.CodeType], None]
) -> Iterator[None]:
    """While it lasts, tells when each compilation began and ended, by name, and the code objects that Dynamo compiled.

    Names are "Dynamo" and "lazy backward". Times are those of time.perf_counter(). What a torch release cannot tell is
    not told.
    """
    from torch._dynamo import callback, convert_frame

    handler = getattr(callback, "callback_handler", None)
    began: list[tuple[str, float]] = []

    def start(arguments: Any = None) -> None:
        trigger = getattr(getattr(arguments, "callback_trigger", None), "name", "DYNAMO")
        began.append(("Dynamo" if trigger == "DYNAMO" else trigger.lower().replace("_", " "), time.perf_counter()))

    def end(_: Any = None) -> None:
        if began:
            compiled(*began.pop(), time.perf_counter())

    def see(code: types.CodeType, _: types.CodeType) -> None:
        saw_code(code)

    with contextlib.ExitStack() as stack:
        if handler is not None:
            handler.register_start_callback(start)
            stack.callback(handler.remove_start_callback, start)
            handler.register_end_callback(end)
            stack.callback(handler.remove_end_callback, end)
        if hasattr(convert_frame, "register_bytecode_hook"):
            stack.callback(convert_frame.register_bytecode_hook(see).remove)
        yield


def guards_of(code: types.CodeType) -> str:
    """The guards of each compilation of a code object, as text; empty where there are none any more."""
    from torch._dynamo import eval_frame

    entries: Sequence[Any] = getattr(eval_frame, "_debug_get_cache_entry_list", lambda code: [])(code)
    lines = []
    for number, entry in enumerate(entries):
        lines.append(f"{code.co_name} ({code.co_filename}:{code.co_firstlineno}), compilation {number}")
        for line in str(getattr(entry, "guard_manager", "")).splitlines():
            kind, _, text = line.partition("+- ")[2].partition(": ")
            if text and "Manager" not in kind:
                lines.append("  " + text)
    return "\n".join(lines)


def graph_breaks() -> dict[str, int]:
    """Where Dynamo cut functions into several graphs since the last torch.compiler.reset(): reason -> times."""
    from torch._dynamo.utils import counters

    return dict(counters["graph_break"]) if "graph_break" in counters else {}


def needs_frame(module: torch.nn.Module) -> bool:
    """True for nn.Sequential and the like: Dynamo takes up no frame of a file of torch, so nothing of their calls."""
    from torch._dynamo import trace_rules

    is_method = isinstance(module.forward, types.MethodType)
    return is_method and hasattr(trace_rules, "check") and bool(trace_rules.check(module.forward))


def framed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`function` in a frame that Dynamo takes up, with a cache of its own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    call.__code__ = call.__code__.replace(co_name=name)
    return call


def call_of(module: torch.nn.Module) -> Callable[..., Any]:
    """What torch.compile is to compile of calls of a module: a function that takes the module and its arguments."""
    call: Callable[..., Any] = type(module)._call_impl
    return framed(call, type(module).__name__) if needs_frame(module) else call


@contextlib.contextmanager
def hearing_what_runs_uncompiled(tell: Callable[[str, str], None]) -> Iterator[None]:
    """While it lasts, tells (function, why) of what Dynamo gives up: compiled too often, or not at all."""

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines = [line.strip() for line in record.getMessage().splitlines() if line.strip()]
            function = next((line.partition(":")[2].strip() for line in lines if line.startswith("function:")), "")
            tell(function or "a function", " ".join(lines[:3]))

    handler = Hear(logging.WARNING)
    logger = logging.getLogger("torch._dynamo.convert_frame")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def wraps_compiled(module: torch.nn.Module) -> bool:
    """True for what torch.compile(module) returns."""
    return "_orig_mod" in vars(module).get("_modules", {})


def without_errors_of_compilation() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, what Dynamo cannot compile runs as it is."""
    from torch._dynamo import config

    patch: contextlib.AbstractContextManager[Any] = config.patch(suppress_errors=True)
    return patch
