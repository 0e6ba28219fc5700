"""What the page computes: pieces of an MP3, where the voice is, times in words. And what its files may hold."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

PAGE = Path(__file__).parents[3] / "runtime" / "serving" / "page"


def run(module: str, code: str) -> object:
    """The value of the JavaScript expression `code`, in which `module`, which imports nothing, is at hand."""
    program = f"{(PAGE / module).read_text()}\nconsole.log(JSON.stringify({code}));"
    done = subprocess.run(
        ["node", "--input-type=module"], input=program, capture_output=True, text=True, check=False, cwd=PAGE
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def read(path: Path) -> str:
    return f"new Mp3(new Uint8Array((await import('node:fs')).readFileSync({json.dumps(str(path))})), 10)"


@pytest.mark.needs("node")
@pytest.mark.parametrize(
    ("rate", "channels", "mode"), [(44100, 2, "CONSTANT"), (48000, 1, "CONSTANT"), (16000, 2, "VARIABLE")]
)
def test_an_mp3_has_the_samples_that_were_encoded(tmp_path, rate, channels, mode):
    samples = 21 * rate + 7
    noise = np.random.default_rng(0).normal(0, 0.1, (samples, channels))
    soundfile.write(tmp_path / "x.mp3", noise, rate, bitrate_mode=mode, compression_level=0.5)
    got = run(
        "mp3.js", f"(({{ rate, length, pieces, step }}) => [rate, length, pieces, step])({read(tmp_path / 'x.mp3')})"
    )
    step = round(10 * rate / (1152 if rate > 24000 else 576)) * (1152 if rate > 24000 else 576)
    assert got == [rate, samples, 3, step]


@pytest.mark.needs("node")
def test_what_is_no_mp3_is_an_error(tmp_path):
    (tmp_path / "x.mp3").write_bytes(b"<html>not found</html>")
    told = run("mp3.js", f"await (async () => {read(tmp_path / 'x.mp3')})().catch((error) => error.message)")
    assert told == "this preview is no MP3 file"


@pytest.mark.needs("node")
def test_the_voice_is_where_the_vocals_are_loud():
    """Also above a rest of other instruments; breaths are passed over, clicks and silence are none."""
    level = np.full(200, -90.0)  # columns of a tenth of a second
    level[20:60] = level[120:150] = -20
    level[40:43] = -80  # a breath
    level[80] = -20  # a click
    parts = [[2, 6], [12, 15]]
    for floor in (-90.0, -42.0):
        values = json.dumps(np.maximum(level, floor).tolist())
        got = run("voice.js", f"voiced(Float32Array.from({values}), 0.1).map(({{ from, to }}) => [from, to])")
        np.testing.assert_allclose(got, parts, atol=1e-6)
    assert run("voice.js", "voiced(new Float32Array(50).fill(-120), 0.1)") == []


@pytest.mark.needs("node")
def test_numbers_are_told_in_words():
    assert run("words.js", "[0, 59.9, 60, 3599, 3600, 3725].map(time)") == [
        *("0:00", "0:59", "1:00", "59:59", "1:00:00", "1:02:05")
    ]
    assert run("words.js", "[0.2, 40, 300, 86400].map(about)") == ["1 s", "40 s", "5 min", "24 hours"]
    assert run("words.js", "[10, 5 * 2 ** 20, 500 * 2 ** 20, 3 * 2 ** 30].map(size)") == [
        *("1 kB", "5.0 MB", "500 MB", "3.0 GB")
    ]
    assert run("words.js", "title('lead_vocals')") == "Lead vocals"


def test_the_files_of_the_page_need_nothing_else():
    names = {path.name for path in PAGE.iterdir()}
    for path in PAGE.iterdir():
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), path
        # What the policy of the page forbids, and what would take text for HTML.
        assert not re.search(r"<style|\bstyle=|\bon\w+=\"|<script>|innerHTML|\beval\(", text), path
        for other in re.findall(r"(?:/page/|from \"\./)([\w.-]+)", text):
            assert other in names, (path, other)
