"""Which speaker each channel is for: channel masks, ffmpeg's layout names, and the channel orders of WAV and Vorbis.

A mask is the dwChannelMask of WAVE_FORMAT_EXTENSIBLE: a bit for each speaker, the channels in ascending order of the
bits. 0 stands for "not known". ffmpeg gives channels in the same order.
"""

from __future__ import annotations

# Bit 0 of a mask, bit 1, and so on; under ffmpeg's names.
SPEAKERS = (
    *("FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR"),
    *("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR"),
)
# The layouts of ffmpeg that such a mask can express.
LAYOUTS = {
    "mono": "FC",
    "stereo": "FL+FR",
    "2.1": "FL+FR+LFE",
    "3.0": "FL+FR+FC",
    "3.0(back)": "FL+FR+BC",
    "4.0": "FL+FR+FC+BC",
    "quad": "FL+FR+BL+BR",
    "quad(side)": "FL+FR+SL+SR",
    "3.1": "FL+FR+FC+LFE",
    "5.0": "FL+FR+FC+BL+BR",
    "5.0(side)": "FL+FR+FC+SL+SR",
    "4.1": "FL+FR+FC+LFE+BC",
    "5.1": "FL+FR+FC+LFE+BL+BR",
    "5.1(side)": "FL+FR+FC+LFE+SL+SR",
    "6.0": "FL+FR+FC+BC+SL+SR",
    "6.0(front)": "FL+FR+FLC+FRC+SL+SR",
    "3.1.2": "FL+FR+FC+LFE+TFL+TFR",
    "hexagonal": "FL+FR+FC+BL+BR+BC",
    "6.1": "FL+FR+FC+LFE+BC+SL+SR",
    "6.1(back)": "FL+FR+FC+LFE+BL+BR+BC",
    "6.1(front)": "FL+FR+LFE+FLC+FRC+SL+SR",
    "7.0": "FL+FR+FC+BL+BR+SL+SR",
    "7.0(front)": "FL+FR+FC+FLC+FRC+SL+SR",
    "7.1": "FL+FR+FC+LFE+BL+BR+SL+SR",
    "7.1(wide)": "FL+FR+FC+LFE+BL+BR+FLC+FRC",
    "7.1(wide-side)": "FL+FR+FC+LFE+FLC+FRC+SL+SR",
    "5.1.2(back)": "FL+FR+FC+LFE+BL+BR+TFL+TFR",
    "5.1.2": "FL+FR+FC+LFE+SL+SR+TFL+TFR",
    "octagonal": "FL+FR+FC+BL+BR+BC+SL+SR",
    "cube": "FL+FR+BL+BR+TFL+TFR+TBL+TBR",
    "5.1.4": "FL+FR+FC+LFE+BL+BR+TFL+TFR+TBL+TBR",
    "7.1.2": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR",
    "7.1.4": "FL+FR+FC+LFE+BL+BR+SL+SR+TFL+TFR+TBL+TBR",
}
# The speakers that Vorbis and Opus mean by a number of channels, in the order of WAV ...
BY_COUNT = {
    1: ("FC",),
    2: ("FL", "FR"),
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
# ... and in the order in which Vorbis and Opus store them (Vorbis I specification, 4.3.9).
VORBIS = {
    3: ("FL", "FC", "FR"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FC", "FR", "BL", "BR"),
    6: ("FL", "FC", "FR", "BL", "BR", "LFE"),
    7: ("FL", "FC", "FR", "SL", "SR", "BC", "LFE"),
    8: ("FL", "FC", "FR", "SL", "SR", "BL", "BR", "LFE"),
}
# By number of channels: vorbis = wav[..., VORBIS_ORDER[c]] and wav = vorbis[..., WAV_ORDER[c]], [..., c] both.
VORBIS_ORDER = {c: tuple(BY_COUNT[c].index(speaker) for speaker in names) for c, names in VORBIS.items()}
WAV_ORDER = {c: tuple(names.index(speaker) for speaker in BY_COUNT[c]) for c, names in VORBIS.items()}


def mask_of_layout(layout: str) -> int:
    """The mask of a layout by ffmpeg's name ("5.1(side)") or list of speakers ("FL+FR+LFE", "3 channels (FL+FR+LFE)").

    0 for what a mask cannot say: "6 channels", an order of its own, speakers that WAV does not know.
    """
    listed = layout.partition("(")[2].rstrip(")") if " channels (" in layout else layout
    mask = 0
    for name in LAYOUTS.get(listed, listed).split("+"):
        bit = 1 << SPEAKERS.index(name) if name in SPEAKERS else 0
        if bit <= mask:  # unknown, twice or not in ascending order
            return 0
        mask |= bit
    return mask


def vorbis_mask(channels: int) -> int:
    """The mask that Vorbis and Opus imply by a number of channels; 0 beyond 8."""
    return mask_of_layout("+".join(BY_COUNT.get(channels, ())))


def flac_mask(channels: int) -> int:
    """The mask that FLAC implies; its programs take the surround speakers of 5 and 6 channels for those at the side."""
    return mask_of_layout({5: "5.0(side)", 6: "5.1(side)"}.get(channels, "+".join(BY_COUNT.get(channels, ()))))


def layout_of_mask(mask: int) -> str:
    """The inverse of `mask_of_layout`: "5.1(side)", or "FL+FR+LFE+BC" where ffmpeg has no name."""
    speakers = _speakers(mask)
    return next((name for name, listed in LAYOUTS.items() if listed.split("+") == speakers), "+".join(speakers))


def fits_vorbis(mask: int) -> bool:
    """Whether the channels of `mask` are those of Vorbis and Opus; surround speakers may be beside or behind."""
    channels = mask.bit_count()
    return _behind(mask) == _behind(vorbis_mask(channels)) != []


def _speakers(mask: int) -> list[str]:
    return [name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1]


def _behind(mask: int) -> list[str]:
    """The speakers, those beside taken for those behind where there are no others behind."""
    speakers = _speakers(mask)
    return speakers if "BL" in speakers else [{"SL": "BL", "SR": "BR"}.get(name, name) for name in speakers]


def mask_for(channels: int, mask: int) -> int:
    """`mask` if it has a speaker for each of `channels`, else 0: files may declare any number."""
    return mask if mask.bit_count() == channels and mask < 1 << len(SPEAKERS) else 0
