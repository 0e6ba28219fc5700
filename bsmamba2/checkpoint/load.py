"""`load_checkpoint`: any published layout in, a configuration and a state_dict that fit each other out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bsmamba2.checkpoint.fit import as_float32, require_fit
from bsmamba2.checkpoint.infer import FIRST, count_stems, infer_sizes
from bsmamba2.checkpoint.read import plain, read_tensors_and_config
from bsmamba2.checkpoint.save import METADATA_KEY
from bsmamba2.checkpoint.settings import read_yaml, settings_from
from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.errors import CheckpointError, ConfigError
from bsmamba2.networks.model import BandSplitSeparator

# Checkpoints inside the package, by the names that stand for them.
SHIPPED = {"demo": "demo.safetensors", "demo-roformer": "demo_roformer.safetensors"}
WRAPPERS = ("state_dict", "state", "model_state_dict", "model")
TRAINING_ONLY = ("featurizer.", "inverse_featurizer.", "multi_featurizer.")  # STFT windows of the official code


@dataclass(frozen=True)
class Checkpoint:
    """Weights and the configuration they fit.

    `state` is float32 under the official names. `notes` says, a sentence each, what was assumed and why.
    """

    path: Path
    layout: str
    weights: str  # "raw" or "ema"
    config: ModelConfig
    state: dict[str, Tensor]
    notes: tuple[str, ...]

    def model(self) -> BandSplitSeparator:
        """A new network with these weights, in evaluation mode."""
        with torch.device("meta"):
            model = BandSplitSeparator(self.config)
        model.to_empty(device="cpu").load_state_dict(self.state)
        return model.eval()


def load_checkpoint(path: str | Path, config: str | Path | None = None, weights: str = "raw") -> Checkpoint:
    """Read an official Lightning file, MSST's file, safetensors or a plain state_dict; or one of `SHIPPED`.

    `config` is a yaml file that overrides what the checkpoint says of itself. `weights` is "raw" or, for a
    Lightning file, "ema" (the averaged ones). Raises CheckpointError or ConfigError; executes nothing of the file.
    """
    if weights not in ("raw", "ema"):
        raise ConfigError(f"weights {weights!r}: expected 'raw' or 'ema'")
    if str(path) in SHIPPED and not Path(path).is_file():
        path = str(files("bsmamba2") / "demo" / SHIPPED[str(path)])
    return _load(Path(path), config, weights)


def _load(path: Path, config_path: str | Path | None, weights: str) -> Checkpoint:
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder: expected a checkpoint file")
    content, metadata = read_tensors_and_config(path)
    state, ignored = _network_tensors(content, path)
    stated, source = _stated(content, metadata, path)
    if config_path is not None:
        over = settings_from(read_yaml(Path(config_path)), str(config_path))
        stated = {**stated, **over, "stft": {**stated.get("stft", {}), **over.get("stft", {})}}
        source = f"{config_path}, then {source}" if source else str(config_path)

    config, inferred, notes = _settle(state, stated, source, path)
    if ignored:
        notes.append(f"{len(ignored)} entries beside the network ignored: {', '.join(ignored[:3])}")
    require_fit(state, config, inferred, str(path))
    if weights == "ema":
        state = _averaged(content, state, config, path)
    return Checkpoint(
        path=path,
        layout=_layout(content, metadata),
        weights=weights,
        config=config,
        state=as_float32(state, str(path)),
        notes=tuple(notes),
    )


def _layout(content: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    if METADATA_KEY in metadata:
        return "bsmamba2 safetensors"
    if "pytorch-lightning_version" in content:
        return "Lightning"
    return "state_dict"


def _network_tensors(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The network's own tensors without the prefix Lightning, DDP or torch.compile put before their names.

    With such a prefix, as in the official loader, other entries belong to the training and are ignored; second, their
    names.
    """
    state: Mapping[str, Any] = content
    for name in WRAPPERS:
        if isinstance(content.get(name), Mapping):
            state = content[name]
            break
    prefixes = [key.removesuffix(FIRST) for key in state if isinstance(key, str) and key.endswith(FIRST)]
    if len(prefixes) > 1:  # such as `model.` beside an averaged copy under `ema_model.`
        prefixes = [prefix for prefix in prefixes if prefix in ("", "model.")]
    if len(prefixes) != 1:
        found = ", ".join(str(key)[:60] for key in list(state)[:4]) or "nothing"
        raise CheckpointError(
            f"{path}: expected exactly one tensor named {FIRST}, found {len(prefixes)} among {len(state)} entries "
            f"({found} ...): this is not a checkpoint of BSMamba2 or BS-RoFormer under the official names"
        )
    out, ignored = {}, []
    for key, value in state.items():
        if prefixes[0] and not str(key).startswith(prefixes[0]):
            if not str(key).startswith(TRAINING_ONLY):
                ignored.append(str(key)[:60])
            continue
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path}: entry {str(key)[:60]!r} is a {type(value).__name__}: expected only named tensors"
            )
        if not key.startswith(TRAINING_ONLY):
            out[key.removeprefix(prefixes[0])] = value.detach()
    return out, ignored


