"""Folders of the datasets library: Arrow as saved and cached, Parquet, pictures with a list; and hostile ones."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from fusionlib.contracts import IGNORE
from fusionlib.data.cache import DecodedCache
from fusionlib.data.spec import open_dataset, splits_of
from fusionlib.errors import DataError

MASK = np.array([[0, 1, 2, 255]] * 3, np.uint8)
TRUTH = [[IGNORE, 0, 1, IGNORE]] * 3
COUNT = 5


def png(pixels: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def picture(number: int) -> np.ndarray:
    return np.full((3, 4, 3), 10 * number, np.uint8)


CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def rows(count: int = COUNT, **columns: pa.Array) -> pa.Table:
    """A table as the library writes it: pictures and masks embedded, their types in the schema."""
    cells = {
        "image": pa.array([{"bytes": png(picture(n)), "path": f"shot {n}.png"} for n in range(count)], CELL),
        "id": pa.array(range(count)),
        "label": pa.array([{"bytes": png(MASK), "path": None}] * count, CELL),
        **columns,
    }
    kinds = {name: {"_type": "Image"} if name in ("image", "label") else {"_type": "Value"} for name in cells}
    said = {"huggingface": json.dumps({"info": {"features": kinds}})}
    return pa.table(cells).replace_schema_metadata(said)


def stream(path: Path, table: pa.Table, batch: int = 2, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=batch)
    return path


def saved(folder: Path) -> None:
    stream(folder / "data-00000-of-00002.arrow", rows().slice(0, 3))
    stream(folder / "data-00001-of-00002.arrow", rows().slice(3))
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": f"data-0000{n}-of-00002.arrow"} for n in (0, 1)]})
    )


def saved_splits(root: Path) -> None:
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation"]}))
    saved(root / "train"), saved(root / "validation")


def cached(root: Path) -> None:
    stream(root / "town-train.arrow", rows())
    stream(root / "town-validation-00000-of-00001.arrow", rows())
    (root / "cache-1234.arrow").write_bytes(b"not looked at")


def as_parquet(where: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for split in ("train", "validation"):
            path = root / where.format(split=split)
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(rows(), path, row_group_size=2)

    return make


def listed(root: Path) -> None:
    for split in ("train", "validation"):
        folder = root / split
        (folder / "images").mkdir(parents=True), (folder / "masks").mkdir()
        lines = []
        for number in range(COUNT):
            Image.fromarray(picture(number)).save(folder / f"images/shot {number}.png")
            Image.fromarray(MASK).save(folder / f"masks/{number}.png")
            names = {"file_name": f"images/shot {number}.png", "label_file_name": f"masks/{number}.png"}
            lines.append(json.dumps(names | {"id": number}))
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n\n")


LAYOUTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]] = {
    "saved": (saved, (), ""),
    "saved splits": (saved_splits, ("train", "validation"), "validation"),
    "cached": (cached, ("train", "validation"), "validation"),
    "parquet": (
        as_parquet("data/{split}-00000-of-00001-0123456789abcdef.parquet"),
        ("train", "validation"),
        "validation",
    ),
    "parquet folders": (as_parquet("default/{split}/0000.parquet"), ("train", "validation"), "validation"),
    "pictures": (listed, ("train", "validation"), "validation"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "id2label.json").write_text(json.dumps({"0": "unlabeled", "2": "car", "1": "road"}))
    return tmp_path


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_read_in_every_layout(name: str, root: Path) -> None:
    make, splits, split = LAYOUTS[name]
    make(root)
    assert splits_of(f"hf:{root}") == splits
    dataset = open_dataset(f"hf:{root}")
    assert dataset.spec == f"hf:{root}" + (f"@{split}" if split else "")
    assert dataset.label_space.names == ("road", "car") and len(dataset) == COUNT
    assert dataset.notes == ("Id 0 (unlabeled) is taken for void",)
    for number in (4, 0, 2):
        sample = dataset.load(number)
        assert np.array_equal(sample.image, picture(number)) and sample.truth.tolist() == TRUTH
        assert dataset.name(number).endswith(f"shot {number}")
    assert len({dataset.picture_key(number) for number in range(COUNT)}) == COUNT
    assert open_dataset(dataset.spec).fingerprint() == dataset.fingerprint()


def test_the_same_pictures_have_the_same_keys_in_every_layout(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = set()
    for name in ("saved", "parquet"):
        folder = tmp_path_factory.mktemp("one")
        LAYOUTS[name][0](folder)
        (folder / "id2label.json").write_bytes((root / "id2label.json").read_bytes())
        keys.add(open_dataset(f"hf:{folder}").picture_key(3))
    assert len(keys) == 1


def test_a_changed_table_is_noticed(root: Path) -> None:
    cached(root)
    pictures = DecodedCache(open_dataset(f"hf:{root}"), 0)
    assert pictures.is_current()
    path = root / "town-validation-00000-of-00001.arrow"
    stream(path, rows(3))
    assert not pictures.is_current()
    path.unlink()
    with pytest.raises(DataError, match="is gone"):
        pictures.is_current()


def test_classes_yaml_goes_before_and_without_either_it_is_asked_for(root: Path) -> None:
    saved(root)
    (root / "classes.yaml").write_text("classes: [a, b, c]\n")
    assert open_dataset(f"hf:{root}").label_space.names == ("a", "b", "c")
    for name in ("classes.yaml", "id2label.json"):
        (root / name).unlink()
    with pytest.raises(DataError) as error:
        open_dataset(f"hf:{root}")
    assert "id2label.json" in error.value.got and "classes.yaml" in error.value.needs


@pytest.mark.parametrize("text", ["[]", "{}", '{"a": "b"}', '{"1": 2}', '{"300": "x"}', '{"0": "void"}', "["])
def test_id2label_that_names_no_classes_is_refused(text: str, root: Path) -> None:
    saved(root)
    (root / "id2label.json").write_text(text)
    with pytest.raises(DataError, match=r"id2label\.json"):
        open_dataset(f"hf:{root}")


def test_columns_are_found_by_type_and_name(root: Path) -> None:
    mask = rows()["label"]
    path = root / "data/train.parquet"
    path.parent.mkdir()
    parquet.write_table(rows().rename_columns(["pixel_values", "id", "other"]), path)
    assert len(open_dataset(f"hf:{root}@train")) == COUNT
    parquet.write_table(rows(depth=mask).rename_columns(["image", "id", "x", "y"]), path)
    with pytest.raises(DataError, match=r"x \(Image\)|x \(struct"):
        open_dataset(f"hf:{root}@train")


def test_a_cell_that_names_a_file_is_refused_and_no_file_is_opened(root: Path, tmp_path: Path) -> None:
    Image.fromarray(MASK).save(tmp_path / "secret.png")
    cells = pa.array([{"bytes": None, "path": str(tmp_path / "secret.png")}] * COUNT, CELL)
    stream(root / "x-train.arrow", rows(label=cells))
    with pytest.raises(DataError, match="Embed the pictures"):
        open_dataset(f"hf:{root}")


@pytest.mark.parametrize("names", [["../x.arrow"], ["/etc/passwd"], [], [3], ["missing.arrow"]])
def test_a_state_that_leads_elsewhere_or_nowhere_is_refused(names: list, root: Path) -> None:
    (root / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    with pytest.raises(DataError, match=r"state\.json|missing\.arrow"):
        open_dataset(f"hf:{root}")


@pytest.mark.parametrize(
    "names", [{"file_name": "../a.png", "m_file_name": "b.png"}, {"file_name": "a.png"}, {"f": "a"}, [1], 3]
)
def test_a_list_that_leads_elsewhere_or_nowhere_is_refused(names: object, root: Path) -> None:
    (root / "metadata.jsonl").write_text(json.dumps(names))
    with pytest.raises(DataError, match=r"metadata\.jsonl"):
        open_dataset(f"hf:{root}")


@pytest.mark.parametrize("kind", ["arrow", "parquet", "list"])
def test_pictures_without_masks_are_there_to_look_at(kind: str, root: Path) -> None:
    table = rows().drop_columns(["label"]).append_column("label", pa.array(range(COUNT)))
    table = table.replace_schema_metadata(None)
    (root / "id2label.json").unlink()
    if kind == "list":
        listed(root)
        path = root / "validation/metadata.jsonl"
        path.write_text("".join(json.dumps({"file_name": f"images/shot {n}.png"}) + "\n" for n in range(COUNT)))
    else:
        path = root / f"town-validation.{kind}"
        stream(path, table) if kind == "arrow" else parquet.write_table(table, path)
    dataset = open_dataset(f"hf:{root}")
    assert not dataset.labelled and dataset.label_space.count == 0 and len(dataset) == COUNT
    sample = dataset.load(3)
    assert sample.truth is None and np.array_equal(sample.image, picture(3)) and dataset.name(3).endswith("shot 3")
    assert len({dataset.picture_key(number) for number in range(COUNT)}) == COUNT
    assert open_dataset(dataset.spec).fingerprint() == dataset.fingerprint()
    assert dataset.notes[0].endswith("nothing is measured")
    assert kind == "list" or "label (int64)" in dataset.notes[0], "a column that was meant to hold masks is seen"


def test_masks_in_some_shards_or_lines_only_are_refused(root: Path) -> None:
    bare = rows().drop_columns(["label"])
    stream(root / "town-train-00000-of-00002.arrow", rows()), stream(root / "town-train-00001-of-00002.arrow", bare)
    with pytest.raises(DataError, match=r"00001-of-00002\.arrow only one has masks"):
        open_dataset(f"hf:{root}@train")
    listed(root)
    path = root / "validation/metadata.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["", *lines[:2], json.dumps({"file_name": "images/shot 3.png"})]))
    with pytest.raises(DataError, match=r"Lines 2 and 4 of .*metadata\.jsonl"):
        open_dataset(f"hf:{root / 'validation'}")
    path.write_text(json.dumps({"file_name": "x" * (1 << 20)}))
    with pytest.raises(DataError, match="Line 1"):
        open_dataset(f"hf:{root / 'validation'}")


def test_a_missing_mate_of_a_list_is_named(root: Path) -> None:
    listed(root)
    (root / "validation/masks/3.png").unlink()
    with pytest.raises(DataError, match=r"shot 3\.png has no mask"):
        open_dataset(f"hf:{root}")


def damaged(content: bytes) -> list[bytes]:
    """Cut at, or with another byte at, places spread over the file; and with sizes that are not true."""
    cut = [content[: len(content) * part // 9] for part in range(9)]
    step = len(content) // 60
    other = [
        content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        for place in range(0, len(content), step)
    ]
    return [*cut, *other, content[:4] + struct.pack("<I", 0x7FFFFFFF) + content[8:]]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_a_damaged_table_is_an_error_with_its_name_or_reads_as_pictures(kind: str, root: Path) -> None:
    path = root / f"town-train.{kind}"
    stream(path, rows(2)) if kind == "arrow" else parquet.write_table(rows(2), path)
    whole = open_dataset(f"hf:{root}")
    assert len(whole) == 2
    said = []
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        try:
            dataset = open_dataset(f"hf:{root}")
            for index in range(len(dataset)):
                dataset.load(index)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 9 and all(path.name in text for text in said)


def test_compressed_batches_and_row_groups_that_are_too_large_are_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = root / "town-train.arrow"
    stream(path, rows(), options=pa.ipc.IpcWriteOptions(compression="zstd"))
    with pytest.raises(DataError, match="compressed batches"):
        open_dataset(f"hf:{root}")
    stream(path, rows())
    monkeypatch.setattr("fusionlib.data.hf_shards.LARGEST_BATCH", 100)
    with pytest.raises(DataError, match="a batch of"):
        open_dataset(f"hf:{root}")
    path.unlink()
    parquet.write_table(rows(), root / "train.parquet")
    with pytest.raises(DataError, match="row group"):
        open_dataset(f"hf:{root}")


def test_an_arrow_file_is_read_as_a_stream_is(root: Path) -> None:
    table = rows()
    with pa.OSFile(str(root / "town-train.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    assert np.array_equal(open_dataset(f"hf:{root}").load(4).image, picture(4))


def test_an_empty_folder_and_a_wrong_split_say_what_is_there(root: Path) -> None:
    with pytest.raises(DataError, match="save_to_disk"):
        open_dataset(f"hf:{root}")
    cached(root)
    with pytest.raises(DataError, match="train, validation"):
        open_dataset(f"hf:{root}@dusk")
