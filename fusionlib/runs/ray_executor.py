"""Forward passes by the workers of a Ray cluster, split by pictures: the states of a pass here, to the last bit.

Networks are built here, which takes no passes but what a merge must find out first (statistics, recalibration, learned
weights); their tensors travel once to every node, as do the pictures. What keeps one state for all pictures (a measure
of grain `split`) is summed in the order of the pictures and so stays here, with whatever shares its pass.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from fusionlib.architectures.programs import with_fingerprints
from fusionlib.contracts import ARCHITECTURES, MEASURES, Progress, Sample
from fusionlib.data.cache import DecodedCache
from fusionlib.data.tables import own_tables
from fusionlib.engine.build import Built, Member
from fusionlib.engine.observe import Pass, Task
from fusionlib.errors import UsageError, clipped
from fusionlib.runs.answers import software
from fusionlib.runs.ray_cluster import join, need_ray, ray, room
from fusionlib.runs.ray_worker import Failed, Kept, Network, Part, PassWorker, Weights

RETRIES = 2
"""How often a worker that died is started again, and what it was looking at given to it again."""

LOOK_S, START_S = 0.2, 180.0
"""How often progress is told, and so a cancel heard; and how long workers may take to come up."""

DEPTH, SPLIT, MOST = 2, 4, 16
"""Parts of a pass that wait at each worker, into how many parts a worker's share is cut, and pictures of a part at
most: what a worker that dies has to look at again, and what is told at once.
"""

KEPT_BYTES = 512 << 20
"""Bytes of networks, and of decoded pictures, that stay in the cluster for the next pass."""


class Sent:
    """References to what was put into the cluster: those used longest ago go where all take more than `KEPT_BYTES`.

    What tasks wait for stays there as long as they do.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def reference(self, key: Any, make: Callable[[], tuple[Any, int]]) -> Any:
        """The reference to what `make` gives, with its bytes, made where it is not there."""
        with self._lock:
            if key not in self._kept:
                value, size = make()
                self._kept[key] = ray().put(value), size
                while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > KEPT_BYTES:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._kept.clear()


