"""Makes the PTX of the fused scan that the package contains: python -m export.plan.make_ptx

Needs Triton in the version of constraints.txt and no GPU. Prints what was made, with the registers that ptxas, which
comes with Triton, gives each thread.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from export.plan.scan_kernel import FOLDER, INDEX

CAPABILITY = 80  # the driver compiles PTX for 8.0 for this and every later GPU
PTX_VERSION = 80  # that of CUDA 12.0: the oldest driver that full TensorRT runs with
SIZES = {"headdim": 64, "d_state": 128}  # head dimension and state dimension of the published networks
TYPES = {"fp16": "fp16", "bf16": "bf16"}  # precision -> Triton's name
HIDDEN = 2  # pointers that Triton appends to the parameters of a kernel, for memory that this one does not use
ENTRY = re.compile(r"(\.visible \.entry (\w+)\(\n)(.*?)(\n\))", re.S)


def made() -> dict[str, str]:
    """File name -> content of everything in `FOLDER`."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from bsmamba2.networks.fused_kernel import ssd_scan
    from bsmamba2.networks.fused_scan import CHUNK, OPTIONS

    triton.knobs.compilation.disable_line_info = True  # PTX without paths of this machine
    constants = SIZES | {"chunk": CHUNK}
    names = [each.name for each in ssd_scan.params]
    aligned = [names.index(name) for name in ("x", "dt", "a", "b", "c", "d", "x_row", "bc_row", "y")]
    files, kernels = {}, {}
    for precision, narrow in TYPES.items():
        types = {"x": narrow, "b": narrow, "c": narrow, "y": narrow, "dt": "fp32", "a": "fp32", "d": "fp32"}
        source = ASTSource(
            fn=ssd_scan,
            signature={
                name: "constexpr" if name in constants else f"*{types[name]}" if name in types else "i32"
                for name in names
            },
            constexprs={(names.index(name),): value for name, value in constants.items()},
            attrs={(i,): [["tt.divisibility", 16]] for i in aligned},
        )
        options = OPTIONS | {"ptx_version": PTX_VERSION}
        compiled: Any = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
        file = f"ssd_scan_sm{CAPABILITY}_{precision}.ptx"
        entry, files[file] = without_hidden_parameters(compiled.asm["ptx"])
        kernels[precision] = {
            "file": file,
            "entry": entry,
            "threads": 32 * compiled.metadata.num_warps,
            "shared": compiled.metadata.shared,
            **constants,
        }
    files[INDEX] = json.dumps({"triton": triton.__version__, "kernels": kernels}, indent=2) + "\n"
    return files


def without_hidden_parameters(ptx: str) -> tuple[str, str]:
    """The kernel's name, and the PTX whose kernel takes what TensorRT passes: no more than the arguments."""
    found = ENTRY.search(ptx)
    assert found is not None  # noqa: S101 - Triton's own output
    parameters = found[3].split(",\n")
    for each in parameters[-HIDDEN:]:
        name = each.split()[-1]
        if len(re.findall(rf"\b{name}\b", ptx)) != 1:
            raise SystemExit(f"make_ptx: the kernel uses {name}, a parameter that TensorRT does not pass")
    head = found[1] + ",\n".join(parameters[:-HIDDEN]) + found[4]
    return found[2], ptx[: found.start()] + head + ptx[found.end() :]


def assembled(ptx: str) -> str:
    """What ptxas says of registers and spills."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [str(tool), "-v", f"-arch=sm_{CAPABILITY}", str(source), "-o", os.devnull]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stderr  # noqa: S603
    registers, spilled = re.search(r"Used (\d+) registers", said), re.search(r"(\d+) bytes spill stores", said)
    assert registers is not None and spilled is not None  # noqa: S101
    return f"{registers[1]} registers a thread, {spilled[1]} bytes spilled"


def main() -> None:
    files = made()
    for each in FOLDER.glob("*"):
        each.unlink()
    for name, content in files.items():
        (FOLDER / name).write_text(content)
        print(f"{name}: {len(content)} bytes" + (f", {assembled(content)}" if name.endswith(".ptx") else ""))


if __name__ == "__main__":
    main()
