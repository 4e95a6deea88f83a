"""The mean of two denoisers: ``python -m peekaboo.pretraining.average FIRST SECOND --output FOLDER``.

Two networks of which one was trained on from the other lie in one basin of the loss, and the mean of their weights is often
better than either (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from ..teachers.base import quiet_loading
from .unet import MAX_SHARD


def average_denoisers(first: Path, second: Path, output: Path, share: float = 0.5) -> None:
    """Writes the pipeline of ``second`` with the weights (1 - share) * first + share * second in its denoiser, in float16.

    Args:
        first, second: folders of two pipelines in the layout of a StableDiffusionPipeline.
        output: folder that is written; it must not be there yet.
        share: of the second one, in [0, 1].

    Raises:
        ValueError: for a share outside [0, 1], a folder without a denoiser, denoisers of different sizes, or an output that is
            there.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected a number in [0, 1], got {share}")
    for folder in (first, second):
        if not (folder / "unet" / "config.json").is_file():
            raise ValueError(f"expected the folder of a pipeline with a unet/config.json, got {str(folder)!r}")
    if output.exists():
        raise ValueError(f"output: expected a new folder, got {str(output)!r}, which is there")
    quiet_loading()
    options = {"subfolder": "unet", "dtype": torch.float32, "low_cpu_mem_usage": False}
    networks = [UNet2DConditionModel.from_pretrained(folder, use_safetensors=True, **options) for folder in (first, second)]
    weights, others = (network.state_dict() for network in networks)
    sizes = [{name: tensor.shape for name, tensor in state.items()} for state in (weights, others)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"expected two denoisers of the same sizes, got those of {str(first)!r} and {str(second)!r}")
    networks[1].load_state_dict({name: torch.lerp(tensor, others[name], share) for name, tensor in weights.items()})
    shutil.copytree(second, output, ignore=shutil.ignore_patterns("unet"))
    networks[1].half().save_pretrained(output / "unet", max_shard_size=MAX_SHARD)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="folder of a pipeline")
    parser.add_argument("second", type=Path, help="folder of another, whose other parts are taken over")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    parser.add_argument("--share", type=float, default=0.5, help="of the second one")
    options = parser.parse_args()
    try:
        average_denoisers(options.first, options.second, options.output, options.share)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
