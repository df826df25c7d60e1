"""Who is optimised and against which plans: tenants, providers, periods, plans, taxes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from core.storage.column_types import LONG_TEXT, UtcDateTime, key_text
from core.storage.schema.base import created, life, metadata, money

tenant = sa.Table(
    "Tenant",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    # Query: a tenant by its name (catalogue_changes.add_provider).
    sa.Column("Name", key_text(128), nullable=False, unique=True),
    *life(),
    *created(),
)
"""A customer of the platform; at most one of its sessions runs at a time (S3)."""

service_provider = sa.Table(
    "ServiceProvider",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("TenantId", sa.ForeignKey("Tenant.Id"), nullable=False),
    sa.Column("Name", key_text(128), nullable=False),
    sa.Column("Integration", key_text(32), nullable=False),  # legacy_ids.INTEGRATION_ID
    sa.Column("Portal", key_text(16), nullable=False),  # core.domain.Portal
    sa.Column("BaseUrl", sa.Unicode(512), nullable=False),
    sa.Column(
        "CredentialRef", sa.Unicode(512), nullable=False
    ),  # env:NAME, file:/path or store, no secret
    sa.Column("TimeZone", key_text(64), nullable=False),  # IANA name
    sa.Column("OptimizationStartHour", sa.Integer, nullable=False),  # 0..23, local (S1)
    sa.Column("BillableStatuses", sa.Unicode(512), nullable=False),  # ";" between (E1)
    sa.Column("UsesProration", sa.Boolean, nullable=False),
    sa.Column("ProrationBasis", key_text(16), nullable=False),  # core.domain.ProrationBasis
    sa.Column("PoolScope", key_text(16), nullable=False),  # core.domain.PoolScope
    sa.Column("PoolingEnabled", sa.Boolean, nullable=False),
    sa.Column("MbBytes", sa.Integer, nullable=False),  # bytes in the carrier's MB (B1)
    sa.Column("Currency", key_text(3), nullable=False),
    sa.Column("PageSize", sa.Integer, nullable=False),  # rows per page of the carrier's lists (C2)
    sa.Column("RequestsPerSecond", sa.Float),  # null: unthrottled account (C3)
    *life(),
    *created(),
    sa.Column("ModifiedDate", UtcDateTime),
    # Query: a provider by tenant and name (catalogue_changes.import_providers).
    sa.UniqueConstraint("TenantId", "Name"),
)
"""A carrier account of a tenant."""

carrier_credential = sa.Table(
    "CarrierCredential",
    metadata,
    sa.Column(
        "ServiceProviderId",
        sa.ForeignKey("ServiceProvider.Id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("Token", LONG_TEXT, nullable=False),  # username:apiKey, encrypted by Fernet (C8)
    *created(),
    sa.Column("ModifiedDate", UtcDateTime),
)
"""Credentials of the providers whose reference is ``store``; without the keys they say nothing."""

billing_period = sa.Table(
    "BillingPeriod",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("BillingPeriodStart", sa.Date, nullable=False),
    sa.Column("BillingPeriodEnd", sa.Date, nullable=False),
    *life(),
    *created(),
    # Query: periods of a provider, the current one, overlap check (catalogue.periods_of).
    sa.UniqueConstraint("ServiceProviderId", "BillingPeriodStart"),
    sa.CheckConstraint("BillingPeriodEnd >= BillingPeriodStart", name="Order"),
)
"""A billing cycle in the account's local dates, both inclusive; periods of a provider never overlap."""


