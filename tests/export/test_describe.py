"""The manifest of a network, and whether a network is the one of a manifest."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes import manifest_data
from tiny import TINY

from export.describe import is_network_of, model_of
from runtime.engine.manifest import Manifest, Stft


@pytest.mark.parametrize("named", ["vocals", "Vocals"])
def test_a_network_is_known_again_whatever_the_case_of_its_stems(named):
    """An engine exported with the names of its yaml is still compared with its checkpoint."""
    manifest = Manifest.from_json(json.dumps(manifest_data()), "a test")
    model = replace(model_of(TINY, 1000), stems=[named])
    manifest = replace(manifest, model=model, stft=Stft(**vars(TINY.stft)))
    assert is_network_of(TINY, manifest)
    assert not is_network_of(replace(TINY, stems=("drums",)), manifest)
    assert not is_network_of(replace(TINY, depth=2), manifest)
    assert not is_network_of(replace(TINY, stft=replace(TINY.stft, hop_length=8)), manifest)
