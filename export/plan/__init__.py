"""TensorRT plans: NAME.onnx to NAME.plan."""
