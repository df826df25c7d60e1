"""One synchronisation of one carrier account, from the first page to published tables (C2 - C7).

List the SIMs and stage them; read the cycle's usage rate plan by rate plan; read activation dates
where a prorated plan needs them; publish everything in one transaction. Until then nobody sees
anything, and a run that fails leaves the device tables as they were (C5).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from core.carriers.base import MIN_PAGE_LIMIT, CarrierClient, ListScan
from core.domain import BillingCycle
from core.errors import CarrierProtocolError
from core.sync.devices import DeviceTally, ProratedPlans, stage_devices
from core.sync.store import DeviceStore, PublishCounts
from core.sync.usage import UsageTally, stage_activations, stage_usage

logger = logging.getLogger(__name__)

_ZONE_MARGIN = timedelta(days=1)
"""No place on earth begins its day more than a day before UTC does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """What to synchronise.

    Attributes
    ----------
    period_id
        Billing period that the usage is stored under; its dates are ``cycle``.
    time_zone
        The account's zone, an IANA name: cycles and activation dates are days there.
    since
        None: a full run, the whole account; else only SIMs modified since then (C6).
    known_rate_plans
        Codes of the catalogue; SIMs on other plans are warned about and stay unpriced (B9).
    prorated_rate_plans, prorated_communication_plans
        Prorated plans, and communication plans whose list has one: their SIMs' activation dates
        are read if they were modified in this cycle.
    batch_rows
        Rows per staging batch (C2).
    max_pages
        Pages per list of devices or usage after which the carrier is taken to never end (C2).
    """

    service_provider_id: int
    period_id: int
    cycle: BillingCycle
    session_id: int | None = None
    time_zone: str = "UTC"
    since: datetime | None = None
    known_rate_plans: Collection[str] = frozenset()
    prorated_rate_plans: Collection[str] = frozenset()
    prorated_communication_plans: Collection[str] = frozenset()
    batch_rows: int = 1000
    max_pages: int = MIN_PAGE_LIMIT

    @property
    def kind(self) -> Literal["full", "incremental"]:
        """Whether the run covers the whole account."""
        return "full" if self.since is None else "incremental"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """What a synchronisation did.

    Attributes
    ----------
    devices, usage_rows, duplicates, removed
        As published, see :class:`core.sync.store.PublishCounts`.
    activations
        SIMs whose activation date was asked for.
    rejects
        Rejected rows by reason.
    pages, calls
        Pages of devices and usage, and calls to the carrier, tries included.
    """

    run_id: int
    kind: str
    devices: int
    usage_rows: int
    duplicates: int
    removed: int
    activations: int
    pages: int
    calls: int
    started_at: datetime
    finished_at: datetime
    rejects: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def sync_devices(
    client: CarrierClient,
    store: DeviceStore,
    request: SyncRequest,
    *,
    clock: Callable[[], datetime],
    on_progress: Callable[[int], None] | None = None,
) -> SyncResult:
    """Synchronise an account.

    Parameters
    ----------
    clock
        Tells the time, aware and in UTC.
    on_progress
        Told the number of SIMs listed so far, after each staging batch.

    Raises
    ------
    CarrierError
        If the carrier's data cannot be had completely; the run is then failed, its staging
        cleared, and no device table changed. Any other exception leaves the same state.
    """
    started_at = clock()
    first_call = client.calls
    run_id = store.start_run(
        service_provider_id=request.service_provider_id,
        kind=request.kind,
        session_id=request.session_id,
        now=started_at,
    )
    try:
        devices, usage, warnings = _stage_all(
            client, store, run_id, request, on_progress=on_progress or _silent
        )
        counts = store.publish(run_id, period_id=request.period_id, now=clock())
    except BaseException as error:  # a cancelled run leaves no trace either
        store.fail(run_id, error=f"{type(error).__name__}: {error}", now=clock())
        raise
    for warning in warnings:
        logger.warning(warning)
    return _result(
        run_id, request, devices, usage, counts,
        calls=client.calls - first_call, started_at=started_at, finished_at=clock(),
        warnings=warnings,
    )  # fmt: skip


def _stage_all(
    client: CarrierClient,
    store: DeviceStore,
    run_id: int,
    request: SyncRequest,
    *,
    on_progress: Callable[[int], None],
) -> tuple[DeviceTally, UsageTally, list[str]]:
    cycle_start = datetime.combine(request.cycle.start_date, time(), tzinfo=UTC) - _ZONE_MARGIN
    devices = stage_devices(
        client.device_pages(
            ListScan(since=request.since, boundaries=(cycle_start,), max_pages=request.max_pages)
        ),
        store,
        run_id,
        prorated=ProratedPlans(
            rate_plans=request.prorated_rate_plans,
            communication_plans=request.prorated_communication_plans,
            modified_since=cycle_start,
        ),
        batch_rows=request.batch_rows,
        on_progress=on_progress,
    )
    _refuse_an_emptied_account(store, request, devices)
    warnings = _unknown_plans(store, run_id, request)
    usage = stage_usage(
        client,
        store,
        run_id,
        cycle_start=request.cycle.start_date,
        max_pages=request.max_pages,
        batch_rows=request.batch_rows,
        on_progress=lambda _: on_progress(devices.rows),
    )
    stage_activations(
        client,
        store,
        run_id,
        devices.ask_activation.values(),
        time_zone=ZoneInfo(request.time_zone),
        batch_rows=request.batch_rows,
        tally=usage,
    )
    return devices, usage, [*warnings, *usage.warnings]


def _refuse_an_emptied_account(
    store: DeviceStore, request: SyncRequest, devices: DeviceTally
) -> None:
    """Refuse to publish an empty full list: it would mark every SIM as gone."""
    if devices.rows or request.kind != "full":
        return
    before = store.last_published(request.service_provider_id)
    if before is not None and before.device_count:
        msg = (
            f"the carrier lists no usable SIM, but the last synchronisation had "
            f"{before.device_count:,}: nothing was changed; check the account at the carrier"
        )
        raise CarrierProtocolError(msg)


def _unknown_plans(store: DeviceStore, run_id: int, request: SyncRequest) -> list[str]:
    if not request.known_rate_plans:
        return []
    unknown = [p for p in store.staged_rate_plans(run_id) if p not in request.known_rate_plans]
    if not unknown:
        return []
    listed = ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else "")
    warning = (
        f"rate plans that are not in the catalogue leave their SIMs unpriced: {listed}; "
        "add them with `carrier-opt plans import`"
    )
    return [warning]


def _result(
    run_id: int,
    request: SyncRequest,
    devices: DeviceTally,
    usage: UsageTally,
    counts: PublishCounts,
    *,
    calls: int,
    started_at: datetime,
    finished_at: datetime,
    warnings: list[str],
) -> SyncResult:
    rejects: Counter[str] = devices.rejects + usage.rejects
    return SyncResult(
        run_id=run_id,
        kind=request.kind,
        devices=counts.devices,
        usage_rows=counts.usage_rows,
        duplicates=counts.duplicates,
        removed=counts.removed,
        activations=len(devices.ask_activation),
        pages=devices.pages + usage.pages,
        calls=calls,
        started_at=started_at,
        finished_at=finished_at,
        rejects=dict(sorted(rejects.items())),
        warnings=tuple(warnings),
    )


def _silent(_: int) -> None:
    """Report no progress."""
