"""Chooses the adapters of a deployment: the one place that turns settings into things that do I/O."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from core.amop.sender import OutboxSender
from core.settings import Settings, load_settings
from core.storage.engine import open_engine
from core.storage.migrate import require_current

if TYPE_CHECKING:
    import sqlalchemy as sa

    from core.carriers.base import CarrierClient
    from core.storage.records import ProviderRecord


@cache
def _engine(url: str) -> sa.Engine:
    engine = open_engine(url)
    require_current(engine)
    return engine


def open_database(settings: Settings | None = None) -> sa.Engine:
    """Open the deployment's database; one engine per address and process.

    Raises
    ------
    SchemaOutdatedError
        If migrations are missing.
    """
    return _engine((settings or load_settings()).database_url)


def outbox_sender(engine: sa.Engine, settings: Settings) -> OutboxSender:
    """Make the sender of AMOP messages; a context manager."""
    return OutboxSender(engine, settings.amop_api_endpoint, settings.amop_api_key)


def carrier_client(provider: ProviderRecord, settings: Settings) -> CarrierClient:
    """Make the client of a carrier account, its credentials resolved from their reference.

    All workers that work on the account share its rate, where Redis is configured (C3).

    Raises
    ------
    InputError
        If the reference leads nowhere, or the address of Redis is none.
    """
    from core.carriers.control_center import control_center_capabilities, open_control_center
    from core.carriers.credentials import account_name, resolve_credentials
    from core.carriers.http import DEADLINE_FACTOR
    from core.carriers.limiter import limiter_for

    credentials = resolve_credentials(provider.credential_ref)
    return open_control_center(
        provider.base_url,
        credentials,
        capabilities=control_center_capabilities(
            integration=provider.integration,
            page_size=provider.page_size,
            requests_per_second=provider.requests_per_second,
        ),
        timeout_s=settings.carrier_timeout_seconds,
        limiter=limiter_for(
            account_name(provider.base_url, credentials),
            provider.requests_per_second,
            redis_url=settings.redis_url,
            longest_call_s=DEADLINE_FACTOR * settings.carrier_timeout_seconds,
        ),
    )
