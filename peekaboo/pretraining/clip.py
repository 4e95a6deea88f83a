"""The embedded CLIP: its text tower becomes, frozen, the teacher's text encoder, as in Stable Diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTextModel, CLIPTokenizer

from ..data.looks import vocabulary
from ..data.scenes import noun_phrase
from .base import Pretraining
from .data import HELD_OUT_LOOKS, held_out_scenes, to_tensor
from .tokenizer import MAX_LENGTH, build_tokenizer

MEAN, DEVIATION = 0.5, 0.5


class _Towers(nn.Module):
    """A CLIP and a small convolutional image encoder that sees noisy thumbnails."""

    clip: Any

    def __init__(self, clip: CLIPModel, width: int = 32) -> None:
        super().__init__()
        self.clip = clip
        layers: list[nn.Module] = []
        channels = [3, width, 2 * width, 4 * width, 6 * width, 8 * width]
        for before, after in zip(channels, channels[1:], strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], clip.config.projection_dim)

    def vit(self, image: Tensor) -> Tensor:
        """Returns the normalised embeddings of the CLIP's own image tower."""
        return F.normalize(self.clip.visual_projection(self.clip.vision_model(image).pooler_output), dim=-1)

    def conv(self, noisy: Tensor) -> Tensor:
        """Returns the normalised embeddings of the thumbnails' encoder."""
        return F.normalize(self.head(self.convolutions(noisy)), dim=-1)


