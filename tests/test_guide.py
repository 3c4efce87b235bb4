"""The guide: chapters that open, tables that hold all that is registered, links and commands that are right."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from io import StringIO
from pathlib import Path

import pytest
from conftest import ROOT
from page_tools import opened, text

from fusionlib import contracts
from fusionlib.cli import VERBS, main
from fusionlib.contracts import (
    ARCHITECTURES,
    DATASETS,
    DIAGNOSTICS,
    MEASURES,
    METHODS,
    REGIMES,
    STATISTICS,
    STRATEGIES,
    STUDIES,
    Registry,
    parameters_of,
)
from fusionlib.data.labels import LABEL_SPACES
from fusionlib.errors import UsageError
from fusionlib.guide import (
    CHAPTERS,
    FOLDER,
    LINK,
    PLACEHOLDER,
    anchor_of,
    as_markdown,
    chapter,
    filled,
    linked,
    placeholders,
    table,
)
from fusionlib.guide.tables import TABLES
from fusionlib.merging.choices import POLICIES, RULES
from fusionlib.options import app_options
from fusionlib.studies.choices import GROUPS

REGISTERED = {
    "methods": METHODS,
    "measures": MEASURES,
    "studies": STUDIES,
    "strategies": STRATEGIES,
    "regimes": REGIMES,
    "statistics": STATISTICS,
    "diagnostics": DIAGNOSTICS,
    "architectures": ARCHITECTURES,
    "datasets": DATASETS,
}
CHOICES = {"buffers": POLICIES, "rules": RULES, "rows": GROUPS, "label-spaces": LABEL_SPACES}


def printed(*arguments: str) -> str:
    """What the command line prints; help ends with an exit of its own."""
    out = StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        main(arguments)
    return out.getvalue()


def written(name: str) -> str:
    """A chapter as it stands in its file."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def outside_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


# --- chapters --------------------------------------------------------------------------------------------------------


def test_the_table_of_chapters_is_the_folder() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.md" for name in CHAPTERS}


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_a_title_and_sections_that_say_something(name: str) -> None:
    found = chapter(name)
    assert written(name).startswith(f"# {found.title}\n")
    assert found.title == name.capitalize(), "the page shows the name, which stands in the URL"
    assert found.sections[1:] and all(section.text for section in found.sections[1:])
    anchors = [section.anchor for section in found.sections[1:]]
    assert all(anchors) and len(set(anchors)) == len(anchors)


@pytest.mark.parametrize("name", CHAPTERS)
def test_lines_of_text_are_short(name: str) -> None:
    lines = [line for line in written(name).splitlines() if not line.startswith("|")]
    assert max(map(len, lines)) <= 150


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_placeholder_is_a_table(name: str) -> None:
    asked = PLACEHOLDER.findall(written(name))
    assert list(placeholders(written(name))) == asked, "a placeholder is a line of its own"
    assert set(asked) <= set(TABLES)
    assert not PLACEHOLDER.search(filled(written(name)))


def test_every_table_stands_in_one_chapter() -> None:
    assert sorted(found for name in CHAPTERS for found in placeholders(written(name))) == sorted(TABLES)


@pytest.mark.parametrize("name", CHAPTERS)
def test_links_lead_to_chapters_and_headings(name: str) -> None:
    for address in re.findall(r"\]\(([^)]*)\)", outside_code(written(name))):
        found = LINK.fullmatch(f"]({address})")
        assert found, f"{address}: links name a chapter and a heading of it"
        target = chapter(found[1])
        assert (found[2] or "#")[1:] in ("", *(section.anchor for section in target.sections)), address


def test_a_heading_inside_code_is_a_comment() -> None:
    assert "# classes.yaml" in chapter("data").sections[1].text
    assert [section.title for section in chapter("data").sections[1:]] == [
        line.removeprefix("## ") for line in written("data").splitlines() if line.startswith("## ")
    ]


def test_an_unknown_chapter_or_table_is_said_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'merge'.*merging"):
        chapter("merge")
    with pytest.raises(UsageError, match=r"'method'.*methods"):
        table("method")


