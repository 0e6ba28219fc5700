"""The parts of benchmarks/gpu.py. Each way to run a network is measured in a process of its own (worker.py)."""
