"""Usage of the cycle and activation dates for the SIMs that are staged (C7, B2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, tzinfo

import polars as pl

from core.carriers.base import CarrierClient, UsageAccess, UsagePage
from core.carriers.iccid import match_keys
from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError
from core.sync.store import ACTIVATION_STAGE_SCHEMA, USAGE_STAGE_SCHEMA, DeviceStore
from core.sync.validation import Checked, check_usage, check_usage_sums, missing_details


@dataclass(slots=True, kw_only=True)
class UsageTally:
    """What has been read so far."""

    pages: int = 0
    rows: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)


def stage_usage(
    client: CarrierClient,
    store: DeviceStore,
    run_id: int,
    *,
    cycle_start: date,
    max_pages: int,
    batch_rows: int,
    on_progress: Callable[[int], None],
) -> UsageTally:
    """Stage the cycle's usage: per rate plan where the account may, else SIM by SIM.

    A rate plan whose usage the carrier refuses to tell is read SIM by SIM. A SIM that nothing is
    told about has no usage row: that is not the same as 0 bytes (U1).

    Parameters
    ----------
    max_pages
        Pages per rate plan after which the carrier is taken to never end (C2).

    Raises
    ------
    CarrierError
        If usage cannot be read completely.
    """
    tally = UsageTally()
    by_plan = client.capabilities.usage_access is UsageAccess.BY_RATE_PLAN
    for rate_plan in store.staged_rate_plans(run_id):
        try:
            if by_plan:
                pages = client.usage_pages(rate_plan, cycle_start, max_pages=max_pages)
                _stage_plan(pages, store, run_id, tally)
            else:
                _stage_sim_by_sim(client, store, run_id, rate_plan, batch_rows, tally)
        except RejectedByCarrierError as error:
            tally.warnings.append(
                f"usage of rate plan {rate_plan!r} was read SIM by SIM, because the carrier "
                f"refuses it as a list: {error}"
            )
            _stage_sim_by_sim(client, store, run_id, rate_plan, batch_rows, tally)
        on_progress(tally.rows)
    return tally


def stage_activations(
    client: CarrierClient,
    store: DeviceStore,
    run_id: int,
    iccids: Iterable[str],
    *,
    time_zone: tzinfo,
    batch_rows: int,
    tally: UsageTally,
) -> None:
    """Stage the activation dates of SIMs, in the account's local days.

    A SIM whose details cannot be read is kept, noted as a reject and counted as active for the
    whole cycle; a carrier that answers nothing any more ends the run (C3).

    Raises
    ------
    CarrierError
        If credentials are refused or the breaker is open.
    """
    rows: list[tuple[str, date]] = []
    for iccid in iccids:
        try:
            details = client.device_details(iccid)
        except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError) as error:
            _note(store, run_id, tally, missing_details(iccid, str(error)))
            continue
        if details.activated_at is not None:
            rows.append((iccid, details.activated_at.astimezone(time_zone).date()))
        if len(rows) >= batch_rows:
            store.stage_activation(run_id, _activation_frame(rows))
            rows = []
    if rows:
        store.stage_activation(run_id, _activation_frame(rows))


def _stage_plan(
    listed: Iterable[UsagePage], store: DeviceStore, run_id: int, tally: UsageTally
) -> None:
    """Stage one plan's usage: zones of a SIM add up, a row that comes again counts once.

    A SIM's row that comes again under the other form of its ICCID is the same row (C4).
    """
    pages: list[UsagePage] = []
    good: list[pl.DataFrame] = []

    def check() -> None:
        checked = check_usage(pages)
        _note(store, run_id, tally, checked.rejects)
        good.append(_keyed(checked))
        pages.clear()

    for page in listed:
        tally.pages += 1
        pages.append(page)
        if sum(p.rows.height for p in pages) >= 1000:
            check()
    if pages:
        check()
    if good:
        rows = pl.concat(good).unique(("match_key", "zone"), keep="last", maintain_order=True)
        _stage_sums(store, run_id, rows, tally)


def _stage_sim_by_sim(
    client: CarrierClient,
    store: DeviceStore,
    run_id: int,
    rate_plan: str,
    batch_rows: int,
    tally: UsageTally,
) -> None:
    pages: list[UsagePage] = []

    def stage() -> None:
        checked = check_usage(pages)
        _note(store, run_id, tally, checked.rejects)
        _stage_sums(store, run_id, _keyed(checked), tally)
        pages.clear()

    n_unread = 0
    for iccids in store.staged_iccids(run_id, [rate_plan]):
        for iccid in iccids:
            try:
                pages.append(client.sim_usage(iccid))
            except (RejectedByCarrierError, RetryableCarrierError):
                n_unread += 1
            if len(pages) >= batch_rows:
                stage()
    if pages:
        stage()
    if n_unread:
        tally.warnings.append(
            f"usage of {n_unread:,} SIMs on rate plan {rate_plan!r} could not be read: "
            "they have no usage in this cycle's data"
        )


def _keyed(checked: Checked) -> pl.DataFrame:
    """Good usage rows with the key that both forms of a SIM's ICCID share."""
    return checked.good.drop("page_index").with_columns(
        match_keys(checked.good["iccid"]).alias("match_key")
    )


def _stage_sums(store: DeviceStore, run_id: int, rows: pl.DataFrame, tally: UsageTally) -> None:
    sums = rows.group_by("match_key", maintain_order=True).agg(
        pl.col("iccid").last(), pl.col("usage_bytes", "sms_count", "voice_seconds").sum()
    )
    checked = check_usage_sums(sums)
    _note(store, run_id, tally, checked.rejects)
    if checked.good.height:
        store.stage_usage(run_id, checked.good.select(USAGE_STAGE_SCHEMA.keys()))
        tally.rows += checked.good.height


def _note(store: DeviceStore, run_id: int, tally: UsageTally, rejects: pl.DataFrame) -> None:
    if rejects.height:
        store.add_rejects(run_id, rejects)
        tally.rejects.update(rejects["reason"].to_list())


def _activation_frame(rows: list[tuple[str, date]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=ACTIVATION_STAGE_SCHEMA, orient="row")
