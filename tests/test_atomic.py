"""Files are whole or not there, whoever writes them and whatever happens; what a killed process leaves is cleared
away.
"""

from __future__ import annotations

import ast
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusionlib.atomic import AtomicFile, check_target, make_folder, tidy, write_atomically
from fusionlib.errors import WriteError

ROOT = Path(__file__).resolve().parent.parent
OURS = ".fusion-0123456789abcdef.tmp"


def test_texts_and_bytes_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    write_atomically(path, "ü\n")
    assert path.read_bytes() == "ü\n".encode()
    write_atomically(path, memoryview(b"short"))
    assert path.read_bytes() == b"short"
    write_atomically(path, b"")
    assert path.read_bytes() == b"" and os.listdir(tmp_path) == ["r.yaml"]


@pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "replace"])
def test_a_failure_at_any_step_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "r.yaml"
    write_atomically(path, "old")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(WriteError, match=r"r\.yaml cannot be written: No space left on device"):
            write_atomically(path, "new")
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["r.yaml"]


def test_a_target_that_cannot_be_one_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, words in (
        (tmp_path, "a folder of this name"),
        (tmp_path / "none" / "r", "no folder 'none'"),
        (tmp_path / "file" / "r", "no folder 'file'"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        for refused in (check_target, AtomicFile, lambda path: write_atomically(path, "x")):
            with pytest.raises(WriteError, match=words):
                refused(path)
    with pytest.raises(WriteError, match="a file is where a folder should be"):
        make_folder(tmp_path / "file" / "deeper")
    assert os.listdir(tmp_path) == ["file"]


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="full cannot be written: No space left on device"):
        write_atomically(Path("/dev/full"), "text")
    write_atomically(Path("/dev/null"), "text")
    for name in ("full", "null"):
        assert stat.S_ISCHR(os.stat(f"/dev/{name}").st_mode)
    with pytest.raises(WriteError, match="a device or a pipe"):
        AtomicFile(Path("/dev/null"))
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_atomically(tmp_path / "pipe", "text")
    reader.join()
    assert got == [b"text"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_standard_output_by_name_is_a_stream_even_where_it_is_a_file(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from fusionlib.atomic import write_atomically; write_atomically(Path('/dev/stdout'),"
        " 'text')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True, cwd=ROOT)
    assert (tmp_path / "out").read_bytes() == b"text" and Path("/dev/stdout").is_symlink()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "file")
    write_atomically(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "file").read_text() == "text"


def test_tidying_takes_what_nobody_holds_and_only_names_of_ours(tmp_path: Path) -> None:
    others = [
        ".fusion-0123.tmp",
        "fusion-0123456789abcdef.tmp",
        ".fusion-0123456789abcdef.tmp.gz",
        ".x.0123456789abcdef.tmp",
        "m.part",
    ]
    for name in (OURS, *others):
        (tmp_path / name).write_text("x")
    (tmp_path / OURS.replace("0", "1")).mkdir()
    os.mkfifo(tmp_path / OURS.replace("0", "2"))  # opening it must not wait for a reader
    (tmp_path / OURS.replace("0", "3")).symlink_to(tmp_path / "m.part")
    with AtomicFile(tmp_path / "living") as file:
        file.write(b"half")
        tidy(tmp_path)
        assert len(os.listdir(tmp_path)) == len(others) + 3
        assert not any((tmp_path / OURS.replace("0", digit)).exists() for digit in "01")
        file.write(b" and half", 4)
    assert (tmp_path / "living").read_bytes() == b"half and half"
    assert all((tmp_path / name).read_text() == "x" for name in others)
    tidy(tmp_path / "nowhere")


def test_what_a_killed_writer_leaves_is_gone_once_another_writes_there(tmp_path: Path) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path; from fusionlib.atomic import AtomicFile\nwith"
        " AtomicFile(Path(sys.argv[1])) as file:\n    file.write(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "r.yaml").write_text("old")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "r.yaml")], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 2 and (tmp_path / "r.yaml").read_text() == "old"
    write_atomically(tmp_path / "other.yaml", "new")
    assert sorted(os.listdir(tmp_path)) == ["other.yaml", "r.yaml"]


def test_writers_and_tidying_do_not_get_into_each_others_way(tmp_path: Path) -> None:
    done = threading.Event()
    problems: list[Exception] = []

    def clear() -> None:
        while not done.is_set():
            tidy(tmp_path)

    def write(number: int) -> None:
        try:
            for step in range(100):
                write_atomically(tmp_path / f"{number}", f"{number} {step}")
                assert (tmp_path / f"{number}").read_text() == f"{number} {step}"
        except Exception as problem:  # noqa: BLE001 - whatever goes wrong in a thread has to reach the test
            problems.append(problem)

    clearing, writing = (
        threading.Thread(target=clear),
        [threading.Thread(target=write, args=(number,)) for number in range(3)],
    )
    for thread in (clearing, *writing):
        thread.start()
    for thread in writing:
        thread.join()
    done.set()
    clearing.join()
    assert problems == [] and sorted(os.listdir(tmp_path)) == ["0", "1", "2"]


def test_a_few_kills_damage_nothing_lose_nothing_and_leave_nothing() -> None:
    """The short form of the hundred of `tests/benchmarks/kill.py`."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "benchmarks" / "kill.py", "--kills", "4", "--seed", "1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "export",
        "upload",
        "sweep",
        "run",
        "train",
        "trainings",
    ]


def other_ways(tree: ast.AST) -> Iterator[str]:
    """Calls that write or rename a file at once."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            modes = [
                item.value
                for item in (*node.args, *(key.value for key in node.keywords))
                if isinstance(item, ast.Constant)
            ]
            opens = called.split(".")[-1] == "open" and any(
                isinstance(mode, str) and set(mode) & set("wax+") and len(mode) < 4 for mode in modes
            )
            if (
                opens
                or called.split(".")[-1] in ("write_text", "write_bytes", "rename", "tofile")
                or called in ("os.replace", "json.dump")
            ):
                yield called


def test_nobody_writes_a_file_in_another_way() -> None:
    allowed = {
        "atomic.py": {"os.replace", "path.open"},
        "database.py": {"os.rename"},
        "uploads.py": {"path.rename", "removed.rename"},
    }
    for path in sorted((ROOT / "fusionlib").rglob("*.py")):
        assert set(other_ways(ast.parse(path.read_text(encoding="utf-8")))) <= allowed.get(path.name, set()), path


def test_the_look_for_other_ways_sees_them() -> None:
    code = (
        "open(p, 'w')\np.open(mode='ab')\np.write_text(x)\nos.replace(a, b)\nopen(p)\nopen(p, 'rb')\ntext.replace(a,"
        " b)\njson.dump(a, f)"
    )
    assert list(other_ways(ast.parse(code))) == ["open", "p.open", "p.write_text", "os.replace", "json.dump"]
