"""A dataset whose pictures or masks are made of another's, one for one."""

from __future__ import annotations

import hashlib

from fusionlib.contracts import Dataset
from fusionlib.data.labels import LabelSpace


class Changed:
    """How many pictures there are, their names and groups are the other's; keys are the other's with the `change`.

    `change` says all that makes a picture another one; nothing where it stays as it is. Who inherits says what `load`
    gives.
    """

    def __init__(self, dataset: Dataset, spec: str, title: str, space: LabelSpace, change: str) -> None:
        self.dataset, self.spec, self.title, self.label_space = dataset, spec, title, space
        self.labelled, self.notes = dataset.labelled, dataset.notes
        self._change = change

    def __len__(self) -> int:
        return len(self.dataset)

    def name(self, index: int) -> str:
        """The other's name of it."""
        return self.dataset.name(index)

    def fingerprint(self) -> str:
        """Of the other dataset and the change; without one the other's own."""
        return self._keyed(self.dataset.fingerprint())

    def picture_key(self, index: int) -> str:
        """Of the other's picture and the change; without one the other's own."""
        return self._keyed(self.dataset.picture_key(index))

    def group(self, index: int) -> str:
        """The other's."""
        return self.dataset.group(index)

    def _keyed(self, key: str) -> str:
        return hashlib.sha256(f"{self._change} {key}".encode()).hexdigest() if self._change else key
