"""A network that gives what it computes on the way, too: what a comparison stage by stage looks at."""

from __future__ import annotations

from torch import Tensor, nn

from bsmamba2.networks.model import BandSplitSeparator, complex_product
from bsmamba2.networks.precision import wide


class Probed(nn.Module):
    """`mixture` [b, t, f, c, 2] -> `stems` [b, s, t, f, c, 2], then the probes, float32 at any precision.

    Their order is that of `runtime.engine.manifest.probe_tensors`: the masks [b, s, t, f, c, 2], the band features
    [b, t, k, d], what each dual-path layer gives [b, t, k, d].
    """

    def __init__(self, model: BandSplitSeparator) -> None:
        super().__init__()
        self.model = model

    def forward(self, mixture: Tensor) -> tuple[Tensor, ...]:
        stages = [self.model.band_split(mixture)]
        for layer in self.model.layers:
            stages.append(self.model.through(layer, stages[-1]))
        masks = self.model.masks(stages[-1])
        return complex_product(masks, mixture[:, None]), masks, *(wide(stage) for stage in stages)
