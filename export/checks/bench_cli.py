"""`bsm-bench`: engines against each other and against PyTorch."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bsmamba2.errors import BsmambaError
from export.checks.bench_torch import TorchContender
from export.checks.products import ProductsContender
from export.named import checkpoint_of, on_stderr
from runtime.bench.contenders import Contender, EngineContender, Work, engine_name
from runtime.bench.machine import describe_machine
from runtime.bench.measure import Entry, measure
from runtime.bench.page import as_html
from runtime.bench.results import Bench, Outcome, require_faster
from runtime.bench.schema import as_json
from runtime.bench.text import as_text
from runtime.command import Config, Debug, Device, Json, PrecisionHint, Threads, Version, run_command
from runtime.engine.manifest import Manifest, Range
from runtime.engine.reading import read_manifest
from runtime.errors import OptionError
from runtime.pictures.page import check_output, new_figure, write_whole
from runtime.printable import printable

MOST = 100_000  # of rounds, frames or chunks

app = typer.Typer(add_completion=False)

ENGINES = "NAME.onnx or NAME.plan, written by bsm-export, NAME.json beside it; all others are compared with the first."
CKPT = "Also measure PyTorch, with the checkpoint of the first engine."
COMPILE = "With --ckpt: also measure torch.compile (takes minutes, needs a C++ compiler)."
FRAMES = "STFT frames per chunk; a list such as 401,801,1601 is measured one by one."
BATCH = "Chunks per run; a list such as 1,2,4 is measured one by one."
PRODUCTS = "Measure the engines' matrix products alone, the lower limit on this machine."
FASTER = "Exit with code 1 unless the first engine is faster than this contender, such as torch."
REPORT = "Write an HTML report with plots, as one self-contained file."


@app.command()
def bench(
    engines: Annotated[list[Path], typer.Argument(metavar="ENGINE", help=ENGINES)],
    ckpt: Annotated[str | None, typer.Option(metavar="PATH|NAME", help=CKPT)] = None,
    config: Config = None,
    compiled: Annotated[bool, typer.Option("--compile", help=COMPILE)] = False,
    frames: Annotated[str | None, typer.Option(metavar="N,...", help=FRAMES, show_default="the engine's")] = None,
    batch: Annotated[str | None, typer.Option(metavar="N,...", help=BATCH, show_default="the engine's")] = None,
    rounds: Annotated[int, typer.Option(help="Measured runs of each contender.")] = 5,
    warmup: Annotated[int, typer.Option(help="Warm-up runs of each contender.")] = 2,
    device: Device = "auto",
    precision_hint: PrecisionHint = None,
    threads: Threads = None,
    products: Annotated[bool, typer.Option("--products/--no-products", help=PRODUCTS)] = True,
    require_faster_than: Annotated[str | None, typer.Option(metavar="CONTENDER", help=FASTER)] = None,
    json_file: Json = None,
    report: Annotated[Path | None, typer.Option(metavar="OUT.html", help=REPORT)] = None,
    debug: Debug = False,
    version: Version = False,
) -> int:
    """Measure each ENGINE, and PyTorch with --ckpt, in turns: cold start, run time, memory, stages, matrix products."""
    _check_count("--rounds", rounds, 1)
    _check_count("--warmup", warmup, 0)
    _check_torch(ckpt, config, compiled)
    check_output("--json", json_file)
    if report is not None:
        new_figure(1, 1)  # reports a missing matplotlib now rather than after minutes
    check_output("--report", report)
    sizes = Sizes(_numbers("--frames", frames), _numbers("--batch", batch), _io(engines))
    with tempfile.TemporaryDirectory(prefix="bsm-bench-") as folder:
        entries = _engines(engines, sizes, threads, device, precision_hint, products, Path(folder))
        if ckpt is not None:
            local = str(checkpoint_of(ckpt, offline=False, report=on_stderr("bsm-bench")))
            entries += _torch(local, config, compiled, entries[0], engines[0], sizes, threads, device)
        _check_required(require_faster_than, [each.contender.name for each in entries])
        machine = describe_machine()  # before measuring, which would raise the load
        outcomes = _measure(entries, rounds, warmup)
    required = None if require_faster_than is None else require_faster(outcomes, require_faster_than)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    done = Bench(created, rounds, warmup, threads, device, machine, outcomes, required)
    print("\n".join(printable(line) for line in as_text(done).splitlines()))
    for path, text in ((json_file, as_json), (report, as_html)):
        if path is not None:
            write_whole(path, text(done))
            print(f"wrote {printable(str(path))}")
    if required is not None:
        print(printable(required.text))
    return 0 if required is None or required.met else 1


class Sizes:
    """The sizes from --frames and --batch: one value applies to all measurements, several are a sweep.

    `io` is that of the work, the same for all contenders.
    """

    def __init__(self, frames: list[int], batches: list[int], io: str) -> None:
        self._frames, self._batches, self._io = frames, batches, io

    def work(self, manifest: Manifest) -> Work:
        """The work on which the contenders are compared."""
        frames = self._frames[0] if len(self._frames) == 1 else manifest.frames.opt
        batch = self._batches[0] if len(self._batches) == 1 else manifest.batch.opt
        return Work.of(manifest, frames, batch, self._io)

    def sweep(self, manifest: Manifest) -> list[Work]:
        """Every length at the compared batch and every batch at the compared length; empty for a single size."""
        main = self.work(manifest)
        lengths = [Work.of(manifest, each, main.batch, self._io) for each in self._frames]
        batches = [Work.of(manifest, main.frames, each, self._io) for each in self._batches]
        works = list(dict.fromkeys([main, *lengths, *batches]))
        return works if len(works) > 1 else []

    def check(self, engine: Path, manifest: Manifest) -> None:
        """Raise OptionError for sizes that the engine does not accept."""
        for option, values, allowed, what in (
            ("--frames", self._frames, manifest.frames, "frames"),
            ("--batch", self._batches, manifest.batch, "chunks per run"),
        ):
            for value in values:
                if not allowed.min <= value <= allowed.max:
                    raise OptionError(f"{option} {value}: {engine} takes {_range(allowed)} {what}")


def _io(engines: list[Path]) -> str:
    """What all can do: from waveforms to waveforms, if one of the engines does that."""
    return "wave" if any(read_manifest(each, to_open=True).io == "wave" for each in engines) else "spectrum"


def _range(allowed: Range) -> str:
    return f"{allowed.min}" if allowed.min == allowed.max else f"{allowed.min} to {allowed.max}"


def _engines(
    paths: list[Path],
    sizes: Sizes,
    threads: int | None,
    device: str,
    precision_hint: str | None,
    products: bool,
    folder: Path,
) -> list[Entry]:
    entries: list[Entry] = []
    for path in paths:
        manifest = read_manifest(path)
        sizes.check(path, manifest)
        name = engine_name(path, paths, {each.contender.name for each in entries})
        work = sizes.work(manifest)
        contender = EngineContender(name, path, work, threads, device, folder, precision_hint)
        limit: Contender | str | None = _limit(name, path, work, threads, folder) if products else None
        entries.append(Entry(contender, "engine", manifest.precision, limit, sizes.sweep(manifest)))
    return entries


def _limit(name: str, path: Path, work: Work, threads: int | None, folder: Path) -> Contender | str:
    if path.suffix.lower() == ".plan":
        return "only possible for ONNX engines"
    if _is_missing("onnx"):
        return "onnx is not installed: pip install 'bsmamba2[export]'"
    return ProductsContender(f"matrix products of {name}", path, work, threads, folder)


def _torch(
    ckpt: str,
    config: Path | None,
    compiled: bool,
    first: Entry,
    engine: Path,
    sizes: Sizes,
    threads: int | None,
    device: str,
) -> list[Entry]:
    """PyTorch on the work of the first engine."""
    manifest, work = read_manifest(engine), first.contender.work
    entries = []
    for name in ["torch", "torch.compile"] if compiled else ["torch"]:
        contender = TorchContender(
            name, ckpt, config, engine, manifest, work, threads, device, compiled=name == "torch.compile"
        )
        entries.append(Entry(contender, name, "fp32", None, sizes.sweep(manifest)))
    return entries


def _measure(entries: Sequence[Entry], rounds: int, warmup: int) -> list[Outcome]:
    console = Console(stderr=True)
    if not console.is_terminal:
        return measure(entries, rounds=rounds, warmup=warmup)
    with console.status("starting") as status:
        return measure(entries, rounds=rounds, warmup=warmup, report=lambda step: status.update(printable(step)))


def _numbers(option: str, text: str | None) -> list[int]:
    parts = [] if text is None else text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 8 and int(part) > 0 for part in parts):
        raise OptionError(f"{option} {text}: must be a number, or several such as 1,2,4")
    return sorted({int(part) for part in parts})


def _check_count(option: str, value: int, least: int) -> None:
    if not least <= value <= MOST:
        raise OptionError(f"{option} {value}: must be between {least} and {MOST}")


def _is_missing(package: str) -> bool:
    return (package in sys.modules and sys.modules[package] is None) or find_spec(package) is None


def _check_torch(ckpt: str | None, config: Path | None, compiled: bool) -> None:
    if ckpt is None and (config is not None or compiled):
        raise OptionError(f"{'--compile' if compiled else '--config'}: needs --ckpt")
    for package in ("torch", "safetensors", "yaml"):
        if ckpt is not None and _is_missing(package):
            raise OptionError(f"--ckpt: {package} is not installed: pip install 'bsmamba2[export]'")


def _check_required(name: str | None, contenders: list[str]) -> None:
    others = contenders[1:]
    if name is None or name in others:
        return
    missing = {"torch": "--ckpt", "torch.compile": "--ckpt and --compile"}.get(name)
    if missing is not None:
        raise OptionError(f"--require-faster-than {name}: needs {missing}")
    expected = f"must be {' or '.join(others)}" if others else "needs another engine, or --ckpt"
    raise OptionError(f"--require-faster-than {name}: {expected}")


def main() -> None:
    run_command(app, "bsm-bench", mistakes=(BsmambaError,))


if __name__ == "__main__":
    main()
