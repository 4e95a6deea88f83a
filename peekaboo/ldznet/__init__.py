"""RGBNet, ZNet and LD-ZNet (PNVR et al., ICCV 2023, arXiv 2303.12343): trained segmentation beside a frozen diffusion model."""

from .concat import ConcatNet
from .data import SegmentationData, TrainingScenesData
from .ldznet import LDZNet
from .recipe import Recipe
from .rgbnet import RGBNet
from .squashed import SquashedData
from .trained import Trained, load_trained
from .znet import ZNet

__all__ = [
    "ConcatNet",
    "LDZNet",
    "RGBNet",
    "Recipe",
    "SegmentationData",
    "SquashedData",
    "Trained",
    "TrainingScenesData",
    "ZNet",
    "load_trained",
]
