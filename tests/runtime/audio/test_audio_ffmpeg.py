"""Songs that only ffmpeg reads: for real where it is installed, and by scripts in its place for what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from runtime.audio import ffmpeg as ffmpeg_module
from runtime.audio import form_for, open_song
from runtime.audio import probe as probe_module
from runtime.errors import AudioError

pytestmark = pytest.mark.seconds

with_ffmpeg = pytest.mark.needs("ffmpeg", "ffprobe")

RATE = 44100
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE))[:, None] * [[1.0, 0.5]]


def encode(folder, name, *options):
    soundfile.write(folder / "source.wav", TONE, RATE, subtype="PCM_24")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", folder / "source.wav", *options, folder / name]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this ffmpeg cannot encode {name}: {done.stderr.decode().strip()}")
    return folder / name


def read(path):
    with open_song(path) as song:
        return np.concatenate(list(song.blocks(10000)), axis=1)


@with_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("x.m4a", ("-c:a", "aac"), RATE),
        ("x.mp4", ("-f", "lavfi", "-i", "color=s=64x64:d=2", "-c:a", "aac", "-shortest"), RATE),
        ("x.aac", ("-c:a", "aac"), RATE),
        ("x.webm", ("-c:a", "libopus"), 48000),
        ("x.mkv", ("-c:a", "libvorbis"), RATE),
        ("x.wma", ("-c:a", "wmav2"), RATE),
        ("wrong extension.wav", ("-c:a", "aac", "-f", "mp4"), RATE),
    ],
)
def test_reads_what_libsndfile_does_not(tmp_path, name, options, rate):
    path = encode(tmp_path, name, *options)
    with open_song(path) as song:
        assert (song.sample_rate, song.channels, song.samples) == (rate, 2, None)
        assert form_for(song.form).subtype == "FLOAT"
        audio = np.concatenate(list(song.blocks(10000)), axis=1)
    assert audio.shape[1] / rate == pytest.approx(2, abs=0.1)
    middle = audio[:, rate // 2 : 3 * rate // 2]
    np.testing.assert_allclose(np.sqrt((middle**2).mean(axis=1)), [0.5 / 2**0.5, 0.25 / 2**0.5], rtol=0.02)


@with_ffmpeg
@pytest.mark.parametrize(("options", "bits"), [((), 24), (("-sample_fmt", "s16p"), 16)])
def test_alac_keeps_its_bits(tmp_path, options, bits):
    path = encode(tmp_path, "x.m4a", "-c:a", "alac", *options)
    with open_song(path) as song:
        assert form_for(song.form).subtype == f"PCM_{bits}"
    np.testing.assert_allclose(read(path).T, TONE, atol=2.0 ** (1 - bits))


@with_ffmpeg
def test_tags(tmp_path):
    path = encode(tmp_path, "x.m4a", "-c:a", "aac", "-metadata", "title=Tïtle", "-metadata", "track=7")
    with open_song(path) as song:
        assert song.tags == {"title": "Tïtle", "tracknumber": "7"}


@with_ffmpeg
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.m4a", ("-c:a", "aac")),
        ("faststart.m4a", ("-c:a", "aac", "-movflags", "+faststart")),
        ("x.webm", ("-c:a", "libopus")),
        ("x.mkv", ("-c:a", "libvorbis")),
        ("x.wv", ("-c:a", "wavpack")),
        ("x.wma", ("-c:a", "wmav2")),
    ],
)
def test_a_file_that_is_cut_off_is_refused(tmp_path, name, options):
    path = encode(tmp_path, name, *options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(AudioError, match=f"{name}: (the file is incomplete|cannot be read as audio)"):
        read(path)


@with_ffmpeg
def test_an_mp3_without_a_length_is_read_to_its_end(tmp_path):
    """Quiet, then loud: libsndfile takes its length from the first frames, and would lose or invent seconds."""
    for name, order in {"quiet first": "[0][1]", "loud first": "[1][0]"}.items():
        path = tmp_path / f"{name}.mp3"
        sources = ["-f", "lavfi", "-i", "aevalsrc=0:d=4:s=44100", "-f", "lavfi", "-i", "anoisesrc=d=4:r=44100:a=0.5"]
        joined = ["-filter_complex", f"{order}concat=v=0:a=1", "-c:a", "libmp3lame", "-q:a", "4", "-write_xing", "0"]
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *sources, *joined, path], check=True)
        assert read(path).shape[1] / 44100 == pytest.approx(8, abs=0.1)


@with_ffmpeg
def test_other_files_are_out_of_reach(tmp_path):
    """A playlist and a script of ffmpeg's name other files; as songs they are refused."""
    soundfile.write(tmp_path / "secret.wav", TONE, RATE)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.wav\n#EXT-X-ENDLIST\n")
    (tmp_path / "script.ffconcat").write_text("ffconcat version 1.0\nfile secret.wav\n")
    for name in ("list.m3u8", "script.ffconcat"):
        with pytest.raises(AudioError, match=f"{name}: cannot be read as audio"):
            open_song(tmp_path / name)


