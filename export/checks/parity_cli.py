"""`bsm-parity`: an engine compared with PyTorch, stage by stage."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from bsmamba2.errors import BsmambaError
from export.named import checkpoint_of, on_stderr
from runtime.audio import Song, read_song, resample
from runtime.backends import open_backend
from runtime.command import Config, Debug, Device, PrecisionHint, Threads, Version, run_command
from runtime.engine.manifest import Manifest, sha256_of
from runtime.engine.reading import read_manifest
from runtime.errors import AudioError, OptionError
from runtime.parity.reference import Reference, read_reference, require_origin
from runtime.parity.replay import replay
from runtime.parity.report import Comparison, as_html, as_text
from runtime.parity.sdr_change import SdrChange, read_true_stems, sdr_changes
from runtime.pictures.page import check_output, new_figure, write_whole
from runtime.printable import printable
from runtime.separation.separator import Separator

if TYPE_CHECKING:
    from bsmamba2.checkpoint import Checkpoint

Float = NDArray[np.float32]

app = typer.Typer(add_completion=False)

ENGINE = "NAME.onnx or NAME.plan, written by bsm-export, with NAME.json beside it."
REFERENCE = "PyTorch's results, written by bsm-export --reference."
CKPT = "Checkpoint of the engine: PyTorch computes the reference now."
AUDIO = "Song to compare on (with --ckpt) or to separate (with --stems)."
STEMS = "Folder of the song's true stems, such as vocals.wav: compares the SDR before and after the export."
REPORT = "Write an HTML report with plots, as one self-contained file."


@app.command()
def parity(
    engine: Annotated[Path, typer.Argument(metavar="ENGINE", help=ENGINE)],
    reference: Annotated[
        Path | None, typer.Option(metavar="NAME.npz", help=REFERENCE, show_default="NAME.npz beside the engine")
    ] = None,
    ckpt: Annotated[str | None, typer.Option(metavar="PATH|NAME", help=CKPT)] = None,
    config: Config = None,
    audio: Annotated[Path | None, typer.Option(metavar="SONG", help=AUDIO)] = None,
    stems: Annotated[Path | None, typer.Option(metavar="DIR", help=STEMS)] = None,
    report: Annotated[Path | None, typer.Option(metavar="OUT.html", help=REPORT)] = None,
    device: Device = "auto",
    precision_hint: PrecisionHint = None,
    threads: Threads = None,
    debug: Debug = False,
    version: Version = False,
) -> int:
    """Compare ENGINE with PyTorch, stage by stage. Exit code 1: not within tolerance."""
    _check_options(reference, ckpt, config, audio, stems)
    manifest = read_manifest(engine, to_open=True)
    beside = engine.with_suffix(".npz")
    if reference is None and ckpt is None and not beside.exists():
        raise OptionError(f"{engine}: nothing to compare with ({beside.name} is not there): give --reference or --ckpt")
    if report is not None:
        new_figure(1, 1)  # reports a missing matplotlib now
        check_output("--report", report)
    song = None if audio is None else read_song(audio)
    if song is not None and song.audio.shape[0] > 2:
        raise AudioError(f"{audio}: has {song.audio.shape[0]} channels: must be mono or stereo: mix it down first")
    truth = None
    with closing(open_backend(engine, manifest, threads, device, precision_hint)) as backend:
        if stems is not None and song is not None:
            truth = read_true_stems(stems, song, Separator(backend, manifest).stems)
        checkpoint = None if ckpt is None else _checkpoint(ckpt, config, manifest, threads)
        if reference is not None or checkpoint is None:
            path = reference or beside
            recorded, against = read_reference(path, manifest), f"{path}, PyTorch's results from the export"
        else:
            recorded, against = _computed(checkpoint, manifest, song, audio)
        stages, drawn = replay(backend, manifest, recorded)
        sdr: list[SdrChange] = []
        if truth is not None and song is not None:
            pytorch = None if checkpoint is None else _pytorch_separator(checkpoint, manifest, threads)
            sdr = sdr_changes(song, truth, Separator(backend, manifest, threads=threads), pytorch)
        comparison = Comparison(str(engine), backend.name, against, manifest, stages, sdr)
        for note in backend.notes:
            print(printable(note))
    print("\n".join(printable(line) for line in as_text(comparison).splitlines()))
    if report is not None:
        write_whole(report, as_html(comparison, recorded["spectrogram"], drawn.reference, drawn.found))
        print(f"wrote {printable(str(report))}")
    return 0 if comparison.passed else 1


def _check_options(
    reference: Path | None, ckpt: str | None, config: Path | None, audio: Path | None, stems: Path | None
) -> None:
    """Raise OptionError for options that need others, or would be ignored."""
    if stems is not None and audio is None:
        raise OptionError(f"--stems {stems}: needs --audio SONG")
    if stems is not None and not stems.is_dir():
        raise OptionError(f"--stems {stems}: not a folder: expected a folder of true stems, such as vocals.wav")
    if audio is not None and stems is None and (ckpt is None or reference is not None):
        raise OptionError(f"--audio {audio}: needs --ckpt, to compare on this song, or --stems DIR, to compare the SDR")
    if config is not None and ckpt is None:
        raise OptionError("--config: needs --ckpt")
    if reference is not None and ckpt is not None and stems is None:
        raise OptionError("--reference and --ckpt: give only one of them")


def _checkpoint(ckpt: str, config: Path | None, manifest: Manifest, threads: int | None) -> Checkpoint:
    """The checkpoint, checked to be the engine's. Raises OptionError, BsmambaError."""
    try:
        from bsmamba2.checkpoint import load_checkpoint
        from export.describe import is_network_of
        from export.proof.torch_backend import use_threads
    except ImportError as error:
        raise OptionError(f"--ckpt: {error.name} is not installed: pip install 'bsmamba2[export]'") from error

    use_threads(threads)
    path = checkpoint_of(ckpt, offline=False, report=on_stderr("bsm-parity"))
    checkpoint = load_checkpoint(path, config, manifest.checkpoint.weights)
    require_origin(ckpt, sha256_of(checkpoint.path), checkpoint.weights, manifest)
    if not is_network_of(checkpoint.config, manifest):
        raise OptionError(f"{ckpt}: read as another network than the engine's: give the --config of its export")
    return checkpoint


