"""Programs that some tests run. Without one of them its tests are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / ".ci" / "programs.txt"  # what .ci/run installs
LISTED = {line.split()[0] for line in LIST.read_text().splitlines() if line and not line.startswith("#")}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Marks a test, or all of a file's, that runs `programs`."""
    assert LISTED.issuperset(programs), f"{programs}: add what is missing to {LIST}"
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing) and not os.environ.get("CI"), reason=f"{' and '.join(missing)} not found")
