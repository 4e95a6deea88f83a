"""The segmentation network: diffusers' U-Net in the teacher's own configuration, between an input and a head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from .fusion import Fusion, fuse
from .places import at, chosen_places, places_of


class Head(nn.Sequential):
    """From what the U-Net gives out to one logit a pixel: SiLU and convolutions between doublings (LD-ZNet's code).

    Published are three doublings on one channel: SiLU, conv 3x3, SiLU, [transposed conv 2x2, SiLU, conv 3x3, SiLU] twice,
    transposed conv 2x2, SiLU, conv 3x3.

    Args:
        width: channels; 1 as published. A single channel behind a SiLU is narrow: wider is a deviation.
        doublings: of the side.
    """

    def __init__(self, width: int, doublings: int) -> None:
        layers: list[nn.Module] = [nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
        for _ in range(doublings):
            layers += [nn.SiLU(), nn.ConvTranspose2d(width, width, 2, 2), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
        layers[-1] = nn.Conv2d(width, 1, 3, padding=1)
        super().__init__(*layers)


class Stem(nn.Sequential):
    """From an image to the latent's size and channels: RGBNet's light learnable layers.

    Their number and widths are unpublished. Here each halving is a 3x3 convolution of stride 2 with a SiLU, and a 1x1
    convolution ends at the latent's channels.

    Args:
        width: channels.
        halvings: of the side.
        channels: of the latent.
    """

    def __init__(self, width: int, halvings: int, channels: int) -> None:
        layers: list[nn.Module] = []
        for i in range(halvings):
            layers += [nn.Conv2d(width if i else 3, width, 3, 2, 1), nn.SiLU()]
        super().__init__(*layers, nn.Conv2d(width if halvings else 3, channels, 1))


class SegmentationNetwork(nn.Module):
    """Logits of a mask from a latent, or an image, and a text; t is 0 always (LD-ZNet, section 3.1).

    Args:
        unet: configuration of the teacher's `UNet2DConditionModel`.
        side: of the latent, which the positions of features are learned for.
        factor: pixels a side of one place of the latent.
        channels: widths of the U-Net's levels; None for the teacher's, whose weights only then fit.
        head_width: see :class:`Head`.
        stem_width: of a :class:`Stem`, for a network on images; None for one on latents.
        fusion: how features come in; None for a network without.
        blocks: numbers of the blocks that they come into, from 1; None for the published ones.
        features: channels of the features of each of these blocks; None for those of the network itself.
        zero_start: see :mod:`.fusion`.

    Attributes:
        places: where features come in.
        fusions: what brings them in, one a place.
    """

    def __init__(
        self,
        unet: Mapping[str, Any],
        side: int,
        factor: int,
        channels: Sequence[int] | None = None,
        head_width: int = 1,
        stem_width: int | None = None,
        fusion: Fusion | None = None,
        blocks: Sequence[int] | None = None,
        features: Sequence[int] | None = None,
        zero_start: bool = False,
    ) -> None:
        super().__init__()
        if head_width < 1 or (stem_width is not None and stem_width < 1):
            raise ValueError(f"head_width, stem_width: expected at least 1, got {head_width}, {stem_width}")
        config = {key: value for key, value in unet.items() if not key.startswith("_")}
        if channels is not None:
            if len(channels) != len(config["block_out_channels"]):
                raise ValueError(f"channels: expected one for each of {len(config['block_out_channels'])} levels, got {channels}")
            config["block_out_channels"] = list(channels)
        self.unet: Any = UNet2DConditionModel.from_config({**config, "out_channels": head_width})
        halvings = round(math.log2(factor))
        self.stem = None if stem_width is None else Stem(stem_width, halvings, config["in_channels"])
        self.head = Head(head_width, halvings)
        self.places = chosen_places(places_of(self.unet), blocks) if fusion is not None else []
        self.fusions: Any = None
        if fusion is not None:
            widths = [place.channels for place in self.places] if features is None else list(features)
            sides = [max(side // place.stride, 1) for place in self.places]
            self.fusions = fuse(fusion, [at(self.unet, place) for place in self.places], widths, sides, zero_start)
        self.image_side = float(side * factor)

    def forward(self, x: Tensor, text: Tensor, pooled: Tensor | None = None, features: Sequence[Tensor] = ()) -> Tensor:
        """Returns logits.

        Args:
            x: (N, C, h, w) latents, or (N, 3, H, W) images in [-1, 1] where there is a stem.
            text: (N, L, D), one vector a token.
            pooled: (N, P), one vector a prompt, where the U-Net reads one.
            features: (N, c, ., .) of the teacher, one a place.

        Returns:
            (N, 1, H, W), at the image's size.

        Raises:
            ValueError: if there are not as many features as places.
        """
        if len(features) != len(self.places):
            raise ValueError(f"features: expected those of {len(self.places)} places, got {len(features)}")
        for fusion, one in zip(self.fusions or (), features, strict=True):
            fusion.condition(one)
        if self.stem is not None:
            x = self.stem(x)
        conditions: dict[str, Any] = {}
        if self.unet.config.addition_embed_type == "text_time":  # Stable Diffusion XL reads the size of the image, too
            size = torch.tensor([[self.image_side, self.image_side, 0, 0, self.image_side, self.image_side]], device=x.device)
            conditions["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": size.expand(len(x), -1)}
        t = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        hidden = self.unet(x, t, encoder_hidden_states=text, **conditions).sample
        logits: Tensor = self.head(hidden)
        return logits

    def start_from(self, denoiser: nn.Module) -> list[str]:
        """Takes over the teacher's weights wherever names and shapes fit, and of its last convolution the first channels.

        Args:
            denoiser: the teacher's U-Net.

        Returns:
            Names of what could not be taken over, and stays random.
        """
        own, theirs = self.unet.state_dict(), denoiser.state_dict()
        taken = {name: weight for name, weight in theirs.items() if name in own and own[name].shape == weight.shape}
        for name in ("conv_out.weight", "conv_out.bias"):
            some = min(len(own[name]), len(theirs[name]))
            if own[name].shape[1:] == theirs[name].shape[1:]:
                taken[name] = torch.cat([theirs[name][:some].to(own[name]), own[name][some:]])
        self.unet.load_state_dict({name: weight.float() for name, weight in taken.items()}, strict=False)
        return sorted(set(own) - set(taken))
