"""Averaged weights: an exponential moving average of the parameters, used for validation."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor


class Averaging(Callback):
    """After every optimiser step: averaged = decay * averaged + (1 - decay) * parameter.

    A checkpoint has the raw weights in `state_dict` and these in `optimizer_states[0]["ema"]`, in the order of the
    network's parameters, as in the official code (EuiYeonKim/BSMamba2 @ 42eb8c8).
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.averaged: list[Tensor] = []
        self._step = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        parameters = _parameters(pl_module)
        known = self.averaged or [p.detach().clone() for p in parameters]
        self.averaged = [value.to(p.device) for value, p in zip(known, parameters, strict=True)]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step  # not 0 if the training continues from a checkpoint

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == self._step:  # gradients are still being accumulated
            return
        self._step = trainer.global_step
        torch._foreach_lerp_(self.averaged, [p.detach() for p in _parameters(pl_module)], 1 - self.decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._swap(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["optimizer_states"][0]["ema"] = [value.cpu() for value in self.averaged]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.averaged = checkpoint["optimizer_states"][0].pop("ema")

    def _swap(self, module: LightningModule) -> None:
        for parameter, value in zip(_parameters(module), self.averaged, strict=True):
            kept = parameter.detach().clone()
            parameter.data.copy_(value)
            value.copy_(kept)


def _parameters(module: LightningModule) -> list[torch.nn.Parameter]:
    return list(module.model.parameters())  # type: ignore[union-attr]
