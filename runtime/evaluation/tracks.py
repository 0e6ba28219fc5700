"""Songs with true stems: MUSDB18-HQ, or any folder of <song>/{mixture,vocals,...}.{wav,flac,ogg}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.audio import Song, open_song, read_song
from runtime.errors import OptionError
from runtime.evaluation.metrics import Float

DEFAULT_SUBSET = "test"
SUFFIXES = (".wav", ".flac", ".ogg")
MIXTURE, VOCALS, INSTRUMENTAL = "mixture", "vocals", "instrumental"
BACKING = ("accompaniment", INSTRUMENTAL)  # names of a file with everything except the vocals
LAYOUT = "expected a folder per song, such as <song>/mixture.wav and <song>/vocals.wav"


@dataclass(frozen=True)
class Track:
    name: str
    files: dict[str, Path]  # by name in lower case: the mixture, if there is one, and the stems


@dataclass(frozen=True)
class Truth:
    """A song in memory: `mixture` and the stems asked for, each [c, samples], at `sample_rate` Hz."""

    mixture: Float
    stems: dict[str, Float]
    sample_rate: int


def songs_folder(data: Path, subset: str | None) -> Path:
    """The folder of the songs: `subset` in `data`; for None its "test", if it has one, else `data` itself.

    Raises OptionError.
    """
    if not data.is_dir():
        raise OptionError(f"--data {data}: not a folder: {LAYOUT}")
    if subset is None:
        return data / DEFAULT_SUBSET if (data / DEFAULT_SUBSET).is_dir() else data
    if not (data / subset).is_dir():
        raise OptionError(f"--data {data}: has no folder {subset!r}: choose another --subset, or leave it out")
    return data / subset


def find_tracks(folder: Path) -> list[Track]:
    """The songs in `folder`, by name. Raises OptionError when there is none."""
    tracks = []
    for song in sorted(folder.iterdir()):
        files = {path.stem.lower(): path for path in _audio_in(song)}
        if files:
            tracks.append(Track(song.name, files))
    if not tracks:
        raise OptionError(f"--data {folder}: contains no songs: {LAYOUT}")
    return tracks


def _audio_in(folder: Path) -> list[Path]:
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in inside if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]


def check_track(track: Track, stems: Sequence[str]) -> None:
    """Raises the errors of `read_track` that names and headers show, before hours of work."""
    alike = _Alike()
    for name in dict.fromkeys([*_mixed(track), *(_file_of(track, stem)[0] for stem in stems)]):
        with open_song(track.files[name]) as song:
            if song.samples is not None:
                alike.check(track.files[name], song.channels, song.samples, song.sample_rate)


def read_track(track: Track, stems: Sequence[str]) -> Truth:
    """The mixture, the sum of all stems where there is no file of it, and `stems`.

    "instrumental" is a file accompaniment or instrumental, else the mixture minus the vocals; "vocals" and "no_<stem>"
    without a file of that name are the mixture minus the instrumental or the stem. Reads no other file. Raises
    OptionError for a stem that is missing, of another length, rate or number of channels; AudioError.
    """
    alike = _Alike()

    def read(name: str) -> Song:
        song = read_song(track.files[name])
        channels, samples = song.audio.shape
        alike.check(track.files[name], channels, samples, song.sample_rate)
        return song

    first, *others = _mixed(track)
    song = read(first)
    mixture = song.audio
    for name in others:
        mixture = mixture + read(name).audio
    truth = {}
    for stem in stems:
        name, is_stem = _file_of(track, stem)
        audio = read(name).audio
        truth[stem] = audio if is_stem else mixture - audio
    return Truth(mixture, truth, song.sample_rate)


def _mixed(track: Track) -> list[str]:
    """The files whose sum is the mixture. A file of everything except the vocals replaces the other stems."""
    if MIXTURE in track.files:
        return [MIXTURE]
    backing = [name for name in BACKING if name in track.files][:1]
    return [VOCALS, *backing] if backing and VOCALS in track.files else list(track.files)


def _file_of(track: Track, stem: str) -> tuple[str, bool]:
    """The file for `stem`, and whether it is the stem itself or the rest of the mixture."""
    own = BACKING if stem == INSTRUMENTAL else (stem,)
    others: tuple[str, ...] = (stem.removeprefix("no_"),) if stem.startswith("no_") else ()
    if stem == INSTRUMENTAL:
        others = (VOCALS,)
    elif stem == VOCALS and MIXTURE in track.files:  # without it, the mixture is the sum of files that lack the vocals
        others = BACKING
    for name in (*own, *others):
        if name in track.files:
            return name, name in own
    raise OptionError(
        f"{track.name}: has no true {stem} (files: {', '.join(track.files)}): add it as WAV, FLAC or Ogg, or choose "
        "other stems with --stem"
    )


class _Alike:
    """Refuses files of one song that differ in channels, length or sample rate."""

    def __init__(self) -> None:
        self._first: tuple[str, str] | None = None

    def check(self, path: Path, channels: int, samples: int, sample_rate: int) -> None:
        if channels > 2:
            raise OptionError(f"{path}: has {channels} channels: must be mono or stereo: mix it down first")
        form = f"{channels} channel{'s' if channels > 1 else ''} of {samples} samples at {sample_rate} Hz"
        name, expected = self._first = self._first or (path.name, form)
        if form != expected:
            raise OptionError(f"{path}: has {form}, {name} has {expected}: stems of one song must match")
