"""Every way to run a network on an NVIDIA GPU, measured: parity, latency, memory, cold start, share of the GPU's limit.

    python benchmarks/gpu.py [--minutes 25] [--quick] [--kind mamba2] [--depth N] [--batch 1,4,8] [--only WORD ...]

Needs PyTorch for CUDA and NumPy; what needs more is named as not run, with the reason. Contenders run one after the
other, the most valuable first, each in a process of its own, until the minutes are over. Writes gpu.json, which grows
as they finish, and gpu.html into --out. `--rehearse` runs what a CPU can run of it, with a tiny network, to check this
program. Exit code 0: all that could run has run; 1: something failed, hung or computes something else; 2: a mistake in
the command. docs/bench.md has more.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from on_gpu.contenders import TORCH, Contender, Step, contenders  # noqa: E402 - found through the line above
from on_gpu.machine import Machine  # noqa: E402
from on_gpu.page import as_html  # noqa: E402
from on_gpu.parent import ask  # noqa: E402
from on_gpu.results import Results, state  # noqa: E402
from on_gpu.text import COLUMNS, line, new_lines  # noqa: E402
from on_gpu.work import Work  # noqa: E402

FOR_DRIFT, LEAST = 45.0, 20.0  # seconds kept for the last measurement; and those without which none is begun
TINY: dict[str, Any] = {"dim": 32, "depth": 1, "headdim": 16, "d_state": 16}
NO_TIME = "no time left: give more --minutes"


class Run:
    """One run of this program: its time, its files, and the steps that are done."""

    def __init__(self, out: Path, work: Work, minutes: float, chosen: list[Contender]) -> None:
        self._end = time.monotonic() + 60 * minutes
        self._logs = out / "logs"
        self._work, self._chosen = work, chosen
        self._steps: dict[str, dict[str, Any]] = {}
        self.results = Results(out / "gpu.json", work, self._machine(), shlex.join(["python", *sys.argv]))

    def _ask(self, call: str, name: str, limit: float, **more: Any) -> dict[str, Any]:
        log = self._logs / f"{''.join(each if each.isalnum() else '-' for each in name)}.log"
        return ask(call, more.pop("work", self._work), log, limit, **more)

    def _machine(self) -> Machine:
        print("looking at this machine", file=sys.stderr)
        found = self._ask("on_gpu.machine:find", "machine", 180)
        if "machine" not in found:
            raise SystemExit(f"gpu.py: this machine cannot be described ({found['failed']}): see {self._logs}")
        return Machine.of(found["machine"])

    def all(self) -> None:
        why_none = (
            "" if self._work.device == "cpu" else self.results.machine.why_no_gpu * (not self.results.machine.gpu)
        )
        self._tell_network()
        if not why_none:
            self._prepare()
        print(line("contender", COLUMNS))
        for contender in self._chosen:
            self._measure(contender)
        if not why_none:
            self._drift()

    def _tell_network(self) -> None:
        counted = self._ask("on_gpu.counting:count", "work of the network", 180)
        self.results.parts = counted.get("parts", [])
        if counted["failed"]:
            print(f"the work of the network was not counted: {counted['failed']}", file=sys.stderr)
        self.results.network = {"seconds": self._work.seconds, "not_counted": counted["failed"]}
        self.results.write()

    def _prepare(self) -> None:
        print("preparing: inputs, what the GPU does alone, PyTorch's stems in float32", file=sys.stderr)
        prepared = self._ask("on_gpu.work:prepare", "inputs", 300)
        if prepared["failed"]:
            raise SystemExit(f"gpu.py: no inputs ({prepared['failed']}): see {self._logs}")
        self.results.network["parameters"] = prepared["parameters"]
        why_not = self.results.machine.why_no_torch_cuda if self._work.device == "cuda" else ""
        if self._work.device == "cuda" and not why_not:
            self.results.chip = self._ask("on_gpu.chip:measure", "the GPU alone", 90).get("chip")
        made = {"not_run": why_not, "failed": None} if why_not else self._ask("on_gpu.work:reference", "stems", 300)
        self.results.reference = {name: made.get(name) for name in ("not_run", "failed", "executor", "seconds")}
        self.results.write()

    def _measure(self, contender: Contender) -> None:
        why_not = contender.why_not(self.results.machine, self._work.config.kind)
        failed: str | None = None
        for step in () if why_not else contender.steps:
            if not (why_not or failed):
                why_not, failed = self._do(step)
        if not (why_not or failed) and self._left() < LEAST:
            why_not = NO_TIME
        record = {"not_run": why_not or None, "failed": failed}
        shown = 0

        def take(record: dict[str, Any]) -> None:
            nonlocal shown
            shown = self._show(contender, record, shown)

        if not (why_not or failed):
            limit = min(contender.limit, self._left())
            options = {"options": contender.options, "measure": contender.group == "network"}
            record = self._ask(contender.call, contender.name, limit, take=take, **options)
            if (record["failed"] or "").startswith("no result") and limit < contender.limit:
                record["failed"], record["not_run"] = None, f"{NO_TIME} ({record['failed']})"
        take(record)
        for name in ("not_run", "failed"):
            if record[name]:
                print(f"{contender.name}: {name.replace('_', ' ')}: {record[name]}", flush=True)

    def _do(self, step: Step) -> tuple[str | None, str | None]:
        """Why a step cannot be done here, and how it failed."""
        if step.name not in self._steps:
            if self._left() < LEAST:
                return NO_TIME, None
            print(f"making the {step.name}", file=sys.stderr)
            limit = min(step.limit, self._left())
            self._steps[step.name] = self._ask(step.call, step.name, limit, options=step.options)
        done = self._steps[step.name]
        return done["not_run"], done["failed"] and f"{step.name}: {done['failed']}"

    def _show(self, contender: Contender, record: dict[str, Any], shown: int) -> int:
        """Keep the record and print its new rows. Returns how many it has."""
        steps = {step.name: self._steps[step.name]["seconds"] for step in contender.steps if step.name in self._steps}
        kept = self.results.put(contender, {**record, "step_seconds": steps})
        for each in new_lines(kept, shown):
            print(each, flush=True)
        return len(kept["points"]) + len(kept["scans"])

    def _left(self) -> float:
        return self._end - FOR_DRIFT - time.monotonic()

    def _drift(self) -> None:
        """Measure the first PyTorch contender again: a GPU that has become warm is slower."""
        before = next((each for each in self._chosen if each.call == TORCH and self._points(each)), None)
        if before is None:
            return
        point = self._points(before)[0]
        work = Work.of({**self._work.to_dict(), "batches": [point["batch"]]})
        again = self._ask(before.call, "drift", 120, options=before.options, measure=True, work=work)
        if again.get("points") and not again["points"][0]["not_run"]:
            first, last = point["latency"]["median"], again["points"][0]["latency"]["median"]
            self.results.drift = {"name": before.name, "batch": point["batch"], "first": first, "last": last}
            print(f"{before.name} again at the end: {last / first:.2f} times its first latency")
        self.results.write()

    def _points(self, contender: Contender) -> list[dict[str, Any]]:
        found = (each["points"] for each in self.results.contenders if each["name"] == contender.name)
        return [point for point in next(found, []) if not point["not_run"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25, help="for all of it (25)")
    parser.add_argument("--quick", action="store_true", help="one layer, batch 1 and 2, 5 rounds")
    parser.add_argument("--kind", default="mamba2", help="one of benchmarks/networks.py (mamba2)")
    parser.add_argument("--depth", type=int, help="layers (those of the kind)")
    parser.add_argument("--batch", default="1,4,8", help="batch sizes (1,4,8)")
    parser.add_argument("--rounds", type=int, default=20, help="timed runs of each (20)")
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", default=[], help="contenders with one of these in the name"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "engines" / "gpu", help="folder to write to (engines/gpu)")
    parser.add_argument("--keep", action="store_true", help="keep the inputs and engines, gigabytes, in OUT/work")
    parser.add_argument("--rehearse", action="store_true", help="what a CPU can run, with a tiny network")
    args = parser.parse_args()
    folder = args.out / "work"
    work = _work(args, folder, parser)
    wanted = [word.lower() for word in args.only]
    chosen = [
        each
        for each in contenders(work.device)
        if not wanted or any(word in f"{each.name}, {each.group}".lower() for word in wanted)
    ]
    if not chosen:
        parser.error(f"--only {' '.join(args.only)}: no contender has this in its name")
    try:
        for each in (folder, args.out / "logs"):
            shutil.rmtree(each, ignore_errors=True)
            each.mkdir(parents=True)
    except OSError as error:
        parser.error(f"--out {args.out}: cannot be written ({error.strerror}): give another folder")
    run = Run(args.out, work, args.minutes, chosen)
    try:
        run.all()
    except KeyboardInterrupt:
        print("gpu.py: stopped", file=sys.stderr)
        return 130
    finally:
        page = args.out / "gpu.html"
        page.write_text(as_html(run.results))
        print(f"wrote {run.results.path} and {page}")
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(state(each) in ("failed", "wrong") for each in run.results.contenders) else 0


def _work(args: argparse.Namespace, folder: Path, parser: argparse.ArgumentParser) -> Work:
    try:
        from networks import NETWORKS
    except ImportError as error:
        parser.error(f"PyTorch cannot be imported ({error}): pip install torch")
    if args.kind not in NETWORKS:
        parser.error(f"--kind {args.kind}: must be one of {', '.join(NETWORKS)}")
    try:
        batches = sorted({int(each) for each in args.batch.split(",")})
    except ValueError:
        batches = [0]
    for option, value in (("--batch", min(batches)), ("--rounds", args.rounds), ("--minutes", args.minutes)):
        if value <= 0:
            parser.error(f"{option}: must be above 0; several batch sizes as in 1,4,8")
    sizes = {} if args.depth is None else {"depth": args.depth}
    frames = NETWORKS[args.kind][1]
    if args.quick:
        sizes, batches, args.rounds = {"depth": 1, **sizes}, [1, 2], 5
    if args.rehearse:
        sizes, batches, args.rounds, frames = {**TINY, **sizes}, [1, 2], 3, 101
    work = Work(str(folder), args.kind, sizes, frames, tuple(batches), args.rounds, "cpu" if args.rehearse else "cuda")
    try:
        work.config  # noqa: B018 - checks the sizes
    except Exception as error:  # sizes that do not go together, or a package that this kind needs
        parser.error(f"--kind {args.kind}: {error}")
    return work


if __name__ == "__main__":
    sys.exit(main())
