"""The label space that a network's outputs stand for where nothing but their number is known."""

from __future__ import annotations

from fusionlib.contracts import class_count

_BY_COUNT = {11: "camvid", 19: "cityscapes", 20: "cityscapes-void"}


def usual_space(outputs: int) -> str:
    """19 outputs are taken for Cityscapes, 20 for Cityscapes with a void output, 11 for CamVid; other counts get
    numbered classes.
    """
    return _BY_COUNT.get(outputs, f"classes-{class_count(outputs)}")
