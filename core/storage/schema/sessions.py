"""Sessions, their slots, and what is told to others: outbox, audit, plan changes."""

from __future__ import annotations

import sqlalchemy as sa

from core.storage.column_types import BIG_ID, GUID, JSON_TEXT, LONG_TEXT, UtcDateTime, key_text
from core.storage.legacy_ids import FINAL_STATES, RUNNING_STATES, status_id_sql
from core.storage.schema.base import created, life, metadata


def _in_list(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


IS_RUNNING_SQL = f"State IN ({_in_list(RUNNING_STATES)})"
"""Condition of the one-session-per-tenant index (S3)."""

optimization_session = sa.Table(
    "OptimizationSession",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    # AMOP knows a session by it: one session each (A1).
    sa.Column("SessionId", GUID, nullable=False, unique=True),
    sa.Column("TenantId", sa.ForeignKey("Tenant.Id"), nullable=False),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id")),  # null: cross-provider
    sa.Column("BillingPeriodId", sa.ForeignKey("BillingPeriod.Id")),
    sa.Column("CustomerId", sa.ForeignKey("Customer.Id")),
    sa.Column("Kind", key_text(16), nullable=False),  # core.domain.Portal
    sa.Column("State", key_text(32), nullable=False),
    sa.Column("StatusId", sa.Integer, sa.Computed(status_id_sql())),  # core.storage.legacy_ids
    sa.Column("Progress", sa.Integer, nullable=False, server_default="0"),
    sa.Column("DeviceCount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("ErrorMessage", LONG_TEXT),
    sa.Column("FailedInState", key_text(32)),
    sa.Column("Parameters", JSON_TEXT, nullable=False),  # of the run, as given (S4)
    sa.Column("TriggeredBy", key_text(128), nullable=False),
    sa.Column("IsDryRun", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("OwnerRunId", key_text(64)),
    sa.Column("OwnerHost", key_text(256)),
    sa.Column("OwnerPid", sa.BigInteger),
    sa.Column("Attempt", sa.Integer, nullable=False, server_default="1"),
    sa.Column("HeartbeatAt", UtcDateTime),
    *created(),
    sa.Column("CompletedDate", UtcDateTime),
    sa.Column("ResultsPurgedDate", UtcDateTime),  # its results are gone, or going (R5)
    *life(),
    sa.CheckConstraint(f"State IN ({_in_list(RUNNING_STATES + FINAL_STATES)})", name="State"),
    # One running session per tenant (S3). The condition is on State itself and not on a flag beside
    # it: a flag can be forgotten in an update, a state cannot. Both databases take an IN list here.
    sa.Index(
        "UX_OptimizationSession_RunningTenant",
        "TenantId",
        unique=True,
        sqlite_where=sa.text(IS_RUNNING_SQL),
        mssql_where=sa.text(IS_RUNNING_SQL),
    ),
    # Query: the sessions of a provider and period, newest first (changes.last_completed_session).
    sa.Index(
        "IX_OptimizationSession_Provider", "ServiceProviderId", "BillingPeriodId", "CreatedDate"
    ),
    # Query: newest session of a tenant (the operators' running-session query,
    # sessions.list_sessions).
    sa.Index("IX_OptimizationSession_Tenant", "TenantId", "CreatedDate"),
    sqlite_autoincrement=True,  # ids were told to AMOP: never used twice
)
"""One optimisation of one provider for one billing period (S2)."""

run_slot = sa.Table(
    "RunSlot",
    metadata,
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), primary_key=True),
    sa.Column("LocalDate", sa.Date, primary_key=True),
    sa.Column("Hour", sa.Integer, primary_key=True, autoincrement=False),  # -1: the whole day
    sa.Column("ClaimedBy", key_text(64), nullable=False),
    sa.Column("ClaimedAt", UtcDateTime, nullable=False),
    sa.Column("SessionId", sa.ForeignKey("OptimizationSession.Id")),
)
"""A scheduled start that somebody has claimed; the key makes the claim unique (S1)."""

amop_outbox = sa.Table(
    "AmopOutbox",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column(
        "SessionId", sa.ForeignKey("OptimizationSession.Id")
    ),  # null: refused before a session
    sa.Column("SessionGuid", GUID),
    sa.Column("Sequence", sa.Integer, nullable=False),  # order within the session, from 1
    # The idempotency key of a message, never used twice (A1).
    sa.Column("MessageId", GUID, nullable=False, unique=True),
    sa.Column("Type", key_text(16), nullable=False),  # Progress, ErrorMessage, Completed (A1)
    sa.Column("Progress", sa.Integer, nullable=False),
    sa.Column("Milestone", key_text(64)),  # told once per session
    sa.Column("Payload", JSON_TEXT, nullable=False),
    sa.Column("CreatedAt", UtcDateTime, nullable=False),
    sa.Column("SentAt", UtcDateTime),
    sa.Column("Attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("LastError", LONG_TEXT),
    sa.Column("ParkedAt", UtcDateTime),
    # A milestone is told once per session, whoever tries again (A2).
    sa.Index(
        "UX_AmopOutbox_Milestone",
        "SessionId",
        "Milestone",
        unique=True,
        sqlite_where=sa.text("Milestone IS NOT NULL AND SessionId IS NOT NULL"),
        mssql_where=sa.text("Milestone IS NOT NULL AND SessionId IS NOT NULL"),
    ),
    # Query: messages of a session in order (outbox.load_messages); each place once (A3).
    sa.Index(
        "UX_AmopOutbox_Sequence",
        "SessionId",
        "Sequence",
        unique=True,
        sqlite_where=sa.text("SessionId IS NOT NULL"),
        mssql_where=sa.text("SessionId IS NOT NULL"),
    ),
    # Query: what is still to be sent, in order (outbox.load_next_messages).
    sa.Index(
        "IX_AmopOutbox_Unsent",
        "SessionId",
        "Sequence",
        sqlite_where=sa.text("SentAt IS NULL AND ParkedAt IS NULL"),
        mssql_where=sa.text("SentAt IS NULL AND ParkedAt IS NULL"),
    ),
    sqlite_autoincrement=True,
)
"""Messages to AMOP 2.0, written with the state change that they tell of (A3)."""

audit_event = sa.Table(
    "AuditEvent",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("OccurredAt", UtcDateTime, nullable=False),
    sa.Column("Actor", key_text(128), nullable=False),  # who
    sa.Column("Source", key_text(16), nullable=False),  # ui, api, cron, cli, system
    sa.Column("Action", key_text(64), nullable=False),  # what, such as provider.added
    sa.Column("Subject", sa.Unicode(256), nullable=False),  # on which thing
    sa.Column("TenantId", sa.Integer),
    sa.Column("ServiceProviderId", sa.Integer),
    sa.Column("SessionId", sa.BigInteger),
    sa.Column("RunId", key_text(64)),  # flow run it came from
    sa.Column("Details", JSON_TEXT),
    sa.CheckConstraint("Source IN ('ui', 'api', 'cron', 'cli', 'system')", name="Source"),
    # Query: what happened in a session (audit.load_events).
    sa.Index("IX_AuditEvent_Session", "SessionId"),
    # Query: whether anything was noted of a flow run (audit.has_events).
    sa.Index("IX_AuditEvent_Run", "RunId"),
    sqlite_autoincrement=True,
)
"""Who did what, when, from which run; a trigger refuses UPDATE and DELETE (D5). No foreign keys: an
event outlives what it is about."""

rate_plan_change = sa.Table(
    "RatePlanChange",
    metadata,
    sa.Column("Id", BIG_ID, primary_key=True),
    sa.Column("SessionId", sa.ForeignKey("OptimizationSession.Id"), nullable=False),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("ICCID", key_text(64), nullable=False),
    sa.Column("FromRatePlan", key_text(128), nullable=False),
    sa.Column("ToRatePlan", key_text(128), nullable=False),
    sa.Column("EffectiveDate", sa.Date),
    sa.Column("Status", key_text(16), nullable=False),
    sa.Column("Attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("IntendedAt", UtcDateTime, nullable=False),  # or proposed
    sa.Column("FinishedAt", UtcDateTime),
    sa.Column("ErrorMessage", LONG_TEXT),
    sa.CheckConstraint(
        "Status IN ('proposed', 'intended', 'applied', 'already', 'rejected', 'unknown', "
        "'rolled_back')",
        name="Status",
    ),
    # Query: the change of a SIM in a session (changes.insert_proposals); one row each (P2).
    sa.UniqueConstraint("SessionId", "ICCID"),
    sqlite_autoincrement=True,
)
"""Journal of plan changes at the carrier (P2)."""
