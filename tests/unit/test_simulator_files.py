"""Scripts of faults and lists of accounts are read with errors that say what is allowed."""

from __future__ import annotations

import json
from datetime import date

import pytest

from core.domain import BillingCycle
from core.errors import InputError
from core.simulator.cycles import cycle_on, shifted
from core.simulator.faults import Fault, FaultKind
from core.simulator.files import load_faults, load_pods
from core.simulator.options import SimulatorOptions


@pytest.fixture
def written(tmp_path):
    """Writes a JSON file."""

    def write(content):
        path = tmp_path / "file.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_a_script_has_the_fields_of_a_fault(written):
    entries = [
        {"kind": "hang", "on_call": 3, "times": 2, "matching": "/usages", "seconds": 0.5},
        {"kind": "touch", "devices": 4},
    ]
    assert load_faults(written(entries)) == [
        Fault(kind=FaultKind.HANG, on_call=3, times=2, matching="/usages", seconds=0.5),
        Fault(kind=FaultKind.TOUCH, devices=4),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"kind": "reset"}, {"kind": "flood"}], r"fault 2: kind = \"flood\": .*'bad_gateway'"),
        ([{"kind": "reset", "on": 3}], r"fault 1: 'on' is unknown; allowed: devices, kind"),
        ([{"kind": "reset", "on_call": 0}], "fault 1: .*on_call is 1 or more, not 0"),
        ([{"kind": "reset", "on_call": "x"}], r"fault 1: on_call = \"x\": .*integer"),
        ([{"kind": "hang", "seconds": -1}], r"seconds is 0 to 86,400, not -1"),
        ('[{"kind": "hang", "seconds": Infinity}]', r"seconds is 0 to 86,400, not inf"),
        ('[{"kind": "hang", "seconds": NaN}]', r"seconds is 0 to 86,400, not nan"),
        ([{"on_call": 1}], "fault 1: kind: Field required"),
        ([3], "fault 1: is no object"),
        ({"kind": "reset"}, "no list of objects"),
        ("[", "is not JSON"),
    ],
)
def test_a_wrong_script_names_the_entry_and_what_is_allowed(written, content, message):
    with pytest.raises(InputError, match=message):
        load_faults(written(content))


def test_a_script_for_thingspace_has_no_kinds_that_mean_nothing_there(written):
    entries = [{"kind": "hang"}, {"kind": "vanish"}]
    assert len(load_faults(written(entries))) == 2
    with pytest.raises(InputError, match="fault 2: the kind vanish is for Control Center only"):
        load_faults(written(entries), is_thingspace=True)


def test_a_missing_script_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: cannot be read"):
        load_faults(tmp_path / "none.json")


def test_accounts_take_the_common_options_and_replace_some(written):
    entries = [
        {"name": "east", "cycle_start_day": 27, "port": 8901},
        {"name": "west", "devices": 5, "options": {"time_zone": "Asia/Tokyo", "past_end": "error"}},
    ]
    common = SimulatorOptions(past_end="empty", requests_per_second=5)
    (east, east_options), (west, west_options) = load_pods(written(entries), common)
    assert (east.port, east.cycle_start_day, east.devices) == (8901, 27, 2000)
    assert (east_options.username, east_options.past_end) == ("east", "empty")
    assert (west.devices, west_options.username, west_options.time_zone) == (
        5,
        "west",
        "Asia/Tokyo",
    )
    assert (west_options.past_end, west_options.requests_per_second) == ("error", 5)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"devices": 3}], "account 1: name: Field required"),
        ([{"name": "a:b"}], "account 1: .*one word without colon"),
        ([{"name": "a", "cycle_start_day": 31}], "cycle_start_day is 1 to 28, not 31"),
        ([{"name": "a", "options": {"time_zone": "Mars"}}], "account 1, options: .*IANA name"),
        (
            [{"name": "a", "options": {"api_key": "x"}}],
            "'api_key' is unknown; allowed: always_says_last",
        ),
        (
            '[{"name": "a", "options": {"requests_per_second": NaN}}]',
            "account 1, options: .*requests per second is a number above 0, not nan",
        ),
        ([{"name": "a", "options": {"past_end": "x"}}], "past_end = .*'error' or 'empty'"),
        (
            [{"name": "a", "options": {"plans_with_two_versions": ["FLEX-5MB", "NOPE"]}}],
            "account 1, options: plans_with_two_versions: the account has no plan 'NOPE'",
        ),
        ([{"name": "a"}, {"name": "a"}], "name a occurs twice"),
        ([{"name": "a", "port": 80}, {"name": "b", "port": 80}], "port 80 occurs twice"),
    ],
)
def test_wrong_accounts_are_named_with_what_is_allowed(written, entries, message):
    with pytest.raises(InputError, match=message):
        load_pods(written(entries), SimulatorOptions())


def cycle(first, last):
    return BillingCycle(start_date=date.fromisoformat(first), end_date=date.fromisoformat(last))


@pytest.mark.parametrize(
    ("day", "start_day", "first", "last"),
    [
        ("2026-10-05", 1, "2026-10-01", "2026-10-31"),
        ("2026-10-05", 27, "2026-09-27", "2026-10-26"),
        ("2026-10-27", 27, "2026-10-27", "2026-11-26"),
        ("2027-01-03", 15, "2026-12-15", "2027-01-14"),
    ],
)
def test_a_day_lies_in_the_cycle_that_began_last(day, start_day, first, last):
    assert cycle_on(date.fromisoformat(day), start_day) == cycle(first, last)


def test_cycles_follow_one_another_without_gaps():
    assert shifted(cycle("2026-01-01", "2026-01-31"), -1) == cycle("2025-12-01", "2025-12-31")
    assert shifted(cycle("2027-12-27", "2028-01-26"), 2) == cycle("2028-02-27", "2028-03-26")
    assert shifted(cycle("2026-10-01", "2026-10-10"), 2) == cycle("2026-10-21", "2026-10-30")
