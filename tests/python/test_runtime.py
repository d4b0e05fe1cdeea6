"""Executables called directly: what they check, what they return, and what they hold on to."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import ourjit
import pytest
import torch
from ourjit import _C

Type = tuple[str, tuple[Any, ...], tuple[Any, ...], str]


def tensor_type(*sizes: Any, dtype: str = "f32", strides: tuple[Any, ...] | None = None) -> Type:
    if strides is None:
        rows: list[Any] = []
        step: Any = 1
        for size in reversed(sizes):
            rows.insert(0, step)
            step = step * size if isinstance(step, int) and isinstance(size, int) else f"({step})*({size})"
        strides = tuple(rows)
    return (dtype, sizes, strides, "cpu")


def node(target: str, args: Sequence[Any], *types: Type | None) -> tuple[Any, ...]:
    return (target, tuple(args), tuple(f"r{i}" for i in range(len(types))), types, "test.py:1")


def compile_graph(
    inputs: Sequence[Any],
    nodes: Sequence[Any],
    outputs: Sequence[Any],
    constants: Sequence[torch.Tensor] = (),
    compiler: Any = None,
) -> Any:
    named = [(f"x{i}", kind) for i, kind in enumerate(inputs)]
    graph = {"name": "test", "inputs": named, "nodes": list(nodes), "outputs": list(outputs)}
    return (compiler or _C.Compiler({})).compile(graph, constants=constants)


def add(a: int, b: Any, kind: Type) -> tuple[Any, ...]:
    return node("aten.add.Tensor", [("v", a), b, 1], kind)


PLAIN = tensor_type(4, 8)


def add_one() -> Any:
    """x + 1 over f32[4, 8]."""
    return compile_graph([PLAIN], [add(0, 1, PLAIN)], [("v", 1)])


@pytest.fixture
def library() -> Iterator[torch.library.Library]:
    """Operators of the namespace `ourjit_test`, gone after the test."""
    made = torch.library.Library("ourjit_test", "FRAGMENT")
    yield made
    made._destroy()


def test_the_list_of_inputs_is_emptied_and_a_list_returned() -> None:
    run = add_one()
    inputs = [torch.zeros(4, 8)]
    (result,) = run(inputs)
    assert inputs == []
    assert torch.equal(result, torch.ones(4, 8))
    assert type(run)._boxed_call is True


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "takes 1 inputs, not 0"),
        ([torch.zeros(4, 8), torch.zeros(4, 8)], "takes 1 inputs, not 2"),
        ([torch.zeros(4, 9)], r"input 0 \(x0\) must be Float\[4, 8\] on cpu, but got Float\[4, 9\] on cpu"),
        ([torch.zeros(32)], r"must be Float\[4, 8\] on cpu, but got Float\[32\]"),
        ([torch.zeros(4, 8, dtype=torch.float64)], r"but got Double\[4, 8\]"),
        ([torch.zeros(4, 8, device="meta")], r"but got Float\[4, 8\] on meta"),
        ([torch.zeros(4, 8).to_sparse()], "but got a tensor of another layout"),
        ([3], "but got the number 3"),
        ([None], "but got None"),
        (["text"], "must be a tensor or an int, but got a str"),
    ],
)
def test_wrong_inputs_are_named_and_the_next_call_works(inputs: list[Any], message: str) -> None:
    run = add_one()
    with pytest.raises(ourjit.UserError, match=message):
        run(inputs)
    assert torch.equal(run([torch.ones(4, 8)])[0], torch.full((4, 8), 2.0))


def test_a_call_without_a_list_is_an_error() -> None:
    with pytest.raises(ourjit.UserError, match="one list"):
        add_one()(torch.zeros(4, 8))


def test_fake_tensors_are_refused() -> None:
    from torch._subclasses import FakeTensorMode

    run = add_one()
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.zeros(4, 8))
    with pytest.raises(ourjit.UserError, match="subclass"):
        run([fake])


def test_other_strides_are_copied_and_counted() -> None:
    compiler = _C.Compiler({})
    run = compile_graph([PLAIN], [add(0, 1, PLAIN)], [("v", 1)], compiler=compiler)
    x = torch.randn(8, 4).t()
    assert torch.equal(run([x])[0], x + 1)
    assert compiler.stats()["guard_misses"] == 1
    # Strides of dims with one element mean nothing.
    single = compile_graph([tensor_type(1, 8)], [add(0, 1, tensor_type(1, 8))], [("v", 1)], compiler=compiler)
    x = torch.randn(1, 8).as_strided((1, 8), (77, 1))
    assert torch.equal(single([x])[0], x + 1)
    assert compiler.stats()["guard_misses"] == 1


def test_an_input_that_starts_anywhere_in_its_storage() -> None:
    run = add_one()
    storage = torch.randn(100)
    for offset in (0, 1, 3, 7):
        x = storage[offset : offset + 32].view(4, 8)
        assert torch.equal(run([x])[0], x + 1)


def test_mutation_reaches_the_input_and_needs_its_strides() -> None:
    copied = node("aten.copy_.default", [("v", 0), ("v", 1), False], PLAIN)
    run = compile_graph([PLAIN], [add(0, 1, PLAIN), copied], [("v", 1)])
    x = torch.zeros(4, 8)
    assert torch.equal(run([x])[0], torch.ones(4, 8))
    assert torch.equal(x, torch.ones(4, 8))
    with pytest.raises(ourjit.UserError, match="modified in place"):
        run([torch.zeros(8, 4).t()])


def test_outputs_own_their_memory() -> None:
    run = add_one()
    first = run([torch.zeros(4, 8)])[0]
    second = run([torch.ones(4, 8)])[0]
    assert torch.equal(first, torch.ones(4, 8))
    assert torch.equal(second, torch.full((4, 8), 2.0))
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()
    first.resize_(100, 100)  # the storage can be resized like any other


def test_views_share_storage_and_a_tensor_returned_twice_is_one_object() -> None:
    view = node("aten.view.default", [("v", 1), [32]], tensor_type(32))
    run = compile_graph([PLAIN], [add(0, 1, PLAIN), view], [("v", 1), ("v", 2), ("v", 1), ("v", 0)])
    x = torch.zeros(4, 8)
    whole, flat, again, given = run([x])
    assert whole is again
    assert given is x
    assert flat.shape == (32,)
    assert flat.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()


def test_numbers_and_none_are_outputs() -> None:
    sized = tensor_type("s0", 8)
    run = compile_graph(
        [sized, "sym:s1"], [add(0, ("v", 1), sized)], [("v", 2), ("v", 1), ("sym", "s0*2 + s1"), None, 7]
    )
    result = run([torch.zeros(3, 8), 5])
    assert torch.equal(result[0], torch.full((3, 8), 5.0))
    assert result[1:] == [5, 11, None, 7]


def test_symbolic_sizes_of_all_kinds_and_more_than_are_remembered() -> None:
    sized = tensor_type("s0", "s1")
    total = node("aten.sum.dim_IntList", [("v", 1), [1], False, None], tensor_type("s0"))
    run = compile_graph([sized], [add(0, ("v", 0), sized), total], [("v", 1), ("v", 2)])
    for rows in (*range(20), 300):
        x = torch.randn(rows, 33)
        twice, sums = run([x])
        assert torch.equal(twice, x + x)
        torch.testing.assert_close(sums, (x + x).sum(1))
    with pytest.raises(ourjit.UserError, match="at least 2 dimensions"):
        run([torch.zeros(3)])


def test_sizes_that_contradict_each_other() -> None:
    sized = tensor_type("s0")
    run = compile_graph([sized, sized], [add(0, ("v", 1), sized)], [("v", 2)])
    assert run([torch.ones(3), torch.ones(3)])[0].shape == (3,)
    with pytest.raises(ourjit.UserError, match=r"input 1 \(x1\) must be Float\[3\] on cpu where s0 = 3"):
        run([torch.ones(3), torch.ones(4)])


def test_constants_follow_the_inputs() -> None:
    run = compile_graph([PLAIN, PLAIN], [add(0, ("v", 1), PLAIN)], [("v", 2)], constants=[torch.full((4, 8), 3.0)])
    assert torch.equal(run([torch.ones(4, 8)])[0], torch.full((4, 8), 4.0))


MATMUL = node("aten.mm.default", [("v", 0), ("v", 1)], tensor_type(16, 24))


def test_library_calls_write_into_the_plans_memory() -> None:
    relu = node("aten.relu.default", [("v", 2)], tensor_type(16, 24))
    run = compile_graph([tensor_type(16, 32), tensor_type(32, 24)], [MATMUL, relu], [("v", 3), ("v", 2)])
    assert "in place" in run.report()["plan"]
    for _ in range(3):
        a, b = torch.randn(16, 32), torch.randn(32, 24)
        active, product = run([a, b])
        torch.testing.assert_close(product, a @ b)
        assert torch.equal(active, product.relu())


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu")])
def test_modes_of_the_caller_do_not_matter(guard: Any) -> None:
    run = compile_graph([tensor_type(16, 32), tensor_type(32, 24)], [MATMUL], [("v", 2)])
    a, b = torch.randn(16, 32, requires_grad=True), torch.randn(32, 24)
    with guard():
        (product,) = run([a, b])
    assert product.dtype == torch.float32
    assert not product.requires_grad
    torch.testing.assert_close(product, (a @ b).detach())


def test_every_result_of_a_call_that_returns_many() -> None:
    pieces = node("aten.sort.default", [("v", 0), -1, False], PLAIN, tensor_type(4, 8, dtype="i64"))
    run = compile_graph([PLAIN], [pieces, add(1, 1, PLAIN)], [("v", 3), ("v", 2)])
    x = torch.randn(4, 8)
    values, order = run([x])
    assert torch.equal(values, x.sort().values + 1)
    assert torch.equal(order, x.sort().indices)


def foreign(library: torch.library.Library, name: str, fn: Any) -> str:
    library.define(f"{name}(Tensor x) -> Tensor")
    library.impl(name, fn, "CPU")
    return f"ourjit_test.{name}.default"


def through(target: str) -> Any:
    """foreign(x + 1) + 1, foreign(x + 1)."""
    call = node(target, [("v", 1)], PLAIN)
    return compile_graph([PLAIN], [add(0, 1, PLAIN), call, add(2, 1, PLAIN)], [("v", 3), ("v", 2)])


def test_an_operator_that_returns_its_operand(library: torch.library.Library) -> None:
    run = through(foreign(library, "same", lambda x: x))
    for value in (0.0, 1.0):
        after, result = run([torch.full((4, 8), value)])
        assert torch.equal(result, torch.full((4, 8), value + 1))
        assert torch.equal(after, result + 1)
    kept = run([torch.zeros(4, 8)])[1]
    run([torch.full((4, 8), 9.0)])
    assert torch.equal(kept, torch.ones(4, 8))


def test_an_operator_that_keeps_its_operand(library: torch.library.Library) -> None:
    kept: list[torch.Tensor] = []

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept.append(x)
        return x * 2

    run = through(foreign(library, "keep", keep))
    for value in (0.0, 5.0):
        run([torch.full((4, 8), value)])
    assert [float(t[0, 0]) for t in kept] == [1.0, 6.0]


def test_an_operator_whose_strides_differ_from_those_traced(library: torch.library.Library) -> None:
    run = through(foreign(library, "columns", lambda x: (x * 3).t().contiguous().t()))
    after, result = run([torch.ones(4, 8)])
    assert result.stride() == (8, 1)
    assert torch.equal(after, torch.full((4, 8), 7.0))


def test_an_operator_whose_shape_differs_from_that_traced(library: torch.library.Library) -> None:
    run = through(foreign(library, "short", lambda x: x[:2].clone()))
    with pytest.raises(ourjit.InternalError, match=r"returned Float\[2, 8\] but was traced to return f32\[4, 8\]"):
        run([torch.ones(4, 8)])


def test_errors_of_operators_pass_through_and_the_next_call_works(library: torch.library.Library) -> None:
    fail = [True]

    def sometimes(x: torch.Tensor) -> torch.Tensor:
        if fail[0]:
            raise KeyError("no luck")
        return x.clone()

    run = through(foreign(library, "sometimes", sometimes))
    with pytest.raises(KeyError, match="no luck"):
        run([torch.ones(4, 8)])
    fail[0] = False
    assert torch.equal(run([torch.ones(4, 8)])[1], torch.full((4, 8), 2.0))


def test_inputs_are_freed_after_their_last_use(library: torch.library.Library) -> None:
    alive: list[bool] = []
    reference: list[Any] = []

    def look(x: torch.Tensor) -> torch.Tensor:
        alive.append(reference[0]() is not None)
        return x.clone()

    run = through(foreign(library, "look", look))
    x = torch.zeros(4, 8)
    reference.append(weakref.ref(x))
    inputs = [x]
    del x
    run(inputs)
    assert alive == [False]


def test_calls_may_nest(library: torch.library.Library) -> None:
    depth = [0]
    run: Any = None

    def nest(x: torch.Tensor) -> torch.Tensor:
        if depth[0] == 3:
            return x.clone()
        depth[0] += 1
        return run([x])[0]

    run = through(foreign(library, "nest", nest))
    assert torch.equal(run([torch.zeros(4, 8)])[0], torch.full((4, 8), 8.0))


def test_threads_call_one_executable_at_the_same_time() -> None:
    shape = tensor_type(64, 64)
    nodes = [
        node("aten.mm.default", [("v", 0), ("v", 0)], shape),
        node("aten.exp.default", [("v", 1)], shape),
        node("aten.mm.default", [("v", 2), ("v", 0)], shape),
    ]
    run = compile_graph([shape], nodes, [("v", 3)])
    failures: list[str] = []

    def work(seed: int) -> None:
        x = torch.randn(64, 64, generator=torch.Generator().manual_seed(seed)) * 0.1
        expected = (x @ x).exp() @ x
        for _ in range(50):
            if not torch.allclose(run([x])[0], expected, rtol=1e-4, atol=1e-4):
                failures.append(f"thread {seed}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_call() -> None:
    run = add_one()
    run([torch.zeros(4, 8)])
    pid = os.fork()
    if pid == 0:
        ok = torch.equal(run([torch.ones(4, 8)])[0], torch.full((4, 8), 2.0))
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0


def seeded() -> Any:
    numbers = node("ourjit.uniform.default", [("v", 0), [1000], ("dtype", "f32")], tensor_type(1000))
    seed = node("ourjit.rng_seed.default", [0], tensor_type(dtype="i64"))
    return compile_graph([], [seed, numbers], [("v", 1), ("v", 0)])


def test_seeds_come_from_torchs_generator() -> None:
    run = seeded()
    assert run.report()["fallbacks"] == {}
    torch.manual_seed(3)
    first, seed = run([])
    second, other = run([])
    assert int(seed) != int(other)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(run([])[0], first)
    assert 0.4 < float(first.mean()) < 0.6
    assert float(first.min()) >= 0 and float(first.max()) < 1


def test_an_index_out_of_range_raises_and_the_next_call_works() -> None:
    index = tensor_type(3, dtype="i64")
    rows = node("aten.embedding.default", [("v", 0), ("v", 1), -1, False, False], tensor_type(3, 8))
    run = compile_graph([PLAIN, index], [rows], [("v", 2)])
    x = torch.randn(4, 8)
    for bad in (4, -1, 10**12):
        with pytest.raises(IndexError, match="index out of range in self"):
            run([x, torch.tensor([0, bad, 1])])
    assert torch.equal(run([x, torch.tensor([3, 0, 1])])[0], x[torch.tensor([3, 0, 1])])


def test_integer_division_by_zero_raises_as_eager_does() -> None:
    kind = tensor_type(40, dtype="i64")
    run = compile_graph([kind, kind], [node("aten.div.Tensor_mode", [("v", 0), ("v", 1), "floor"], kind)], [("v", 2)])
    x = torch.arange(40)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run([x, torch.zeros(40, dtype=torch.int64)])
    assert torch.equal(run([x, torch.full((40,), 7)])[0], x // 7)


def test_empty_tensors() -> None:
    sized = tensor_type("s0", 8)
    total = node("aten.sum.default", [("v", 1), None], tensor_type())
    run = compile_graph([sized], [add(0, 1, sized), total], [("v", 1), ("v", 2)])
    y, total_value = run([torch.zeros(0, 8)])
    assert y.shape == (0, 8)
    assert float(total_value) == 0


def test_executables_do_not_leak() -> None:
    run = add_one()
    reference = weakref.ref(run)
    run.note = run  # a cycle
    del run
    gc.collect()
    assert reference() is None


def test_bad_graph_data_is_an_error_that_names_the_node() -> None:
    with pytest.raises(ourjit.UserError, match="there is no value 9"):
        compile_graph([PLAIN], [add(9, 1, PLAIN)], [("v", 1)])
    with pytest.raises(ourjit.UserError, match="unknown dtype f99"):
        compile_graph([tensor_type(2, dtype="f99")], [], [])
    with pytest.raises(ourjit.UserError, match="must be a dict with the key 'name'"):
        _C.Compiler({}).compile({})
    with pytest.raises(ourjit.Unsupported, match="device cuda"):
        compile_graph([("f32", (2,), (1,), "cuda:0")], [], [])


def test_the_interpreter_agrees_with_the_executable() -> None:
    kind = tensor_type(6, 10)
    nodes = [
        node("aten._softmax.default", [("v", 0), 1, False], kind),
        node("aten.gelu.default", [("v", 1), "none"], kind),
        node("aten.sum.dim_IntList", [("v", 2), [0], False, None], tensor_type(10)),
    ]
    named = [("x", kind)]
    graph = {"name": "g", "inputs": named, "nodes": nodes, "outputs": [("v", 2), ("v", 3)]}
    x = torch.randn(6, 10)
    expected = _C.interpret_graph(graph, [x])
    torch.testing.assert_close(expected[1], torch.nn.functional.gelu(x.softmax(1)).sum(0))
    passed = _C.run_passes(graph, ["canonicalize", "decompose", "cse", "dce"])
    assert "call" not in passed
    for result in (_C.Compiler({}).compile(graph)([x]), _C.interpret_graph(passed, [x])):
        for got, want in zip(result, expected, strict=True):
            torch.testing.assert_close(got, want)
