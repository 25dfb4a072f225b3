"""``python -m space_core batch``: the films of a job table on many machines, with Ray Data."""

import logging
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from space_core.cluster.ray_session import LOCAL, check_installed, ray_session
from space_core.errors import ServerFault, SpaceError

if TYPE_CHECKING:
    import pyarrow

    from space_core.cluster.job_table import FilmJob
    from space_core.cluster.status_table import FilmStatus
    from space_core.cluster.storage import Place

MAX_GROUP = 8  # films of one photo that go to a worker together
GROUPS_PER_WORKER = 4  # at least, so that no worker is idle for long at the end
MAX_ATTEMPTS = 3  # at a film during which its worker was lost
WRITE_EVERY = 10.0  # seconds between two versions of the status table
MAX_BAD_STARTS = 3  # workers, one after the other, that end before their pipeline is loaded


@dataclass(frozen=True)
class Workers:
    """The workers of a batch, each of which has one pipeline.

    Attributes:
        number: how many; None for as many as the processors (or GPUs) of the cluster suffice for.
        cpus: processors of each.
        gpus: GPUs of each, or a fraction; 0 computes on the processors.
        certificate_folder: see ``FilmMaker``; on a cluster, a folder that all machines share.
    """

    number: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    certificate_folder: Path | None = None

    def __post_init__(self) -> None:
        if self.number is not None and not 1 <= self.number <= 10_000:
            raise SpaceError(f"workers must be a whole number between 1 and 10000; got {self.number}.")
        if not 0.1 <= self.cpus <= 1024:
            raise SpaceError(f"cpus-per-worker must be between 0.1 and 1024; got {self.cpus:g}.")
        if not 0 <= self.gpus <= 64 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise SpaceError(f"gpus-per-worker must be a fraction or a whole number up to 64; got {self.gpus:g}.")


def make_films(
    table: str, out: str, workers: Workers, *, address: str = LOCAL, resume: bool = False, quiet: bool = False
) -> Counter[str]:
    """Makes a film for each row of a job table, and the status table beside them.

    Args:
        table: see ``read_job_table``.
        out: the folder of the films, which is created: a path or an address that fsspec can open. It and all inputs
            have to be the same for all machines of the cluster.
        workers: how many and of what kind.
        address: see ``ray_session``.
        resume: make only the films that are not there yet or, by the status table, were made from another row; without
            it the folder must not hold any of them.
        quiet: no progress bar.

    Returns:
        How many rows ended with which status.

    Raises:
        SpaceError: Ray is missing or not reachable, the table or the folder can't be used, or films are there already.
        ServerFault: no worker could be started, or the status table could not be written.
    """
    check_installed()
    from space_core.cluster.job_table import FilmJob, read_job_table
    from space_core.cluster.storage import place, remove_unfinished

    rows, folder = read_job_table(table), place(out)
    jobs = [row for row in rows if isinstance(row, FilmJob)]
    finished = _finished(jobs, folder, resume)
    remove_unfinished(folder)
    if workers.certificate_folder is not None:
        from space_core.media.content_credentials import ContentCredentials

        ContentCredentials(workers.certificate_folder)  # made here, once, if it is not there
    statuses = _Statuses(folder, jobs)
    statuses.add(row for row in rows if not isinstance(row, FilmJob))
    earlier = _earlier(finished, folder)
    # Also of films that will be made again: if this run is killed before, the next one needs to know their requests.
    statuses.add(earlier)
    missing = _missing(jobs, finished, earlier)
    if (num_changed := len(missing) - (len(jobs) - len(finished))) and not quiet:
        print(f"Rows that have changed: {num_changed}. Their films are made again.", file=sys.stderr)
    with statuses:
        if missing:
            needed = math.ceil((workers.number or 0) * workers.cpus)
            with ray_session(address, max(needed, os.cpu_count() or 1) if needed else None):
                _run(missing, folder, workers, statuses, quiet)
    return statuses.counts()


def _finished(jobs: Sequence["FilmJob"], folder: "Place", resume: bool) -> list["FilmJob"]:
    """The jobs whose films are in the folder, which is created if need be; SpaceError if they must not be there."""
    from space_core.cluster.storage import file_names

    names = file_names(folder)
    finished = [job for job in jobs if f"{job.id}.mp4" in names]
    if finished and not resume:
        raise SpaceError(
            f"The output folder has {len(finished)} of these films already. Add --resume to make only the others and "
            "those whose rows have changed, or choose another folder."
        )
    return finished


class _Statuses:
    """The statuses of all rows so far; written when the context begins, every ``WRITE_EVERY``, and when it ends."""

    def __init__(self, folder: "Place", jobs: Iterable["FilmJob"]) -> None:
        self._folder = folder
        self._requests = {job.row: job.request for job in jobs}
        self._by_row: dict[int, FilmStatus] = {}
        self._written_at = time.monotonic()

    def add(self, statuses: Iterable["FilmStatus"]) -> None:
        for status in statuses:
            self._by_row[status.row] = replace(status, request=status.request or self._requests.get(status.row))

    def write(self) -> None:
        from space_core.cluster.status_table import write_status_table

        write_status_table(self._by_row.values(), self._folder)
        self._written_at = time.monotonic()

    def write_if_due(self) -> None:
        if time.monotonic() > self._written_at + WRITE_EVERY:
            with suppress(ServerFault):  # a full disk: once more at the end
                self.write()

    def counts(self) -> Counter[str]:
        return Counter(status.status for status in self._by_row.values())

    def __enter__(self) -> Self:
        self.write()  # so that a folder that can't be written is reported before the first film is made
        return self

    def __exit__(self, *_: object) -> None:
        self.write()


