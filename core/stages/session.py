"""What every stage of a session needs to know: provider, period, request, instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from core.domain import BillingPolicy, Portal, walk_strategies
from core.errors import FencedOffError, SessionCancelledError, SessionError
from core.optimiser.result import SolveParams
from core.sessions.parameters import RunRequest, restore_request
from core.sessions.state import SessionState
from core.storage import sessions
from core.storage.catalogue import load_period, load_provider
from core.storage.engine import reading
from core.storage.instances import Instance, find_instances
from core.storage.records import PeriodRecord, ProviderRecord
from core.storage.retry import retried


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """One session with what it is about.

    Attributes
    ----------
    attempt
        Number of the attempt that this stage belongs to; :meth:`fence` guards writes with it.
    instance
        The session's instance as it is now; None until the grouping stage has made one.
    """

    session_id: int
    attempt: int
    triggered_by: str
    started_at: datetime
    provider: ProviderRecord
    period: PeriodRecord
    request: RunRequest
    instance: Instance | None

    @property
    def policy(self) -> BillingPolicy:
        """How the account is billed in this period, and what is minimised."""
        return self.provider.policy(self.period.cycle, self.request.charge_type)

    @property
    def portal(self) -> Portal:
        """Kind of optimisation."""
        return self.request.kind

    @property
    def instance_id(self) -> int:
        """Id of the instance.

        Raises
        ------
        SessionError
            If the session was not grouped yet.
        """
        if self.instance is None:
            msg = f"session {self.session_id} has no instance: its SIMs were not grouped yet"
            raise SessionError(msg)
        return self.instance.id

    def fence(self, connection: sa.Connection) -> None:
        """Stop a write of a run that the session does not belong to any more (S2).

        A take-over waits until the write that passed has ended.

        Raises
        ------
        SessionCancelledError, FencedOffError
            If the session was cancelled, or has another attempt by now.
        """
        stored = sessions.load_session(connection, self.session_id, is_held=True)
        if stored is not None and stored.state is SessionState.CANCELLED:
            raise SessionCancelledError(f"session {self.session_id} was cancelled")
        if stored is None or stored.attempt != self.attempt or not stored.state.is_working:
            raise FencedOffError(
                f"session {self.session_id} has gone on without attempt {self.attempt}: "
                "what it still wanted to write was not written"
            )

    def solve_params(self, *, first_instance_limit: int, sequence_batch_size: int) -> SolveParams:
        """Knobs of the optimiser for this request."""
        return SolveParams(
            strategies=walk_strategies(self.portal),
            first_instance_limit=first_instance_limit,
            sequence_batch_size=sequence_batch_size,
            skip_lower_cost_check=self.request.skip_lower_cost_check,
        )


@retried
def load_context(engine: sa.Engine, session_id: int, attempt: int) -> SessionContext:
    """Read what a stage needs to know of its session.

    Raises
    ------
    SessionError
        If there is no such session.
    """
    with reading(engine) as connection:
        stored = sessions.load_session(connection, session_id)
    if stored is None or stored.service_provider_id is None or stored.billing_period_id is None:
        msg = f"session {session_id} is unknown; see `carrier-opt sessions list`"
        raise SessionError(msg)
    instances = find_instances(engine, session_id)
    return SessionContext(
        session_id=session_id,
        attempt=attempt,
        triggered_by=stored.triggered_by,
        started_at=stored.created_at,
        provider=load_provider(engine, stored.service_provider_id),
        period=load_period(engine, stored.billing_period_id),
        request=restore_request(stored.parameters),
        instance=instances[0] if instances else None,
    )
