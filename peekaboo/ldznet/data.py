"""What a segmentation network is trained on: a data set with masks, or scenes without end in chosen looks."""

from __future__ import annotations

import numpy as np
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from ..data.backgrounds import TRAINING_BACKGROUNDS
from ..data.base import Sample, SampleData, Samples
from ..data.benchmark import as_sample
from ..data.looks import FLUENT_3D, check_looks
from ..data.scenes import KINDS, Kind, compose
from ..identity import Configured
from ..pretraining.data import check_training_seed
from .conditions import TEMPLATES, check_templates
from .examples import MIN_AREA, Examples, Positions, collate

ENDLESS = 2**31 - 1
#: Of the kinds of scenes in a training.
SHARES: dict[Kind, float] = {"single": 0.35, "pair": 0.4, "triple": 0.1, "referring": 0.15}


class TrainingScenes(Samples):
    """Scenes of the embedded world that no benchmark shows, each with a prompt for one of its objects and that object's mask."""

    def __init__(self, looks: tuple[str, ...], seed: int, size: int, vary: float, count: int | None) -> None:
        self.looks, self.seed, self.size, self.vary = looks, seed, size, vary
        self.ids = range(ENDLESS if count is None else count)  # type: ignore[assignment]

    def load(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index, 4])
        kind = KINDS[rng.choice(len(KINDS), p=[SHARES[kind] for kind in KINDS])]
        options = {"size": self.size, "looks": self.looks, "vary": self.vary, "backgrounds": TRAINING_BACKGROUNDS}
        return as_sample(f"{self.seed}-{index}", compose(self.seed, index, kind, **options))  # type: ignore[arg-type]


class TrainingScenesData(SampleData):
    """Scenes to train on, without end, in chosen looks: train on one look and test on others, and there is a shift of domain.

    Args:
        looks: whose drawings; of those that a training may see, see :mod:`peekaboo.data.looks`.
        seed: of the scenes, at least 1000: lower ones are the benchmark's.
        size: side in pixels.
        vary: share of the objects whose sprite is changed, see :mod:`peekaboo.data.variation`.
        count: scenes in all, which then come again; None for no end.
        batch_size, limit, num_workers: see :class:`SampleData`.
    """

    def __init__(
        self,
        looks: list[str] = [FLUENT_3D],  # noqa: B006
        seed: int = 5000,
        size: int = 128,
        vary: float = 0.0,
        count: int | None = None,
        batch_size: int = 8,
        limit: int | None = None,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, limit, num_workers)
        check_training_seed(seed)
        check_looks(looks, seed)
        if not 0 <= vary <= 1:
            raise ValueError(f"vary: expected a share in [0, 1], got {vary}")
        if count is not None and count < 1:
            raise ValueError(f"count: expected at least 1, or null for no end, got {count}")
        self.looks, self.seed, self.size, self.vary, self.count = tuple(looks), seed, size, vary, count

    def samples(self) -> TrainingScenes:
        return TrainingScenes(self.looks, self.seed, self.size, self.vary, self.count)

    @property
    def endless(self) -> bool:
        """Whether the scenes have no end."""
        return self.count is None and self.limit is None


class SegmentationData(Configured, LightningDataModule):
    """Deals out training examples, and says which samples a training looks at on its way.

    Args:
        train: the data set, with masks.
        validation: another, for loss, IoU and pictures on the way; its ``limit`` says how much of it. None for no look.
        side: of the squares in pixels; that of the teacher.
        crop: cut squares out of the pictures, as published; else squash them.
        min_area: share of the whole picture that the object has to cover in a crop, where it can.
        templates: of the prompts, one drawn for each example.
        batch_size: examples a step on one device.
        repeat: show the same crop, template and noise of a sample in every epoch, which a cache of features asks for.
        num_workers: processes that read and compose.
    """

    indifferent = frozenset({"num_workers", "validation"})

    def __init__(
        self,
        train: SampleData,
        validation: SampleData | None = None,
        side: int = 384,
        crop: bool = True,
        min_area: float = MIN_AREA,
        templates: list[str] = list(TEMPLATES),  # noqa: B006
        batch_size: int = 4,
        repeat: bool = False,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or side < 16 or num_workers < 0:
            raise ValueError(
                f"batch_size, side, num_workers: expected at least 1, 16, 0, got {batch_size}, {side}, {num_workers}"
            )
        if not 0 <= min_area < 1:
            raise ValueError(f"min_area: expected a share in [0, 1), got {min_area}")
        self.train, self.validation, self.side, self.crop, self.min_area = train, validation, side, crop, min_area
        self.templates, self.batch_size, self.repeat = check_templates(templates), batch_size, repeat
        self.num_workers = num_workers

    @property
    def endless(self) -> bool:
        """Whether the examples have no end, so that there are no epochs."""
        return isinstance(self.train, TrainingScenesData) and self.train.endless

    def count(self) -> int:
        """Returns how many samples there are."""
        return len(self.train.opened())  # type: ignore[arg-type]

    def setup(self, stage: str) -> None:
        """Opens the data, so that what is missing is said before anything is trained."""
        self.train.opened()
        if self.validation is not None:
            self.validation.opened()

    def examples(self, seed: int) -> Examples:
        """Returns the examples of a training of some seed."""
        rest = (self.crop, self.min_area, self.repeat, self.endless)
        return Examples(self.train.opened(), self.side, self.templates, seed, *rest)

    def train_dataloader(self) -> DataLoader:  # type: ignore[type-arg]
        """One pass of as many batches as the trainer has steps; a resumed training begins behind those that it has had."""
        trainer = self.trainer
        assert trainer is not None
        accumulated = trainer.accumulate_grad_batches
        first = trainer.global_step * accumulated
        places = Positions(trainer.max_steps * accumulated, self.batch_size, trainer.global_rank, trainer.world_size, first)
        examples = self.examples(trainer.lightning_module.seed)  # type: ignore[arg-type]
        return DataLoader(
            examples,
            batch_sampler=places,
            num_workers=self.num_workers,
            collate_fn=collate,
            persistent_workers=self.num_workers > 0,
        )
