"""Stems on the disk: the samples given, all files or none, and nothing lost that was there before."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import Form, SongWriter, StemWriters, form_for, open_song, writer
from runtime.audio import part as part_module
from runtime.errors import AudioError, OptionError

INTEGERS = [("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("FLAC", "PCM_S8")]
INTEGERS += [("FLAC", "PCM_16"), ("FLAC", "PCM_24")]
RATES = [8000, 22050, 44100, 96000, 192000]


def stems_of(block):
    """Vocals as an engine gives them, float32 and unrelated to any grid, and what is left of the mixture."""
    vocals = (0.37 * block + 0.1 * np.sin(np.arange(block.shape[1]) / 7)).astype(np.float32)
    return {"vocals": vocals, "instrumental": block - vocals}


def separate(song, folder, clip="rescale"):
    """What a separation does with files: returns the writers after the last one is in place."""
    with open_song(song) as reader:
        form = form_for(reader.form)
        targets = {stem: folder / f"{stem}{form.suffix}" for stem in ("vocals", "instrumental")}
        writers = StemWriters(targets, reader.sample_rate, reader.channels, form, clip, reader.tags, reader.samples)
        with writers:
            for block in reader.blocks(1000):
                writers.write(stems_of(block))
    return writers


def integers(path, bits):
    return soundfile.read(path, dtype="int32", always_2d=True)[0].astype(np.int64) >> (32 - bits)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("container", "subtype"), INTEGERS)
def test_vocals_and_instrumental_make_the_song_to_one_step_of_its_integers(tmp_path, container, subtype, rate):
    bits = Form(container, subtype).bits
    song = tmp_path / "song"
    mixture = np.random.default_rng(rate).integers(-(2**31), 2**31, (3000, 2), dtype=np.int64) // 3
    soundfile.write(song, mixture.astype(np.int32), rate, format=container, subtype=subtype)
    writers = separate(song, tmp_path, clip="none")
    assert not any(writers.clipped.values()) and writers.gain == 1.0
    files = [tmp_path / f"{stem}.{container.lower()}" for stem in ("vocals", "instrumental")]
    for file in files:
        info = soundfile.info(file)
        assert (info.format, info.subtype, info.samplerate, info.frames) == (container, subtype, rate, 3000)
    total = sum(integers(file, bits) for file in files)
    assert np.abs(total - integers(song, bits)).max() <= 1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_vocals_and_instrumental_make_the_song_in_float(tmp_path, subtype, rate):
    mixture = np.random.default_rng(rate).uniform(-1.5, 1.5, (3000, 1))
    soundfile.write(tmp_path / "song.wav", mixture, rate, subtype=subtype)
    separate(tmp_path / "song.wav", tmp_path)
    total = sum(soundfile.read(tmp_path / f"{stem}.wav", always_2d=True)[0] for stem in ("vocals", "instrumental"))
    assert np.abs(total - mixture).max() <= (1e-6 if subtype == "FLOAT" else 1e-15)


@pytest.mark.parametrize(("container", "subtype"), INTEGERS)
def test_integers_survive_reading_and_writing_unchanged(tmp_path, container, subtype):
    form = Form(container, subtype)
    full = 2 ** (form.bits - 1)
    levels = np.unique(np.linspace(-full, full - 1, 70000).round().astype(np.int64))
    soundfile.write(
        tmp_path / "x", (levels << (32 - form.bits)).astype(np.int32), 44100, format=container, subtype=subtype
    )
    with open_song(tmp_path / "x") as song, SongWriter(tmp_path / "y", 44100, 1, form) as out:
        for block in song.blocks():
            out.write(block)
    np.testing.assert_array_equal(integers(tmp_path / "y", form.bits)[:, 0], levels)
    assert out.clipped == 0


def test_rescaling_turns_all_stems_down_alike(tmp_path):
    mixture = np.random.default_rng(0).uniform(-0.9, 0.9, (5000, 2))
    soundfile.write(tmp_path / "song.wav", mixture, 44100, subtype="PCM_24")
    with StemWriters(
        {"a": tmp_path / "a.wav", "b": tmp_path / "b.wav"}, 44100, 2, Form("WAV", "PCM_16"), samples=5000
    ) as writers:
        loud = {"a": (2.0 * mixture).T.astype(np.float32), "b": (-1.0 * mixture).T.astype(np.float32)}
        writers.write({stem: block[:, :2000] for stem, block in loud.items()})
        writers.write({stem: block[:, 2000:] for stem, block in loud.items()})
    peak = max(np.abs(loud["a"]).max(), np.abs(loud["b"]).max())
    assert writers.gain == pytest.approx((1 - 2**-15) / peak) and writers.clipped == {"a": 0, "b": 0}
    assert writers.peaks["a"] == pytest.approx(peak)
    total = sum(integers(tmp_path / f"{stem}.wav", 16) for stem in "ab")
    assert np.abs(total - writers.gain * mixture * 2**15).max() <= 1.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "b.wav", "song.wav"]


@pytest.mark.parametrize(
    ("subtype", "clip", "expected", "clipped"),
    [
        ("FLOAT", "rescale", [0.5, 1.5, -2.0, 1.0], 0),
        ("FLOAT", "none", [0.5, 1.5, -2.0, 1.0], 0),
        ("FLOAT", "clamp", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "none", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "clamp", [0.5, 1.0, -1.0, 1.0], 2),
        ("PCM_16", "rescale", [0.25, 0.75, -1.0, 0.5], 0),
    ],
)
@pytest.mark.parametrize("samples", [None, 4])
def test_samples_beyond_full_scale(tmp_path, subtype, clip, expected, clipped, samples):
    writers = StemWriters({"x": tmp_path / "x.wav"}, 44100, 1, Form("WAV", subtype), clip, samples=samples)
    with writers:
        writers.write({"x": np.array([[0.5, 1.5, -2.0, 1.0]], np.float32)})
    np.testing.assert_allclose(soundfile.read(tmp_path / "x.wav")[0], expected, atol=1e-4)
    assert writers.clipped == {"x": clipped}


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_stems_have_the_length_of_the_song(tmp_path, container, subtype):
    audio = (0.5 * np.sin(np.arange(50000) / 20))[None].astype(np.float32)
    form = Form(container, subtype)
    with StemWriters({"x": tmp_path / f"x{form.suffix}"}, 48000, 1, form, tags={"title": "T"}) as writers:
        for first in range(0, 50000, 30000):
            writers.write({"x": audio[:, first : first + 30000]})
    with open_song(tmp_path / f"x{form.suffix}") as song:
        out = np.concatenate(list(song.blocks()), axis=1)
        assert song.form == form and song.tags["title"] == "T"
    assert out.shape == audio.shape
    assert np.abs(out - audio)[:, 5000:45000].max() < 0.1


@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_16"), Form("OGG", "VORBIS")])
def test_tags_are_carried_over(tmp_path, form):
    tags = {
        "title": "Tïtle",
        "artist": "A",
        "album": "B",
        "tracknumber": "7",
        "date": "1999",
        "genre": "G",
        "comment": "C",
        "copyright": "D",
    }
    with SongWriter(tmp_path / "x", 44100, 1, form, tags=tags) as out:
        out.write(np.zeros((1, 100), np.float32))
    with open_song(tmp_path / "x") as song:
        assert song.tags == tags


@pytest.mark.parametrize("clip", ["rescale", "clamp"])
def test_an_error_in_the_middle_leaves_what_was_there(tmp_path, clip):
    (tmp_path / "a.wav").write_bytes(b"earlier")
    targets = {"a": tmp_path / "a.wav", "b": tmp_path / "b.wav"}
    block = np.zeros((1, 100000), np.float32)
    with pytest.raises(KeyboardInterrupt), StemWriters(targets, 8000, 1, Form("WAV", "PCM_16"), clip) as writers:
        writers.write({"a": block, "b": block})
        raise KeyboardInterrupt
    assert (tmp_path / "a.wav").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("links", [True, False])
def test_all_stems_take_their_names_or_none_does(tmp_path, monkeypatch, error, links):
    for name in ("a", "b"):
        (tmp_path / f"{name}.wav").write_bytes(b"earlier " + name.encode())
    replace = Path.replace

    def failing(self, target):
        if self.suffix == ".part" and target.name == "b.wav":
            raise error
        return replace(self, target)

    def no_links(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "replace", failing)
    if not links:
        monkeypatch.setattr(part_module.os, "link", no_links)
    targets = {name: tmp_path / f"{name}.wav" for name in ("new", "a", "b", "c")}
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else AudioError
    with pytest.raises(expected), StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"), samples=9) as writers:
        writers.write({name: np.zeros((1, 9), np.float32) for name in targets})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.wav": b"earlier a",
        "b.wav": b"earlier b",
    }
    monkeypatch.setattr(Path, "replace", replace)
    with StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"), samples=9) as writers:
        writers.write({name: np.zeros((1, 9), np.float32) for name in targets})
    assert {soundfile.info(path).frames for path in tmp_path.iterdir()} == {9}
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_24"), Form("OGG", "VORBIS")])
@pytest.mark.parametrize("clip", ["rescale", "none"])
@pytest.mark.parametrize("room", [0, 60, 5000, 20000])
def test_a_disk_that_takes_no_more_is_one_line(tmp_path, form, clip, room):
    """By the limit on a file's size: as on a full disk, a write fails somewhere between the header and the end."""
    target = tmp_path / "x"
    target.write_bytes(b"earlier")
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 60000)).astype(np.float32)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with (
            pytest.raises(AudioError, match=r"x: cannot be written \(File too large\)") as caught,
            StemWriters({"x": target}, 44100, 2, form, clip, samples=60000) as writers,
        ):
            writers.write({"x": audio})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [target]


