"""The LightningModule that the four networks share: a segmentation network trained beside a frozen teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ..data.base import SampleData
from ..data.checks import user_path
from ..functional.random import Draws
from ..identity import Configured, differences
from ..optimisation.checkpoint import PROGRESS, go_on_after
from ..results.files import overlay
from ..results.result import Result
from .cache import FeatureCache, bytes_of
from .conditions import Conditions, Inputs, check_templates, check_timesteps
from .data import SegmentationData
from .features import check_source
from .folder import Description, Kind, describe_teacher, plain, save_network
from .fusion import Fusion
from .network import SegmentationNetwork
from .places import chosen_places, places_of
from .progress import Progress
from .recipe import Recipe, averaging, cross_entropy
from .validation import Look, look_at

PUBLISHED_TIMESTEPS = (300, 499)  # first and last that features are read at
EXPORTED = {"float32": torch.float32, "float16": torch.float16}


class Training(Configured, LightningModule):
    """Trains a segmentation network with BCE, and exports the average of its weights. Subclasses say which network it is.

    Args:
        teacher: the frozen model, around a U-Net, that it starts from and whose text, latents and features it reads.
        output: folder that the trained network is written to; see :mod:`.folder`.
        recipe: see :class:`Recipe`.
        network: further arguments of :class:`SegmentationNetwork`.
        blocks: of the teacher's U-Net whose features are read, from 1; None for the published ones.
        timesteps: first and last of those that the features are read at, drawn for each example.
        template: of prompts where none is drawn: in validation and inference.
        seed: of everything random; two trainings of one seed are the same.
        checkpointing: compute blocks twice instead of keeping their activations: less memory, slower.
        export_every: steps between two exports, and between two looks at the validation samples.
        export_dtype: float32 or float16.
        cache: folder that keeps latents and features of examples, for data with ``repeat``; None for none.
        shown: validation samples whose masks are written, to TensorBoard on the way and as files at the end.

    Attributes:
        kind: the name of the network.
        fusion: how the teacher's features come in; None for a network without.
    """

    kind: Kind
    fusion: Fusion | None = None
    indifferent = frozenset({"output", "export_every", "export_dtype", "cache", "shown", "checkpointing"})
    strict_loading = False  # the frozen teacher is in no checkpoint
    iterations = 1  # steps of the fit, once there is one

    def __init__(
        self,
        teacher: Any,
        output: str,
        recipe: Recipe,
        network: dict[str, Any],
        blocks: Sequence[int] | None,
        timesteps: Sequence[int],
        template: str = "{}.",
        seed: int = 0,
        checkpointing: bool = False,
        export_every: int = 500,
        export_dtype: str = "float32",
        cache: str | None = None,
        shown: int = 8,
    ) -> None:
        super().__init__()
        if export_every < 1 or shown < 0 or seed < 0:
            raise ValueError(f"export_every, shown, seed: expected at least 1, 0, 0, got {export_every}, {shown}, {seed}")
        if export_dtype not in EXPORTED:
            raise ValueError(f"export_dtype: expected one of {', '.join(EXPORTED)}, got {export_dtype!r}")
        check_source(teacher)
        check_templates([template], "template")
        self.recipe, self.template, self.seed = recipe, template, seed
        self.timesteps = check_timesteps(timesteps)
        self.output, self.export_every, self.export_dtype = user_path(output), export_every, EXPORTED[export_dtype]
        self.cache_folder, self.shown = cache, shown
        places = chosen_places(places_of(teacher.denoiser), blocks) if self.fusion is not None else []
        _, side, _ = teacher.latent_shape()
        self.arguments: dict[str, Any] = {
            "unet": {key: value for key, value in teacher.denoiser.config.items() if not key.startswith("_")},
            "side": side,
            "factor": teacher.resolution // side,
            "fusion": self.fusion,
            "blocks": [place.number for place in places] or None,
            "features": [place.channels for place in places] or None,
            **network,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SegmentationNetwork(**self.arguments)
        self.started_from_teacher = self.network.start_from(teacher.denoiser)
        if checkpointing:
            self.network.unet.enable_gradient_checkpointing()
        self.average: Any = AveragedModel(self.network, multi_avg_fn=averaging(recipe.ema), use_buffers=True)
        self.average.requires_grad_(False)
        self.teacher = teacher
        self.conditions = Conditions(teacher, self.arguments.get("stem_width") is None, [place.number for place in places])
        self.progress = Progress()
        self._cache: FeatureCache | None = None
        self._look: Look | None = None

    # ---- a step ----------------------------------------------------------------------------------------------------------

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The cross-entropy of the logits with the masks."""
        inputs = self._inputs(batch)
        logits = self.network(*inputs.arguments()).float()
        mask, counts = batch["mask"], batch["counts"]
        loss = cross_entropy(logits, mask, counts)
        self.progress.add(loss.detach(), logits.detach() > 0, mask > 0.5, counts > 0, batch["skipped"])
        self.log("loss", loss, prog_bar=True, logger=False)
        self.log("epoch_loss", self.progress.epoch_loss(), logger=False, sync_dist=self.recipe.schedule == "plateau")
        return loss

    def _inputs(self, batch: dict[str, Any]) -> Inputs:
        draws = Draws(batch["seed"], device=self.device, purpose="ldznet")
        if self._cache is None:
            return self.conditions(batch["image"], batch["prompt"], draws, self._drawn(draws))
        text = self.teacher.embed(batch["prompt"])
        if (kept := self._cache.read(batch["key"], self.device)) is not None:
            return Inputs(kept[0], text, kept[1])
        made = self.conditions(batch["image"], batch["prompt"], draws, self._drawn(draws))
        self._cache.write(batch["key"], made)
        return made

    def _drawn(self, draws: Draws) -> Tensor:
        return draws.of("timestep").integers(*self.timesteps)

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Steps, and moves the average of the weights."""
        super().optimizer_step(*args, **options)
        self.average.update_parameters(self.network)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        data = self._data()
        batches = batch_idx + 1
        if not data.endless and batches % self._epoch(data) == 0:
            self.progress.end_epoch()
        done = self.trainer.global_step
        if batches % self.trainer.accumulate_grad_batches == 0 and done % self.export_every == 0 and done < self.iterations:
            self._report()

    def _report(self) -> None:
        look = self._look_now()
        if self.trainer.is_global_zero:
            self._export()
            if look is not None:
                rank_zero_info(f"\nstep {self.trainer.global_step}: {look}")
        if look is not None and self.trainer.logger is not None:
            self.trainer.logger.log_metrics(look.scalars(), self.trainer.global_step)

    def on_train_end(self) -> None:
        self._report()
        if self.trainer.is_global_zero:
            how = f"`peekaboo test --config ldznet --model.folder {self.output}`"
            rank_zero_info(f"trained network in {self.output}: {how} tests it")

    def _export(self) -> None:
        training = {
            "steps": self.trainer.global_step,
            "examples": self.progress.seen * self.trainer.world_size,
            "seconds": round(self.progress.seconds(), 1),
            "seed": self.seed,
            "recipe": vars(self.recipe),
            "data": self._data().configuration(decisive=True),
        }
        description = Description(
            kind=self.kind,
            network=plain(self.arguments),
            latent=self.conditions.latent,
            blocks=self.arguments["blocks"] or [],
            timesteps=list(self.timesteps),
            template=self.template,
            templates=self._data().templates,
            teacher=describe_teacher(self.teacher),
            training=plain(training),
        )
        save_network(self.output, self.average.module, description, self.export_dtype)

    # ---- what a fit is ---------------------------------------------------------------------------------------------------

    def check_fit(self, data: Any, trainer: Any) -> None:
        """Finds out what does not fit before anything is written or trained.

        Raises:
            ValueError, FileNotFoundError: for data of another kind or size, or that are not there, or no end of the training.
        """
        if not isinstance(data, SegmentationData):
            raise ValueError(
                "data: expected peekaboo.ldznet.SegmentationData for the training of a network, got "
                f"{'none' if data is None else type(data).__name__}"
            )
        if data.side != self.teacher.resolution:
            raise ValueError(f"data.side: expected {self.teacher.resolution}, the teacher's resolution, got {data.side}")
        if trainer.max_steps < 1 or trainer.max_epochs != 1:
            raise ValueError(
                "trainer.max_steps: expected how many steps the training has, with trainer.max_epochs 1, got "
                f"{trainer.max_steps} and {trainer.max_epochs}"
            )
        if data.endless and self.recipe.schedule == "plateau":
            raise ValueError("recipe.schedule: expected constant or linear for data without epochs, got plateau")
        if self.cache_folder is not None and (data.endless or not data.repeat or not self.conditions.latent):
            raise ValueError(
                "cache: expected examples that come again (data.repeat: true, and data with an end) of a network on latents, "
                "got others"
            )
        data.setup("fit")

    def setup(self, stage: str) -> None:
        """Begins a fit; see :meth:`check_fit`."""
        if stage != "fit":
            raise ValueError(
                f"model: expected `fit` for a training, got `{stage}`; `--config ldznet --model.folder {self.output}` tests "
                "the trained network"
            )
        self.check_fit(self.trainer.datamodule, self.trainer)  # type: ignore[attr-defined]
        self.iterations = self.trainer.max_steps
        self.progress.start()
        if self.cache_folder is not None:
            self._open_cache(self.cache_folder, self._data())

    def _open_cache(self, folder: str, data: SegmentationData) -> None:
        decisive = {**data.configuration(decisive=True)["init_args"], "batch_size": None}
        identity = {"teacher": describe_teacher(self.teacher), "data": decisive, "blocks": self.arguments["blocks"]}
        self._cache = FeatureCache(folder, plain({**identity, "timesteps": self.timesteps, "seed": self.seed}), data.count())
        side, draws = data.side, Draws([0], device=self.teacher.family.schedule.signal.device, purpose="ldznet")
        blank = torch.zeros(1, 3, side, side, device=draws.device)
        self._cache.announce(bytes_of(self.conditions(blank, ["x"], draws, self._drawn(draws))))

    def _data(self) -> SegmentationData:
        data: SegmentationData = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    def _epoch(self, data: SegmentationData) -> int:
        """Batches of one epoch on each device."""
        return max(-(-data.count() // (data.batch_size * self.trainer.world_size)), 1)

    def configure_optimizers(self) -> Any:
        data, recipe = self._data(), self.recipe
        examples = data.batch_size * self.trainer.world_size * self.trainer.accumulate_grad_batches
        rate = recipe.learning_rate * (examples if recipe.per_sample else 1)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=recipe.weight_decay)
        if recipe.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
            every = {"interval": "step", "frequency": self._epoch(data), "monitor": "epoch_loss", "reduce_on_plateau": True}
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, **every}}
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.factor(step, self.iterations))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # ---- what there is to see, see `peekaboo.results.shown` --------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        """Numbers of the last steps, to be plotted."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        return {**self.progress.recent(), "learning_rate": rate}

    def pictures(self) -> dict[str, Tensor]:
        """Masks of the first validation samples: picture, truth, alpha, overlay below one another."""
        results = self.results(self.trainer.global_step)
        if not results:
            return {}
        rows = []
        for result in results:
            truth = torch.zeros_like(result.alpha) if result.target is None else result.target.float()
            parts = [
                result.image,
                *(x.expand(3, -1, -1) for x in (truth, result.alpha)),
                overlay(result.image, result.alpha[None]),
            ]
            rows.append(torch.cat(parts, -2))
        return {"masks": torch.stack(rows)}

    def results(self, iterations: int) -> list[Result]:
        """Masks of the first validation samples, by the average of the weights."""
        validation = self._data().validation
        if validation is None or not self.shown:
            return []
        look = self._look_at(validation, range(min(self.shown, len(validation.ids()))))
        record = {
            "variant": self.kind,
            "iterations": iterations,
            "seconds": round(self.progress.seconds(), 1),
            "skipped_steps": 0,
        }
        return [
            Result(image, prompt, alpha, 0.5, "fixed", target, ignore, record=record)
            for image, prompt, alpha, target, ignore in look.shown
        ]

    def _look_now(self) -> Look | None:
        """Looks at all validation samples, shared out over ranks; all must call it together."""
        validation = self._data().validation
        if validation is None:
            return None
        rank, ranks = self.trainer.global_rank, self.trainer.world_size
        look = self._look_at(validation, range(rank, len(validation.ids()), ranks))
        return look.summed(self.trainer)

    def _look_at(self, validation: SampleData, places: range) -> Look:
        network = self.average.module.eval()
        with torch.inference_mode(False), torch.no_grad():
            side, t = self._data().side, (sum(self.timesteps) + 1) // 2
            return look_at(network, self.conditions, validation, places, side, self.template, t, self.device)

    # ---- checkpoints -----------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the network and its average, how far the training has come, and of what; the teacher is where it came from."""
        kept = checkpoint["state_dict"].items()
        checkpoint["state_dict"] = {name: tensor for name, tensor in kept if name.startswith(("network.", "average."))}
        checkpoint[PROGRESS] = {"of": self._set_up(), "training": self.progress.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on with a training.

        Raises:
            ValueError: for a checkpoint of something else, or of a training that is over and is to be no longer.
        """
        if "training" not in checkpoint.get(PROGRESS, {}):
            raise ValueError("ckpt_path: expected a checkpoint of a network's training, got one of something else")
        progress = checkpoint[PROGRESS]
        if changes := differences(progress["of"], self._set_up()):
            raise ValueError(f"ckpt_path: expected a checkpoint of this training, got one of another: {changes}")
        done = checkpoint["global_step"]
        if done >= self.trainer.max_steps:
            raise ValueError(
                f"ckpt_path: expected a training that is not over, got one after {done} steps; `--trainer.max_steps` with more "
                "goes on"
            )
        go_on_after(checkpoint, done * self.trainer.accumulate_grad_batches)
        self.progress.load_state_dict(progress["training"])

    def _set_up(self) -> dict[str, Any]:
        """What two trainings must share so that one can go on with the other."""
        model = {key: value for key, value in self.configuration(decisive=True)["init_args"].items() if key != "teacher"}
        teacher = {key: value for key, value in describe_teacher(self.teacher).items() if key != "path"}
        shared = {"kind": self.kind, "model": model, "teacher": teacher, "data": self._data().configuration(decisive=True)}
        return plain(shared)
