"""Usage at the simulated Control Center: by plan and zone, in past cycles, and across roll-overs."""

from __future__ import annotations

import ssl
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from core.domain import BillingCycle
from core.simulator.account import UsageRow, simulated_account
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
ROOT = "/rws/api/v1"
ALL = {"modifiedSince": "2004-01-01T00:00:00+00:00"}
KEY = ("simulator", "simulated-key")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Carrier:
    """A simulator, a client of it, and its clock."""

    def __init__(self, n_devices=150, **switches):
        self.now = NOW
        self.account = simulated_account(n_devices, 1, CYCLE, now=NOW)
        options = SimulatorOptions(**switches)
        self.server = SimulatorServer(self.account, options, clock=lambda: self.now).start()
        self.client = httpx.Client(
            base_url=f"{self.server.base_url}{ROOT}", auth=KEY, trust_env=False, verify=NO_TLS
        )

    def get(self, path, **params):
        return self.client.get(path, params=params)

    def put(self, iccid, **fields):
        return self.client.put(f"/devices/{iccid}", json=fields)

    def used(self, iccid):
        return self.get(f"/devices/{iccid}/ctdUsages").json()["ctdDataUsage"]

    def in_zones(self, iccid, **params):
        """Data by plan and version, zones together."""
        answer = self.get(f"/devices/{iccid}/usageInZone", **params).json()
        plans = answer["deviceCycleUsageInZones"]
        return {key: sum(zone["dataUsage"] for zone in zones) for key, zones in plans.items()}

    def on_plan(self, plan, **params):
        """Data by SIM as ``/usages`` has it."""
        totals, number, is_last = {}, 1, False
        while not is_last:
            page = self.get("/usages", ratePlanName=plan, pageNumber=number, **params).json()
            for device in (d for zone in page["zones"] for d in zone["devices"]):
                before = totals.get(device["deviceId"], 0)
                totals[device["deviceId"]] = before + device["usage"]["dataUsage"]
            number, is_last = number + 1, page["lastPage"]
        return totals

    def busy_sim(self):
        """ICCID of an active SIM with more than a megabyte, activated before the year."""
        page = self.get("/devices", status="ACTIVATED", **ALL).json()
        for row in page["devices"]:
            details = self.get(f"/devices/{row['iccid']}").json()
            is_old = details["dateActivated"] < "2026" and len(row["iccid"]) == 20
            if row["ratePlan"] and is_old and self.used(row["iccid"]) > 1_000_000:
                return row["iccid"], row["ratePlan"]
        raise AssertionError


@pytest.fixture
def carrier():
    """Starts a carrier with switches."""
    opened = []

    def start(**switches):
        opened.append(Carrier(**switches))
        return opened[-1]

    yield start
    for one in opened:
        one.client.close()
        one.server.stop()


def code_of(response):
    return response.status_code, response.json().get("errorCode")


def other_plan(plan):
    return "FLEX-2GB" if plan != "FLEX-2GB" else "FLEX-5MB"


def test_cycles_are_midnights_of_the_operators_zone_written_in_utc(carrier):
    sim = carrier(time_zone="Asia/Shanghai")
    iccid, _ = sim.busy_sim()
    answer = sim.get(f"/devices/{iccid}/usageInZone").json()
    assert answer["cycleStartDate"] == "2026-09-30T16:00:00.000Z"
    assert answer["cycleEndDate"] == "2026-10-31T15:59:59.000Z"
    assert answer["timeStamp"] == "2026-10-25T12:00:00.000Z"
    winter = carrier(time_zone="America/New_York")  # clocks change within the second cycle back
    past = winter.get(f"/devices/{iccid}/usageInZone", cycleStartDate="2026-08-01Z").json()
    assert past["cycleStartDate"] == "2026-08-01T04:00:00.000Z"


def test_zones_have_the_documented_fields_and_add_up_to_the_total(carrier):
    sim = carrier()
    iccid, plan = sim.busy_sim()
    answer = sim.get(f"/devices/{iccid}/usageInZone").json()
    assert set(answer["deviceCycleUsageInZones"]) == {f"{plan}, 1"}
    for zone in answer["deviceCycleUsageInZones"][f"{plan}, 1"]:
        assert set(zone) == {
            "ratePlan", "ratePlanVersion", "zone", "dataUsage", "dataUsageUnit", "voiceMTUsage",
            "voiceMTUsageUnit", "voiceMOUsage", "voiceMOUsageUnit", "smsmtusage", "smsmousage",
        }  # fmt: skip
        assert (zone["ratePlanVersion"], zone["dataUsageUnit"]) == ("1", "bytes")
    assert sim.in_zones(iccid) == {f"{plan}, 1": sim.used(iccid)}


