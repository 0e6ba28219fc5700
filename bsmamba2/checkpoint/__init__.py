"""Reading checkpoints: from an untrusted file to weights and a configuration that match."""

from bsmamba2.checkpoint.load import Checkpoint, load_checkpoint
from bsmamba2.checkpoint.save import save_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]
