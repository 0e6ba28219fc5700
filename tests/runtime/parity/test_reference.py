"""A reference is complete, of the engine's own checkpoint and sizes, or it is refused in one line."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from fakes import manifest_data, reference_for

from runtime.engine.manifest import Manifest
from runtime.errors import OptionError
from runtime.parity.reference import read_reference, write_reference

MANIFEST = Manifest.from_json(json.dumps(manifest_data()), "a test")
REFERENCE = reference_for(MANIFEST)


def test_round_trip(tmp_path):
    write_reference(tmp_path / "x.npz", REFERENCE)
    found = read_reference(tmp_path / "x.npz", MANIFEST)
    assert (found.checkpoint, found.weights) == (REFERENCE.checkpoint, REFERENCE.weights)
    assert list(found.arrays) == [
        "waveform",
        "spectrogram",
        "band_features",
        "layer_1",
        "mask",
        "stems",
        "stem_waveforms",
    ]
    for name, array in REFERENCE.arrays.items():
        np.testing.assert_array_equal(found[name], array)


def saved(path, **changes):
    """A reference with some arrays replaced, added or, for None, left out."""
    facts = {"version": np.int64(1), "checkpoint": REFERENCE.checkpoint, "weights": REFERENCE.weights}
    arrays = {name: array for name, array in {**facts, **REFERENCE.arrays, **changes}.items() if array is not None}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": None}, "not a reference file .no version"),
        ({"version": np.int64(99)}, "reference version 99, this release reads version 1"),
        ({"checkpoint": "f" * 64}, r"is of checkpoint ffffffffffff.* the engine was made from x.ckpt, 000000000000"),
        ({"checkpoint": "f" * 10_000}, "checkpoint is <U10000 .*, the engine's is text"),
        ({"weights": "ema"}, r"ema weights.* was made from x.ckpt, .* \(raw weights\)"),
        ({"mask": None}, "has no mask: expected exactly waveform, spectrogram"),
        ({"bonus": np.zeros(3)}, "holds bonus: expected exactly waveform"),
        ({"stems": REFERENCE["stems"][:, :, :5]}, r"stems is float32 \(1, 1, 5, .* belongs to another engine"),
        ({"mask": REFERENCE["mask"].astype(np.float64)}, "mask is float64"),
        ({"mask": REFERENCE["mask"] * np.nan}, "mask holds NaN or Inf"),
        ({"mask": np.array([{}], dtype=object)}, r"mask is object \(1,\)"),
        ({"waveform": np.zeros((0, 2, 4410), np.float32)}, r"waveform is float32 \(0, 2, 4410\)"),
    ],
)
def test_what_is_not_the_engine_s_reference_is_refused(tmp_path, changes, message):
    saved(tmp_path / "x.npz", **changes)
    with pytest.raises(OptionError, match=message) as caught:
        read_reference(tmp_path / "x.npz", MANIFEST)
    assert "x.npz: " in str(caught.value) and len(str(caught.value)) < 500


def test_files_that_are_no_reference_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    with pytest.raises(OptionError, match=r"x\.npz: does not exist: bsm-export --reference writes one"):
        read_reference(path, MANIFEST)
    for content in (b"", b"PK\x03\x04 no archive", b"\x80\x04."):
        path.write_bytes(content)
        with pytest.raises(OptionError, match=r"x\.npz: cannot be read as a reference"):
            read_reference(path, MANIFEST)
    write_reference(path, REFERENCE)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"x\.npz: cannot be read as a reference .*CRC"):
        read_reference(path, MANIFEST)
    path.write_bytes(content[:-1000])
    with pytest.raises(OptionError, match="cannot be read as a reference"):
        read_reference(path, MANIFEST)


def test_a_size_is_refused_before_memory_is_taken_for_it(tmp_path):
    """An archive of few bytes may say that it holds petabytes."""
    saved(tmp_path / "x.npz", mask=None)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive, archive.open("mask.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 50,)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(OptionError, match=r"mask is float32 \(1125899906842624,\), the engine's is float32 \(1, 1, 11"):
        read_reference(tmp_path / "x.npz", MANIFEST)


def test_the_weights_are_those_the_engine_was_made_from(tmp_path):
    write_reference(tmp_path / "x.npz", REFERENCE)
    averaged = replace(MANIFEST, checkpoint=replace(MANIFEST.checkpoint, weights="ema"))
    with pytest.raises(OptionError, match=r"raw weights.*\(ema weights\): give the one it was made from"):
        read_reference(tmp_path / "x.npz", averaged)
