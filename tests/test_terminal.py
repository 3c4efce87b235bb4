"""What the command line prints of names that somebody else wrote: visible, and nothing that a terminal obeys."""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from helpers import saved
from hypothesis import given
from hypothesis import strategies as st

from fusionlib.cli import main
from fusionlib.errors import FusionError, printable
from fusionlib.studio import app_options

HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
EVIL = "\x1b]0;owned\x07\x9b2J\u202egpj\r\n\u2028"
"""Sets a window's title, clears the screen, turns the direction of writing, and goes on in a new line."""


def obeyed(text: str) -> set[str]:
    return {character for character in text if unicodedata.category(character) in HIDDEN} - {"\n"}


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    """Run a verb, however it ends; what it printed, checked."""

    def call(*arguments: object) -> str:
        with suppress(SystemExit):
            main([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert not obeyed(out + err) and "Traceback" not in err
        return out + err

    return call


@given(st.text(st.characters(), max_size=20))
def test_text_is_shown_whole_and_nothing_in_it_acts(text: str) -> None:
    shown = printable(text)
    assert not obeyed(shown) and "\n" not in shown
    if not obeyed(text) and "\n" not in text:
        assert shown == text
    elif "\\" not in text:
        assert shown.encode("latin-1", "backslashreplace").decode("unicode_escape") == text


def test_an_error_is_one_line_that_shows_what_it_hides() -> None:
    line = FusionError(f"The file {EVIL}.pth", "another", "Rename it").one_line
    assert not obeyed(line) and "\n" not in line and r"\x1b]0;owned\x07\x9b2J\u202egpj" in line


def test_names_of_files_and_tensors_reach_the_terminal_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed
) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    paths = [
        saved(tmp_path / f"{name}{EVIL}.safetensors", {f"{EVIL}.weight": torch.full((2, 2), value)}).path
        for name, value in (("a", 1.0), ("b", float("nan")))
    ]
    for arguments in (
        ("inspect", *paths),
        ("inspect", *paths, "--shared"),
        ("diagnose", paths[0], paths[0]),
        ("layers", paths[0], paths[0]),
        ("merge", paths[0], paths[0], "--out", tmp_path / f"m{EVIL}.safetensors"),
        ("evaluate", paths[0], "--data", "streets:clear:1"),
    ):
        assert r"\x1b]0;owned" in printed(*arguments), arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", f"{EVIL}.pth"),
        (EVIL,),
        ("methods", EVIL),
        ("merge", "a", "b", "--out", EVIL),
        ("inspect", "a\udcff.pth"),
    ],
)
def test_so_do_arguments(printed, arguments: tuple[str, ...]) -> None:
    assert "\\" in printed(*arguments)


def test_so_do_those_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        app_options([EVIL])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and not obeyed(said) and r"\x1b" in said
