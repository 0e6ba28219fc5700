"""PyTorch's own outputs, and the verdict on an engine."""
