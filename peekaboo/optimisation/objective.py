"""The Peekaboo loss: compositing, judgement and penalty. The one place where a step is defined."""

from __future__ import annotations

from collections.abc import Callable

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
            balance with the penalty depends neither on the guidance scale nor on the teacher; that on a learned image, too.
    """

    def __init__(self, loss: Loss, background: Background, penalty: float = 0.05, normalise: bool = False) -> None:
        super().__init__()
        self.loss, self.background, self.penalty, self.normalise = loss, background, penalty, normalise

    def forward(
        self,
        alpha: Tensor,
        image: Tensor,
        prompts: list[str],
        draws: Draws,
        ranks: int = 1,
        scene: Tensor | None = None,
        scene_prompts: list[str] | None = None,
    ) -> dict[str, Tensor]:
        """Judges N opacities.

        Args:
            alpha: (N, 1, H, W) in [0, 1].
            image: (N, 3, H, W) in [0, 1]; one that is learned gets its gradient, too.
            prompts: N of them.
            draws: this step's randomness.
            ranks: processes that judge the same alphas by other draws, and average their gradients.
            scene: (N, 3, H, W) in [0, 1] of a background that belongs to the image, to be judged as well; None for none.
            scene_prompts: N of the images over it.

        Returns:
            ``loss``, ``penalty``, with a scene ``scene``, and their sum ``total``, each (N,).
        """
        background = self.background(image, draws.of("background"))
        terms = {"loss": self._judge(alpha, image, background, prompts, draws.of("loss"), ranks)}
        if scene is not None and scene_prompts is not None:
            terms["scene"] = self._judge(alpha, image, scene, scene_prompts, draws.of("scene"), ranks)
        terms["penalty"] = self.penalty * alpha_penalty(alpha)
        return {"total": sum(list(terms.values())[1:], terms["loss"]), **terms}

    def _judge(self, alpha: Tensor, image: Tensor, background: Tensor, prompts: list[str], draws: Draws, ranks: int) -> Tensor:
        """The loss of N composites; what is normalised is the gradient on everything in them that is learned, each by itself."""

        def judge(ground: Tensor, seen: Tensor, opacity: Tensor) -> Tensor:
            return self.loss(composite(seen, ground, opacity), prompts, draws)

        parts = (background, image, alpha)
        return _each_normalised(parts, judge, ranks) if self.normalise else judge(*parts)


def _each_normalised(
    parts: tuple[Tensor, ...], judge: Callable[..., Tensor], ranks: int, before: tuple[Tensor, ...] = ()
) -> Tensor:
    """Judges several values at once, and normalises the gradient on each; what does not train is passed on as it is."""
    if not parts:
        return judge(*before)
    first, *rest = parts
    return with_unit_gradient(first, lambda seen: _each_normalised(tuple(rest), judge, ranks, (*before, seen)), ranks)
