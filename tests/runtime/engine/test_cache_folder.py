"""Where TensorRT's caches are, and one line where they cannot be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from runtime.engine import cache_folder as module
from runtime.engine.cache_folder import cache_folder
from runtime.errors import EngineError


def test_it_is_in_the_folder_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("BSM_CACHE", str(tmp_path / "a" / "b"))
    assert cache_folder("tensorrt") == tmp_path / "a" / "b" / "tensorrt"
    assert cache_folder("tensorrt").is_dir()  # a second time


def test_otherwise_it_is_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BSM_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = cache_folder("tensorrt")
    assert found.is_dir() and found.name == "tensorrt" and "bsmamba2" in found.parts and tmp_path in found.parents


def test_platformdirs_is_needed_only_where_no_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.setenv("BSM_CACHE", str(tmp_path))
    assert cache_folder("tensorrt") == tmp_path / "tensorrt"
    monkeypatch.delenv("BSM_CACHE")
    with pytest.raises(EngineError, match="^the user's cache folder is not known: pip install platformdirs, or set"):
        cache_folder("tensorrt")


def test_a_folder_that_cannot_be_used_is_one_line(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("BSM_CACHE", str(file))
    with pytest.raises(EngineError, match=f"^{file}/tensorrt: cannot be made \\(Not a directory\\): set BSM_CACHE to"):
        cache_folder("tensorrt")
    monkeypatch.setenv("BSM_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(EngineError, match="^BSM_CACHE=~nobody-of-this-name/cache: no such folder .*: set BSM_CACHE to"):
        cache_folder("tensorrt")
    monkeypatch.setenv("BSM_CACHE", str(tmp_path))
    monkeypatch.setattr(module.os, "access", lambda path, mode: not Path(path).is_dir())  # root may write everywhere
    with pytest.raises(EngineError, match=f"^{tmp_path}{os.sep}tensorrt: cannot be written: set BSM_CACHE to a folder"):
        cache_folder("tensorrt")
