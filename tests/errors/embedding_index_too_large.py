"""An embedding index beyond the table: known only while the kernel runs."""

import torch
import torch.nn.functional as F

ERROR = "IndexError"
MESSAGE = "index out of range"


def run() -> None:
    f = torch.compile(lambda w, i: F.embedding(i, w) * 2, backend="ourjit")
    f(torch.ones(5, 3), torch.tensor([1, 4]))
    f(torch.ones(5, 3), torch.tensor([1, 5]))
