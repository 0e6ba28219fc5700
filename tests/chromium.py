"""Debian's Chromium, driven by playwright-core, and the service that its page is of, as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "build" / "browser" / "node_modules"  # as `make browser` puts them there


class Browser:
    """One page; each method is a command of chromium.mjs, and fails as a test does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __getattr__(self, command: str) -> Any:
        def ask(**options: object) -> Any:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps({"command": command, **options}, default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            assert line, "the browser has ended"
            answer = json.loads(line)
            assert "error" not in answer, f"{command} {options}: {answer['error']} {answer['told']}"
            return answer["value"]

        return ask

    def waits_for(self, code: str, timeout: float = 20.0) -> None:
        """Until the JavaScript expression `code` is true; `timeout` in seconds."""
        self.wait(code=code, timeout=1000 * timeout)

    def value(self, code: str) -> Any:
        """Of a JavaScript expression."""
        return self.evaluate(code=code)


@contextmanager
def browsing() -> Iterator[Browser]:
    if not MODULES.exists() and not os.environ.get("CI"):
        pytest.skip(f"no {MODULES.relative_to(ROOT)}: fetch it with make browser")
    assert MODULES.exists(), f"{MODULES}: make browser did not fetch it"
    command = ["node", str(Path(__file__).with_name("chromium.mjs")), str(MODULES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Browser(process)
        finally:
            assert process.stdin
            process.stdin.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


class Service:
    """`bsm-serve` with `options`, which keeps its songs in `folder`; started again, it has the same port."""

    def __init__(self, folder: Path, *options: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        data = ["--port", str(self.port), "--data", str(folder / "data"), "--threads", "1"]
        self.command = [sys.executable, "-m", "runtime.serving.cli", *map(str, options), *data]
        self.log = folder / "log"
        self.url = f"http://127.0.0.1:{self.port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path_of_python()}
            )
        end = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}health", timeout=1):
                    return
            except OSError:
                assert self._process.poll() is None and time.monotonic() < end, self.log.read_text()
                time.sleep(0.1)

    def kill(self) -> None:
        """As a machine that fails: no process of it gets to say anything."""
        self.signal_workers(signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        self.signal_workers(signal.SIGCONT)
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def signal_workers(self, number: int) -> None:
        """Send a signal to every process that the server has started."""
        if self._process is not None:
            for pid in descendants(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def path_of_python() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def descendants(pid: int) -> list[int]:
    """Processes below process `pid`, by Linux's /proc."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *descendants(child)]
    return found
