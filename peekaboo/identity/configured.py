"""Parts that know the arguments that they were made with, whoever made them: YAML, the command line or Python."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType
from typing import Any, ClassVar, Self

import numpy as np
import torch

UNDECLARED = "undeclared"  # the key that stands for an argument which cannot be written down


class Configured:
    """Keeps the arguments of its constructor, defaults included, as plain values.

    Python calls ``__new__`` with the very arguments of ``__init__``, so a subclass has nothing to do for it. They are written
    down at once: what the object, or whoever uses it, changes later is state, and no part of its configuration.
    """

    #: Arguments that change no result: two configurations that differ in these alone are the same run.
    indifferent: ClassVar[frozenset[str]] = frozenset()
    _arguments: dict[str, Any]
    _decisive: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        try:
            given = _bind(cls, args, kwargs)
        except TypeError:  # a copy, which has them in its state; or a mistake, which `__init__` reports
            return self
        own = {name: value for name, value in given.items() if name not in cls.indifferent}
        object.__setattr__(self, "_arguments", {name: describe(value) for name, value in given.items()})
        object.__setattr__(self, "_decisive", {name: describe(value, decisive=True) for name, value in own.items()})
        return self

    def configuration(self, decisive: bool = False) -> dict[str, Any]:
        """Returns ``{"class_path": ..., "init_args": {...}}``, nested and of plain values, as a config file has it.

        Args:
            decisive: leave out the arguments that change no result, here and in all parts.
        """
        return {"class_path": _path(type(self)), "init_args": dict(self._decisive if decisive else self._arguments)}

    def _made_with(self, **changes: Any) -> Self:
        """Returns a shallow copy whose configuration has other arguments; the class that calls this does what they mean."""
        other = copy.copy(self)
        for known, decisive in (("_arguments", False), ("_decisive", True)):
            new = {
                name: describe(value, decisive) for name, value in changes.items() if not decisive or name not in self.indifferent
            }
            object.__setattr__(other, known, getattr(self, known) | new)
        return other


def describe(value: Any, decisive: bool = False) -> Any:
    """Returns an argument as what JSON can hold.

    Tensors, arrays and networks are described by a digest of their numbers, functions by their names, and whole floats as
    integers, since YAML's ``1`` and Python's ``1.0`` are one number. What has no description that is the same tomorrow becomes
    ``{"undeclared": type}``, which :func:`undeclared` finds.

    Args:
        value: of any type.
        decisive: see :meth:`Configured.configuration`.
    """
    if isinstance(value, Configured):
        return value.configuration(decisive)
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        whole = int(value) if value.is_integer() else value
        return whole if math.isfinite(value) else str(value)
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, torch.Tensor | np.ndarray):
        return _numbers(torch.as_tensor(value))
    if isinstance(value, torch.nn.Module):
        return {"class_path": _path(type(value)), "weights": {name: _numbers(x) for name, x in value.state_dict().items()}}
    return _container(value, decisive)


def _container(value: Any, decisive: bool) -> Any:
    inside = functools.partial(describe, decisive=decisive)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: inside(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): inside(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((inside(one) for one in value), key=repr)
    if isinstance(value, Sequence):
        return [inside(one) for one in value]
    if isinstance(value, functools.partial):
        return {"function": inside(value.func), "args": inside(value.args), "keywords": inside(value.keywords)}
    named = isinstance(value, type | FunctionType | BuiltinFunctionType) and "<" not in value.__qualname__
    return _path(value) if named else {UNDECLARED: type(value).__name__}


def undeclared(tree: Any, prefix: str = "") -> list[str]:
    """Returns where in a configuration something stands that could not be described.

    >>> undeclared({"model": {"size": describe(object())}})
    ['model.size (object)']
    """
    if isinstance(tree, dict):
        if set(tree) == {UNDECLARED}:
            return [f"{prefix} ({tree[UNDECLARED]})"]
        return [found for key, value in tree.items() for found in undeclared(value, f"{prefix}.{key}".lstrip("."))]
    if isinstance(tree, list):
        return [found for i, value in enumerate(tree) for found in undeclared(value, f"{prefix}[{i}]")]
    return []


def _path(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _numbers(tensor: torch.Tensor) -> dict[str, Any]:
    plain = tensor.detach().cpu().contiguous()
    content = plain.view(torch.uint8) if plain.ndim else plain.reshape(1).view(torch.uint8)
    found = hashlib.sha256(content.numpy().tobytes()).hexdigest()[:16]
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype), "digest": found}


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Names the arguments of a constructor; what ``**rest`` hands on to base classes counts with their defaults."""
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    bound = signature.bind(None, *args, **kwargs)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found |= value | {key: default for key, default in _handed_on(cls).items() if key not in value | found}
        elif value or kind is not inspect.Parameter.VAR_POSITIONAL:  # a network without a constructor has torch's, `*args`
            found[name] = value
    return found


def _handed_on(cls: type) -> dict[str, Any]:
    """Defaults of the base classes' constructors that a ``**rest`` can reach."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base) or not issubclass(base, Configured):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        found |= {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in found}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found
