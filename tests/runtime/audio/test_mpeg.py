"""MP3, MP2 and MP1: every frame of audio is read, to the sample, whatever lies in front, between and behind."""

from __future__ import annotations

import io
import subprocess

import numpy as np
import pytest
import soundfile

from runtime.audio import open_song
from runtime.audio import reader as reader_module
from runtime.audio.mpeg_header import KBITS, RATES, declared_length, parse
from runtime.errors import AudioError

RNG = np.random.default_rng(0)
NOISE = (0.3 * RNG.standard_normal((120_000, 2))).clip(-1, 1)
ID3V1 = b"TAG" + b"A title".ljust(30, b"\0") + bytes(95)
ID3V2 = b"ID3\4\0\0\0\0\x08\0" + bytes(1024)
APE = (lambda flags: b"APETAGEX" + b"".join(n.to_bytes(4, "little") for n in (2000, 32, 0, flags)) + bytes(8))(1 << 31)
LYRICS = b"LYRICSBEGIN" + bytes(20) + b"000031LYRICS200"
GARBAGE = bytes(RNG.integers(1, 256, 3000, np.uint8)).replace(b"\xff", b"x")


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader_module, "ffmpeg_installed", lambda: False)


def read(path, content=None, size=1 << 16):
    """The samples [c, n] and the notes."""
    if content is not None:
        path.write_bytes(content)
    with open_song(path) as song:
        samples = np.concatenate(list(song.blocks(size)), axis=1)
        assert song.samples == samples.shape[1]
        return samples, song.notes


def mp3(rate=48000, audio=NOISE, mode="CONSTANT", level=0.3) -> bytes:
    out = io.BytesIO()
    soundfile.write(
        out, audio, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode, compression_level=level
    )
    return out.getvalue()


def without_tag(content: bytes) -> bytes:
    """Without the first frame, which declares the length."""
    assert declared_length(content[:192]) is not None
    return content[parse(content[:4]).length :]


def silence(version, layer, rate, mono, frames) -> bytes:
    """Frames of no bits for any sub-band."""
    index = RATES[version].index(rate)
    header = bytes([0xFF, 0xE1 | version << 3 | (4 - layer) << 1, 8 << 4 | index << 2, 0xC0 if mono else 0])
    return (header + bytes(parse(header).length - 4)) * frames


TAGGED = mp3()
PLAIN = without_tag(TAGGED)


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize(("version", "rate"), [(version, rate) for version in RATES for rate in RATES[version]])
def test_every_layer_version_and_rate(tmp_path, version, rate, layer):
    for mono in (False, True):
        samples, notes = read(tmp_path / "x", silence(version, layer, rate, mono, 20))
        per_frame = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
        assert samples.shape == (1 if mono else 2, 20 * per_frame) and not samples.any() and notes == []


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ("fffb9000", 417),  # layer III, 128 kbit/s, 44.1 kHz
        ("fffb9200", 418),  # padded
        ("fff39000", 261),  # MPEG 2, 80 kbit/s, 22.05 kHz: 72 * 80000 / 22050
        ("fffda000", 626),  # layer II, 192 kbit/s, 44.1 kHz
        ("ffff9000", 312),  # layer I, 288 kbit/s: 12 * 288000 / 44100 slots of 4 bytes
        ("ffff9200", 316),
    ],
)
def test_lengths_of_frames(header, length):
    assert parse(bytes.fromhex(header)).length == length


def test_what_is_no_header():
    for header in ("", "fffb90", "fffbf000", "fffb9c00", "ffeb9000", "fff99000", "7ffb9000"):
        assert parse(bytes.fromhex(header)) is None, header
    assert {len(kbits) for kbits in KBITS.values()} == {15}


