"""Operands of sizes that eager refuses are refused, where torch's shape functions let them through."""

import pytest
import torch

INDEX = torch.tensor([1, 0])
REFUSED = {
    "slice_scatter": (lambda x, y: x.slice_scatter(y, 1, 1, 4), (3, 5), (3, 2)),
    "slice_scatter_line": (lambda x, y: x.slice_scatter(y, 1, 1, 4), (3, 5), (2, 3)),
    "slice_scatter_step": (lambda x, y: x.slice_scatter(y, 1, 0, 5, 2), (3, 5), (3, 5)),
    "slice_scatter_empty": (lambda x, y: x.slice_scatter(y, 1, 1, 4), (3, 5), (3, 0)),
    "select_scatter": (lambda x, y: x.select_scatter(y, 0, 2), (3, 5), (1,)),
    "diagonal_scatter": (lambda x, y: x.diagonal_scatter(y), (3, 5), (2,)),
    "index_add": (lambda x, y: x.index_add(0, INDEX, y), (3, 5), (2, 10)),
    "index_reduce": (lambda x, y: x.index_reduce(0, INDEX, y, "amax"), (3, 5), (3, 5)),
    "index_put": (lambda x, y: x.index_put((INDEX,), y), (3, 5), (3, 5)),
    "addmm": (lambda x, y: torch.addmm(x, y, y), (2, 4), (2, 2)),
    "addbmm": (lambda x, y: torch.addbmm(x, y, y), (2, 4), (3, 2, 2)),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_operand_of_other_sizes_is_refused(name, dynamic):
    function, sizes, operand_sizes = REFUSED[name]
    x, y = torch.randn(sizes), torch.randn(operand_sizes)
    with pytest.raises(RuntimeError):
        function(x, y)
    with pytest.raises(RuntimeError):
        torch.compile(function, backend="ourjit", dynamic=dynamic)(x, y)


TAKEN = {
    "addmm_by_a_number": (lambda x, y: torch.addmm(x, y, y), (), (3, 3)),
    "addmm_by_a_column": (lambda x, y: torch.addmm(x, y, y), (3, 1), (3, 3)),
    "index_put_a_line": (lambda x, y: x.index_put((INDEX,), y), (3, 5), (1, 5)),
    "index_put_a_mask": (lambda x, y: x.index_put((x > 0,), y), (3, 5), ()),
    "index_put_behind_a_dim": (lambda x, y: torch.ops.aten.index_put(x, [None, INDEX], y), (3, 5), (2,)),
    "slice_scatter_from_behind": (lambda x, y: x.slice_scatter(y, -1, -2), (3, 5), (3, 2)),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", TAKEN)
def test_operand_that_eager_takes_is_taken(name, dynamic):
    function, sizes, operand_sizes = TAKEN[name]
    x, y = torch.randn(sizes), torch.randn(operand_sizes)
    compiled = torch.compile(function, backend="ourjit", dynamic=dynamic, options={"strict": True})
    torch.testing.assert_close(compiled(x, y), function(x, y))
