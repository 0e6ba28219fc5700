"""The page, in a real browser, on a real service: what a user does with it, from the first song on."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chromium import Browser, browsing
from halving import halving_engine

for package in ("uvicorn", "httpx"):
    pytest.importorskip(package)
from serving_process import TOKEN, Served, start  # noqa: E402 - which imports httpx

pytestmark = [pytest.mark.needs("chromium", "node", "npm"), pytest.mark.seconds]

RATE = 44100
SECONDS = 14  # more than a piece of the player, which is ten seconds
# Hears what goes to the loudspeakers, as the page's own meters hear each stem.
LISTENER = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    if (!to.context.ear) {
      to.context.ear = to.context.createAnalyser();
      to.context.ear.fftSize = 32768;
      window.ear = to.context.ear;
    }
    connect.call(this, to.context.ear);
  }
  return connect.call(this, to, ...rest);
};
window.heard = () => {
  const samples = new Float32Array(window.ear.fftSize);
  window.ear.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
};
"""
OPEN = "document.body.dataset.view === 'player' && !document.querySelector('#play').disabled"
DRAWN = "document.querySelector('#loading').textContent === ''"
WORDS = "[...document.querySelectorAll('.song .words')].map((each) => each.textContent)"
LEVELS = """Object.fromEntries([...document.querySelectorAll('.stem')].map(
  (row) => [row.dataset.stem, Number(row.querySelector('.meter').dataset.now)]
))"""
NOW = "Number(document.querySelector('#position').getAttribute('aria-valuenow'))"


def tune(path: Path, seconds: float = SECONDS, frequency: float = 440.0) -> Path:
    """A song: a tone that swells and fades, with some noise."""
    moment = np.arange(round(seconds * RATE)) / RATE
    tone = 0.3 * np.sin(2 * np.pi * frequency * moment) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.3 * moment))
    noise = np.random.default_rng(0).normal(0, 0.02, moment.size)
    soundfile.write(path, np.stack([tone + noise, tone - noise], axis=1), RATE)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Path:
    """Its stems are half the song and the same with the other sign: both together are silence."""
    gain = np.array([0.5, -0.5]).reshape(2, 1, 1, 1, 1)
    path = tmp_path_factory.mktemp("engine") / "opposed.onnx"
    return halving_engine(path, gain, stems=("vocals", "instrumental"), frames=201)


@pytest.fixture
def service(engine, tmp_path) -> Iterator[Served]:
    """Of one song at a time, with room for one that waits."""
    served = start(engine, tmp_path / "service", "--queue", "1")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def with_a_song(browser, engine, tmp_path_factory) -> Iterator[Served]:
    """A service that was sent a song through its page."""
    folder = tmp_path_factory.mktemp("service")
    served = start(engine, folder)
    browser.open(url=served.url)
    browser.files(selector="#files", paths=[tune(folder / "My song.wav")])
    browser.waits_for(OPEN)
    yield served
    served.stop()


@pytest.fixture
def playing(browser, with_a_song) -> Browser:
    """The page opened anew; its song plays."""
    browser.open(url=with_a_song.url, script=LISTENER)
    browser.waits_for(OPEN)
    browser.waits_for(DRAWN)
    browser.click(selector="#play")
    browser.waits_for("window.ear !== undefined")
    return browser


def level(browser: Browser, stem: str) -> float:
    """dB below full scale; -1000 for none."""
    found = browser.value(LEVELS)[stem]
    return -1000.0 if found is None else found


def settled(browser: Browser, stem: str, wanted: str) -> None:
    """Until the level of `stem`, a number in the expression `wanted`, is as it says."""
    browser.waits_for(f"((levels) => {wanted.replace(stem, f'levels.{stem}')})({LEVELS})")


def test_a_song_is_sent_separated_and_played(playing):
    assert "2 stems by opposed" in playing.text(selector="#song-words")
    assert playing.text(selector="#song-name") == "My song.wav"
    assert playing.text(selector="#end") == "0:14"
    settled(playing, "vocals", "vocals > -30")
    settled(playing, "instrumental", "instrumental > -30")
    playing.waits_for(f"{NOW} >= 1")