class RayPasses:
    """Passes split by pictures over the workers of a cluster, which is started at the first pass.

    Without an `address` that is a cluster of this machine alone, which ends with the process. `workers` (None: as many
    as there are GPUs, on a CPU cores divided by torch's threads). The same batches and threads as here give the same
    bits on the same kind of CPU; a worker of other versions is refused. A worker that dies is started again and costs
    what it was looking at. Raises `UsageError` where Ray is not installed.
    """

    def __init__(
        self,
        device: torch.device,
        precision: str = "float32",
        models: Sequence[str] = (),
        address: str | None = None,
        workers: int | None = None,
        trusted: Sequence[Path] = (),
    ) -> None:
        need_ray()
        self.device, self.precision, self.address, self.workers = device, precision, address, workers
        self.models = tuple(str(Path(spec).absolute()) for spec in models)  # workers are in a folder of their own
        self.trusted = with_fingerprints(trusted)
        self.threads = torch.get_num_threads()
        self._actors: list[Any] = []
        self._networks, self._pictures = Sent(), Sent()
        self._lock = threading.Lock()

    def run(self, work: Pass, progress: Progress) -> None:
        """As `Passes.run`. Raises `UsageError` for a cluster that does not answer, has no room or loses a worker for
        good.
        """
        if not work.indices or not all(map(_splits, work.tasks)) or not all(map(_travels, work.networks)):
            work.run(progress)
            return
        with self._lost_workers():
            self._work_off(work, self._ready(work.total, progress), progress)

    def about(self) -> list[tuple[int, int, str, str]]:
        """What each worker says of itself: its process, threads, node and versions."""
        actors = self._ready(0, lambda *_: None)
        return ray().get([actor.about.remote() for actor in actors])

    def close(self) -> None:
        """Let the workers go; the next pass starts others."""
        with self._lock:
            actors, self._actors = self._actors, []
        self._networks.clear()
        self._pictures.clear()
        for actor in actors:
            with suppress(Exception):  # the cluster may be gone
                ray().kill(actor)

    # --- a pass ------------------------------------------------------------------------------------------------------

    def _work_off(self, work: Pass, actors: Sequence[Any], progress: Progress) -> None:
        parts, total, done = deque(_parts(work, len(actors))), work.total, 0
        free = deque(actor for _ in range(DEPTH) for actor in actors)
        flying: dict[Any, tuple[Any, int]] = {}
        networks = tuple(map(self._network, work.networks))
        try:
            while parts or flying:
                progress(done, total)
                while parts and free:
                    actor, indices = free.popleft(), parts.popleft()
                    part = self._part(work, networks, indices)
                    flying[actor.look.remote(part)] = actor, work.forwards(indices)
                for found in ray().wait(list(flying), timeout=LOOK_S)[0]:
                    _keep(work, ray().get(found))
                    actor, passes = flying.pop(found)
                    free.append(actor)
                    done += passes
            progress(done, total)
        except BaseException:
            done += _abandon(work, {found: passes for found, (_, passes) in flying.items()})
            with suppress(Exception):  # it is counted, whoever cancels again
                progress(done, total)
            raise

    def _part(self, work: Pass, networks: tuple[Network, ...], indices: Sequence[int]) -> Part:
        pictures, here = work.pictures, frozenset(indices)
        tasks = tuple(
            (number, MEASURES.name_of(task.measure), task.members, task.wanted & here)
            for number, task in enumerate(work.tasks)
            if task.wanted & here
        )
        sent = {index: self._picture(pictures, index) for index in indices}
        return Part(networks, work.target, tasks, sent, pictures.labelled, pictures.tiles)

    def _network(self, built: Built) -> Network:
        members = tuple(self._networks.reference(one.key, lambda one=one: _weights(one)) for one in built.members)
        return Network(built.key, members, built.shares, built.rule, built.space, built.temperature, built.views)

    def _picture(self, pictures: DecodedCache, index: int) -> Any:
        """A reference to a decoded picture as opened, and to the whole of one that is measured in tiles."""

        def make() -> tuple[Any, int]:
            sample = pictures.load(index)
            whole = pictures.load(index, whole=True) if sample.scale > 1 else None
            # No measure looks at instances, whose files a worker elsewhere does not have.
            travel = [one and replace(one, read_instances=None) for one in (sample, whole)]
            return tuple(travel), sum(map(_bytes, travel))

        key = (pictures.picture_key(index), pictures.labelled and pictures.label_space.names)
        return self._pictures.reference(key, make)

    # --- workers -----------------------------------------------------------------------------------------------------

    def _ready(self, total: int, progress: Progress) -> list[Any]:
        """The workers, started where they are not; hears of a cancel while they come up."""
        with self._lock:
            if self._actors:
                return list(self._actors)
            join(self.address, torch.cuda.device_count() if self._gpu else 0)
            self._actors = actors = self._started()
        try:
            self._come_up([actor.about.remote() for actor in actors], total, progress)
        except BaseException:
            self.close()
            raise
        return list(actors)

    @property
    def _gpu(self) -> bool:
        return self.device.type == "cuda"

    def _started(self) -> list[Any]:
        alone, there = self.address is None, room(self._gpu, self.threads)
        # A cluster of this machine alone is ours: more workers than cores are for whoever asks for them.
        most = None if alone and not self._gpu else there
        count = self.workers or (there if most is not None else max(1, there))
        if most is not None and not 1 <= count <= most:
            size = "a GPU" if self._gpu else f"{self.threads} core{'' if self.threads == 1 else 's'}"
            raise UsageError(
                f"{count} Ray worker{'' if count == 1 else 's'}, where the cluster has room for {there} of {size}",
                "one or more, and room for each",
                "Give other --workers, or add machines to the cluster",
            )
        needs = {"num_gpus": 1} if self._gpu else {"num_cpus": 0 if alone else self.threads}
        how = {"max_restarts": RETRIES, "max_task_retries": RETRIES, "scheduling_strategy": "SPREAD", **needs}
        kind, device = ray().remote(PassWorker).options(**how), "cuda" if self._gpu else str(self.device)
        given = self.threads, device, self.precision, self.models, own_tables(), self.trusted
        return [kind.remote(*given) for _ in range(count)]

    def _come_up(self, asked: list[Any], total: int, progress: Progress) -> None:
        """Wait for the workers. Raises `UsageError` where they do not come, or are of other versions."""
        left, until = asked, time.monotonic() + START_S
        while left:
            progress(0, total)
            _, left = ray().wait(left, num_returns=len(left), timeout=LOOK_S)
            if left and time.monotonic() > until:
                raise UsageError(
                    f"{len(left)} of {len(asked)} Ray workers did not start in {START_S:.0f} s",
                    f"room for {len(asked)} workers",
                    "Give fewer --workers, or wait until others have left the cluster",
                )
        for _, _, node, versions in ray().get(asked):
            if versions != software():
                raise UsageError(
                    f"Worker on {node} computes with {versions}",
                    f"what this process has, {software()}",
                    "Install the same versions on every machine of the cluster",
                )

    @contextmanager
    def _lost_workers(self) -> Iterator[None]:
        """What Ray itself raises, in one line. The next pass starts other workers."""
        try:
            yield
        except import_module("ray.exceptions").RayError as error:
            self.close()
            raise UsageError(
                f"Ray lost a worker, or the cluster: {clipped(' '.join(str(error).split()), 300)}",
                f"workers that live, or that live again after {RETRIES} times",
                "Ask again: what was finished is kept. Fewer --workers take less memory",
            ) from error


