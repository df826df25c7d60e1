"""Stage OPTIMISING as mapped tasks, and the local dispatcher that runs their arithmetic (S6)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from prefect import State, Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun

from core import bootstrap
from core.assembly import UnitSolution
from core.batches import Batch
from core.optimisation import solve_units
from core.optimiser.result import SolveParams
from core.problem import Problem
from core.process_pool import process_pool
from core.settings import load_settings
from core.stages.optimising import Workload, optimise_batch
from core.stages.session import SessionContext
from tasks.session import utc_now

LOG = logging.getLogger(__name__)


class LocalDispatcher:
    """Solves problems in one process pool that the threads of all mapped tasks share.

    The pool is made when the first problems come. A pool that lost a process is replaced: the task
    that saw it fails and is retried.

    Parameters
    ----------
    workers
        Number of processes; 0 means one per core.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, problems: Sequence[Problem], params: SolveParams) -> list[UnitSolution]:
        """Solve problems in another process and wait for the answer."""
        with self._lock:
            pool = self._pool = self._pool or process_pool(self._workers)
        try:
            return pool.submit(solve_units, problems, params).result()
        except BrokenProcessPool:
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=error is None, cancel_futures=True)


def _lost_a_process(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry where a worker process died; a wrong answer stays wrong."""
    return isinstance(state.result(raise_on_failure=False), BrokenProcessPool)


@task(
    name="optimize-batch",
    cache_policy=NO_CACHE,
    task_run_name="optimize-batch-{batch.batch_id}",
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=_lost_a_process,
)
def optimize_batch_task(
    batch: Batch, context: SessionContext, workload: Workload, dispatcher: LocalDispatcher
) -> int:
    """Solve one batch of units and store each of them; returns the number of units."""
    settings = load_settings()
    n_units = optimise_batch(
        bootstrap.open_database(settings),
        context,
        workload,
        batch,
        params=context.solve_params(
            first_instance_limit=settings.first_instance_limit,
            sequence_batch_size=settings.sequence_batch_size,
        ).for_run(workload.n_units),
        solver=dispatcher,
        now=utc_now,
    )
    LOG.info("session %d: batch %s done", context.session_id, batch.batch_id)
    return n_units
