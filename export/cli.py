"""`bsm-export`: a checkpoint in, an engine out."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bsmamba2.errors import BsmambaError
from runtime.command import run_command
from runtime.errors import OptionError

DEFAULT_SECONDS = 8.0  # the length the published networks were trained on
DEFAULT_BATCH_MAX = 8

app = typer.Typer(add_completion=False)


@app.command()
def export(
    ckpt: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Checkpoint: official Lightning file, MSST file, safetensors, state_dict; or 'demo'."
        ),
    ],
    config: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Configuration, if not in the checkpoint.")
    ] = None,
    weights: Annotated[str, typer.Option(metavar="raw|ema", help="Which weights of a Lightning file.")] = "raw",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="NAME", help="Engine to write.", show_default="engines/<checkpoint>"),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="STFT frames of a chunk.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a chunk, instead of --frames.", show_default="8")
    ] = None,
    batch_max: Annotated[int, typer.Option(help="Most chunks the engine takes at a time.")] = DEFAULT_BATCH_MAX,
    precision: Annotated[str, typer.Option(metavar="fp32|fp16", help="Types inside the engine.")] = "fp32",
    scan: Annotated[str, typer.Option(metavar="chunked", help="Form of the scan in the graph.")] = "chunked",
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Turn a checkpoint into NAME.onnx and its manifest NAME.json, checked against PyTorch."""
    # PyTorch takes seconds to import: not before the options are known to be readable.
    from bsmamba2.checkpoint import load_checkpoint
    from export.engine import export_engine

    if frames is not None and seconds is not None:
        raise OptionError("--frames and --seconds: give one of them")
    start = time.perf_counter()
    checkpoint = load_checkpoint(ckpt, config, weights)
    stft = checkpoint.config.stft
    if frames is None:
        wanted = DEFAULT_SECONDS if seconds is None else seconds
        if not 0 < wanted <= 600:
            raise OptionError(f"--seconds {wanted}: expected more than 0 and at most 600")
        frames = 1 + round(wanted * stft.sample_rate / stft.hop_length)
    name = output if output is not None else Path("engines") / checkpoint.path.stem
    if name.suffix == ".onnx":
        name = name.with_suffix("")
    if name.name in ("", "..") or name.is_dir():
        raise OptionError(f"-o {output}: is a folder: expected the name of an engine, such as engines/vocals")

    print(f"{ckpt}: {checkpoint.layout} checkpoint, {checkpoint.weights} weights")
    for note in checkpoint.notes:
        print(f"  {note}")
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def report(step: str) -> None:
            if console.is_terminal:
                progress.update(task, description=step)
            else:
                print(f"  {step} ({time.perf_counter() - start:.0f} s)", flush=True)

        done = export_engine(
            checkpoint, name, frames=frames, batch_max=batch_max, precision=precision, scan=scan, report=report
        )

    manifest, parity = done.manifest, done.manifest.parity
    model = manifest.model
    print(
        f"{model.kind}, dim {model.dim}, depth {model.depth}, {model.parameters:,} parameters, "
        f"{'stereo' if model.channels == 2 else 'mono'}, stems {', '.join(model.stems)}"
    )
    print(
        f"{precision}, chunks of {frames} frames ({manifest.chunk_samples / stft.sample_rate:.2f} s), "
        f"batch 1 to {batch_max}"
    )
    snr = "no error" if parity.snr_db is None else f"SNR {parity.snr_db:.0f} dB"
    print(
        f"parity with PyTorch in {parity.executor}: largest error {parity.max_error:.1e} of the peak "
        f"(tolerance {parity.tolerance:.0e}), {snr}"
    )
    size = done.engine.stat().st_size / 1e6
    print(f"wrote {done.engine} ({size:.1f} MB) and {done.manifest_path} in {time.perf_counter() - start:.0f} s")


def main() -> None:
    for package in ("torch", "onnx", "onnx_ir", "onnxscript", "onnxruntime", "safetensors", "yaml"):
        # Found, not imported: PyTorch takes seconds, and --help needs none of them.
        if (package in sys.modules and sys.modules[package] is None) or find_spec(package) is None:
            print(f"bsm-export: {package} is not installed: pip install 'bsmamba2[export]'", file=sys.stderr)
            sys.exit(2)
    run_command(app, "bsm-export", mistakes=(BsmambaError,))


if __name__ == "__main__":
    main()