class CLIPTraining(Pretraining):
    """Trains a `CLIPModel` contrastively on scenes and their captions.

    Two losses: cross-entropy over the 122 names, with all the objects that a caption names as positives, and InfoNCE over
    the captions of the batch. A convolutional encoder of noisy thumbnails learns with the same losses: it is quick, so it
    gives the text tower its geometry (and one that holds under noise, which is what a diffusion teacher needs) while the
    vision transformer is still learning to see. It serves until the text tower is frozen and is thrown away then.

    Args:
        output: folder that gets ``clip`` (CLIPModel, tokenizer, image processor) and ``text_encoder`` (CLIPTextModel).
        start: folder of a CLIP to go on from (`peekaboo/assets/clip`, say): its text tower stays as it is, the image tower
            trains on. The sizes are then the CLIP's own. None to begin anew.
        text_width, text_layers, vision_width, vision_layers, patch: sizes of the two transformers.
        freeze_text_after: share of the training after which the text tower stays as it is, and is exported.
        look_every: steps between two looks at what it names of objects that no training sees; 0 for none.
        learning_rate, minutes, export_every: see :class:`Pretraining`.
    """

    name_tokens: Tensor

    def __init__(
        self,
        output: str,
        start: str | None = None,
        text_width: int = 128,
        text_layers: int = 3,
        vision_width: int = 192,
        vision_layers: int = 6,
        patch: int = 16,
        freeze_text_after: float = 0.5,
        look_every: int = 500,
        learning_rate: float = 1e-3,
        minutes: float | None = None,
        export_every: int = 0,
    ) -> None:
        folder = Path(output) / "tokenizer"
        if start is None:
            self.tokenizer = build_tokenizer(folder)
        else:  # its text tower knows the ids of its own tokenizer
            self.tokenizer = CLIPTokenizer.from_pretrained(start)
            self.tokenizer.save_pretrained(folder)
        text = {
            "hidden_size": text_width,
            "intermediate_size": 4 * text_width,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 4,
            "vocab_size": len(self.tokenizer),
            "max_position_embeddings": MAX_LENGTH,
            "bos_token_id": self.tokenizer.bos_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
            "projection_dim": text_width,
        }
        vision = {
            "hidden_size": vision_width,
            "intermediate_size": 4 * vision_width,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": 4,
            "image_size": 128,
            "patch_size": patch,
            "projection_dim": text_width,
        }
        clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=text_width))
        if start is not None:
            clip = CLIPModel.from_pretrained(start, dtype=torch.float32)
        super().__init__(_Towers(clip), output, learning_rate=learning_rate, minutes=minutes, export_every=export_every)
        self.freeze_text_after = freeze_text_after if start is None else 0.0
        self.text_frozen, self.look_every = False, look_every
        phrases = [noun_phrase(name) for name in vocabulary()]
        self.register_buffer("name_tokens", self._tokens(phrases), persistent=False)

    def _tokens(self, captions: list[str]) -> Tensor:
        # Padding stands behind the pooled token of a causal tower and cannot change it: as little of it as the batch allows.
        return self.tokenizer(captions, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt").input_ids

    def _text(self, tokens: Tensor) -> Tensor:
        clip = self.network.clip
        return F.normalize(clip.text_projection(clip.text_model(tokens).pooler_output), dim=-1)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        if not self.text_frozen and self.progress() >= self.freeze_text_after:
            self._freeze_text()
        image = (batch["image"] - MEAN) / DEVIATION
        sigma = torch.rand(len(image), 1, 1, 1, device=self.device)
        grain = 0.7 * sigma * (torch.rand_like(sigma) < 0.4)
        views = {"vit": self.network.vit(image + grain * torch.randn_like(image))}
        if not self.text_frozen:
            noisy = F.avg_pool2d(image, 2) + 1.5 * sigma * torch.randn_like(image[..., ::2, ::2])
            views["conv"] = self.network.conv(noisy)
        names, captions = self._text(self.name_tokens), self._text(self._tokens(batch["caption"]).to(self.device))
        scale = self.network.clip.logit_scale.exp().clamp(max=100)
        same = torch.tensor([[a == b for b in batch["caption"]] for a in batch["caption"]], device=self.device).float()
        same = same / same.sum(1, keepdim=True)
        loss = image.new_zeros(())
        for tag, view in views.items():
            logits = scale * view @ names.T
            pairs = scale * view @ captions.T
            loss = loss + F.cross_entropy(logits, batch["names"])
            loss = loss + 0.5 * (F.cross_entropy(pairs, same) + F.cross_entropy(pairs.T, same))
            hit = batch["names"].gather(1, logits.argmax(1, keepdim=True)) > 0
            self.log(f"top1_{tag}", hit.float().mean(), prog_bar=True)
        self.log("loss", loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(outputs, batch, batch_idx)
        if self.look_every and self.global_step % self.look_every == 0:
            shares = self.named_right()
            self.log_dict({f"named_{tag}": share for tag, share in shares.items()})
            print(f"step {self.global_step}:", ", ".join(f"{tag} {share:.3f}" for tag, share in shares.items()), flush=True)

    @torch.no_grad()
    def named_right(self, count: int = 100) -> dict[str, float]:
        """The share of held-out single objects that the averaged network names, of 122, for each of ``HELD_OUT_LOOKS``."""
        towers, words = self.average.module, list(vocabulary())
        tokens = towers.clip.text_model(self.name_tokens).pooler_output
        names = F.normalize(towers.clip.text_projection(tokens), dim=-1)
        shares = {}
        for tag in HELD_OUT_LOOKS:
            scenes = held_out_scenes(tag, count)
            image = torch.stack([to_tensor(scene) for scene in scenes]).to(self.device)
            best = (towers.vit((image - MEAN) / DEVIATION) @ names.T).argmax(1).tolist()
            shares[tag] = sum(words[i] == scene.names[0] for i, scene in zip(best, scenes, strict=True)) / count
        return shares

    def _freeze_text(self) -> None:
        """From here on the text tower is its own average and no longer trains."""
        clip, mean = self.network.clip, self.average.module.clip
        for part in ("text_model", "text_projection"):
            getattr(clip, part).load_state_dict(getattr(mean, part).state_dict())
            getattr(clip, part).requires_grad_(False)
        self.text_frozen = True
        self.export(self.output)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["text_frozen"] = self.text_frozen

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.text_frozen = checkpoint["text_frozen"]
        self.network.clip.text_model.requires_grad_(not self.text_frozen)
        self.network.clip.text_projection.requires_grad_(not self.text_frozen)

    def export(self, folder: Path) -> None:
        """Writes ``clip`` and ``text_encoder``; the latter is the text tower alone, as a StableDiffusionPipeline wants it."""
        clip: CLIPModel = self.average.module.clip
        tower = CLIPTextModel(clip.config.text_config)
        weights = {k.removeprefix("text_model."): v for k, v in clip.text_model.state_dict().items()}
        wanted = tower.state_dict()
        prefix = "text_model." if next(iter(wanted)).startswith("text_model.") else ""
        tower.load_state_dict({f"{prefix}{k}": v for k, v in weights.items()})
        tower.half().save_pretrained(folder / "text_encoder")
        half = CLIPModel(clip.config)
        half.load_state_dict(clip.state_dict())
        half.half().save_pretrained(folder / "clip")
        CLIPTokenizer.from_pretrained(folder / "tokenizer").save_pretrained(folder / "clip")
        size = clip.config.vision_config.image_size
        CLIPImageProcessor(
            size={"height": size, "width": size},
            crop_size={"height": size, "width": size},
            image_mean=[MEAN] * 3,
            image_std=[DEVIATION] * 3,
        ).save_pretrained(folder / "clip")
