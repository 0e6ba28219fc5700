"""The evaluation as JSON, documented in docs/evaluation.md. A change of meaning needs a new version."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from runtime.evaluation.results import OVER_TRACKS, UNSEPARATED, Evaluation, Judged, over_tracks

SCHEMA = "bsmamba2-eval"
VERSION = 1


def as_json(evaluation: Evaluation) -> str:
    return json.dumps(as_data(evaluation), indent=2, allow_nan=False) + "\n"


def as_data(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": evaluation.created,
        "data": evaluation.data,
        "overlap": evaluation.overlap,
        "machine": asdict(evaluation.machine),
        "models": [
            {"name": name, "seconds": evaluation.own[name], "run_by": evaluation.run_by[name]}
            for name in evaluation.models
        ],
        "summary": [_summary(evaluation, *key) for key in _keys(evaluation)],
        "tracks": [_track(each) for each in evaluation.judged],
    }


def _keys(evaluation: Evaluation) -> list[tuple[str, float | None, str]]:
    return list(dict.fromkeys((each.model, each.seconds, each.stem) for each in evaluation.judged))


def _summary(evaluation: Evaluation, model: str, seconds: float | None, stem: str) -> dict[str, Any]:
    judged = evaluation.of(model, stem, seconds)
    figures = {name: over_tracks(judged, name) for name in OVER_TRACKS}
    data: dict[str, Any] = {"model": _model(model), "seconds": seconds, "stem": stem, "songs": len(judged)}
    data |= {name: None if found is None else asdict(found) for name, found in figures.items()}
    if stem == "vocals" and (seconds is None or seconds == evaluation.own.get(model)):
        data["usdr_by_segment"] = [{"mean": mean, "segments": n} for mean, n in evaluation.by_segment(model)]
    return data


def _track(judged: Judged) -> dict[str, Any]:
    data = asdict(judged)
    data["model"] = _model(judged.model)
    for name in OVER_TRACKS:
        data[name] = None if math.isnan(data[name]) else data[name]
    return data


def _model(name: str) -> str | None:
    """The name in JSON: None for the mixture itself."""
    return None if name == UNSEPARATED else name
