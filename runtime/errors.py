"""Everything that can go wrong between an engine, a song and its stems.

Each message says what was found, what was expected and what to do. Commands print it as one line and exit with 2.
"""

from __future__ import annotations


class SeparationError(Exception):
    """The root of this package's errors."""


class ManifestError(SeparationError):
    """An engine's manifest is missing, foreign, outdated or does not belong to the engine."""


class EngineError(SeparationError):
    """An engine cannot be opened or run here."""


class NumericsError(EngineError):
    """An engine returned NaN or Inf. Never turned into silence."""


class AudioError(SeparationError):
    """A song cannot be read, or its stems cannot be written."""


class OptionError(SeparationError):
    """A setting has a value that makes no sense."""
