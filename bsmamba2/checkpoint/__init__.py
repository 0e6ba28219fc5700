"""Checkpoints: untrusted files in, weights and a configuration that fit each other out."""

from bsmamba2.checkpoint.load import Checkpoint, load_checkpoint
from bsmamba2.checkpoint.save import save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