def test_after_a_plan_change_what_was_used_stays_on_the_old_plan(carrier):
    sim = carrier(usage_growth_percent=10)
    iccid, old = sim.busy_sim()
    new = other_plan(old)
    assert sim.put(iccid, ratePlan=new).status_code == 200
    at_change = sim.in_zones(iccid)[f"{old}, 1"]
    later = [sim.in_zones(iccid) for _ in range(3)]
    assert {use[f"{old}, 1"] for use in later} == {at_change}
    assert later[0][f"{new}, 1"] < later[1][f"{new}, 1"] < later[2][f"{new}, 1"]
    assert sim.on_plan(old)[iccid] == at_change
    total_before = at_change + sim.on_plan(new)[iccid]
    assert at_change < total_before < sim.used(iccid)


def test_both_usage_calls_agree_after_a_change_there_and_back(carrier):
    sim = carrier()
    iccid, old = sim.busy_sim()
    new = other_plan(old)
    total = sim.used(iccid)
    sim.put(iccid, ratePlan=new)
    assert sim.in_zones(iccid) == {f"{old}, 1": total, f"{new}, 1": 0}
    assert (sim.on_plan(old)[iccid], sim.on_plan(new)[iccid]) == (total, 0)
    assert sim.in_zones(iccid, isActiveRatePlan="true") == {f"{new}, 1": 0}
    assert sim.in_zones(iccid, ratePlan=old) == {f"{old}, 1": total}
    sim.put(iccid, ratePlan=old)
    assert sim.in_zones(iccid) == {f"{new}, 1": 0, f"{old}, 1": total}
    assert sim.on_plan(old)[iccid] == sim.used(iccid) == total
    more = UsageRow(
        data_bytes=7, roaming_bytes=0, sms_mo=0, sms_mt=0, voice_mo_seconds=0, voice_mt_seconds=0
    )
    sim.account.add_usage(sim.account.row_of(iccid), more)
    assert sim.on_plan(old)[iccid] == sim.used(iccid) == total + 7


def test_a_plan_change_does_not_reach_into_past_cycles(carrier):
    sim = carrier()
    iccid, old = sim.busy_sim()
    before = sim.on_plan(old, cycleStartDate="2026-09-01")
    sim.put(iccid, ratePlan=other_plan(old))
    assert sim.on_plan(old, cycleStartDate="2026-09-01") == before
    assert list(sim.in_zones(iccid, cycleStartDate="2026-09-01Z")) == [f"{old}, 1"]


def test_a_vanished_sim_has_no_usage_in_any_cycle(carrier):
    sim = carrier()
    iccid, plan = sim.busy_sim()
    sim.account.remove(sim.account.row_of(iccid))
    starts = ("2026-10-01", "2026-09-01", "2026-08-01")
    assert [iccid in sim.on_plan(plan, cycleStartDate=start) for start in starts] == [False] * 3
    sim.account.roll_over()
    assert iccid not in sim.on_plan(plan)
    assert sim.on_plan(plan)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cycleStartDate": "2026-07-01Z"}, "10000032"),
        ({"cycleStartDate": "2026-11-01Z"}, "10000032"),
        ({"cycleStartDate": "2026-10-02Z"}, "10000032"),
        ({"cycleStartDate": "2026-10-01"}, "10000012"),
        ({"cycleStartDate": "soon"}, "10000012"),
        ({"ratePlan": "NO-SUCH-PLAN"}, "10000013"),
        ({"zone": "Moon"}, "10000031"),
    ],
)
def test_wrong_zone_parameters_have_the_documented_codes(carrier, params, code):
    sim = carrier()
    iccid = sim.account.iccid[0].decode()
    assert code_of(sim.get(f"/devices/{iccid}/usageInZone", **params)) == (400, code)


def test_the_last_three_cycles_can_be_read_and_differ(carrier):
    sim = carrier()
    iccid, plan = sim.busy_sim()
    starts = ("2026-10-01", "2026-09-01", "2026-08-01")
    by_cycle = [sim.on_plan(plan, cycleStartDate=start) for start in starts]
    values = [use[iccid] for use in by_cycle]
    assert len(set(values)) == 3
    assert all(0.4 * values[0] - 1 <= value <= 1.6 * values[0] for value in values)
    zones = [sim.in_zones(iccid, cycleStartDate=f"{start}+00:00") for start in starts]
    assert [use[f"{plan}, 1"] for use in zones] == values
    assert values == [carrier().on_plan(plan, cycleStartDate=start)[iccid] for start in starts]
    assert code_of(sim.get("/usages", ratePlanName=plan, cycleStartDate="2026-07-01")) == (
        400,
        "10000032",
    )


