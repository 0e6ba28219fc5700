"""The commands bsm-parity, bsm-bench and bsm-eval, with the parts of them that need PyTorch."""
