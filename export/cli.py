"""`bsm-export`: a checkpoint in, an engine out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bsmamba2.errors import BsmambaError
from export.listing import print_list
from export.named import checkpoint_of, on_stderr
from export.options import ExportCommand, changes_of, check_belonging
from runtime.command import Config, Debug, Version, run_command
from runtime.engine.content import what_instead
from runtime.engine.info import memory_of, network_name
from runtime.engine.manifest import PRECISIONS, SCANS, TARGETS, Range
from runtime.errors import OptionError

if TYPE_CHECKING:
    from bsmamba2.checkpoint import Checkpoint
    from export.engine import Exported

DEFAULT_SECONDS = 8.0  # the length the published networks were trained on
MOST_SECONDS = 600
DEFAULT_BATCH_MAX = {"cpu": 8, "gpu": 4}  # a plan reserves GPU memory for the largest batch

PACKAGES = (  # what an export imports
    *("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "safetensors", "yaml"),
    *("httpx", "filelock", "platformdirs"),
)
BF16_NOTE = (
    "note: --precision bf16 without --trt: this engine will not run on a CPU, and ONNX Runtime may lack operators for "
    "it on a GPU: add --trt for a TensorRT plan, or use --precision fp16 or fp32"
)

app = typer.Typer(add_completion=False)


CKPT = (
    "Checkpoint: official Lightning file, MSST file, safetensors or state_dict; a name of --list, which is downloaded; "
    "or 'demo', 'demo-roformer'."
)
LIST = "Show the checkpoints that --ckpt knows by name; with WORD: those with it in name, stems, kind or note."
OFFLINE = "Download nothing: a name must have been downloaded before."
WEIGHTS = "Weights to use if the checkpoint has several copies: raw, ema, or their key."
SET = "A setting in place of the yaml's, such as model.stft_hop_length=512. May be given several times."
TRT = "Also build a TensorRT plan; 'auto' (or no value) uses the TensorRT that is installed."
CAPABILITY = "Compute capability of a GPU that a TensorRT-RTX plan is for, such as 8.9. May be given several times."
PROBE = "Also output intermediate results, for bsm-parity."
REFERENCE = "Also write NAME.npz, PyTorch's results stage by stage, for bsm-parity."
FRAMES = "STFT frames per chunk; MIN:OPT:MAX for variable-length input."
OUTPUT = "Name of the engine to write."
REBUILD = "Build NAME.plan again from NAME.onnx, without a checkpoint."


@app.command(cls=ExportCommand, context_settings={"allow_extra_args": True})
def export(
    ctx: typer.Context,
    ckpt: Annotated[str | None, typer.Option(metavar="PATH|NAME", help=CKPT)] = None,
    config: Config = None,
    change: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET)] = None,
    weights: Annotated[str, typer.Option(metavar="raw|ema|KEY", help=WEIGHTS)] = "raw",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="NAME", help=OUTPUT, show_default="engines/<checkpoint>")
    ] = None,
    frames: Annotated[str | None, typer.Option(metavar="N|MIN:OPT:MAX", help=FRAMES)] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Chunk length in seconds, instead of --frames.", show_default="the yaml's, else 8"),
    ] = None,
    batch_min: Annotated[int, typer.Option(help="Smallest batch size, in chunks.")] = 1,
    batch_opt: Annotated[
        int | None, typer.Option(help="Batch size that a plan is tuned for.", show_default="--batch-min")
    ] = None,
    batch_max: Annotated[
        int | None, typer.Option(help="Largest batch size, in chunks.", show_default="8, with --trt 4")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="|".join(PRECISIONS), help="Numeric precision.")] = "fp32",
    scan: Annotated[str, typer.Option(metavar="|".join(SCANS), help="Form of Mamba2's scan in the graph.")] = "chunked",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(TARGETS), help="Hardware to optimise the graph for.", show_default="cpu, with --trt gpu"
        ),
    ] = None,
    trt: Annotated[str | None, typer.Option("--trt", metavar="[auto|tensorrt|tensorrt-rtx]", help=TRT)] = None,
    compute_capability: Annotated[list[str] | None, typer.Option(metavar="X.Y", help=CAPABILITY)] = None,
    workspace: Annotated[
        float | None, typer.Option(metavar="GB", help="GPU memory for a plan's workspace.", show_default="TensorRT's")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File that keeps timings between builds (full TensorRT).")
    ] = None,
    probe: Annotated[bool, typer.Option("--probe", help=PROBE)] = False,
    reference: Annotated[bool, typer.Option("--reference", help=REFERENCE)] = False,
    offline: Annotated[bool, typer.Option("--offline", help=OFFLINE)] = False,
    models: Annotated[str | None, typer.Option("--list", metavar="[WORD]", help=LIST)] = None,
    rebuild: Annotated[Path | None, typer.Option(metavar="NAME", help=REBUILD)] = None,
    inspect: Annotated[
        Path | None, typer.Option(metavar="NAME", help="Describe the files of the engine NAME and exit.")
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="With --inspect: list every node.")] = False,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Export a checkpoint to NAME.onnx and NAME.json (with --trt also NAME.plan), checked against PyTorch."""
    if ctx.args and models is not None:
        raise OptionError(f"{ctx.args[0]}: --list takes one WORD")
    if ctx.args:
        raise OptionError(f"{ctx.args[0]}: give the checkpoint with --ckpt: bsm-export --ckpt {ctx.args[0]}")
    if sum(each is not None for each in (ckpt, models, rebuild, inspect)) != 1:
        raise OptionError("give one of --ckpt PATH, --rebuild NAME, --inspect NAME, --list")
    check_belonging(ctx)
    if models is not None:
        print_list(models)
        return
    if inspect is not None:
        from export.plan.inspect_engine import inspect_engine

        print(inspect_engine(_engine_name(inspect), layers))
        return
    if precision == "bf16" and trt is None and ckpt is not None:
        print(f"bsm-export: {BF16_NOTE}", file=sys.stderr)
    # PyTorch takes seconds to import: not before the options are parsed.
    from export.plan.build import plan_build

    start = time.perf_counter()
    wanted = tuple(compute_capability or ())
    if rebuild is not None:
        from export.plan.rebuild import rebuild_engine

        with _reporting(start) as (report, progress):
            done = rebuild_engine(_engine_name(rebuild), trt, wanted, workspace, timing_cache, report, progress)
        _tell(done, start, rebuilt=True)
        return

    build = plan_build(trt, wanted, workspace, timing_cache) if trt is not None else None
    target = target or ("cpu" if build is None else "gpu")
    assert ckpt is not None  # noqa: S101 - exactly one of the four was given
    path = checkpoint_of(ckpt, offline, on_stderr("bsm-export"))
    from bsmamba2.checkpoint import load_checkpoint
    from export.engine import export_engine
    from export.proof.torch_backend import use_threads

    use_threads()
    checkpoint = load_checkpoint(path, config, weights, changes_of(change or []))
    lengths = _frames(frames, seconds, checkpoint)
    most = DEFAULT_BATCH_MAX.get(target, 1) if batch_max is None else batch_max
    batch = Range(batch_min, batch_min if batch_opt is None else batch_opt, most)
    name = _name(output if output is not None else Path("engines") / checkpoint.path.stem)

    print(f"{ckpt}: {checkpoint.layout} checkpoint, {checkpoint.weights} weights")
    for note in checkpoint.notes:
        print(f"  {note}")
    with _reporting(start) as (report, progress):
        done = export_engine(
            checkpoint,
            name,
            frames=lengths,
            batch=batch,
            precision=precision,
            scan=scan,
            target=target,
            build=build,
            probe=probe,
            reference=reference,
            report=report,
            progress=progress,
        )
    _tell(done, start)