def _earlier(finished: Sequence["FilmJob"], folder: "Place") -> list["FilmStatus"]:
    """The statuses of films that are there, with their figures where an earlier run could still write them."""
    from space_core.cluster.status_table import FilmStatus, read_status_table

    known = {status.id: status for status in read_status_table(folder) if status.request} if finished else {}
    statuses = []
    for job in finished:
        before = known.get(job.id) or FilmStatus(job.row, job.id, "done", request=job.request)
        statuses.append(replace(before, row=job.row, path=(folder / f"{job.id}.mp4").shown()))
    return statuses


def _missing(
    jobs: Sequence["FilmJob"], finished: Sequence["FilmJob"], earlier: Sequence["FilmStatus"]
) -> list["FilmJob"]:
    """The jobs that have no film, or one that was made from another request than that of their row.

    ``earlier`` are the statuses of ``finished``. A film whose replacement failed counts as one of another request.
    """
    as_asked = {
        job.id
        for job, film in zip(finished, earlier, strict=True)
        if film.status == "done" and film.request == job.request
    }
    return [job for job in jobs if job.id not in as_asked]


def grouped(jobs: Sequence["FilmJob"], num_workers: int) -> list[list["FilmJob"]]:
    """Jobs in groups of one portrait each, small enough to keep all workers busy to the end."""
    size = max(1, min(MAX_GROUP, len(jobs) // (GROUPS_PER_WORKER * num_workers)))
    groups = []
    for _, same in groupby(sorted(jobs, key=lambda job: job.portrait), key=lambda job: job.portrait):
        films = list(same)
        groups += [films[begin : begin + size] for begin in range(0, len(films), size)]
    return groups


class _Ledger:
    """A Ray actor that counts attempts and keeps statuses of finished films, for workers that replace a lost one."""

    def __init__(self) -> None:
        self._attempts: Counter[int] = Counter()
        self._finished: dict[int, FilmStatus] = {}

    def begin(self, row: int) -> "int | FilmStatus":
        """The number of this attempt; or the status of a film that is finished."""
        if row in self._finished:
            return self._finished[row]
        self._attempts[row] += 1
        return self._attempts[row]

    def finish(self, status: "FilmStatus") -> None:
        self._finished[status.row] = status


class _Worker:
    """An actor of the pool: makes the films of groups, and yields the status of each as soon as it is made."""

    def __init__(self, ledger: Any, folder: "Place", workers: Workers) -> None:
        from space_core.cluster.film_maker import FilmMaker
        from space_core.processes.configuration import configure_process

        configure_process()
        self._ledger = ledger
        self._maker = FilmMaker(folder, "cuda" if workers.gpus else "cpu", workers.certificate_folder)

    def __call__(self, group: "pyarrow.Table") -> Iterator["pyarrow.Table"]:
        import pickle

        import ray

        from space_core.cluster.status_table import FilmStatus, to_table

        for pickled in group.column("job").to_pylist():
            job: FilmJob = pickle.loads(pickled)
            begun = ray.get(self._ledger.begin.remote(job.row))
            if isinstance(begun, FilmStatus):
                status = begun
            elif begun > MAX_ATTEMPTS:
                sentence = (
                    f"The worker was lost {MAX_ATTEMPTS} times while it made this film, perhaps for lack of memory. "
                    "Try a smaller photo, or workers with more memory."
                )
                status = FilmStatus(job.row, job.id, "failed", sentence, "machine_lost", attempts=MAX_ATTEMPTS)
            else:
                status = self._maker.make(job, begun)
            ray.get(self._ledger.finish.remote(status))
            yield to_table([status])


def _run(jobs: Sequence["FilmJob"], folder: "Place", workers: Workers, statuses: _Statuses, quiet: bool) -> None:
    """Makes the films on the connected cluster, and adds their statuses as they come."""
    import pickle

    import pyarrow
    import ray
    from tqdm import tqdm

    from space_core.cluster.status_table import from_table

    num_workers = workers.number or _capacity(workers)
    groups = grouped(jobs, num_workers)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1  # an hour's speech takes as long as it takes
    context.max_consecutive_actor_init_deaths = MAX_BAD_STARTS
    context.target_max_block_size = 1  # byte: each status is passed on at once, not together with those of its group
    ledger = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Ledger).remote()
    films = ray.data.from_arrow(
        [pyarrow.table({"job": [pickle.dumps(job) for job in group]}) for group in groups]
    ).map_batches(
        _Worker,
        fn_constructor_args=(ledger, folder, workers),
        batch_size=None,  # a block, and so a group, at a time
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(groups)), max_tasks_in_flight_per_actor=1),
        num_cpus=workers.cpus,
        num_gpus=workers.gpus or None,
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # now that Ray has configured it
    begun, shape = time.monotonic(), "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {remaining} left{postfix}]"
    try:
        with tqdm(total=len(jobs), unit="film", desc="films", disable=quiet, bar_format=shape) as bar:
            for table in films.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                statuses.add(from_table(table))
                statuses.write_if_due()
                bar.update(len(table))
                bar.set_postfix_str(f"{60 * bar.n / (time.monotonic() - begun):.1f} films/min")
    except ray.exceptions.RayError as failure:
        raise ServerFault(f"The workers could not go on: {_error_line(failure)}", "internal") from failure


def _capacity(workers: Workers) -> int:
    """How many workers fit on the cluster; at least one, which waits for a machine that is large enough."""
    import ray

    resources = ray.cluster_resources()
    fitting = [resources.get("CPU", 0) / workers.cpus]
    if workers.gpus:
        fitting.append(resources.get("GPU", 0) / workers.gpus)
    return max(1, int(min(fitting)))


def _error_line(failure: Exception) -> str:
    """The last line of a remote traceback, which has the error itself."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return (lines[-1] if lines else type(failure).__name__)[:200]
