"""Networks of a search in resamples of the pictures: what was counted of each picture is added up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fusionlib.candidate import Candidate
from fusionlib.data.cache import DecodedCache
from fusionlib.diagnostics.bootstrap import resampled_harmonics, unit_totals, units_of, units_summed
from fusionlib.runs.runner import Runner
from fusionlib.studies.candidates import Networks


class Totals:
    """What mIoU needs of the networks of a search, unit by unit, each read once."""

    def __init__(self, networks: Networks, datasets: Mapping[str, DecodedCache], runner: Runner) -> None:
        self._networks, self._datasets, self._runner = networks, datasets, runner
        self._known: dict[tuple[Candidate, str], np.ndarray | None] = {}

    def of(self, candidate: Candidate, data: str) -> np.ndarray | None:
        """Of a network on the pictures with this content key; None where states are not stored."""
        if self._known.get((candidate, data)) is None:
            self._known[candidate, data] = self._read(candidate, self._datasets[data])
        return self._known[candidate, data]

    def draws(self, candidates: Sequence[Candidate], data: Sequence[str]) -> np.ndarray | None:
        """As `Objective.draws`."""
        totals = [[self.of(one, key) for key in data] for one in candidates]
        if any(one is None for network in totals for one in network):
            return None
        draws = resampled_harmonics(totals)  # type: ignore[arg-type]
        return None if draws is None or not len(draws) else draws

    def _read(self, candidate: Candidate, pictures: DecodedCache) -> np.ndarray | None:
        networks, resampled = self._networks, units_of([pictures.group(index) for index in range(len(pictures))])
        states = self._runner.pictures(networks.questions(candidate, pictures.fingerprint())[0], pictures)
        if states is None:
            return None
        if not networks.counted_together(candidate):
            return unit_totals([state["matrix"].numpy() for state in states], resampled)
        place = networks.place(candidate)
        parts = [
            np.stack([state["right"][place].numpy(), state["truth"].numpy(), state["predicted"][place].numpy()])
            for state in states
        ]
        return units_summed(parts, resampled)
