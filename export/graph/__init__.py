"""The network to an ONNX graph: equivalent forms that run faster, tracing, checks."""
