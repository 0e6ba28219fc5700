"""Debian's Chromium, driven by playwright-core."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
