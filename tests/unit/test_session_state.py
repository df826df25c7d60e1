"""The state diagram of a session (S2)."""

from __future__ import annotations

import pytest

from core.errors import IllegalTransitionError
from core.sessions.state import (
    WORKING_STATES,
    SessionState,
    check_move,
    is_at_or_past,
    legal_next,
    predecessors,
)

# The diagram written out by hand, as (from, to).
LEGAL = {
    ("PENDING", "SYNCING"),
    ("SYNCING", "GROUPING"),
    ("GROUPING", "SEQUENCING"),
    ("SEQUENCING", "OPTIMISING"),
    ("OPTIMISING", "FINALISING"),
    ("FINALISING", "COMPLETED"),
    ("FINALISING", "COMPLETED_WITH_ERRORS"),
    ("PENDING", "FAILED"),
    ("SYNCING", "FAILED"),
    ("GROUPING", "FAILED"),
    ("SEQUENCING", "FAILED"),
    ("OPTIMISING", "FAILED"),
    ("FINALISING", "FAILED"),
    ("PENDING", "CANCELLED"),
    ("SYNCING", "CANCELLED"),
    ("GROUPING", "CANCELLED"),
    ("SEQUENCING", "CANCELLED"),
    ("OPTIMISING", "CANCELLED"),
    ("FINALISING", "CANCELLED"),
}


@pytest.mark.parametrize("before", list(SessionState))
@pytest.mark.parametrize("after", list(SessionState))
def test_exactly_the_moves_of_the_diagram_are_legal(before, after):
    if (before.value, after.value) in LEGAL:
        check_move(before, after)
        assert before in predecessors(after)
    else:
        with pytest.raises(IllegalTransitionError, match=rf"{before}.* cannot become {after}"):
            check_move(before, after)
        assert before not in predecessors(after)


def test_a_refused_move_says_what_would_be_legal():
    with pytest.raises(IllegalTransitionError, match="after SYNCING may come: GROUPING, FAILED"):
        check_move(SessionState.SYNCING, SessionState.COMPLETED)
    with pytest.raises(IllegalTransitionError, match="nothing: the session is over"):
        check_move(SessionState.COMPLETED, SessionState.FAILED)


@pytest.mark.parametrize("failed_in", WORKING_STATES)
def test_a_failed_session_resumes_only_into_the_state_it_failed_in(failed_in):
    assert legal_next(SessionState.FAILED, failed_in=failed_in) == {failed_in}
    check_move(SessionState.FAILED, failed_in, failed_in=failed_in)
    for other in SessionState:
        if other is not failed_in:
            with pytest.raises(IllegalTransitionError):
                check_move(SessionState.FAILED, other, failed_in=failed_in)


@pytest.mark.parametrize("state", [SessionState.COMPLETED, SessionState.CANCELLED])
def test_only_failed_sessions_can_be_resumed(state):
    assert legal_next(state, failed_in=SessionState.SYNCING) == frozenset()


def test_a_session_is_working_until_it_ends():
    assert [s.value for s in SessionState if s.is_working] == [
        "PENDING",
        "SYNCING",
        "GROUPING",
        "SEQUENCING",
        "OPTIMISING",
        "FINALISING",
    ]


def test_stages_are_ordered():
    assert is_at_or_past(SessionState.OPTIMISING, SessionState.GROUPING)
    assert is_at_or_past(SessionState.GROUPING, SessionState.GROUPING)
    assert not is_at_or_past(SessionState.SYNCING, SessionState.GROUPING)
    with pytest.raises(ValueError, match="tuple"):
        is_at_or_past(SessionState.FAILED, SessionState.GROUPING)
