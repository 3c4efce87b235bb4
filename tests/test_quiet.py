"""Warnings of torch and of the user's code stay out of the terminal; those of others do not."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers import folder_data
from model_files import net_with, registered, tensors_of

from fusionlib.checkpoints.reader import open_checkpoint
from fusionlib.cli import main
from fusionlib.quiet import quiet

pytestmark = pytest.mark.usefixtures("architectures")


@pytest.fixture
def shown() -> Iterator[list[warnings.WarningMessage]]:
    """Every warning that would reach the terminal."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def warn(text: str) -> None:
    warnings.warn(text, stacklevel=1)


def texts(shown: list[warnings.WarningMessage]) -> list[str]:
    return [str(item.message) for item in shown]


def test_only_the_thread_that_asked_is_quiet_and_only_meanwhile(shown: list[warnings.WarningMessage]) -> None:
    warn("before")
    with quiet():
        warn("unseen")
        other = threading.Thread(target=warn, args=("of another thread",))
        other.start()
        other.join()
        with quiet():
            warn("unseen too")
        warn("still unseen")
        with pytest.raises(ZeroDivisionError), quiet():
            1 / 0  # noqa: B018
        warn("and still")
    warn("after")
    assert texts(shown) == ["before", "of another thread", "after"]


def test_it_holds_where_others_reset_the_filters(shown: list[warnings.WarningMessage]) -> None:
    with quiet(), warnings.catch_warnings():
        warnings.resetwarnings()
        with quiet():
            warn("unseen")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            warn("no error either")
        with pytest.raises(UserWarning):
            warn("an error as before")
    assert not shown


def old_pickle(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A file that torch remarks on when it is read."""
    torch.save(tensors, path, pickle_protocol=3)


def test_what_torch_remarks_on_a_file_is_not_shown(tmp_path: Path, shown: list[warnings.WarningMessage]) -> None:
    old_pickle(tmp_path / "old.pth", {"a": torch.ones(2)})
    assert list(open_checkpoint(tmp_path / "old.pth").tensors) == ["a"] and not shown
    torch.load(tmp_path / "old.pth", weights_only=True)
    assert any("pickle protocol" in text for text in texts(shown)), "torch does not remark on it any more"


CODE = """import warnings
warnings.warn("of the file")
{net}
class Net(Net):
    def __init__(self, classes):
        warnings.warn("of the factory")
        super().__init__(classes)

def stages(net):
    warnings.warn("of the stages")
    from fusionlib.contracts import Stage
    return (Stage("all", net, ("body", "norm", "head")),)
"""


@pytest.mark.parametrize("verb", ["evaluate old.pth", "inspect old.pth", "evaluate lacking.pth", "evaluate wrong.pth"])
def test_the_terminal_has_the_answer_or_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    shown: list[warnings.WarningMessage],
    verb: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    folder_data(tmp_path / "town", 2)
    forward = "(warnings.warn('of forward'), nn.functional.upsample(z, scale_factor=2), nn.functional.softmax(z))[1]"
    item = registered(tmp_path, CODE.replace("{net}", net_with(forward)))
    tensors = dict(tensors_of(item, 3))
    old_pickle(tmp_path / "old.pth", tensors)
    old_pickle(tmp_path / "lacking.pth", {name: item for name, item in tensors.items() if name != "head.bias"})
    old_pickle(tmp_path / "wrong.pth", dict(tensors_of(item, 4)))
    status = 0
    try:
        main([*verb.split(), "--model", "mine.py:make", *(["--data", "folder:town"] if "evaluate" in verb else [])])
    except SystemExit as ended:
        status = int(str(ended.code))
    out, err = capfd.readouterr()
    refused = verb.split()[1] in ("lacking.pth", "wrong.pth")
    assert not texts(shown) and (status, err.count("\n"), bool(out)) == ((2, 1, False) if refused else (0, 0, True))
