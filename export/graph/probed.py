"""A network that also outputs its intermediate results, for a comparison stage by stage."""

from __future__ import annotations

from torch import Tensor, nn

from bsmamba2.networks.model import BandSplitSeparator, complex_product
from bsmamba2.networks.precision import wide


class Probed(nn.Module):
    """`mixture` [b, t, f, c, 2] -> `stems` [b, s, t, f, c, 2], then the probes, in float32 at any precision.

    The probes are, in the order of `runtime.engine.manifest.probe_tensors`: the masks [b, s, t, f, c, 2], the band
    features [b, t, k, d] and the output of each dual-path layer [b, t, k, d].
    """

    def __init__(self, model: BandSplitSeparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, mixture: Tensor) -> tuple[Tensor, ...]:
        features = self.model.band_split(mixture)
        stages = [features, *self.model.dual_path(features)]
        masks = self.model.masks(stages[-1])
        return complex_product(masks, mixture[:, None]), masks, *(wide(stage) for stage in stages)
