"""Flow `optimize-batches`: the solve units of a session in batches, several at a time (S6)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefect import flow, unmapped
from prefect.futures import as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from core import bootstrap
from core.settings import load_settings
from core.stages.grouping import load_grouping
from core.stages.optimising import plan_workload
from core.stages.session import load_context
from tasks.optimising import LocalDispatcher, optimize_batch_task

LOG = logging.getLogger(__name__)

BATCHES_IN_FLIGHT = 4
"""Batches of a session that are worked on at a time; each holds its arrays in memory."""

_runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=BATCHES_IN_FLIGHT)

OnProgress = Callable[[int, int], None]


@flow(
    name="optimize-batches",
    flow_run_name="optimize-batches-session-{session_id}",
    task_runner=_runner,
    validate_parameters=False,
)
def optimize_batches(session_id: int, attempt: int, on_progress: OnProgress | None = None) -> int:
    """Solve every unit that has no stored result yet; returns the number of units of the session.

    Parameters
    ----------
    session_id
        The session, in state OPTIMISING.
    attempt
        Attempt of the session that this run belongs to.
    on_progress
        Called with finished and all units, after every batch.
    """
    settings = load_settings()
    engine = bootstrap.open_database(settings)
    context = load_context(engine, session_id, attempt)
    grouping = load_grouping(engine, context, max_rate_plans=settings.max_rate_plans)
    workload = plan_workload(
        engine,
        context,
        grouping,
        sims_per_batch=settings.sims_per_batch,
        max_units_per_batch=settings.max_units_per_batch,
    )
    if workload.n_finished:
        LOG.info("session %d: %d units were finished before", session_id, workload.n_finished)
    finished = workload.n_finished
    with LocalDispatcher(settings.workers) as dispatcher:
        futures = optimize_batch_task.map(
            list(workload.batches), unmapped(context), unmapped(workload), unmapped(dispatcher)
        )
        for future in as_completed(list(futures)):
            finished += future.result()
            if on_progress is not None:
                on_progress(finished, workload.n_units)
    return workload.n_units
