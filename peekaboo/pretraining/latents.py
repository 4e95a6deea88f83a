"""A bank of encoded training scenes: composing and encoding once costs less than doing it anew each epoch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from lightning import LightningDataModule
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from tqdm import tqdm

from .data import Mixture, SceneStream, to_tensor, training_caption, training_scene

PART = 1000  # scenes a file: what an interruption can cost


class _Scenes(Dataset[tuple[Tensor, str]]):
    """The training scenes ``first`` to ``last``, the latter not among them."""

    def __init__(self, seed: int, first: int, last: int, mixture: Mixture) -> None:
        self.seed, self.first, self.last, self.mixture = SceneStream(seed).seed, first, last, mixture

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, place: int) -> tuple[Tensor, str]:
        index = self.first + place
        scene = training_scene(self.seed, index, mixture=self.mixture)
        return to_tensor(scene), training_caption(scene, np.random.default_rng([self.seed, index, 1]))


class _Bank(Dataset[dict[str, object]]):
    def __init__(self, files: list[Path]) -> None:
        tensors = [load_file(file) for file in files]
        self.mean, self.deviation = (torch.cat([part[key] for part in tensors]) for key in ("mean", "deviation"))
        self.captions = [caption for file in files for caption in _captions(file)]

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"mean": self.mean[index].float(), "deviation": self.deviation[index].float(), "caption": self.captions[index]}


def _captions(file: Path) -> list[str]:
    with safe_open(file, "pt") as content:
        return list(json.loads(content.metadata()["captions"]))


class LatentSceneData(LightningDataModule):
    """Batches of ``mean``, ``deviation`` (N, C, h, w) of the posterior of training scenes and their ``caption``.

    The bank is a folder of files of ``PART`` scenes. One that was interrupted goes on where it was, and one that shall be larger
    keeps what it has; one of another seed, mixture or autoencoder is encoded anew.

    Args:
        vae: folder of the `AutoencoderKL`.
        cache: folder that keeps the encoded scenes.
        count: scenes in the bank.
        batch_size: scenes a batch.
        seed: of the scenes.
        num_workers: processes that compose while the bank is filled.
        mixture: what the scenes show.
    """

    def __init__(
        self,
        vae: str,
        cache: str,
        count: int = 60000,
        batch_size: int = 32,
        seed: int = 2000,
        num_workers: int = 2,
        mixture: Mixture = Mixture(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.vae, self.cache, self.count = Path(vae), Path(cache), count
        self.batch_size, self.seed, self.num_workers = batch_size, seed, num_workers
        self.mixture = mixture

    def files(self) -> dict[Path, tuple[int, int]]:
        """Returns the files of the bank, each with its first scene and the one behind its last."""
        spans = [(first, min(first + PART, self.count)) for first in range(0, self.count, PART)]
        return {self.cache / f"{first:06d}-{last:06d}.safetensors": (first, last) for first, last in spans}

    def prepare_data(self) -> None:
        weights = self.vae / "diffusion_pytorch_model.safetensors"
        mixture = json.loads(json.dumps(asdict(self.mixture)))  # as it will be read back
        identity = {"seed": self.seed, **mixture, "vae": str(self.vae), "written": weights.stat().st_mtime_ns}
        self.cache.mkdir(parents=True, exist_ok=True)
        record = self.cache / "bank.json"
        if not record.exists() or json.loads(record.read_text()) != identity:
            for file in self.cache.glob("*-*.safetensors"):
                file.unlink()
            record.write_text(json.dumps(identity, indent=2))
        if missing := {file: span for file, span in self.files().items() if not file.exists()}:
            self._encode(missing)

    @torch.no_grad()
    def _encode(self, missing: dict[Path, tuple[int, int]]) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        vae = AutoencoderKL.from_pretrained(self.vae, dtype=torch.float32, low_cpu_mem_usage=False).to(device).eval()
        vae.to(memory_format=torch.channels_last)  # and a few at a time on a CPU: twice as fast there
        with tqdm(total=sum(last - first for first, last in missing.values()), desc="encoding scenes", unit="scene") as bar:
            for file, (first, last) in missing.items():
                means, deviations, captions = [], [], []
                for image, caption in DataLoader(_Scenes(self.seed, first, last, self.mixture), 64, num_workers=self.num_workers):
                    for part in image.to(device, memory_format=torch.channels_last).split(64 if device == "cuda" else 4):
                        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):  # few CPUs are quick in it
                            posterior = vae.encode(part * 2 - 1).latent_dist
                        means.append(posterior.mean.half().cpu())
                        deviations.append(posterior.std.half().cpu())
                    captions.extend(caption)
                    bar.update(len(caption))
                tensors = {"mean": torch.cat(means).contiguous(), "deviation": torch.cat(deviations).contiguous()}
                written = file.with_suffix(".part")  # half a file is none
                save_file(tensors, written, {"captions": json.dumps(captions)})
                written.replace(file)

    def setup(self, stage: str) -> None:
        self.bank = _Bank(list(self.files()))

    def train_dataloader(self) -> DataLoader[dict[str, object]]:
        sampler = RandomSampler(self.bank, num_samples=10**8, replacement=True)
        return DataLoader(self.bank, self.batch_size, sampler=sampler)
