"""Monocular depth as the guide: pixels that are close in space get a similar alpha (Peekaboo's "Depth Bilateral")."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data.checks import user_path
from ..data.images import open_image
from ..functional.framing import Framing, resize, square
from ..teachers.base import Frozen, LoadError, explain_load_error, locate, quiet_loading
from .base import Guide

THUMBNAIL, SAME = 8, 0.1  # side in pixels, and the most by which thumbnails of one image at two resolutions differ


class Depth(Frozen, Guide):
    """Inverse depth of the image, scaled to [0, 1] in each image, from a MiDaS network or from a file.

    Args:
        path: ``embedded``, a folder, or a hub name of any transformers depth model: ``Intel/dpt-hybrid-midas``,
            ``Intel/dpt-large`` (MiDaS 3.0), ``Intel/dpt-swinv2-tiny-256`` (MiDaS 3.1, small), ...
        map: image file with the depth of the one image of the run, any range, near or far bright, framed as the image is; no
            network is loaded.
        revision: branch, tag or commit on the hub.
    """

    mean: Tensor
    std: Tensor
    values: Tensor

    def __init__(self, path: str = "embedded", map: str | None = None, revision: str | None = None) -> None:
        super().__init__()
        self.name = path if map is None else map
        self._image: Tensor | None = None  # a thumbnail of what the map is of, as it was framed
        self._framing: Framing = "stretch"
        if map is not None:
            picture = open_image(user_path(map), "depth map")
            values = torch.from_numpy(np.array(picture.convert("F")))[None, None]
            self.register_buffer("values", values, persistent=False)
        else:
            self._load(path, {} if revision is None else {"revision": revision})
        self.freeze()

    def _load(self, path: str, options: dict[str, str]) -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        source = locate(path, "depth", "config.json")
        quiet_loading()
        try:
            self.model = AutoModelForDepthEstimation.from_pretrained(source, dtype=torch.float32, use_safetensors=True, **options)
            processor = AutoImageProcessor.from_pretrained(source, **options)
        except Exception as error:  # the libraries raise a dozen kinds; the user needs one line
            raise explain_load_error(error, "depth", source) from error
        try:
            self.side = (int(processor.size["height"]), int(processor.size["width"]))
        except (AttributeError, KeyError, TypeError):
            raise LoadError(f"depth: expected a model with a fixed input size (DPT, MiDaS), got {source!r} without one") from None
        self.register_buffer("mean", torch.tensor(processor.image_mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(processor.image_std)[:, None, None], persistent=False)

    def begin(self, framing: Framing) -> None:
        if framing != self._framing:
            self._framing, self._image = framing, None

    def _check(self, image: Tensor) -> None:
        """Makes sure that all images are the one that the map is of, at whatever resolution."""
        seen = resize(image.float().cpu(), (THUMBNAIL, THUMBNAIL))
        if self._image is None:
            self._image = seen[0]
        if any(float((one - self._image).abs().max()) > SAME for one in seen):
            raise ValueError(f"map: expected one image for the depth map {self.name!r}, got another one")

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        if hasattr(self, "values"):
            self._check(image)
            depth = square(self.values, self._framing).expand(len(image), -1, -1, -1)
        else:
            pixels = resize(image, self.side, mode="bicubic")
            with torch.autocast(image.device.type, enabled=False):
                depth = self.model((pixels - self.mean) / self.std).predicted_depth.unsqueeze(1)
        depth = resize(depth, (image.shape[-2], image.shape[-1]))
        low, high = depth.amin((1, 2, 3), keepdim=True), depth.amax((1, 2, 3), keepdim=True)
        return (depth - low) / (high - low).clamp(min=1e-6)
