"""Numbers that stand in the tables for states and kinds, as the statements of operators expect them.

The known ones are ``RunStatusId`` 2 and 3 (complete with success, complete with errors); the others
complete the list. This is the only place that gives them a meaning.
"""

from __future__ import annotations

from enum import IntEnum

from core.domain import Portal

RUNNING_STATES = ("PENDING", "SYNCING", "GROUPING", "SEQUENCING", "OPTIMISING", "FINALISING")
"""States in which a session holds its tenant (S3)."""

FINAL_STATES = ("COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELLED")
"""States in which a tenant is free; only FAILED can be left, by a resume (S2)."""


class RunStatus(IntEnum):
    """``RunStatusId`` of instances and queues, ``StatusId`` of sessions."""

    NOT_STARTED = 0
    IN_PROGRESS = 1
    COMPLETE_WITH_SUCCESS = 2
    COMPLETE_WITH_ERRORS = 3
    FAILED = 4
    CANCELLED = 5


STATUS_OF_STATE: dict[str, RunStatus] = {
    "PENDING": RunStatus.NOT_STARTED,
    "SYNCING": RunStatus.IN_PROGRESS,
    "GROUPING": RunStatus.IN_PROGRESS,
    "SEQUENCING": RunStatus.IN_PROGRESS,
    "OPTIMISING": RunStatus.IN_PROGRESS,
    "FINALISING": RunStatus.IN_PROGRESS,
    "COMPLETED": RunStatus.COMPLETE_WITH_SUCCESS,
    "COMPLETED_WITH_ERRORS": RunStatus.COMPLETE_WITH_ERRORS,
    "FAILED": RunStatus.FAILED,
    "CANCELLED": RunStatus.CANCELLED,
}
"""Session state (S2) to legacy status; ``OptimizationSession.StatusId`` is computed from it."""

PORTAL_TYPE: dict[Portal, int] = {
    Portal.M2M: 0,
    Portal.MOBILITY: 1,
    Portal.CUSTOMER: 2,
    Portal.CROSS_PROVIDER: 3,
}
"""``OptimizationInstance.PortalType``."""

INTEGRATION_ID: dict[str, int] = {
    "jasper": 1, "pod19": 2, "tmobile_jasper": 3, "rogers": 4, "thingspace": 5,
}  # fmt: skip
"""``OptimizationInstance.IntegrationId``: integration of the provider by its name.

No statement is known that tells one number from another: they are this system's own, and only must
never change.
"""


def status_id_sql() -> str:
    """Spell the SQL that computes ``StatusId`` from ``State``."""
    cases = " ".join(
        f"WHEN '{state}' THEN {int(status)}" for state, status in STATUS_OF_STATE.items()
    )
    return f"CASE State {cases} END"
