"""Where a CLIP finds the prompt: similarity of its patches with the text, or saliency of their pixels."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from ..data.base import Sample
from ..functional.framing import Framing, frame, unframe
from ..functional.maps import rescale
from ..results.result import Threshold
from ..teachers.clip import CLIP
from .base import Baseline, size_of

Method = Literal["patches", "values", "gradient"]


class CLIPPatches(Baseline):
    """Cosine similarity of the image's patches with the prompt in CLIP's joint space, or the saliency of its pixels.

    ``patches`` projects the last layer's patch tokens as the class token is; ``values`` takes the last layer's values without
    its attention (MaskCLIP, Zhou et al., arXiv 2112.01071); ``gradient`` is |d logit / d pixel|, smoothed (Simonyan et al.,
    arXiv 1312.6034).

    Args:
        clip: the frozen CLIP.
        method: how.
        against: prompts whose mean similarity is subtracted, so that what fits any text does not count; null for none.
        blur: standard deviation of the gradient's smoothing, as a fraction of the image's side.
        framing: see :class:`Segmenter`.
        threshold, seed: see :class:`Baseline`.
    """

    def __init__(
        self,
        clip: CLIP,
        method: Method = "values",
        against: list[str] | None = None,
        blur: float = 0.03,
        framing: Framing = "stretch",
        threshold: Threshold = "otsu",
        seed: int = 0,
    ) -> None:
        super().__init__(threshold, seed)
        if method not in get_args(Method):
            raise ValueError(f"method: expected one of {', '.join(get_args(Method))}, got {method!r}")
        self.clip, self.method, self.against, self.blur, self.framing = clip, method, against or [], blur, framing

    @property
    def teacher_name(self) -> str:
        return self.clip.name

    def masks(self, samples: list[Sample]) -> list[Tensor]:
        images = torch.stack([frame(s.image.to(self.device), self.clip.resolution, self.framing) for s in samples])
        prompts = [sample.prompt for sample in samples]
        found = self.saliency(images, prompts) if self.method == "gradient" else self.similarity(images, prompts)
        return [unframe(m, size_of(s), self.framing) for m, s in zip(rescale(found), samples, strict=True)]

    def similarity(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Returns the similarity of every patch with its image's prompt, (N, rows, columns)."""
        patches = self.patches(images)
        similarity = (patches * self.clip.embed_text(prompts)[:, None]).sum(-1)
        if self.against:
            similarity = similarity - (patches @ self.clip.embed_text(self.against).T).mean(-1)
        side = round(similarity.shape[1] ** 0.5)
        return similarity.unflatten(1, (side, side))

    def patches(self, images: Tensor) -> Tensor:
        """Returns unit embeddings of the patches, (N, patches, D)."""
        tower = self.clip.model.vision_model
        states = tower(self.clip.preprocess(images), output_hidden_states=True).hidden_states
        if self.method == "patches":
            tokens = states[-1]
        else:
            layer = tower.encoder.layers[-1]
            tokens = layer.self_attn.out_proj(layer.self_attn.v_proj(layer.layer_norm1(states[-2])))
        tokens = tower.post_layernorm(tokens[:, 1:])
        return F.normalize(self.clip.model.visual_projection(tokens), dim=-1)

    def saliency(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Returns the smoothed size of the logit's gradient, (N, H, W)."""
        with torch.enable_grad():
            images = images.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self.clip.logits(images, prompts).sum(), images)
        return smooth(gradient.abs().amax(1), self.blur * images.shape[-1])


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Blurs (N, H, W) maps with a gaussian; edges are repeated."""
    radius = max(min(round(3 * sigma), min(maps.shape[-2:]) - 1), 1)
    padded = F.pad(maps[:, None], [radius] * 4, mode="replicate")  # torchvision itself mirrors the edges
    blurred = gaussian_blur(padded, [2 * radius + 1] * 2, [max(sigma, 1e-3)] * 2)
    return blurred[:, 0, radius:-radius, radius:-radius]
