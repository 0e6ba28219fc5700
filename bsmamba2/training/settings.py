"""The settings of a training from a yaml file: network, data and training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from bsmamba2.checkpoint.mel_bands import mel_bands
from bsmamba2.checkpoint.settings import Stated, read_yaml, settings_from
from bsmamba2.config import ModelConfig, StftConfig
from bsmamba2.errors import ConfigError
from bsmamba2.training.augment import Augmentation
from bsmamba2.training.loss import HOP

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class DataSettings:
    """The training data. `per_epoch` and `valid` are numbers of examples; `gain` and `speed` are ranges of factors;
    `silence`, `swap_channels` and `polarity` are probabilities."""

    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    seconds: float = 8.0  # of an example, and of a window of the activity detection
    per_epoch: int = 6000
    valid: int = 1200
    gain: tuple[float, float] = (0.5, 1.5)
    silence: float = 0.1
    swap_channels: float = 0.0
    polarity: float = 0.0
    speed: tuple[float, float] = (1.0, 1.0)

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(self.swap_channels, self.polarity, self.speed)

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ConfigError("data.sources: must be stem names, each only once")
        for name in ("gain", "speed"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 16:
                raise ConfigError(f"data.{name} is {low} to {high}: must be a range of positive numbers up to 16")
        for name in ("silence", "swap_channels", "polarity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name} is {getattr(self, name)}: must be a probability from 0 to 1")
        _require_positive(self, "data", "seconds", "per_epoch", "valid")


@dataclass(frozen=True)
class LoopSettings:
    """The training loop. `batch_size` is per process; `decay` is the share of steps at the end in which the learning
    rate decreases linearly to 0 (in the official code it is constant)."""

    batch_size: int = 5
    accumulate: int = 6
    epochs: int = 2000
    precision: str = "bf16-mixed"
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    decay: float = 0.0
    clip: float = 3.0  # maximum norm of the gradient
    average: float = 0.999  # decay of the averaged weights
    loss_hop: int = HOP
    recompute: bool = False  # activations for gradients: far less memory, more time
    seed: int = 42

    def __post_init__(self) -> None:
        _require_positive(self, "training", "batch_size", "accumulate", "epochs", "learning_rate", "clip", "loss_hop")
        if self.precision not in ("32-true", "bf16-mixed", "16-mixed"):
            raise ConfigError(f"training.precision {self.precision!r}: must be 32-true, bf16-mixed or 16-mixed")
        if not 0 <= self.average < 1 or not 0 <= self.decay <= 1 or self.weight_decay < 0 or self.seed < 0:
            raise ConfigError(
                "training: average must be from 0 to below 1, decay from 0 to 1, weight_decay and seed not negative"
            )


@dataclass(frozen=True)
class TrainingSettings:
    """`raw` is the content of the yaml file, stored in checkpoints as `hyper_parameters`."""

    model: ModelConfig
    data: DataSettings = field(default_factory=DataSettings)
    training: LoopSettings = field(default_factory=LoopSettings)
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Samples of an example: whole hops, so that the inverse STFT loses none."""
        hop = self.model.stft.hop_length
        return round(self.data.seconds * self.model.stft.sample_rate / hop) * hop

    @property
    def steps_per_epoch(self) -> float:
        """Optimiser steps if there is only one process."""
        return self.data.per_epoch / (self.training.batch_size * self.training.accumulate)


def read_settings(name: str | Path) -> TrainingSettings:
    """The settings in a yaml file, or in the recipe of that name in this package. Raises ConfigError."""
    recipe = RECIPES / f"{name}.yaml"
    path = recipe if recipe.is_file() and not Path(name).is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise ConfigError(f"{path}: no such file: give a yaml file or the name of a recipe ({known})")
    return settings_of(read_yaml(path), str(path))


def settings_of(content: Mapping[str, Any], where: str) -> TrainingSettings:
    """The settings from the content of a yaml file. Raises ConfigError for unknown, wrong or conflicting settings."""
    stated = settings_from(content, where)
    try:
        model = config_of(stated)
        data = DataSettings(**_typed(DataSettings, content.get("data"), "data"))
        data = replace(data, sources=tuple(source.lower() for source in data.sources))
        loop = {
            key: value
            for key, value in dict(content.get("training") or {}).items()
            if key not in ("target_instrument", "instruments")
        }
        training = LoopSettings(**_typed(LoopSettings, loop, "training"))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    missing = [stem for stem in model.stems if stem not in data.sources]
    if missing:
        raise ConfigError(f"{where}: the network separates {missing[0]}, which is missing in data.sources")
    settings = TrainingSettings(model, data, training, dict(content))
    if settings.data.per_epoch % (training.batch_size * training.accumulate):
        raise ConfigError(
            f"{where}: data.per_epoch {data.per_epoch} must be a multiple of batch_size * accumulate "
            f"({training.batch_size} * {training.accumulate}), so that epochs have whole steps"
        )
    return settings


def config_of(stated: Stated) -> ModelConfig:
    """The network that a configuration describes, without its tensors. Raises ConfigError."""
    known = dict(stated.stft)
    if "n_fft" in known:
        known.setdefault("win_length", known["n_fft"])
    stft, fields = StftConfig(**known), dict(stated.model)
    if stated.mel_bands is not None:
        table = mel_bands(stft.sample_rate, stft.n_fft, stated.mel_bands)
        if table is None:
            raise ConfigError(f"model.num_bands is {stated.mel_bands}: too many for n_fft {stft.n_fft}")
        fields |= {"kind": "transformer", "starts": table[0], "bands": table[1]}
    names = stated.instruments if stated.target is None else (stated.target,)
    return ModelConfig(**fields, stft=stft, stems=tuple(name.lower() for name in names) or ModelConfig.stems)


def _typed(cls: type, section: Any, where: str) -> dict[str, Any]:
    """`section` with every key a field of `cls` and every value of that field's type."""
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{where}: is a {type(section).__name__}: must be a section of settings")
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls)]
    out: dict[str, Any] = {}
    for key, value in section.items():
        if key not in known:
            raise ConfigError(f"{where}.{str(key)[:40]} is unknown: expected {', '.join(known)}")
        out[key] = _as(hints[key], value, f"{where}.{key}")
    return out


def _as(kind: Any, value: Any, where: str) -> Any:
    if kind is bool:
        good = isinstance(value, bool)
    elif kind is float or kind is int:
        good = isinstance(value, int | float if kind is float else int) and not isinstance(value, bool)
    elif kind is str:
        good = isinstance(value, str)
    elif isinstance(value, list):
        item = str if kind == tuple[str, ...] else float
        right = [_as(item, one, where) for one in value]
        if item is str or len(right) == 2:
            return tuple(right)
        good = False
    else:
        good = False
    if not good:
        raise ConfigError(f"{where} is {str(value)[:40]!r}: must be {_name(kind)}")
    return kind(value)


def _name(kind: Any) -> str:
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}.get(kind, "a list")


def _require_positive(settings: object, section: str, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < 1e9:
            raise ConfigError(f"{section}.{name} is {value}: must be a positive number")
