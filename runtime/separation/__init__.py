"""Arrays and streams of samples through an engine."""
