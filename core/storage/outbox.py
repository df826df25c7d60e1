"""The outbox of AMOP 2.0 messages: written with the state change, sent in order (A3).

A message waits until it is sent or parked. Messages of one session are sent in the order of their
sequence numbers; those of refused runs, which have no session, stand alone.

Two senders at once do not send a message twice: a sender claims a message by a guarded UPDATE that
counts the attempt and puts its own name where the last error stands, and when the attempt ends it
puts the result there. A message that bears a sender's name is thus on its way; another sender leaves
it alone unless that sender must have died.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.amop.messages import Message, MessageType
from core.storage.schema import amop_outbox

_MESSAGE = amop_outbox.c

_SENT_BY = "being sent by "


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxMessage:
    """A message as the outbox holds it.

    Attributes
    ----------
    session_id
        None for a refused run.
    sequence
        Place within its session, from 1.
    payload
        The JSON text that is posted, byte for byte the same on every resend.
    attempts
        How often somebody began to send it.
    last_error
        How the last attempt ended; while one is under way, who makes it; None before the first and
        after success.
    """

    outbox_id: int
    session_id: int | None
    sequence: int
    message_id: str
    type: MessageType
    progress: int
    payload: str
    created_at: datetime
    sent_at: datetime | None
    attempts: int
    last_error: str | None
    parked_at: datetime | None

    @property
    def sent_by(self) -> str | None:
        """Name of the sender that has begun to send it and has not said how that ended."""
        text = self.last_error or ""
        return text.removeprefix(_SENT_BY) if text.startswith(_SENT_BY) else None


def append_message(
    connection: sa.Connection, message: Message, *, milestone: str | None = None
) -> None:
    """Record a message in the transaction that makes it true.

    The caller's transaction has changed the session's row before, which keeps other writers of the
    session away while the sequence number is taken.

    Parameters
    ----------
    milestone
        Told once per session, by a unique index (A2).

    Raises
    ------
    sqlalchemy.exc.IntegrityError
        If the session has told that milestone already.
    """
    connection.execute(
        amop_outbox.insert().values(
            SessionId=message.session_id,
            SessionGuid=message.session_guid,
            Sequence=_next_sequence(message.session_id),
            MessageId=message.message_id,
            Type=message.type.value,
            Progress=message.progress,
            Milestone=milestone,
            Payload=json.dumps(message.payload(), ensure_ascii=False),
            CreatedAt=message.sent_at,
        )
    )


def load_next_messages(connection: sa.Connection) -> list[OutboxMessage]:
    """Read the first waiting message of every session, and those that stand alone, oldest first."""
    earlier = amop_outbox.alias("earlier")
    is_first = ~sa.exists().where(
        earlier.c.SessionId == _MESSAGE.SessionId,
        earlier.c.SentAt.is_(None),
        earlier.c.ParkedAt.is_(None),
        earlier.c.Sequence < _MESSAGE.Sequence,
    )
    query = sa.select(amop_outbox).where(_is_waiting(), is_first).order_by(_MESSAGE.Id)
    return [_message(row) for row in connection.execute(query)]


def load_messages(connection: sa.Connection, session_id: int) -> list[OutboxMessage]:
    """Read all messages of a session in order."""
    query = sa.select(amop_outbox).where(_MESSAGE.SessionId == session_id)
    return [_message(row) for row in connection.execute(query.order_by(_MESSAGE.Sequence))]


def count_waiting(connection: sa.Connection, session_id: int | None = None) -> int:
    """Count messages that are neither sent nor parked: of one session, or all."""
    query = sa.select(sa.func.count()).select_from(amop_outbox).where(_is_waiting())
    if session_id is not None:
        query = query.where(_MESSAGE.SessionId == session_id)
    return connection.execute(query).scalar_one()


def claim_message(connection: sa.Connection, message: OutboxMessage, *, sender: str) -> bool:
    """Begin an attempt to send a message; False if another sender was faster."""
    claimed = connection.execute(
        amop_outbox.update()
        .where(_attempt(message.outbox_id, message.attempts))
        .values(Attempts=message.attempts + 1, LastError=f"{_SENT_BY}{sender}")
    )
    return claimed.rowcount == 1


def mark_sent(connection: sa.Connection, outbox_id: int, attempt: int, now: datetime) -> bool:
    """End an attempt: delivered. False if another sender has taken the message meanwhile."""
    return _end_attempt(connection, outbox_id, attempt, SentAt=now, LastError=None)


def mark_failed(connection: sa.Connection, outbox_id: int, attempt: int, error: str) -> bool:
    """End an attempt: to be tried again."""
    return _end_attempt(connection, outbox_id, attempt, LastError=error)


def mark_parked(
    connection: sa.Connection, outbox_id: int, attempt: int, error: str, now: datetime
) -> bool:
    """End an attempt: refused for good; the session's next message goes on (A3)."""
    return _end_attempt(connection, outbox_id, attempt, LastError=error, ParkedAt=now)


def _end_attempt(connection: sa.Connection, outbox_id: int, attempt: int, **values: object) -> bool:
    ended = connection.execute(
        amop_outbox.update().where(_attempt(outbox_id, attempt)).values(**values)
    )
    return ended.rowcount == 1


def _attempt(outbox_id: int, attempts: int) -> sa.ColumnElement[bool]:
    return sa.and_(_MESSAGE.Id == outbox_id, _MESSAGE.Attempts == attempts, _is_waiting())


def _is_waiting() -> sa.ColumnElement[bool]:
    return sa.and_(_MESSAGE.SentAt.is_(None), _MESSAGE.ParkedAt.is_(None))


def _next_sequence(session_id: int | None) -> sa.ColumnElement[int]:
    if session_id is None:
        return sa.literal(1)
    before = amop_outbox.alias("before")
    return (
        sa.select(sa.func.coalesce(sa.func.max(before.c.Sequence), 0) + 1)
        .where(before.c.SessionId == session_id)
        .scalar_subquery()
    )


def _message(row: sa.Row[tuple[object, ...]]) -> OutboxMessage:
    values = row._mapping  # noqa: SLF001 - the documented way to a row's names
    return OutboxMessage(
        outbox_id=values["Id"],
        session_id=values["SessionId"],
        sequence=values["Sequence"],
        message_id=values["MessageId"],
        type=MessageType(values["Type"]),
        progress=values["Progress"],
        payload=values["Payload"],
        created_at=values["CreatedAt"],
        sent_at=values["SentAt"],
        attempts=values["Attempts"],
        last_error=values["LastError"],
        parked_at=values["ParkedAt"],
    )
