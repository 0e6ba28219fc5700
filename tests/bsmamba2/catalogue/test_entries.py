"""The catalogue itself: its form, names, configurations, and which file is whose."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from bad_server import entry_fields

from bsmamba2.catalogue import Entry, entries, entry_named, entry_of
from bsmamba2.catalogue import entries as entries_function
from bsmamba2.errors import CheckpointError

ALL = entries()
KNOWN = [entry for entry in ALL if entry.known is not None]


def test_all_models_are_there_under_names_and_hashes_of_their_own():
    assert len(ALL) == 68 and len(KNOWN) == 40
    for count in (Counter(entry.name for entry in ALL), Counter(entry.sha256 for entry in ALL)):
        assert set(count.values()) == {1}
    assert Counter(entry.kind for entry in ALL) == {"bs_roformer": 30, "bsmamba2": 2, "mel_band_roformer": 36}


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.name)
def test_an_entry_has_its_form(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", entry.name)  # safe as the name of a file, and none with a suffix
    assert entry.stems and all(stem and stem == stem.strip().lower() for stem in entry.stems)
    assert all(isinstance(text, str) for text in (entry.note, entry.licence)) and entry.licence
    assert entry.refused is None or entry.refused
    assert type(entry.bytes) is int and 10**8 < entry.bytes < 2 * 10**9
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.addresses or "local file only" in entry.note
    for address in entry.addresses:
        assert httpx.URL(address).scheme == "https" and httpx.URL(address).path.endswith(".ckpt")


@pytest.mark.parametrize("entry", KNOWN, ids=lambda entry: entry.name)
def test_a_known_configuration_can_be_read(entry):
    found = entry.configuration()
    assert set(found) == {"audio", "inference", "model", "training"} or entry.kind == "bsmamba2"
    model, training = found["model"], found["training"]
    if "freqs_per_bands" in model:
        assert sum(model["freqs_per_bands"]) == model["stft_n_fft"] // 2 + 1
        assert all(type(bins) is int for bins in model["freqs_per_bands"])
    assert ("num_bands" in model) == (entry.kind == "mel_band_roformer")
    single = training["target_instrument"] is not None
    assert model["num_stems"] == len(entry.stems) == (1 if single else len(training["instruments"]))
    assert entry.refused is None


def test_a_configuration_is_a_new_one_each_time():
    entry = entry_named("bs-roformer-317-viperx")
    entry.configuration()["model"]["dim"] = 7
    assert entry.configuration()["model"]["dim"] == 512
    assert entry.configuration()["model"]["freqs_per_bands"][:25] == [2] * 24 + [4]
    assert entry_named("bs-roformer-karaoke-anvuew").configuration() is None


def test_networks_with_other_parts_are_refused():
    refused = {entry.name: entry.refused for entry in ALL if entry.refused}
    assert len(refused) == 4
    assert all("mask estimator" in reason for reason in refused.values())


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("mel-roformer-vocals-kin", "mel-roformer-vocals-kim"),
        ("KIM", "mel-roformer-vocals-kim or "),
        ("vocals-kim", "mel-roformer-vocals-kim or "),
        ("zzzz", "neither a file nor a name of the catalogue: bsm-export --list shows all names"),
        ("...", "neither a file nor a name of the catalogue: bsm-export --list"),
    ],
)
def test_an_unknown_name_names_close_ones(name, close):
    with pytest.raises(CheckpointError) as caught:
        entry_named(name)
    line = str(caught.value)
    assert close in line and line.startswith(f"{name}: ") and line.endswith("bsm-export --list shows all names")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file that the catalogue knows."""
    content = b"weights" * 100
    path = tmp_path / "whatever.bin"
    path.write_bytes(content)
    known = Entry(**{**entry_fields(), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    module = sys.modules[entries_function.__module__]
    monkeypatch.setattr(module, "entries", lambda: (*ALL, known))
    return path, known


def test_a_file_is_known_by_its_content(own, tmp_path, monkeypatch):
    path, known = own
    assert entry_of(path) is known and entry_of(str(path)) is known
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert entry_of(path) is None
    module = sys.modules[entries_function.__module__]
    monkeypatch.setattr(module, "sha256_of", lambda path: pytest.fail("hashed without need"))
    path.write_bytes(b"")
    assert entry_of(path) is entry_of(tmp_path) is entry_of(tmp_path / "none") is entry_of("demo") is None


def test_the_catalogue_needs_neither_pytorch_nor_the_network():
    blocked = "import sys\nfor name in ('torch', 'httpx', 'filelock', 'platformdirs'): sys.modules[name] = None\n"
    code = f"{blocked}from bsmamba2.catalogue import entries\nprint(len(entries()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "68\n", done.stderr
