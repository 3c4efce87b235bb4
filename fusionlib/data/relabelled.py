"""A dataset in other classes: some of its own, the others void, or those of another label space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fusionlib.contracts import IGNORE, Dataset, Sample
from fusionlib.data.changed import Changed
from fusionlib.data.labels import LABEL_SPACES, NO_COUNTERPART, LabelSpace, label_space, mapping
from fusionlib.data.tables import table_of
from fusionlib.errors import DataError, clipped, shown


class Relabelled(Changed):
    """Pictures of another dataset with other labels; instances are the other's too.

    `ids` (count of the other's classes,) is the label of each, `NO_COUNTERPART` for void.
    """

    def __init__(self, dataset: Dataset, space: LabelSpace, ids: np.ndarray, change: str) -> None:
        self._table = np.full(256, IGNORE, np.uint8)
        self._table[: len(ids)] = np.where(ids == NO_COUNTERPART, IGNORE, ids)
        became = f"{space.names} {self._table.tolist()}"
        super().__init__(dataset, f"{dataset.spec}@{change}", f"{dataset.title}, {space.title}", space, became)

    def load(self, index: int, whole: bool = False) -> Sample:
        """The other's picture with other labels. Raises `DataError` that names the file."""
        sample = self.dataset.load(index, whole)
        return sample if sample.truth is None else replace(sample, truth=self._table[sample.truth])


def in_space(dataset: Dataset, name: str) -> Relabelled:
    """The annotation in another label space, as a network's predictions would be (see `mapping`): what has no
    counterpart there is void.

    Raises `DataError` for an unknown space, or two that there is no mapping between.
    """
    _need_masks(dataset, f"@as:{name}")
    own, space = dataset.label_space, label_space(name)
    try:
        ids = mapping(own, space)
    except DataError as problem:
        if (table := table_of(own.name, space.name)) is not None and table.own:  # it says what is wrong in it
            raise
        raise DataError(
            f"{dataset.title} is annotated in {own.title} [{own.name}], which has no known mapping to {space.title}",
            problem.needs,
            f"Put @as:{name} in front of what else changes classes"
            if isinstance(dataset, Relabelled)
            else f"Leave @as:{name} out, or write a table from {own.name} to {name} into the folder of --class-tables",
        ) from problem
    return Relabelled(dataset, space, ids, f"as:{name}")


def with_classes(dataset: Dataset, wanted: str) -> Relabelled:
    """Some of the classes, by their names with commas between them, or those of a label space by its name; pixels of
    the others are void.

    A network's other classes stay errors where they are predicted on a labelled pixel. Raises `DataError` that lists
    the classes there are.
    """
    _need_masks(dataset, f"@classes:{wanted}")
    whole = dataset.label_space
    places = {name.casefold(): number for number, name in enumerate(whole.names)}
    names = LABEL_SPACES[wanted].names if wanted in LABEL_SPACES else wanted.split(",")
    unknown = [name for name in names if name.strip().casefold() not in places]
    if unknown:
        raise DataError(
            f"Classes {shown(', '.join(unknown))} of {dataset.title}",
            f"some of {clipped(', '.join(whole.names), 400)}",
            "Correct the data spec",
        )
    kept = sorted({places[name.strip().casefold()] for name in names})
    ids = np.full(whole.count, NO_COUNTERPART)
    ids[kept] = np.arange(len(kept))
    space = LabelSpace(
        f"{whole.name}-{len(kept)}",
        f"{len(kept)} {'class' if len(kept) == 1 else 'classes'} of {whole.title}",
        tuple(whole.names[place] for place in kept),
        tuple(whole.palette[place] for place in kept),
        whole.none,
    )
    return Relabelled(dataset, space, ids, f"classes:{wanted}")


def _need_masks(dataset: Dataset, change: str) -> None:
    if not dataset.labelled:
        raise DataError(f"{change} of {dataset.title}", "pictures with masks", "Leave it out, or choose other data")
