"""Runs each contender in a process of its own, within a time limit, and takes what it finds as it comes.

A contender that crashes, hangs or is out of memory does not touch the others, and keeps what it has found until then.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from on_gpu.work import Work

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]
# Of CUDA's driver, Triton, torch.compile and TensorRT-RTX.
CACHES = ("CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "BSM_CACHE")


def ask(
    call: str,
    work: Work,
    log: Path,
    limit: float,
    options: dict[str, Any] | None = None,
    measure: bool = False,
    take: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """What the function `call`, such as "on_gpu.work:prepare", finds in a process of its own.

    The record has `not_run` (why it cannot run here), `failed` (what went wrong) and what was emitted; `points`,
    `parts` and `scans` are lists. It is given to `take` whenever it has grown. `limit` is in seconds; `log` gets what
    the process prints.
    """
    asked = json.dumps({"call": call, "work": work.to_dict(), "options": options or {}, "measure": measure})
    record: dict[str, Any] = {"not_run": None, "failed": None}
    start = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-X", "faulthandler", str(WORKER), asked],
            stdout=subprocess.PIPE,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env=_environment(Path(work.folder) / "caches" / log.stem),
            start_new_session=True,  # so that its own processes end with it
        )
        try:
            lines = _lines(process)
            while (line := _next(lines, start + limit)) is not None:
                with suppress(ValueError):  # a line that a process did not live to end
                    _merge(record, json.loads(line), time.monotonic() - start)
                take(record)
                if record.get("done") or record["not_run"] or record["failed"]:
                    break
            else:
                record["failed"] = _why_it_ended(process, record, limit, start)
        finally:
            _end(process)
    record["seconds"] = time.monotonic() - start
    return record


def _environment(caches: Path) -> dict[str, str]:
    """This one, with our modules. Float32 products keep all their bits in every library (no TF32), and what is compiled
    is kept in `caches`, which is new: a cold start is one."""
    paths = [str(ROOT), str(ROOT / "benchmarks"), *(path for path in sys.path if path)]
    return {
        **os.environ,
        **{name: str(caches / name) for name in CACHES},
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "NVIDIA_TF32_OVERRIDE": "0",
    }


def _lines(process: subprocess.Popen[bytes]) -> queue.Queue[bytes | None]:
    found: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with process.stdout as out:
            for line in out:
                found.put(line)
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found


def _next(lines: queue.Queue[bytes | None], end: float) -> bytes | None:
    """The next line; None at the end of the process or of its time."""
    try:
        return lines.get(timeout=max(0.0, end - time.monotonic()))
    except queue.Empty:
        return None


def _merge(record: dict[str, Any], found: dict[str, Any], seconds: float) -> None:
    if found.pop("first", False):
        record["cold_start_seconds"] = seconds
    for one, several in (("point", "points"), ("parts", "parts"), ("scan", "scans")):
        if one in found:
            record.setdefault(several, []).append(found.pop(one))
    record.update(found)


def _why_it_ended(process: subprocess.Popen[bytes], record: dict[str, Any], limit: float, start: float) -> str:
    stage = f" (at: {record['stage']})" if "stage" in record else ""
    if time.monotonic() - start >= limit:
        return f"no result within {limit:.0f} s{stage}"
    code = process.wait(10)
    if code < 0:
        with suppress(ValueError):
            killed = "; probably out of memory" if code == -signal.SIGKILL else ""
            return f"its process died of {signal.Signals(-code).name}{killed}{stage}"
    return f"its process ended with code {code}{stage}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
