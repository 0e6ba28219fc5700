"""Channel masks, layout names and channel orders."""

from __future__ import annotations

import re
import subprocess

import pytest

from runtime.audio.speakers import (
    BY_COUNT,
    LAYOUTS,
    SPEAKERS,
    VORBIS_ORDER,
    WAV_ORDER,
    fits_vorbis,
    flac_mask,
    layout_of_mask,
    mask_for,
    mask_of_layout,
    vorbis_mask,
)


@pytest.mark.parametrize(
    ("layout", "mask"),
    [
        ("mono", 0x4),
        ("stereo", 0x3),
        ("5.1", 0x3F),
        ("5.1(side)", 0x60F),
        ("7.1", 0x63F),
        ("7.1(wide)", 0xFF),
        ("hexagonal", 0x137),
        ("FL+FR+LFE", 0xB),
        ("3 channels (FL+FR+LFE)", 0xB),
        ("6 channels", 0),
        ("FR+FL", 0),
        ("FL+FL", 0),
        ("FL+FR+LFE2", 0),
        ("ambisonic 1", 0),
        ("22.2", 0),
        ("", 0),
    ],
)
def test_the_mask_of_a_layout(layout, mask):
    assert mask_of_layout(layout) == mask


def test_every_named_layout_has_a_mask():
    for name, speakers in LAYOUTS.items():
        assert mask_of_layout(name).bit_count() == len(speakers.split("+")), name


@pytest.mark.needs("ffmpeg")
def test_the_layouts_are_those_of_the_installed_ffmpeg():
    done = subprocess.run(["ffmpeg", "-hide_banner", "-layouts"], capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^(\S+)\s+(\w+(?:\+\w+)*)$", done.stdout.partition("DECOMPOSITION")[2], re.MULTILINE))
    assert len(listed) > 20
    for name, speakers in listed.items():
        known = all(speaker in SPEAKERS for speaker in speakers.split("+"))
        assert LAYOUTS.get(name) == (speakers if known else None), name


def test_what_a_number_of_channels_implies():
    masks = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F, 9: 0}
    assert {channels: vorbis_mask(channels) for channels in masks} == masks
    assert {channels: flac_mask(channels) for channels in masks} == {**masks, 5: 0x607, 6: 0x60F}


def test_the_name_of_a_mask():
    assert [layout_of_mask(mask) for mask in (0x3F, 0x60F, 0x10B, 0)] == ["5.1", "5.1(side)", "FL+FR+LFE+BC", ""]


@pytest.mark.parametrize(
    ("layout", "fits"),
    [("5.1", True), ("5.1(side)", True), ("quad(side)", True), ("7.1", True), ("6.1(back)", False), ("6.0", False)],
)
def test_which_layouts_vorbis_has(layout, fits):
    assert fits_vorbis(mask_of_layout(layout)) == fits and not fits_vorbis(0)


def test_the_orders_of_vorbis_and_wav_undo_each_other():
    assert sorted(VORBIS_ORDER) == sorted(WAV_ORDER) == [3, 4, 5, 6, 7, 8]
    assert VORBIS_ORDER[6] == (0, 2, 1, 4, 5, 3)  # FL FC FR BL BR LFE
    for channels, order in VORBIS_ORDER.items():
        vorbis = [BY_COUNT[channels][i] for i in order]
        assert tuple(vorbis[i] for i in WAV_ORDER[channels]) == BY_COUNT[channels]


def test_a_mask_that_does_not_fit_the_channels_is_none():
    assert mask_for(6, 0x3F) == 0x3F
    assert mask_for(6, 0x3) == mask_for(2, 0x80000001) == mask_for(3, 0) == 0
