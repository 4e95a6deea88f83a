"""What people write, in the words of the parser: short options of `fit`, `test` and `predict`."""

from __future__ import annotations

from .names import CONFIG, find_config, teacher_of

DEFAULT = "rgb_bilateral"
#: Short options, and what each stands for; those of a data set stand for others than those of a fit.
SHORT = {"--iterations": "--model.iterations", "--seed": "--model.seed"}
OF_FIT = {f"--{part}": f"--model.{part}" for part in ("image", "prompt", "mask", "foreground", "scene")}
OF_DATA = {"--images": "--data.images", "--prompt": "--data.prompt"}
LETTERS = {"-o": "--output", "-p": "--prompt"}
NAMED = ("--variant", "--teacher", "--device")  # values that are names of this program's
LONG = ("--model.", "--data.", "--evaluation.", *CONFIG)  # options whose value is let through, whatever it is


def written_out(args: list[str]) -> list[str]:
    """Puts the parser's own options in the place of short ones. What names a config stands before all other configs.

    A `fit` whose arguments name no config and no class is of the default variant.

    >>> written_out(["fit", "--variant", "raster", "--iterations=9", "-o", "out"])
    ['fit', '--config=raster', '--model.iterations=9', '--output=out']
    >>> written_out(["fit", "--config", "raster", "--teacher", "sd15", "--device", "cpu"])
    ['fit', '--config', 'raster', '--config=teachers/sd15', '--trainer.accelerator=cpu']

    Raises:
        ValueError, FileNotFoundError: for a teacher or a variant that there is none of, and for an option without its value.
    """
    command, rest = args[0], iter(args[1:])
    known = {**SHORT, **(OF_FIT if command == "fit" else OF_DATA)}
    out: list[str] = []
    named: dict[str, str] = {}
    for argument in rest:
        option, given, value = argument.partition("=")
        option = LETTERS.get(option, option)
        if option not in known and option not in NAMED and option not in LETTERS.values():
            out.append(argument)
            out += [value for value in [next(rest, None)] if value is not None] if option.startswith(LONG) and not given else []
            continue
        found = value if given else next(rest, None)
        if found is None:
            raise ValueError(f"{option.removeprefix('--')}: expected a value, got none")
        if option in NAMED:
            named[option] = found
        else:
            out.append(f"{known.get(option, option)}={found}")
    return [command, *_with_configs(out, named, command), *_device(named.get("--device"))]


def _with_configs(args: list[str], named: dict[str, str], command: str) -> list[str]:
    """Puts the variant before all, and the teacher behind the first config, which is the variant."""
    variant = named.get("--variant")
    if variant is None and command == "fit" and not any(_option(one) in (*CONFIG, "--model", "--help", "-h") for one in args):
        if not args and not named:
            raise ValueError(
                f"model: expected --variant NAME or --config NAME, e.g. --variant {DEFAULT}; `peekaboo configs` lists them"
            )
        variant = DEFAULT
    if variant is not None:
        find_config(variant)
        args = [f"--config={variant}", *args]
    if (teacher := named.get("--teacher")) is None:
        return args
    overlay, path = teacher_of(teacher)
    if overlay is not None:
        first = next((place for place, one in enumerate(args) if _option(one) in CONFIG), None)
        behind = 0 if first is None else first + (1 if "=" in args[first] else 2)
        args = [*args[:behind], f"--config={overlay}", *args[behind:]]
    return args if path is None else [*args, f"--model.loss.teacher.path={path}"]


def _option(argument: str) -> str:
    return argument.partition("=")[0]


def _device(name: str | None) -> list[str]:
    """The trainer's arguments for ``cuda``, ``cuda:1``, ``mps``, ``cpu``."""
    if name is None:
        return []
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda", "gpu", "mps", "tpu") or (number and not number.isdecimal()):
        raise ValueError(f"device: expected auto, cpu, cuda, cuda:1 or mps, got {name!r}")
    return [f"--trainer.accelerator={kind}", *([f"--trainer.devices=[{number}]"] if number else [])]
