"""A bank of encoded training scenes: composing and encoding once costs less than doing it anew each epoch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from lightning import LightningDataModule
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from tqdm import tqdm

from .data import Mixture, SceneStream, to_tensor, training_caption, training_scene


class _Scenes(Dataset[tuple[Tensor, str]]):
    def __init__(self, seed: int, count: int, mixture: Mixture) -> None:
        self.seed, self.count, self.mixture = SceneStream(seed).seed, count, mixture

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        scene = training_scene(self.seed, index, mixture=self.mixture)
        return to_tensor(scene), training_caption(scene, np.random.default_rng([self.seed, index, 1]))


class _Bank(Dataset[dict[str, object]]):
    def __init__(self, tensors: dict[str, Tensor], captions: list[str]) -> None:
        self.mean, self.deviation, self.captions = tensors["mean"], tensors["deviation"], captions

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"mean": self.mean[index].float(), "deviation": self.deviation[index].float(), "caption": self.captions[index]}


class LatentSceneData(LightningDataModule):
    """Batches of ``mean``, ``deviation`` (N, C, h, w) of the posterior of training scenes and their ``caption``.

    Args:
        vae: folder of the `AutoencoderKL`.
        cache: folder that keeps the encoded scenes; encoded anew if the folder holds another seed, count or autoencoder.
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

    def prepare_data(self) -> None:
        weights = self.vae / "diffusion_pytorch_model.safetensors"
        identity = {
            "seed": self.seed,
            "count": self.count,
            **json.loads(json.dumps(asdict(self.mixture))),  # as it will be read back
            "vae": str(self.vae),
            "written": weights.stat().st_mtime_ns,
        }
        record = self.cache / "bank.json"
        if record.exists() and json.loads(record.read_text())["identity"] == identity:
            return
        self.cache.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)  # it is of the tensors that are replaced
        tensors, captions = self._encode()
        save_file(tensors, self.cache / "bank.safetensors")
        record.write_text(json.dumps({"identity": identity, "captions": captions}))

    @torch.no_grad()
    def _encode(self) -> tuple[dict[str, Tensor], list[str]]:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        vae = AutoencoderKL.from_pretrained(self.vae, dtype=torch.float32, low_cpu_mem_usage=False).to(device).eval()
        vae.to(memory_format=torch.channels_last)  # and a few at a time on a CPU: twice as fast there
        means, deviations, captions = [], [], []
        loader = DataLoader(_Scenes(self.seed, self.count, self.mixture), 64, num_workers=self.num_workers)
        for image, caption in tqdm(loader, "encoding scenes", unit="batch"):
            for part in image.to(device, memory_format=torch.channels_last).split(len(image) if device == "cuda" else 4):
                with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):  # few CPUs are quick in bfloat16
                    posterior = vae.encode(part * 2 - 1).latent_dist
                means.append(posterior.mean.half().cpu())
                deviations.append(posterior.std.half().cpu())
            captions.extend(caption)
        return {"mean": torch.cat(means).contiguous(), "deviation": torch.cat(deviations).contiguous()}, captions

    def setup(self, stage: str) -> None:
        captions = json.loads((self.cache / "bank.json").read_text())["captions"]
        self.bank = _Bank(load_file(self.cache / "bank.safetensors"), captions)

    def train_dataloader(self) -> DataLoader[dict[str, object]]:
        sampler = RandomSampler(self.bank, num_samples=10**8, replacement=True)
        return DataLoader(self.bank, self.batch_size, sampler=sampler)
