"""AMOP 2.0 messages, key by key (A1, A2)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from core.amop.messages import (
    additional_info,
    completed_message,
    error_message,
    progress_message,
)

NOW = datetime(2026, 11, 23, 2, 3, 4, 567891, tzinfo=UTC)
GUID = "3f1c8f0e-6a52-4c0e-9c1c-0a4f0d1f2b3c"
ECHOED = {"ticket": "A-1", "nested": {"list": [1, None]}}


def as_sent(message):
    """The JSON text of a message without its random id."""
    payload = message.payload()
    assert payload.pop("messageId") == message.message_id
    return json.dumps(payload, indent=1)


def test_a_progress_message_reads_like_this():
    message = progress_message(
        session_id=12,
        session_guid=GUID,
        device_count=1800,
        progress=30,
        additional_info="grouped",
        additional_data=ECHOED,
        now=NOW,
    )
    assert as_sent(message) == (
        """{
 "type": "Progress",
 "sessionId": "12",
 "sessionGuid": "3f1c8f0e-6a52-4c0e-9c1c-0a4f0d1f2b3c",
 "deviceCount": 1800,
 "errorMessage": null,
 "progress": 30,
 "additionalInfo": "grouped",
 "additionalData": {
  "ticket": "A-1",
  "nested": {
   "list": [
    1,
    null
   ]
  }
 },
 "sentAt": "2026-11-23T02:03:04.567Z"
}"""
    )


def test_an_error_message_reads_like_this():
    message = error_message(
        session_id=12, text="no groups", additional_info="", additional_data={"a": 1}, now=NOW
    )
    assert as_sent(message) == (
        """{
 "type": "ErrorMessage",
 "sessionId": "12",
 "sessionGuid": null,
 "deviceCount": 0,
 "errorMessage": "no groups",
 "progress": 0,
 "additionalInfo": "",
 "additionalData": {
  "a": 1
 },
 "sentAt": "2026-11-23T02:03:04.567Z"
}"""
    )


def test_a_completed_message_reads_like_this():
    message = completed_message(
        session_id=12,
        session_guid=GUID,
        device_count=1800,
        error_message=None,
        totals={"devices": 1800, "savings": "12.500000"},
        additional_info="",
        additional_data={"a": 1},
        now=NOW,
    )
    assert as_sent(message) == (
        """{
 "type": "Completed",
 "sessionId": "12",
 "sessionGuid": "3f1c8f0e-6a52-4c0e-9c1c-0a4f0d1f2b3c",
 "deviceCount": 1800,
 "errorMessage": null,
 "progress": 100,
 "additionalInfo": "",
 "additionalData": {
  "a": 1,
  "totals": {
   "devices": 1800,
   "savings": "12.500000"
  }
 },
 "sentAt": "2026-11-23T02:03:04.567Z"
}"""
    )


def test_a_completed_message_can_carry_an_error():
    message = completed_message(
        session_id=12,
        session_guid=GUID,
        device_count=1,
        error_message="group G0002 was not finished",
        totals={},
        additional_info="",
        additional_data={},
        now=NOW,
    )
    payload = message.payload()
    assert payload["type"] == "Completed"
    assert payload["errorMessage"] == "group G0002 was not finished"
    assert payload["progress"] == 100


def test_the_callers_totals_are_never_overwritten():
    with pytest.raises(ValueError, match="'totals'"):
        completed_message(
            session_id=12,
            session_guid=GUID,
            device_count=1,
            error_message=None,
            totals={},
            additional_info="",
            additional_data={"totals": "mine"},
            now=NOW,
        )


def test_a_refused_run_has_no_session():
    payload = error_message(
        session_id=None, text="busy", additional_info="flow run x", additional_data={}, now=NOW
    ).payload()
    assert payload["sessionId"] is None
    assert payload["sessionGuid"] is None


def test_times_are_utc_wherever_they_come_from():
    tokyo = timezone(timedelta(hours=9))
    message = error_message(
        session_id=None,
        text="x",
        additional_info="",
        additional_data={},
        now=NOW.astimezone(tokyo),
    )
    assert message.payload()["sentAt"] == "2026-11-23T02:03:04.567Z"


def test_a_time_without_a_zone_is_refused():
    message = error_message(
        session_id=None,
        text="x",
        additional_info="",
        additional_data={},
        now=NOW.replace(tzinfo=None),
    )
    with pytest.raises(ValueError, match="time zone"):
        message.payload()


@pytest.mark.parametrize("progress", [-1, 100, 101])
def test_progress_stays_below_100_until_the_session_is_completed(progress):
    with pytest.raises(ValueError, match="0 to 99"):
        progress_message(
            session_id=1,
            session_guid=GUID,
            device_count=0,
            progress=progress,
            additional_info="",
            additional_data={},
            now=NOW,
        )


def test_every_message_has_an_id_of_its_own():
    ids = {
        error_message(
            session_id=1, text="x", additional_info="", additional_data={}, now=NOW
        ).message_id
        for _ in range(100)
    }
    assert len(ids) == 100


def test_a_dry_run_is_marked():
    assert additional_info() == ""
    assert additional_info("grouped") == "grouped"
    assert additional_info(is_dry_run=True) == "DRY RUN"
    assert additional_info("grouped", is_dry_run=True) == "DRY RUN: grouped"