def _rate_plan_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("RatePlanCode", key_text(128), nullable=False),
        sa.Column("RatePlanName", sa.Unicode(256), nullable=False),
        sa.Column("PlanType", key_text(64)),
        sa.Column("Portal", key_text(16), nullable=False),
        money("MonthlyRateMicros"),
        sa.Column("IncludedBytes", sa.BigInteger, nullable=False),
        money("OverageRateMicros"),  # price of one started block (B3)
        sa.Column("OverageBlockBytes", sa.BigInteger, nullable=False),
        sa.Column("IsPooled", sa.Boolean, nullable=False),
        sa.Column("IsProrated", sa.Boolean, nullable=False),
        sa.Column("PoolGroup", key_text(128)),
        sa.Column("IncludedSms", sa.BigInteger, nullable=False),
        money("SmsRateMicros"),
        sa.Column("IncludedVoiceMinutes", sa.BigInteger, nullable=False),
        money("VoiceRateMicros"),
        money("RegulatoryFeeMicros"),
        sa.Column("MinDevices", sa.BigInteger),  # O8
        sa.Column("MaxDevices", sa.BigInteger),
        money("OverageCapMicros", nullable=True),  # per SIM and cycle (B8)
        # bytes=micros;bytes=micros, ascending: price of a block that starts at so much overage (B8).
        sa.Column("OverageTiers", sa.Unicode(1024)),
        *life(),
        *created(),
        sa.Column("ModifiedDate", UtcDateTime),
    )


carrier_rate_plan = sa.Table(
    "CarrierRatePlan",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    *_rate_plan_columns(),
    # Query: the catalogue of a provider (catalogue.load_rate_plans).
    sa.UniqueConstraint("ServiceProviderId", "RatePlanCode"),
)
"""A plan that the carrier bills; values as imported, also where they cannot be billed (V2)."""

customer = sa.Table(
    "Customer",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("TenantId", sa.ForeignKey("Tenant.Id"), nullable=False),
    sa.Column("Name", key_text(256), nullable=False),
    *life(),
    *created(),
    # One customer of a name per tenant (K1).
    sa.UniqueConstraint("TenantId", "Name"),
)
"""A customer whose SIMs are optimised by themselves (K1)."""

customer_rate_plan = sa.Table(
    "CustomerRatePlan",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("CustomerId", sa.ForeignKey("Customer.Id"), nullable=False),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    *_rate_plan_columns(),
    # One plan of a code per customer and provider (K1).
    sa.UniqueConstraint("CustomerId", "ServiceProviderId", "RatePlanCode"),
)
"""A plan that a customer is billed by (K1)."""

communication_plan = sa.Table(
    "CommunicationPlan",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("Name", key_text(256), nullable=False),
    sa.Column("RatePlanIds", LONG_TEXT, nullable=False),  # CarrierRatePlan.Id, "1,2"; "": no list
    *life(),
    *created(),
    sa.Column("ModifiedDate", UtcDateTime),
    # Query: the communication plans of a provider (catalogue.load_communication_plans).
    sa.UniqueConstraint("ServiceProviderId", "Name"),
)
"""A communication plan and the rate plans that its SIMs may have (G1)."""

optimization_group = sa.Table(
    "OptimizationGroup",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("ServiceProviderId", sa.ForeignKey("ServiceProvider.Id"), nullable=False),
    sa.Column("Name", key_text(256), nullable=False),
    sa.Column("RatePlanIds", LONG_TEXT, nullable=False),  # as CommunicationPlan.RatePlanIds
    *life(),
    *created(),
    # One group of a name per provider (K1).
    sa.UniqueConstraint("ServiceProviderId", "Name"),
)
"""A group of SIMs in Mobility optimisation (K1)."""

tax_rate = sa.Table(
    "TaxRate",
    metadata,
    sa.Column("Id", sa.Integer, primary_key=True),
    sa.Column("TenantId", sa.ForeignKey("Tenant.Id"), nullable=False),
    sa.Column("Jurisdiction", key_text(128), nullable=False),
    sa.Column("Name", key_text(128), nullable=False),
    sa.Column("PercentMillionths", sa.BigInteger, nullable=False),  # 8.25 % is 8,250,000
    sa.Column("Base", key_text(32), nullable=False),  # which charges it applies to
    *life(),
    *created(),
    # One percentage of a name per jurisdiction (B6).
    sa.UniqueConstraint("TenantId", "Jurisdiction", "Name"),
)
"""A percentage tax or fee of a jurisdiction (B6)."""