@pytest.fixture
def small_disk(tmp_path):
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("form", [Form("WAV", "PCM_16"), Form("FLAC", "PCM_24"), Form("OGG", "VORBIS")])
@pytest.mark.parametrize("clip", ["rescale", "none"])
def test_a_full_disk_is_one_line_and_earlier_stems_stay(small_disk, form, clip):
    targets = {name: small_disk / name for name in ("vocals", "instrumental")}
    earlier = bytes(range(256)) * 64
    for target in targets.values():
        target.write_bytes(earlier)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 600000)).astype(np.float32)
    with (
        pytest.raises(AudioError, match=r"vocals|instrumental: cannot be written \(No space left on device\)"),
        StemWriters(targets, 44100, 2, form, clip, samples=600000) as writers,
    ):
        for first in range(0, 600000, 10000):
            writers.write(dict.fromkeys(targets, noise[:, first : first + 10000]))
    assert sorted(path.name for path in small_disk.iterdir()) == ["instrumental", "vocals"]
    assert all(target.read_bytes() == earlier for target in targets.values())


KILLED = """
import signal
import sys
from pathlib import Path
import numpy as np
from runtime.audio import Form, StemWriters
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it ignored
folder = Path(sys.argv[1])
targets = {"vocals": folder / "vocals.wav", "instrumental": folder / "instrumental.wav"}
block = np.full((2, 10000), 0.5, np.float32)
with StemWriters(targets, 44100, 2, Form("WAV", "PCM_16"), sys.argv[2], samples=10**9) as writers:
    for number in range(10**9):
        writers.write({stem: block for stem in targets})
        if number == 20:
            print("writing", flush=True)
"""