def test_a_guide_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionlib.guide.FOLDER", tmp_path)
    with pytest.raises(UsageError, match=r"start\.md"):
        chapter("start")


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REGISTERED, *CHOICES])
def test_a_table_has_all_that_is_registered(name: str) -> None:
    known = REGISTERED[name].names() if name in REGISTERED else CHOICES[name]
    rows = table(name)
    assert sorted(row["name"] for row in rows) == sorted(known)
    for one in known:
        assert f"\n| `{one}` | " in as_markdown(rows)


@pytest.mark.parametrize("name", TABLES)
def test_rows_have_the_same_columns_and_say_what_they_are(name: str) -> None:
    rows = table(name)
    assert rows and all(list(row) == list(rows[0]) for row in rows)
    for row in rows:
        assert all(isinstance(value, str) for value in row.values())
        assert all(
            row[column] for column in row if column.startswith("what") or column in ("title", "source", "version")
        )


def test_parameters_are_those_of_every_method_with_their_ranges() -> None:
    rows = table("parameters")
    known = [(name, item.name) for name in METHODS.names() for item in parameters_of(METHODS.get(name))]
    assert [(row["of"], row["parameter"]) for row in rows if row["of"] in METHODS][: len(known)] == known
    alpha = next(row for row in rows if (row["of"], row["parameter"]) == ("linear", "alpha"))
    assert (alpha["default"], alpha["range"]) == ("0.5", "0 to 1")
    seed = next(row for row in rows if (row["of"], row["parameter"]) == ("fisher", "seed"))
    assert seed["range"] == "0 to 2147483647"
    scope = next(row for row in rows if (row["of"], row["parameter"]) == ("slerp", "scope"))
    assert (scope["default"], scope["range"]) == ("tensor", "tensor, whole")


def test_figures_are_those_of_every_measure_with_their_units() -> None:
    known = [(name, one.name, one.unit) for name in MEASURES.names() for one in MEASURES.get(name).figures]
    assert [(row["of"], row["figure"], row["unit"]) for row in table("figures")] == known


def test_every_extension_point_is_in_the_guide() -> None:
    known = {name for name, value in vars(contracts).items() if isinstance(value, Registry)}
    assert known == set(re.findall(r"\| `([A-Z]+)\.register", written("extending")))


def test_what_registries_say_is_text_and_no_markup() -> None:
    rows = [{"name": "a | b", "title": "x | y\n| z"}]
    assert as_markdown(rows).splitlines()[2] == "| a \\| b | x \\| y \\| z |"
    assert as_markdown(rows, lambda text: text.upper().replace("|", "!")).splitlines()[2] == "| A ! B | X ! Y ! Z |"
    assert as_markdown([{"name": "a` <b>"}]).splitlines()[2] == "| a` <b> |"


# --- commands that the texts name ------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, list[str]]]:
    """Where a text names a command of this program, and its words up to a comment."""
    texts = {"README": (ROOT / "README.md").read_text(encoding="utf-8")} | {name: written(name) for name in CHAPTERS}
    for name, said in texts.items():
        for found in re.finditer(r"python -m fusionlib ([^`\n]*)", said):
            yield name, shlex.split(found[1], comments=True)


