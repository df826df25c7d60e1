"""One SIM's days of usage at ThingSpace, read to the end of a cycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from core.carriers.http import CarrierHttp
from core.carriers.json_values import flag, objects
from core.carriers.thingspace_rows import API_ROOT, by_iccid, moment_of, wire_time
from core.errors import CarrierProtocolError

MAX_USAGE_ANSWERS = 100
"""Answers to one SIM's usage after which it is taken to never end: 500 rows each, far above a cycle."""


def usage_rows(
    http: CarrierHttp, iccid: str, start: datetime, end: datetime
) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of ``start <= time < end``, each once.

    An answer may end in the middle of a moment that has several rows. So the last moment's rows
    are left for the next answer, which begins with that moment.

    Raises
    ------
    CarrierProtocolError
        If the rows do not lead on in order of time, or do not end.
    """
    what = f"POST /devices/usage/actions/list of {iccid}"
    earliest = start
    for _ in range(MAX_USAGE_ANSWERS):
        body = {
            "deviceId": by_iccid(iccid),
            "earliest": wire_time(earliest),
            "latest": wire_time(end - timedelta(seconds=1)),
        }
        content = http.post(f"{API_ROOT}/devices/usage/actions/list", body).content
        rows = objects(content, "usageHistory", what)
        moments = [moment_of(row, what) for row in rows]
        has_more = flag(content.get("hasMoreData"))
        last = max(moments).replace(microsecond=0) if has_more and moments else end
        for row, moment in zip(rows, moments, strict=True):
            if earliest <= moment < min(last, end):
                yield row
        if not has_more or last >= end:
            return
        if not moments or last <= earliest or moments != sorted(moments):
            msg = (
                f"{what}: more rows are said to follow, but these do not lead on from "
                f"{wire_time(earliest)}: run again later or tell the carrier"
            )
            raise CarrierProtocolError(msg)
        earliest = last
    msg = f"{what} goes on after {MAX_USAGE_ANSWERS} answers: ask the carrier about the list"
    raise CarrierProtocolError(msg)
