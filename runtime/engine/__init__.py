"""What an engine is: its manifest and files, the header of a plan, the TensorRT package and GPU that a plan needs."""
