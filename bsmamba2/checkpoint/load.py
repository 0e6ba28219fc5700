"""`load_checkpoint`: from a file of any published layout to a configuration and a state_dict that match."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from bsmamba2.catalogue.entries import entry_of
from bsmamba2.checkpoint.content import part_of_several
from bsmamba2.checkpoint.fit import as_float32, require_fit
from bsmamba2.checkpoint.forks import fork_of_tensors, refused
from bsmamba2.checkpoint.infer import count_stems
from bsmamba2.checkpoint.locate import USUAL_KEYS, Place, averaged, locate, tensors_of
from bsmamba2.checkpoint.read import plain, read_tensors_and_config
from bsmamba2.checkpoint.save import METADATA_KEY
from bsmamba2.checkpoint.settings import Stated, changed, read_yaml, settings_from
from bsmamba2.checkpoint.settle import settle
from bsmamba2.config import ModelConfig
from bsmamba2.errors import CheckpointError
from bsmamba2.networks.model import BandSplitSeparator

# Checkpoints in the package, by name.
SHIPPED = {"demo": "demo.safetensors", "demo-roformer": "demo_roformer.safetensors"}


@dataclass(frozen=True)
class Checkpoint:
    """Weights and their configuration.

    `state` is float32, with the official names. `notes` are sentences about what was assumed and why.
    """

    path: Path
    layout: str
    weights: str  # "raw", "ema", or the name of another copy in the file
    config: ModelConfig
    state: dict[str, Tensor]
    notes: tuple[str, ...]
    rest: str | None = None  # what the configuration calls the rest of a song without the only stem
    # How MSST cuts songs for it, if the configuration says so:
    chunk: int | None = None  # samples
    overlaps: int | None = None  # a chunk starts every chunk // overlaps samples
    batch: int = 1  # chunks at a time

    @property
    def parameters(self) -> int:
        """Their number, shared ones counted once."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in BandSplitSeparator(self.config).parameters())

    def model(self) -> BandSplitSeparator:
        """A new network with these weights, in evaluation mode."""
        with torch.device("meta"):
            model = BandSplitSeparator(self.config)
        model.load_state_dict(self.state, assign=True)  # no copy: a file may take much of the memory
        return model.eval()


def load_checkpoint(
    path: str | Path,
    config: str | Path | None = None,
    weights: str = "raw",
    changes: Mapping[str, str] = MappingProxyType({}),
) -> Checkpoint:
    """Read an official Lightning file, MSST's file, safetensors or a plain state_dict; or one of `SHIPPED`.

    `config` is a yaml file that overrides what the checkpoint says of itself; `changes` override values of it, by keys
    such as "model.zero_dc". `weights` is "raw", "ema" (the averaged ones) or the key that holds them. Raises
    CheckpointError or ConfigError; executes nothing of the file.
    """
    if str(path) in SHIPPED and not Path(path).is_file():
        path = str(files("bsmamba2") / "demo" / SHIPPED[str(path)])
    return _load(Path(path), config, weights, changes)


def _load(path: Path, config_path: str | Path | None, weights: str, changes: Mapping[str, str]) -> Checkpoint:
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder: give the checkpoint file itself")
    content, metadata = read_tensors_and_config(path)
    try:
        return _fitted(path, content, metadata, config_path, weights, changes)
    except CheckpointError as error:
        part = part_of_several(path)
        if part is None:
            raise
        raise CheckpointError(f"{path}: {part}") from error


def _fitted(
    path: Path,
    content: Mapping[str, Any],
    metadata: Mapping[str, str],
    config_path: str | Path | None,
    weights: str,
    changes: Mapping[str, str],
) -> Checkpoint:
    """The content of the file as a configuration and a state_dict that match."""
    place, found = _place(content, weights, path)
    fork = fork_of_tensors(map(str, place.entries))
    if fork is not None:
        raise CheckpointError(f"{path}: {refused(fork)}")
    state, ignored = tensors_of(place, path)
    stated, source = _stated(content, metadata, path)
    if stated.is_empty and config_path is None:
        stated, source = _of_catalogue(path, count_stems(state))
    if config_path is not None or changes:
        given = {} if config_path is None else read_yaml(Path(config_path))
        where = "--set" if config_path is None else str(config_path)
        stated = settings_from(changed(given, changes, where), where).over(stated)
        source = f"{where}, then {source}" if source else where

    settled = settle(state, stated, source, path)
    config, notes = settled.config, settled.notes
    chunk, hop = stated.inference.get("chunk_size"), config.stft.hop_length
    if chunk is not None and chunk % hop:
        notes.append(
            f"chunk_size {chunk} is no multiple of the hop {hop}: rounded, so --procedure msst is not possible"
        )
    if ignored:
        notes.append(f"{len(ignored)} entries besides the network ignored: {', '.join(ignored[:3])}")
    require_fit(state, config, str(path))
    of_optimizer = _averaged_by_optimizer(content) if weights == "ema" else None
    if of_optimizer is not None:
        state = _averaged(of_optimizer, state, config, path)
    usual = weights == "ema" or (weights == "raw" and place.key in USUAL_KEYS)
    return Checkpoint(
        path=path,
        layout=_layout(content, metadata),
        weights=weights if usual else place.name,
        config=config,
        state=as_float32(state, str(path)),
        notes=(*notes, *found),
        rest=settled.rest,
        chunk=chunk,
        overlaps=stated.inference.get("num_overlap"),
        batch=stated.inference.get("batch_size", 1),
    )


