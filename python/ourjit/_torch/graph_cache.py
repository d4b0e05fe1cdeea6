"""AOTAutograd's cache of graphs."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch


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
