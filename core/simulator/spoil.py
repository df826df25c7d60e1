"""What faults make of an answer."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from core.simulator.faults import Fault, FaultKind
from core.simulator.reply import Delivery, Reply, error_reply, html_reply

Content = dict[str, object]

_LATIN_TEXT = "Opération terminée"
_ODD_DATES = (
    1_467_849_844_380, "2016-07-06T22:04:04Z", "2016-07-06", "06/07/2016 22:04", "", None,
    "0000-00-00 00:00:00.000+0000",
)  # fmt: skip


def _html(status: int, title: str) -> Reply:
    page = f"<html><body><h1>{status} {title}</h1><hr>proxy</body></html>"
    return html_reply(status, page.encode())


_NO_ACCESS = "Your role does not have access to this API function."
_INSTEAD = {
    FaultKind.BAD_REQUEST: error_reply(400, "10000028", "Invalid request."),
    FaultKind.UNAUTHORIZED: error_reply(401, "10000001", "Invalid credentials."),
    FaultKind.FORBIDDEN: error_reply(403, "10000030", _NO_ACCESS),
    FaultKind.NOT_FOUND: error_reply(404, "20000001", "Resource not found - Invalid ICCID."),
    FaultKind.SERVER_ERROR: error_reply(500, "30000001", "Unknown server error."),
    FaultKind.BAD_GATEWAY: _html(502, "Bad Gateway"),
    FaultKind.UNAVAILABLE: _html(503, "Service Unavailable"),
    FaultKind.RATE_LIMIT_200: error_reply(200, "40000029", "Rate limit exceeded"),
    FaultKind.RATE_LIMIT_400: error_reply(400, "40000029", "Rate limit exceeded"),
    FaultKind.RATE_LIMIT_429: error_reply(429, "40000029", "Rate limit exceeded"),
    FaultKind.REFUSE: Reply(status=500, body=b"", delivery=Delivery.RESET),
}


def reply_instead(kind: FaultKind) -> Reply | None:
    """Answer that a fault gives without the call being carried out; None: it is carried out."""
    return _INSTEAD.get(kind)


def spoiled(fault: Fault, reply: Reply) -> Reply:
    """Return what a fault makes of the regular answer."""
    spoil = _SPOIL.get(fault.kind)
    return reply if spoil is None else spoil(fault, reply)


def content_of(reply: Reply) -> Content | None:
    """JSON object of a successful answer; None: it is something else."""
    if reply.status != 200 or not reply.content_type.startswith("application/json"):
        return None
    content = json.loads(reply.body)
    return content if isinstance(content, dict) else None


def with_content(reply: Reply, content: Content) -> Reply:
    """Return the answer with other JSON in it."""
    return replace(reply, body=json.dumps(content, ensure_ascii=False).encode())


def renumbered(reply: Reply, number: int) -> Reply:
    """Return a page's answer with another page number in it."""
    content = content_of(reply)
    return reply if content is None else with_content(reply, content | {"pageNumber": number})


def _edited(change: Callable[[Content, Fault], object]) -> Callable[[Fault, Reply], Reply]:
    """Make a fault of a function that changes the JSON in place."""

    def spoil(fault: Fault, reply: Reply) -> Reply:
        content = content_of(reply)
        if content is None:
            return reply
        change(content, fault)
        return with_content(reply, content)

    return spoil


def _wrong_number(content: Content, _: Fault) -> None:
    content["pageNumber"] = int(str(content.get("pageNumber", 0))) + 1


def _empty_page(content: Content, _: Fault) -> None:
    for name in ("devices", "zones", "ratePlans", "usageHistory"):
        if name in content:
            content[name] = []
    if "hasMoreData" in content:
        content["hasMoreData"] = False
    else:
        content["lastPage"] = True


def _rows(content: Content, fault: Fault) -> list[Content]:
    """First rows of a list of SIMs, or the answer itself."""
    rows = content.get("devices")
    return rows[: fault.devices] if isinstance(rows, list) else [content]


def _empty_fields(content: Content, fault: Fault) -> None:
    for number, row in enumerate(_rows(content, fault)):
        for name in row:
            if name not in ("iccid", "deviceIds"):
                row[name] = "" if number % 2 else None


def _odd_dates(content: Content, fault: Fault) -> None:
    for row in _rows(content, fault):
        dates = [name for name in row if "date" in name.lower() or name == "timeStamp"]
        for number, name in enumerate(dates):
            row[name] = _ODD_DATES[number % len(_ODD_DATES)]


def _no_data_usage(content: Content, _: Fault) -> None:
    if "ctdDataUsage" in content:
        content["ctdDataUsage"] = None
    for zone in _zones(content):
        for number, device in enumerate(zone["devices"]):
            device["usage"].pop("dataUsage")
            if not number:
                device["usage"]["dataUsage"] = None


def _unnamed_zones(content: Content, _: Fault) -> None:
    for number, zone in enumerate(_zones(content)):
        zone["zone"] = "" if number % 2 else None


def _zones(content: Content) -> list[dict[str, Any]]:
    zones = content.get("zones")
    return zones if isinstance(zones, list) else []


def _in_encoding(encoding: str) -> Callable[[Fault, Reply], Reply]:
    def spoil(_: Fault, reply: Reply) -> Reply:
        content = content_of(reply)
        if content is None:
            return reply
        text = json.dumps(content | {"note": _LATIN_TEXT}, ensure_ascii=False)
        return replace(reply, body=text.encode(encoding, "replace"))

    return spoil


_SPOIL: dict[FaultKind, Callable[[Fault, Reply], Reply]] = {
    FaultKind.RESET: lambda _, reply: Reply(
        status=200, body=reply.body[: len(reply.body) // 2], delivery=Delivery.CUT
    ),
    FaultKind.TRUNCATED: lambda _, reply: Reply(
        status=200, body=reply.body[: len(reply.body) // 2]
    ),
    FaultKind.DRIP: lambda fault, reply: replace(
        reply, delivery=Delivery.DRIP, seconds=fault.seconds
    ),
    FaultKind.HUGE: lambda _, reply: replace(reply, delivery=Delivery.HUGE),
    FaultKind.MISSING_LAST_PAGE: _edited(lambda content, _: content.pop("lastPage", None)),
    FaultKind.WRONG_PAGE_NUMBER: _edited(_wrong_number),
    FaultKind.EMPTY_PAGE: _edited(_empty_page),
    FaultKind.EMPTY_FIELDS: _edited(_empty_fields),
    FaultKind.ODD_DATES: _edited(_odd_dates),
    FaultKind.BYTE_ORDER_MARK: lambda _, reply: replace(reply, body=BOM_UTF8 + reply.body),
    FaultKind.NO_DATA_USAGE: _edited(_no_data_usage),
    FaultKind.UNNAMED_ZONES: _edited(_unnamed_zones),
    FaultKind.LATIN_1: _in_encoding("latin-1"),
    FaultKind.UTF_16: _in_encoding("utf-16"),
}
