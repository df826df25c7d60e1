"""Carrier accounts that the tests of this folder begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from core.storage.engine import insert_row, writing
from core.storage.schema import billing_period, service_provider, tenant

NOW = datetime(2026, 11, 1, tzinfo=UTC)
MADE = {"CreatedBy": "test", "CreatedDate": NOW}
SETTINGS = {
    "Integration": "jasper",
    "Portal": "m2m",
    "BaseUrl": "http://127.0.0.1",
    "CredentialRef": "env:NONE",
    "TimeZone": "UTC",
    "OptimizationStartHour": 2,
    "BillableStatuses": "ACTIVATED",
    "UsesProration": True,
    "ProrationBasis": "cycle",
    "PoolScope": "plan",
    "PoolingEnabled": True,
    "MbBytes": 1048576,
    "Currency": "USD",
    "PageSize": 50,
}
NOVEMBER = (date(2026, 11, 1), date(2026, 11, 30))
DECEMBER = (date(2026, 12, 1), date(2026, 12, 31))
TENANT_OF = {1: 1, 2: 1, 3: 2}
"""Provider to tenant."""

UNKNOWN = 2_000_000_000
"""Added to a number that no account has; no database hands out ids as large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Ids of the rows, by the numbers that tests call them by.

    Provider 1 and 2 are of tenant 1, provider 3 is of tenant 2. Each has a billing period of its own
    number, November 2026; provider 1 has another one, 11, which is December.
    """

    tenants: dict[int, int]
    providers: dict[int, int]
    periods: dict[int, int]

    def tenant(self, number: int) -> int:
        """Id of a tenant; one that nothing has for another number."""
        return self.tenants.get(number, UNKNOWN + number)

    def provider(self, number: int) -> int:
        """Id of a provider, likewise."""
        return self.providers.get(number, UNKNOWN + number)

    def period(self, number: int) -> int:
        """Id of a billing period, likewise."""
        return self.periods.get(number, UNKNOWN + number)


_ACCOUNTS: WeakKeyDictionary[sa.Engine, Accounts] = WeakKeyDictionary()


def add_accounts(engine: sa.Engine) -> Accounts:
    """Fill an empty database; :func:`accounts_of` tells the ids from then on."""
    with writing(engine) as connection:
        tenants = {
            n: insert_row(connection, tenant, Name=f"tenant {n}", **MADE)
            for n in sorted(set(TENANT_OF.values()))
        }
        providers = {
            n: insert_row(
                connection,
                service_provider,
                TenantId=tenants[of_tenant],
                Name=f"provider {n}",
                **SETTINGS,
                **MADE,
            )
            for n, of_tenant in TENANT_OF.items()
        }
        periods = {
            n: insert_row(
                connection,
                billing_period,
                ServiceProviderId=providers[of_provider],
                BillingPeriodStart=dates[0],
                BillingPeriodEnd=dates[1],
                **MADE,
            )
            for n, of_provider, dates in (
                (1, 1, NOVEMBER), (2, 2, NOVEMBER), (3, 3, NOVEMBER), (11, 1, DECEMBER),
            )
        }  # fmt: skip
    _ACCOUNTS[engine] = Accounts(tenants=tenants, providers=providers, periods=periods)
    return _ACCOUNTS[engine]


def accounts_of(engine: sa.Engine) -> Accounts:
    """Tell the ids that a database has given the accounts."""
    return _ACCOUNTS[engine]
