"""Ogg files with several streams at a time, with FLAC in them, and behind tags."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
from sounds import encoded, noise, read

from runtime.audio import form_for, open_song, reader
from runtime.errors import AudioError

RATE = 44100
SAMPLES = 100_000
SOUND = noise(SAMPLES)
FLAC = encoded(SOUND, RATE, "FLAC", "PCM_16")
TURNED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
ID3 = b"ID3\x04\0\0\0\0\0\x20" + bytes(32)


@pytest.fixture(autouse=True)
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr(reader, "ffmpeg_installed", lambda: False)


def page(content, serial, number, flags=0):
    """A page with one packet, or a part of one, of at most 65,024 bytes."""
    lengths = bytes([255] * (len(content) // 255) + [len(content) % 255])
    head = b"OggS\0" + bytes([flags]) + bytes(8) + serial.to_bytes(4, "little") + number.to_bytes(4, "little")
    tail = bytes([len(lengths)]) + lengths + content
    crc = zlib.crc32((head + bytes(4) + tail).translate(TURNED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return head + crc.to_bytes(4, "little").translate(TURNED)[::-1] + tail


def ogg_flac(content=FLAC, serial=1, size=5000, ended=True):
    """The pages of a FLAC file in Ogg, with so much of it in each."""
    pieces = [content[:42], *(content[at : at + size] for at in range(42, len(content), size))]
    pieces[0] = b"\x7fFLAC\x01\0\0\x01" + pieces[0]
    flags = [2] + [0] * (len(pieces) - 2) + [4 if ended else 0]
    return [page(piece, serial, number, flag) for number, (piece, flag) in enumerate(zip(pieces, flags, strict=True))]


def vorbis(seed=0):
    """The pages of a stream, and what is read of it."""
    content = encoded(0.3 * noise(30_000, seed=seed), RATE, "OGG", "VORBIS")
    starts = [at for at in range(len(content)) if content[at : at + 5] == b"OggS\0"]
    return [content[a:b] for a, b in itertools.pairwise([*starts, len(content)])]


def written(folder, *pages, name="x"):
    (folder / name).write_bytes(b"".join(pages))
    return folder / name


@pytest.mark.parametrize("size", [500, 5000, 65000])
def test_flac_in_ogg_is_read_exactly(tmp_path, size):
    path = written(tmp_path, *ogg_flac(size=size))
    with open_song(path) as song:
        assert song.samples == SAMPLES
        assert (form_for(song.form).format, form_for(song.form).subtype) == ("FLAC", "PCM_16")
    audio, notes = read(path)
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert notes == []


@pytest.mark.parametrize("links", [2, 5])
def test_a_chain_of_flac_streams_is_one_song(tmp_path, links):
    sounds = [noise(20_000 + 333 * k, seed=k) for k in range(links)]
    pages = [ogg_flac(encoded(sound, RATE, "FLAC", "PCM_16"), serial=k) for k, sound in enumerate(sounds)]
    audio, notes = read(written(tmp_path, *itertools.chain(*pages)))
    np.testing.assert_array_equal(audio.T, np.concatenate(sounds).astype(np.float32))
    assert len(notes) == 1 and f"chain of {links} streams" in notes[0]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_flac_in_ogg_that_lacks_pages_is_refused(tmp_path, kept):
    pages = ogg_flac()
    with pytest.raises(AudioError, match="x: the file is incomplete or damaged"):
        read(written(tmp_path, *pages[: int(kept * len(pages))]))


def test_a_flac_stream_in_ogg_without_a_length_is_read_as_far_as_it_goes(tmp_path):
    packed = int.from_bytes(FLAC[18:26], "big") >> 36 << 36
    pages = ogg_flac(FLAC[:18] + packed.to_bytes(8, "big") + FLAC[26:], ended=False)
    audio, notes = read(written(tmp_path, *pages))
    np.testing.assert_array_equal(audio.T, SOUND.astype(np.float32))
    assert len(notes) == 1 and "not marked as the last" in notes[0]


def test_of_several_streams_of_sound_the_first_is_separated_with_a_note(tmp_path):
    first, second = vorbis(1), ogg_flac(serial=7)
    expected, _ = read(written(tmp_path, *first))
    mixed = [each for pair in itertools.zip_longest(first, second, fillvalue=b"") for each in pair]
    audio, notes = read(written(tmp_path, *mixed))
    np.testing.assert_array_equal(audio, expected)
    assert len(notes) == 1 and "2 streams of sound" in notes[0]


def test_a_stream_that_begins_while_another_goes_on_is_no_link_of_a_chain(tmp_path):
    first, second = vorbis(1), ogg_flac(serial=7)
    expected, _ = read(written(tmp_path, *first))
    late = [*first[:3], *second[:3], *first[3:], *second[3:]]
    audio, notes = read(written(tmp_path, *late))
    np.testing.assert_array_equal(audio, expected)
    assert len(notes) == 1 and "2 streams of sound" in notes[0]


def test_a_skeleton_is_passed_over(tmp_path):
    sound = vorbis()
    expected, _ = read(written(tmp_path, *sound))
    skeleton = page(b"fishead\0" + bytes(56), 9, 0, 2), page(b"fisbone\0" + bytes(44), 9, 1), page(b"", 9, 2, 4)
    audio, notes = read(written(tmp_path, skeleton[0], sound[0], skeleton[1], *sound[1:3], skeleton[2], *sound[3:]))
    np.testing.assert_array_equal(audio, expected)
    assert notes == []


@pytest.mark.parametrize("kind", ["vorbis", "flac"])
def test_behind_an_id3_tag_a_file_is_read_and_checked_as_without(tmp_path, kind):
    pages = vorbis() if kind == "vorbis" else ogg_flac()
    expected, _ = read(written(tmp_path, *pages))
    audio, notes = read(written(tmp_path, ID3, *pages))
    np.testing.assert_array_equal(audio, expected)
    assert notes == []
    with pytest.raises(AudioError, match="its last page is not whole"):
        read(written(tmp_path, ID3, *pages[:-1], pages[-1][:-10]))


def test_a_chain_with_pictures_is_refused_and_not_read_in_part(tmp_path):
    picture = page(b"\x80theora" + bytes(30), 5, 0, 2)
    with pytest.raises(AudioError, match="x: a chain of 2 Ogg files with pictures or codecs"):
        read(written(tmp_path, picture, *vorbis(1), *vorbis(2)))


def test_a_chain_with_a_stream_that_cannot_be_read_is_refused(tmp_path):
    broken = page(b"\x01vorbis" + bytes(23), 5, 0, 2), page(b"nothing", 5, 1, 4)
    with pytest.raises(AudioError, match="x: a chain of 2 streams, of which libsndfile cannot read one"):
        read(written(tmp_path, *vorbis(), *broken))


def test_a_long_chain_is_found_quickly(tmp_path):
    """A day of radio: thousands of songs."""
    one = b"".join(ogg_flac(encoded(noise(10), RATE, "FLAC", "PCM_16")))
    path = written(tmp_path, one * 3000)
    with open_song(path) as song:
        assert song.samples is None and len(song._source._parts) == 3000