def test_mute_solo_and_volume_are_what_is_heard(playing):
    settled(playing, "vocals", "vocals > -30")
    playing.click(selector="[data-stem=vocals] .mute")
    settled(playing, "vocals", "vocals < -70")
    assert level(playing, "instrumental") > -30
    playing.click(selector="[data-stem=vocals] .solo")  # solo goes before mute
    settled(playing, "vocals", "vocals > -30")
    settled(playing, "instrumental", "instrumental < -70")
    playing.press(key="Shift+1")
    playing.press(key="1")
    settled(playing, "instrumental", "instrumental > -30")
    settled(playing, "vocals", "vocals > -30")
    playing.fill(selector="[data-stem=instrumental] .volume", text="0.1")
    settled(playing, "instrumental", "instrumental < -32")
    assert level(playing, "instrumental") > -60


def test_stems_are_together_to_the_sample(playing):
    """They are each other's opposite: a sample apart, the tone would be heard; also past the seam of two pieces."""
    playing.click(selector="[data-stem=vocals] .mute")
    playing.waits_for("window.heard() > 0.03")
    playing.click(selector="[data-stem=vocals] .mute")
    playing.waits_for("window.heard() < 1e-4")
    strip = playing.value("document.querySelector('#position').clientWidth")
    playing.click(selector="#position", at={"x": 8.5 / SECONDS * strip, "y": 20})
    playing.waits_for(f"{NOW} >= 9")
    while playing.value(NOW) < 11:
        assert playing.value("window.heard()") < 1e-4
    assert level(playing, "vocals") > -30 and level(playing, "instrumental") > -30


def test_a_click_goes_there_and_a_drag_loops(playing):
    strip = playing.value("document.querySelector('#position').clientWidth")
    playing.click(selector="#position", at={"x": strip * 0.8, "y": 20})
    playing.waits_for(f"{NOW} >= 11")
    playing.drag(selector="[data-stem=vocals] .strip", **{"from": 0.36, "to": 0.43})
    playing.waits_for("document.querySelector('#loop-words').textContent === 'Loops 0:05 to 0:06'")
    for _ in range(20):
        assert 5 <= playing.value(NOW) <= 6
        time.sleep(0.1)
    playing.press(key="l")
    assert playing.text(selector="#loop-words") == ""
    playing.press(key="Home")
    playing.waits_for(f"{NOW} < 3")
    playing.press(key=" ")
    playing.waits_for("document.querySelector('#play').getAttribute('aria-label') === 'Play'")


def test_stems_are_downloaded_one_by_one_and_together(playing, with_a_song):
    one = playing.download(selector="[data-stem=vocals] .get")
    assert one["name"] == "My song_vocals.wav"
    song, _ = soundfile.read(with_a_song.folder / "My song.wav")
    stem, rate = soundfile.read(one["path"])
    assert rate == RATE and np.abs(stem - song / 2).max() < 1e-3
    every = playing.download(selector="#all")
    assert every["name"] == "My song.zip"
    assert sorted(zipfile.ZipFile(every["path"]).namelist()) == ["My song_instrumental.wav", "My song_vocals.wav"]


def test_a_second_song_does_not_take_the_player_from_the_first(playing, tmp_path):
    playing.files(selector="#files", paths=[str(tune(tmp_path / "Second.wav", 3))])
    playing.waits_for(f"{WORDS}.every((words) => words.startsWith('Done')) && {WORDS}.length === 2")
    assert playing.text(selector="#song-name") == "My song.wav"
    playing.click(selector=".song:first-child .open")
    playing.waits_for(OPEN)
    assert playing.text(selector="#song-name") == "Second.wav"
    assert playing.text(selector="#end") == "0:03"
    playing.click(selector=".song:first-child .remove")
    playing.click(selector=".song:first-child .remove")  # it asks once
    playing.waits_for(f"{WORDS}.length === 1")
    playing.waits_for("document.querySelector('#song-name').textContent === 'My song.wav'")