@cache
def options(verb: str) -> set[str]:
    """The options in a verb's help."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", printed(verb, "--help")))


@pytest.mark.parametrize(("place", "words"), list(commands()), ids=lambda value: str(value)[:60])
def test_a_command_that_is_named_is_a_verb_with_these_options(place: str, words: list[str]) -> None:
    if words[0] in ("VERB", "--help"):  # any of them
        return
    assert words[0] in VERBS
    assert {word for word in words if word.startswith("--")} <= options(words[0]) | {"--json"}


def test_every_verb_is_in_the_guide_and_every_option_of_the_server() -> None:
    named = {words[0] for place, words in commands() if place == "start"}
    assert named >= set(VERBS) - {"measures"} and "measures, studies list" in written("start")
    out = StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        app_options(["--help"])
    known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", out.getvalue())) - {"--help"}
    rows = "".join(line for line in written("serving").splitlines() if line.startswith("| `--"))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rows)) == known


def test_options_in_the_text_are_those_of_some_verb_or_of_the_server() -> None:
    known = set().union(*(options(verb) for verb in VERBS)) | {"--server"}
    out = StringIO()
    with redirect_stdout(out), suppress(SystemExit):
        app_options(["--help"])
    known |= set(re.findall(r"--[a-z][a-z-]*", out.getvalue()))
    for name in CHAPTERS:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", written(name))) <= known, name


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_verb_lists_chapters_with_their_sections() -> None:
    listed = json.loads(printed("guide", "--json"))["guide"]
    assert [one["name"] for one in listed] == list(CHAPTERS)
    lines = printed("guide").splitlines()
    assert len(lines) == len(CHAPTERS)
    for one, line in zip(listed, lines, strict=True):
        assert line.startswith(one["name"]) and all(section in line for section in one["sections"])


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_verb_prints_a_chapter_with_its_tables(name: str) -> None:
    out = printed("guide", name)
    assert out.startswith(f"# {chapter(name).title}\n")
    assert out.rstrip("\n") == filled(written(name)).rstrip("\n")
    found = json.loads(printed("guide", name, "--json"))
    assert found["lines"] == out.splitlines()
    assert found["tables"] == {one: table(one) for one in placeholders(written(name))}


def test_a_chapter_of_text_alone_does_not_wait_for_torch() -> None:
    program = (
        "import sys\nfrom fusionlib.cli import main\nmain(['guide', 'serving'])\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "False" and done.stdout.startswith("# Serving")


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    with opened("guide.py", tmp_path / "home", monkeypatch) as open_page:
        yield open_page


def test_every_chapter_opens_on_the_page(guide) -> None:
    app = guide()
    for name in CHAPTERS:
        app.segmented_control(key="chapter").set_value(name).run()
        assert not app.exception and not app.error
        sections = chapter(name).sections[1:]
        assert [(item.value, item.anchor) for item in app.subheader] == [(one.title, one.anchor) for one in sections]
        said = text(app)
        assert all(f"[{one.title}](#{one.anchor})" in said for one in sections)
        assert not PLACEHOLDER.search(said) and ".md" not in outside_code(said)


def test_tables_and_links_are_on_the_page(guide) -> None:
    app = guide()
    app.segmented_control(key="chapter").set_value("merging").run()
    said = text(app)
    assert all(f"| `{name}` |" in said for name in METHODS.names())
    assert "](guide?chapter=networks#model-code)" in said
    assert linked("[a](data.md) [b](files.md#runs)", "{}|{}".format) == "[a](data|) [b](files|#runs)"


def test_a_title_from_outside_is_shown_as_it_is_written(guide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files become titles of networks: nothing in them may act as markup."""
    monkeypatch.setattr(ARCHITECTURES.get("enet"), "title", "<img src=x> | $a$ [b](c)", raising=False)
    app = guide()
    app.segmented_control(key="chapter").set_value("networks").run()
    assert r"\<img src=x\> \| \$a\$ \[b\]\(c\)" in text(app)


def test_every_page_links_to_a_heading_that_is_there() -> None:
    asked = {}
    for path in sorted((ROOT / "pages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "heading":
                asked[path.name] = ast.literal_eval(node.args[2]) if len(node.args) > 2 else ""
    assert asked.pop("guide.py") == "" and len(asked) >= 6
    for page, target in asked.items():
        name, _, anchor = target.partition("#")
        assert name in CHAPTERS, page
        assert anchor in ("", *(section.anchor for section in chapter(name).sections)), page


@pytest.mark.parametrize("page", ["workspace.py", "compare.py"])
def test_a_heading_links_to_its_chapter(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(page, tmp_path / "home", monkeypatch) as open_page:
        assert re.search(r"\[[^]]*Guide\]\(guide\?chapter=(files|measuring#comparing-methods)\)", text(open_page()))


def test_the_readme_links_to_every_chapter() -> None:
    said = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in CHAPTERS:
        assert f"[{name}](assets/guide/{name}.md)" in said
    assert max(len(line) for line in said.splitlines() if not line.startswith("|")) <= 150


def test_anchors_are_those_of_code_hosts() -> None:
    assert anchor_of("What `--tiles` do, and why") == "what---tiles-do-and-why"
