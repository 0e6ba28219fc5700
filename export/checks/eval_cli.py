"""`bsm-eval`: engines and checkpoints evaluated on songs with true stems."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bsmamba2.errors import BsmambaError
from export.checks.eval_models import Model, check_options, open_model
from runtime.bench.machine import describe_machine
from runtime.command import Config, Debug, Device, Json, Threads, Version, run_command
from runtime.errors import OptionError
from runtime.evaluation.judge import judge, judge_mixture
from runtime.evaluation.page import as_html
from runtime.evaluation.results import Evaluation, Judged
from runtime.evaluation.schema import as_json
from runtime.evaluation.tables import as_text, tables
from runtime.evaluation.tracks import Track, check_track, find_tracks, read_track, songs_folder
from runtime.pictures.page import check_output, new_figure, write_whole
from runtime.printable import printable
from runtime.songs.progress import song_progress

SHORTEST, LONGEST = 0.1, 600.0  # s

MODELS = "Engine (NAME.onnx or NAME.plan, written by bsm-export) or checkpoint (run by PyTorch)."
DATA = "Folder of songs, <song>/{mixture,vocals,...}.{wav,flac,ogg}, or of such folders named train, valid, test."
SECONDS = "Input lengths to compare, such as 1,2,4,8,12,16."
STEM = "Stems to evaluate, such as vocals."
WEIGHTS = "Weights to use if the checkpoint has several copies."
OVERLAP = "Overlap between chunks, as a fraction (0 to 0.9). The paper uses 0."
REPORT = "Write an HTML report with tables and a plot, as one self-contained file."

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="ENGINE|CKPT", help=MODELS)],
    data: Annotated[Path, typer.Option(metavar="DIR", help=DATA)],
    subset: Annotated[
        str | None, typer.Option(metavar="train|valid|test", help="Subset to use.", show_default="test, if present")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Evaluate only the first N songs.")] = None,
    stem: Annotated[str | None, typer.Option(metavar="NAME,...", help=STEM, show_default="all")] = None,
    seconds: Annotated[str | None, typer.Option(metavar="N,...", help=SECONDS, show_default="the engine's")] = None,
    overlap: Annotated[float, typer.Option(help=OVERLAP)] = 0.0,
    config: Config = None,
    weights: Annotated[str | None, typer.Option(metavar="raw|ema|KEY", help=WEIGHTS, show_default="raw")] = None,
    device: Device = "auto",
    threads: Threads = None,
    json_file: Json = None,
    report: Annotated[Path | None, typer.Option(metavar="OUT.html", help=REPORT)] = None,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Separate the songs in DIR and compare the result with their true stems: uSDR, cSDR, the paper's tables."""
    given = list(dict.fromkeys(models))
    check_options(given, config, weights)
    lengths = _lengths(seconds)
    check_output("--json", json_file)
    check_output("--report", report)
    if report is not None:
        new_figure(1, 1)  # reports a missing matplotlib now
    folder = songs_folder(data, subset)
    tracks = find_tracks(folder)[:limit]
    machine = describe_machine()  # before the work, which would raise the load
    with ExitStack() as stack:
        opened = []
        for each in given:
            opened.append(open_model(each, given, config, weights, device, threads))
            stack.enter_context(closing(opened[-1].backend))
            opened[-1].check(lengths)
        own = {model.name: lengths[0] if len(lengths) == 1 else model.seconds for model in opened}
        stems = _stems(opened, stem, overlap, own)
        for track in tracks:
            check_track(track, stems)
        judged: list[Judged] = []
        for number, track in enumerate(tracks, 1):
            judged += _judged(opened, own, lengths, overlap, stems, track, f"{number}/{len(tracks)} {track.name}")

    evaluation = Evaluation(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=str(folder),
        overlap=overlap,
        machine=machine,
        own=own,
        run_by={model.name: model.backend.name for model in opened},
        lengths=lengths,
        judged=judged,
    )
    for model in opened:
        print(printable(f"{model.name}: {model.given}, {model.backend.name}"))
        for note in model.backend.notes:
            print(printable(note))
    for table in tables(evaluation):
        print("", *(printable(line) for line in as_text(table).splitlines()), sep="\n")
    for path, text in ((json_file, as_json), (report, as_html)):
        if path is not None:
            write_whole(path, text(evaluation))
            print(f"wrote {printable(str(path))}")


def _stems(models: list[Model], asked: str | None, overlap: float, own: dict[str, float]) -> list[str]:
    """The stems in --stem, or all that every model gives."""
    given = [model.separator(overlap, own[model.name]).stems for model in models]
    common = [stem for stem in given[0] if all(stem in each for each in given)]
    if not common:
        raise OptionError(f"{', '.join(model.given for model in models)}: have no stem in common: evaluate each alone")
    wanted = common if asked is None else list(dict.fromkeys(name.strip().lower() for name in asked.split(",")))
    if not set(wanted) <= set(common):
        raise OptionError(f"--stem {asked}: must be among {', '.join(common)}")
    return wanted


def _judged(
    models: list[Model],
    own: dict[str, float],
    lengths: list[float],
    overlap: float,
    stems: list[str],
    track: Track,
    label: str,
) -> list[Judged]:
    """Every model at every length on one track, and the mixture itself."""
    truth = read_track(track, stems)
    judged = judge_mixture(track, truth)
    samples = truth.mixture.shape[1]
    for model in models:
        for length in sorted({own[model.name], *lengths}):
            separator = model.separator(overlap, length)
            with song_progress(f"{label}: {model.name}, {length:g} s", samples, truth.sample_rate) as update:
                progress = partial(_show_chunks, update, samples)
                judged += judge(model.name, length, separator, track, truth, progress)
    return judged


def _show_chunks(update: Callable[[int], None], samples: int, done: int, chunks: int) -> None:
    """Report chunks done as samples of the song."""
    update(samples * done // chunks)


def _lengths(text: str | None) -> list[float]:
    try:
        lengths = sorted({float(part) for part in text.split(",")}) if text is not None else []
    except ValueError as error:
        raise OptionError(f"--seconds {text}: must be numbers, such as 1,2,4,8,12,16") from error
    if not all(SHORTEST <= length <= LONGEST for length in lengths):
        raise OptionError(f"--seconds {text}: each must be between {SHORTEST:g} and {LONGEST:g} s")
    return lengths


def main() -> None:
    run_command(app, "bsm-eval", mistakes=(BsmambaError,))


if __name__ == "__main__":
    main()
