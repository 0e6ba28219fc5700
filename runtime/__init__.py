"""Run an exported separator on songs: numpy, soundfile and ONNX Runtime, nothing of PyTorch.

from runtime import open_separator
separator = open_separator("engines/demo.onnx")
stems = separator.separate(audio, sample_rate)  # {"vocals": ..., "instrumental": ...}
"""

from runtime.errors import AudioError, EngineError, ManifestError, NumericsError, OptionError, SeparationError
from runtime.separation.separator import Separator, open_separator
from runtime.songs.separate import Report, separate_file

__all__ = [
    "AudioError",
    "EngineError",
    "ManifestError",
    "NumericsError",
    "OptionError",
    "Report",
    "SeparationError",
    "Separator",
    "open_separator",
    "separate_file",
]
