"""How an input, whose parts belong together, is put together from configs and arguments."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from jsonargparse import ActionConfigFile, Namespace

from ..data.checks import check_unicode
from ..data.input import Input

INPUT = "model.init_args.input"
PARTS = tuple(field.name for field in fields(Input))
SEVERAL = ("prompt", "scene", "images")  # arguments that add up where they are given several times


class ConfigFile(ActionConfigFile):
    """``--config FILE``, laid over what came before; the input's parts by :meth:`peekaboo.data.input.Input.over`."""

    def __call__(self, parser: Any, cfg: Namespace, values: Any, option_string: str | None = None) -> None:
        """Merges a file."""
        before = cfg.get(INPUT)
        if before is not None:
            cfg[INPUT] = None
        super().__call__(parser, cfg, values, option_string)
        if before is not None:
            merged = _input(cfg.get(INPUT)).over(_input(before))
            for part, value in vars(merged).items():
                _parts(before)[part] = value
            cfg[INPUT] = before


def _parts(found: Namespace) -> Namespace:
    """The arguments of an input as the parser holds it, with its class or without."""
    return found.init_args if "init_args" in found else found


def _input(found: Namespace | None) -> Input:
    return Input() if found is None else Input(**{part: _parts(found).get(part) for part in PARTS})


def with_input(args: list[str]) -> list[str]:
    """Gathers ``--model.image``, ``--model.prompt`` and the other parts of an input into one config over all others.

    Their values are text, whatever they would be in YAML; several of one part make a list, as a list in JSON does; null is none.

    >>> with_input(["fit", "--model.prompt", "a: dog", "--config", "raster.yaml"])
    ['fit', '--config', 'raster.yaml', '--config={"model": {"init_args": {"input": {"prompt": "a: dog"}}}}']
    """
    flags = {f"--model.{inside}{part}": part for part in PARTS for inside in ("", "input.", "init_args.", "init_args.input.")}
    out: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(args)
    for argument in rest:
        name, given, value = argument.partition("=")
        if name not in flags:
            out.append(argument)
            continue
        found = value if given else next(rest, None)
        if found is None:
            raise ValueError(f"{name.removeprefix('--')}: expected a value, got none")
        values.setdefault(flags[name], []).append(as_text(found, flags[name]))
    if not values:
        return out
    parts = {part: together(part, some) for part, some in values.items()}
    return [*out, "--config=" + json.dumps({"model": {"init_args": {"input": parts}}}, ensure_ascii=False)]


def together(argument: str, values: list[Any]) -> Any:
    """Of an argument that was given several times: all of the :data:`SEVERAL`, else the last."""
    if len(values) == 1 or argument not in SEVERAL:
        return values[-1]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def as_text(value: str, where: str) -> Any:
    """A list of texts in JSON is a list, null is the empty text that stands for none; all else is text.

    The parser reads every text as YAML once more and prefers what it finds: of ``- x`` a list, of ``#1`` nothing. It leaves texts
    in a list alone, and the name of a file can be said in another way.

    Raises:
        ValueError: for bytes that are no text, as the name of a file may hold; no config could. ``where`` opens the message.
    """
    check_unicode(value, where)
    if value == "null":
        return ""
    if value.startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    if value.startswith(("#", "- ", "[")):
        return [value] if where.endswith("prompt") else f"./{value}"
    return value
