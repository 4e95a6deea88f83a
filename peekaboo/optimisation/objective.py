"""The Peekaboo loss: compositing, judgement and penalty. The one place where a step is defined."""

from __future__ import annotations

from torch import Tensor, nn

from ..backgrounds import Background
from ..functional.compositing import alpha_penalty, composite, with_unit_gradient
from ..functional.random import Draws
from ..losses.base import Loss


class Objective(nn.Module):
    """loss(image * alpha + background * (1 - alpha), prompt) + penalty * sum(alpha) (Peekaboo, section 3.3).

    Args:
        loss: judges the composite.
        background: what the image is laid over.
        penalty: lambda of the alpha penalty, in the published unit: a sum over 256 x 256 pixels, whatever the resolution.
        normalise: scale the loss's gradient on alpha to the root mean square 1 (at 256 x 256) for every image, so that the
            balance with the penalty depends neither on the guidance scale nor on the teacher.
    """

    def __init__(self, loss: Loss, background: Background, penalty: float = 0.05, normalise: bool = False) -> None:
        super().__init__()
        self.loss, self.background, self.penalty, self.normalise = loss, background, penalty, normalise

    def forward(self, alpha: Tensor, image: Tensor, prompts: list[str], draws: Draws, ranks: int = 1) -> dict[str, Tensor]:
        """Judges N opacities.

        Args:
            alpha: (N, 1, H, W) in [0, 1].
            image: (N, 3, H, W) in [0, 1].
            prompts: N of them.
            draws: this step's randomness.
            ranks: processes that judge the same alphas by other draws, and average their gradients.

        Returns:
            ``loss``, ``penalty`` and their sum ``total``, each (N,).
        """
        background = self.background(image, draws.of("background"))

        def judge(seen: Tensor) -> Tensor:
            return self.loss(composite(image, background, seen), prompts, draws.of("loss"))

        loss = with_unit_gradient(alpha, judge, ranks) if self.normalise else judge(alpha)
        penalty = self.penalty * alpha_penalty(alpha)
        return {"total": loss + penalty, "loss": loss, "penalty": penalty}
