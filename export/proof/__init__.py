"""The parity check: PyTorch's own outputs, and whether an engine reproduces them."""
