"""A bsm-serve in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
WATCH = Path(__file__).with_name("watched")  # a sitecustomize.py that writes down what a process opens and connects to
TOKEN = "0123456789abcdef-secret"
PATIENCE = 60.0  # s


@dataclass
class Served:
    """A running server."""

    folder: Path  # the current folder of the process; data, tmp and log are below it
    process: subprocess.Popen[bytes]
    url: str
    http: httpx.Client
    done: str = ""  # the id of a job that is done, for those who look for one

    def send(self, song: Path | tuple[str, bytes], **fields: str) -> httpx.Response:
        name, content = (song.name, song.read_bytes()) if isinstance(song, Path) else song
        return self.http.post("/api/jobs", files={"file": (name, content)}, data=fields)

    def sent(self, song: Path | tuple[str, bytes], **fields: str) -> str:
        answer = self.send(song, **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def job(self, name: str) -> dict:
        answer = self.http.get(f"/api/jobs/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, name: str, *states: str) -> dict:
        """The job, once it has one of the states."""
        end = time.monotonic() + PATIENCE
        while (job := self.job(name))["state"] not in states:
            assert job["state"] not in ("done", "failed", "cancelled"), job
            assert time.monotonic() < end, job
            time.sleep(0.03)
        return job

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def children(self) -> list[int]:
        """Its worker processes, the eldest first."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()  # each of which has those that it started
        found = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        return sorted(int(pid) for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def files(self) -> list[str]:
        """All in its data folder."""
        return sorted(str(path.relative_to(self.data)) for path in self.data.rglob("*") if path.is_file())


def start(engine: Path, folder: Path, *arguments: str, token: str | None = None) -> Served:
    """A server in `folder`, which may have served before."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    given = {"PYTHONPATH": os.pathsep.join([str(WATCH), str(ROOT), os.environ.get("PYTHONPATH", "")])}
    given |= {"TMPDIR": str(folder / "tmp"), "WATCHED": str(folder / "watched"), "OMP_NUM_THREADS": "1"}
    given |= {} if token is None else {"BSM_SERVE_TOKEN": token}
    command = [sys.executable, "-m", "runtime.serve_cli", str(engine), "--port", "0", "--data", "data", *arguments]
    with (folder / "log").open("ab") as log:
        begin = log.tell()
        process = subprocess.Popen(command, cwd=folder, env=os.environ | given, stdout=log, stderr=log)
    end = time.monotonic() + PATIENCE
    while "http://" not in (said := (folder / "log").read_text()[begin:]):
        assert process.poll() is None and time.monotonic() < end, said
        time.sleep(0.03)
    url = said[said.index("http://") :].split()[0].rstrip("/:")
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return Served(folder, process, url, httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False))
