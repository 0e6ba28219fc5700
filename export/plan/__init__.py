"""NAME.onnx to NAME.plan."""