@pytest.mark.parametrize("clip", ["rescale", "clamp"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_separation_leaves_no_partial_file_under_a_final_name(tmp_path, clip, end):
    (tmp_path / "vocals.wav").write_bytes(b"earlier")
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path, clip], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"writing\n"
        time.sleep(0.05)
        child.send_signal(end)
        child.wait(60)
    finally:
        child.kill()
        child.communicate()
    assert (tmp_path / "vocals.wav").read_bytes() == b"earlier"
    assert not (tmp_path / "instrumental.wav").exists()
    left = [path.name for path in tmp_path.iterdir() if path.name != "vocals.wav"]
    assert all(name.startswith(".bsm-") for name in left)
    if end == signal.SIGINT:
        assert left == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_get_the_permissions_of_any_new_file(tmp_path, mask):
    before = os.umask(mask)
    try:
        with SongWriter(tmp_path / "x.wav", 8000, 1, Form("WAV", "FLOAT")) as out:
            out.write(np.zeros((1, 9), np.float32))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.wav").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_stays(tmp_path, exists):
    (tmp_path / "there").mkdir()
    if exists:
        (tmp_path / "there" / "y.wav").write_bytes(b"earlier")
    (tmp_path / "x.wav").symlink_to(tmp_path / "there" / "y.wav")
    with SongWriter(tmp_path / "x.wav", 8000, 1, Form("WAV", "FLOAT")) as out:
        out.write(np.zeros((1, 9), np.float32))
    assert (tmp_path / "x.wav").is_symlink()
    assert soundfile.info(tmp_path / "there" / "y.wav").frames == 9


def test_what_cannot_be_a_file_is_found_before_the_work(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, message in [
        ("folder", "is a folder: choose another name"),
        ("loop", "cannot be written .Too many levels of symbolic links"),
        ("pipe", "is not a file: choose another name"),
        ("x" * 300, "cannot be written .File name too long"),
        ("none/x.wav", "cannot be written .No such file or directory"),
        ("nul\0", "cannot be written .*null"),
    ]:
        targets = {"first": tmp_path / "first.wav", "second": tmp_path / name}
        with pytest.raises(AudioError, match=message):
            StemWriters(targets, 8000, 1, Form("WAV", "FLOAT"))
        assert not list(tmp_path.glob(".bsm-*")) and not (tmp_path / "first.wav").exists()
    with pytest.raises(OptionError, match="clip soft: expected rescale, clamp, none"):
        StemWriters({"x": tmp_path / "x.wav"}, 8000, 1, Form("WAV", "FLOAT"), "soft")


@pytest.mark.parametrize(("samples", "container"), [(1000, "WAV"), (None, "RF64"), (9000, "RF64")])
def test_wav_files_that_would_exceed_4_gb_become_rf64(tmp_path, monkeypatch, samples, container):
    monkeypatch.setattr(writer, "WAV_BYTES", 4 * 2 * 5000)
    count = samples or 9000
    with StemWriters({"x": tmp_path / "x.wav"}, 8000, 2, Form("WAV", "FLOAT"), samples=samples) as writers:
        writers.write({"x": np.full((2, count), 0.5, np.float32)})
    info = soundfile.info(tmp_path / "x.wav")
    assert (info.format, info.frames, info.subtype) == (container, count, "FLOAT")


def test_a_wav_file_of_unknown_length_never_exceeds_4_gb_silently(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "WAV_BYTES", 4 * 2 * 5000)
    with (
        pytest.raises(AudioError, match=r"x\.wav: would exceed the 4 GB of a WAV file: choose --format flac"),
        SongWriter(tmp_path / "x.wav", 8000, 2, Form("WAV", "FLOAT")) as out,
    ):
        for _ in range(3):
            out.write(np.zeros((2, 2000), np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_stem_beyond_4_gb_can_be_read_again(tmp_path):
    samples = (1 << 32) // 8 + 100_000
    block = np.full((2, 1 << 20), 0.25, np.float32)
    with StemWriters({"x": tmp_path / "x.wav"}, 192000, 2, Form("WAV", "FLOAT"), samples=samples) as writers:
        for first in range(0, samples, 1 << 20):
            writers.write({"x": block[:, : samples - first]})
    assert (tmp_path / "x.wav").stat().st_size > 1 << 32
    with open_song(tmp_path / "x.wav") as song:
        assert (song.samples, song.form) == (samples, Form("RF64", "FLOAT"))
        assert sum(part.shape[1] for part in song.blocks(1 << 19) if (part == 0.25).all()) == samples