def test_a_file_that_is_no_song_is_refused_in_words(browser, service, tmp_path):
    (tmp_path / "notes.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    browser.open(url=service.url)
    browser.waits_for("document.querySelector('#limits').textContent !== ''")
    browser.files(selector="#files", paths=[str(tmp_path / "notes.wav"), str(tmp_path / "empty.wav")])
    browser.waits_for(f"{WORDS}.filter((words) => words.startsWith('Refused')).length === 2")
    told = browser.value(WORDS)
    assert told[0] == "Refused: The file is empty." and str(tmp_path) not in told[1]
    browser.click(selector=".song:first-child .remove")
    browser.waits_for(f"{WORDS}.length === 1")


def test_songs_wait_in_the_page_while_the_queue_is_full(browser, service, tmp_path):
    """One is worked on, one is in the queue; the third is kept and sent again."""
    browser.open(url=service.url)
    browser.waits_for("document.querySelector('#limits').textContent !== ''")
    lengths = {"Long": 150, "Second": 3, "Third": 3}
    songs = [tune(tmp_path / f"{name}.wav", seconds) for name, seconds in lengths.items()]
    browser.files(selector="#files", paths=songs[:1])
    browser.waits_for(f"{WORDS}.some((words) => words.startsWith('Separating'))")
    browser.files(selector="#files", paths=songs[1:])
    browser.waits_for(
        f"((words) => words.includes('Waiting, next in the queue') && "
        f"words.some((each) => /^The queue is full.*Sent again in/.test(each)))({WORDS})"
    )
    browser.click(selector=".song:last-child .remove")
    browser.waits_for(f"{WORDS}.filter((words) => words.startsWith('Done')).length === 2", timeout=60)


def test_the_server_is_killed_and_started_again(browser, engine, tmp_path):
    """The song that it had goes on; one that is chosen meanwhile is sent when it is back."""
    first = start(engine, tmp_path / "service")
    browser.open(url=first.url)
    browser.files(selector="#files", paths=[tune(tmp_path / "Long.wav", 150)])
    browser.waits_for(f"{WORDS}.some((words) => words.startsWith('Separating'))")
    first.kill()
    browser.waits_for("document.querySelector('#connection').textContent.startsWith('The server does not answer')")
    browser.files(selector="#files", paths=[tune(tmp_path / "Later.wav", 3)])
    browser.waits_for(f"{WORDS}.some((words) => words.includes('Sent again in'))")
    second = start(engine, tmp_path / "service", "--port", str(first.http.base_url.port))
    try:
        browser.waits_for("document.querySelector('#connection').textContent === ''")
        browser.waits_for(f"{WORDS}.length === 2 && {WORDS}.every((words) => words.startsWith('Done'))", timeout=60)
        browser.reload()
        browser.waits_for(OPEN)
        assert len(browser.value(WORDS)) == 2
    finally:
        second.stop()


def test_the_token_comes_with_the_address_or_is_asked_for(browser, engine, tmp_path):
    served = start(engine, tmp_path / "service", token=TOKEN)
    try:
        browser.open(url=f"{served.url}/")
        browser.waits_for("document.querySelector('#login').open")
        assert browser.violations()["violations"] == []
        browser.fill(selector="#token", text="not the token at all")
        browser.click(selector="#login-form button")
        browser.waits_for("document.querySelector('#login-error').textContent === 'That is not the token.'")
        browser.fill(selector="#token", text=TOKEN)
        browser.click(selector="#login-form button")
        browser.waits_for("!document.querySelector('#login').open")
        browser.open(url=f"{served.url}/#token={TOKEN}")
        browser.waits_for("document.querySelector('#limits').textContent !== ''")
        assert browser.value("location.hash") == "" and not browser.value("document.querySelector('#login').open")
    finally:
        served.stop()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (820, "dark"), (1280, "light")])
def test_it_is_accessible_and_asks_nobody_else(browser, service, tmp_path, width, scheme):
    browser.open(url=service.url, width=width, scheme=scheme)
    browser.waits_for("document.querySelector('#limits').textContent !== ''")
    assert browser.violations()["violations"] == []
    browser.files(selector="#files", paths=[str(tune(tmp_path / "a.wav", 3))])
    browser.waits_for(OPEN)
    browser.waits_for(DRAWN)
    checked = browser.violations()
    assert checked["violations"] == [] and checked["passes"] > 20
    browser.click(selector="[data-stem=vocals] .solo")
    browser.click(selector="[data-stem=instrumental] .mute")
    browser.click(selector="#loop")
    assert browser.violations()["violations"] == []
    browser.click(selector="#help")
    assert browser.violations()["violations"] == []
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert all(url.startswith((service.url, "blob:")) for url in browser.asked())
    assert browser.told() == []  # not a word of the policy of the page
