"""Published figures, shown beside measured ones.

Source of all: Kim and Choi, "Mamba2 Meets Silence: Robust Vocal Source Separation for Sparse Regions", Tables II to IV:
vocals of the 50 test songs of MUSDB18-HQ, in dB.
"""

from __future__ import annotations

NOTE = "Published by Kim and Choi (BSMamba2): vocals of the 50 test songs of MUSDB18-HQ; not measured here."

# Table II: uSDR, cSDR
WHOLE: dict[str, tuple[float | None, float | None]] = {
    "ResUNetDecouple": (None, 8.98),
    "Hybrid Demucs": (None, 8.13),
    "BSRNN": (9.73, 10.01),
    "SIMO stereo BSRNN": (10.33, 9.79),
    "BS-RoFormer (L=6, TC)": (None, 10.68),
    "SCNet-large": (None, 10.86),
    "BS-RoFormer (unofficial)": (10.29, 10.47),
    "BSMamba2": (10.70, 11.03),
}
# Table III: uSDR of vocal segments of 1 to 2, 2 to 4 and 4 to 8 s
BY_SEGMENT = {
    "BS-RoFormer (unofficial)": (8.47, 10.29, 12.14),
    "BSMamba2": (9.62, 11.28, 12.39),
}
# Table IV: uSDR and cSDR by the length of the input, s
BY_LENGTH: dict[str, dict[float, tuple[float, float]]] = {
    "BS-RoFormer (unofficial)": {
        1: (8.09, 8.72),
        2: (9.37, 9.85),
        4: (10.00, 10.25),
        8: (10.29, 10.47),
        12: (9.47, 9.70),
        16: (8.97, 9.26),
    },
    "BSMamba2": {
        1: (9.27, 10.12),
        2: (10.00, 10.65),
        4: (10.50, 10.89),
        8: (10.70, 11.03),
        12: (10.78, 11.07),
        16: (10.73, 11.04),
    },
}
