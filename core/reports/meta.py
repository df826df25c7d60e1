"""What a report says about the run it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from core.domain import BillingCycle, ChargeType, PoolScope, Strategy, UsageBasis
from core.files.warnings import Warnings
from core.reports.device_sheets import DeviceSheets
from core.units import MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportMeta:
    """The run behind a report, and how it is to be shown.

    Attributes
    ----------
    generated_at
        When the report was made, with its time zone.
    elapsed_seconds
        Time of the whole run so far.
    provider, period, session_id, currency
        Shown where known; ``currency`` is a code such as USD.
    is_dry_run
        Marks everything as DRY RUN.
    cycle
        The billing cycle; None where every SIM counts as active throughout.
    mb_bytes
        Bytes of one MB in this report.
    listed
        SIMs that are not optimised (E1), columns ``iccid`` and ``reason``; None if there is no such
        list.
    warnings, notes
        About the input; each warning is counted, the first are shown.
    remarks
        Further sentences for the reader, after the standard ones.
    walk
        The walk of the legacy method that was chosen to run alone; None where all compete.
    """

    generated_at: datetime
    elapsed_seconds: float
    title: str = "Rate plan optimisation"
    provider: str | None = None
    period: str | None = None
    session_id: str | None = None
    currency: str | None = None
    is_dry_run: bool = False
    usage_basis: UsageBasis = UsageBasis.ACTUAL
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE
    pool_scope: PoolScope = PoolScope.PLAN
    cycle: BillingCycle | None = None
    mb_bytes: int = MEBIBYTE
    device_sheets: DeviceSheets = DeviceSheets.AUTO
    listed: pl.DataFrame | None = None
    warnings: Warnings = field(default_factory=Warnings)
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    walk: Strategy | None = None