def _splits(task: Task) -> bool:
    """Whether a task can be carried out picture by picture, by whoever knows the measure by its name."""
    return task.measure.grain == "picture" and any(task.measure is one for _, one in MEASURES.items())


def _travels(built: Built) -> bool:
    """Whether a worker finds the code of a network by its name: not that of a model file that was changed meanwhile."""
    known = [architecture for _, architecture in ARCHITECTURES.items()]
    return all(any(member.network.architecture is one for one in known) for member in built.members)


def _parts(work: Pass, workers: int) -> Iterator[list[int]]:
    """Numbers of the pictures of each part: whole batches, as those of a pass here."""
    indices = work.indices
    size = min(MOST, max(1, len(indices) // (workers * SPLIT)))
    size = -(-size // work.batch) * work.batch
    yield from (indices[start : start + size] for start in range(0, len(indices), size))


def _keep(work: Pass, found: list[Kept] | Failed) -> None:
    if isinstance(found, Failed):
        raise found.error()
    for number, index, state, tiles in found:
        work.tasks[number].keep(index, {name: torch.from_numpy(values.copy()) for name, values in state.items()}, tiles)


def _abandon(work: Pass, flying: dict[Any, int]) -> int:
    """Keep what has been finished meanwhile and take back what has not begun; forward passes of the former."""
    kept = 0
    with suppress(Exception):  # there is an error under way already
        finished, rest = ray().wait(list(flying), num_returns=len(flying), timeout=0) if flying else ([], [])
        for one in rest:
            ray().cancel(one)
        for one in finished:
            _keep(work, ray().get(one))
            kept += flying[one]
    return kept


def _weights(member: Member) -> tuple[Weights, int]:
    """A network's tensors as they travel, and their bytes."""
    network, weights = member.network, member.weights.cpu().numpy()
    integers = {name: tensor.cpu().numpy() for name, tensor in member.integers.items()}
    name = ARCHITECTURES.name_of(network.architecture)
    return Weights(member.key, name, network.classes, network.layout, weights, integers), weights.nbytes


def _bytes(sample: Sample | None) -> int:
    if sample is None:
        return 0
    return sample.image.nbytes + (0 if sample.truth is None else sample.truth.nbytes)
