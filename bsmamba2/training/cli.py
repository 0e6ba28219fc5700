"""`bsm-train`: songs with known stems to a trained network."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bsmamba2.errors import BsmambaError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CONFIG = "A yaml file, or the name of a recipe: bsmamba2, bs_roformer (the paper's), demo, demo_roformer."
DATA = "Folder with train/<song>/ and valid/<song>/. Several are drawn from equally often; the first validates."
COMPILE = "torch.compile the dual path: takes minutes at first."


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
) -> None:
    """Train a network. Ctrl-C or worse loses at most the epoch it was in."""
    try:
        import torch

        from bsmamba2.training.run import Machine
        from bsmamba2.training.run import train as run
    except ImportError as error:
        raise BsmambaError(f"{error.name} is not installed: pip install 'bsmamba2[train]'") from error
    from bsmamba2.training.settings import read_settings

    settings = read_settings(config)
    if epochs is not None:
        settings = replace(settings, training=replace(settings.training, epochs=epochs))
    if threads is not None:
        torch.set_num_threads(threads)
    weights = run(settings, data, output, Machine(accelerator, devices, nodes, workers, compiled), resume)
    print(f"wrote {weights}, the averaged weights; raw ones and all that --resume needs are in {output / 'last.ckpt'}")


def main() -> None:
    try:
        app(prog_name="bsm-train")
    except (BsmambaError, OSError) as error:
        print(f"bsm-train: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
