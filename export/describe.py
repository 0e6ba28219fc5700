"""The manifest of an engine that is going to be written."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, replace

from bsmamba2.checkpoint import Checkpoint
from bsmamba2.config import ModelConfig
from runtime.engine import manifest as m
from runtime.engine.stems import usual_rest

VERSIONS_OF = ("bsmamba2", "torch", "onnx", "onnxscript", "numpy")


def model_of(config: ModelConfig, parameters: int, rest: str | None = None) -> m.Model:
    """The `model` entry of a manifest. `parameters` is their number, shared ones counted once.

    `rest` is what the configuration calls the rest of a song, None for the usual name.
    """
    return m.Model(
        kind=config.kind,
        dim=config.dim,
        depth=config.depth,
        channels=config.channels,
        stems=list(config.stems),
        rest=usual_rest(config.stems) if rest is None else rest,
        bands=list(config.bands),
        starts=list(config.starts),
        parameters=parameters,
    )


def tensors_of(config: ModelConfig, io: str, frames: m.Range) -> tuple[m.Tensor, m.Tensor]:
    """The input and the output `stems` of an engine of this network, of the form `io`."""
    return m.io_tensors(io, model_of(config, parameters=0), m.Stft(**asdict(config.stft)), frames)


def is_network_of(config: ModelConfig, manifest: m.Manifest) -> bool:
    """Whether `config` describes the network that the engine was made from; the case of stem names does not count."""
    found = model_of(config, manifest.model.parameters, manifest.model.rest)
    found = replace(found, stems=[stem.lower() for stem in config.stems])
    stft = m.Stft(**asdict(config.stft))
    return (found, stft) == (replace(manifest.model, stems=manifest.stems), manifest.stft)


def describe(
    checkpoint: Checkpoint,
    model: m.Model,
    *,
    frames: m.Range,
    batch: m.Range,
    precision: str,
    scan: str,
    target: str,
    io: str,
    probes: list[m.Tensor],
    parity: m.Parity,
) -> m.Manifest:
    """The manifest without the files, which are not written yet: `onnx` and `plan` are None."""
    import onnxruntime

    config = checkpoint.config
    mixture, stems = tensors_of(config, io, frames)
    return m.Manifest(
        format=m.FORMAT,
        version=m.VERSION,
        model=model,
        stft=m.Stft(**asdict(config.stft)),
        frames=frames,
        batch=batch,
        precision=precision,
        scan=scan,
        target=target,
        io=io,
        input=mixture,
        output=stems,
        probes=probes,
        checkpoint=m.Origin(checkpoint.path.name, m.sha256_of(checkpoint.path), checkpoint.layout, checkpoint.weights),
        onnx=None,
        plan=None,
        builder=m.Builder(
            name="bsm-export",
            versions={
                **{package: importlib.metadata.version(package) for package in VERSIONS_OF},
                "onnxruntime": onnxruntime.__version__,  # its package may be onnxruntime-gpu
            },
        ),
        msst=_msst(checkpoint, (frames.opt - 1) * config.stft.hop_length),
        onnx_data=None,
        parity=parity,
    )


def _msst(checkpoint: Checkpoint, chunk: int) -> m.Msst | None:
    """How MSST cuts songs for the network, if the checkpoint says so and the engine has chunks of that length."""
    if checkpoint.chunk != chunk or checkpoint.overlaps is None:
        return None
    return m.Msst(chunk, checkpoint.overlaps, checkpoint.batch)
