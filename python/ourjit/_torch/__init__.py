"""Every private name of torch that ourjit uses, in one folder.

Each is looked up when it is first needed, and probed where a release may lack it, so that `import ourjit` stays
light and another torch release is checked against this folder alone.
"""

from __future__ import annotations

import torch

from ourjit._torch.aot import *  # noqa: F403
from ourjit._torch.aot_mends import *  # noqa: F403
from ourjit._torch.calls import *  # noqa: F403
from ourjit._torch.graph_cache import *  # noqa: F403
from ourjit._torch.observing import *  # noqa: F403
from ourjit._torch.optimizers import *  # noqa: F403
from ourjit._torch.tracing import *  # noqa: F403

TORCH_FOLDER = torch.__file__.rpartition("/")[0]
