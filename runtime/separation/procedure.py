"""How songs are cut for an engine: the way of this project, or that of MSST."""

from __future__ import annotations

from runtime.dsp.chunks import ChunkPlan, Plan
from runtime.dsp.msst import MsstPlan
from runtime.engine.manifest import Manifest
from runtime.errors import OptionError

PROCEDURES = ("default", "msst")
# Measured: docs/separation.md, "Seams". Half of an overlap is discarded, a quarter of it at each end.
DEFAULT_OVERLAP, DISCARD = 0.25, 0.5


def plan_for(manifest: Manifest, procedure: str = PROCEDURES[0], overlap: float | None = None) -> Plan:
    """The plan of a procedure, one of `PROCEDURES`, for an engine.

    `overlap`, as a fraction of a chunk, is one of the default procedure (None: `DEFAULT_OVERLAP`). Raises OptionError.
    """
    if procedure not in PROCEDURES:
        raise OptionError(f"--procedure {procedure}: must be one of {', '.join(PROCEDURES)}")
    if procedure == "default":
        return ChunkPlan.of(manifest.chunk_samples, DEFAULT_OVERLAP if overlap is None else overlap, DISCARD)
    if manifest.msst is None:
        raise OptionError(
            "--procedure msst: this engine does not say how MSST cuts songs for it: export it again with the "
            "checkpoint's yaml (bsm-export --config)"
        )
    if overlap is not None:
        raise OptionError(
            f"--overlap: cannot be used with --procedure msst: the engine's own num_overlap "
            f"({manifest.msst.num_overlap}) applies"
        )
    return MsstPlan.of(manifest.msst)
