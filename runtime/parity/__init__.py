"""Is an engine equal to its network? PyTorch's results are replayed through it and compared stage by stage."""
