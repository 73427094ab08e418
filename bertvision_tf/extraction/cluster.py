"""Extraction over a Ray cluster: workers that each hold the encoder write shards where the store lies.

The driver, which is this process, tokenizes, hands out shards, and enters them in the manifest. A shard whose worker is
lost goes to another one. States never pass through the driver or Ray's object store.

Over 300 lines, since handing out shards and losing the workers that have them are one protocol.
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

AHEAD = 2  # shards that a worker has at a time, so that it is never without one
LOST = 5  # workers that may be lost with one shard, with the calibration, or before they are ready
POLL = 1.0  # seconds between two looks at how far workers are
PAUSE = 2.0  # seconds before another worker is started, for each that could not
ANSWER = 20.0  # seconds for a cluster to answer
LATE = 60.0  # seconds after which a line says that there is no worker
TellWorker = Callable[[str, int, int], None]  # which worker, tokens that it has done, tokens of its share


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
class Worker:
    """What this process knows of a worker.

    Attributes:
        actor: Ray's handle of it.
        name: as it is shown.
        ready: whether it has the encoder.
        running: its calls: what each is, "start", "count", "calibrate", or the number of a shard.
        asked: when it was asked last how far it is.
        done: tokens, as it said then.
        finished: tokens of its shards.
    """

    actor: Any
    name: str
    ready: bool = False
    running: dict[Any, str | int] = dataclasses.field(default_factory=dict)
    asked: float = 0.0
    done: int = 0
    finished: int = 0

    @property
    def shards(self) -> list[int]:
        """That it is on."""
        return [call for call in self.running.values() if isinstance(call, int)]

    def call(self, what: str | int, method: str, *arguments: Any) -> None:
        """Calls a method of a ShardWorker."""
        self.running[getattr(self.actor, method).remote(*arguments)] = what


@dataclasses.dataclass(frozen=True)
class Answers:
    """What has come from workers.

    Attributes:
        results: of calls that have ended: whose, which, and what.
        lost: workers that are lost, with the calls that were running, and why.
    """

    results: list[tuple[Worker, str | int, Any]]
    lost: list[tuple[Worker, str]]


class Workers:
    """The workers of a cluster; one that is lost is replaced. They start when this is made.

    Args:
        ray: connected.
        encoder: what they run; each machine gets its weights once.
        spec: what is kept.
        cluster: how many, and what each has.

    Raises:
        StoreError: no machine of the cluster has room for one.
    """

    def __init__(self, ray: Any, encoder: Encoder, spec: StoreSpec, cluster: ClusterSettings):
        self.ray, self.encoder, self.cluster = ray, encoder, cluster
        self.wanted = _count_workers(ray, cluster)
        self._all: list[Worker] = []
        self._started = self._misses = 0
        self._pause_until, self._last_ready, self._told = 0.0, time.monotonic(), False
        self._made_of = (ray.put(encoder), spec, max(int(cluster.cpus_per_worker), 1), cluster.gpus_per_worker > 0)
        self._actor = ray.remote(ShardWorker).options(
            num_cpus=cluster.cpus_per_worker,
            num_gpus=cluster.gpus_per_worker,
            max_concurrency=AHEAD + 1,  # and one call for how far it is
        )
        self._start()

    @property
    def ready(self) -> list[Worker]:
        """Those that have the encoder, the least busy first."""
        return sorted((one for one in self._all if one.ready), key=lambda one: len(one.shards))

    def close(self) -> None:
        """Ends them."""
        for worker in self._all:
            self._kill(worker)
        self._all, self.wanted = [], 0

    def wait(self) -> Answers:
        """What has come, after POLL seconds at most.

        Raises:
            StoreError: what a worker has raised; its versions are other ones; or no worker is left.
        """
        self._start()
        self._note_if_late()
        calls = {reference: worker for worker in self._all for reference in worker.running}
        ended, _ = self.ray.wait(list(calls), num_returns=1, timeout=POLL)
        if ended:  # and whatever else is there
            ended, _ = self.ray.wait(list(calls), num_returns=len(calls), timeout=0)
        results: list[tuple[Worker, str | int, Any]] = []
        reasons: dict[Worker, str] = {}
        for reference in ended:
            worker = calls[reference]
            try:
                result = self._get(reference, worker)
            except _Lost as lost:
                reasons.setdefault(worker, str(lost))
                continue
            call = worker.running.pop(reference)
            if call == "start":
                self._take(worker, result)
            results.append((worker, call, result))
        for worker, reason in reasons.items():
            self._lose(worker, reason)
        return Answers(results, list(reasons.items()))

    def _get(self, reference: Any, worker: Worker) -> Any:
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, errors.RayError):  # as of an argument that is lost
                raise _Lost(_read_reason(error.cause)) from None
            said = error.cause if isinstance(error.cause, BertvisionError) else _read_reason(error.cause, named=True)
            raise StoreError(f"{worker.name}: {said}") from error  # with the worker's own traceback
        except errors.RayError as error:
            raise _Lost(_read_reason(error)) from None

    def _take(self, worker: Worker, facts: dict[str, Any]) -> None:
        worker.name = f"{worker.name} on {facts['node']}"
        self._check_versions(worker, facts["versions"])
        worker.ready, self._misses, self._told = True, 0, False

    def _lose(self, worker: Worker, reason: str) -> None:
        """Ends a worker that does not answer: it may only be out of reach."""
        self._all.remove(worker)
        self._kill(worker)
        note(f"{worker.name} is lost: {reason}.")
        if worker.ready:
            return
        self._misses += 1
        self._pause_until = time.monotonic() + PAUSE * self._misses
        if self._misses >= LOST:
            self.wanted = len(self._all)  # go on with those that there are
        if not self.wanted:
            raise StoreError(f"no worker could start; of the last of {self._misses} this is known: {reason}.")

    def _kill(self, worker: Worker) -> None:
        with contextlib.suppress(Exception):  # it is gone, or the cluster is
            self.ray.kill(worker.actor)

    def _start(self) -> None:
        while len(self._all) < self.wanted and time.monotonic() >= self._pause_until:
            self._started += 1
            worker = Worker(self._actor.remote(*self._made_of), f"worker {self._started}")
            worker.call("start", "start")
            self._all.append(worker)

    def _note_if_late(self) -> None:
        now = time.monotonic()
        if any(worker.ready for worker in self._all):
            self._last_ready = now
        elif not self._told and now - self._last_ready > LATE:
            self._told = True
            note(f"no worker is there yet; the cluster has {_show(self.ray.available_resources())} free.")

    def _check_versions(self, worker: Worker, found: dict[str, str]) -> None:
        """Raises StoreError where a worker's shards would not be the bytes of the others."""
        here = describe_versions(self.encoder)
        device = "GPU" if self.cluster.gpus_per_worker else "CPU"
        for name, value in (here | {"device": device}).items():
            if found.get(name) != value:
                raise StoreError(
                    f"{worker.name} has {name} {found.get(name)}, this process has {value}: the two would not give the "
                    "same bytes."
                )


