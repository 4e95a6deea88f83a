"""Arguments in any order, and text as text: what is done with the command line before it is parsed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

from .configs import as_text, together
from .names import named_configs, read_config

#: Data classes that an argument alone stands for, where neither `--data` nor a config names one.
DATA_OF = {
    "--data.manifest": "peekaboo.data.manifest.ManifestData",
    "--data.images": "peekaboo.data.image_folder.ImageFolderData",
}
EVALUATION = "peekaboo.evaluation.Evaluation"
Argument = list[str]  # an option with its values, or a value that stands alone


def arrange(args: list[str]) -> list[str]:
    """Puts the command line into the form that the parser asks for.

    ``--data.images FOLDER`` and ``--data.manifest FILE`` do without naming a data class. Arguments of the model and of the data
    count wherever they stand, also before what names the class. Arguments that take text take any text, as it stands.

    >>> arrange(["predict", "--data.recursive", "true", "--data.images", "1e5"])[:5]
    ['predict', '--data', 'peekaboo.data.image_folder.ImageFolderData', '--data.recursive', 'true']
    >>> arrange(["predict", "--data.recursive", "true", "--data.images", "1e5"])[5:]
    ['--config={"data": {"init_args": {"images": "1e5"}}}']
    """
    arguments = _behind_their_class(_with_data_class(list(_split(args))))
    return [part for argument in _with_text(arguments) for part in argument]


def _split(args: list[str]) -> Iterator[Argument]:
    """Yields every option with the values behind it."""
    argument: Argument = []
    for part in args:
        if argument and (part.startswith("--") or part == "-c"):
            yield argument
            argument = []
        argument.append(part)
    if argument:
        yield argument


def _name(argument: Argument) -> str:
    return argument[0].split("=", 1)[0]


def _names(argument: Argument, part: str) -> bool:
    """Whether an argument, or the config in it, says of which class the model or the data is."""
    return _name(argument) == f"--{part}" or any(part in read_config(config) for config in named_configs(argument))


def _with_data_class(arguments: list[Argument]) -> list[Argument]:
    given = [place for place, argument in enumerate(arguments) if _name(argument).startswith("--data.")]
    standing = [DATA_OF[_name(argument)] for argument in arguments if _name(argument) in DATA_OF]
    if not standing or any(_names(argument, "data") for argument in arguments):
        return arguments
    return [*arguments[: given[0]], ["--data", standing[0]], *arguments[given[0] :]]


def _behind_their_class(arguments: list[Argument]) -> list[Argument]:
    for part in ("model", "data"):
        named = next((place for place, argument in enumerate(arguments) if _names(argument, part)), 0)
        early = [argument for argument in arguments[:named] if _name(argument).startswith(f"--{part}.")]
        others = [argument for argument in arguments[:named] if argument not in early]
        arguments = [*others, *arguments[named : named + 1], *early, *arguments[named + 1 :]]
    return arguments


def _with_text(arguments: list[Argument]) -> list[Argument]:
    """Gives the values of text as a config, where a text cannot be taken for a number or a mapping, and several make a list."""
    known = {"--data.init_args.": _text_of(_data_class(arguments)), "--evaluation.": _text_of(EVALUATION)}
    known["--data."] = known["--data.init_args."]
    out: list[Argument] = []
    data: dict[str, list[Any]] = {}
    evaluation: dict[str, list[Any]] = {}
    for argument in arguments:
        (option, given, value), rest = argument[0].partition("="), argument[1:]
        inside = next(
            (start for start, names in known.items() if option.startswith(start) and option[len(start) :] in names), None
        )
        if inside is None or len(rest) != (0 if given else 1):
            out.append(argument)
            continue
        place = data if inside.startswith("--data") else evaluation
        text = as_text(value if given else rest[0], option.removeprefix("--"))
        place.setdefault(option.removeprefix(inside), []).append(text)
    of_data, of_evaluation = ({name: together(name, some) or None for name, some in own.items()} for own in (data, evaluation))
    for content in ({"data": {"init_args": of_data}} if data else {}, {"evaluation": of_evaluation} if evaluation else {}):
        if content:
            out.append(["--config=" + json.dumps(content, ensure_ascii=False)])
    return out


def _data_class(arguments: list[Argument]) -> str | None:
    found = None
    for argument in arguments:
        if _name(argument) == "--data":
            found = argument[0].partition("=")[2] or next(iter(argument[1:]), None)
        for config in named_configs(argument):
            data = read_config(config).get("data")
            found = data.get("class_path", found) if isinstance(data, dict) else found
    return found


def _text_of(class_path: str | None) -> set[str]:
    """The arguments of a class that take texts and nothing else but null; none of a class that cannot be found."""
    module, _, name = (class_path or "").rpartition(".")
    try:
        hints = get_type_hints(getattr(importlib.import_module(module), name).__init__)
    except Exception:  # the parser says what is wrong with it
        return set()
    return {argument for argument, hint in hints.items() if _is_text(hint)}


def _is_text(hint: Any) -> bool:
    return hint is str or (str in get_args(hint) and set(get_args(hint)) <= {str, list[str], type(None)})
