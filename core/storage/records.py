"""What the catalogue hands out: providers and billing periods as frozen records."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.domain import (
    BillingCycle,
    BillingPolicy,
    ChargeType,
    PoolScope,
    Portal,
    ProrationBasis,
)
from core.errors import InputError
from core.storage.legacy_ids import INTEGRATION_ID

MAX_NAME_LENGTH = 128
MAX_URL_LENGTH = 512

POLITE_REQUESTS_PER_SECOND = 1.0
"""What every carrier account is granted, as far as is known; many have 5 (C3)."""

_LARGEST_PAGES = {"thingspace": 2000}

_CREDENTIAL_REF = re.compile(r"store|env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """A carrier account as an operator describes it.

    Attributes
    ----------
    tenant
        Name of the customer of the platform that the account belongs to.
    integration
        One of ``jasper``, ``pod19``, ``tmobile_jasper``, ``rogers``, ``thingspace``.
    base_url
        Address of the carrier's API, without user or password.
    credential_ref
        Where the credentials are: ``env:NAME``, ``file:/absolute/path`` or ``store`` (encrypted in
        the database); never a secret itself.
    time_zone
        IANA name; slots and billing dates are local to it (S1).
    start_hour
        Hour of the day, 0-23, from which a scheduled run may start.
    billable_statuses
        SIM statuses that the carrier bills (E1).
    mb_bytes
        Bytes in the carrier's MB: 1,048,576 or 1,000,000 (B1).
    page_size
        Rows per page of the carrier's lists (C2): 1 to what the carrier sends, 1000 or more from a
        simulator.
    requests_per_second
        Calls that the account is granted, above 0; None for an unthrottled account, which only
        simulators have (C3).

    Raises
    ------
    InputError
        If a value is not allowed; the message names the option. It never repeats the credential
        reference, which might be a secret given by mistake.
    """

    name: str
    tenant: str
    integration: str
    base_url: str
    credential_ref: str
    time_zone: str
    portal: Portal = Portal.M2M
    start_hour: int = 2
    billable_statuses: tuple[str, ...] = ("ACTIVATED",)
    uses_proration: bool = True
    proration_basis: ProrationBasis = ProrationBasis.CYCLE
    pool_scope: PoolScope = PoolScope.PLAN
    pooling_enabled: bool = True
    mb_bytes: int = 1024 * 1024
    currency: str = "USD"
    page_size: int = 50
    requests_per_second: float | None = POLITE_REQUESTS_PER_SECOND

    def __post_init__(self) -> None:
        for option, text in (("name", self.name), ("tenant", self.tenant)):
            if not text.strip() or text != text.strip() or len(text) > MAX_NAME_LENGTH:
                msg = (
                    f"{option}: {text!r} is not allowed: 1 to {MAX_NAME_LENGTH} characters "
                    "without blanks at the ends"
                )
                raise InputError(msg)
        if self.name.isdecimal():
            raise InputError(f"name: {self.name!r} reads like an id; put a letter into it")
        if self.integration not in INTEGRATION_ID:
            known = ", ".join(INTEGRATION_ID)
            raise InputError(f"integration: {self.integration!r} is unknown; allowed: {known}")
        self._check_access()
        self._check_numbers()

    def require_grantable(self) -> None:
        """Refuse pages that the carrier does not send; simulators may, on unthrottled accounts.

        Raises
        ------
        InputError
            If they are too large.
        """
        largest = largest_page(self.integration)
        if self.page_size > largest and self.requests_per_second is not None:
            msg = (
                f"page-size: {self.page_size} is not allowed: {self.integration} sends at most "
                f"{largest} rows per page; only an unthrottled account, a simulator, may send more"
            )
            raise InputError(msg)

    def _check_access(self) -> None:
        _check_base_url(self.base_url)
        if not _CREDENTIAL_REF.fullmatch(self.credential_ref):
            msg = (
                "credential-ref: the value is no reference and is not stored; write env:NAME (an "
                "environment variable), file:/absolute/path, or store (and then use `carrier-opt "
                "credentials set`), and put the secret there"
            )
            raise InputError(msg)
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = (
                f"time-zone: {self.time_zone!r} is unknown; write an IANA name such as "
                "America/New_York"
            )
            raise InputError(msg) from error

    def _check_numbers(self) -> None:
        _check_range("start-hour", self.start_hour, 0, 23)
        _check_range("page-size", self.page_size, 1, max(1000, largest_page(self.integration)))
        if self.mb_bytes not in (1024 * 1024, 1_000_000):
            msg = f"mb-bytes: {self.mb_bytes} is not allowed; write 1048576 or 1000000"
            raise InputError(msg)
        if not re.fullmatch(r"[A-Z]{3}", self.currency):
            raise InputError(f"currency: {self.currency!r} is not a code of three letters, as USD")
        if not self.billable_statuses or any(
            not status.strip() or ";" in status for status in self.billable_statuses
        ):
            raise InputError("billable-statuses: name at least one status, with ';' between")
        rate = self.requests_per_second
        if rate is not None and not 0 < rate <= 1000:
            msg = f"requests-per-second: {rate} is not allowed; above 0, at most 1000, or left out"
            raise InputError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRecord(ProviderSettings):
    """A stored carrier account."""

    id: int
    tenant_id: int
    is_active: bool

    def policy(
        self, cycle: BillingCycle, charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE
    ) -> BillingPolicy:
        """Tell how this account is billed in a cycle."""
        return BillingPolicy(
            cycle=cycle,
            pool_scope=self.pool_scope,
            charge_type=charge_type,
            proration_basis=self.proration_basis,
            uses_proration=self.uses_proration,
            pooling_enabled=self.pooling_enabled,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRecord:
    """A stored billing period, both dates inclusive."""

    id: int
    service_provider_id: int
    start_date: date
    end_date: date

    @property
    def cycle(self) -> BillingCycle:
        """The period as a billing cycle."""
        return BillingCycle(start_date=self.start_date, end_date=self.end_date)


def largest_page(integration: str) -> int:
    """Rows that a carrier sends in a page at most: 50 by Control Center, 2,000 by ThingSpace."""
    return _LARGEST_PAGES.get(integration, 50)


def _check_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InputError(f"{option}: {value} is not allowed; {low} to {high}")


def _check_base_url(text: str) -> None:
    remedy = "write it like https://restapi.example.com"
    try:
        parts = urlsplit(text)
        has_user = "@" in parts.netloc
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise InputError(f"base-url: the address cannot be read; {remedy}") from error
    if has_user:
        msg = "base-url: the address holds a user or password; leave them out, use credential-ref"
        raise InputError(msg)
    if not is_usable or parts.query or parts.fragment or len(text) > MAX_URL_LENGTH:
        raise InputError(f"base-url: {text!r} is no address of an API; {remedy}")
