"""Many songs through one engine: each is separated, skipped or fails, without stopping the others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runtime.audio import Form, check_form, form_for, open_song
from runtime.errors import AudioError, EngineError, OptionError
from runtime.pictures.page import new_figure
from runtime.pictures.plot import plot_song
from runtime.separation.separator import Separator
from runtime.songs.inputs import STDIN, NamedSong, real
from runtime.songs.piped import as_file
from runtime.songs.progress import PICTURE, SEPARATION, Tell
from runtime.songs.separate import Report, check_channels, separate_file


@dataclass(frozen=True)
class Settings:
    """What all songs of a batch have in common."""

    folder: Path  # of the stems
    stems: list[str]
    format: str | None = None  # `format` and `subtype` are those of `form_for`
    subtype: str | None = None
    clip: str = "rescale"  # as in `StemWriters`
    channels: str = "refuse"  # as in `separate_file`
    existing: str = "refuse"  # what to do about files that exist: one of `part.EXISTING`
    plot: bool = False  # draw a picture beside the stems
    songs: frozenset[Path] = frozenset()  # all of the batch, as `real` gives them: a stem never replaces one


@dataclass(frozen=True)
class Outcome:
    """What was done with a song."""

    song: Path
    stems: dict[str, Path]  # where they are
    plot: Path | None  # where the picture is
    written: list[Path]  # those of them that were written; none: the song was skipped
    report: Report | None = None  # if stems were written

    def fields(self) -> dict[str, Any]:
        """For a line of a journal."""
        fields: dict[str, Any] = {
            "song": self.song if self.song == STDIN else self.song.absolute(),
            "status": "separated" if self.written else "skipped",
            "stems": {stem: path.absolute() for stem, path in self.stems.items()},
            "plot": self.plot and self.plot.absolute(),
            "written": [path.absolute() for path in self.written],
        }
        if self.report is not None:
            fields |= {
                "sample_rate": self.report.sample_rate,
                "channels": self.report.channels,
                "samples": self.report.samples,
                "form": f"{self.report.form.format} {self.report.form.subtype}",
                "took": round(self.report.wall, 3),
                "gain": self.report.gain,
                "clipped": self.report.clipped,
                "notes": list(self.report.notes),
            }
        return fields


def check_settings(settings: Settings, stems: Sequence[str]) -> None:
    """Raises OptionError for settings that make no sense with an engine of these `stems`."""
    if not settings.stems or not set(settings.stems) <= set(stems):
        raise OptionError(f"--stems {','.join(settings.stems)}: this engine's stems are {', '.join(stems)}")
    check_channels(settings.channels)
    if settings.format is not None:
        form_for(Form("WAV", "FLOAT"), settings.format, settings.subtype)
    if settings.plot:
        new_figure(1, 1)  # raises without matplotlib, before the work


def check_songs(songs: Sequence[NamedSong], settings: Settings) -> None:
    """Raises OptionError for two songs whose stems would share a file."""
    taken: dict[Path, Path] = {}
    for song in songs:
        for stem in settings.stems:
            path = stem_file(settings, song, stem)
            if path in taken:
                raise OptionError(
                    f"{taken[path]} and {song.path}: a stem of each would be written to {path}: separate them in "
                    "two runs, with another -o for each"
                )
            taken[path] = song.path


def stem_file(settings: Settings, song: NamedSong, stem: str, suffix: str = "") -> Path:
    return settings.folder / song.name.with_name(f"{song.name.name}_{stem}{suffix}")


class Batch:
    """Songs that go through `separator` one after the other; `engine` is the name of its file."""

    def __init__(self, separator: Separator, engine: str, settings: Settings) -> None:
        """Raises OptionError for settings that make no sense."""
        check_settings(settings, separator.stems)
        self.separator = separator
        self.engine = engine
        self.settings = settings

    def separate(self, song: NamedSong, tell: Tell, existing: str | None = None) -> Outcome:
        """Separate `song`; `tell` hears how far it is. `existing` replaces that of the settings.

        Raises SeparationError.
        """
        settings = self.settings if existing is None else replace(self.settings, existing=existing)
        with _folder(settings.folder), as_file(song, settings.folder) as file:
            return replace(self._separate(file, settings, tell), song=song.path)

    def _separate(self, song: NamedSong, settings: Settings, tell: Tell) -> Outcome:
        with open_song(song.path) as opened, _naming(song.path):
            form = form_for(opened.form, settings.format, settings.subtype)
            rate, samples = opened.sample_rate, opened.samples
            check_form(form, rate, opened.channels)
        stems = {stem: stem_file(settings, song, stem, form.suffix) for stem in settings.stems}
        plot = settings.folder / song.name.with_name(f"{song.name.name}.png") if settings.plot else None
        wanted = _to_write([*stems.values(), *([plot] if plot else [])], settings)
        targets = {stem: path for stem, path in stems.items() if path in wanted}
        written: list[Path] = []
        report = None
        with _folder((settings.folder / song.name).parent):
            if targets:
                tell(SEPARATION, samples, rate, 0)
                with _naming(song.path):
                    report = separate_file(
                        self.separator,
                        song.path,
                        targets,
                        form,
                        settings.clip,
                        settings.channels,
                        partial(tell, SEPARATION, samples, rate),
                        settings.existing,
                    )
                written += report.written.values()
            if plot is not None and plot in wanted:
                known = samples if report is None else report.samples
                tell(PICTURE, known, rate, 0)
                with self.separator.times.stage("plot"):
                    title = f"{song.path.name}, separated by {self.engine}"
                    progress = partial(tell, PICTURE, known, rate)
                    if plot_song(plot, title, song.path, stems, progress, settings.existing):
                        written.append(plot)
        return Outcome(song.path, stems, plot, written, report if report is not None and report.written else None)


def _to_write(paths: list[Path], settings: Settings) -> list[Path]:
    """Those of `paths` that are to be written. Raises OptionError for one that must not be."""
    for path in paths:
        if real(path) in settings.songs:
            raise OptionError(f"{path}: is one of the songs: choose another folder with -o")
    there = [path for path in paths if os.path.lexists(path)]
    if there and settings.existing == "refuse":
        raise OptionError(
            f"{there[0]}: already exists: choose another folder with -o, or give --overwrite or --skip-existing"
        )
    return [path for path in paths if settings.existing == "replace" or path not in there]


@contextmanager
def _naming(song: Path) -> Iterator[None]:
    """Puts the name of `song` in front of errors of options and of the engine: the other songs may have none."""
    try:
        yield
    except (OptionError, EngineError) as error:
        raise type(error)(f"{song}: {error}") from error


def missing_folders(path: Path) -> list[Path]:
    """`path` and those around it that do not exist, the innermost first."""
    return [each for each in (path, *path.parents) if not each.exists()]


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Creates a folder to write into, and removes the folders it created if they stay empty. Raises AudioError."""
    made = missing_folders(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"{path}: the folder cannot be created ({error.strerror}): choose another with -o") from error
    try:
        yield
    finally:
        with suppress(OSError):
            for each in made:
                each.rmdir()
