"""Mel spectrograms, plots and HTML pages."""
