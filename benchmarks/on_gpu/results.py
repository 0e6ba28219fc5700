"""All that was found, as gpu.json: written again whenever it has grown, so that nothing is lost with this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from on_gpu.contenders import Contender
from on_gpu.limits import Limits, measured, published
from on_gpu.machine import Machine
from on_gpu.work import Work

SCHEMA, VERSION = "bsmamba2-gpu", 1


@dataclass
class Results:
    path: Path
    work: Work
    machine: Machine
    command: str
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    network: dict[str, Any] = field(default_factory=dict)  # parameters, seconds of audio in a chunk
    parts: list[dict[str, Any]] = field(default_factory=list)  # what it has to do, by precision and batch
    chip: dict[str, Any] | None = None  # what the GPU did alone
    reference: dict[str, Any] = field(default_factory=dict)  # how PyTorch's stems were computed
    contenders: list[dict[str, Any]] = field(default_factory=list)
    drift: dict[str, Any] | None = None  # the first contender, measured again at the end

    def put(self, contender: Contender, record: dict[str, Any]) -> dict[str, Any]:
        """The record of a contender, in place of an earlier one, with what follows from it. Writes the file."""
        name = {"name": contender.name, "group": contender.group, "precision": contender.precision}
        shown = {**name, "points": [], "scans": [], **record}
        shown.pop("stage", None)
        shown.pop("done", None)
        for point in shown["points"]:
            self._judge(point, contender.precision)
        for each in shown["scans"]:
            each["limit_seconds"] = self._least([{**each, "count": 1}], contender.precision)
            each["share_of_limit"] = share(each["limit_seconds"], each["seconds"]["median"])
        self.contenders = [each for each in self.contenders if each["name"] != contender.name] + [shown]
        self.write()
        return shown

    def _judge(self, point: dict[str, Any], precision: str) -> None:
        if point["not_run"]:
            return
        seconds = seconds_of(point)
        point["times_real_time"] = point["batch"] * self.work.seconds / point["latency"]["median"]
        point["limit_seconds"] = self._least(self.parts_of(precision, point["batch"]), precision)
        point["share_of_limit"] = share(point["limit_seconds"], seconds)

    def _least(self, parts: list[dict[str, Any]], precision: str) -> dict[str, float | None]:
        return {
            name: None if limits is None else limits.seconds(parts, precision) for name, limits in self.limits().items()
        }

    def limits(self) -> dict[str, Limits | None]:
        return {"published": published(self.machine.gpu), "measured": measured(self.chip)}

    def parts_of(self, precision: str, batch: int) -> list[dict[str, Any]]:
        found = (each["parts"] for each in self.parts if (each["precision"], each["batch"]) == (precision, batch))
        return next(found, [])

    def totals(self) -> Iterator[dict[str, Any]]:
        """The arithmetic and the bytes of one run, for each precision and batch."""
        for each in self.parts:
            flops = sum(part["count"] * part["flops"] for part in each["parts"])
            size = sum(part["count"] * part["bytes"] for part in each["parts"])
            yield {"precision": each["precision"], "batch": each["batch"], "flops": flops, "bytes": size}

    def write(self) -> None:
        data = {
            "schema": SCHEMA,
            "version": VERSION,
            "created": self.created,
            "command": self.command,
            "settings": {name: value for name, value in self.work.to_dict().items() if name != "folder"},
            "machine": asdict(self.machine),
            "limits": {name: limits and asdict(limits) for name, limits in self.limits().items()},
            "chip": self.chip,
            "network": {**self.network, "work": list(self.totals())},
            "reference": self.reference,
            "contenders": self.contenders,
            "drift": self.drift,
        }
        part = self.path.with_name(f".{self.path.name}.part")
        part.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
        part.replace(self.path)


def seconds_of(point: dict[str, Any]) -> float:
    """The time that is compared with the limit: on the GPU alone where it is known, else queued, else the latency."""
    for name in ("gpu_seconds", "queued_seconds", "latency"):
        if point.get(name):
            return float(point[name]["median"])
    raise ValueError("a point without a time")


def share(limits: dict[str, float | None], seconds: float) -> dict[str, float | None]:
    return {name: None if least is None else least / seconds for name, least in limits.items()}


def state(record: dict[str, Any]) -> str:
    """ "done", "wrong" (beyond its tolerance), "failed" or "not run"."""
    if record["failed"]:
        return "failed"
    if record["not_run"] or (record["points"] and all(point["not_run"] for point in record["points"])):
        return "not run"
    verdicts = [point["parity"]["within"] for point in record["points"] if point.get("parity")]
    verdicts += [each["within"] for each in record["scans"]]
    return "done" if all(verdicts) else "wrong"
