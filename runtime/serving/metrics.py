"""What Prometheus reads, in its text form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runtime.serving.jobs import STATES, Store

TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Counts:
    """What has happened since the server started."""

    finished: Counter[str] = field(default_factory=Counter)  # jobs, by state
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by method and status
    song_seconds: float = 0.0  # of separated songs
    work_seconds: float = 0.0  # that separating them took
    upload_bytes: int = 0
    deaths: int = 0  # of workers

    def text(self, store: Store, workers: int, streams: int) -> str:
        jobs = [(f'state="{state}"', store.count(state)) for state in STATES]
        finished = [(f'state="{state}"', number) for state, number in sorted(self.finished.items())]
        requests = [(f'method="{method}",status="{code}"', n) for (method, code), n in sorted(self.requests.items())]
        lines = [
            *_metric("bsm_jobs", "gauge", "Jobs, by state.", jobs),
            *_metric("bsm_jobs_finished_total", "counter", "Jobs that ended, by how.", finished),
            *_metric("bsm_requests_total", "counter", "Requests, by method and status.", requests),
            *_metric("bsm_song_seconds_total", "counter", "Length of separated songs.", [("", self.song_seconds)]),
            *_metric("bsm_work_seconds_total", "counter", "Time spent on them.", [("", self.work_seconds)]),
            *_metric("bsm_upload_bytes_total", "counter", "Bytes received of songs.", [("", self.upload_bytes)]),
            *_metric("bsm_worker_deaths_total", "counter", "Workers that died at work.", [("", self.deaths)]),
            *_metric("bsm_workers", "gauge", "Songs separated at a time.", [("", workers)]),
            *_metric("bsm_event_streams", "gauge", "Open streams of events.", [("", streams)]),
        ]
        memory = _memory()
        if memory is not None:
            lines += _metric("process_resident_memory_bytes", "gauge", "Of the server.", [("", memory)])
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, said: str, values: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {said}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{{{labels}}} {value:.17g}" if labels else f"{name} {value:.17g}"


def _memory() -> int | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(lines[0].split()[1]) * 1024 if lines else None
