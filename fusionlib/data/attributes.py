"""What is known of each picture, to choose pictures by: from the folders of a dataset, and from `attributes.csv`
beside the pictures, which goes before.

    name,weather,camera
    0016E5_07959,rain,front

The first column is `name`, a picture's name or its file's, the others are what the user likes. The file comes from
outside: it is read within bounds, and nothing in it is more than text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fusionlib.contracts import Dataset
from fusionlib.data.pairs import PairedDataset
from fusionlib.data.selected import Selected
from fusionlib.errors import DataError, clipped, shown

FILE = "attributes.csv"
LARGEST = 8 << 20
MOST_COLUMNS, MOST_VALUES, LONGEST = 32, 50, 60
"""Columns; values of a column that is something to choose by; characters of a name or a value that are kept."""

Columns = Mapping[str, Mapping[str, str]]
"""Column to picture to value."""


def attributes_of(pictures: Dataset) -> dict[str, tuple[str, ...]]:
    """Columns with the value of every picture, "" where nothing says it; empty where nothing is said of any.

    Columns of one value, or of more than `MOST_VALUES`, choose nothing and are left out. Raises `DataError` for a file
    that is no such table.
    """
    return {column: values for column, values in _all(pictures).items() if 1 < len(set(values)) <= MOST_VALUES}


def where(dataset: Dataset, wanted: str) -> Selected:
    """The pictures with one of the values wanted of every column that is named: `weather=rainy,timeofday=night`.

    Raises `DataError` that lists the columns, or the values of a column, for one that is not there, and where no
    picture has them all.
    """
    columns, asked = _all(dataset), [part.strip() for part in wanted.split(",")]
    for part in asked:
        column, equals, value = part.partition("=")
        there = sorted(set(columns.get(column, ())) - {""})
        if not equals or value not in there:
            named = [f"{column}={one}" for one in there] or [f"{one}=VALUE" for one in columns]
            raise DataError(
                f"@where:{shown(part)} of {dataset.title}",
                f"one of {clipped(', '.join(named), 400)}" if named else f"columns, which {FILE} would have",
                "Correct the data spec",
            )
    places = having(columns, asked) or []
    if not places:
        raise DataError(f"No picture of {dataset.title} has {shown(wanted)}", "a picture or more", "Ask for less")
    chosen = Selected(dataset, places, wanted, f"where {places}")
    chosen.spec = f"{dataset.spec}@where:{wanted}"
    return chosen


def having(attributes: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> list[int] | None:
    """Numbers of the pictures with one of the values wanted of every column that is named, each as `column=value`; None
    where nothing is wanted.
    """
    by_column = {
        column: [part.partition("=")[2] for part in wanted if part.partition("=")[0] == column] for column in attributes
    }
    asked = {column: values for column, values in by_column.items() if values}
    if not asked:
        return None
    count = len(next(iter(attributes.values())))
    return [one for one in range(count) if all(attributes[column][one] in values for column, values in asked.items())]


def choices_of(attributes: Mapping[str, Sequence[str]]) -> list[str]:
    """All that can be wanted, `column=value`, in order."""
    return [f"{column}={value}" for column, values in attributes.items() for value in sorted(set(values)) if value]


def _all(pictures: Dataset) -> dict[str, tuple[str, ...]]:
    dataset = _paired(pictures)
    if dataset is None:
        return {}
    columns = {**dataset.known}
    if path := _beside(dataset):
        about = path.stat()
        columns |= _read(path, about.st_mtime_ns, about.st_size)
    names = [pictures.name(index) for index in range(len(pictures))]
    return {column: tuple(values.get(name, "") for name in names) for column, values in columns.items()}


def _paired(pictures: Dataset) -> PairedDataset | None:
    """The dataset of files at the bottom of what the pictures went through."""
    dataset: object = pictures
    while dataset is not None and not isinstance(dataset, PairedDataset):
        dataset = getattr(dataset, "dataset", None)
    return dataset if dataset is not None and dataset.pairs else None


def _beside(dataset: PairedDataset) -> Path | None:
    folder = dataset.pairs[0].image.parent
    return next((path for path in (folder / FILE, folder.parent / FILE) if path.is_file()), None)


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int, size: int) -> Columns:
    """The table; as long as time and size of the file are the same it is read once."""
    if size > LARGEST:
        raise _refused(f"{size} bytes", f"at most {LARGEST}")
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1)[:LARGEST].decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise _refused(shown(str(problem)), "a table in UTF-8 with commas") from problem
    head = [one.strip()[:LONGEST] for one in rows[0]] if rows else []
    if head[:1] != ["name"] or len(set(head)) != len(head) or len(head) > 1 + MOST_COLUMNS or "" in head:
        raise _refused(shown(",".join(head)), f"a first line `name,...` of up to {MOST_COLUMNS} columns, each once")
    if any("=" in column for column in head):
        raise _refused(shown(",".join(head)), "columns without =")
    found: dict[str, dict[str, str]] = {column: {} for column in head[1:]}
    for row in rows[1:]:
        for column, value in zip(head[1:], row[1:], strict=False):
            for name in {row[0].strip(), PurePosixPath(row[0].strip()).stem}:
                found[column].setdefault(name, value.strip()[:LONGEST])
    return found


def _refused(got: str, needs: str) -> DataError:
    return DataError(f"{FILE} beside the pictures: {got}", needs, "Correct the file, or take it away")