def _computed(
    checkpoint: Checkpoint, manifest: Manifest, song: Song | None, audio: Path | None
) -> tuple[Reference, str]:
    """A reference computed now, from the loudest chunk of `song` or from the test signal, and what it is."""
    from export.proof.reference import reference_of
    from runtime.dsp.signal import signal_wave

    if song is None:
        wave = signal_wave(checkpoint.config.stft, checkpoint.config.channels, manifest.frames.opt)
        where = "the test signal"
    else:
        wave, start = _loudest_chunk(song, manifest)
        where = f"{audio}, its loudest chunk, from {start:.1f} s on"
    return reference_of(checkpoint.model(), checkpoint, wave), f"PyTorch with {checkpoint.path.name} on {where}"


def _loudest_chunk(song: Song, manifest: Manifest) -> tuple[Float, float]:
    """The loudest chunk of a song (many songs begin with silence), [1, c, samples], and its start in s."""
    rate, channels = manifest.stft.sample_rate, manifest.model.channels
    wave = resample(song.audio, song.sample_rate, rate)
    if len(wave) < channels:
        wave = np.repeat(wave, channels, axis=0)
    length = manifest.chunk_samples
    chunks = {start: wave[:channels, start : start + length] for start in range(0, wave.shape[1], length)}
    best = max(chunks, key=lambda start: float(np.square(chunks[start], dtype=np.float64).sum()))
    return np.pad(chunks[best], ((0, 0), (0, length - chunks[best].shape[1])))[None], best / rate


def _pytorch_separator(checkpoint: Checkpoint, manifest: Manifest, threads: int | None) -> Separator:
    from export.proof.torch_backend import TorchBackend

    return Separator(TorchBackend(checkpoint.model(), manifest.io), manifest, threads=threads)


def main() -> None:
    run_command(app, "bsm-parity", mistakes=(BsmambaError,))


if __name__ == "__main__":
    main()
