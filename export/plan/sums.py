"""Long sums of 16-bit products are accumulated in float32.

TensorRT takes the precision of the tensors also for the sums of a matrix product, unless the product is written in
float32 between casts: then it multiplies 16-bit numbers and adds them up in float32, and the weights stay 16-bit. The
products with weights are written so: their sums are over hundreds of features. Those of the scan and of attention
(chunks, states, heads) are not: there the casts would cost much memory.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def accumulate_in_float32(trt: Any, network: Any) -> int:
    """Put casts around every 16-bit matrix product with weights in `network`. Returns their number."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    makers, users = {}, defaultdict(list)
    for layer in layers:
        for i in range(layer.num_outputs):
            makers[layer.get_output(i).name] = layer
        for i in range(layer.num_inputs):
            tensor = layer.get_input(i)
            if tensor is not None:
                users[tensor.name].append((layer, i))
    number = 0
    for layer in layers:
        if layer.type != trt.LayerType.MATRIX_MULTIPLY:
            continue
        narrow = layer.get_output(0).dtype
        if narrow not in (trt.DataType.HALF, trt.DataType.BF16) or not _is_weight(trt, makers, layer.get_input(1)):
            continue
        out = layer.get_output(0)
        for i in range(2):
            layer.set_input(i, network.add_cast(layer.get_input(i), trt.DataType.FLOAT).get_output(0))
        back = network.add_cast(out, narrow).get_output(0)
        for user, i in users[out.name]:
            user.set_input(i, back)
        number += 1
    return number


def _is_weight(trt: Any, makers: dict[str, Any], tensor: Any) -> bool:
    """Whether `tensor` is a constant, possibly reshaped or cast."""
    while tensor.name in makers:
        layer = makers[tensor.name]
        if layer.type == trt.LayerType.CONSTANT:
            return True
        if layer.type not in (trt.LayerType.SHUFFLE, trt.LayerType.CAST):
            return False
        tensor = layer.get_input(0)
    return False
