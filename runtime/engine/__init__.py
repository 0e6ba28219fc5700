"""What an engine is: its manifest, the header of its plan, the TensorRT package and GPU it needs."""
