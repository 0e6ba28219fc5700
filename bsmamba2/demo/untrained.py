"""Makes the checkpoint that stands in until trained weights exist: a small network as its seed leaves it.

python -m bsmamba2.demo.untrained demo.safetensors
"""

from __future__ import annotations

import sys

import torch

from bsmamba2.checkpoint import save_checkpoint
from bsmamba2.config import ModelConfig
from bsmamba2.model import BandSplitSeparator


def main() -> None:
    torch.manual_seed(0)
    model = BandSplitSeparator(ModelConfig(dim=16, depth=2))
    save_checkpoint(model, sys.argv[1], dtype=torch.float16)


if __name__ == "__main__":
    main()
