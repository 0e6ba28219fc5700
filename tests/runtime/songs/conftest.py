"""What the engine is given."""

from __future__ import annotations

import pytest

from runtime.songs import batch


@pytest.fixture
def separated(monkeypatch):
    """The songs that the engine was given, one after the other."""
    given = []
    separate = batch.separate_file

    def watched(separator, path, *args, **options):
        given.append(str(path))
        return separate(separator, path, *args, **options)

    monkeypatch.setattr(batch, "separate_file", watched)
    return given
