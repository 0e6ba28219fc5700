"""Metrics against golden data and by their definitions, songs in folders, segments, and figures over tracks."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.bench.machine import Machine, describe_machine
from runtime.errors import AudioError, OptionError
from runtime.evaluation import metrics
from runtime.evaluation.results import UNSEPARATED, Evaluation, Judged, Segment, over_tracks
from runtime.evaluation.schema import as_json
from runtime.evaluation.segments import vocal_segments
from runtime.evaluation.tables import as_text, tables
from runtime.evaluation.tracks import check_track, find_tracks, read_track, songs_folder

GOLDEN = Path(__file__).parents[2] / "golden"
DOCS = Path(__file__).parents[3] / "docs" / "evaluation.md"
RATE = 8000


def noise(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (2, int(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("case", range(3))
def test_sdr_is_that_of_museval(case: int) -> None:
    golden = np.load(GOLDEN / "x_metrics.npz")
    reference, estimate = golden[f"ref{case}"].T, golden[f"est{case}"].T
    window = int(golden[f"window{case}"])
    np.testing.assert_allclose(metrics.window_sdr(reference, estimate, window), golden[f"sdr{case}"], atol=1e-6)
    assert metrics.csdr(reference, estimate, window) == pytest.approx(float(golden[f"csdr{case}"]), abs=1e-6)
    assert metrics.usdr(reference, estimate) == pytest.approx(float(golden[f"usdr{case}"]), abs=1e-6)


def test_si_sdr_does_not_hear_loudness() -> None:
    true, other = noise(seed=0), noise(seed=1)
    estimate = true + 0.1 * other
    assert metrics.si_sdr(true, 3 * estimate) == pytest.approx(metrics.si_sdr(true, estimate), abs=1e-4)
    assert metrics.si_sdr(true, estimate) == pytest.approx(20, abs=0.2)
    assert metrics.usdr(true, 3 * estimate) < 0


def test_bleedless_and_fullness_tell_too_much_from_too_little() -> None:
    true = noise()
    assert metrics.bleedless_and_fullness(true, true, RATE) == (100, 100)
    bleedless, fullness = metrics.bleedless_and_fullness(true, 2 * true, RATE)
    assert (bleedless, fullness) == (pytest.approx(100 / (1 + 20 * np.log10(2)), rel=1e-4), 100)
    bleedless, fullness = metrics.bleedless_and_fullness(true, true / 2, RATE)
    assert (bleedless, fullness) == (100, pytest.approx(100 / (1 + 20 * np.log10(2)), rel=1e-4))


def test_mel_bands_hold_the_frequencies_they_should() -> None:
    time = np.arange(4 * 44100) / 44100
    levels = metrics._mel_db(np.sin(2 * np.pi * 1000 * time)[None].astype(np.float32), metrics._slaney_bank(44100))
    loudest = int(levels[len(levels) // 2, 0].argmax())
    # 1000 Hz is mel 15 of Slaney's scale, whose top, at 22050 Hz, is 15 + 27 ln(22.05) / ln(6.4)
    assert loudest == pytest.approx(513 * 15 / (15 + 27 * np.log(22.05) / np.log(6.4)) - 1, abs=1)


def test_silence_has_no_csdr() -> None:
    silence = np.zeros((2, 3 * RATE), np.float32)
    assert np.isnan(metrics.csdr(silence, noise(), RATE))
    assert np.isnan(metrics.csdr(noise(), silence, RATE))
    assert metrics.usdr(noise(), silence) == pytest.approx(0, abs=1e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(OptionError, match="expected the shape"):
        metrics.window_sdr(noise(), noise(2), RATE)


def test_segments_are_where_the_voice_is() -> None:
    stem = np.zeros((2, 10 * RATE), np.float32)
    stem[:, 1 * RATE : 3 * RATE] = noise(2)
    stem[:, int(3.2 * RATE) : int(4.2 * RATE)] = noise(1)  # after a breath: the same segment
    stem[:, 6 * RATE : 7 * RATE] = noise(1)
    found = vocal_segments(stem, RATE)
    np.testing.assert_allclose(np.array(found) / RATE, [[1, 4.2], [6, 7]], atol=0.051)
    assert vocal_segments(np.zeros((2, RATE), np.float32), RATE) == []


def write(folder: Path, **stems: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, wave in stems.items():
        soundfile.write(folder / f"{name}.wav", wave.T, RATE, subtype="FLOAT")


def test_the_mixture_is_the_sum_where_there_is_none(tmp_path: Path) -> None:
    vocals, drums, bass = noise(seed=0), noise(seed=1), noise(seed=2)
    write(tmp_path / "test" / "song", vocals=vocals, drums=drums, bass=bass)
    (tmp_path / "test" / "notes").mkdir()
    tracks = find_tracks(songs_folder(tmp_path, None))
    assert [track.name for track in tracks] == ["song"]
    truth = read_track(tracks[0], ["vocals", "instrumental"])
    np.testing.assert_allclose(truth.mixture, vocals + drums + bass, atol=1e-6)
    np.testing.assert_allclose(truth.stems["instrumental"], drums + bass, atol=1e-6)
    np.testing.assert_array_equal(truth.stems["vocals"], vocals)


def test_a_mixture_of_its_own_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "song", mixture=noise(seed=3), vocals=noise(seed=0), accompaniment=noise(seed=1))
    truth = read_track(find_tracks(tmp_path)[0], ["vocals", "instrumental"])
    np.testing.assert_array_equal(truth.mixture, noise(seed=3))
    np.testing.assert_array_equal(truth.stems["instrumental"], noise(seed=1))


def test_a_file_of_all_but_the_vocals_is_not_counted_twice(tmp_path: Path) -> None:
    write(tmp_path / "song", vocals=noise(seed=0), accompaniment=noise(seed=1), drums=noise(seed=2))
    np.testing.assert_allclose(
        read_track(find_tracks(tmp_path)[0], []).mixture, noise(seed=0) + noise(seed=1), atol=1e-6
    )


def test_what_is_left_of_the_song_is_the_mixture_minus_the_stem(tmp_path: Path) -> None:
    """For engines of one stem; files may be written with capitals."""
    write(tmp_path / "song", Mixture=noise(seed=3), Drums=noise(seed=0), Instrumental=noise(seed=1))
    truth = read_track(find_tracks(tmp_path)[0], ["drums", "no_drums", "instrumental", "vocals"])
    np.testing.assert_array_equal(truth.stems["drums"], noise(seed=0))
    np.testing.assert_allclose(truth.stems["no_drums"], noise(seed=3) - noise(seed=0), atol=1e-6)
    np.testing.assert_array_equal(truth.stems["instrumental"], noise(seed=1))
    np.testing.assert_allclose(truth.stems["vocals"], noise(seed=3) - noise(seed=1), atol=1e-6)


def test_songs_that_cannot_be_judged_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="contains no songs"):
        find_tracks(tmp_path)
    with pytest.raises(OptionError, match="has no folder 'test'"):
        songs_folder(tmp_path, "test")
    write(tmp_path / "a", vocals=noise(3), drums=noise(2))
    write(tmp_path / "b", drums=noise(2))
    write(tmp_path / "c", vocals=noise(2))
    write(tmp_path / "d", vocals=np.concatenate([noise(1), noise(1)]))
    (tmp_path / "c" / "vocals.wav").write_bytes(b"RIFF")
    for track, error, message in zip(
        find_tracks(tmp_path),
        (OptionError, OptionError, AudioError, OptionError),
        (
            "a/vocals.wav: has 2 channels of 24000 samples at 8000 Hz, drums.wav has 2 channels of 16000 samples",
            "b: has no true vocals .files: drums.: add it as WAV, FLAC or Ogg, or choose other stems with --stem",
            "c/vocals.wav: cannot be read as audio",
            "d/vocals.wav: has 4 channels: must be mono or stereo",
        ),
        strict=True,
    ):
        for refuse in (check_track, read_track):
            with pytest.raises(error, match=message):
                refuse(track, ["vocals"])


def judged(track: str, usdr: float, csdr: float = 1.0, seconds: float | None = 8.0, model: str = "net") -> Judged:
    return Judged(model, seconds, track, "vocals", usdr, csdr, 1.0, 50.0, 60.0, (Segment(0.0, 1.5, usdr),))


def test_tracks_become_one_figure_as_in_the_paper() -> None:
    tracks = [judged("a", 1.0, 5.0), judged("b", 2.0, 6.0), judged("c", 9.0, np.nan)]
    usdr, csdr = over_tracks(tracks, "usdr"), over_tracks(tracks, "csdr")
    assert usdr is not None and usdr.value == 4.0 and usdr.low is not None and usdr.high is not None
    assert 1.0 <= usdr.low < usdr.value < usdr.high <= 9.0
    assert csdr is not None and csdr.value == 5.5
    one = over_tracks(tracks[:1], "usdr")
    assert one is not None and (one.value, one.low, one.high) == (1.0, None, None)
    assert over_tracks(tracks[2:], "csdr") is None


def evaluation(*more: Judged) -> Evaluation:
    base = [judged(track, -3.0, model=UNSEPARATED, seconds=None) for track in ("a", "b")]
    return Evaluation(
        created="2026-01-01T00:00:00+00:00",
        data="songs",
        overlap=0.0,
        machine=describe_machine(),
        own={"net": 8.0},
        run_by={"net": "nothing"},
        lengths=[4.0, 8.0],
        judged=[
            *base,
            judged("a", 1.0),
            judged("b", 3.0),
            judged("a", 0.0, seconds=4.0),
            judged("b", 1.0, np.nan, 4.0),
            *more,
        ],
    )


def test_tables_are_those_of_the_paper() -> None:
    shown = {table.title: table for table in tables(evaluation())}
    whole = shown["Vocals: whole songs (the paper's Table II)"]
    assert whole.rows[0][:2] == (UNSEPARATED, "-3.00 (-3.00 to -3.00)")
    assert whole.rows[1][:2] == ("net, 8 s", "2.00 (1.00 to 3.00)")
    assert whole.rows[-1] == ("BSMamba2, published", "10.70", "11.03", "-", "-", "-")
    segments = shown["Vocals: uSDR by length of the vocal segment (the paper's Table III)"]
    assert segments.rows[1] == ("net, 8 s", "2.00", "-", "-")
    lengths = shown["Vocals: by input length (the paper's Table IV)"]
    assert lengths.rows[0] == ("net", "0.50", "1.00", "2.00", "1.00")
    assert lengths.rows[-1] == ("BSMamba2, published", "10.50", "10.89", "10.70", "11.03")
    assert shown["Vocals: by song"].rows[1] == ("b", "-3.00", "1.00", "3.00", "1.00")
    assert as_text(whole).splitlines()[2].split()[:3] == ["no", "separation", "-3.00"]


def test_of_one_song_there_is_no_interval() -> None:
    one = replace(evaluation(), judged=[each for each in evaluation().judged if each.track == "a"])
    whole, *others = tables(one)
    assert whole.rows[1][1] == "1.00" and "One song" in whole.note
    assert not any(": by song" in table.title for table in others)


def keys(data: object) -> set[str]:
    if isinstance(data, list):
        return set().union(*map(keys, data))
    if isinstance(data, dict):
        return set(data).union(*(keys(value) for name, value in data.items() if name != "machine"))
    return set()


def test_json_is_what_the_page_on_it_says() -> None:
    data = json.loads(as_json(evaluation()))
    documented = set(re.findall(r"`([a-z_]+)`", DOCS.read_text().split("## Report and JSON")[1]))
    assert keys(data) <= documented
    assert set(data["machine"]) == {field.name for field in fields(Machine)}


def test_json_holds_every_figure_and_no_nan() -> None:
    data = json.loads(as_json(evaluation()))
    assert (data["schema"], data["version"]) == ("bsmamba2-eval", 1)
    assert [each["model"] for each in data["summary"]] == [None, "net", "net"]
    assert data["summary"][1]["usdr"]["value"] == 2.0
    assert data["summary"][1]["usdr_by_segment"][0] == {"mean": 2.0, "segments": 2}
    missing = next(each for each in data["tracks"] if each["track"] == "b" and each["seconds"] == 4.0)
    assert missing["csdr"] is None and missing["usdr"] == 1.0


def test_page_is_one_file_with_a_plot() -> None:
    pytest.importorskip("matplotlib")
    from runtime.evaluation.page import as_html

    text = as_html(evaluation())
    assert "net improves the vocals from -3.00 to 2.00 dB uSDR (2 songs)." in text
    assert "data:image/png;base64" in text and "http" not in text
    assert "data:image/png" not in as_html(replace(evaluation(), lengths=[]))
