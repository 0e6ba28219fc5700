"""What `bsm-export` prints: the steps while it works, and what was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from export.files import Exported
from runtime.engine.info import IOS, gpus_of, memory_of, network_name
from runtime.engine.stems import stems_of
from runtime.serving.triton.repository import Served


@contextmanager
def reporting(start: float) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
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


def tell_written(done: Exported, start: float, rebuilt: bool = False) -> None:
    """Print what was written."""
    manifest, parity = done.manifest, done.manifest.parity
    model, frames, batch = manifest.model, manifest.frames, manifest.batch
    sizes = f"batch {batch.min}" if batch.min == batch.max else f"batch {batch.min} to {batch.max}"
    length = f"{frames.opt}" if frames.min == frames.max else f"{frames.min} to {frames.max} (best {frames.opt})"
    print(
        f"{network_name(model)}, dim {model.dim}, depth {model.depth}, {model.parameters:,} parameters, "
        f"{'stereo' if model.channels == 2 else 'mono'}, stems {', '.join(model.stems)}"
    )
    print(
        f"{manifest.precision}, chunks of {length} frames "
        f"({manifest.chunk_samples / manifest.stft.sample_rate:.2f} s), {sizes}, {IOS[manifest.io]}"
    )
    snr = "no error" if parity.snr_db is None else f"SNR {parity.snr_db:.0f} dB"
    print(
        f"parity with PyTorch in {parity.executor}: largest error {parity.max_error:.1e} of the peak "
        f"(tolerance {parity.tolerance:.0e}), {snr}"
    )
    wrote = [] if rebuilt else [f"{done.engine} ({done.engine.stat().st_size / 1e6:.1f} MB)"]
    if manifest.plan is not None and done.plan is not None:
        plan = manifest.plan
        later = f", also in later {plan.version.split('.')[0]} and in tensorrt-lean" if plan.version_compatible else ""
        print(f"plan: {plan.flavour} {plan.version}, for {gpus_of(plan)}{later}")
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


def tell_served(folder: Path, served: list[Served], notes: list[str]) -> None:
    """Print what a model repository holds."""
    for each in notes:
        print(f"note: {each}")
    for one in served:
        runs = "TensorRT" if one.engine.suffix.lower() == ".plan" else "ONNX Runtime"
        print(f"{one.name}: {', '.join(stems_of(one.manifest))}; {one.engine.name} runs in {runs}")
    print(f"wrote {folder}: tritonserver --model-repository {folder.absolute()}")
