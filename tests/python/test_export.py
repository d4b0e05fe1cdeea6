"""The export of FX graphs: real graphs run the same after it; arguments and sizes are written as stated."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import sympy
import torch
import torch.nn.functional as F
from interpret import Interpreter
from models import CASES
from ourjit import _C, _torch, saved_random_state
from ourjit.decompositions import decomposition_table
from ourjit.fx_export import export_graph, free_strides, symbol_text
from ourjit.joint_graph import merge_equal_nodes, prepare
from torch import Tensor
from torch.utils._sympy import functions


def capture(fn: Callable[..., Any], *args: Any, **keywords: Any) -> list[dict[str, Any]]:
    """The graphs of fn and its backward; each is also run by the interpreter in place of compiled code."""
    graphs: list[dict[str, Any]] = []

    def compiler(module: torch.fx.GraphModule, _: Any) -> Callable[[list[Any]], Any]:
        graph, constants = export_graph(module, f"graph_{len(graphs)}")
        graphs.append(graph)

        def run(inputs: list[Any]) -> Any:
            arguments = [*inputs, *constants]
            inputs.clear()
            return Interpreter(graph).run(arguments)

        return _torch.with_views(_torch.takes_one_list(run), graph["views"], graph["returned"])

    def backend(module: torch.fx.GraphModule, inputs: Any) -> Any:
        aot = _torch.aot_autograd(
            fw_compiler=compiler,
            bw_compiler=compiler,
            decompositions=decomposition_table(False),
            partition_fn=_torch.min_cut_partition(prepare, saved_random_state.settle),
            keep_inference_input_mutations=True,
        )
        return aot(module, inputs)

    result = torch.compile(fn, backend=backend, **keywords)(*args)
    if isinstance(result, Tensor) and result.requires_grad:
        result.backward(torch.ones_like(result))
    return graphs


@pytest.mark.parametrize(
    ("name", "dynamic"), [(name, None) for name in CASES] + [("char_gpt", True), ("mlp", True), ("bert", True)]
)
def test_models_run_the_same(name: str, dynamic: bool | None) -> None:
    case = CASES[name]
    model = case.build(0.0)
    eager = copy.deepcopy(model)
    batch = case.batch(1)
    assert len(capture(model, *batch, dynamic=dynamic)) == 2
    eager(*batch).backward()
    for a, b in zip(model.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_backward_keeps_the_seed_of_a_dropout_not_its_mask() -> None:
    forward, backward = capture(lambda x: F.dropout(x.exp(), 0.5), torch.randn(64, 64, requires_grad=True))
    assert "ourjit.uniform.default" in [node[0] for node in backward["nodes"]]
    assert "ourjit.rng_seed.default" not in [node[0] for node in backward["nodes"]]
    assert ["i64" in kind for _, kind in backward["inputs"]].count(True) == 1
    assert len(forward["nodes"]) > 0


def test_arguments() -> None:
    (graph,) = capture(
        lambda x: x.clone(memory_format=torch.channels_last).to(torch.float64) + 1, torch.randn(2, 3, 4, 5)
    )
    nodes = {node[0]: node for node in graph["nodes"]}
    assert nodes["aten.clone.default"][1] == (("v", 0), ("memory_format", "channels_last"))
    assert nodes["aten._to_copy.default"][1][1] == ("dtype", "f64")
    assert nodes["aten._to_copy.default"][3] == (("f64", (2, 3, 4, 5), (60, 1, 15, 3), "cpu"),)
    assert nodes["aten.add.Tensor"][1] == (("v", 2), 1, 1)
    assert all(node[4].startswith("test_export.py:") for node in graph["nodes"])


def test_every_default_that_is_an_enumerator_is_written_by_name() -> None:
    """Schemas hold them as numbers: this torch release has no others than the exporter knows."""
    known = {("Optional[ScalarType]", 4), ("MemoryFormat", 0)}
    packets = [getattr(torch.ops.aten, name) for name in dir(torch.ops.aten)]
    for packet in packets:
        for name in packet.overloads() if isinstance(packet, torch._ops.OpOverloadPacket) else ():
            for argument in getattr(packet, name)._schema.arguments:
                kind = str(argument.real_type)
                if isinstance(argument.default_value, int) and ("ScalarType" in kind or "Format" in kind):
                    assert (kind, argument.default_value) in known
    (graph,) = capture(lambda x: x[torch.randperm(4)], torch.randn(4))
    node = next(node for node in graph["nodes"] if node[0] == "aten.randperm.default")
    assert node[1][1] == ("dtype", "i64")


def test_results_and_their_numbers() -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        low, _, high = x.sin().split(2)
        return low + 1, high

    (graph,) = capture(f, torch.randn(6))
    split = next(node for node in graph["nodes"] if node[0].startswith("aten.split"))
    assert len(split[2]) == 3 and split[3][1] is None
    # x, sin, three pieces (one unused), add
    assert graph["outputs"] == [("v", 5), ("v", 4)]


def test_constants_become_inputs() -> None:
    constant = torch.arange(4.0)

    def f(x: Tensor) -> Tensor:
        return x + torch.tensor([1.0, 2.0, 3.0, 4.0]) + constant

    graphs = capture(f, torch.randn(4))
    assert len(graphs[0]["inputs"]) == 3


def test_only_saved_activations_have_free_strides() -> None:
    graph = {
        "inputs": [("x", ("f32", (2, 3), (3, 1), "cpu"))],
        "nodes": [
            ("aten.sin.default", (("v", 0),), ("sin",), (("f32", (2, 3), (3, 1), "cpu"),), ""),
            ("aten.cos.default", (("v", 0),), ("cos",), (("f32", (2, "s0"), ("s0", 1), "cpu"),), ""),
            ("aten.exp.default", (("v", 0),), ("exp",), (("f32", (2, 3), (3, 1), "cpu"),), ""),
        ],
        "outputs": [("v", 1), ("v", 0), ("v", 1), ("v", 2), ("v", 3), ("sym", "s0")],
    }
    free_strides(graph, slice(1, 5))
    assert graph["outputs"] == [("v", 1), ("v", 0), ("v", 1), ("v", 2), ("v", 3, "free"), ("sym", "s0")]


def test_symbolic_sizes() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.cat([x.flatten(), x.new_zeros(x.shape[0] * 2)]).view(-1, 2)

    (graph,) = capture(f, torch.randn(6, 4), dynamic=True)
    sizes = [size for node in graph["nodes"] for kind in node[3] for size in kind[1]]
    assert any(isinstance(size, str) for size in sizes)


def expression(build: Callable[..., Any]) -> Any:
    class Size:
        node = type("node", (), {"expr": build(*sympy.symbols("s0 s1", positive=True, integer=True))})

    return Size()


@pytest.mark.parametrize(
    ("build", "values"),
    [
        (lambda a, b: a * b + 3, (4, 5)),
        (lambda a, b: a - b - 1, (9, 5)),
        (lambda a, b: -a * b, (4, 5)),
        (lambda a, b: (a + 2) * (b - 7) * 3, (4, 5)),
        (lambda a, b: a**3 * b, (4, 5)),
        (lambda a, b: functions.FloorDiv(a * b + 1, 4), (7, 5)),
        (lambda a, b: functions.FloorDiv(a - 9, b), (4, 5)),
        (functions.Mod, (17, 5)),
        (lambda a, b: functions.PythonMod(a - 20, b), (4, 7)),
        (lambda a, b: functions.ModularIndexing(a, 3, b), (47, 5)),
        (functions.CeilDiv, (17, 5)),
        (lambda a, b: functions.Max(1, a - b, 2 * b), (4, 5)),
        (lambda a, b: functions.Min(a, b + 1), (4, 5)),
        (lambda a, b: sympy.Integer(7), (4, 5)),
    ],
)
def test_symbol_text_evaluates_to_the_expression(build: Callable[..., Any], values: tuple[int, int]) -> None:
    size = expression(build)
    interpreter = Interpreter({})
    interpreter.symbols = {"s0": values[0], "s1": values[1]}
    expected = size.node.expr.subs(dict(zip(sympy.symbols("s0 s1", positive=True, integer=True), values, strict=True)))
    assert interpreter.size(symbol_text(size)) == int(expected)


def test_symbol_text_refuses_other_functions() -> None:
    with pytest.raises(_C.Unsupported, match="IntTrueDiv"):
        symbol_text(expression(functions.IntTrueDiv))


def test_equal_nodes_are_merged() -> None:
    aten = torch.ops.aten
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    sines = [graph.call_function(aten.sin.default, (x,)) for _ in range(2)]
    sums = [
        graph.call_function(aten.add.Tensor, (sine, scalar))
        for sine, scalar in zip(sines * 2, (1, 1, 1.0, 2), strict=True)
    ]
    random = [graph.call_function(aten.rand_like.default, (x,)) for _ in range(2)]
    graph.call_function(aten.copy_.default, (x, sums[0]))
    after = graph.call_function(aten.sin.default, (x,))
    returned = [graph.call_function(aten.cos.default, (x,)) for _ in range(2)]
    graph.output((graph.call_function(aten.stack.default, (sums,)), *random, after, *returned))
    merge_equal_nodes(graph)
    graph.lint()
    left = [node.target for node in graph.nodes if node.op == "call_function"]
    assert left.count(aten.sin.default) == 2  # x is written between them
    assert left.count(aten.add.Tensor) == 3
    assert left.count(aten.rand_like.default) == 2
    assert left.count(aten.cos.default) == 2  # the caller may write to one of them
