"""What each teacher costs: parameters, memory, operations, and seconds where there is a device.

    python benchmarks/teachers.py                                      # counted, on the meta device
    python benchmarks/teachers.py --resolution 512
    python benchmarks/teachers.py sdxl sana --device cuda --repeats 5   # measured, too, with random weights

One iteration is one image: the encoder forth and back, and the denoiser without gradient, of two texts where the teacher is
guided and of one where it is not. "GB" are 1e9 bytes in bfloat16, with the text encoders and without. "kept" is what autograd
keeps of the encoder for the way back, without the matrix of its one attention, which fused kernels do not keep. Operations are
those of products and convolutions, two for each multiplication with an addition; where the computation depends on values, of
which the meta device has none, they are not counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import machine, median_seconds, print_table, reset_peak_memory, write_json
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from true_configurations import TEACHERS, build

from peekaboo.teachers.families import Family
from peekaboo.teachers.text import Text

#: Of the text.
TOKENS, OTHER_TOKENS = {"sd14": 77, "sd21": 77, "sdxl": 77, "sd3": 333, "flux_dev": 512, "flux_schnell": 256}, 300
GIGA = 1e9


def count(network: Any) -> int:
    """Numbers in a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def text_of(name: str, family: Family, prompts: int, device: str, dtype: torch.dtype) -> Text:
    """Random text of the family's shape."""
    config = family.denoiser.config
    widths = ("cross_attention_dim", "joint_attention_dim", "caption_channels", "cap_feat_dim")
    read = [key for key in widths if getattr(config, key, None)]
    if "caption_channels" in read:
        read = ["caption_channels"]
    length = TOKENS["sd3"] if name.startswith("sd3") else TOKENS.get(name, OTHER_TOKENS)
    pooled = getattr(config, "pooled_projection_dim", None) or (1280 if name == "sdxl" else 1)
    made = {
        "embeddings": torch.randn(prompts, length, getattr(config, read[0]), device=device, dtype=dtype),
        "pooled": torch.randn(prompts, pooled, device=device, dtype=dtype),
        "mask": torch.ones(prompts, length, device=device, dtype=torch.bool),
    }
    return Text(**{key: made[key] for key in family.reads})


def iteration(name: str, family: Family, device: str, dtype: torch.dtype) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Encoding with the way back, and predicting."""
    side, texts = family.latent_side, 2 if guided(family) else 1
    image = torch.rand(1, 3, family.resolution, family.resolution, device=device, dtype=dtype)
    latents = torch.randn(texts, family.autoencoder.channels, side, side, device=device, dtype=dtype)
    text, t = text_of(name, family, texts, device, dtype), torch.full((texts,), 500, device=device)

    def encode() -> Tensor:
        seen = image.clone().requires_grad_()
        encoded = family.autoencoder.encode(2 * seen - 1)
        return torch.autograd.grad(encoded, seen, torch.ones_like(encoded))[0]

    @torch.no_grad()
    def predict() -> Tensor:
        return family.denoise(latents, t, text)

    return encode, predict


def guided(family: Family) -> bool:
    """Whether the model is asked twice in an iteration."""
    return family.classifier_free and family.embedded_guidance is None


def operations(run: Callable[[], Any]) -> int:
    """Operations of products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def kept(family: Family, dtype: torch.dtype) -> int:
    """Bytes that autograd keeps of the encoder, on the meta device, without matrices of place by place."""
    storages: dict[int, int] = {}
    held = []

    def pack(tensor: Tensor) -> Tensor:
        attention = tensor.ndim >= 3 and tensor.shape[-1] == tensor.shape[-2] == family.latent_side**2
        if not attention and not isinstance(tensor, torch.nn.Parameter):
            held.append(tensor)  # or an address could be used twice
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    seen = torch.rand(1, 3, family.resolution, family.resolution, device="meta", dtype=dtype, requires_grad=True)
    weights = {parameter.untyped_storage()._cdata for parameter in family.autoencoder.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        family.autoencoder.encode(seen)
    return sum(size for address, size in storages.items() if address not in weights)


def counted(name: str, resolution: int | None) -> dict[str, Any]:
    """A teacher's row that needs no device."""
    family = build(name, resolution)
    denoiser, encoder = count(family.denoiser), count(family.autoencoder)
    texts = sum(count(text.network) for text in family.encoders)
    encode, predict = iteration(name, family, "meta", torch.bfloat16)
    row: dict[str, Any] = {"teacher": name, "resolution": family.resolution, "denoiser_millions": denoiser / 1e6}
    row |= {"text_millions": texts / 1e6, "encoder_millions": encoder / 1e6}
    row |= {"gb_at_rest": 2 * (denoiser + encoder) / GIGA, "gb_with_text": 2 * (denoiser + encoder + texts) / GIGA}
    row |= {"gb_kept": kept(family, torch.bfloat16) / GIGA, "encode_tflop": operations(encode) / 1e12}
    try:
        row["predict_tflop"] = operations(predict) / 1e12
    except (NotImplementedError, RuntimeError, NameError):  # it looks at the values of its mask, which there are none of
        row["predict_tflop"] = None
    return row


def measured(name: str, resolution: int | None, device: str, repeats: int) -> dict[str, float]:
    """Seconds and memory of an iteration with random weights."""
    reset_peak_memory(device)
    family = build(name, resolution, device)
    encode, predict = iteration(name, family, device, torch.bfloat16)
    row = {"encode_s": median_seconds(encode, device, repeats), "predict_s": median_seconds(predict, device, repeats)}
    if device.startswith("cuda"):
        row["peak_gb"] = torch.cuda.max_memory_allocated() / GIGA
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teachers", nargs="*", default=list(TEACHERS), help="of " + ", ".join(TEACHERS))
    parser.add_argument("--resolution", type=int, help="in pixels; each teacher's own where nothing is said")
    parser.add_argument("--device", help="to measure on, with random weights; without it only counted")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    if unknown := sorted(set(options.teachers) - set(TEACHERS)):
        parser.error(f"teachers: expected some of {', '.join(TEACHERS)}, got {', '.join(unknown)}")
    about = machine(options.device or "cpu")
    print(about)
    rows: list[dict[str, Any]] = []

    def table() -> Any:
        for name in options.teachers:
            row = counted(name, options.resolution)
            if options.device:
                row |= measured(name, options.resolution, options.device, options.repeats)
            rows.append(row)
            seconds = [row.get(key, "not measured") for key in ("encode_s", "predict_s", "peak_gb")]
            predicted = "not counted" if row["predict_tflop"] is None else row["predict_tflop"]
            yield [
                name,
                row["resolution"],
                f"{row['denoiser_millions']:.1f}",
                f"{row['text_millions']:.0f}",
                row["gb_at_rest"],
                row["gb_with_text"],
                row["gb_kept"],
                row["encode_tflop"],
                predicted,
                *seconds,
            ]

    head = ["teacher", "pixels", "denoiser M", "text M", "GB", "GB with text", "GB kept", "encode TFLOP", "predict TFLOP"]
    print_table([*head, "encode s", "predict s", "peak GB"], table())
    write_json(options.output, machine=about, arguments={k: str(v) for k, v in vars(options).items()}, rows=rows)


if __name__ == "__main__":
    main()
