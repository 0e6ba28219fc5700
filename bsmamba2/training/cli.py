"""`bsm-train`: songs with known stems to a trained network."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from bsmamba2.errors import BsmambaError

INTERRUPTED = 130
# Remarks of Lightning about itself, about how it is called here, and about files of the run it continues.
LIGHTNING_SAYS = (".*LeafSpec", "Checkpoint directory", ".*does not have many workers", ".*logging interval")

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

CONFIG = "A yaml file, or the name of a recipe: bsmamba2, bs_roformer (the paper's networks), demo, demo_roformer."
DATA = (
    "Folder of songs: train/<song>/ and valid/<song>/, each with a sound file per stem (vocals.wav, ...). May be given "
    "several times: folders are sampled equally; validation uses the first."
)
OUTPUT = "Output folder for checkpoints, weights and logs."
COMPILE = "Compile the network's blocks with torch.compile: slow to start, then faster."


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"bsm-train {version('bsmamba2')}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[str, typer.Option(metavar="NAME|YAML", help=CONFIG)],
    data: Annotated[list[Path], typer.Option(metavar="DIR", help=DATA)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help=OUTPUT)],
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in the output folder.")] = False,
    epochs: Annotated[
        int | None, typer.Option(help="Number of epochs.", show_default="the configuration's", min=1)
    ] = None,
    accelerator: Annotated[str, typer.Option(metavar="auto|cpu|gpu", help="Hardware to train on.")] = "auto",
    devices: Annotated[int, typer.Option(help="Devices per node.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Machines, each running this command.", min=1)] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default="PyTorch's", min=1)] = None,
    workers: Annotated[int, typer.Option(help="Processes that read songs.", min=0)] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help=COMPILE)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train a network. If interrupted, at most the current epoch is lost."""
    try:
        import torch

        from bsmamba2.training.run import Machine
        from bsmamba2.training.run import train as run
    except ImportError as error:
        raise BsmambaError(f"{error.name} is not installed: pip install 'bsmamba2[train]'") from error
    from bsmamba2.training.settings import read_settings

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # importing Lightning has set another one
    settings = read_settings(config)
    if epochs is not None:
        settings = replace(settings, training=replace(settings.training, epochs=epochs))
    if threads is not None:
        torch.set_num_threads(threads)
    weights = run(settings, data, output, Machine(accelerator, devices, nodes, workers, compiled), resume)
    print(f"wrote {weights} (averaged weights) and {output / 'last.ckpt'} (raw weights, and the state for --resume)")


def main() -> None:
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(args: list[str]) -> int:
    """0, 2 for a user's error (options, configuration, songs, disk), 130 for Ctrl-C, 1 for an internal error."""
    debug = "--debug" in args
    for message in LIGHTNING_SAYS:
        warnings.filterwarnings("ignore", message=message)
    try:
        result = get_command(app).main(args=args, prog_name="bsm-train", standalone_mode=False)
        if result == INTERRUPTED:  # typer has turned Ctrl-C into this exit code
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        print("bsm-train: stopped; --resume continues from the last completed epoch", file=sys.stderr)
        return INTERRUPTED
    except typer.TyperException as error:  # an unknown option, a missing argument
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        print(f"bsm-train: {message.rstrip('.')} (see bsm-train --help)", file=sys.stderr)
        return 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        message, code = _in_words(error)
        print(f"bsm-train: {message}", file=sys.stderr)
        return code
    return 0


def _in_words(error: Exception) -> tuple[str, int]:
    """One line about an error, and the exit code: 2 for a user's, 1 for an internal one."""
    if isinstance(error, BsmambaError):
        return str(error), 2
    if isinstance(error, OSError):
        return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part is not None), 2
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return f"internal error, please report it: {type(error).__name__}: {first} (--debug shows a traceback)", 1


if __name__ == "__main__":
    main()
