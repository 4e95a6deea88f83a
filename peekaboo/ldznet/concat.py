"""The ablation of LD-ZNet: features by concatenation."""

from __future__ import annotations

from .ldznet import LDZNet


class ConcatNet(LDZNet):
    """ZNet with the frozen teacher's features concatenated in front of the attention at the same places (table 4).

    The arguments are those of :class:`LDZNet`; without ``zero_start`` the features' half of the mixing convolution begins at
    random.
    """

    kind = "ConcatNet"
    fusion = "concatenation"
