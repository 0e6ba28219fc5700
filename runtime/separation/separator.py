"""`open_separator`: from an engine file to a function that separates songs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.audio import MAX_LEVEL, MAX_RATE, MIN_RATE
from runtime.backends import Backend, open_backend
from runtime.dsp.views import views_of
from runtime.engine.manifest import Manifest
from runtime.engine.reading import read_manifest
from runtime.engine.stems import stems_of
from runtime.errors import OptionError
from runtime.separation.engine_run import EngineRun
from runtime.separation.procedure import PROCEDURES, plan_for
from runtime.separation.stream import SongStream
from runtime.separation.timing import StageTimes

Float = NDArray[np.float32]
Samples = NDArray[np.floating[Any]]

BLOCK = 1 << 16  # samples of an array taken at a time


class Separator:
    """Separates songs with one engine, one at a time; a context manager that closes it.

    Threads may share it, but not use it at the same time: that raises OptionError. `times` holds the seconds spent so
    far in each stage: resample, stft, engine, istft. `plan` says how songs are cut into chunks; a new plan applies from
    the next song on. `threads` is the number of CPU threads of the STFT and its inverse (None: one per core).
    """

    def __init__(
        self,
        backend: Backend,
        manifest: Manifest,
        overlap: float | None = None,
        batch: int | None = None,
        tta: bool = False,
        shifts: int = 1,
        procedure: str = PROCEDURES[0],
        threads: int | None = None,
    ) -> None:
        batch = manifest.batch.opt if batch is None else batch
        if not manifest.batch.min <= batch <= manifest.batch.max:
            raise OptionError(
                f"--batch {batch}: must be between {manifest.batch.min} and {manifest.batch.max} for this engine"
            )
        self.backend = backend
        self.manifest = manifest
        self.plan = plan_for(manifest, procedure, overlap)
        self.times = StageTimes()
        views = views_of(tta, shifts, manifest.stft.hop_length, manifest.model.channels)
        self._engine = EngineRun(backend, manifest, batch, self.times, views, threads)
        self._lock = threading.Lock()  # held while a song is on its way
        self._closing = threading.Event()
        self._closed = False

    @property
    def stems(self) -> list[str]:
        """The stems it can give, in lower case: the network's own, then the rest of the song."""
        return stems_of(self.manifest)

    def separate(
        self,
        audio: Samples,
        sample_rate: int,
        stems: list[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Float]:
        """Separate `audio` [c, samples] or [samples] (mono), full scale 1.0, at `sample_rate` Hz.

        Gives `stems` (all of them by default; upper and lower case are the same) by their lower-case names, each of the
        shape and rate of `audio`. `progress` is called with the chunks done and their number. A mono song goes to a
        stereo engine as two equal channels, whose mean comes back; the channels of a stereo song go to a mono engine
        one by one. Raises OptionError, EngineError.
        """
        audio = np.asarray(audio)
        song = audio[None] if audio.ndim == 1 else audio
        if song.ndim != 2 or song.shape[0] not in (1, 2):
            raise OptionError(
                f"audio of shape {song.shape}: expected [channels, samples] with 1 or 2 channels, or [samples]"
            )
        check_rate(sample_rate)
        check_samples(song, 0, sample_rate)
        song = song.astype(np.float32, copy=False)

        wanted = self._wanted(stems)
        stream = SongStream(self._engine, self.plan, sample_rate, song.shape[0], wanted)
        chunks = stream.chunks(song.shape[1])

        def told(done: int) -> None:
            if progress is not None:
                progress(done, chunks)

        blocks = (song[:, first : first + BLOCK] for first in range(0, song.shape[1], BLOCK))
        out = {name: np.empty_like(song) for name in wanted}
        at = 0
        with closing(self._run(stream, blocks, told)) as ready:
            for piece in ready:
                for name, wave in piece.items():
                    out[name][:, at : at + wave.shape[1]] = wave
                at += _length(piece)
        return {name: wave.reshape(audio.shape) for name, wave in out.items()}

    def stream(
        self,
        blocks: Iterable[Samples],
        sample_rate: int,
        channels: int,
        stems: list[str] | None = None,
        progress: Callable[[int], None] | None = None,
        pairs: bool = False,
    ) -> Generator[dict[str, Samples], None, None]:
        """Separate a song that comes in `blocks` [c, n] of any lengths, full scale 1.0, at `sample_rate` Hz.

        Gives `stems` (all of them by default) as soon as they are ready: by name, [c, n] each with one n for all of
        them, in order, in all as many samples as went in; float32, but for what is left of float64 blocks. What
        is held meanwhile is a few chunks, however long the song. `progress` is called with the song's samples done.
        `channels` is 1 or 2; with `pairs` any number, of which 1 and 2, 3 and 4 and so on are separated as if they were
        songs of their own, an odd last one as a mono song. The separator is in use from the first stems asked for until
        the last ones are given or the iterator is closed. Raises OptionError, EngineError, also while it is iterated.
        """
        if channels not in (1, 2) and not (pairs and channels > 2):
            raise OptionError(f"{channels} channels: expected 1 or 2, or more with pairs=True")
        check_rate(sample_rate)
        song = SongStream(self._engine, self.plan, sample_rate, channels, self._wanted(stems))
        return self._stream(song, _checked(blocks, sample_rate, channels), progress)

    def _stream(
        self, song: SongStream, blocks: Iterator[Samples], progress: Callable[[int], None] | None
    ) -> Generator[dict[str, Samples], None, None]:
        done = 0
        with closing(self._run(song, blocks, lambda chunks: None)) as ready:
            for piece in ready:
                done += _length(piece)
                if progress is not None:
                    progress(done)
                yield piece

    def _wanted(self, stems: list[str] | None) -> list[str]:
        wanted = self.stems if stems is None else list(dict.fromkeys(stem.lower() for stem in stems))
        unknown = [stem for stem in wanted if stem not in self.stems]
        if unknown or not wanted:
            raise OptionError(f"stems {', '.join(unknown) or 'none'}: this engine gives {', '.join(self.stems)}")
        return wanted

    def _run(
        self, stream: SongStream, blocks: Iterable[Samples], progress: Callable[[int], None]
    ) -> Generator[dict[str, Samples], None, None]:
        with self._in_use(), closing(stream.run(blocks, progress)) as ready:
            for piece in ready:
                if self._closing.is_set():
                    raise OptionError("the separator was closed while it separated a song")
                yield piece

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        if self._closing.is_set():
            raise OptionError("the separator is closed: open a new one")
        if not self._lock.acquire(blocking=False):
            raise OptionError(
                "the separator is in use: it separates one song at a time; wait until it is done (or close the "
                "stream), or open a separator for each thread"
            )
        try:
            yield
        finally:
            self._lock.release()
            if self._closing.is_set():
                self.close()

    def close(self) -> None:
        """Release what the engine holds, at once or when the current song ends. It cannot be used afterwards."""
        self._closing.set()
        if self._lock.acquire(blocking=False):
            try:
                if not self._closed:
                    self._closed = True
                    self.backend.close()
            finally:
                self._lock.release()

    def __enter__(self) -> Separator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _length(piece: dict[str, Samples]) -> int:
    length: int = next(iter(piece.values())).shape[1]
    return length


def check_rate(sample_rate: object) -> None:
    if not isinstance(sample_rate, int | np.integer) or not MIN_RATE <= sample_rate <= MAX_RATE:
        raise OptionError(f"sample rate {sample_rate!r}: must be between {MIN_RATE} and {MAX_RATE} Hz")


def check_samples(block: NDArray[Any], start: int, sample_rate: int) -> None:
    """Raises OptionError unless `block`, which begins at sample `start` of a song, holds finite sound samples."""
    if not np.issubdtype(block.dtype, np.floating):
        raise OptionError(f"audio of type {block.dtype}: expected floating-point samples, full scale 1.0")
    if block.size and not np.abs(block).max() <= MAX_LEVEL:
        first = int(np.argmax(~(np.abs(block).max(axis=0) <= MAX_LEVEL)))
        raise OptionError(
            f"audio contains NaN, Inf or samples beyond {MAX_LEVEL:.0e} at {(start + first) / sample_rate:.3f} s: "
            "expected full scale 1.0"
        )


def _checked(blocks: Iterable[Samples], sample_rate: int, channels: int) -> Iterator[Samples]:
    done = 0
    for each in blocks:
        block = np.asarray(each)
        if block.ndim != 2 or block.shape[0] != channels:
            raise OptionError(f"a block of shape {block.shape}: expected [{channels}, samples]")
        check_samples(block, done, sample_rate)
        done += block.shape[1]
        yield block.astype(np.float64 if block.dtype.itemsize > 4 else np.float32, copy=False)


def open_separator(
    engine: str | Path,
    *,
    overlap: float | None = None,
    batch: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision_hint: str | None = None,
    tta: bool = False,
    shifts: int = 1,
    procedure: str = PROCEDURES[0],
) -> Separator:
    """Open the engine at `engine` (NAME.onnx or NAME.plan, with NAME.json beside it).

    `overlap` is the overlap between chunks as a fraction of a chunk, 0 to 0.9 (None: 0.25), `batch` the number of
    chunks per engine run (None: the engine's optimum), `threads` the number of CPU threads (None: one per core that
    this process may use), `device` auto, cpu, cuda, tensorrt, openvino, or one GPU of several, as in cuda:1, or
    one of OpenVINO's processors, as in openvino:GPU. `precision_hint` is what OpenVINO computes in: f32 (None), f16 or
    bf16. Two options average several passes, for a little quality at a multiple of the time: `tta` adds a pass over
    swapped channels, `shifts` is the number of passes shifted by fractions of a hop; both together multiply.
    `procedure` is "default", or "msst" to cut and join songs exactly as MSST does, with the chunk_size, num_overlap and
    batch_size of the yaml that the engine was exported with; it takes no `overlap`, and `batch` has no part in it.
    Raises ManifestError, EngineError,
    OptionError.
    """
    path = Path(engine)
    manifest = read_manifest(path, to_open=True)
    backend = open_backend(path, manifest, threads, device, precision_hint)
    try:
        return Separator(backend, manifest, overlap, batch, tta, shifts, procedure, threads)
    except OptionError:
        backend.close()
        raise
