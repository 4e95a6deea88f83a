"""Configurations compared and abbreviated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any


def digest(identity: Any) -> str:
    """Returns eight letters that stand for nested plain values.

    >>> digest({"a": 1, "b": [2, 3]}) == digest({"b": [2, 3], "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the leaves of nested dicts.

    >>> list(flatten({"a": {"b": 1}, "c": []}))
    [('a.b', 1), ('c', [])]
    """
    if not isinstance(tree, dict) or not tree:
        yield prefix, tree
        return
    for key, value in tree.items():
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def differences(then: Any, now: Any, shown: int = 3) -> str:
    """Says in one line what differs between two configurations; empty where nothing does.

    Args:
        then, now: nested plain values.
        shown: how many differences are named.

    >>> differences({"a": 1, "b": 2}, {"a": 1, "b": 3})
    'b was 2, is 3'
    """
    old, new = dict(flatten(then)), dict(flatten(now))
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    changes = [f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:shown]]
    return "; ".join(changes) + (f", and {len(differing) - shown} more" if len(differing) > shown else "")
