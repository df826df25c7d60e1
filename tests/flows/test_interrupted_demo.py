"""Ctrl-C cancels and tells; a killed run is taken over and ends as a clean one would (S2, S9)."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.prefect]

STATES = ["SYNCING", "GROUPING", "OPTIMISING", "FINALISING"]
DEVICES = 2000


def test_ctrl_c_in_any_stage_cancels_the_session_and_the_next_run_starts_anew(
    make_demo: Callable,
) -> None:
    demo = make_demo(DEVICES)
    for number, state in enumerate(STATES, start=1):
        code, out, err = demo.stop_in(state, signal.SIGINT)
        assert code == 130, (state, out, err)
        assert "Traceback" not in out + err, (state, err)
        assert demo.sessions()[-1]["State"] == "CANCELLED", (state, err)
        last = demo.messages(number)[-1]
        assert last["type"] == "ErrorMessage", state
        assert (last["sessionGuid"], last["deviceCount"], last["progress"]) == (None, 0, 0)
        assert "interrupted" in last["errorMessage"]

    code, _, err = demo.run()
    assert (code, err) == (0, "")
    assert [row["State"] for row in demo.sessions()] == ["CANCELLED"] * len(STATES) + ["COMPLETED"]


@pytest.mark.parametrize(
    "states",
    [STATES[::2], pytest.param(STATES[1::2], marks=pytest.mark.full)],
    ids=" and ".join,
)
def test_a_killed_run_is_taken_over_by_the_next_one_with_the_same_result(
    make_demo: Callable, states: list[str]
) -> None:
    demo = make_demo(DEVICES)
    code, _, err = demo.run()
    assert (code, err) == (0, "")
    clean = (demo.folder / "assignments.parquet").read_bytes()

    for number, state in enumerate(states, start=2):
        code, out, err = demo.stop_in(state, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert demo.sessions()[-1]["State"] == state

        code, out, err = demo.run()
        assert code == 0, err
        assert "taken over" in out, out
        session = demo.sessions()[-1]
        assert (session["Id"], session["State"], session["Attempt"]) == (number, "COMPLETED", 2)
        assert (demo.folder / "assignments.parquet").read_bytes() == clean
        progress = [message["progress"] for message in demo.messages(number)]
        assert progress == sorted(set(progress))
        assert {0, 20, 30, 40, 50, 90, 100} <= set(progress)
