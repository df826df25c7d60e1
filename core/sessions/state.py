"""The states of a session and the moves between them (S2).

::

    PENDING -> SYNCING -> GROUPING -> SEQUENCING -> OPTIMISING -> FINALISING
    FINALISING -> COMPLETED | COMPLETED_WITH_ERRORS
    every working state -> FAILED | CANCELLED
    FAILED -> the state it failed in, by `sessions resume` only

Nothing leaves COMPLETED, COMPLETED_WITH_ERRORS or CANCELLED.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

from core.errors import IllegalTransitionError


class SessionState(StrEnum):
    """Where a session stands; the text is what the database holds."""

    PENDING = "PENDING"
    SYNCING = "SYNCING"
    GROUPING = "GROUPING"
    SEQUENCING = "SEQUENCING"
    OPTIMISING = "OPTIMISING"
    FINALISING = "FINALISING"
    COMPLETED = "COMPLETED"
    COMPLETED_WITH_ERRORS = "COMPLETED_WITH_ERRORS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_working(self) -> bool:
        """Whether a session in this state keeps its tenant busy (S3)."""
        return self in WORKING_STATES


WORKING_STATES = (
    SessionState.PENDING,
    SessionState.SYNCING,
    SessionState.GROUPING,
    SessionState.SEQUENCING,
    SessionState.OPTIMISING,
    SessionState.FINALISING,
)
"""The states of a session that is not over, in the order in which it goes through them."""

SUCCESSFUL_STATES = (SessionState.COMPLETED, SessionState.COMPLETED_WITH_ERRORS)
"""The two ends of a session that produced a result."""

_STOPPED = frozenset({SessionState.FAILED, SessionState.CANCELLED})


def _legal_moves() -> dict[SessionState, frozenset[SessionState]]:
    moves: dict[SessionState, frozenset[SessionState]] = {
        state: frozenset({following}) | _STOPPED for state, following in pairwise(WORKING_STATES)
    }
    moves[SessionState.FINALISING] = frozenset(SUCCESSFUL_STATES) | _STOPPED
    for state in SessionState:
        moves.setdefault(state, frozenset())
    return moves


LEGAL_MOVES = _legal_moves()
"""What may follow a state while a run works on the session; resuming is apart, see
:func:`legal_next`."""


def legal_next(
    state: SessionState, *, failed_in: SessionState | None = None
) -> frozenset[SessionState]:
    """States that may follow ``state``.

    Parameters
    ----------
    failed_in
        For a session that is FAILED and is being resumed: the state it failed in. None otherwise:
        then nothing follows FAILED.
    """
    if state is SessionState.FAILED and failed_in is not None and failed_in.is_working:
        return frozenset({failed_in})
    return LEGAL_MOVES[state]


def predecessors(state: SessionState) -> tuple[SessionState, ...]:
    """States from which a running session may move to ``state``, in working order."""
    return tuple(before for before in WORKING_STATES if state in LEGAL_MOVES[before])


def check_move(
    state: SessionState, to_state: SessionState, *, failed_in: SessionState | None = None
) -> None:
    """Refuse a move that the state diagram does not have.

    Raises
    ------
    IllegalTransitionError
        If ``to_state`` may not follow ``state``; the message lists what may.
    """
    allowed = legal_next(state, failed_in=failed_in)
    if to_state in allowed:
        return
    listed = ", ".join(s for s in SessionState if s in allowed) or "nothing: the session is over"
    raise IllegalTransitionError(
        f"a session that is {state} cannot become {to_state}; after {state} may come: {listed}"
    )


def is_at_or_past(state: SessionState, stage: SessionState) -> bool:
    """Whether a working ``state`` is ``stage`` or a later one.

    Raises
    ------
    ValueError
        If one of the two is not a working state.
    """
    return WORKING_STATES.index(state) >= WORKING_STATES.index(stage)
