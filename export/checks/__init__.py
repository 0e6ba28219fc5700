"""bsm-parity, bsm-bench and bsm-eval: the parts where PyTorch takes part."""
