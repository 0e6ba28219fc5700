"""The measurement as JSON, documented in docs/bench.md. A change of meaning needs a new version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from runtime.bench.results import Bench, Outcome, Point, Products
from runtime.bench.spread import Spread

SCHEMA = "bsmamba2-bench"
VERSION = 1


def as_json(bench: Bench) -> str:
    return json.dumps(as_data(bench), indent=2, allow_nan=False) + "\n"


def as_data(bench: Bench) -> dict[str, Any]:
    required = bench.requirement
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "created": bench.created,
        "settings": {
            "rounds": bench.rounds,
            "warmup": bench.warmup,
            "threads": bench.threads,
            "device": bench.device,
        },
        "machine": asdict(bench.machine),
        "contenders": [_contender(each, bench) for each in bench.outcomes],
        "requirement": None if required is None else asdict(required),
    }


def _contender(outcome: Outcome, bench: Bench) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": outcome.name,
        "kind": outcome.kind,
        "precision": outcome.precision,
        "frames": outcome.work.frames,
        "batch": outcome.work.batch,
        "io": outcome.work.io,
        "audio_seconds": outcome.work.seconds,
        "not_run": outcome.not_run or None,
        "measured": None,
    }
    if not outcome.run_seconds:
        return data
    stages = outcome.stage_seconds
    data["measured"] = {
        "executor": outcome.executor,
        "open_seconds": outcome.open_seconds,
        "run_seconds": outcome.run_seconds,
        "cold_start_seconds": outcome.cold_start,
        "first_seconds": outcome.run_seconds[0],
        "third_seconds": outcome.third,
        "median_seconds": outcome.seconds,
        "p95_seconds": outcome.p95,
        "times_real_time": outcome.times_real_time,
        "ratio_to_first": asdict(bench.ratio(outcome)),
        "peak_memory_bytes": outcome.peak_memory,
        "gpu_memory_bytes": outcome.gpu_memory,
        "stage_seconds": stages,
        "products": _products(outcome),
        "sweep": [_point(each) for each in outcome.sweep],
    }
    return data


def _products(outcome: Outcome) -> dict[str, Any] | None:
    products = outcome.products
    if products is None:
        return None
    if not isinstance(products, Products):
        return {"not_measured": products}
    times = outcome.times_products()
    return {
        "not_measured": None,
        "round_seconds": products.round_seconds,
        "median_seconds": products.seconds,
        "flops": products.flops,
        "gflops_per_second": products.flops / products.seconds / 1e9,
        "times_products": asdict(times) if isinstance(times, Spread) else None,
        "each": [
            {
                "left": list(each.product.left),
                "right": list(each.product.right),
                "weight": each.product.weight,
                "dtype": each.product.dtype,
                "count": each.count,
                "flops": each.product.flops,
                "seconds": each.seconds,
            }
            for each in products.each
        ],
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "frames": point.work.frames,
        "batch": point.work.batch,
        "audio_seconds": point.work.seconds,
        "run_seconds": point.run_seconds,
        "seconds_per_audio_second": point.cost,
    }
