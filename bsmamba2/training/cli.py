"""`bsm-train`: songs with known stems to a trained network."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from bsmamba2.errors import BsmambaError

INTERRUPTED = 130
# What Lightning says of itself, of how it is called here, and of what it finds in a folder one goes on in.
LIGHTNING_SAYS = (".*LeafSpec", "Checkpoint directory", ".*does not have many workers", ".*logging interval")

app = typer.Typer(add_completion=False)

CONFIG = "A yaml file, or the name of a recipe: bsmamba2, bs_roformer (the paper's), demo, demo_roformer."
DATA = "Folder with train/<song>/ and valid/<song>/. Several are drawn from equally often; the first validates."
COMPILE = "torch.compile the dual path: takes minutes at first."


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"bsm-train {version('bsmamba2')}")
        raise typer.Exit


@app.command()
def train(
    config: Annotated[str, typer.Option(metavar="NAME|YAML", help=CONFIG)],
    data: Annotated[list[Path], typer.Option(metavar="DIR", help=DATA)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Gets checkpoints, weights and logs.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last epoch in the output folder.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Instead of the configuration's.", min=1)] = None,
    accelerator: Annotated[str, typer.Option(metavar="auto|cpu|gpu", help="What trains.")] = "auto",
    devices: Annotated[int, typer.Option(help="How many of them on each node.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Machines, each running this command.", min=1)] = 1,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", show_default="one a core", min=1)] = None,
    workers: Annotated[int, typer.Option(help="Processes that read songs.", min=0)] = 2,
    compiled: Annotated[bool, typer.Option("--compile", help=COMPILE)] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and do nothing.")
    ] = False,
) -> None:
    """Train a network. Ctrl-C or worse loses at most the epoch it was in."""
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
    print(f"wrote {weights}, the averaged weights; raw ones and all that --resume needs are in {output / 'last.ckpt'}")


def main() -> None:
    sys.exit(exit_code(sys.argv[1:]))


def exit_code(args: list[str]) -> int:
    """0, 2 for a mistake in the options, the configuration or the songs, 130 for Ctrl-C."""
    for message in LIGHTNING_SAYS:
        warnings.filterwarnings("ignore", message=message)
    try:
        result = get_command(app).main(args=args, prog_name="bsm-train", standalone_mode=False)
        if result == INTERRUPTED:  # typer has turned Ctrl-C into this exit code
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        print("bsm-train: stopped; --resume goes on from the last whole epoch", file=sys.stderr)
        return INTERRUPTED
    except typer.TyperException as error:  # an unknown option, a missing argument
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        print(f"bsm-train: {message.rstrip('.')} (see bsm-train --help)", file=sys.stderr)
        return 2
    except BsmambaError as error:
        print(f"bsm-train: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"bsm-train: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    main()