def _stated(content: Mapping[str, Any], metadata: Mapping[str, str], path: Path) -> tuple[dict[str, Any], str]:
    """What the checkpoint says of itself, as `ModelConfig` fields, and where it says so."""
    if METADATA_KEY in metadata:
        try:
            stated = json.loads(metadata[METADATA_KEY])
            if not isinstance(stated, dict):
                raise CheckpointError(f"{path}: its metadata holds a {type(stated).__name__}: expected an object")
            config = ModelConfig.from_dict(stated)
        except (json.JSONDecodeError, RecursionError) as error:
            raise CheckpointError(f"{path}: its metadata is not JSON ({error})") from error
        fields = {name: getattr(config, name) for name in stated}
        if "stft" in fields:
            fields["stft"] = dict(stated["stft"])
        return fields, "its metadata"
    try:
        hyper_parameters = plain(content.get("hyper_parameters"))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if isinstance(hyper_parameters, dict):
        return settings_from(hyper_parameters, f"{path}: hyper_parameters"), "its hyper_parameters"
    return {}, ""


def _settle(
    state: Mapping[str, Tensor], stated: dict[str, Any], source: str, path: Path
) -> tuple[ModelConfig, dict[str, Any], list[str]]:
    """The configuration: what is stated, else what the tensors tell, else what was published."""
    notes = [f"sizes and settings from {source}" if source else "no configuration: sizes inferred from the tensors"]
    known = dict(stated.get("stft", {}))
    if "n_fft" in known:
        known.setdefault("win_length", known["n_fft"])
    try:
        stft = StftConfig(**known)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    published = [name for name in ("sample_rate", "n_fft", "hop_length") if name not in known]
    if published:
        values = ", ".join(f"{name} {getattr(stft, name)}" for name in published)
        notes.append(f"not stated, published values taken: {values}")
    try:
        inferred = infer_sizes(state, stft.bins)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    count = count_stems(state)
    stems = stated.get("stems", ())
    if len(stems) != count:
        if stems:
            notes.append(f"{source} names {len(stems)} stems, the network has {count}")
        stems = ("vocals",) if count == 1 else tuple(f"stem_{i + 1}" for i in range(count))
        notes.append(f"stems named {', '.join(stems)}")
    fields = {**inferred, **stated, "stems": stems, "stft": stft}
    try:
        return ModelConfig(**fields), inferred, notes
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _averaged(
    content: Mapping[str, Any], state: dict[str, Tensor], config: ModelConfig, path: Path
) -> dict[str, Tensor]:
    """The EMA weights, which Lightning keeps with the optimizer in the order of the network's parameters."""
    optimizers = content.get("optimizer_states")
    first = optimizers[0] if isinstance(optimizers, list | tuple) and optimizers else None
    averaged = first.get("ema") if isinstance(first, Mapping) else None
    if not isinstance(averaged, list | tuple):
        raise CheckpointError(
            f"{path}: no averaged weights (optimizer_states[0]['ema']): only the official Lightning file has them; "
            "use --weights raw"
        )
    with torch.device("meta"):
        model = BandSplitSeparator(config)
    everything = list(model.named_parameters())
    trained = [(name, p) for name, p in everything if p.requires_grad]
    names = everything if len(averaged) == len(everything) else trained
    out = dict(state)
    if len(averaged) != len(names):
        raise CheckpointError(f"{path}: {len(averaged)} averaged tensors: expected {len(everything)}, one a parameter")
    for (name, parameter), value in zip(names, averaged, strict=True):
        if not isinstance(value, Tensor) or value.shape != parameter.shape:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{path}: averaged {name} is {found}: expected {tuple(parameter.shape)}")
        out[name] = value.detach()
    if config.has_attention:
        _share_rotary(out, model)
    return out


def _share_rotary(state: dict[str, Tensor], model: BandSplitSeparator) -> None:
    """Give every name of a shared parameter the value of its first name."""
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        state[name] = state[first.setdefault(id(parameter), name)]
