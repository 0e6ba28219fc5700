"""Reading configurations: the official yaml, MSST's yaml, or hyper-parameters in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bsmamba2.checkpoint.infer import MEL_BAND
from bsmamba2.errors import ConfigError

MAX_YAML_BYTES = 1_000_000
SAVE_AS_UTF8 = "is not UTF-8 text (Latin-1 or UTF-16?): save it as UTF-8"

# yaml key of the model section -> ModelConfig field
MODEL_KEYS = {
    "module_type": "kind",
    "dim": "dim",
    "depth": "depth",
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
}
STFT_KEYS = ("n_fft", "win_length", "hop_length")

# Settings that change what the network computes, with the only value that is supported.
ONLY = {
    "mamba_gmlp": False,
    "time_transformer_depth": 1,
    "freq_transformer_depth": 1,
    "time_module_depth": 1,
    "freq_module_depth": 1,
    "linear_transformer_depth": 0,
    "stft_normalized": False,
    "zero_dc": False,
    "skip_connection": False,
}


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
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise ConfigError(f"{path}: has no `model:` section: expected a yaml file as the official code or MSST use")
    return content


def settings_from(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`ModelConfig` fields from the sections `model`, `audio`, `featurizer` and `training` of a configuration.

    Fields that it does not state are absent. The field "stft" is a dict of the `StftConfig` fields that it states.
    Raises ConfigError for settings that are not supported.
    """
    model = _section(config, "model")
    if model.get("num_bands") is not None:
        raise ConfigError(f"{where}: {MEL_BAND}")
    for key, only in ONLY.items():
        if model.get(key, only) not in (only, None):
            raise ConfigError(f"{where}: model.{key} is {str(model[key])[:40]}: only {only!r} is supported")
    found: dict[str, Any] = {field: model[key] for key, field in MODEL_KEYS.items() if model.get(key) is not None}
    if "kind" not in found:
        found.pop("dim_head", None)  # there may be no attention: inferred from the tensors
        found.pop("heads", None)
    if "bands" in found:
        found["bands"] = _bands(found["bands"], f"{where}: model.freqs_per_bands")
    if model.get("stereo") is not None:
        if not isinstance(model["stereo"], bool):
            raise ConfigError(f"{where}: model.stereo is {str(model['stereo'])[:40]}: expected true or false")
        found["channels"] = 2 if model["stereo"] else 1
    stft = _stft(config, model, where)
    if stft:
        found["stft"] = stft
    stems = _stems(_section(config, "training"), where)
    if stems:
        found["stems"] = stems
    return found


def _stft(config: Mapping[str, Any], model: Mapping[str, Any], where: str) -> dict[str, int]:
    """STFT settings from all sections. If two sections state the same setting, they must agree."""
    featurizer, audio = _section(config, "featurizer"), _section(config, "audio")
    places = [(name, name, section) for name in STFT_KEYS for section in (featurizer, audio)]
    places += [(name, f"stft_{name}", model) for name in STFT_KEYS]
    places += [("sample_rate", "sample_rate", section) for section in (config, audio, model)]
    found: dict[str, int] = {}
    for name, key, section in places:
        value = section.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigError(f"{where}: {key} is {str(value)[:40]!r}: expected a whole number")
        if found.setdefault(name, value) != value:
            raise ConfigError(
                f"{where}: {name} is {found[name]} in one section and {value} in another: they must agree"
            )
    return found


def _stems(training: Mapping[str, Any], where: str) -> tuple[str, ...]:
    target, instruments = training.get("target_instrument"), training.get("instruments")
    if target is not None:
        instruments = [target]
    if instruments is None:
        return ()
    if not isinstance(instruments, list) or not all(isinstance(name, str) for name in instruments):
        raise ConfigError(f"{where}: training.instruments and target_instrument must be stem names")
    return tuple(instruments)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _bands(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, int) for item in value):
        raise ConfigError(f"{where}: expected a list of whole numbers")
    return tuple(value)
