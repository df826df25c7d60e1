"""Slots of scheduled runs: claimed once, by a unique row (S1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.errors import StorageError
from core.sessions.window import Slot
from core.storage.engine import reading, writing
from core.storage.retry import retried
from core.storage.schema import run_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotClaim:
    """Who has a slot.

    Attributes
    ----------
    is_mine
        Whether the caller may start its run.
    claimed_by
        Flow run that has the slot: the caller's or another.
    session_id
        Session that came of it; None until one is opened.
    """

    slot: Slot
    is_mine: bool
    claimed_by: str
    claimed_at: datetime
    session_id: int | None


@retried
def claim_slot(engine: sa.Engine, slot: Slot, *, claimed_by: str, now: datetime) -> SlotClaim:
    """Take a slot, or learn who has it.

    A run that claims the same slot again (it died and was started anew) gets it again.

    Raises
    ------
    StorageError
        If the provider is unknown, or the database fails.
    """
    row = {
        "ServiceProviderId": slot.service_provider_id,
        "LocalDate": slot.local_date,
        "Hour": slot.hour,
    }
    try:
        with writing(engine) as connection:
            connection.execute(run_slot.insert().values(**row, ClaimedBy=claimed_by, ClaimedAt=now))
    except sa.exc.IntegrityError as exc:
        taken = _load(engine, slot)
        if taken is None:
            raise StorageError(
                f"the slot ({slot}) can neither be claimed nor read: is the provider known?"
            ) from exc
        return SlotClaim(
            slot=slot,
            is_mine=taken.ClaimedBy == claimed_by,
            claimed_by=taken.ClaimedBy,
            claimed_at=taken.ClaimedAt,
            session_id=taken.SessionId,
        )
    return SlotClaim(
        slot=slot, is_mine=True, claimed_by=claimed_by, claimed_at=now, session_id=None
    )


@retried
def release_slot(engine: sa.Engine, slot: Slot, *, claimed_by: str) -> bool:
    """Give back a slot that led to no session, so that it is due at the next tick (S3).

    Returns
    -------
    bool
        False, and nothing changed, if the slot is not the caller's or a session came of it.
    """
    with writing(engine) as connection:
        released = connection.execute(
            run_slot.delete().where(
                _is(slot), run_slot.c.ClaimedBy == claimed_by, run_slot.c.SessionId.is_(None)
            )
        )
    return released.rowcount == 1


@retried
def bind_slot(engine: sa.Engine, slot: Slot, *, claimed_by: str, session_id: int) -> bool:
    """Note which session came of a slot; False if the slot is not the caller's."""
    with writing(engine) as connection:
        bound = connection.execute(
            run_slot.update()
            .where(_is(slot), run_slot.c.ClaimedBy == claimed_by)
            .values(SessionId=session_id)
        )
    return bound.rowcount == 1


def _is(slot: Slot) -> sa.ColumnElement[bool]:
    return sa.and_(
        run_slot.c.ServiceProviderId == slot.service_provider_id,
        run_slot.c.LocalDate == slot.local_date,
        run_slot.c.Hour == slot.hour,
    )


@retried
def _load(engine: sa.Engine, slot: Slot) -> sa.Row[tuple[object, ...]] | None:
    with reading(engine) as connection:
        return connection.execute(sa.select(run_slot).where(_is(slot))).one_or_none()
