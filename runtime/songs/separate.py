"""A sound file through a separator into files: reading, engine and writing go on at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.audio import Form, StemWriters, form_for, open_song
from runtime.errors import AudioError, OptionError
from runtime.separation.streaming import SongSeparator
from runtime.separation.timing import StageTimes

Samples = NDArray[np.floating[Any]]
T = TypeVar("T")

CHANNELS = ("refuse", "pairs")  # what to do with a song of more than two channels
OLD_NAMES = {"ask": "refuse"}


@dataclass(frozen=True)
class Report:
    """What was done with a song."""

    song: Path
    sample_rate: int  # Hz
    channels: int
    samples: int
    form: Form  # of the stems
    wall: float  # s it took
    gain: float  # factor on all stems, so that none exceeds full scale
    written: dict[str, Path]  # files that were written, by stem
    clipped: dict[str, int]  # samples clipped, by stem
    times: dict[str, float]  # s, by stage; some stages run at the same time
    notes: tuple[str, ...] = ()  # what was done about defects of the song's file

    @property
    def seconds(self) -> float:
        """Length of the song."""
        return self.samples / self.sample_rate


def separate_file(
    separator: SongSeparator,
    song: Path,
    targets: Mapping[str, Path],
    form: Form | None = None,
    clip: str = "rescale",
    channels: str = "refuse",
    progress: Callable[[int], None] | None = None,
    existing: str = "replace",
) -> Report:
    """Separate the file `song` into `targets`, a file for each wanted stem: all of them appear, or none.

    The stems have the song's sample rate, channels, length and tags, and its `form` unless another is given. `clip` and
    `existing` are those of `StemWriters`. `channels` says what happens to a song of more than two channels: "refuse"
    raises AudioError, "pairs" separates channels 1 and 2, 3 and 4 and so on as songs of their own, an odd last one as a
    mono song. `progress` is called with the number of the song's samples done. Memory does not grow with the length of
    the song. Raises AudioError, OptionError, EngineError.
    """
    start = time.perf_counter()
    channels = check_channels(channels)
    times = separator.times
    before = dict(times.seconds)
    samples = 0

    def write(stems: dict[str, Samples]) -> None:
        with times.stage("write"):
            writers.write(stems)

    with open_song(song) as reader:
        if reader.channels > 2 and channels == "refuse":
            raise AudioError(
                f"{song}: has {reader.channels} channels, expected 1 or 2: --channels pairs separates channels 1 and "
                "2, 3 and 4 and so on as stereo; or mix it down first"
            )
        form = form_for(reader.form) if form is None else form
        layout = reader.sample_rate, reader.channels
        mask = reader.channel_mask
        with StemWriters(targets, *layout, form, clip, reader.tags, reader.samples, existing, mask) as writers:
            with (
                closing(ahead(timed(reader.blocks(), times, "read"))) as blocks,
                closing(separator.stream(blocks, *layout, list(targets), progress, channels == "pairs")) as ready,
                ThreadPoolExecutor(1) as writing,
            ):
                written: Future[None] | None = None
                for stems in ready:
                    if written is not None:
                        written.result()
                    samples += next(iter(stems.values())).shape[1]
                    written = writing.submit(write, stems)
                if written is not None:
                    written.result()
            finish = time.perf_counter()
        times.seconds["write"] += time.perf_counter() - finish
    return Report(
        song=song,
        sample_rate=reader.sample_rate,
        channels=reader.channels,
        samples=samples,
        form=form,
        wall=time.perf_counter() - start,
        gain=writers.gain,
        written=writers.written,
        clipped=writers.clipped,
        times={name: seconds - before.get(name, 0.0) for name, seconds in times.seconds.items()},
        notes=(*reader.notes, *writers.notes),
    )


def check_channels(channels: str) -> str:
    """One of `CHANNELS`, also by its old name. Raises OptionError."""
    chosen = OLD_NAMES.get(channels, channels)
    if chosen not in CHANNELS:
        raise OptionError(f"--channels {channels}: must be {' or '.join(CHANNELS)}")
    return chosen


def timed(items: Iterator[T], times: StageTimes, stage: str) -> Iterator[T]:
    """`items`, with the seconds that getting them takes added to `times`."""
    end = object()
    while True:
        with times.stage(stage):
            item: Any = next(items, end)
        if item is end:
            return
        yield item


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """`items`, each fetched in another thread while the one before is in use."""
    end = object()

    def fetch() -> Any:
        return next(items, end)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(fetch)
        while (item := coming.result()) is not end:
            coming = pool.submit(fetch)
            yield item
