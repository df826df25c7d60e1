"""Flow `purge-old-results`: results of sessions that finished long ago leave the database (R5).

The annotations of this file are objects and not texts (no ``from __future__ import annotations``):
Prefect makes the parameters' schema from them, also where the flow was pickled.
"""

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.this_run import this_run
from tasks.purging import purge_old_results_task


@flow(name="purge-old-results")
def purge_old_results(
    older_than_days: Annotated[int | None, Field(ge=1, le=36500)] = None, dry_run: bool = False
) -> dict[str, Any]:
    """Purge old results in small transactions; a run that died is gone on with by the next one.

    The section below is in the form from which Prefect takes the descriptions of its UI.

    Args:
        older_than_days: Days since the end of a session; empty: the setting `CARRIER_OPT_RETENTION_DAYS`.
        dry_run: Count what would be purged, and change nothing.
    """
    _, author = this_run()
    return purge_old_results_task(older_than_days, author, dry_run=dry_run)