def write_on_cluster(
    workers: Workers,
    plan: ShardPlan,
    sample: Sequence[np.ndarray],
    path: Place,
    spec: StoreSpec,
    progress: Callable[[int, int], None],
    tell: TellWorker,
) -> None:
    """Writes the shards of a store that are not there, over a cluster.

    Args:
        workers: of the cluster; they are ended.
        plan, sample: what is run, and which batches are calibrated on.
        path: where the store lies, which all machines see.
        spec: what is kept.
        progress: called with the tokens done and the tokens in all.
        tell: called with a worker, the tokens that it has done, and the tokens of its share.

    Raises:
        StoreError: workers have other versions than this process or do not see the folder, one shard is lost again and
            again, or `extract`'s.
    """
    made_with = _wait_for_versions(workers)
    writer = StoreWriter(
        path,
        spec,
        made_with=made_with,
        truncated=plan.tokens.truncated,
        num_shards=len(plan),
        total_rows=plan.total_rows,
        calibrate=lambda: _calibrate(workers, plan, sample),
    )
    try:
        _Handing(workers, plan, writer, progress, tell).run()
    finally:
        workers.close()  # before what they have left is removed
        with contextlib.suppress(OSError, StoreError):
            writer.clean()
        writer.close()


def _wait_for_versions(workers: Workers) -> dict[str, str]:
    """What the first worker that is ready says of its versions."""
    while True:
        for _, call, result in workers.wait().results:
            if call == "start":
                return result["versions"]


def _calibrate(workers: Workers, plan: ShardPlan, sample: Sequence[np.ndarray]) -> Calibration:
    """The statistics of the sample, by any worker.

    Raises:
        StoreError: workers are lost with it again and again.
    """
    own = plan.tokens.select(np.concatenate([*sample, np.zeros(0, np.int64)]))
    ends = np.cumsum([len(batch) for batch in sample])
    batches = np.split(np.arange(len(own)), ends[:-1]) if len(ends) else []
    lost, asked = 0, False
    while True:
        if not asked and workers.ready:
            workers.ready[0].call("calibrate", "calibrate", own, batches)
            asked = True
        answers = workers.wait()
        for _, call, result in answers.results:
            if call == "calibrate":
                return result
        for worker, reason in answers.lost:
            if "calibrate" in worker.running.values():
                lost, asked = lost + 1, False
                if lost == LOST:
                    raise StoreError(f"{LOST} workers were lost with the first batches, the last one: {reason}.")