@with_ffmpeg
@pytest.mark.parametrize(
    "name", ["-y.m4a", "http:x.m4a", "a b;touch pwned.m4a", "two\nlines.m4a", os.fsdecode(b"\xe9.m4a")]
)
def test_names_are_names_only(tmp_path, monkeypatch, name):
    path = encode(tmp_path, "x.m4a", "-c:a", "aac")
    path.rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert read(type(path)(name)).shape[1] >= 2 * RATE
    assert sorted(tmp_path.iterdir()) == before


@with_ffmpeg
def test_leaving_in_the_middle_ends_ffmpeg(tmp_path):
    path = encode(tmp_path, "x.m4a", "-c:a", "aac")
    with open_song(path) as song:
        next(song.blocks(10))
        process = song._source._process
        assert process.poll() is None
    assert process.returncode is not None
    assert not any(thread.is_alive() for thread in song._source._threads)


FOUND = {
    "streams": [{"codec_name": "aac", "sample_rate": "8000", "channels": 1, "duration": "1.0"}],
    "format": {"format_name": "mov", "probe_score": 100},
}
SAMPLES = "import sys, time, json\nout = sys.stdout.buffer\n"


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Puts programs of ours in the place of ffprobe and ffmpeg."""
    folder = tmp_path / "programs"
    folder.mkdir()
    song = tmp_path / "song.m4a"
    song.write_bytes(b"not known to libsndfile" * 10)

    def install(program="out.write(bytes(32000))", found=FOUND, probe=None):
        programs = {"ffmpeg": program, "ffprobe": probe or f"out.write({json.dumps(found).encode()!r})"}
        for name, code in programs.items():
            (folder / name).write_text(f"#!{sys.executable}\n{SAMPLES}{code}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return song

    return install


def test_without_ffmpeg_the_message_says_so(pretend, monkeypatch, tmp_path):
    song = pretend()
    shutil.rmtree(tmp_path / "programs")
    with pytest.raises(AudioError, match=r"song\.m4a: cannot be read as audio \(Format not rec.* or install ffmpeg"):
        open_song(song)


def test_a_program_that_does_its_work(pretend):
    assert read(pretend()).shape == (1, 8000)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "out.write(bytes(400)); sys.stderr.write('first\\nlast word\\n'); sys.exit(1)",
            r"0\.0 s of sound can be decoded \(ffmpeg: last word\)",
        ),
        ("sys.exit(7)", "exit code 7"),
        ("out.write(bytes(12000))", r"declares 1\.0 s, and 0\.4 s"),
        ("out.write(bytes(32000)); sys.stderr.write('x: File ended prematurely')", "ended prematurely"),
        ("out.write(bytes(400)); out.flush(); time.sleep(60)", "gave no sample for 0.5 s"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_what_goes_wrong_in_ffmpeg_is_one_line(pretend, monkeypatch, program, message):
    monkeypatch.setattr(ffmpeg_module, "STALL_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(AudioError, match=rf"song\.m4a: .*{message}") as caught:
        read(pretend(program))
    assert "\n" not in str(caught.value) and time.monotonic() - start < 20


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ("sys.stderr.write('what is this\\n'); sys.exit(1)", "ffmpeg: what is this"),
        ("out.write(b'no json')", "ffprobe failed"),
        ("out.write(b'[]')", "ffprobe ended with 0"),
        ("out.write(b'{}')", "no audio in it"),
        ("time.sleep(60)", "no answer within 0 s"),
    ],
)
def test_what_goes_wrong_in_ffprobe_is_one_line(pretend, monkeypatch, probe, message):
    monkeypatch.setattr(probe_module, "PROBE_SECONDS", 0.5)
    with pytest.raises(AudioError, match=rf"song\.m4a: cannot be read as audio .*{message}"):
        open_song(pretend(probe=probe))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": "0"}, "no sample rate or channels"),
        ({"channels": 0}, "no sample rate or channels"),
        ({"sample_rate": "many"}, "no sample rate or channels in aac"),
        ({"sample_rate": "2000000"}, "sample rate of 2000000 Hz"),
    ],
)
def test_absurd_streams_are_refused(pretend, change, message):
    found = {**FOUND, "streams": [{**FOUND["streams"][0], **change}]}
    with pytest.raises(AudioError, match=message):
        open_song(pretend(found=found))


def test_what_ffmpeg_only_guesses_is_refused(pretend):
    found = {**FOUND, "format": {"format_name": "mp3", "probe_score": 1}}
    with pytest.raises(AudioError, match="unknown format"):
        open_song(pretend(found=found))


def test_endless_complaints_block_nothing(pretend):
    flood = "for _ in range(3000): sys.stderr.write('x' * 1000 + '\\n')\nout.write(bytes(32000))"
    assert read(pretend(flood)).shape == (1, 8000)


def test_a_long_song_waits_for_its_reader(pretend):
    song = pretend(
        "for _ in range(1000): out.write(bytes(32000))",
        found={**FOUND, "streams": [{**FOUND["streams"][0], "duration": "1000"}]},
    )
    with open_song(song) as reader:
        blocks = reader.blocks(8000)
        next(blocks)
        time.sleep(0.3)
        assert reader._source._pieces.qsize() <= ffmpeg_module.PIECES
        assert 8000 + sum(block.shape[1] for block in blocks) == 8000000
