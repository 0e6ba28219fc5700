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
BACKING = ("accompaniment", INSTRUMENTAL)  # names of a file that holds all but the vocals


@dataclass(frozen=True)
class Track:
    name: str
    files: dict[str, Path]  # of the mixture, where there is one, and of each stem


@dataclass(frozen=True)
class Truth:
    """A song in memory: `mixture` and the stems asked for, each [c, samples], at `sample_rate` Hz."""

    mixture: Float
    stems: dict[str, Float]
    sample_rate: int


def songs_folder(data: Path, subset: str | None) -> Path:
    """The folder of the songs: `subset` of `data`; where that is None, its "test" if it has one, else itself.

    Raises OptionError.
    """
    if not data.is_dir():
        raise OptionError(f"--data {data}: is no folder: expected one that holds a folder for each song")
    if subset is None:
        return data / DEFAULT_SUBSET if (data / DEFAULT_SUBSET).is_dir() else data
    if not (data / subset).is_dir():
        raise OptionError(f"--data {data}: has no folder {subset!r}: leave out --subset, or give another")
    return data / subset


def find_tracks(folder: Path) -> list[Track]:
    """The songs in `folder`, by name. Raises OptionError when there is none."""
    tracks = []
    for song in sorted(folder.iterdir()):
        files = {path.stem.lower(): path for path in _audio_in(song)}
        if files:
            tracks.append(Track(song.name, files))
    if not tracks:
        raise OptionError(
            f"--data {folder}: holds no songs: expected <song>/vocals.wav and so on, a folder for each song"
        )
    return tracks


def _audio_in(folder: Path) -> list[Path]:
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in inside if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]


def check_track(track: Track, stems: Sequence[str]) -> None:
    """Raises, before hours of work, what `read_track` will as far as names and headers tell it."""
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
    """The files whose sum is the mixture; a file of all but the vocals stands for those it is the sum of."""
    if MIXTURE in track.files:
        return [MIXTURE]
    backing = [name for name in BACKING if name in track.files][:1]
    return [VOCALS, *backing] if backing and VOCALS in track.files else list(track.files)


def _file_of(track: Track, stem: str) -> tuple[str, bool]:
    """The file that tells `stem`, and whether it holds the stem itself or what the mixture has besides it."""
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
        f"{track.name}: has no true {stem}: expected {stem} as WAV, FLAC or Ogg beside {', '.join(track.files)}, or "
        "other stems by --stem"
    )


class _Alike:
    """Refuses a file of a song that differs from the first one in more than its sound."""

    def __init__(self) -> None:
        self._first: tuple[str, str] | None = None

    def check(self, path: Path, channels: int, samples: int, sample_rate: int) -> None:
        if channels > 2:
            raise OptionError(f"{path}: has {channels} channels: expected mono or stereo, mix it down first")
        form = f"{channels} channel{'s' if channels > 1 else ''} of {samples} samples at {sample_rate} Hz"
        name, expected = self._first = self._first or (path.name, form)
        if form != expected:
            raise OptionError(f"{path}: has {form}, {name} has {expected}: expected stems of one song")
