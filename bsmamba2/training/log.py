"""The log of a training: a CSV file with one line per epoch."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

COLUMNS = ("epoch", "steps", "seconds", "train_loss", "valid_loss", "valid_usdr")


class EpochLog(Callback):
    """`seconds` is the total training time so far, over all runs; `train_loss` is the mean over the epoch.

    A resumed training removes the lines of epochs that it repeats.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, str]] = []
        self._earlier = 0.0
        self._losses: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.path.exists():
            with self.path.open(newline="") as file:
                self._rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]
        self._earlier = float(self._rows[-1]["seconds"]) if self._rows else 0.0
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._losses = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = (
            trainer.current_epoch + 1,
            trainer.global_step,
            round(self._earlier + time.perf_counter() - self._start),
            f"{sum(self._losses) / max(1, len(self._losses)):.5f}",
            f"{float(trainer.callback_metrics['valid/loss']):.5f}",
            f"{float(trainer.callback_metrics['valid/usdr']):.3f}",
        )
        self._rows.append({name: str(value) for name, value in zip(COLUMNS, values, strict=True)})
        beside = self.path.with_suffix(".tmp")
        with beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)
        beside.replace(self.path)
        epoch, _, seconds, loss, valid, found = values
        print(
            f"epoch {epoch} of {trainer.max_epochs}: loss {loss}, validation loss {valid}, uSDR {found} dB, {seconds} "
            "s",
            flush=True,
        )