def _frames(frames: str | None, seconds: float | None, checkpoint: Checkpoint) -> Range:
    stft = checkpoint.config.stft
    if frames is not None and seconds is not None:
        raise OptionError("--frames and --seconds: give only one of them")
    if frames is None:
        from export.engine import smallest_frames

        own = DEFAULT_SECONDS if checkpoint.chunk is None else checkpoint.chunk / stft.sample_rate
        wanted = own if seconds is None else seconds
        shortest = (smallest_frames(stft) - 1) * stft.hop_length / stft.sample_rate
        if not shortest <= wanted <= MOST_SECONDS:
            raise OptionError(
                f"--seconds {wanted:g}: must be between {shortest:.2g} and {MOST_SECONDS} (a chunk must be longer than "
                "half an STFT window)"
            )
        count = 1 + round(wanted * stft.sample_rate / stft.hop_length)
        return Range(count, count, count)
    parts = frames.split(":")
    if len(parts) not in (1, 3) or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise OptionError(f"--frames {frames}: must be a number, or MIN:OPT:MAX such as 401:801:1601")
    numbers = [int(part) for part in parts]
    return Range(*numbers) if len(numbers) == 3 else Range(*numbers * 3)


def _name(output: Path) -> Path:
    name = output.with_suffix("") if output.suffix in (".onnx", ".plan", ".json") else output
    if name.name in ("", "..") or name.is_dir():
        raise OptionError(f"{output}: is a folder: give a name in it, such as {output / 'vocals'}")
    return name


