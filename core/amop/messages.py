"""AMOP 2.0 messages as they stand on the wire (A1, A2); nothing here sends or stores.

Three types: Progress while a session runs, Completed at its end (with an error text for
COMPLETED_WITH_ERRORS), ErrorMessage for a session that failed, was cancelled or was refused. An
ErrorMessage never carries the GUID, a device count or a progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from uuid import uuid4

TOTALS_KEY: Final = "totals"
"""Where the Completed message puts the session's totals inside ``additionalData`` (A2)."""

COMPLETED_PROGRESS: Final = 100

DRY_RUN_MARK: Final = "DRY RUN"
"""First words of ``additionalInfo`` in every message of a dry run (S4)."""


class MessageType(StrEnum):
    """Kind of a message; the text is what AMOP reads."""

    PROGRESS = "Progress"
    ERROR_MESSAGE = "ErrorMessage"
    COMPLETED = "Completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, immutable from the moment it is created.

    Attributes
    ----------
    message_id
        Also the idempotency key: a receiver that gets it twice counts it once.
    session_id, session_guid
        None where no session exists; the GUID is None in every ErrorMessage.
    progress
        Percent, 0 to 100.
    sent_at
        When the message was created, in UTC; it stays the same on every resend.
    """

    message_id: str
    type: MessageType
    session_id: int | None
    session_guid: str | None
    device_count: int
    error_message: str | None
    progress: int
    additional_info: str
    additional_data: Mapping[str, object]
    sent_at: datetime

    def payload(self) -> dict[str, object]:
        """Build the JSON object that is posted."""
        return {
            "messageId": self.message_id,
            "type": self.type.value,
            "sessionId": None if self.session_id is None else str(self.session_id),
            "sessionGuid": self.session_guid,
            "deviceCount": self.device_count,
            "errorMessage": self.error_message,
            "progress": self.progress,
            "additionalInfo": self.additional_info,
            "additionalData": dict(self.additional_data),
            "sentAt": _iso_utc(self.sent_at),
        }


def progress_message(
    *,
    session_id: int,
    session_guid: str,
    device_count: int,
    progress: int,
    additional_info: str,
    additional_data: Mapping[str, object],
    now: datetime,
) -> Message:
    """Report a milestone or a step between two milestones.

    Raises
    ------
    ValueError
        If ``progress`` is not 0 to 99: 100 belongs to the Completed message.
    """
    if not 0 <= progress < COMPLETED_PROGRESS:
        msg = f"a Progress message has progress 0 to 99, not {progress}"
        raise ValueError(msg)
    return Message(
        message_id=str(uuid4()),
        type=MessageType.PROGRESS,
        session_id=session_id,
        session_guid=session_guid,
        device_count=device_count,
        error_message=None,
        progress=progress,
        additional_info=additional_info,
        additional_data=additional_data,
        sent_at=now,
    )


def completed_message(
    *,
    session_id: int,
    session_guid: str,
    device_count: int,
    error_message: str | None,
    totals: Mapping[str, object],
    additional_info: str,
    additional_data: Mapping[str, object],
    now: datetime,
) -> Message:
    """Report the end of a session that has a result.

    Parameters
    ----------
    error_message
        None for COMPLETED; what went wrong for COMPLETED_WITH_ERRORS.
    totals
        Goes to ``additionalData.totals``, beside the caller's own keys.

    Raises
    ------
    ValueError
        If the caller's object has that key itself; such a run is refused at its start.
    """
    if TOTALS_KEY in additional_data:
        msg = f"additional_data has the key {TOTALS_KEY!r}, which belongs to the totals"
        raise ValueError(msg)
    return Message(
        message_id=str(uuid4()),
        type=MessageType.COMPLETED,
        session_id=session_id,
        session_guid=session_guid,
        device_count=device_count,
        error_message=error_message,
        progress=COMPLETED_PROGRESS,
        additional_info=additional_info,
        additional_data={**additional_data, TOTALS_KEY: dict(totals)},
        sent_at=now,
    )


def error_message(
    *,
    session_id: int | None,
    text: str,
    additional_info: str,
    additional_data: Mapping[str, object],
    now: datetime,
) -> Message:
    """Report a session that failed or was cancelled, or (without an id) a refused run."""
    return Message(
        message_id=str(uuid4()),
        type=MessageType.ERROR_MESSAGE,
        session_id=session_id,
        session_guid=None,
        device_count=0,
        error_message=text,
        progress=0,
        additional_info=additional_info,
        additional_data=additional_data,
        sent_at=now,
    )


def additional_info(info: str = "", *, is_dry_run: bool = False) -> str:
    """Build the text of ``additionalInfo``: what there is to say, marked for a dry run."""
    marks = [DRY_RUN_MARK] if is_dry_run else []
    return ": ".join(marks + ([info] if info else []))


def _iso_utc(moment: datetime) -> str:
    if moment.tzinfo is None:
        msg = "a message's time must know its time zone"
        raise ValueError(msg)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
