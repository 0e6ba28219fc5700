"""The nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def nodes_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Every node, including those inside Scan bodies."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g.node)