class _Handing:
    """Hands out shards, and enters what comes back."""

    def __init__(self, workers: Workers, plan: ShardPlan, writer: StoreWriter, progress: Any, tell: TellWorker):
        self.workers, self.plan, self.writer, self.progress, self.tell = workers, plan, writer, progress, tell
        self.tokens = plan.count_tokens()
        self.entries: dict[int, ShardEntry] = {}  # made, and not yet next
        self.losses: dict[int, int] = {}  # of each shard, workers that were lost with it
        self.left: deque[int] = deque()

    def run(self) -> None:
        """Makes all shards that are not there."""
        writer = self.writer
        for number in range(writer.next_shard, len(self.plan)):
            if not self._find(number):
                self.left.append(number)
        total = sum(self.tokens)
        done = total - sum(self.tokens[number] for number in self.left)
        place = self.workers.ray.put((str(writer.path.absolute()), writer.manifest, writer.leave_token()))
        self.progress(done, total)
        while True:
            while writer.next_shard in self.entries:
                writer.enter(self.entries.pop(writer.next_shard))
            if writer.next_shard == len(self.plan):
                return
            self._hand_out(place)
            answers = self.workers.wait()
            for worker, call, result in answers.results:
                if isinstance(call, int):
                    worker.finished += self.tokens[call]
                    if self._is_missing(call):
                        self.entries[call] = result
                        done += self.tokens[call]
                elif call == "count":
                    worker.done = result
                made = max(worker.done, worker.finished)
                self.tell(worker.name, made, max(total // max(self.workers.wanted, 1), made))
            for worker, reason in answers.lost:
                done += self._take_back(worker, reason)
            self.progress(done, total)

    def _is_missing(self, number: int) -> bool:
        return number >= self.writer.next_shard and number not in self.entries

    def _find(self, number: int) -> bool:
        """Whether a shard is there already; what is there and is not that shard is removed."""
        if not self.writer.has_file(number):
            return False
        entry = self.writer.find(number, self.plan.describe(number))
        if entry is None:
            self.writer.remove(number)
            return False
        self.entries[number] = entry
        return True

    def _hand_out(self, place: Any) -> None:
        """Gives shards to the workers that have room, the least busy first; and asks all how far they are."""
        self.left = deque(number for number in self.left if self._is_missing(number))
        for _ in range(AHEAD):
            for worker in self.workers.ready:
                if self.left and len(worker.shards) < AHEAD:
                    number = self.left.popleft()
                    worker.call(number, "write", place, self.plan.cut(number))
        now = time.monotonic()
        for worker in self.workers.ready:
            if now - worker.asked > POLL and "count" not in worker.running.values():
                worker.asked = now
                worker.call("count", "count")

    def _take_back(self, worker: Worker, reason: str) -> int:
        """The shards of a worker that is lost are left to others, but for those that it has placed; their tokens.

        Raises:
            StoreError: one of them was lost again and again.
        """
        found = 0
        for number in sorted(filter(self._is_missing, worker.shards), reverse=True):
            if self._find(number):
                found += self.tokens[number]
                continue
            self.losses[number] = self.losses.get(number, 0) + 1
            if self.losses[number] == LOST:
                raise StoreError(f"{LOST} workers were lost with shard {number}, the last one: {reason}.")
            self.left.appendleft(number)
        return found


class _Lost(Exception):
    """A worker is lost, and why."""


def _count_workers(ray: Any, cluster: ClusterSettings) -> int:
    """How many workers are wanted.

    Raises:
        StoreError: no machine of the cluster has room for one.
    """
    needs = {"CPU": cluster.cpus_per_worker, "GPU": cluster.gpus_per_worker}
    rooms = [
        min(math.floor(node["Resources"].get(name, 0) / need) for name, need in needs.items() if need)
        for node in ray.nodes()
        if node["Alive"]
    ]
    if not any(rooms):
        raise StoreError(
            f"no machine of the cluster has {_show(needs)} for a worker; all have {_show(ray.cluster_resources())}."
        )
    return cluster.workers or sum(rooms)


def _show(resources: dict[str, float]) -> str:
    """How many processors and GPUs."""
    return " and ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))


def _read_reason(error: BaseException | None, named: bool = False) -> str:
    """What an error says, in a line: of Ray's, which are long, how a worker ended, or what its start has raised.

    Args:
        error: any.
        named: whether its kind goes first.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ends = [line.partition("Worker exit detail: ")[2].partition(". ")[0] for line in lines]
    raised = [line for line in lines if re.match(r"[A-Za-z_.]+(Error|Exception|Exit)\b.*: ", line)]
    dead = [line for line in lines if line.startswith("The actor is dead because")]
    mismatch = [", ".join(lines)] if lines and lines[0].startswith("Version mismatch") else []
    found = [*mismatch, *filter(None, ends), *raised[-1:], *dead, *lines[:1], "no reason is given"][0][:400].rstrip(".")
    return f"{type(error).__name__}: {found}" if named else found