@pytest.mark.parametrize("content", [TAGGED, PLAIN, mp3(mode="VARIABLE"), without_tag(mp3(mode="VARIABLE"))])
@pytest.mark.parametrize(
    "behind",
    [b"", bytes(1), bytes(500), bytes(3000), ID3V1, LYRICS + ID3V1, APE + bytes(1968) + APE, ID3V2, ID3V2 + bytes(900)],
)
def test_zeros_and_tags_behind_the_last_frame_change_nothing(tmp_path, capfd, content, behind):
    expected, _ = read(tmp_path / "x", content)
    samples, notes = read(tmp_path / "x", content + behind)
    np.testing.assert_array_equal(samples, expected)
    assert notes == [] and capfd.readouterr().err == ""
    length = declared_length(content[:192])
    assert expected.shape[1] == (120_000 if length else 1152 * (1 + (120_000 + 1105 + 528) // 1152))


@pytest.mark.parametrize("content", [TAGGED, PLAIN])
def test_what_is_not_audio_behind_the_last_frame_is_noted(tmp_path, capfd, content):
    expected, _ = read(tmp_path / "x", content)
    samples, notes = read(tmp_path / "x", content + GARBAGE + ID3V1)
    np.testing.assert_array_equal(samples, expected)
    assert [note.split(" ", 1)[0] for note in notes] == ["3000"] and "not audio" in notes[0]
    samples, notes = read(tmp_path / "x", content + bytes(100_000))
    np.testing.assert_array_equal(samples, expected)
    assert len(notes) == 1 and "100000 bytes of zeros" in notes[0]
    assert capfd.readouterr().err == ""


def test_what_is_in_front_of_the_first_frame(tmp_path):
    expected, _ = read(tmp_path / "x", PLAIN)
    for front in (ID3V2, ID3V2 + ID3V2, ID3V2 + bytes(3000), ID3V2 + GARBAGE):
        samples, notes = read(tmp_path / "x", front + PLAIN)
        np.testing.assert_array_equal(samples, expected)
        assert bool(notes) == (GARBAGE in front)


@pytest.mark.parametrize("lack", [1, 4, 100])
def test_a_last_frame_that_lacks_some_bytes_is_left_out_with_a_note(tmp_path, lack):
    expected, _ = read(tmp_path / "x", PLAIN)
    for behind in (b"", ID3V1):
        samples, notes = read(tmp_path / "x", PLAIN[:-lack] + behind)
        np.testing.assert_array_equal(samples, expected[:, :-1152])
        assert len(notes) == 1 and "last frame" in notes[0]
    expected, _ = read(tmp_path / "x", TAGGED)
    samples, notes = read(tmp_path / "x", TAGGED[:-lack])
    assert 120_000 - 1152 < samples.shape[1] <= 120_000  # what is missing may be what the encoder has added
    np.testing.assert_array_equal(samples, expected[:, : samples.shape[1]])
    assert len(notes) == 1 and "0.024 s" in notes[0] and "missing" in notes[0]


def test_how_much_may_be_missing(tmp_path):
    long = mp3(8000, np.zeros((480_000, 1)))
    length = parse(long[:4]).length
    _, notes = read(tmp_path / "x", long[: -6 * length])  # of 0.072 s each
    assert len(notes) == 1 and "0.43 s" in notes[0]
    with pytest.raises(
        AudioError, match=r"x: the file is incomplete: it declares 60\.\d s of audio, and it holds 59\.\d s: get"
    ):
        read(tmp_path / "x", long[: -8 * length])
    length = parse(PLAIN[:4]).length
    with pytest.raises(AudioError, match=r"x: the file is incomplete"):  # 0.05 s of 2.5 s
        read(tmp_path / "x", TAGGED[: -2 * length - 1])
    with pytest.raises(AudioError, match=r"x: the file is incomplete"):  # and zeros in its place
        read(tmp_path / "x", TAGGED[: len(TAGGED) // 2] + bytes(len(TAGGED) // 2))


def test_a_file_is_whole_if_one_of_the_two_declared_numbers_says_so(tmp_path):
    at = TAGGED.index(b"Info") + 8
    length = declared_length(TAGGED[:192])
    for frames, size in ((length.frames + 1, length.bytes), (length.frames, length.bytes + 500_000)):
        content = TAGGED[:at] + frames.to_bytes(4, "big") + size.to_bytes(4, "big") + TAGGED[at + 8 :]
        samples, notes = read(tmp_path / "x", content)
        assert samples.shape[1] == 120_000 and notes == []


def test_a_file_joined_of_several_is_read_to_the_end_of_the_last(tmp_path):
    frames = declared_length(TAGGED[:192]).frames
    for between in (b"", ID3V1, ID3V2, ID3V1 + ID3V2):
        samples, notes = read(tmp_path / "x", TAGGED + between + TAGGED)
        assert samples.shape[1] == 120_000 + 1152 * frames and notes == []
        samples, notes = read(tmp_path / "x", PLAIN + between + PLAIN)
        assert samples.shape[1] == 2 * 1152 * frames and notes == []
    with pytest.raises(AudioError, match="changes from layer 3, 48000 Hz, stereo to layer 3, 44100 Hz, stereo at 2.5"):
        read(tmp_path / "x", PLAIN + mp3(44100))


def test_what_is_between_frames(tmp_path):
    middle = next(at for at in range(len(PLAIN) // 2, len(PLAIN)) if parse(PLAIN[at : at + 4]))
    length = parse(PLAIN[middle : middle + 4]).length
    samples, notes = read(tmp_path / "x", PLAIN[:middle] + GARBAGE[:50] + PLAIN[middle:])
    assert samples.shape[1] == read(tmp_path / "x", PLAIN)[0].shape[1]
    assert len(notes) == 1 and "50 bytes between frames" in notes[0] and "1.3 s" in notes[0]
    with pytest.raises(
        AudioError, match=rf"x: the file is damaged: {5 * length} bytes at 1\.3 s are not MPEG audio: get"
    ):
        read(tmp_path / "x", PLAIN[:middle] + bytes(5 * length) + PLAIN[middle + 5 * length :])


def test_the_tag_of_another_encoder(tmp_path):
    frames = declared_length(TAGGED[:192]).frames
    size = parse(TAGGED[:4]).length
    vbri = b"VBRI\0\1\0\0\0\0" + (len(PLAIN) + size).to_bytes(4, "big") + frames.to_bytes(4, "big")
    frame = (TAGGED[:4] + bytes(32) + vbri).ljust(size, b"\0")
    samples, notes = read(tmp_path / "x", frame + PLAIN)
    assert samples.shape[1] == 1152 * frames and notes == []
    with pytest.raises(AudioError, match="incomplete"):
        read(tmp_path / "x", frame + PLAIN[: len(PLAIN) // 2])


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (22050, 2), (48000, 2)])
def test_samples_do_not_depend_on_how_many_are_read_at_a_time(tmp_path, capfd, rate, channels):
    """At low bit rates a frame begins in frames far before it: a decoder that is made to seek loses them."""
    content = mp3(rate, NOISE[:, :channels], level=0.99)
    expected, _ = read(tmp_path / "x", content)
    for size in (1000, 5003):
        np.testing.assert_allclose(read(tmp_path / "x", None, size)[0], expected, atol=1e-6)
    assert capfd.readouterr().err == ""


def decoded(path, channels):
    done = subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(done.stdout, "<f4").reshape(-1, channels).T


@pytest.mark.needs("ffmpeg")
@pytest.mark.parametrize("rate", [16000, 22050, 24000, 32000, 44100, 48000])
def test_layer_ii_is_what_ffmpeg_decodes(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", NOISE, rate)
    for options in (["-b:a", "96k"], ["-b:a", "64k", "-ac", "1"]):
        command = ["ffmpeg", "-v", "error", "-y", "-i", tmp_path / "x.wav", *options, tmp_path / "x.mp2"]
        subprocess.run(command, check=True)
        samples, notes = read(tmp_path / "x.mp2")
        np.testing.assert_allclose(samples.clip(-1, 1), decoded(tmp_path / "x.mp2", len(samples)), atol=1e-3)
        assert samples.shape[1] >= 120_000 and notes == []


@pytest.mark.needs("ffmpeg", "twolame")
def test_layer_ii_of_variable_bit_rate(tmp_path):
    quiet_start = np.concatenate([np.zeros((100_000, 2)), NOISE])
    for audio in (quiet_start, quiet_start[::-1]):
        soundfile.write(tmp_path / "x.wav", audio, 48000)
        subprocess.run(["twolame", "--quiet", "--vbr", tmp_path / "x.wav", tmp_path / "x.mp2"], check=True)
        samples, notes = read(tmp_path / "x.mp2")
        np.testing.assert_allclose(samples.clip(-1, 1), decoded(tmp_path / "x.mp2", 2), atol=1e-3)
        assert notes == []


@pytest.mark.needs("lame")
def test_free_format(tmp_path):
    tone = 0.5 * np.sin(np.arange(120_000) / 20)
    soundfile.write(tmp_path / "x.wav", tone, 44100)
    command = ["lame", "--quiet", "--freeformat", "-b", "400", tmp_path / "x.wav", tmp_path / "x.mp3"]
    subprocess.run(command, check=True)
    content = (tmp_path / "x.mp3").read_bytes()
    samples, notes = read(tmp_path / "x.mp3", content + bytes(3000))
    assert samples.shape[1] == 120_000 and notes == []
    np.testing.assert_allclose(samples[0], tone, atol=0.05)
    with pytest.raises(AudioError, match="incomplete"):
        read(tmp_path / "x.mp3", content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"\xff\xfb\x90\0" * 500, b"\xff" * 5000, ID3V2, ID3V2 + GARBAGE, PLAIN[4:]])
def test_what_only_begins_like_mpeg_audio(tmp_path, content):
    with pytest.raises(AudioError, match=r"x: cannot be read as audio"):
        read(tmp_path / "x", content)
