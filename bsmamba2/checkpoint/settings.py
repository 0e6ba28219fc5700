"""Reading configurations: the official yaml, MSST's yaml, or hyper-parameters in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bsmamba2.checkpoint.forks import fork_of_settings, refused
from bsmamba2.config import short
from bsmamba2.errors import ConfigError

MAX_YAML_BYTES = 1_000_000
SAVE_AS_UTF8 = "is not UTF-8 text (Latin-1 or UTF-16?): save it as UTF-8"

# yaml key of the model section -> ModelConfig field
MODEL_KEYS = {
    "module_type": "kind",
    "dim": "dim",
    "depth": "depth",
    "stereo": "channels",
    "freqs_per_bands": "bands",
    "mask_estimator_depth": "mask_depth",
    "mlp_expansion_factor": "mask_expansion",
    "d_state": "d_state",
    "d_conv": "d_conv",
    "expand": "expand",
    "headdim": "headdim",
    "heads": "heads",
    "dim_head": "dim_head",
    "attn_dropout": "attn_dropout",
    "ff_dropout": "ff_dropout",
    "time_transformer_depth": "time_depth",
    "freq_transformer_depth": "freq_depth",
    "linear_transformer_depth": "linear_depth",
    "use_pope": "pope",
    "use_shared_bias": "shared_bias",
    "skip_connection": "skip_connection",
    "zero_dc": "zero_dc",
}
SWITCHES = ("stereo", "use_pope", "use_shared_bias", "skip_connection", "zero_dc")
KEYS = {name: f"model.{key}" for key, name in MODEL_KEYS.items()}  # ModelConfig field -> its place in a yaml file
STFT_KEYS = ("n_fft", "win_length", "hop_length")
INFERENCE_KEYS = ("chunk_size", "num_overlap", "batch_size")

# Settings that change what the network computes, with the only value that is supported.
ONLY = {"mamba_gmlp": False, "time_module_depth": 1, "freq_module_depth": 1}


@dataclass(frozen=True)
class Stated:
    """What a configuration states. Fields that it does not state are absent."""

    model: dict[str, Any] = field(default_factory=dict)  # `ModelConfig` fields except stems and stft
    stft: dict[str, Any] = field(default_factory=dict)  # `StftConfig` fields
    mel_bands: int | None = None  # the number of sub-bands of a Mel-Band RoFormer
    stems: int | None = None  # their number
    instruments: tuple[str, ...] = ()  # in the order of the stems, unless there is a target
    target: str | None = None  # the only stem
    inference: dict[str, int] = field(default_factory=dict)  # MSST's chunk_size in samples, num_overlap, batch_size

    @property
    def is_empty(self) -> bool:
        return self == Stated()

    def over(self, other: Stated) -> Stated:
        """This configuration, completed by `other`."""
        names = self.instruments or self.target is not None
        return Stated(
            {**other.model, **self.model},
            {**other.stft, **self.stft},
            other.mel_bands if self.mel_bands is None else self.mel_bands,
            other.stems if self.stems is None else self.stems,
            self.instruments if names else other.instruments,
            self.target if names else other.target,
            {**other.inference, **self.inference},
        )


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `!!python/tuple` as a list; all other Python tags are refused."""


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", yaml.SafeLoader.construct_sequence)  # type: ignore[type-var]


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a yaml file. Raises ConfigError; nothing in the file is executed."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ConfigError(f"{path}: is too large for a configuration ({path.stat().st_size} bytes)")
        text = path.read_text(encoding="utf-8")
        if "\0" in text:  # UTF-16 of ASCII letters
            raise ConfigError(f"{path}: {SAVE_AS_UTF8}")
        content = yaml.load(text, Loader=_Loader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: {SAVE_AS_UTF8}") from error
    except ConfigError:
        raise
    except Exception as error:  # PyYAML raises errors of many types for malformed scalars
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise ConfigError(f"{path}{line}: not a valid yaml configuration ({problem})") from error
    _refuse_forks(content, path)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ConfigError(f"{path}: has no `model:` section: expected a yaml file as the official code or MSST use")
    return content


def _refuse_forks(content: Any, path: Path) -> None:
    """Raise ConfigError for the configuration of another network."""
    if isinstance(content, dict):
        fork = fork_of_settings(_section(content, "model"), content)
        if fork is not None:
            raise ConfigError(f"{path}: {refused(f'the configuration of {fork}')}")


def changed(content: Mapping[str, Any], changes: Mapping[str, str], where: str) -> dict[str, Any]:
    """A copy of a configuration with some values replaced, by keys such as "model.zero_dc". Raises ConfigError."""
    out = {name: dict(value) if isinstance(value, Mapping) else value for name, value in content.items()}
    for key, text in changes.items():
        section, dot, name = key.partition(".")
        if not dot or not name or not isinstance(out.setdefault(section, {}), dict):
            raise ConfigError(f"{where}: {key}: expected SECTION.KEY, such as model.stft_hop_length")
        try:
            out[section][name] = yaml.load(text, Loader=_Loader)  # noqa: S506
        except Exception as error:
            raise ConfigError(f"{where}: {key}: the value {text[:40]!r} is not valid yaml") from error
    return out


def settings_from(config: Mapping[str, Any], where: str) -> Stated:
    """What the sections `model`, `audio`, `featurizer`, `training` and `inference` of a configuration state.

    Raises ConfigError for settings that are not supported.
    """
    model, training = _section(config, "model"), _section(config, "training")
    for key, only in ONLY.items():
        if model.get(key, only) not in (only, None):
            raise ConfigError(f"{where}: model.{key} is {short(model[key])}: only {only!r} is supported")
    for key in (*SWITCHES, "stft_normalized"):
        if not isinstance(model.get(key), bool | None):
            raise ConfigError(f"{where}: model.{key} is {short(model[key])}: expected true or false")
    if _section(config, "inference").get("normalize"):
        raise ConfigError(
            f"{where}: inference.normalize is set: songs are not normalized here, only false is supported"
        )
    found: dict[str, Any] = {name: model[key] for key, name in MODEL_KEYS.items() if model.get(key) is not None}
    if "channels" in found:
        found["channels"] = 2 if found["channels"] else 1
    if "bands" in found:
        found["bands"] = _bands(found["bands"], f"{where}: model.freqs_per_bands")
    mel_bands = _whole(model, "num_bands", f"{where}: model.")
    if mel_bands is not None:
        found |= {"block_norm": True}
        if isinstance(found.get("mask_depth"), int):
            found["mask_depth"] += 1  # there it counts the hidden layers
    stft = _stft(config, model, where)
    if model.get("stft_normalized") is not None:
        stft["normalized"] = model["stft_normalized"]
    instruments, target = training.get("instruments"), training.get("target_instrument")
    names = [*(instruments if isinstance(instruments, list) else []), *([] if target is None else [target])]
    if not isinstance(instruments, list | None) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{where}: training.instruments and target_instrument must be stem names")
    return Stated(
        found,
        stft,
        mel_bands,
        _whole(model, "num_stems", f"{where}: model."),
        tuple(instruments or ()),
        target,
        _inference(config, where),
    )


def _inference(config: Mapping[str, Any], where: str) -> dict[str, int]:
    inference, audio = _section(config, "inference"), _section(config, "audio")
    found = {}
    for name in INFERENCE_KEYS:
        for section, title in ((inference, "inference"), (audio, "audio")):
            value = _whole(section, name, f"{where}: {title}.") if name not in found else None
            if value is not None and (title == "inference" or name == "chunk_size"):
                found[name] = value
    return found


def _whole(section: Mapping[str, Any], key: str, where: str) -> int | None:
    value = section.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31):
        raise ConfigError(f"{where}{key} is {short(value)}: expected a positive whole number")
    return value


def _stft(config: Mapping[str, Any], model: Mapping[str, Any], where: str) -> dict[str, Any]:
    """STFT settings from all sections. If two of them state the same setting, they must agree.

    The section `audio` counts only for what no other states: MSST's networks do not use its n_fft and hop_length, and
    published files have wrong ones there.
    """
    featurizer, audio = _section(config, "featurizer"), _section(config, "audio")
    places = [(name, name, featurizer) for name in STFT_KEYS]
    places += [(name, f"stft_{name}", model) for name in STFT_KEYS]
    places += [("sample_rate", "sample_rate", section) for section in (config, audio, model)]
    found: dict[str, Any] = {}
    for name, key, section in places:
        value = _whole(section, key, f"{where}: ")
        if value is not None and found.setdefault(name, value) != value:
            raise ConfigError(
                f"{where}: {name} is {found[name]} in one section and {value} in another: they must agree"
            )
    of_audio = {name: _whole(audio, name, f"{where}: audio.") for name in STFT_KEYS}
    return {**{name: value for name, value in of_audio.items() if value is not None}, **found}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _bands(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
        raise ConfigError(f"{where}: expected a list of whole numbers")
    return tuple(value)
