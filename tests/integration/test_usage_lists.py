"""Usage by rate plan at the Control Center: every SIM's usage once, whatever a plan's versions (C2, C7)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import SecretStr

from core.carriers.control_center import control_center_capabilities, open_control_center
from core.carriers.credentials import Credentials
from core.carriers.http import RetryPolicy
from core.carriers.plan_usage import LONGEST_ZONE, MOST_VERSIONS
from core.domain import BillingCycle
from core.errors import CarrierError, RateLimitedError
from core.simulator.account import simulated_account
from core.simulator.api import ControlCenterApi
from core.simulator.faults import Fault, FaultKind
from core.simulator.options import SimulatorOptions
from core.simulator.server import SimulatorServer
from core.simulator.spoil import content_of, with_content
from core.storage.schema import jasper_usage_staging
from core.sync.validation import NOT_TOLD, check_usage

CYCLE = BillingCycle(start_date=date(2026, 10, 1), end_date=date(2026, 10, 31))
NOW = datetime(2026, 10, 25, 12, tzinfo=UTC)
PLAN = "FLEX-5MB"
BOTH = {"plans_with_two_versions": (PLAN,), "splits_usage_by_version": True}


@pytest.fixture
def carrier():
    """Starts a simulator with switches, and gives a client of it and the server."""
    opened = []

    def start(*, page_size=50, faults=(), api=ControlCenterApi, **switches):
        account = simulated_account(400, 1, CYCLE, now=NOW)
        options = SimulatorOptions(max_page_size=max(50, page_size), **switches)
        answers = api(account, options, lambda: NOW)
        server = SimulatorServer(
            account, options, api=answers, faults=faults, clock=lambda: NOW
        ).start()
        client = open_control_center(
            server.base_url,
            Credentials(username=SecretStr("simulator"), api_key=SecretStr("simulated-key")),
            capabilities=control_center_capabilities(page_size=page_size, requests_per_second=None),
            retry=RetryPolicy(attempts=2, wait_initial_s=0, wait_max_s=0, wait_jitter_s=0),
        )
        opened.extend((client.close, server.stop))
        return client, server

    yield start
    for close in opened:
        close()


def told(client, plan=PLAN):
    """Data by SIM; of a row that comes more than once the last one counts."""
    return added(client.usage_pages(plan, CYCLE.start_date))


def added(pages):
    rows = pl.concat(page.rows for page in pages)
    once = rows.unique(("iccid", "zone"), keep="last").group_by("iccid").agg(pl.sum("usage_bytes"))
    return dict(once.rows())


def true_usage(server, plan=PLAN):
    account = server.account
    rows = account.rows_on_plan(plan)
    used = account.plan_usage_columns(plan, rows)[:, 0].tolist()
    return {iccid.decode(): n for iccid, n in zip(account.iccid[rows].tolist(), used, strict=True)}


def asked_for(server, version):
    return sum(f"ratePlanVersion={version}&" in call for call in server.calls)


@pytest.mark.parametrize("answers", ["error", "empty"])
def test_usage_of_the_same_sims_on_two_versions_adds_up(carrier, answers):
    client, server = carrier(**BOTH, version_answers=answers)
    for _ in range(3):
        assert told(client) == true_usage(server)
    assert client.notes == []
    assert 1 <= asked_for(server, 1002) <= 2  # not again and again


def test_a_version_without_usage_hides_no_older_one(carrier):
    client, server = carrier(plans_with_two_versions=(PLAN,), versions_in_use=(1, 4))
    assert told(client) == true_usage(server)


@pytest.mark.parametrize(
    ("answers", "said"), [("ignored", "tells the same usage"), ("refused", "refuses to tell")]
)
def test_a_carrier_that_knows_no_versions_tells_all_usage_once(carrier, answers, said):
    client, server = carrier(**BOTH, versions_in_use=(2, 4), version_answers=answers)
    for _ in range(3):
        assert told(client) == true_usage(server)
    [note] = client.notes
    assert said in note
    assert sum("ratePlanVersion" in call for call in server.calls) == 2


def test_a_list_that_changes_between_two_versions_doubles_nothing(carrier):
    leave = Fault(kind=FaultKind.VANISH, matching="ratePlanVersion=1&", devices=100)
    client, server = carrier(**BOTH, version_answers="ignored", faults=[leave])
    before = true_usage(server)
    assert told(client) == before
    assert true_usage(server).keys() < before.keys()


@pytest.mark.parametrize("answers", ["empty", "ignored"])
@pytest.mark.parametrize(
    "kind", [FaultKind.SERVER_ERROR, FaultKind.TRUNCATED, FaultKind.WRONG_PAGE_NUMBER]
)
def test_a_carrier_that_fails_on_a_version_that_cannot_exist_tells_no_older_one(
    carrier, kind, answers
):
    fault = Fault(kind=kind, matching="ratePlanVersion=1002", times=99)
    client, server = carrier(**BOTH, faults=[fault], version_answers=answers)
    true = true_usage(server)
    newest = {iccid: n if answers == "ignored" else n - n // 2 for iccid, n in true.items()}
    for _ in range(2):
        assert told(client) == newest
    [note] = client.notes
    assert "is not read in this run" in note
    assert asked_for(server, 1002) <= 2  # tries of one call


def test_too_many_calls_say_nothing_about_versions(carrier):
    fault = Fault(kind=FaultKind.RATE_LIMIT, matching="ratePlanVersion=1002", times=2)
    client, server = carrier(**BOTH, faults=[fault])
    with pytest.raises(RateLimitedError):
        told(client)
    assert told(client) == true_usage(server)


@pytest.mark.parametrize("failure", ["the role", "the list", "a page"])
def test_where_versions_are_unknown_the_newest_is_read_and_the_client_says_so(carrier, failure):
    client, server = carrier(
        plans_with_two_versions=(PLAN,), is_account_admin=failure != "the role"
    )
    if failure != "the role":
        kind = FaultKind.SERVER_ERROR if failure == "the list" else FaultKind.WRONG_PAGE_NUMBER
        server.script([Fault(kind=kind, matching="/rateplans", times=99)])
    for plan in (PLAN, "FLEX-2GB"):
        true = true_usage(server, plan)
        assert told(client, plan).items() <= true.items()
    [note] = client.notes
    assert "rate plans cannot be listed" in note
    assert "GET" in note


def test_nothing_is_said_about_versions_where_no_usage_is_told(carrier):
    client, _ = carrier(is_essential=True, is_account_admin=False)
    with pytest.raises(CarrierError):
        told(client)
    assert client.notes == []


@pytest.mark.parametrize("answers", ["error", "empty"])
@pytest.mark.parametrize(("older", "newest", "n_asked"), [(1, 4, 3), (1, 10**15, 3), (7, 10, 6)])
def test_three_versions_without_usage_end_the_search_for_older_ones(
    carrier, older, newest, n_asked, answers
):
    versions = {"versions_in_use": (older, newest), "version_answers": answers}
    client, server = carrier(plans_with_two_versions=(PLAN,), **versions)
    found = told(client)
    assert (found == true_usage(server)) == (older >= newest - 3)
    asked = [number for number in range(newest - 20, newest) if asked_for(server, number)]
    assert asked == list(range(newest - n_asked, newest))
    assert all(asked_for(server, number) == 1 for number in asked)
    assert client.notes == []


class UsedOnAll(ControlCenterApi):
    """Tells the same usage on every version that there is."""

    def _usage_by_plan(self, query):
        version = query.get("ratePlanVersion")
        is_there = version is not None and int(version) <= self._options.versions_in_use[1]
        return super()._usage_by_plan({**query, "ratePlanVersion": "1"} if is_there else query)


def test_versions_that_are_used_are_not_searched_without_end(carrier):
    client, server = carrier(**BOTH, versions_in_use=(1, 10**15), api=UsedOnAll)
    assert len(told(client)) == len(true_usage(server))
    assert (
        len({c for c in server.calls if "ratePlanVersion=" in c}) == MOST_VERSIONS
    )  # the probe too
    [note] = client.notes
    assert f"before number {10**15 - MOST_VERSIONS + 1} is not read" in note


@pytest.mark.parametrize("growth", [0, 1])
def test_a_page_that_comes_again_under_the_next_number_costs_no_sim(carrier, growth):
    fault = Fault(kind=FaultKind.REPEATED_PAGE, matching="/usages", on_call=2)
    client, server = carrier(page_size=5, usage_growth_percent=growth, faults=[fault])
    sims = true_usage(server).keys()
    assert told(client).keys() == sims
    assert len(sims) > 10


def test_a_full_page_that_calls_itself_the_last_is_not_believed(carrier):
    client, server = carrier(page_size=5, always_says_last=True, **BOTH)
    assert told(client) == true_usage(server)
    assert len(true_usage(server)) > 10
    assert sorted(client.rate_plans()["code"]) == sorted(server.account.rate_plans)


@pytest.mark.parametrize("past_end", ["error", "empty"])
def test_a_full_last_page_costs_one_call(carrier, past_end):
    client, server = carrier(past_end=past_end)
    n_sims = len(true_usage(server))
    client, server = carrier(page_size=n_sims, past_end=past_end)
    assert told(client) == true_usage(server)
    assert sum("/usages" in call for call in server.calls) == 2
    client, server = carrier(page_size=2 * n_sims + 1, past_end=past_end)
    assert told(client) == true_usage(server)
    assert sum("/usages" in call for call in server.calls) == 1


@pytest.mark.parametrize("kind", [FaultKind.SERVER_ERROR, FaultKind.NOT_FOUND])
def test_a_page_that_cannot_be_had_after_a_full_last_one_is_its_end(carrier, kind):
    client, server = carrier(past_end="empty")
    n_sims = len(true_usage(server))
    fault = Fault(kind=kind, matching=f"pageSize={n_sims}&pageNumber=2", times=99)
    client, server = carrier(page_size=n_sims, past_end="empty", faults=[fault])
    assert told(client) == true_usage(server)


@pytest.mark.parametrize("is_version_asked", [False, True])
def test_zones_without_a_name_add_up(carrier, is_version_asked):
    switches = BOTH if is_version_asked else {}
    fault = Fault(kind=FaultKind.UNNAMED_ZONES, matching="/usages", times=99)
    client, server = carrier(page_size=5, faults=[fault], **switches)
    assert any(
        page.rows["zone"].n_unique() > 1 for page in client.usage_pages(PLAN, CYCLE.start_date)
    )
    assert told(client) == true_usage(server)


@pytest.mark.parametrize(("letter", "n"), [("z", 127), ("z", 200), ("\U0001f4f6", 64)])
@pytest.mark.parametrize("is_version_asked", [False, True])
def test_long_names_of_zones_fit_into_their_column_and_stay_distinct(
    carrier, letter, n, is_version_asked
):
    class LongZones(ControlCenterApi):
        def _usage_by_plan(self, query):
            reply = super()._usage_by_plan(query)
            content = content_of(reply)
            for zone in content["zones"]:
                zone["zone"] = letter * n + zone["zone"]
            return with_content(reply, content)

    client, server = carrier(api=LongZones, **(BOTH if is_version_asked else {}))
    pages = list(client.usage_pages(PLAN, CYCLE.start_date))
    zones = pl.concat(page.rows for page in pages)["zone"].unique().to_list()
    assert len(zones) == 2 * len(pages) == (4 if is_version_asked else 2)
    longest = max(len(zone.encode("utf-16-le")) // 2 for zone in zones)
    assert longest <= LONGEST_ZONE == jasper_usage_staging.c.Zone.type.length
    assert added(pages) == true_usage(server)


def test_a_row_without_data_tells_nothing_unless_it_has_sms_or_voice(carrier):
    fault = Fault(kind=FaultKind.NO_DATA_USAGE, times=99)
    client, _ = carrier(faults=[fault])
    [page] = client.usage_pages(PLAN, CYCLE.start_date)
    used = pl.any_horizontal(pl.col("sms_count", "voice_seconds") > 0)
    rows = page.rows
    assert rows.filter(used)["usage_bytes"].to_list() == [0] * rows.filter(used).height
    assert rows["is_told"].equals(rows.select(used).to_series(), check_names=False)
    assert not rows["is_told"].all()
    assert rows.select("sms_count", "voice_seconds").null_count().row(0) == (0, 0)
    checked = check_usage([page])
    alone = rows.filter(~pl.col("is_told").any().over("iccid"))
    assert checked.rejects["reason"].to_list() == [NOT_TOLD] * alone.height
    assert checked.spoilt.is_empty()
    for iccid, sms, voice in (
        rows.group_by("iccid").agg(pl.sum("sms_count", "voice_seconds")).rows()
    ):
        own = client.sim_usage(iccid).rows
        assert own["is_told"].to_list() == [sms + voice > 0]


def test_a_byte_order_mark_is_passed_over(carrier):
    fault = Fault(kind=FaultKind.BYTE_ORDER_MARK, times=99)
    client, server = carrier(faults=[fault])
    assert told(client) == true_usage(server)
