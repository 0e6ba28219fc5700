"""The manifest of an engine about to be written."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict

from bsmamba2.checkpoint import Checkpoint
from runtime import manifest as m

VERSIONS_OF = ("bsmamba2", "torch", "onnx", "onnxscript", "onnxruntime", "numpy")


def describe(
    checkpoint: Checkpoint,
    *,
    parameters: int,
    frames: m.Range,
    batch: m.Range,
    precision: str,
    scan: str,
    target: str,
    parity: m.Parity,
) -> m.Manifest:
    """Everything but the files themselves, which are not written yet: `onnx` and `plan` are None.

    `parameters` is the number of the network's parameters, shared ones counted once.
    """
    config = checkpoint.config
    bins, channels, stems = config.stft.bins, config.channels, list(config.stems)
    length: int | str = frames.opt if frames.min == frames.max else "frames"
    return m.Manifest(
        format=m.FORMAT,
        version=m.VERSION,
        model=m.Model(
            kind=config.kind,
            dim=config.dim,
            depth=config.depth,
            channels=channels,
            stems=stems,
            bands=list(config.bands),
            parameters=parameters,
        ),
        stft=m.Stft(**asdict(config.stft)),
        frames=frames,
        batch=batch,
        precision=precision,
        scan=scan,
        target=target,
        input=m.Tensor(m.INPUT_NAME, "float32", ["batch", length, bins, channels, 2]),
        output=m.Tensor(m.OUTPUT_NAME, "float32", ["batch", len(stems), length, bins, channels, 2]),
        checkpoint=m.Origin(checkpoint.path.name, m.sha256_of(checkpoint.path), checkpoint.layout, checkpoint.weights),
        onnx=None,
        plan=None,
        builder=m.Builder(
            name="bsm-export",
            versions={package: importlib.metadata.version(package) for package in VERSIONS_OF},
        ),
        parity=parity,
    )