def _engine_name(path: Path) -> Path:
    """The name of an engine that is there already. Raises OptionError for a file that cannot be one."""
    instead = what_instead(path) if path.is_file() and path.suffix != ".json" else None
    if instead is not None:
        raise OptionError(f"{path}: {instead}")
    return _name(path)


@contextmanager
def _reporting(start: float) -> Iterator[tuple[Any, Any]]:
    """Functions that show the steps of an export, and the builder's progress."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        phases: dict[str, TaskID] = {}

        def report(step: str) -> None:
            if console.is_terminal:
                bar.update(task, description=step)
            else:
                print(f"  {step} ({time.perf_counter() - start:.0f} s)", flush=True)

        def progress(phase: str, done: int, total: int) -> None:
            if phase not in phases:
                phases[phase] = bar.add_task(f"  {phase}", total=total)
            bar.update(phases[phase], completed=done, total=total, visible=done < total)

        yield report, progress


def _tell(done: Exported, start: float, rebuilt: bool = False) -> None:
    """Print what was written."""
    manifest, parity = done.manifest, done.manifest.parity
    model, frames, batch = manifest.model, manifest.frames, manifest.batch
    length = f"{frames.opt}" if frames.min == frames.max else f"{frames.min} to {frames.max} (best {frames.opt})"
    print(
        f"{network_name(model)}, dim {model.dim}, depth {model.depth}, {model.parameters:,} parameters, "
        f"{'stereo' if model.channels == 2 else 'mono'}, stems {', '.join(model.stems)}"
    )
    print(
        f"{manifest.precision}, chunks of {length} frames "
        f"({manifest.chunk_samples / manifest.stft.sample_rate:.2f} s), batch {batch.min} to {batch.max}"
    )
    snr = "no error" if parity.snr_db is None else f"SNR {parity.snr_db:.0f} dB"
    print(
        f"parity with PyTorch in {parity.executor}: largest error {parity.max_error:.1e} of the peak "
        f"(tolerance {parity.tolerance:.0e}), {snr}"
    )
    wrote = [] if rebuilt else [f"{done.engine} ({done.engine.stat().st_size / 1e6:.1f} MB)"]
    if manifest.plan is not None and done.plan is not None:
        plan = manifest.plan
        targets = ", ".join(plan.compute_capabilities)
        print(f"plan: {plan.flavour} {plan.version}, for compute capability {targets}")
        if plan.memory:
            print(f"  GPU memory for intermediate results: {memory_of(plan)}")
        if plan.parity is None:
            print(f"  not run ({done.not_run}); built from the graph that passed the check")
        else:
            print(f"  checked on this GPU: largest error {plan.parity.max_error:.1e} of the peak")
        wrote.append(f"{done.plan} ({done.plan.stat().st_size / 1e6:.1f} MB)")
    if done.reference is not None:
        wrote.append(f"{done.reference} ({done.reference.stat().st_size / 1e6:.1f} MB)")
    print(f"wrote {', '.join(wrote)} and {done.manifest_path} in {time.perf_counter() - start:.0f} s")


def main() -> None:
    for package in PACKAGES:
        # Looked up, not imported: PyTorch takes seconds, and --help needs none of them.
        if (package in sys.modules and sys.modules[package] is None) or find_spec(package) is None:
            print(f"bsm-export: {package} is not installed: pip install 'bsmamba2[export]'", file=sys.stderr)
            sys.exit(2)
    run_command(app, "bsm-export", mistakes=(BsmambaError,))


if __name__ == "__main__":
    main()
