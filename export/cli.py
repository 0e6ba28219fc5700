"""`bsm-export`: a checkpoint in, an engine out."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bsmamba2.errors import BsmambaError
from export.listing import print_list
from export.named import checkpoint_of, on_stderr
from export.options import ExportCommand, changes_of, check_belonging
from runtime.command import Config, Debug, Version, run_command
from runtime.engine.content import what_instead
from runtime.engine.manifest import IOS, PRECISIONS, SCANS, TARGETS, Range
from runtime.errors import OptionError
from runtime.serving.triton.container import Container
from runtime.serving.triton.repository import write_repository

if TYPE_CHECKING:
    from bsmamba2.checkpoint import Checkpoint

DEFAULT_SECONDS = 8.0  # the length the published networks were trained on
MOST_SECONDS = 600
DEFAULT_IO = {"cpu": "spectrum", "gpu": "wave"}  # NumPy's STFT is fast enough for a CPU, and would limit a GPU
DEFAULT_BATCH_MAX = {"cpu": 8, "gpu": 1}  # a GPU needs memory for the largest batch, and is busy with one chunk

PACKAGES = (  # what an export imports
    *("torch", "ml_dtypes", "onnx", "onnx_ir", "onnxscript", "safetensors", "yaml"),
    *("httpx", "filelock", "platformdirs", "onnxruntime"),
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
IO = "What the engine takes and gives: spectrograms, or waveforms, with the STFT and its inverse inside."
TRT = "Also build a TensorRT plan; 'auto' (or no value) uses the TensorRT that is installed."
CAPABILITY = "Compute capability of a GPU that a TensorRT-RTX plan is for, such as 8.9. May be given several times."
HARDWARE = "GPUs that run a plan of full TensorRT besides the model it is built on. Costs speed."
LEVEL = "0 to 5: how long full TensorRT searches for a fast plan."
VERSIONS = "A plan that later releases of full TensorRT's major version run too, and tensorrt-lean. Costs speed."
PROBE = "Also output intermediate results, for bsm-parity."
REFERENCE = "Also write NAME.npz, PyTorch's results stage by stage, for bsm-parity."
FRAMES = "STFT frames per chunk; MIN:OPT:MAX for variable-length input."
OUTPUT = "Name of the engine to write."
TRITON = "Write a model repository for Triton Inference Server into the new folder DIR, with the engines of --from."
FROM = "Engines for --triton: NAME.onnx or NAME.plan, one or more."
SONGS = "With --triton: songs at a time, of each engine."
SERVED_BY = "With --triton: version of {} in Triton's container."
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
        int | None, typer.Option(help="Largest batch size, in chunks.", show_default="8, for GPUs 1")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="|".join(PRECISIONS), help="Numeric precision.")] = "fp32",
    scan: Annotated[str, typer.Option(metavar="|".join(SCANS), help="Form of Mamba2's scan in the graph.")] = "chunked",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(TARGETS), help="Hardware to optimise the graph for.", show_default="cpu, with --trt gpu"
        ),
    ] = None,
    io: Annotated[
        str | None, typer.Option("--io", metavar="|".join(IOS), help=IO, show_default="spectrum, for GPUs wave")
    ] = None,
    trt: Annotated[str | None, typer.Option("--trt", metavar="[auto|tensorrt|tensorrt-rtx]", help=TRT)] = None,
    compute_capability: Annotated[list[str] | None, typer.Option(metavar="X.Y", help=CAPABILITY)] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            "--hardware-compatibility",
            metavar="none|same-compute-capability|ampere-plus",
            help=HARDWARE,
            show_default="none",
        ),
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(metavar="N", help=LEVEL, show_default="TensorRT's, 3")
    ] = None,
    version_compatible: Annotated[bool, typer.Option("--version-compatible", help=VERSIONS)] = False,
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
    triton: Annotated[Path | None, typer.Option(metavar="DIR", help=TRITON)] = None,
    engines: Annotated[list[Path] | None, typer.Option("--from", metavar="ENGINE...", help=FROM)] = None,
    songs: Annotated[int, typer.Option(metavar="N", help=SONGS)] = 2,
    tensorrt_version: Annotated[str | None, typer.Option(metavar="X.Y.Z", help=SERVED_BY.format("TensorRT"))] = None,
    onnxruntime_version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help=SERVED_BY.format("ONNX Runtime"))
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="With --inspect: list every node.")] = False,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Export a checkpoint to NAME.onnx and NAME.json (with --trt also NAME.plan), checked against PyTorch."""
    if ctx.args and models is not None:
        raise OptionError(f"{ctx.args[0]}: --list takes one WORD")
    if ctx.args and triton is None:
        raise OptionError(f"{ctx.args[0]}: give the checkpoint with --ckpt: bsm-export --ckpt {ctx.args[0]}")
    if sum(each is not None for each in (ckpt, models, rebuild, inspect, triton)) != 1:
        raise OptionError("give one of --ckpt PATH, --rebuild NAME, --inspect NAME, --triton DIR, --list")
    check_belonging(ctx)
    if models is not None:
        print_list(models)
        return
    if triton is not None:
        from export.telling import tell_served

        if not engines:
            raise OptionError(f"--triton {triton}: give the engines with --from: NAME.onnx or NAME.plan, one or more")
        container = Container(tensorrt_version, onnxruntime_version)
        tell_served(triton, *write_repository(triton, [*engines, *map(Path, ctx.args)], container, songs))
        return
    if inspect is not None:
        from export.plan.inspect_engine import inspect_engine

        print(inspect_engine(_engine_name(inspect), layers))
        return
    if precision == "bf16" and trt is None and ckpt is not None:
        print(f"bsm-export: {BF16_NOTE}", file=sys.stderr)
    # PyTorch takes seconds to import: not before the options are parsed.
    from export.plan.choose import Asked, plan_build
    from export.telling import reporting, tell_written

    start = time.perf_counter()
    tell = on_stderr("bsm-export")
    asked = Asked(
        flavour=trt,
        compute_capabilities=tuple(compute_capability or ()),
        workspace=workspace,
        timing_cache=timing_cache,
        hardware=hardware,
        optimization_level=optimization_level,
        version_compatible=version_compatible,
    )
    if rebuild is not None:
        from export.plan.rebuild import rebuild_engine

        with reporting(start) as (report, progress):
            done = rebuild_engine(_engine_name(rebuild), asked, report, progress, note=tell)
        tell_written(done, start, rebuilt=True)
        return

    build = plan_build(asked, precision, scan) if trt is not None else None
    for each in build.notes if build is not None else ():
        tell(each)
    target = target or ("cpu" if build is None else "gpu")
    assert ckpt is not None  # noqa: S101 - exactly one of the four was given
    path = checkpoint_of(ckpt, offline, tell)
    from bsmamba2.checkpoint import load_checkpoint
    from export.engine import export_engine
    from export.proof.torch_backend import use_threads

    use_threads()
    checkpoint = load_checkpoint(path, config, weights, changes_of(change or []))
    lengths = _frames(frames, seconds, checkpoint)
    best = batch_min if batch_opt is None else batch_opt
    most = max(best, DEFAULT_BATCH_MAX.get(target, 1)) if batch_max is None else batch_max
    batch = Range(batch_min, best, most)
    name = _name(output if output is not None else Path("engines") / checkpoint.path.stem)

    print(f"{ckpt}: {checkpoint.layout} checkpoint, {checkpoint.weights} weights")
    for note in checkpoint.notes:
        print(f"  {note}")
    with reporting(start) as (report, progress):
        done = export_engine(
            checkpoint,
            name,
            frames=lengths,
            batch=batch,
            precision=precision,
            scan=scan,
            target=target,
            io=io or DEFAULT_IO.get(target, "spectrum"),
            build=build,
            probe=probe,
            reference=reference,
            report=report,
            progress=progress,
        )
    tell_written(done, start)


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


def main() -> None:
    # Looked up, not imported: PyTorch takes seconds, and --help needs none of them.
    missing = [each for each in PACKAGES if sys.modules.get(each, True) is None or find_spec(each) is None]
    if missing:
        print(f"bsm-export: {_remedy(missing)}", file=sys.stderr)
        sys.exit(2)
    run_command(app, "bsm-export", mistakes=(BsmambaError,))


def _remedy(missing: list[str]) -> str:
    """Which packages are missing, and the extras that have them."""
    names = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
    if "onnxruntime" not in missing:
        return f"{names}: pip install 'bsmamba2[export]'"
    beside = "" if missing == ["onnxruntime"] else ",export"
    return f"{names}: pip install 'bsmamba2[run{beside}]', or 'bsmamba2[cuda{beside}]' for an NVIDIA GPU"


if __name__ == "__main__":
    main()
