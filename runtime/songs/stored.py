"""Stems in an object store: made in a folder of the local disk, uploaded, then marked as complete.

The marker, an object `NAME.bsm.json`, is written last: stems beside which there is none are those of a run that was cut
off, and are made again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runtime.audio import Form, form_for
from runtime.audio.leftovers import own_prefix, sweep
from runtime.errors import AudioError, OptionError
from runtime.separation.streaming import SongSeparator
from runtime.songs import store
from runtime.songs.batch import Batch, Outcome, Settings
from runtime.songs.inputs import NamedSong, recorded
from runtime.songs.names import OUTPUT_SUFFIXES
from runtime.songs.progress import Tell
from runtime.songs.store import address, is_address

MARKER = ".bsm.json"
VERSION = 1
LIMIT = 1 << 16  # bytes of a marker


def batch_for(separator: SongSeparator, engine: str, settings: Settings) -> Batch:
    """A batch whose stems go where `settings.folder` is. Raises OptionError as `Batch` does."""
    kind = StoredBatch if is_address(settings.folder) else Batch
    return kind(separator, engine, settings)


class StoredBatch(Batch):
    """A `Batch` whose stems go to an object store; songs may be there or here."""

    def separate(self, song: NamedSong, tell: Tell, existing: str | None = None) -> Outcome:
        """As in `Batch`. What exists already is what the song's marker names, in the size it names."""
        settings = self.settings if existing is None else replace(self.settings, existing=existing)
        marker = (settings.folder / song.name).with_name(song.name.name + MARKER)
        files = _marked(marker) if settings.existing != "replace" else {}
        if files and settings.existing == "refuse":
            raise _exists(marker)
        there = {name: size for name, size in files.items() if store.size_of(marker.with_name(name)) == size}
        stems = {stem: _of_stem(song, stem, settings, there) for stem in settings.stems}
        plot = f"{song.name.name}.png" if settings.plot else None
        picture = None if plot is None else marker.with_name(plot)
        missing = [stem for stem, name in stems.items() if name is None]
        if plot is not None and plot not in there:
            missing = settings.stems  # a picture is drawn of all
        if not missing:
            paths = {stem: marker.with_name(name) for stem, name in stems.items() if name is not None}
            return Outcome(song.path, paths, picture, [])
        sweep(Path(tempfile.gettempdir()))
        with tempfile.TemporaryDirectory(prefix=own_prefix()) as scratch:
            here = replace(
                settings,
                folder=Path(scratch) / "stems",
                stems=missing,
                existing="refuse",
                songs=frozenset(),
                plot=plot is not None and plot not in there,
            )
            outcome = Batch(self.separator, self.engine, here).separate(song, tell)
            uploaded = self._upload(outcome, here.folder, settings, marker)
        self._mark(marker, song, there | uploaded)
        paths = {stem: marker.with_name(name or outcome.stems[stem].name) for stem, name in stems.items()}
        return _moved(outcome, here.folder, settings.folder, paths, picture)

    def _upload(self, outcome: Outcome, here: Path, settings: Settings, marker: Path) -> dict[str, int]:
        """Returns the name and size of each file."""
        targets = {file: settings.folder / file.relative_to(here) for file in outcome.written}
        for target in targets.values():
            if target in settings.songs:
                raise OptionError(f"{address(target)}: is one of the songs: choose another folder with -o")
            if settings.existing == "refuse" and store.size_of(target) is not None:
                raise _exists(target)
        if settings.existing == "replace":
            store.remove(marker)
        for file, target in targets.items():
            store.put(file, target)
        return {file.name: file.stat().st_size for file in targets}

    def _mark(self, marker: Path, song: NamedSong, files: Mapping[str, int]) -> None:
        content = {"version": VERSION, "engine": self.engine, "song": recorded(song.path), "files": files}
        store.write(json.dumps(content, indent=1).encode(), marker)


def _marked(marker: Path) -> dict[str, int]:
    """The files that a marker names and their sizes, none if there is no marker. Raises AudioError."""
    text = store.read(marker, LIMIT)
    if text is None:
        return {}
    try:
        content = json.loads(text)
        files = content["files"]
        if content["version"] != VERSION or not files:
            raise ValueError
        for name, size in files.items():
            if name != Path(name).name or type(size) is not int:
                raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AudioError(
            f"{address(marker)}: does not say which stems are there, as bsm-run writes it: remove it, or give "
            "--overwrite"
        ) from error
    return dict(files)


def _of_stem(song: NamedSong, stem: str, settings: Settings, there: Mapping[str, int]) -> str | None:
    """The file of a stem, in the format that is asked for, if it is `there`."""
    suffixes = OUTPUT_SUFFIXES
    if settings.format is not None:
        suffixes = frozenset({form_for(Form("WAV", "FLOAT"), settings.format, settings.subtype).suffix})
    names = (f"{song.name.name}_{stem}{suffix}" for suffix in sorted(suffixes))
    return next((name for name in names if name in there), None)


def _exists(path: Path) -> OptionError:
    return OptionError(
        f"{address(path)}: already exists: choose another folder with -o, or give --overwrite or --skip-existing"
    )


def _moved(outcome: Outcome, here: Path, there: Path, stems: dict[str, Path], plot: Path | None) -> Outcome:
    """`outcome` with the places in the store instead of those here."""

    def moved(path: Path) -> Path:
        return there / path.relative_to(here)

    report = outcome.report
    if report is not None:
        report = replace(report, written={stem: moved(path) for stem, path in report.written.items()})
    return replace(outcome, stems=stems, plot=plot, written=[moved(path) for path in outcome.written], report=report)
