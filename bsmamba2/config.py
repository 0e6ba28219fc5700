"""The configuration of a band-split separator: sizes of the network and its STFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bsmamba2.errors import ConfigError

# 24x2, 12x4, 8x12, 8x24, 8x48, 128 and 129 bins, low to high: the table of the paper (III.A) and of
# the official code (EuiYeonKim/BSMamba2 @ 42eb8c8), 62 sub-bands over the 1025 bins of n_fft 2048.
PUBLISHED_BANDS: tuple[int, ...] = (
    *(2,) * 24,
    *(4,) * 12,
    *(12,) * 8,
    *(24,) * 8,
    *(48,) * 8,
    128,
    129,
)

# Limits far above any network of this family, so that a hostile configuration cannot use up the memory.
MOST = {
    "depth": 128,
    "dim": 8192,
    "mask_depth": 16,
    "mask_expansion": 64,
    "d_state": 4096,
    "d_conv": 64,
    "expand": 64,
    "headdim": 4096,
    "heads": 256,
    "dim_head": 4096,
    "ff_expansion": 64,
    "time_depth": 64,
    "freq_depth": 64,
    "linear_depth": 64,
    "n_fft": 65536,
    "win_length": 65536,
    "hop_length": 65536,
}

KINDS = ("mamba2", "transformer", "mamba2-roformer")
SWITCHES = ("block_norm", "pope", "value_residual", "shared_bias", "empty_slot", "skip_connection", "zero_dc")
LISTS = ("stems", "bands", "starts")


@dataclass(frozen=True)
class StftConfig:
    """The STFT that a network was trained with. Lengths in samples, `sample_rate` in Hz."""

    sample_rate: int = 44100
    n_fft: int = 2048
    win_length: int = 2048
    hop_length: int = 441
    window: str = "hann"  # periodic
    center: bool = True
    pad_mode: str = "reflect"
    normalized: bool = False  # divided by the square root of n_fft

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    def __post_init__(self) -> None:
        _require_positive(self, "sample_rate", "n_fft", "win_length", "hop_length")
        if not 1000 <= self.sample_rate <= 384_000 or self.n_fft < 16:
            raise ConfigError(
                f"sample_rate {self.sample_rate}, n_fft {self.n_fft}: expected 1000 to 384000 Hz and n_fft at least 16"
            )
        if self.n_fft % 2 or self.win_length > self.n_fft:
            raise ConfigError(
                f"STFT with n_fft {self.n_fft} and win_length {self.win_length}: expected an even n_fft and a "
                "win_length of at most n_fft"
            )
        if self.hop_length > self.win_length // 2:
            raise ConfigError(
                f"STFT hop_length {self.hop_length}: expected at most half of win_length ({self.win_length // 2}); "
                "otherwise the inverse STFT loses samples"
            )
        if not isinstance(self.normalized, bool):
            raise ConfigError(f"STFT normalized is {short(self.normalized)}: expected true or false")
        for name, only in (("window", "hann"), ("center", True), ("pad_mode", "reflect")):
            if getattr(self, name) != only:
                raise ConfigError(
                    f"STFT {name} {getattr(self, name)!r} is not supported: expected {only!r}, as in the official code"
                )


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of a `BandSplitSeparator`: the fields of `model` in the official yaml.

    `kind` is the official `module_type`, what runs along the two axes: "mamba2" (BSMamba2), "transformer" (BS-RoFormer,
    Mel-Band RoFormer) or "mamba2-roformer" (Mamba2 along time, attention along sub-bands). A Mel-Band RoFormer is a
    "transformer" with `starts` and `block_norm`.
    """

    kind: str = "mamba2"
    dim: int = 256
    depth: int = 6
    channels: int = 2
    stems: tuple[str, ...] = ("vocals",)
    bands: tuple[int, ...] = PUBLISHED_BANDS  # bins of each sub-band, low to high
    starts: tuple[int, ...] = ()  # first bin of each sub-band, where they overlap
    mask_depth: int = 2  # linear layers of each sub-band's mask MLP
    mask_expansion: int = 4  # its hidden width / dim
    # Mamba2
    d_state: int = 128
    d_conv: int = 4
    expand: int = 4
    headdim: int = 64
    # attention
    heads: int = 8
    dim_head: int = 48
    ff_expansion: int = 4
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    time_depth: int = 1  # transformers in a row along time, in each layer
    freq_depth: int = 1  # the same along the sub-bands
    linear_depth: int = 0  # the same with linear attention over all positions, before the other two
    block_norm: bool = False  # a norm after every row of transformers instead of one after all layers
    pope: bool = False  # PoPE instead of rotary embeddings
    value_residual: bool = False  # later layers mix in the attention values of the first
    shared_bias: bool = False  # one bias for the projections of all attentions
    empty_slot: bool = False  # parameters are numbered as if there were linear attention (PyPI's Mel-Band RoFormer)
    # the whole network
    skip_connection: bool = False  # every layer gets the sum of all earlier layers' outputs
    zero_dc: bool = False  # bin 0 of the stems is set to zero
    stft: StftConfig = field(default_factory=StftConfig)

    @property
    def has_mamba(self) -> bool:
        return self.kind in ("mamba2", "mamba2-roformer")

    @property
    def has_attention(self) -> bool:
        return self.kind in ("transformer", "mamba2-roformer")

    @property
    def inner(self) -> int:
        """Features of all heads of an attention together."""
        return self.heads * self.dim_head

    @property
    def first_bins(self) -> tuple[int, ...]:
        """The first bin of each sub-band."""
        return self.starts or tuple(sum(self.bands[:i]) for i in range(len(self.bands)))

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"module type {short(self.kind)} is unknown: expected one of {', '.join(KINDS)}")
        _require_positive(self, "dim", "depth", "mask_depth", "mask_expansion")
        for name in ("attn_dropout", "ff_dropout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
                raise ConfigError(f"{name} is {short(value)}: expected a number from 0 to 1")
        if self.channels not in (1, 2):
            raise ConfigError(f"a network of {self.channels} channels: expected 1 (mono) or 2 (stereo)")
        if (
            not 0 < len(self.stems) <= 64
            or not all(map(_is_name, self.stems))
            or len({stem.lower() for stem in self.stems}) < len(self.stems)
        ):
            raise ConfigError(
                f"stems {', '.join(map(short, self.stems[:8]))}: expected at least one name of letters, digits, "
                "'-', '_' and spaces (files are named after them), each only once (upper and lower case are the same)"
            )
        if not 0 < len(self.bands) <= 1024 or any(
            isinstance(w, bool) or not isinstance(w, int) or w <= 0 for w in self.bands
        ):
            raise ConfigError("freqs_per_bands: expected a positive number of bins for each sub-band")
        self._require_all_bins()
        for name in SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {short(getattr(self, name))}: expected true or false")
        if self.has_mamba:
            _require_positive(self, "d_state", "d_conv", "expand", "headdim")
            if self.dim * self.expand % self.headdim:
                raise ConfigError(
                    f"Mamba2's inner width {self.dim * self.expand} is not a multiple of headdim {self.headdim}"
                )
        if self.has_attention:
            _require_positive(self, "heads", "dim_head", "ff_expansion")
            _require_positive(self, "time_depth", "freq_depth")
            if self.dim_head % 2:
                raise ConfigError(f"dim_head {self.dim_head}: rotary embedding needs an even number")
            if self.linear_depth != 0:
                _require_positive(self, "linear_depth")
            if self.linear_depth and self.empty_slot:
                raise ConfigError("linear_depth: its place is empty in this network")
        if self.kind != "transformer":
            others = ("linear_depth", "block_norm", "pope", "value_residual", "shared_bias", "empty_slot")
            for name in others:
                if getattr(self, name):
                    raise ConfigError(f"{name}: only for networks of kind transformer, this one is {self.kind}")

    def _require_all_bins(self) -> None:
        """Raise ConfigError unless the sub-bands are in order and leave no bin out."""
        if not self.starts and sum(self.bands) != self.stft.bins:
            raise ConfigError(
                f"the {len(self.bands)} sub-bands have {sum(self.bands)} bins in total, but n_fft {self.stft.n_fft} "
                f"has {self.stft.bins}: the sub-bands and the STFT belong to different networks"
            )
        if len(self.starts) not in (0, len(self.bands)) or any(
            isinstance(start, bool) or not isinstance(start, int) for start in self.starts
        ):
            raise ConfigError("starts: expected the first bin of each sub-band")
        end = 0
        for start, width in zip(self.starts, self.bands, strict=False):
            if not 0 <= start <= end or start + width < end:
                raise ConfigError(f"the sub-bands are not in order, or leave out bin {end}")
            end = start + width
        if self.starts and end != self.stft.bins:
            raise ConfigError(f"the sub-bands end at bin {end - 1}, but n_fft {self.stft.n_fft} has {self.stft.bins}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as `from_dict` takes them."""
        out = asdict(self)
        return {**out, **{name: list(getattr(self, name)) for name in LISTS}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelConfig:
        """Read what `to_dict` wrote. Raises ConfigError on an unknown key or a wrong type."""
        values = dict(_checked(cls, data))
        if "stft" in values:
            if not isinstance(values["stft"], Mapping):
                raise ConfigError(f"config key 'stft' is {short(values['stft'])}: expected an object")
            values["stft"] = StftConfig(**_checked(StftConfig, values["stft"]))
        for name in LISTS:
            if name in values:
                values[name] = tuple(values[name])
        return cls(**values)


def _checked(cls: type, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """`data` with every key a field of `cls` and every value of that field's type."""
    types = {f.name: str(f.type) for f in fields(cls)}
    expected: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "str": (str,),
        "bool": (bool,),
        "tuple[str, ...]": (list, tuple),
        "tuple[int, ...]": (list, tuple),
    }
    for name, value in data.items():
        if name not in types:
            raise ConfigError(f"config key {name!r} is unknown: expected {', '.join(types)}")
        allowed = expected.get(types[name])
        wrong_bool = isinstance(value, bool) and types[name] != "bool"
        if allowed and (not isinstance(value, allowed) or wrong_bool):
            raise ConfigError(f"config key {name!r} is {short(value)}: expected {types[name]}")
    return data


def _is_name(stem: object) -> bool:
    return isinstance(stem, str) and 0 < len(stem) <= 64 and all(c.isalnum() or c in "-_ " for c in stem)


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        most = MOST.get(name, 1_000_000)
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ConfigError(f"{name} is {short(value)}: expected a positive whole number")
        if value > most:
            raise ConfigError(f"{name} is {short(value)}: expected at most {most}")


def short(value: object) -> str:
    """A value for an error: numbers and short strings only, as the text of nested lists can be larger than memory."""
    if value is None or isinstance(value, int | float):
        return f"{value!r}"[:40]
    return repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