def test_a_sim_has_no_usage_in_cycles_before_its_activation(carrier):
    sim = carrier(n_devices=400)
    start_ms = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
    young = [row for row, at in enumerate(sim.account.activated_ms.tolist()) if at >= start_ms]
    assert young
    iccid, _, plan, _ = sim.account.fields(young[0])
    assert iccid in sim.on_plan(plan)
    assert iccid not in sim.on_plan(plan, cycleStartDate="2026-09-01")
    assert sim.in_zones(iccid, cycleStartDate="2026-09-01Z") == {}


def test_at_the_end_of_a_cycle_counters_start_again_and_usage_becomes_history(carrier):
    sim = carrier(rolls_over=True, time_zone="America/Chicago")
    iccid, old = sim.busy_sim()
    new = other_plan(old)
    sim.put(iccid, ratePlan=new)
    total, before = sim.used(iccid), sim.in_zones(iccid)
    sim.now = datetime(2026, 11, 1, 4, 59, 59, tzinfo=UTC)  # 23:59:59 on 31 October in Chicago
    assert sim.used(iccid) == total
    sim.now += timedelta(seconds=1)
    assert sim.used(iccid) == 0
    assert sim.in_zones(iccid) == {f"{new}, 1": 0}
    assert sim.in_zones(iccid, cycleStartDate="2026-10-01Z") == before
    assert sim.on_plan(old, cycleStartDate="2026-10-01")[iccid] == total
    assert sim.account.cycle == BillingCycle(
        start_date=date(2026, 11, 1), end_date=date(2026, 11, 30)
    )
    assert code_of(sim.get("/usages", ratePlanName=old, cycleStartDate="2026-08-01"))[1] == (
        "10000032"
    )


def test_a_change_for_the_first_day_of_the_next_cycle_lands_in_that_cycle(carrier):
    sim = carrier(rolls_over=True, time_zone="America/Chicago")
    iccid, old = sim.busy_sim()
    sim.put(iccid, ratePlan=other_plan(old), effectiveDate="2026-11-01Z")
    sim.now = datetime(2026, 11, 2, tzinfo=UTC)
    assert sim.get(f"/devices/{iccid}").json()["ratePlan"] == other_plan(old)
    assert set(sim.in_zones(iccid, cycleStartDate="2026-10-01Z")) == {f"{old}, 1"}


def test_without_the_switch_a_cycle_never_ends(carrier):
    sim = carrier()
    iccid, _ = sim.busy_sim()
    total = sim.used(iccid)
    sim.now = datetime(2027, 3, 1, tzinfo=UTC)
    assert sim.used(iccid) == total > 0


