"""Chooses the adapters of a deployment: the one place that turns settings into things that do I/O."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from core.amop.sender import OutboxSender
from core.errors import InputError
from core.settings import Settings, load_settings
from core.storage.engine import open_engine
from core.storage.migrate import require_current

if TYPE_CHECKING:
    import sqlalchemy as sa

    from core.carriers.base import CarrierClient
    from core.carriers.control_center import ControlCenterClient
    from core.carriers.credentials import Credentials
    from core.carriers.http import RetryPolicy
    from core.carriers.limiter import Limiter
    from core.storage.records import ProviderRecord

THINGSPACE = "thingspace"
"""The integration that is not Control Center's."""


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


def carrier_client(
    provider: ProviderRecord,
    settings: Settings,
    engine: sa.Engine | None = None,
    *,
    retry: RetryPolicy | None = None,
) -> CarrierClient:
    """Make the client of a carrier account, its credentials resolved from their reference (C8).

    All workers that work on the account share its rate, where Redis is configured (C3).

    Parameters
    ----------
    engine
        The database that holds stored credentials; None: that of the settings.
    retry
        None: as patient as runs are.

    Raises
    ------
    InputError
        If the reference leads nowhere, or the address of Redis is none.
    """
    if provider.integration == THINGSPACE:
        return _thingspace(provider, settings, engine, retry=retry)
    return control_center(provider, settings, engine, retry=retry)


def control_center(
    provider: ProviderRecord,
    settings: Settings,
    engine: sa.Engine | None = None,
    *,
    retry: RetryPolicy | None = None,
) -> ControlCenterClient:
    """Make the client of a Control Center account, as :func:`carrier_client` does.

    Raises
    ------
    InputError
        If the account is another carrier's.
    """
    if provider.integration == THINGSPACE:
        msg = (
            f"{provider.name!r} is an account of {provider.integration}, whose list of plans has no "
            "prices: enter them in a file, and then `carrier-opt plans import`"
        )
        raise InputError(msg)
    from core.carriers.control_center import control_center_capabilities, open_control_center
    from core.carriers.credentials import account_name

    credentials = _credentials(provider, settings, engine)
    return open_control_center(
        provider.base_url,
        credentials,
        capabilities=control_center_capabilities(
            integration=provider.integration,
            page_size=provider.page_size,
            requests_per_second=provider.requests_per_second,
        ),
        timeout_s=settings.carrier_timeout_seconds,
        retry=retry,
        limiter=_limiter(account_name(provider.base_url, credentials), provider, settings),
    )


def _thingspace(
    provider: ProviderRecord,
    settings: Settings,
    engine: sa.Engine | None,
    *,
    retry: RetryPolicy | None,
) -> CarrierClient:
    from core.carriers.credentials import account_name
    from core.carriers.thingspace import open_thingspace, thingspace_capabilities

    credentials = _credentials(provider, settings, engine)
    return open_thingspace(
        provider.base_url,
        credentials,
        capabilities=thingspace_capabilities(
            page_size=provider.page_size, requests_per_second=provider.requests_per_second
        ),
        timeout_s=settings.carrier_timeout_seconds,
        retry=retry,
        limiter=_limiter(account_name(provider.base_url, credentials), provider, settings),
    )


def _limiter(account: str, provider: ProviderRecord, settings: Settings) -> Limiter:
    from core.carriers.http import DEADLINE_FACTOR
    from core.carriers.limiter import limiter_for

    return limiter_for(
        account,
        provider.requests_per_second,
        redis_url=settings.redis_url,
        longest_call_s=DEADLINE_FACTOR * settings.carrier_timeout_seconds,
    )


def _credentials(
    provider: ProviderRecord, settings: Settings, engine: sa.Engine | None
) -> Credentials:
    from core.carriers.credentials import STORE_REFERENCE, parse_credentials, resolve_credentials

    if provider.credential_ref != STORE_REFERENCE:
        return resolve_credentials(provider.credential_ref)
    from core.storage.credentials import load_credentials, token_cipher

    cipher = token_cipher(settings.credential_keys)
    stored = load_credentials(engine or open_database(settings), provider, cipher)
    return parse_credentials(stored, f"the store for provider {provider.id}")
