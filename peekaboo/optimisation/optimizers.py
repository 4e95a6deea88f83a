"""Optimisers as plain values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..identity import describe


def describe_optimizer(make: Callable[..., Any]) -> dict[str, Any]:
    """Returns the class and the arguments of the optimiser that a function of parameters makes, as a config file has them.

    >>> describe_optimizer(lambda parameters: torch.optim.SGD(parameters, lr=0.5))["init_args"]["lr"]
    0.5
    """
    optimizer = make([nn.Parameter(torch.zeros(1))])
    known = inspect.signature(type(optimizer)).parameters  # defaults hold more: what another class fixes
    arguments = {name: describe(value) for name, value in optimizer.defaults.items() if name in known}
    return {"class_path": f"{type(optimizer).__module__}.{type(optimizer).__qualname__}", "init_args": arguments}
