"""The networks in PyTorch: scan, Mamba2 and transformer blocks, the separator, its STFT."""