def test_usage_grows_by_the_given_share_with_each_call(carrier):
    sim = carrier(usage_growth_percent=50)
    iccid = sim.account.iccid[int(sim.account.usage_columns(slice(None))[:, 0].argmax())].decode()
    base = sim.used(iccid)
    assert [sim.used(iccid) for _ in range(2)] == [base * 150 // 100, base * 200 // 100]


def test_an_accepted_change_lands_some_seconds_later(carrier):
    sim = carrier(async_seconds=5)
    iccid, old = sim.busy_sim()
    answer = sim.put(iccid, ratePlan=other_plan(old))
    assert (answer.status_code, answer.json()) == (202, {"iccid": iccid})
    sim.now += timedelta(seconds=4)
    assert sim.get(f"/devices/{iccid}").json()["ratePlan"] == old
    sim.now += timedelta(seconds=1)
    assert sim.get(f"/devices/{iccid}").json()["ratePlan"] == other_plan(old)


def test_roles_and_accounts_without_a_function_are_told_so(carrier):
    essential, lesser = carrier(is_essential=True), carrier(is_account_admin=False)
    iccid = essential.account.iccid[0].decode()
    refused = (400, "10000030")
    assert code_of(essential.get("/usages", ratePlanName="FLEX-5MB")) == refused
    assert code_of(essential.get(f"/devices/{iccid}/usageInZone")) == refused
    assert essential.get("/rateplans").status_code == 200
    assert essential.get(f"/devices/{iccid}/ctdUsages").status_code == 200
    assert code_of(lesser.get("/rateplans")) == refused
    assert lesser.get("/usages", ratePlanName="FLEX-5MB").status_code == 200


def test_plans_of_unknown_types_are_listed_but_cannot_be_had(carrier):
    sim = carrier(has_unknown_plan_types=True)
    plans = {plan["name"]: plan for plan in sim.get("/rateplans").json()["ratePlans"]}
    kinds = {plan["type"] for plan in plans.values()}
    assert kinds >= {"Event", "Prepaid - Individual Terms", "Monthly - Fixed Pool"}
    assert len({plan["id"] for plan in plans.values()}) == len(plans)
    iccid, _ = sim.busy_sim()
    assert code_of(sim.put(iccid, ratePlan="EVENT-100MB")) == (400, "10000013")


def test_usage_of_an_older_version_has_to_be_asked_for(carrier):
    plan = "FLEX-50MB"
    whole, split = carrier(), carrier(plans_with_two_versions=(plan,))
    newest = split.on_plan(plan)
    older = split.on_plan(plan, ratePlanVersion=1)
    assert newest
    assert older
    assert newest | older == whole.on_plan(plan)
    assert not newest.keys() & older.keys()
    entry = next(p for p in split.get("/rateplans").json()["ratePlans"] if p["name"] == plan)
    assert entry["version"] == 2
    assert list(split.in_zones(next(iter(older)))) == [f"{plan}, 1"]
    bad = split.get("/usages", ratePlanName=plan, ratePlanVersion=3)
    assert code_of(bad) == (400, "10000028")


def test_a_sim_may_have_usage_on_two_versions_with_another_in_between(carrier):
    plan = "FLEX-50MB"
    sim = carrier(
        plans_with_two_versions=(plan,), versions_in_use=(1, 3), splits_usage_by_version=True
    )
    newest, between, older = (sim.on_plan(plan, ratePlanVersion=v) for v in (3, 2, 1))
    assert newest == sim.on_plan(plan)
    assert between == {}
    assert older.keys() == newest.keys()
    iccid = max(newest, key=newest.get)
    assert newest[iccid] + older[iccid] == carrier().on_plan(plan)[iccid] > 1
    assert sim.in_zones(iccid) == {f"{plan}, 1": older[iccid], f"{plan}, 3": newest[iccid]}


@pytest.mark.parametrize("answers", ["empty", "ignored", "refused"])
def test_accounts_differ_in_what_a_version_means_to_them(carrier, answers):
    plan = "FLEX-50MB"
    sim = carrier(plans_with_two_versions=(plan,), version_answers=answers)
    whole = carrier().on_plan(plan)
    assert (sim.on_plan(plan) == whole) is (answers != "empty")
    if answers == "refused":
        for version in (1, 2, 3):
            refused = sim.get("/usages", ratePlanName=plan, ratePlanVersion=version)
            assert code_of(refused) == (400, "10000028")
    else:
        assert sim.on_plan(plan, ratePlanVersion=3) == ({} if answers == "empty" else whole)


def test_a_sim_may_have_19_digits_in_one_answer_and_20_in_another(carrier):
    sim = carrier(iccid_digits="both")
    listed = {row["iccid"] for row in sim.get("/devices", **ALL).json()["devices"]}
    long = next(iccid for iccid in listed if len(iccid) == 20)
    short = next(iccid for iccid in listed if len(iccid) == 19)
    assert sim.get(f"/devices/{long}").json()["iccid"] == long[:19]
    assert sim.get(f"/devices/{long[:19]}/ctdUsages").json()["iccid"] == long[:19]
    longer = sim.get(f"/devices/{short}").json()["iccid"]
    assert (len(longer), longer[:19]) == (20, short)
    assert sim.get(f"/devices/{longer}").json()["iccid"] == longer
    assert sim.put(longer, ratePlan="FLEX-2GB").json() == {"iccid": longer}
    assert code_of(sim.get("/devices/8900000000000000000")) == (404, "20000001")


@pytest.mark.parametrize("digits", [19, 20])
def test_all_iccids_may_have_one_length(carrier, digits):
    sim = carrier(iccid_digits=digits)
    rows = sim.get("/devices", **ALL).json()["devices"]
    assert {len(row["iccid"]) for row in rows if row["iccid"].isdigit()} == {digits}
    assert sim.get(f"/devices/{rows[0]['iccid']}").json()["iccid"] == rows[0]["iccid"]
