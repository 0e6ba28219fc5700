"""Songs through a real Triton server; its networks run in the Python backend, the only one it has here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from songs import noise
from triton_server import ENVIRONMENT, run_there, stand_in, triton_server

from runtime.serving.triton.container import Container
from runtime.serving.triton.repository import write_repository

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENVIRONMENT.exists(), reason="no Triton server: make triton-server"),
]
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The demo network as two engines, and two songs."""
    made = tmp_path_factory.mktemp("triton")
    for io in ("spectrum", "wave"):
        export = [sys.executable, "-m", "export.cli", "--ckpt", "demo", "--io", io, "--seconds", "3", "-o", made / io]
        subprocess.run(export, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    for number in (1, 2):
        soundfile.write(made / f"song{number}.wav", noise(2, 441000, number).T, 44100, "FLOAT")
    return made


@pytest.fixture(scope="module")
def server(folder) -> Iterator[str]:
    engines = [folder / f"{io}.onnx" for io in ("spectrum", "wave")]
    write_repository(folder / "repository", engines, Container(onnxruntime="1.23.2"))
    stand_in(folder / "repository")
    with triton_server(folder / "repository", folder) as address:
        yield address


def separated(engine: object, number: int, output: Path, *options: str) -> dict[str, np.ndarray]:
    song = output.parent / f"song{number}.wav"
    done = run_there("-m", "runtime.cli", engine, song, "-o", output, *options)
    assert done.returncode == 0, done.stderr
    files = {path.stem.removeprefix(f"song{number}_"): path for path in output.glob(f"song{number}_*.wav")}
    assert sorted(files) == ["instrumental", "vocals"]
    return {stem: soundfile.read(path, dtype="float32")[0] for stem, path in files.items()}


@pytest.mark.parametrize("io", ["spectrum", "wave"])
def test_a_song_alone_is_bit_equal_to_bsm_run_and_two_at_once_nearly(folder, server, io):
    direct = {n: separated(folder / f"{io}.onnx", n, folder / f"{io}-direct{n}", "--threads", "1") for n in (1, 2)}
    there = "--triton-client", server
    alone = separated(io, 1, folder / f"{io}-alone", *there)
    for stem, wave in direct[1].items():
        np.testing.assert_array_equal(alone[stem], wave)

    with ThreadPoolExecutor(2) as pool:
        both = dict(
            zip((1, 2), pool.map(lambda n: separated(io, n, folder / f"{io}-{n}", *there), (1, 2)), strict=True)
        )
    for number, stems in both.items():
        for stem, wave in stems.items():
            assert np.abs(wave - direct[number][stem]).max() <= 1e-6
    batches = [int(line.split()[1]) for line in (folder / "batches.log").read_text().splitlines() if io in line]
    print(f"{io}: batches {batches}")
    assert batches and max(batches) <= 8
    assert "Traceback" not in (folder / "server.log").read_text()


def test_one_line_for_what_is_wrong(folder, server):
    at_server = ["spectrum", "song1.wav", "--triton-client", server]
    for arguments, pattern in (
        (["drums", "song1.wav", "--triton-client", server], "drums.*loaded"),
        (["spectrum_network", "song1.wav", "--triton-client", server], "takes no songs"),
        (["spectrum", "song1.wav", "--triton-client", "127.0.0.1:9"], "127.0.0.1:9: .*gRPC port"),
        ([*at_server, "--overlap", "0.5"], "--overlap: is chosen at the server"),
        ([*at_server, "--stems", "drums"], "vocals, instrumental"),
    ):
        engine, name, *options = arguments
        done = run_there("-m", "runtime.cli", engine, folder / name, "-o", folder / "wrong", *options)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert re.search(pattern, done.stderr)
        assert not (folder / "wrong").exists()
