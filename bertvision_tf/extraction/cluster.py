"""Extraction over a Ray cluster: workers that each hold the encoder write shards where the store lies.

The driver, which is this process, tokenizes, hands out shards, and enters them in the manifest. A shard whose worker is
lost goes to another one. States never pass through the driver or Ray's object store.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..encoders import Encoder
from ..errors import BertvisionError, StoreError
from ..notes import note
from ..settings import ClusterSettings
from ..store import Place, StoreSpec, StoreWriter
from ..store.codecs import Calibration
from ..store.schema import ShardEntry
from .encode import describe_versions
from .plan import ShardPlan
from .worker import ShardWorker

AHEAD = 2  # shards that a worker has at a time: one is encoded while the other is written
LOST = 5  # workers that are lost with one shard, or one after the other before any is ready
POLL = 1.0  # seconds between two looks at how far workers are
ANSWER = 20.0  # seconds for a cluster to answer
LATE = 60.0  # seconds after which a line says that no worker has started
TellWorker = Callable[[str, int, int], None]  # which worker, tokens that it has done, tokens in all


def extract_on_cluster(
    encoder: Encoder,
    plan: ShardPlan,
    sample: Sequence[np.ndarray],
    path: Place,
    spec: StoreSpec,
    cluster: ClusterSettings,
    progress: Callable[[int, int], None],
    tell: TellWorker,
) -> None:
    """Writes the shards of a store that are not there, over a cluster.

    Args:
        encoder: what is run; each machine of the cluster gets its weights once.
        plan, sample: what is run, and which batches are calibrated on.
        path: the store's folder, which all machines see.
        spec: what is kept.
        cluster: where.
        progress: called with the tokens done and the tokens in all.
        tell: called with a worker, the tokens that it has done, and the tokens in all.

    Raises:
        StoreError: there is no such cluster, none of its machines has room for a worker, workers have other versions
            than this process or do not see the folder, the same shard is lost again and again, or `extract`'s.
    """
    with connect(cluster) as ray:
        _Driver(ray, encoder, plan, sample, spec, cluster, progress, tell).run(path)


@contextlib.contextmanager
def connect(cluster: ClusterSettings) -> Iterator[Any]:
    """Ray, connected to the cluster; a connection that this process has already is used as it is.

    Raises:
        StoreError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError:
        raise StoreError("a cluster needs Ray: pip install 'bertvision-tf[ray]'.") from None
    if ray.is_initialized():
        yield ray
        return
    if str(cluster.ray).startswith("ray://"):
        raise StoreError(
            f"{cluster.ray} is the address of a Ray client, through which all would pass: run the command on a machine "
            "of the cluster with `--ray auto`, or hand it in with `ray job submit`."
        )
    _check_address(str(cluster.ray))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported of a cluster that is started here
    local: dict[str, Any] = {"include_dashboard": False} if cluster.ray == "local" else {}
    try:
        ray.init(address=cluster.ray, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise StoreError(
            f"no Ray cluster at {cluster.ray}: {_read_reason(error)} (`--ray local` starts one here)."
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raises StoreError where no machine answers: Ray would ask for a quarter of an hour."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise StoreError(f"no Ray cluster at {address}: {reason} (`--ray local` starts one here).") from None


@dataclasses.dataclass(eq=False)
class _Worker:
    """What the driver knows of a worker.

    Attributes:
        actor: Ray's handle of it.
        name: as it is shown.
        ready: whether it has the encoder.
        running: its calls: what each is, "start", "count", "calibrate", or the number of a shard.
        counted: when it was asked last how far it is.
    """

    actor: Any
    name: str
    ready: bool = False
    running: dict[Any, str | int] = dataclasses.field(default_factory=dict)
    counted: float = 0.0

    @property
    def shards(self) -> list[int]:
        """That it is on."""
        return [call for call in self.running.values() if isinstance(call, int)]


class _Lost(Exception):
    """A worker is lost, and why."""


class _Driver:
    """Hands out shards, and enters what comes back."""

    def __init__(self, ray, encoder, plan, sample, spec, cluster: ClusterSettings, progress, tell):
        self.ray, self.encoder, self.plan, self.sample, self.spec = ray, encoder, plan, sample, spec
        self.cluster, self.progress, self.tell = cluster, progress, tell
        self.tokens = plan.count_tokens()
        self.wanted = self._count_workers()
        self.workers: list[_Worker] = []
        self.started = 0
        self.misses = 0  # workers that were lost one after the other before they were ready
        self.lost: dict[int, int] = {}  # of each shard, workers that were lost with it
        self.done: dict[_Worker, int] = {}
        self.encoder_at = ray.put(encoder)

    def run(self, path: Place) -> None:
        """Makes all shards that are not there."""
        try:
            made_with = self._wait_until_ready()
            writer = StoreWriter(
                path,
                self.spec,
                made_with=made_with,
                truncated=self.plan.tokens.truncated,
                num_shards=len(self.plan),
                total_rows=self.plan.total_rows,
                calibrate=self._calibrate,
            )
            try:
                self._write(writer)
                writer.clean()
            finally:
                writer.close()
        finally:
            for worker in self.workers:
                self.ray.kill(worker.actor)

    def _write(self, writer: StoreWriter) -> None:
        found = {number: writer.find(number, self.plan.describe(number)) for number in writer.list_files()}
        entries = {number: entry for number, entry in found.items() if entry is not None}
        left = deque(number for number in range(writer.next_shard, len(self.plan)) if number not in entries)
        place = self.ray.put((str(writer.path.absolute()), writer.manifest))
        total, done = sum(self.tokens), sum(self.tokens) - sum(self.tokens[number] for number in left)
        self.progress(done, total)
        while writer.next_shard < len(self.plan):
            while writer.next_shard in entries:
                writer.enter(entries.pop(writer.next_shard))
            self._hand_out(left, place)
            for worker, call, result in self._wait():
                if isinstance(result, _Lost):
                    self._give_back(worker, result, left, entries, writer.next_shard)
                elif isinstance(call, int) and call >= writer.next_shard and call not in entries:
                    entries[call] = result
                    done += self.tokens[call]
                elif call == "count":
                    self.done[worker] = result
                    self.tell(worker.name, result, total)
            self.progress(done, total)

    def _hand_out(self, left: deque[int], place: Any) -> None:
        """Gives shards to the workers that have room, the least busy first; and asks the others how far they are."""
        for busy in range(AHEAD):
            for worker in self.workers:
                if left and worker.ready and len(worker.shards) == busy:
                    number = left.popleft()
                    worker.running[worker.actor.write.remote(place, self.plan.cut(number))] = number
        now = time.monotonic()
        for worker in self.workers:
            if worker.ready and now - worker.counted > POLL and "count" not in worker.running.values():
                worker.counted = now
                worker.running[worker.actor.count.remote()] = "count"

    def _give_back(
        self, worker: _Worker, why: _Lost, left: deque[int], entries: dict[int, ShardEntry], entered: int
    ) -> None:
        """Hands the shards of a worker that is lost to others.

        Raises:
            StoreError: one of them was lost again and again.
        """
        for number in sorted(worker.shards, reverse=True):
            if number < entered or number in entries:
                continue
            self.lost[number] = self.lost.get(number, 0) + 1
            if self.lost[number] == LOST:
                raise StoreError(f"shard {number} was lost with {LOST} workers, the last of them {worker.name}: {why}")
            left.appendleft(number)
        if worker.ready:
            note(f"{worker.name} is lost ({why}): others make its shards.")

    def _calibrate(self) -> Calibration:
        """The statistics of the sample, by any worker."""
        tokens = self.plan.tokens
        own = tokens.select(np.concatenate([*self.sample, np.zeros(0, np.int64)]))
        ends = np.cumsum([len(batch) for batch in self.sample])
        batches = np.split(np.arange(len(own)), ends[:-1]) if len(ends) else []
        while True:
            asked = next((one for one in self.workers if "calibrate" in one.running.values()), None)
            free = next((one for one in self.workers if one.ready), None)
            if asked is None and free is not None:
                free.running[free.actor.calibrate.remote(own, batches)] = "calibrate"
            for _, call, result in self._wait():
                if call == "calibrate" and not isinstance(result, _Lost):
                    return result

    def _wait_until_ready(self) -> dict[str, str]:
        """What the first worker says of its versions."""
        begun, told = time.monotonic(), False
        while True:
            for _, call, result in self._wait():
                if call == "start" and not isinstance(result, _Lost):
                    return result
            if not told and time.monotonic() - begun > LATE:
                told = True
                note(f"no worker has started yet; the cluster has {_show(self.ray.available_resources())} free.")

    def _wait(self) -> list[tuple[_Worker, str | int, Any]]:
        """The calls that have ended, at least one or after POLL seconds: whose, which, and its result, or `_Lost`. A
        worker that is lost stands there once, with all its calls still running, and another one is started.

        Raises:
            BertvisionError: what a worker has raised.
        """
        self._start_workers()
        calls = {reference: worker for worker in self.workers for reference in worker.running}
        ready, _ = self.ray.wait(list(calls), num_returns=1, timeout=POLL)
        if ready:  # and whatever else is there
            ready, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        ended = []
        for reference in ready:
            worker = calls[reference]
            if worker not in self.workers:  # it was lost with another call
                continue
            call = worker.running[reference]
            try:
                result = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError as error:
                raise _read_error(error, worker.name) from error.cause
            except self.ray.exceptions.RayError as error:
                self.workers.remove(worker)
                with contextlib.suppress(Exception):
                    self.ray.kill(worker.actor)  # which may only be out of reach
                result = _Lost(_read_reason(error))
                self._count_miss(worker, result)
                ended.append((worker, call, result))
                continue
            del worker.running[reference]
            if call == "start":
                worker.name, result = f"{worker.name} on {result['node']}", result["versions"]
                self._check_versions(worker, result)
                worker.ready, self.misses = True, 0
            ended.append((worker, call, result))
        return ended

    def _start_workers(self) -> None:
        settings = self.cluster
        actor = self.ray.remote(ShardWorker).options(
            num_cpus=settings.cpus_per_worker,
            num_gpus=settings.gpus_per_worker,
            max_concurrency=AHEAD + 1,  # and one call for how far it is
        )
        while len(self.workers) < self.wanted:
            self.started += 1
            threads = max(int(settings.cpus_per_worker), 1)
            worker = _Worker(actor.remote(self.encoder_at, self.spec, threads, settings.gpus_per_worker > 0), "")
            worker.name = f"worker {self.started}"
            worker.running[worker.actor.start.remote()] = "start"
            self.workers.append(worker)

    def _count_miss(self, worker: _Worker, why: _Lost) -> None:
        if worker.ready:
            return
        self.misses += 1
        if self.misses >= LOST and not any(one.ready for one in self.workers):
            raise StoreError(f"{self.misses} workers were lost before they were ready, the last with: {why}.")

    def _check_versions(self, worker: _Worker, found: dict[str, str]) -> None:
        """Raises StoreError where a worker's shards would not be the bytes of the others."""
        here = describe_versions(self.encoder)
        device = "GPU" if self.cluster.gpus_per_worker else "CPU"
        for name, value in (here | {"device": device}).items():
            if found.get(name) != value:
                raise StoreError(
                    f"{worker.name} has {name} {found.get(name)}, this process has {value}: the two would not give the "
                    "same bytes."
                )

    def _count_workers(self) -> int:
        """How many workers are wanted.

        Raises:
            StoreError: no machine of the cluster has room for one.
        """
        settings = self.cluster
        needs = {"CPU": settings.cpus_per_worker, "GPU": settings.gpus_per_worker}
        rooms = [
            min((math.floor(node["Resources"].get(name, 0) / need) for name, need in needs.items() if need))
            for node in self.ray.nodes()
            if node["Alive"]
        ]
        if not any(rooms):
            raise StoreError(
                f"no machine of the cluster has {_show(needs)} for a worker; it has "
                f"{_show(self.ray.cluster_resources())} in all."
            )
        return settings.workers or sum(rooms)


def _show(resources: dict[str, float]) -> str:
    """How many processors and GPUs."""
    return " and ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))


def _read_error(error: Any, worker: str) -> Exception:
    """What a worker has raised, as this process raises it."""
    cause = error.cause
    if isinstance(cause, BertvisionError):
        return StoreError(f"{worker}: {cause}")
    return cause if isinstance(cause, Exception) else error


def _read_reason(error: BaseException) -> str:
    """What Ray says, in a line: how a worker ended, or the last error of its start, or the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ends = [line.partition("Worker exit detail: ")[2].partition(". ")[0] for line in lines]
    raised = [line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception|Exit)\b.*: ", line)]
    found = [*filter(None, ends), *raised[-1:], *lines[:1], type(error).__name__]
    return found[0].rstrip(".")