def _place(content: Mapping[str, Any], weights: str, path: Path) -> tuple[Place, list[str]]:
    """The copy of the network that `weights` asks for, and notes about it."""
    if weights == "ema" and _averaged_by_optimizer(content) is None:
        place = averaged(content, path)
        if place is None:
            raise CheckpointError(
                f"{path}: no averaged weights: neither optimizer_states[0]['ema'], where the official Lightning file "
                "has them, nor a key with 'ema' in its name; use --weights raw"
            )
        return place, []
    return locate(content, None if weights in ("raw", "ema") else weights, path)


def _layout(content: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    if METADATA_KEY in metadata:
        return "bsmamba2 safetensors"
    if "pytorch-lightning_version" in content:
        return "Lightning"
    return "state_dict"


def _stated(content: Mapping[str, Any], metadata: Mapping[str, str], path: Path) -> tuple[Stated, str]:
    """What the checkpoint states of its configuration, and where it states it."""
    if METADATA_KEY in metadata:
        try:
            stated = json.loads(metadata[METADATA_KEY])
            if not isinstance(stated, dict):
                raise CheckpointError(f"{path}: its metadata is a {type(stated).__name__}: expected a JSON object")
            config = ModelConfig.from_dict(stated)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CheckpointError(f"{path}: its metadata is not JSON ({error})") from error
        model = {name: getattr(config, name) for name in stated if name not in ("stft", "stems")}
        stems = config.stems if "stems" in stated else ()
        return Stated(model, dict(stated.get("stft", {})), instruments=stems), "its metadata"
    try:
        hyper_parameters = plain(content.get("hyper_parameters"))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if isinstance(hyper_parameters, dict):
        return settings_from(hyper_parameters, f"{path}: hyper_parameters"), "its hyper_parameters"
    return Stated(), ""


def _of_catalogue(path: Path, stems: int) -> tuple[Stated, str]:
    """What is known of a published file, by its sha256: its configuration, or at least the names of its stems."""
    entry = entry_of(path)
    if entry is None:
        return Stated(), ""
    source = f"the catalogue, where this file is {entry.name}"
    configuration = entry.configuration()
    if configuration is not None:
        return settings_from(configuration, source), source
    return (Stated(instruments=entry.stems), source) if len(entry.stems) == stems else (Stated(), "")


def _averaged_by_optimizer(content: Mapping[str, Any]) -> list[Any] | tuple[Any, ...] | None:
    """The EMA weights that Lightning keeps with the optimizer, if the file has them."""
    optimizers = content.get("optimizer_states")
    first = optimizers[0] if isinstance(optimizers, list | tuple) and optimizers else None
    found = first.get("ema") if isinstance(first, Mapping) else None
    return found if isinstance(found, list | tuple) else None


def _averaged(
    averaged: list[Any] | tuple[Any, ...], state: dict[str, Tensor], config: ModelConfig, path: Path
) -> dict[str, Tensor]:
    """`state` with the EMA weights, which come in the order of the network's parameters."""
    with torch.device("meta"):
        model = BandSplitSeparator(config)
    everything = list(model.named_parameters())
    trained = [(name, p) for name, p in everything if p.requires_grad]
    names = everything if len(averaged) == len(everything) else trained
    out = dict(state)
    if len(averaged) != len(names):
        raise CheckpointError(
            f"{path}: {len(averaged)} averaged tensors: expected {len(everything)}, one per parameter"
        )
    for (name, parameter), value in zip(names, averaged, strict=True):
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{path}: averaged {name} is {found}, expected {tuple(parameter.shape)}")
        out[name] = value.detach()
    if config.has_attention:
        _share_rotary(out, model)
    return out


def _share_rotary(state: dict[str, Tensor], model: BandSplitSeparator) -> None:
    """Set all names of a shared parameter to the value of its first name."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state[name] = state[first.setdefault(id(parameter), name)]
