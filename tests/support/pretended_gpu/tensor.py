"""Tensors of the pretended GPU, and what is checked when an operator gets them."""

from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.pretended_gpu import graphs
from tests.support.pretended_gpu.attention import attend
from tests.support.pretended_gpu.record import count, note

CUDA = torch.device("cuda", 0)
WAITS = {
    "nonzero", "masked_select", "argwhere", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal",
    "is_nonzero", "item", "_local_scalar_dense",
}  # fmt: skip
"""Operators whose result the host has to know."""
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
HALF = (torch.bfloat16, torch.float16)
FOREIGN = {"_scaled_dot_product_flash_attention_for_cpu", "mkldnn_linear", "_mkldnn_reshape"}
"""Operators of CPUs only."""


class Mismatch(RuntimeError):
    """Tensors of one operator are on several devices."""


class OnGpu(torch.Tensor):
    """Says cuda:0, holds a tensor of the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "OnGpu":
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=CUDA,
        )  # fmt: skip
        made.inner = inner
        return made

    def __init__(self, inner: torch.Tensor) -> None: ...

    def __repr__(self) -> str:  # type: ignore[override]
        return f"cuda({self.inner!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # torch.save copies to the host.
        note("wait", "torch.save")
        return self.inner.detach().__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        with torch.no_grad():
            copied: Any = OnGpu(self.inner.detach().clone())
        if getattr(self, "_is_param", False):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied
        return copied

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Also operators that get no tensor of the GPU yet, but make one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def pretend() -> None:
    """From now on tensors can be on the GPU."""
    # torch.tensor(..., device="cuda") makes a tensor of the CPU and moves it where that can be seen.
    torch._C._set_only_lift_cpu_tensors(True)
    # Module.to() keeps parameters the same objects, as with CUDA.
    torch.__future__.set_swap_module_params_on_conversion(True)
    # Wrappers cannot be made in inference mode; the operators are the same.
    torch.inference_mode = torch.no_grad  # type: ignore[misc,assignment]
    for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
        getattr(import_module(module), "_foreach_supported_types", []).append(OnGpu)
    plain = functional.scaled_dot_product_attention

    def attention(query: Any, *args: Any, **kwargs: Any) -> Any:
        return (attend if isinstance(query, OnGpu) else plain)(query, *args, **kwargs)

    functional.scaled_dot_product_attention = attention  # type: ignore[assignment]
    _Everywhere().__enter__()


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    name = function._schema.name.split("::")[1]
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, OnGpu)]
    device = kwargs.get("device")
    made_here = device is not None and torch.device(device).type == "cuda"
    if not ours and not made_here:
        return function(*args, **kwargs)
    if name in FOREIGN:
        raise NotImplementedError(f"{name} is an operator of CPUs")
    count()
    if name == "copy_":
        return _copied_into(
            function, *args[:2], non_blocking=args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        )
    if name == "_to_copy":
        return _copied(function, args[0], kwargs)
    _check_devices(name, args, kwargs, [x for x in tensors if not isinstance(x, OnGpu)], bool(ours))
    _note_waits(name, args, kwargs)
    if made_here:
        kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"} | {"device": torch.device("cpu")}
    given, named = pytree.tree_map_only(OnGpu, lambda x: x.inner, (args, kwargs))
    result = graphs.computed(function._schema, partial(_computed, name, function), given, named)
    if name == "_local_scalar_dense":
        return result
    own = {id(x.inner): x for x in ours}
    return pytree.tree_map_only(torch.Tensor, lambda x: own.get(id(x)) if id(x) in own else OnGpu(x), result)


def _computed(name: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """On the CPU, whose softmax knows no result of another type, and whose LayerNorm rounds its statistics."""
    if name in ("native_layer_norm", "native_layer_norm_backward"):
        wide = pytree.tree_map_only(torch.Tensor, lambda x: x.float() if x.dtype in HALF else x, args)
        out, *others = function(*wide, **kwargs)
        statistics = name == "native_layer_norm"
        return out.to(args[0].dtype), *(x if statistics or x is None else x.to(args[0].dtype) for x in others)
    if name in ("_softmax", "_log_softmax") and args[2]:
        return function(args[0].float(), args[1], False)
    if name in ("_softmax_backward_data", "_log_softmax_backward_data") and args[3] != args[0].dtype:
        return function(args[0], args[1], args[2], args[0].dtype).to(args[3])
    return function(*args, **kwargs)


def _copied_into(function: Any, to: torch.Tensor, source: torch.Tensor, non_blocking: bool) -> torch.Tensor:
    onto, off = isinstance(to, OnGpu), isinstance(source, OnGpu)
    _note_copy(source, onto, off, non_blocking)
    inner = [x.inner if isinstance(x, OnGpu) else x for x in (to, source)]
    with torch.no_grad():
        graphs.computed(function._schema, function, inner, {})
    return to


def _copied(function: Any, source: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
    off = isinstance(source, OnGpu)
    device = kwargs.get("device")
    onto = off if device is None else torch.device(device).type == "cuda"
    rest = {key: value for key, value in kwargs.items() if key != "device"}
    _note_copy(source, onto, off, kwargs.get("non_blocking", False))
    if onto and off and kwargs.get("dtype", source.dtype) != source.dtype:
        note("cast", f"{source.dtype} to {kwargs['dtype']}")
    inner = source.inner if isinstance(source, OnGpu) else source
    copied: torch.Tensor = graphs.computed(function._schema, function, [inner], rest)
    return OnGpu(copied) if onto else copied


def _note_copy(source: torch.Tensor, onto: bool, off: bool, non_blocking: bool) -> None:
    if onto == off or not source.numel():
        return
    if not onto:
        note("wait", "copy from GPU to host")
    elif not source.is_pinned():
        note("wait", "copy from host to GPU, not page-locked")
    else:
        note("copy" if non_blocking else "wait", "copy from host to GPU")


def _check_devices(name: str, args: Any, kwargs: Any, host: list[torch.Tensor], ours: bool) -> None:
    """Single numbers of the host may stand beside tensors of the GPU, and so may its indices, for which it waits.

    Raises:
        Mismatch: others do.
    """
    stray = [x for x in host if x.dim()] if ours else []
    if name in INDEXED and isinstance(args[0], OnGpu):
        indices = {id(x) for x in pytree.tree_leaves(args[1]) if isinstance(x, torch.Tensor)}
        for _ in [x for x in host if id(x) in indices]:
            note("wait", f"{name} with indices of the host")
        stray = [x for x in stray if id(x) not in indices]
    if name.startswith("_fused") and host:
        stray = host
    if name.endswith("_") and not isinstance(args[0], (OnGpu, list, tuple)):
        stray = [args[0]]
    if kwargs.get("out") is not None and not isinstance(kwargs["out"], OnGpu):
        stray = [kwargs["out"]]
    if stray:
        raise Mismatch(f"{name}: expected all tensors on cuda:0, got {tuple(stray[0].shape)} on the host")


def _note_waits(name: str, args: Any, kwargs: Any) -> None:
    if name in WAITS:
        note("wait", name)
    if name in INDEXED:
        if any(x.dtype in (torch.bool, torch.uint8) for x in pytree.tree_leaves(args[1]) if isinstance(x, OnGpu)):
            note("wait", f"{name} with a mask")
        elif name != "index" and (args[3] if len(args) > 3 else kwargs.get("accumulate", False)):
            note("sorted gradient", name)
    counts = name == "repeat_interleave" and kwargs.get("output_size") is None
    # It looks whether there is enough to draw from.
    looks = name == "multinomial" and not (len(args) > 2 and args[2] and args[1] > 1)
    if counts or looks:
        note("wait", name)
