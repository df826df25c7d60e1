"""Whether the SIMs at hand are all that the carrier has: device accuracy (G3, C6)."""

from __future__ import annotations

import logging

import sqlalchemy as sa

from core.errors import DataError
from core.storage.device_store import SqlDeviceStore
from core.storage.sync_rejects import load_rejects

LOG = logging.getLogger(__name__)

WARNING_PERCENT = 95
MINIMUM_PERCENT = 90


def check_accuracy(engine: sa.Engine, service_provider_id: int, n_known: int) -> float | None:
    """Compare the SIMs that are known with those that the newest full sync met at the carrier.

    Parameters
    ----------
    n_known
        SIMs that are optimised or listed with a reason.

    Returns
    -------
    float or None
        ``known / expected`` in percent; None before the first sync.

    Raises
    ------
    DataError
        If it is below ``MINIMUM_PERCENT``.
    """
    run = SqlDeviceStore(engine).history(service_provider_id).last_full
    if run is None:
        return None
    rejected = load_rejects(engine, run.run_id)
    expected = run.device_count + int((rejected["source"] == "devices").sum())
    return judge_accuracy(n_known, expected)


def judge_accuracy(n_known: int, n_expected: int) -> float:
    """Give ``n_known / n_expected`` in percent (100 of nothing); warn if low, refuse if too low.

    Raises
    ------
    DataError
        If it is below ``MINIMUM_PERCENT``.
    """
    percent = 100.0 * n_known / n_expected if n_expected else 100.0
    found = f"{n_known:,} of {n_expected:,} SIMs of the carrier are usable ({percent:.1f} %)"
    remedy = "see the rejected rows of the last synchronisation"
    if n_known * 100 < n_expected * MINIMUM_PERCENT:
        raise DataError(f"{found}; at least {MINIMUM_PERCENT} % are needed: {remedy}")
    if n_known * 100 < n_expected * WARNING_PERCENT:
        LOG.warning("%s: %s", found, remedy)
    return percent
