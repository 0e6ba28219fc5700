"""A server under load: clients that send whole, hostile and cancelled songs at the same time.

    python benchmarks/serve.py ENGINE [--clients 20] [--songs 200] [--seconds 2] [--workers 2] [--whole]

A bsm-serve of its own is started in a temporary folder. Of ten songs seven are whole, one is cancelled as it waits or
works, and two are hostile: text called song.wav, an hour of silence; with --whole all are whole. Printed:

- what became of the songs: each must end as it should, the stems of whole ones with all of their samples;
- latency, of short answers (state of a job, list of jobs, cancelling) and of sending a song, which includes reading it;
- memory of the server, after a tenth of the songs and in the end;
- files that are left when all jobs are removed: none but the lock.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import soundfile

RATE = 44100  # Hz
KINDS = ("whole", "whole", "text", "whole", "cancelled", "whole", "whole", "silence", "whole", "whole")
POLL = 0.2  # s


class Load:
    """What the clients do, and what they measured."""

    def __init__(self, http: httpx.AsyncClient, song: bytes, silence: bytes, samples: int) -> None:
        self.http, self.samples = http, samples
        self.content = {"whole": song, "cancelled": song, "text": b"no song " * 1000, "silence": silence}
        self.ended: Counter[str] = Counter()
        self.short: list[float] = []  # s
        self.sending: list[float] = []  # s
        self.refused = 0  # answers 429
        self.memory: list[int] = []  # bytes

    async def timed(self, method: str, path: str, **options: object) -> httpx.Response:
        start = time.perf_counter()
        answer = await self.http.request(method, path, **options)  # type: ignore[arg-type]
        (self.sending if method == "POST" else self.short).append(time.perf_counter() - start)
        return answer

    async def client(self, kinds: list[str]) -> None:
        for number, kind in enumerate(kinds):
            self.ended[await self.song(kind, number)] += 1
            text = (await self.http.get("/metrics")).text
            self.memory.append(int(text.rsplit("process_resident_memory_bytes ", 1)[1].split()[0]))

    async def song(self, kind: str, number: int) -> str:
        file = {"file": ("song.wav", self.content[kind])}
        while (answer := await self.timed("POST", "/api/jobs", files=file, data={"format": "flac"})).status_code == 429:
            self.refused += 1
            await asyncio.sleep(min(1.0, float(answer.headers["retry-after"])))
        if kind in ("text", "silence"):
            expected = 415 if kind == "text" else 413
            return kind if answer.status_code == expected else f"{kind}: {answer.status_code}"
        if answer.status_code != 202:
            return f"{kind}: {answer.status_code}"
        path = f"/api/jobs/{answer.json()['id']}"
        if kind == "cancelled":
            await asyncio.sleep(0.3 * (number % 4))
            await self.timed("DELETE", path)
            state = (await self.timed("GET", path)).json().get("state", "removed")
            return kind if state in ("cancelled", "removed") else f"{kind}: {state}"  # removed: it was done already
        while (job := (await self.timed("GET", path)).json())["state"] in ("waiting", "working"):
            await asyncio.sleep(POLL)
            if number % 5 == 0:
                await self.timed("GET", "/api/jobs")
        if job["state"] != "done":
            return f"{kind}: {job['state']}: {job['error']}"
        for stem in job["stems"]:
            content = (await self.http.get(stem["url"])).content
            if soundfile.info(io.BytesIO(content)).frames != self.samples:
                return f"{kind}: a stem of another length"
        return kind


def sound(samples: np.ndarray, rate: int, form: str, subtype: str) -> bytes:
    made = io.BytesIO()
    with soundfile.SoundFile(made, "w", rate, samples.shape[1], format=form, subtype=subtype) as file:
        for first in range(0, len(samples), 1 << 14):
            file.write(samples[first : first + (1 << 14)])
    return made.getvalue()


async def run(load: Load, clients: int, songs: int, mix: tuple[str, ...]) -> float:
    kinds = list(itertools.islice(itertools.cycle(mix), songs))
    random.Random(0).shuffle(kinds)  # noqa: S311
    start = time.perf_counter()
    await asyncio.gather(*(load.client(kinds[number::clients]) for number in range(clients)))
    took = time.perf_counter() - start
    for job in (await load.http.get("/api/jobs")).json()["jobs"]:
        await load.http.delete(f"/api/jobs/{job['id']}")
    return took


def show(name: str, times: list[float]) -> None:
    quantiles = ", ".join(f"p{q} {1000 * np.quantile(times, q / 100):.0f} ms" for q in (50, 95, 99))
    print(f"{name}: {len(times)} answers, {quantiles}, longest {1000 * max(times):.0f} ms")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("engine", type=Path)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--songs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--whole", action="store_true")
    args = parser.parse_args()
    samples = int(args.seconds * RATE)
    song = sound(np.random.default_rng(0).uniform(-0.5, 0.5, (samples, 2)), RATE, "WAV", "PCM_16")
    silence = sound(np.zeros((3600 * 8000, 1), np.int16), 8000, "FLAC", "PCM_16")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        options = ["--port", "0", "--data", str(data), "--workers", str(args.workers), "--queue", "15"]
        command = [sys.executable, "-m", "runtime.serve_cli", str(args.engine), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101
            url = process.stdout.readline().split(" at ")[1].split()[0]
            limits = httpx.Limits(max_connections=2 * args.clients)
            async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, limits=limits) as http:
                load = Load(http, song, silence, samples)
                took = await run(load, args.clients, args.songs, ("whole",) if args.whole else KINDS)
            left = sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())
        finally:
            process.terminate()
            process.wait()
    print(f"{os.cpu_count()} cores, {args.workers} workers, {args.clients} clients; {args.songs} songs in {took:.0f} s")
    whole = load.ended["whole"] * args.seconds
    print(f"{whole:.0f} s of whole songs, {whole / took:.1f} times real time")
    print("ended:", ", ".join(f"{name} {count}" for name, count in sorted(load.ended.items())))
    print(f"answers 429: {load.refused}")
    show("short answers", load.short)
    show("sending a song", load.sending)
    early = load.memory[len(load.memory) // 10]
    print(f"memory: {early / 1e6:.0f} MB after a tenth, {load.memory[-1] / 1e6:.0f} MB in the end")
    print("left:", ", ".join(left))


if __name__ == "__main__":
    asyncio.run(main())
