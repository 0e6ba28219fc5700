"""Container and sample type of a file: what a stem keeps of its song's, and what can be asked for instead."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import OptionError

# What can be written, by container; names are libsndfile's.
FORMATS = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "OGG": ("VORBIS", "OPUS"),
    "MP3": ("MPEG_LAYER_III",),
}
SUBTYPES = tuple(dict.fromkeys(subtype for subtypes in FORMATS.values() for subtype in subtypes))
# Sample types without loss and the WAV type that holds the same samples. All others (MP3, Vorbis, A-law, ADPCM ...)
# have lost something already, and decode to numbers that fit no integer type.
WITHOUT_LOSS = {
    "PCM_S8": "PCM_U8",
    "PCM_U8": "PCM_U8",
    "PCM_16": "PCM_16",
    "PCM_24": "PCM_24",
    "PCM_32": "PCM_32",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "ALAC_16": "PCM_16",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "ALAC_32": "PCM_32",
    "DWVW_12": "PCM_16",
    "DWVW_16": "PCM_16",
    "DWVW_24": "PCM_24",
}
FLAC_SUBTYPES = {"PCM_U8": "PCM_S8", "PCM_16": "PCM_16"}  # of WAV's; all others become PCM_24, the most FLAC holds here
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@dataclass(frozen=True)
class Form:
    """Container and sample type of a file, under libsndfile's names: WAV and PCM_24, say."""

    format: str
    subtype: str

    @property
    def suffix(self) -> str:
        """Of a file's name, such as ".wav"."""
        return ".opus" if self.subtype == "OPUS" else f".{self.format.lower()}"

    @property
    def bits(self) -> int | None:
        """Bits of an integer sample; None where samples are no integers."""
        return BITS.get(self.subtype)

    @property
    def floating(self) -> bool:
        """Whether it holds samples beyond full scale, as they are."""
        return self.subtype in ("FLOAT", "DOUBLE")

    @property
    def dtype(self) -> str:
        """What holds its samples exactly: "float32" up to 24 bits, "float64" beyond."""
        return "float64" if WITHOUT_LOSS.get(self.subtype) in ("PCM_32", "DOUBLE") else "float32"


def form_for(song: Form, format: str | None = None, subtype: str | None = None) -> Form:  # noqa: A002
    """The form of a song's stems: the song's own where nothing else is asked for.

    A WAV or FLAC song keeps container and sample type. Songs without loss in another container (AIFF, W64, ALAC ...)
    become WAV with as many bits, songs with loss become WAV FLOAT. `format` is one of WAV, FLAC, OGG and MP3, in
    either case: FLAC then takes the song's bits, 24 at most, OGG means Vorbis. `subtype` is one of `FORMATS[format]`.
    Raises OptionError.
    """
    exact = WITHOUT_LOSS.get(song.subtype)
    container = (format or ("FLAC" if song.format == "FLAC" and exact else "WAV")).upper()
    if container not in FORMATS:
        raise OptionError(f"format {format}: expected {', '.join(FORMATS).lower()}")
    if subtype is not None:
        if subtype.upper() not in FORMATS[container]:
            hint = "" if format else " (the song's own container): give --format, too"
            raise OptionError(f"subtype {subtype}: {container} files hold {', '.join(FORMATS[container])}{hint}")
        return Form(container, subtype.upper())
    wav = exact or "FLOAT"
    return Form(container, {"WAV": wav, "FLAC": FLAC_SUBTYPES.get(wav, "PCM_24")}.get(container, FORMATS[container][0]))
