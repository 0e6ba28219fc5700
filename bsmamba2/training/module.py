"""Training and validation steps for Lightning."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning import LightningModule
from torch import Tensor, nn

from bsmamba2.networks.model import BandSplitSeparator
from bsmamba2.networks.stft import inverse, spectrogram
from bsmamba2.training.loss import separation_loss, usdr
from bsmamba2.training.mixtures import Example
from bsmamba2.training.settings import TrainingSettings


class Separation(LightningModule):
    """The network, its loss and its optimiser. Checkpoints have the layout of the official code.

    Waveforms are [b, c, samples] and [b, s, c, samples].
    """

    def __init__(self, settings: TrainingSettings, compiled: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters(settings.raw, logger=False)
        self.settings = settings
        self.model = BandSplitSeparator(settings.model)
        self.model.recompute = settings.training.recompute
        if compiled:
            for layer in self.model.layers:
                for block in cast(nn.ModuleList, layer):
                    block.compile()

    def forward(self, mixture: Tensor) -> Tensor:
        """[b, c, samples] -> [b, s, c, samples], float32."""
        stft = self.settings.model.stft
        return inverse(self.model(spectrogram(mixture, stft)), stft)

    def on_train_epoch_start(self) -> None:
        # Makes the dropout of an epoch independent of interruptions.
        torch.manual_seed(self.settings.training.seed + 100_003 * self.current_epoch + self.global_rank)

    def training_step(self, batch: Example, index: int) -> Tensor:
        loss = self._loss(batch, self(batch.mixture))
        self.log("train/loss", loss, on_step=True, on_epoch=False, prog_bar=True)
        return loss

    def validation_step(self, batch: Example, index: int) -> None:
        estimate = self(batch.mixture)
        together = {"on_epoch": True, "sync_dist": True, "batch_size": len(batch.mixture)}
        self.log("valid/loss", self._loss(batch, estimate), **together)  # type: ignore[arg-type]
        self.log("valid/usdr", usdr(estimate, batch.targets).mean(), prog_bar=True, **together)  # type: ignore[arg-type]

    def configure_optimizers(self) -> Any:
        loop = self.settings.training
        optimizer = torch.optim.AdamW(self.parameters(), lr=loop.learning_rate, weight_decay=loop.weight_decay)
        if not loop.decay:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        falling = max(1, round(steps * loop.decay))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (steps - step) / falling))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Example, estimate: Tensor) -> Tensor:
        """The official code passes targets through STFT and inverse STFT first; for whole hops this changes nothing."""
        with torch.autocast(estimate.device.type, enabled=False):
            return separation_loss(estimate.float(), batch.targets, self.settings.training.loss_hop)
