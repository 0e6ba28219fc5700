"""Many songs through one engine: each is separated, skipped or fails, without stopping the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.audio import Form, check_form, form_for, open_song
from runtime.errors import AudioError, EngineError, OptionError
from runtime.pictures.page import new_figure
from runtime.pictures.plot import plot_song
from runtime.separation.streaming import SongSeparator
from runtime.songs.inputs import STDIN, NamedSong, real
from runtime.songs.piped import as_file
from runtime.songs.progress import song_progress
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


class Batch:
    """`songs` that go through `separator` one after the other; `engine` is the name of its file."""

    def __init__(self, separator: SongSeparator, engine: str, songs: list[NamedSong], settings: Settings) -> None:
        """Raises OptionError for settings that make no sense, or songs whose stems would share a file."""
        unknown = [stem for stem in settings.stems if stem not in separator.stems]
        if unknown or not settings.stems:
            raise OptionError(
                f"--stems {','.join(settings.stems)}: this engine's stems are {', '.join(separator.stems)}"
            )
        check_channels(settings.channels)
        if settings.format is not None:
            form_for(Form("WAV", "FLOAT"), settings.format, settings.subtype)
        if settings.plot:
            new_figure(1, 1)  # raises without matplotlib, before the work
        self.separator = separator
        self.engine = engine
        self.songs = songs
        self.settings = settings
        self._given = {real(song.path) for song in songs}
        taken: dict[Path, Path] = {}
        for song in songs:
            for stem in settings.stems:
                path = self._file(song, stem)
                if path in taken:
                    raise OptionError(
                        f"{taken[path]} and {song.path}: a stem of each would be written to {path}: separate them in "
                        "two runs, with another -o for each"
                    )
                taken[path] = song.path

    def separate(self, song: NamedSong, label: str) -> Outcome:
        """Separate one of the songs; progress is shown as `label`. Raises SeparationError."""
        with _folder(self.settings.folder), as_file(song, self.settings.folder) as file:
            return replace(self._separate(file, label), song=song.path)

    def _separate(self, song: NamedSong, label: str) -> Outcome:
        settings = self.settings
        with open_song(song.path) as opened, _naming(song.path):
            form = form_for(opened.form, settings.format, settings.subtype)
            rate, samples = opened.sample_rate, opened.samples
            check_form(form, rate, opened.channels)
        stems = {stem: self._file(song, stem, form.suffix) for stem in settings.stems}
        plot = settings.folder / song.name.with_name(f"{song.name.name}.png") if settings.plot else None
        wanted = self._to_write([*stems.values(), *([plot] if plot else [])])
        targets = {stem: path for stem, path in stems.items() if path in wanted}
        written: list[Path] = []
        report = None
        with _folder((settings.folder / song.name).parent):
            if targets:
                with song_progress(label, samples, rate) as progress, _naming(song.path):
                    report = separate_file(
                        self.separator,
                        song.path,
                        targets,
                        form,
                        settings.clip,
                        settings.channels,
                        progress,
                        settings.existing,
                    )
                written += report.written.values()
            if plot is not None and plot in wanted:
                known = samples if report is None else report.samples
                with (
                    self.separator.times.stage("plot"),
                    song_progress(f"{label}: picture", known, rate) as progress,
                ):
                    title = f"{song.path.name}, separated by {self.engine}"
                    if plot_song(plot, title, song.path, stems, progress, settings.existing):
                        written.append(plot)
        return Outcome(song.path, stems, plot, written, report if report is not None and report.written else None)

    def _file(self, song: NamedSong, stem: str, suffix: str = "") -> Path:
        return self.settings.folder / song.name.with_name(f"{song.name.name}_{stem}{suffix}")

    def _to_write(self, paths: list[Path]) -> list[Path]:
        """Those of `paths` that are to be written. Raises OptionError for one that must not be."""
        for path in paths:
            if real(path) in self._given:
                raise OptionError(f"{path}: is one of the songs: choose another folder with -o")
        there = [path for path in paths if os.path.lexists(path)]
        if there and self.settings.existing == "refuse":
            raise OptionError(
                f"{there[0]}: already exists: choose another folder with -o, or give --overwrite or --skip-existing"
            )
        return [path for path in paths if self.settings.existing == "replace" or path not in there]


@contextmanager
def _naming(song: Path) -> Iterator[None]:
    """Puts the name of `song` in front of errors of options and of the engine: the other songs may have none."""
    try:
        yield
    except (OptionError, EngineError) as error:
        raise type(error)(f"{song}: {error}") from error


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Creates a folder to write into, and removes the folders it created if they stay empty. Raises AudioError."""
    made = [each for each in (path, *path.parents) if not each.exists()]
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
