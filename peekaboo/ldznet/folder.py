"""A trained network as a folder: its weights in safetensors, and all that it takes to build it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data.checks import read_json, user_path
from ..identity import differences
from ..results.writing import write_bytes, write_json
from ..teachers.diffusion import Diffusion
from .network import SegmentationNetwork

Kind = Literal["RGBNet", "ZNet", "LDZNet", "ConcatNet"]
CONFIG, WEIGHTS, FORMAT = "config.json", "network.safetensors", 1
LAYOUT = f"the folder of a trained RGBNet, ZNet or LD-ZNet, with {CONFIG} and {WEIGHTS}"
SOURCE = "`peekaboo fit --config ldznet/ldznet` writes one"


@dataclass(frozen=True)
class Description:
    """What the folder of a trained network says of it.

    Attributes:
        kind: which of the four networks it is.
        network: arguments of :class:`SegmentationNetwork`.
        latent: whether it reads latents.
        blocks: numbers of the teacher's blocks whose features it reads.
        timesteps: first and last of the timesteps that these were read at in training.
        template: of prompts where nothing is drawn.
        templates: of the training.
        teacher: path, resolution and digest of the weights.
        training: how it was trained, for the record.
    """

    kind: Kind
    network: dict[str, Any]
    latent: bool
    blocks: list[int]
    timesteps: list[int]
    template: str
    templates: list[str]
    teacher: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)


def describe_teacher(teacher: Diffusion) -> dict[str, Any]:
    """Returns where a teacher came from, at which resolution, and which weights it has."""
    return {"path": teacher.name, "resolution": teacher.resolution, "digest": teacher.digest.hex()[:16]}


def check_teacher(then: dict[str, Any], teacher: Diffusion, argument: str) -> None:
    """Makes sure that a teacher is the one of a training; where its folder lies does not count.

    Raises:
        ValueError: if its weights or its resolution differ.
    """
    now = describe_teacher(teacher)
    keys = ("digest", "resolution")
    if changes := differences({key: then.get(key) for key in keys}, {key: now[key] for key in keys}):
        raise ValueError(
            f"{argument}: expected the teacher of the training, {then.get('path')!r}, got {now['path']!r}, which is another: "
            f"{changes}"
        )


def save_network(folder: Path, network: SegmentationNetwork, description: Description, dtype: torch.dtype) -> Path:
    """Writes a trained network; a folder that is there is replaced file by file, each whole.

    Args:
        folder: made if it does not exist.
        network: whose weights; it stays as it is.
        description: of it.
        dtype: that the weights are written in.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights: dict[str, Tensor] = {}
    for name, tensor in network.state_dict().items():
        plain = tensor.detach().cpu()
        weights[name] = (plain.to(dtype) if plain.is_floating_point() else plain).contiguous()
    write_bytes(folder / WEIGHTS, save(weights, {"kind": description.kind}))
    write_json(folder / CONFIG, {"format": FORMAT, **asdict(description)})
    return folder


def read_description(path: str | Path) -> Description:
    """Reads what a folder says of its network.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if it is something else.
    """
    folder = user_path(path)
    if not folder.is_dir() or not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        met = "" if folder.is_dir() else ", which does not exist"
        if folder.is_file():
            met = ", which is a file" + ("; a checkpoint is for `fit --ckpt_path`" if folder.suffix == ".ckpt" else "")
        raise FileNotFoundError(f"folder: expected {LAYOUT}, got {str(path)!r}{met}; {SOURCE}")
    found = read_json(folder / CONFIG, "folder")
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
        raise ValueError(f"folder: expected {LAYOUT}, got {str(path)!r}, whose {CONFIG} is of something else")
    try:
        return Description(**found)
    except TypeError as error:
        raise ValueError(f"folder: expected {LAYOUT}, got {str(path)!r}, whose {CONFIG} is broken ({error})") from None


def load_network(path: str | Path, description: Description) -> SegmentationNetwork:
    """Builds a trained network in float32 with its weights, in eval mode.

    Raises:
        ValueError: if the weights are broken or of another network.
    """
    file = user_path(path) / WEIGHTS
    with torch.random.fork_rng(devices=[]):
        network = SegmentationNetwork(**description.network)
    try:
        with safe_open(file, "pt") as content:
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    except (SafetensorError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"folder: expected the weights of a {description.kind} in {str(file)!r}, got others ({reason})"
        ) from None
    return network.eval().requires_grad_(False)


def plain(value: Any) -> Any:
    """Returns nested values as JSON gives them back: lists for tuples."""
    return json.loads(json.dumps(value))
