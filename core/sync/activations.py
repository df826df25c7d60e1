"""Activation dates of the SIMs that a prorated plan concerns, asked for one by one (B2)."""

from __future__ import annotations

from datetime import date, tzinfo

import polars as pl

from core.carriers.base import CarrierClient
from core.errors import CarrierProtocolError, RejectedByCarrierError, RetryableCarrierError
from core.sync.store import (
    ACTIVATION_STAGE_SCHEMA,
    REJECT_SCHEMA,
    DeviceStore,
    OnProgress,
    SyncRun,
)
from core.sync.usage import SIM_BATCH
from core.sync.validation import missing_details


def stage_activations(
    client: CarrierClient,
    store: DeviceStore,
    run: SyncRun,
    *,
    time_zone: tzinfo,
    on_progress: OnProgress,
) -> int:
    """Stage the activation dates of SIMs, in the account's local days; the number that was asked for.

    A SIM whose details cannot be read is kept, noted as a reject and counted as active for the
    whole cycle; a carrier that answers nothing any more ends the run (C3).

    Raises
    ------
    CarrierError
        If credentials are refused or the breaker is open.
    """
    n_asked = 0
    for iccids in store.iccids_to_ask(run):
        for start in range(0, len(iccids), SIM_BATCH):
            batch = iccids[start : start + SIM_BATCH]
            _stage_details(client, store, run, batch, time_zone)
            n_asked += len(batch)
            on_progress("activation dates read", n_asked)
    return n_asked


def _stage_details(
    client: CarrierClient, store: DeviceStore, run: SyncRun, iccids: list[str], time_zone: tzinfo
) -> None:
    rows: list[tuple[str, date | None]] = []
    rejects = [pl.DataFrame(schema=REJECT_SCHEMA)]
    for iccid in iccids:
        day = None
        try:
            activated_at = client.device_details(iccid).activated_at
            day = activated_at and activated_at.astimezone(time_zone).date()
        except (RejectedByCarrierError, RetryableCarrierError, CarrierProtocolError) as error:
            rejects.append(missing_details(iccid, str(error)))
        rows.append((iccid, day))
    frame = pl.DataFrame(rows, schema=ACTIVATION_STAGE_SCHEMA, orient="row")
    store.stage_activation(run, frame, pl.concat(rejects))
