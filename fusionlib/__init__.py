"""Merge segmentation checkpoints and see what the merge gains and loses."""

import os

__version__ = "0.1.0"

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    # torch's threads spin at barriers, for milliseconds by default: beside any other work each waits for one that does
    # not run, and a forward pass takes ten times as long. It is read when torch loads, so this package comes first
    # where it can. ENet pass as torch does it / 5000 / 1000: alone 58 / 66 / 92 ms, beside a busy process 766 / 167 /
    # 119 (tests/benchmarks/threads.py).
    os.environ["GOMP_SPINCOUNT"] = "5000"
