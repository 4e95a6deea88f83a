"""Frozen networks through OpenVINO: on a CPU compiled in seconds, without a C++ compiler."""

from __future__ import annotations

import ctypes
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, map_arg
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..functional.optional import extra
from .base import as_dtype

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
Kind = Literal["value", "gradient"]
Like = tuple[tuple[int, ...], torch.dtype]


class OpenVINO:
    """A frozen network as a function, and that function's gradient, compiled for the CPU.

    Each shape of inputs is compiled by itself, at its first call: left open, the shapes cost a third of the speed.
    The gradient computes the activations anew, as activation checkpointing does, and keeps the input alone.

    Args:
        network: whose parameters ``run`` uses. They are kept in float32: OpenVINO rounds them itself.
        run: maps tensors to one tensor.
    """

    def __init__(self, network: nn.Module, run: Callable[..., Tensor]) -> None:
        self._network, self._run = network, run
        self._request = lru_cache(maxsize=4)(self._compile)  # each holds weights of its own

    def __call__(self, *inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Runs in the precision ``dtype`` and returns float32, differentiable in the first input alone."""
        if torch.is_grad_enabled() and inputs[0].requires_grad:
            result: Tensor = _Differentiable.apply(self, dtype, *inputs)
            return result
        return self.infer("value", dtype, *inputs)

    def infer(self, kind: Kind, dtype: torch.dtype, *inputs: Tensor) -> Tensor:
        """Returns the function's value, or its gradient in the first input; for that the last one is the value's own gradient."""
        inputs = tuple(x.detach().contiguous() for x in inputs)
        request = self._request(kind, dtype, *((tuple(x.shape), x.dtype) for x in inputs))
        _rest_threads()
        return torch.from_numpy(request.infer([x.numpy() for x in inputs], share_inputs=True)[0])

    def _compile(self, kind: Kind, dtype: torch.dtype, *likes: Like) -> Any:
        openvino = _load()
        as_dtype(self._network, torch.float32)
        examples = tuple(torch.zeros(shape, dtype=like) for shape, like in likes)
        with warnings.catch_warnings(), torch.no_grad(), torch.autocast("cpu", enabled=False):
            warnings.simplefilter("ignore")  # of the tracer, about every condition on a shape
            traced = torch.jit.trace(self._graph(kind, examples), examples, check_trace=False)
            model = openvino.convert_model(traced, example_input=examples)
        model.reshape({number: list(shape) for number, (shape, _) in enumerate(likes)})
        options = {
            "INFERENCE_PRECISION_HINT": HINTS[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # or two processes would share the first core
        }
        return openvino.Core().compile_model(model, "CPU", options).create_infer_request()

    def _graph(self, kind: Kind, examples: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        if kind == "value":
            return lambda *inputs: self._run(*inputs)  # a module's own method cannot be traced
        from torch.fx.experimental.proxy_tensor import make_fx

        return _with_own_constants(make_fx(self._gradient, decomposition_table=_decompositions())(*examples))

    def _gradient(self, first: Tensor, *others: Tensor) -> Tensor:
        *rest, gradient = others
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            first = first.detach().requires_grad_()
            return torch.autograd.grad(self._run(first, *rest), first, gradient)[0]


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, network: OpenVINO, dtype: torch.dtype, *inputs: Tensor) -> Tensor:
        ctx.network, ctx.dtype = network, dtype
        ctx.save_for_backward(*inputs)
        return network.infer("value", dtype, *inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        return None, None, ctx.network.infer("gradient", ctx.dtype, *inputs, gradient), *[None] * (len(inputs) - 1)


def _load() -> Any:
    # With this package at hand the mere import of OpenVINO reports its use over the network; without it, it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with extra("openvino", "teacher.compile on a CPU"):
        import openvino

    return openvino


@cache
def _openmp() -> Any:
    """PyTorch's OpenMP runtime, or None."""
    for file in (Path(torch.__file__).parent / "lib").glob("*torch_cpu.*"):
        with suppress(OSError):
            runtime = ctypes.CDLL(str(file))  # a library answers for those that it depends on, too
            return runtime if hasattr(runtime, "omp_pause_resource_all") else None
    return None


def _rest_threads() -> None:
    """Sends PyTorch's threads to sleep: they wait awake for some milliseconds, on the cores that OpenVINO's threads need."""
    if runtime := _openmp():
        runtime.omp_pause_resource_all(1)  # omp_pause_soft: what they know is kept


def _with_own_constants(graph: GraphModule) -> GraphModule:
    """Computes what depends on no input, and gives each operation constants of its own.

    OpenVINO mistakes the weights of the way forth for those of the way back, in another layout, where they are in one place.
    """
    known: dict[Node, Tensor] = {}
    for node in list(graph.graph.nodes):
        if node.op == "get_attr":
            known[node] = getattr(graph, node.target)
        elif node.op == "call_function" and node.all_input_nodes and all(x in known for x in node.all_input_nodes):
            known[node] = node.target(*map_arg(node.args, known.get), **map_arg(node.kwargs, known.get))
        else:
            for number, constant in enumerate(x for x in node.all_input_nodes if x in known):
                name = f"{node.name}_constant_{number}"
                graph.register_buffer(name, known[constant].clone(memory_format=torch.contiguous_format))
                with graph.graph.inserting_before(node):
                    node.replace_input_with(constant, graph.graph.get_attr(name))
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """The ways back that OpenVINO does not know, out of operations that it does."""
    aten = torch.ops.aten
    return {
        aten._softmax.default: _softmax_forward,
        aten._softmax_backward_data.default: _softmax_backward,
        aten._unsafe_view.default: lambda x, size: x.view(size),
        aten.silu_backward.default: _silu_backward,
        aten.native_group_norm.default: _group_norm,
        aten.native_group_norm_backward.default: _group_norm_backward,
        aten.convolution_backward.default: _convolution_backward,
        aten._safe_softmax.default: lambda x, dim, dtype=None: torch.softmax(x, dim),  # no row is masked
    }


def _softmax_forward(x: Tensor, dim: int, half_to_float: bool) -> Tensor:
    powers = torch.exp(x - x.amax(dim, keepdim=True))
    return powers / powers.sum(dim, keepdim=True)


def _softmax_backward(gradient: Tensor, output: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
    along = gradient * output
    return along - output * along.sum(dim, keepdim=True)


def _silu_backward(gradient: Tensor, x: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gradient * gate * (1 + x * (1 - gate))


def _mean_of_groups(x: Tensor, groups: int) -> Tensor:
    """(N, C, ...) to (N, C, 1, ...), channel by channel first: maps are never reordered."""
    batch, channels = x.shape[:2]
    means = x.mean(tuple(range(2, x.ndim))).reshape(batch, groups, channels // groups).mean(2, keepdim=True)
    return _like_channels(means.repeat(1, 1, channels // groups).reshape(batch, channels), x)


def _like_channels(values: Tensor, x: Tensor) -> Tensor:
    """(C,) or (N, C) with as many dimensions behind as (N, C, ...) has."""
    return values.reshape(*values.shape, *[1] * (x.ndim - 2))


def _group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, n: int, c: int, size: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    mean = _mean_of_groups(x, groups)
    centred = x - mean
    scale = torch.rsqrt(_mean_of_groups(centred * centred, groups) + eps)
    return centred * (scale * _like_channels(weight, x)) + _like_channels(bias, x), mean, scale


def _group_norm_backward(
    gradient: Tensor, x: Tensor, mean: Tensor, scale: Tensor, weight: Tensor, n: int, c: int, size: int, groups: int, wanted: Any
) -> tuple[Tensor, None, None]:
    normal, gradient = (x - mean) * scale, gradient * _like_channels(weight, x)
    along = _mean_of_groups(gradient * normal, groups)
    return scale * (gradient - _mean_of_groups(gradient, groups) - normal * along), None, None


def _convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: Any,
) -> tuple[Tensor, None, None]:
    if transposed or groups != 1:
        raise ValueError("compile: on a CPU expected plain convolutions, got grouped or transposed ones; `inductor` takes them")
    convolution, kernel = torch.ops.aten.convolution, weight.shape[2:]
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if all(s == 1 for s in stride):  # then it is a convolution itself, which OpenVINO runs faster
        back = [r - p for r, p in zip(reach, padding, strict=True)]
        turned = weight.flip(2, 3).transpose(0, 1)
        return convolution(gradient, turned, None, stride, back, dilation, False, [0, 0], 1), None, None
    out = [
        size - ((g - 1) * s - 2 * p + r + 1)
        for size, g, s, p, r in zip(x.shape[2:], gradient.shape[2:], stride, padding, reach, strict=True)
    ]
    return convolution(gradient, weight, None, stride, padding, dilation, True, out, 1), None, None
