"""How a frozen network runs: in which precision, and whether compiled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from .base import as_dtype
from .openvino import OpenVINO

log = logging.getLogger(__name__)

#: False; True for OpenVINO on a CPU and `torch.compile` elsewhere; or `torch.compile` ("inductor") everywhere.
Compile = bool | Literal["inductor"]


class Network:
    """A frozen network as a function of tensors, differentiable in the first one.

    Args:
        network: whose parameters ``run`` uses.
        run: maps tensors to one tensor.
        name: of the network, for the log.
        compile: see :data:`Compile`.
    """

    def __init__(self, network: nn.Module, run: Callable[..., Tensor], name: str, compile: Compile = False) -> None:
        self._network, self._name, self._is_new = network, name, bool(compile)
        self._plain = run
        self._run = torch.compile(run) if compile else run
        self._on_cpu = OpenVINO(network, run) if compile is True else None
        self._is_open = False

    def __call__(self, *inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """Runs in the precision ``dtype``, whatever that of the floating inputs; returns float32."""
        device = inputs[0].device.type
        openvino = self._on_cpu if device == "cpu" and not self._is_open else None
        if self._is_new and not self._is_open:
            self._is_new = False
            log.warning("compiling the %s: %s", self._name, "some seconds" if openvino else "a minute or more")
        with torch.autocast(device, enabled=False):
            if openvino:
                return openvino(*inputs, dtype=dtype)
            self.cast(dtype)
            run = self._plain if self._is_open else self._run
            return run(*(x.to(dtype) if x.is_floating_point() else x for x in inputs)).float()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Runs uncompiled for a while, so that hooks inside hear what passes."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def cast(self, dtype: torch.dtype) -> None:
        """Brings the network itself to a precision, which it then keeps."""
        as_dtype(self._network, dtype)
