"""The programs of docs/embedding.md give what the runtime gives, on ONNX Runtime in C++, in Node and on the Web."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from halving import halving_engine
from tiny import FRAMES, TINY, tiny_checkpoint

from export.engine import export_engine
from runtime import open_separator

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "docs" / "embedding"
FETCHED = ROOT / "build" / "embedding"
# As make embedding puts them there.
HEADERS = FETCHED / "headers" / "usr" / "include" / "onnxruntime"
WEB = FETCHED / "node_modules"
RATE = 44100
FRAMES_OF_HALVES = 23  # three quarters of its 9702 samples are 7276.5


def test_the_page_quotes_the_programs():
    page = (ROOT / "docs" / "embedding.md").read_text()
    for name, language in (("separate.cpp", "cpp"), ("separate.mjs", "js")):
        assert f"```{language}\n{(PROGRAMS / name).read_text()}```\n" in page, name


def fetched(path: Path) -> Path:
    if not path.exists() and not os.environ.get("CI"):
        pytest.skip(f"no {path.relative_to(ROOT)}: fetch it with make embedding")
    assert path.exists(), f"{path}: make embedding did not fetch it"
    return path


def cpp(folder: Path) -> list[str]:
    """The program in C++, compiled, with the library that is in Python's onnxruntime."""
    headers, program = fetched(HEADERS), folder / "separate"
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(library)
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-rpath,{folder}", "-isystem", str(headers)]
    subprocess.run(["g++", *options, str(PROGRAMS / "separate.cpp"), "-o", str(program), str(library)], check=True)
    return [str(program)]


def javascript(folder: Path) -> list[str]:
    (folder / "node_modules").symlink_to(fetched(WEB))
    return ["node", shutil.copy(PROGRAMS / "separate.mjs", folder)]


def javascript_native(folder: Path) -> list[str]:
    """The same program with ONNX Runtime's own library instead of WebAssembly, as the page says."""
    fetched(WEB / "onnxruntime-node")
    *node, program = javascript(folder)
    text = Path(program).read_text()
    assert text.count("from 'onnxruntime-web'") == 1
    Path(program).write_text(text.replace("from 'onnxruntime-web'", "from 'onnxruntime-node'"))
    return [*node, program]


LANGUAGES = {"C++": (cpp, "g++"), "JavaScript": (javascript, "node"), "Node": (javascript_native, "node")}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.needs(LANGUAGES[name][1])) for name in LANGUAGES]
)
def program(request, tmp_path_factory) -> list[str]:
    make, _ = LANGUAGES[request.param]
    return make(tmp_path_factory.mktemp("program"))


def said(program: list[str], *args: object) -> str:
    done = subprocess.run([*program, *map(str, args)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def separated(program: list[str], engine: Path, stem: int, song: np.ndarray, folder: Path) -> np.ndarray:
    """A stem of `song` [c, samples] by a program, [c, samples]."""
    song.T.astype("<f4").tofile(folder / "song.f32")
    files = [folder / "song.f32", folder / "stem.f32"]
    done = subprocess.run([*program, engine, str(stem), *files], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return np.fromfile(files[1], "<f4").reshape(song.T.shape).T


def song_of(samples: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (channels, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> Path:
    """An engine of two stems, each with gains of its own over a chunk: chunks differ where they overlap."""
    chunk = 441 * (FRAMES_OF_HALVES - 1)
    assert (0.75 * chunk) % 2 == 0.5  # half to even is not half up
    gain = np.random.default_rng(1).uniform(0, 1, (2, 1, chunk))
    path = tmp_path_factory.mktemp("halves") / "halves.onnx"
    return halving_engine(path, gain, stems=("vocals", "drums"), frames=FRAMES_OF_HALVES, io="wave")


@pytest.mark.seconds
@pytest.mark.parametrize("samples", [1000, 9702, 9703, 9702 + 2 * 7276, 50_000])
def test_chunks_and_weights_are_those_of_the_runtime(program, halves, tmp_path, samples):
    """Songs of less than a chunk, of one, of a sample more, of three without a rest, and of several."""
    song = song_of(samples)
    with open_separator(halves) as separator:
        expected = separator.separate(song, RATE)
    for stem, name in enumerate(("vocals", "drums")):
        found = separated(program, halves, stem, song, tmp_path)
        np.testing.assert_allclose(found, expected[name], atol=1e-6)


@pytest.fixture(scope="module")
def network(tracing, tmp_path_factory) -> Callable[[str, str], Path]:
    """A tiny network of a kind for a target, exported once for both programs."""
    folder = tmp_path_factory.mktemp("networks")

    @cache
    def export(kind: str, target: str) -> Path:
        name = f"{kind}_{target}"
        return export_engine(
            tiny_checkpoint(folder, kind=kind), folder / name, frames=FRAMES, target=target, io="wave"
        ).engine

    return export


@pytest.mark.parametrize(("kind", "target"), [("mamba2", "cpu"), ("mamba2", "gpu"), ("transformer", "gpu")])
def test_networks_of_both_kinds_and_forms(network, program, tmp_path, kind, target):
    """Every runtime has the operators that they need."""
    engine, song = network(kind, target), song_of(3000)
    with open_separator(engine) as separator:
        expected = separator.separate(song, TINY.stft.sample_rate)["vocals"]
    found = separated(program, engine, 0, song, tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.seconds
def test_mistakes_are_told_in_one_line(program, halves, tmp_path):
    song, out = tmp_path / "song.f32", tmp_path / "out.f32"
    song_of(1000).T.tofile(song)
    odd = tmp_path / "odd.f32"
    odd.write_bytes(song.read_bytes()[:-4])
    spectrum = halving_engine(tmp_path / "spectrum.onnx")
    model, lengths = onnx.load(halves), tmp_path / "lengths.onnx"
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "samples"
    onnx.save(model, lengths)
    for args, pattern in (
        ((), "usage: "),
        ((halves, 2, song, out), "expected a stem from 0 to 1$"),
        ((halves, 0, odd, out), "expected a song of 2 channels$"),
        ((halves, 0, tmp_path / "none", out), "none"),
        ((spectrum, 0, song, out), "expected an engine of --io wave and of one length: export it again$"),
        ((lengths, 0, song, out), "expected an engine of --io wave and of one length: export it again$"),
    ):
        line = said(program, *args)
        assert re.search(pattern, line.rstrip("\n")), line
        assert line.count("\n") == 1
    assert not out.exists()
