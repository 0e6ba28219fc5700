"""Which options of `bsm-export` go together, and which may stand without a value."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from runtime.errors import OptionError

OF_A_PLAN = {
    *("compute_capability", "workspace", "timing_cache"),
    *("hardware_compatibility", "optimization_level", "version_compatible"),
}
OF_TRITON = {"songs", "tensorrt_version", "onnxruntime_version"}
# An option that needs no --ckpt -> others it allows.
GO_WITH: dict[str, set[str]] = {
    **{"list": set(), "inspect": {"layers"}, "rebuild": {"trt", *OF_A_PLAN}},
    "triton": {"from", *OF_TRITON},
}
VALUE_IF_NONE = {"--trt": "auto", "--list": ""}


class ExportCommand(TyperCommand):
    """Allows the options of VALUE_IF_NONE without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = []
        for arg, after in zip(args, [*args[1:], "-"], strict=False):
            given.append(arg)
            if arg in VALUE_IF_NONE and after.startswith("-"):
                given.append(VALUE_IF_NONE[arg])
        return super().parse_args(ctx, given)


def check_belonging(ctx: typer.Context) -> None:
    """Raise OptionError for an option that would be ignored."""
    names = {param.name: param.opts[-1].removeprefix("--").replace("-", "_") for param in ctx.command.params}
    given = {names[name] for name in ctx.params if getattr(ctx.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    for mode, others in GO_WITH.items():
        for name in sorted(given - others - {mode, "debug"}) if mode in given else []:
            raise OptionError(f"--{name.replace('_', '-')}: cannot be used with --{mode}: leave it out")
    if "layers" in given and "inspect" not in given:
        raise OptionError("--layers: needs --inspect NAME")
    for name in sorted(given & {"from", *OF_TRITON}) if "triton" not in given else []:
        raise OptionError(f"--{name.replace('_', '-')}: needs --triton DIR")
    for name in sorted(given & OF_A_PLAN) if not given & {"trt", "rebuild"} else []:
        raise OptionError(f"--{name.replace('_', '-')}: applies to TensorRT plans only: add --trt")


def changes_of(given: list[str]) -> dict[str, str]:
    """The settings of --set, KEY=VALUE each, by key. Raises OptionError."""
    changes = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise OptionError(f"--set {each}: expected KEY=VALUE, such as model.stft_hop_length=512")
        changes[key] = value
    return changes
