"""One line out of what the argument parser says in twenty."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable

from .names import did_you_mean

_NOISE = re.compile(
    r"Does not validate against any of the Union subtypes|Subtypes: |Errors:$|Given value type|"
    r"Expected a <class 'NoneType'>|Expected a path but .* either not accessible or invalid"
)
_KEY = re.compile(r'Parser key "([^"]+)":?')
_CLASS = re.compile(r"Problem with given class_path '([^']+)':?")
_TYPE = re.compile(r"Expected an? (?:<class '(?P<name>[^']+)'>|typing\.(?P<other>.+?))(?:\. Got value: (?P<value>.*))?$")
_OTHER_CLASS = re.compile(r"Import path \S+ does not correspond to a subclass of ")  # of the union's other members
_GIVEN = re.compile(r"Given value: (?P<value>.*)")


_CLASS_OPTION = re.compile(r"'(?P<path>[\w.]+\.\w+)'.*?Option '(?P<option>\w+)' is not accepted", re.DOTALL)
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments: (?P<option>-[^\s=]+)")


def suggestion(message: str, options: Iterable[str]) -> str:
    """Returns what was probably meant where an option is not known, to be added to the parser's message; else nothing.

    >>> suggestion("unrecognized arguments: --trainer.precison=32", ["--trainer.precision"])
    "; did you mean '--trainer.precision'?"
    >>> suggestion("'peekaboo.data.input.Input': Option 'imge' is not accepted", [])
    "; did you mean 'image'?"
    """
    if found := _UNRECOGNIZED.search(message):
        return did_you_mean(found["option"], options)
    if found := _CLASS_OPTION.search(message):
        return did_you_mean(found["option"], _arguments_of(found["path"]))
    return ""


def _arguments_of(path: str) -> list[str]:
    """The constructor's arguments of a class, and those of an input that stand for themselves."""
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
        return [*inspect.signature(kind.__init__).parameters, "image", "prompt", "mask"]
    except Exception:  # the message says what is wrong
        return []


def one_line(text: str) -> str:
    """Says which argument, what was expected and what came; a text of another kind is only put on one line.

    >>> lines = ['Parser key "model":', "Problem with given class_path 'a.B':", 'Parser key "iterations":']
    >>> one_line(chr(10).join([*lines, "Expected a <class 'int'>. Got value: many"]))
    "model.iterations: expected int, got 'many'"
    >>> one_line(chr(10).join(["settled: expected 1, got 0", "Import path a.B does not correspond to a subclass of C"]))
    'settled: expected 1, got 0'
    """
    keys: list[str] = []
    kind, said = "", []
    expected: list[str] = []  # of a value that may be of several types, which are said before the value
    for line in text.splitlines():
        line = line.strip().removeprefix("- ").strip()
        if key := _KEY.match(line):
            keys += [key[1]] if key[1] not in keys else []
            line = line[key.end() :].strip()
        if given := _CLASS.match(line):
            kind, line = given[1], line[given.end() :].strip()
        value = _GIVEN.match(line)
        if not _NOISE.match(line) and (type_ := _TYPE.match(line)):
            name = type_["name"] or type_["other"]
            expected += [name] if name not in expected else []
            value = type_ if type_["value"] is not None else None
        elif line and not value and not _NOISE.match(line) and line not in said:
            said.append(line)
        if value and expected:
            said.append(f"expected {' or '.join(expected)}, got {value['value']!r}")
            expected = []
    message = "; ".join([line for line in said if not _OTHER_CLASS.match(line)] or said)
    if kind and re.match(r"No module|module '|Option ", message):
        message = f"class_path {kind!r}: {message}"
    return ": ".join(part for part in (".".join(keys), message) if part)
