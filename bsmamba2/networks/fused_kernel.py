"""The fused scan as a Triton kernel: one program per sequence and head, whose state stays on the chip.

The block form of `bsmamba2.networks.scan.chunked_scan`, chunk after chunk: x, dt, B and C are read once, y is written
once, and nothing else goes through memory. Products multiply 16-bit numbers; their sums, the state and the decays are
float32, and running sums of log-decays have two parts, as in `RunningSum`.

`bsmamba2.networks.fused_scan` calls it in PyTorch, `python -m export.plan.make_ptx` compiles it for TensorRT. So the
order of the arguments is that of TensorRT's AOT plugins: inputs, integers, outputs.
"""

from __future__ import annotations

import triton
import triton.language as tl

from bsmamba2.networks import scan

LEAST = tl.constexpr(scan.LEAST)
MASKED = tl.constexpr(scan.MASKED)
STEP = tl.constexpr(scan.STEP)


@triton.jit
def ssd_scan(
    x,  # [b, l, h, p], a position every `x_row` elements
    dt,  # [b, l, h], float32
    a,  # [h], float32
    b,  # [b, l, n], a position every `bc_row` elements
    c,  # [b, l, n], as b
    d,  # [h], float32
    length,
    heads,
    x_row,
    bc_row,
    reverse,  # 0, or 1: from the last position to the first
    y,  # [b, l, h, p], contiguous
    headdim: tl.constexpr,
    d_state: tl.constexpr,
    chunk: tl.constexpr,  # positions of a step
):
    sequence = (tl.program_id(0) // heads).to(tl.int64)
    head = tl.program_id(0) % heads
    x += sequence * length * x_row + head * headdim
    y += sequence * length * heads * headdim + head * headdim
    dt += sequence * length * heads + head
    b += sequence * length * bc_row
    c += sequence * length * bc_row
    decay_rate, skip = tl.load(a + head), tl.load(d + head)
    i, p, n = tl.arange(0, chunk), tl.arange(0, headdim), tl.arange(0, d_state)
    state = tl.zeros((d_state, headdim), dtype=tl.float32)
    for start in range(0, length, chunk):
        # 1. one chunk; positions after the end have dt = 0, which neither decays nor changes the state
        inside = start + i < length
        at = tl.where(inside, tl.where(reverse == 1, length - 1 - start - i, start + i), 0)
        some = inside[:, None]
        x_chunk = tl.load(x + at[:, None] * x_row + p[None, :], mask=some, other=0.0)
        b_chunk = tl.load(b + at[:, None] * bc_row + n[None, :], mask=some, other=0.0)
        c_chunk = tl.load(c + at[:, None] * bc_row + n[None, :], mask=some, other=0.0)
        dt_chunk = tl.load(dt + at * heads, mask=inside, other=0.0)

        # 2. log-decays, and their sums up to and with each position
        log_decay = tl.maximum(dt_chunk * decay_rate, LEAST)
        coarse_part = tl.floor(log_decay / STEP + 0.5) * STEP
        coarse, fine = tl.cumsum(coarse_part, 0), tl.cumsum(log_decay - coarse_part, 0)
        coarse_sum, fine_sum = tl.sum(coarse_part, 0), tl.sum(log_decay - coarse_part, 0)

        # 3. within the chunk, and D
        between = (coarse[:, None] - coarse[None, :]) + (fine[:, None] - fine[None, :])
        decay = tl.exp(tl.where(i[:, None] >= i[None, :], between, MASKED))
        scores = tl.dot(c_chunk, tl.trans(b_chunk), input_precision="ieee") * decay * dt_chunk[None, :]
        out = tl.dot(scores.to(x.dtype.element_ty), x_chunk, input_precision="ieee") + x_chunk.to(tl.float32) * skip

        # 4. what earlier chunks left
        before = tl.dot(c_chunk, state.to(x.dtype.element_ty), input_precision="ieee")
        out += before * tl.exp(coarse + fine)[:, None]
        tl.store(y + at[:, None] * (heads * headdim) + p[None, :], out.to(y.dtype.element_ty), mask=some)

        # 5. what this chunk leaves
        to_end = tl.exp((coarse_sum - coarse) + (fine_sum - fine)) * dt_chunk
        left = (x_chunk.to(tl.float32) * to_end[:, None]).to(x.dtype.element_ty)
        state = state * tl.exp(coarse_sum + fine_sum) + tl.dot(tl.trans(b_chunk), left, input_precision="ieee")
