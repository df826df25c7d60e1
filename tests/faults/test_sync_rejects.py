"""Each kind of row that is rejected or flagged, sent once over HTTP: on record, counted, the rest right (C4)."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from core.domain import MAX_USAGE_BYTES
from core.simulator.api import ControlCenterApi
from core.simulator.options import SimulatorOptions
from core.simulator.reply import error_reply
from core.simulator.server import SimulatorServer
from core.simulator.spoil import content_of, with_content
from tests.faults.small_account import (
    NOW,
    REQUEST,
    copy_of,
    make_database,
    query,
    small_account,
    stored_sims,
    synchronise,
    true_sims,
)

KNOWN = frozenset({"START-2MB", "START-20MB"})
ASKED = replace(REQUEST, reads_history=True, known_rate_plans=KNOWN)


def wrong_check_digit(iccid):
    return iccid[:19] + str((int(iccid[19]) + 1) % 10)


DEVICE_EDITS = {  # what of a row is sent instead, and the reason that it is rejected for
    "no ICCID": (lambda row: row | {"iccid": None}, "missing_value", "iccid"),
    "an empty ICCID": (lambda row: row | {"iccid": "  "}, "missing_value", "iccid"),
    "no status": (lambda row: row | {"status": None}, "missing_value", "status"),
    "an empty plan": (lambda row: row | {"ratePlan": ""}, "missing_value", "rate_plan"),
    "no communication plan": (
        lambda row: {k: v for k, v in row.items() if k != "communicationPlan"},
        "missing_value",
        "communication_plan",
    ),
    "18 digits": (lambda row: row | {"iccid": row["iccid"][:18]}, "bad_iccid", "iccid"),
    "21 digits": (lambda row: row | {"iccid": row["iccid"] + "0"}, "bad_iccid", "iccid"),
    "letters": (lambda row: row | {"iccid": "89A" + row["iccid"][3:]}, "bad_iccid", "iccid"),
    "check digit": (
        lambda row: row | {"iccid": wrong_check_digit(row["iccid"])},
        "bad_check_digit",
        "iccid",
    ),
}
USAGE_EDITS = {
    "text": ({"dataUsage": "much"}, "not_a_number", "usage_bytes"),
    "a fraction": ({"smsMOUsage": 0.5}, "not_a_number", "sms_count"),
    "truth": ({"voiceMOUsage": True}, "not_a_number", "voice_seconds"),
    "negative": ({"dataUsage": -1}, "out_of_range", "usage_bytes"),
    "too much": ({"dataUsage": MAX_USAGE_BYTES + 1}, "out_of_range", "usage_bytes"),
}


class EditedApi:
    """The API of an account, with some answers changed."""

    def __init__(self, account):
        self._api = ControlCenterApi(account, SimulatorOptions(), lambda: NOW)
        self.devices, self.usage, self.added, self.untold = {}, {}, {}, set()

    def handle(self, method, target, body):
        if any(target.endswith(f"/devices/{iccid}") for iccid in self.untold):
            return error_reply(404, "20000001", "Resource not found - Invalid ICCID.")
        reply = self._api.handle(method, target, body)
        content = content_of(reply)
        if content is None or "lastPage" not in content:
            return reply
        is_current = "cycleStartDate=2026-10-01" in target
        for zone in content.get("zones", []) if is_current else []:
            for row in zone["devices"]:
                if zone["zone"] == "US Home":
                    row["usage"] |= self.usage.get(row["deviceId"], {})
            if zone["zone"] == "US Home":
                here = {row["deviceId"] for row in zone["devices"]}
                more = [row for iccid, row in self.added.items() if iccid in here]
        if content.get("zones") and is_current and more:
            content["zones"].append({"zone": "Elsewhere", "devices": more})
        if "devices" in content:
            rows = content["devices"]
            content["devices"] = [self.devices.get(r["iccid"], lambda r: r)(r) for r in rows]
        return with_content(reply, content)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("empty") / "empty.db")


@contextmanager
def served(account):
    api = EditedApi(account)
    with SimulatorServer(account, api=api, clock=lambda: NOW) as server:
        server.edits = api
        yield server


def rejects(database, run_id):
    return query(
        database,
        "SELECT Source, ColumnName, Reason, Raw FROM DeviceSyncReject WHERE DeviceSyncRunId = ?",
        run_id,
    )


def test_each_bad_device_row_is_rejected_once_and_the_others_are_right(
    empty_database, tmp_path, report
):
    database = copy_of(empty_database, tmp_path)
    account = small_account()
    iccids = [account.fields(row)[0] for row in old_long_rows(account)]
    with served(account) as server:
        chosen = dict(zip(iccids, DEVICE_EDITS.values(), strict=False))
        server.edits.devices = {iccid: edit for iccid, (edit, _, _) in chosen.items()}
        result = synchronise(server.base_url, database, ASKED)
    expected = []
    for iccid, (edit, reason, column) in chosen.items():
        _, status, plan, comm = account.fields(account.row_of(iccid))
        row = {"iccid": iccid, "status": status, "ratePlan": plan, "communicationPlan": comm}
        expected.append(("devices", column, reason, json.dumps(edit(row))))
    found = rejects(database, result.run_id)
    assert len(chosen) == len(DEVICE_EDITS)
    assert sorted(found) == sorted(expected)
    assert result.rejects == {"bad_check_digit": 1, "bad_iccid": 3, "missing_value": 5}
    assert result.flags == {}
    true = {i: sim for i, sim in true_sims(account).items() if i not in chosen}
    stored = stored_sims(database)
    assert stored.keys() == true.keys()
    assert all(stored[i].usage == true[i].usage for i in true)
    assert [("FLEX-5MB" in w, "START" in w) for w in result.warnings] == [(True, False)]
    report(f"rejected device rows: {len(found)} of {len(chosen)} kinds on record")


def old_long_rows(account):
    """Rows with 20 digits and usage that were not modified lately, so that one list has them."""
    rows = account.listed(0, 1_780_000_000_000, None).tolist()
    return [r for r in rows if len(account.fields(r)[0]) == 20 and account.activated_ms[r] >= 0]


def test_each_bad_usage_row_is_rejected_or_flagged_and_the_others_are_right(
    empty_database, tmp_path, report
):
    database = copy_of(empty_database, tmp_path)
    account = small_account()
    rows = old_long_rows(account)
    iccids = [account.fields(row)[0] for row in rows]
    fell, spike, added = iccids[10:13]
    asked = next(
        call
        for call in calls_of_a_first_run(account, database)
        if "/devices/89" in call and "usageInZone" not in call
    ).rpartition("/")[2]
    before = stored_sims(database)
    assert before[fell].usage[0] > 0
    with served(account) as server:
        chosen = dict(zip(iccids, USAGE_EDITS.values(), strict=False))
        server.edits.usage = {iccid: edit for iccid, (edit, _, _) in chosen.items()}
        server.edits.usage |= {fell: {"dataUsage": 0}, spike: {"dataUsage": 1 << 45}}
        server.edits.usage[added] = {"dataUsage": MAX_USAGE_BYTES - 1}
        server.edits.added = {added: {"deviceId": added, "usage": {"dataUsage": 2}}}
        server.edits.untold = {asked}
        result = synchronise(server.base_url, database, ASKED)
    found = rejects(database, result.run_id)
    assert result.rejects == {"no_details": 1, "not_a_number": 3, "out_of_range": 3}
    assert result.flags == {"usage_fell": 1, "usage_spike": 1, "usage_unreadable": len(chosen)}
    for iccid, (edit, reason, column) in chosen.items():
        raw = [json.loads(r) for s, c, why, r in found if (s, c, why) == ("usage", column, reason)]
        assert [r["usage"] | edit == r["usage"] for r in raw if r.get("deviceId") == iccid] == [
            True
        ]
    about = {(reason, json.loads(r)["iccid"]) for s, _, reason, r in found if s == "flag"}
    unread = {("usage_unreadable", iccid) for iccid in chosen}
    assert about == {("usage_fell", fell), ("usage_spike", spike), *unread}
    sums = [json.loads(r) for s, _, _, r in found if s == "usage" and '"usage_bytes"' in r]
    assert [(one["iccid"], one["usage_bytes"]) for one in sums] == [(added, MAX_USAGE_BYTES + 1)]
    stored = stored_sims(database)
    rejected = {*chosen, added}
    assert {i for i in stored if stored[i].usage != before[i].usage} <= {fell, spike, *rejected}
    assert stored[fell].usage == before[fell].usage  # a part of it, or of another cycle
    assert stored[spike].usage[0] >= 1 << 45
    report(f"rejected or flagged usage: {len(found)} rows on record")


def calls_of_a_first_run(account, database):
    """Synchronise an account that is as it should be; the calls."""
    with served(account) as server:
        result = synchronise(server.base_url, database, ASKED)
        assert (result.rejects, result.flags) == ({}, {})
        return list(server.calls)


def test_of_one_sim_in_both_forms_on_two_pages_the_row_modified_last_counts(
    empty_database, tmp_path
):
    database = copy_of(empty_database, tmp_path)
    account = small_account()
    rows = old_long_rows(account)
    one = account.fields(rows[1])[0]  # on the first page, which is read last and is the oldest
    other = account.fields(rows[-1])[0]  # on a page that is read before
    with served(account) as server:

        def in_short_form(row):
            return row | {"iccid": one[:19], "ratePlan": "START-200MB"}

        server.edits.devices = {other: in_short_form}
        result = synchronise(server.base_url, database)
    stored = stored_sims(database)
    assert one not in stored
    assert stored[one[:19]].rate_plan == "START-200MB"
    assert other not in stored
    assert result.duplicates >= 1
