"""Run a training: songs, network and Lightning's trainer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import Callback, LightningDataModule, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from bsmamba2.checkpoint import load_checkpoint, save_checkpoint
from bsmamba2.errors import ConfigError, DataError
from bsmamba2.training.averaging import Averaging
from bsmamba2.training.log import EpochLog
from bsmamba2.training.mixtures import AlignedSegments, Draws, Example, Mixing, RandomMixtures
from bsmamba2.training.module import Separation
from bsmamba2.training.settings import TrainingSettings
from bsmamba2.training.songs import Salient, Song, find_salient, training_songs

LAST = "last.ckpt"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Machine:
    """The hardware: Lightning's options, and the number of processes that read songs."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    workers: int = 2
    compiled: bool = False


class Songs(LightningDataModule):
    """Examples from folders of songs. Validation uses the first folder."""

    def __init__(self, settings: TrainingSettings, folders: Sequence[Path], cache: Path, workers: int) -> None:
        super().__init__()
        self._settings, self._folders, self._cache, self._workers = settings, folders, cache, workers
        self._train: RandomMixtures | None = None

    def setup(self, stage: str) -> None:
        if self._train is not None:
            return
        data, model, seed = self._settings.data, self._settings.model, self._settings.training.seed
        folders = [training_songs(folder, data.sources, model.stft.sample_rate) for folder in self._folders]
        pools = [{name: self._salient(train, name) for name in data.sources} for train, _ in folders]
        shape = (model.stems, self._settings.samples, model.channels)
        mixing = Mixing(data.gain, data.silence, data.augmentation)
        self._train = RandomMixtures(pools, *shape, mixing, seed)
        valid = folders[0][1]
        if not valid:
            raise DataError(
                f"{self._folders[0]}: has no songs to validate on: expected a folder valid/, or MUSDB18's validation "
                "songs in train/ (validation uses the first --data)"
            )
        self._valid = AlignedSegments(valid, self._salient(valid, model.stems[0]), *shape, data.valid, seed)

    def train_dataloader(self) -> DataLoader[Example]:
        assert self._train is not None and self.trainer is not None  # noqa: S101 (Lightning calls setup first)
        draws = Draws(self._settings.data.per_epoch, self.trainer.global_rank, self.trainer.world_size)
        return self._loader(self._train, draws)

    def val_dataloader(self) -> DataLoader[Example]:
        assert self.trainer is not None  # noqa: S101
        return self._loader(self._valid, range(self.trainer.global_rank, len(self._valid), self.trainer.world_size))

    def _loader(self, dataset: RandomMixtures | AlignedSegments, draws: Draws | range) -> DataLoader[Example]:
        return DataLoader(
            dataset,
            batch_size=self._settings.training.batch_size,
            sampler=draws,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            generator=torch.Generator(),  # a separate one, so that dropout does not depend on when songs are opened
        )

    def _salient(self, songs: Sequence[Song], name: str) -> list[Salient]:
        found = find_salient(
            [song.stems[name] for song in songs], self._settings.samples, self._settings.model.channels, self._cache
        )
        if not found:
            raise DataError(
                f"{songs[0].folder.parent}: no song has {self._settings.data.seconds} s of loud enough {name!r}: add "
                "songs, or use shorter data.seconds"
            )
        return found


def train(
    settings: TrainingSettings, folders: Sequence[Path], output: Path, machine: Machine, resume: bool = False
) -> Path:
    """Train, and return the file of averaged weights. `output` also gets checkpoints, log.csv and TensorBoard events.

    Raises ConfigError for hardware that is not there; DataError when the songs cannot be used, when `output` holds a
    training and `resume` is false, or holds none and `resume` is true.
    """
    last = output / LAST
    if last.exists() and not resume:
        raise DataError(f"{output}: holds a training: continue it with --resume, or choose another folder with -o")
    if resume and not last.exists():
        raise DataError(f"{output}: has no {LAST} to continue from: leave out --resume")
    output.mkdir(parents=True, exist_ok=True)
    seed_everything(settings.training.seed, verbose=False)
    module = Separation(settings, machine.compiled)
    songs = Songs(settings, folders, output / "salient.json", machine.workers)
    songs.setup("fit")  # unusable songs are reported before anything else starts
    trainer = _trainer(settings, output, machine)
    trainer.fit(module, songs, ckpt_path=last if resume else None, weights_only=True)
    weights = output / WEIGHTS
    if trainer.is_global_zero:
        save_checkpoint(load_checkpoint(last, weights="ema").model(), weights)
    return weights


def _trainer(settings: TrainingSettings, output: Path, machine: Machine) -> Trainer:
    """Raises ConfigError for hardware that is not there."""
    try:
        return Trainer(
            accelerator=machine.accelerator,
            devices=machine.devices,
            num_nodes=machine.nodes,
            precision=settings.training.precision,  # type: ignore[arg-type]
            max_epochs=settings.training.epochs,
            accumulate_grad_batches=settings.training.accumulate,
            gradient_clip_val=settings.training.clip,
            callbacks=_callbacks(settings, output),
            logger=TensorBoardLogger(output, name="", version="events"),
            log_every_n_steps=10,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(f"--accelerator {machine.accelerator}, --devices {machine.devices}: {reason}") from error


def _callbacks(settings: TrainingSettings, output: Path) -> list[Callback]:
    """Averaged weights, the log, and checkpoints: the last, and the best four by loss and by uSDR (official)."""
    best = [
        ModelCheckpoint(
            output,
            f"best_{name}_{{epoch}}",
            monitor=f"valid/{name}",
            mode=mode,
            save_top_k=4,
            auto_insert_metric_name=False,
        )
        for name, mode in (("loss", "min"), ("usdr", "max"))
    ]
    last = ModelCheckpoint(output, Path(LAST).stem, enable_version_counter=False)
    return [Averaging(settings.training.average), EpochLog(output / "log.csv"), *best, last]
