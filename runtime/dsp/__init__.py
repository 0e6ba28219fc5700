"""STFT, resampling, chunks and overlap-add."""
