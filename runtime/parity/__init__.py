"""Is an engine equal to its network? PyTorch's outputs replayed, and every stage compared."""
