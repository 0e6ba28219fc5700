"""The configuration of a network from what is stated, from its tensors, and otherwise from published values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bsmamba2.checkpoint.infer import count_stems, infer_sizes
from bsmamba2.checkpoint.settings import KEYS, Stated
from bsmamba2.config import ModelConfig, StftConfig, short
from bsmamba2.errors import CheckpointError, ConfigError

# Hops of published networks by n_fft; others have a quarter of n_fft.
PUBLISHED_HOPS = {2048: 441, 4096: 882}
ASK = "if this is wrong, give the yaml with --config, or a value with --set KEY=VALUE"


@dataclass(frozen=True)
class Settled:
    """`rest` is what the configuration calls the rest of a song without the only stem, if it does."""

    config: ModelConfig
    rest: str | None
    notes: list[str]


def settle(state: Mapping[str, Tensor], stated: Stated, source: str, path: Path) -> Settled:
    """The configuration of the network in `state`. `source` says where `stated` is from; "" if nowhere.

    Raises CheckpointError or ConfigError, among others for a configuration that contradicts the tensors.
    """
    notes = [f"configuration from {source}" if source else "no configuration: sizes inferred from the tensors"]
    try:
        inferred = infer_sizes(state, stated.stft)
        of_tensors = inferred.pop("stft")
        _require_no_contradiction(inferred, of_tensors, count_stems(state), stated, source)
        if inferred["mask_depth"] != stated.model.get("mask_depth", inferred["mask_depth"]):
            notes.append(f"mask_estimator_depth counted as in older code: {inferred['mask_depth']} linear layers")
        assumed: list[str] = []
        stft = _stft({**stated.stft, **of_tensors}, assumed)
        stems, rest = _stems(count_stems(state), stated, source, notes, assumed)
        fields = {**stated.model, **inferred}
        if fields["kind"] == "transformer" and not source.endswith(("its metadata", "its hyper_parameters")):
            _assume_what_no_tensor_tells(fields, stated, source, assumed)
        if assumed:
            notes.append(f"not stated, published values assumed: {', '.join(assumed)} ({ASK})")
        return Settled(ModelConfig(**fields, stems=stems, stft=stft), rest, notes)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _require_no_contradiction(
    inferred: Mapping[str, Any], stft: Mapping[str, Any], stems: int, stated: Stated, source: str
) -> None:
    """Raise ConfigError with every field in which the configuration contradicts the tensors."""
    networks = "a network of consecutive sub-bands", "a Mel-Band RoFormer"
    is_mel, says_mel = bool(inferred["starts"]), stated.mel_bands is not None or bool(stated.model.get("starts"))
    wrong = []
    if says_mel != is_mel and (says_mel or "bands" in stated.model):
        wrong.append(f"model is that of {networks[says_mel]}, the tensors are of {networks[is_mel]}")
    elif stated.mel_bands not in (None, len(inferred["bands"])):
        wrong.append(f"model.num_bands is {stated.mel_bands}, the tensors have {len(inferred['bands'])}")
    for name, value in stated.model.items():
        found = inferred.get(name, value)
        # Before PyPI's 0.3.5 the depth of a Mel-Band RoFormer's mask estimator counted all linear layers.
        older = name == "mask_depth" and is_mel and value == found + 1
        if found != value and not older and (name not in ("bands", "block_norm", "starts") or not wrong):
            wrong.append(f"{KEYS.get(name, name)} is {_yaml(name, value)}, the tensors have {_yaml(name, found)}")
    for name, value in stft.items():
        if stated.stft.get(name, value) != value:
            wrong.append(f"{name} is {short(stated.stft[name])}, the tensors are for {value}")
    if stated.stems not in (None, stems):
        wrong.append(f"model.num_stems is {stated.stems}, the tensors have {stems}")
    elif stems > 1 and stated.instruments and len(stated.instruments) != stems:
        wrong.append(f"training.instruments has {len(stated.instruments)} names, the tensors have {stems} stems")
    if wrong:
        raise ConfigError(
            f"the configuration ({source}) belongs to another network: {'; '.join(wrong)}: give the yaml of this "
            "checkpoint, or leave out --config: what the tensors tell is read from them"
        )


def _yaml(name: str, value: Any) -> str:
    """A value of a ModelConfig field as yaml files have it."""
    if name == "channels":
        return "stereo" if value == 2 else "mono"
    if name == "mask_depth":
        return f"{short(value)} linear layers"
    if isinstance(value, tuple) and value:
        return f"{len(value)} sub-bands ({', '.join(map(short, value[:3]))} ... {short(value[-1])} bins)"
    return str(value).lower() if isinstance(value, bool) else short(value).strip("'")


def _stft(known: dict[str, Any], assumed: list[str]) -> StftConfig:
    values = dict(known)
    values.setdefault("win_length", values["n_fft"])
    values.setdefault("hop_length", PUBLISHED_HOPS.get(values["n_fft"], values["n_fft"] // 4))
    stft = StftConfig(**values)
    assumed += [f"{name} {getattr(stft, name)}" for name in ("sample_rate", "hop_length") if name not in known]
    return stft


def _assume_what_no_tensor_tells(fields: dict[str, Any], stated: Stated, source: str, assumed: list[str]) -> None:
    """Set the settings of MSST's networks that leave no trace in the tensors."""
    if source in ("", "--set") and "skip_connection" not in stated.model:
        assumed.append("no skip_connection")
    if "zero_dc" not in stated.model:
        fields["zero_dc"] = fields["pope"]  # PoPE is younger than the change
        zeroed = "zero_dc, as in MSST since 2025-09-23"
        assumed.append(zeroed if fields["pope"] else "no zero_dc, as in MSST before 2025-09-23")


def _stems(
    count: int, stated: Stated, source: str, notes: list[str], assumed: list[str]
) -> tuple[tuple[str, ...], str | None]:
    """The names of the stems, in lower case, and of the rest of a song without the only one."""
    named, target = stated.instruments, stated.target
    if count == 1 and target is None and len(named) > 1:
        target = named[0]
        notes.append(f"{source} names {len(named)} stems and no target_instrument, the network has 1: using {target}")
    stems = (target,) if count == 1 and target is not None else named
    if not stems:
        stems = ("vocals",) if count == 1 else tuple(f"stem_{i + 1}" for i in range(count))
        assumed.append(f"stems {', '.join(stems)}" if count > 1 else f"stem {stems[0]}")
    usable = tuple(map(_usable, stems))
    if usable != stems:
        notes.append(f"stem names as files have them: {', '.join(usable)} (in {source}: {', '.join(stems)})")
    others = [_usable(each) for each in named if _usable(each) != usable[0]]
    return usable, others[0] if count == 1 and len(others) == 1 else None


def _usable(stem: str) -> str:
    """A stem's name in lower case, with characters that file names may have."""
    return "".join(char if char.isalnum() or char in "-_ " else "_" for char in stem.lower())
