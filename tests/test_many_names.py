"""Networks of tens of thousands of tensors: whatever walks over names takes time in proportion to them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from fusionlib.architectures.nearest import explanations
from fusionlib.architectures.recognise import network_of, recognise
from fusionlib.checkpoints.compare import preflight
from fusionlib.checkpoints.groups import agreed, name_tensors
from fusionlib.checkpoints.layout import Layout
from fusionlib.checkpoints.reader import SORTED_NOTE, Checkpoint, TensorInfo
from fusionlib.checkpoints.sharing import Sharing, shared_table
from fusionlib.contracts import ARCHITECTURES
from fusionlib.engine.packing import registration_order

NAMES = 20_000
LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def checkpoint(name: str, mark: str = "", integers: bool = False) -> Checkpoint:
    """20,000 tensors of one element without a file; `mark` is put behind every second name."""
    infos = {}
    for number in range(NAMES // len(LEAVES)):
        for at, leaf in enumerate(LEAVES):
            key = f"layer{number}.{leaf}{mark if at % 2 else ''}"
            whole = integers or leaf == "num_batches_tracked"
            infos[key] = TensorInfo(key, (1,), torch.int64 if whole else torch.float32)
    found = Checkpoint(Path(name), name, infos, (SORTED_NOTE,), 0, {}, (), {})
    found.__dict__["fingerprint"] = name
    return found


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Of this process's own work, so that a busy machine changes nothing."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 1.5 * seconds  # of a second thread, too


@pytest.mark.parametrize("other", [{}, {"mark": "x"}, {"integers": True}], ids=["alike", "other names", "other kinds"])
def test_preflight(other: dict) -> None:
    first, second = checkpoint("a"), checkpoint("b", **other)
    explanations([checkpoint("made", "y")])  # the built-in networks are made once, however many names are asked about
    with at_most(2):
        report = preflight([first, second], recognise, explanations)
    assert report.compatible == (not other)
    assert len(report.shared) + len(report.missing) == len(first.tensors.keys() | second.tensors.keys())


def test_layout_and_what_is_shared() -> None:
    first, second = checkpoint("a"), checkpoint("b", "x")
    with at_most(2):
        assert len(Layout.of(first.tensors).statistics) == NAMES // len(LEAVES)
        assert len(shared_table([first, second], 0, Sharing({"x$": ""})).shared) == NAMES
        assert Sharing({"q": "r"}, ("q*",)).idle(first.tensors, second.tensors) == ("q", "q*")


def test_groups_of_names() -> None:
    shapes = checkpoint("a").shapes | {
        f"ema.module.{name}": shape for name, shape in checkpoint("a", "x").shapes.items()
    }
    with at_most(2):
        naming = name_tensors("a", shapes, recognise=lambda _: None)
    assert len(naming.clean) == NAMES and naming.others == ("ema.module.",)
    with at_most(2):
        assert agreed([(shapes, naming), (checkpoint("b").shapes, naming)]) == [None, None]


def test_the_order_of_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    class Listed(nn.Module):
        def state_dict(self, *args, **kwargs):
            return dict.fromkeys(reversed(checkpoint("a").tensors))

    class Known:
        def recognise(self, shapes):
            return 1

        def build(self, classes):
            return Listed()

    ARCHITECTURES.names()
    monkeypatch.setattr(ARCHITECTURES, "_items", {"listed": Known()})
    found = checkpoint("a")
    with at_most(2):
        names, notes = registration_order(found, network_of(found.shapes))
    assert notes == () and len(names) == NAMES * 4 // 5
    assert names[0] == f"layer{NAMES // 5 - 1}.running_var"
