"""The network to NAME.onnx: forms, folding, tracing, checks of the graph."""
