"""What `optimize-service-provider` accepts and refuses (S4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import ChargeType, Portal, UsageBasis
from core.errors import InputError, NotAvailableError
from core.sessions.parameters import (
    RunRequest,
    echoable,
    parse_parameters,
    restore_request,
)


def parse(**given_values):
    return parse_parameters(**{"service_provider_id": 3, **given_values})


def test_the_provider_alone_is_enough():
    assert parse() == RunRequest(
        service_provider_id=3,
        billing_period_id=None,
        tenant_id=None,
        optimization_session_id=None,
        kind=Portal.M2M,
        has_synced=False,
        full_sync=None,
        usage_basis=UsageBasis.ACTUAL,
        charge_type=ChargeType.RATE_AND_OVERAGE,
        skip_lower_cost_check=False,
        apply_changes=False,
        dry_run=False,
        additional_data={},
    )


def test_every_available_value_arrives():
    request = parse(
        billing_period_id=5,
        tenant_id=2,
        optimization_session_id=11,
        kind="m2m",
        has_synced=True,
        full_sync=None,
        usage_basis="actual",
        charge_type="overage",
        skip_lower_cost_check=True,
        rate_plan_sequences=[["B", "A"], ["A"]],
        apply_changes=False,
        dry_run=True,
        additional_data={"ticket": "A-1", "nested": {"list": [1, None, 2.5]}},
    )
    assert request.billing_period_id == 5
    assert request.tenant_id == 2
    assert request.optimization_session_id == 11
    assert request.has_synced
    assert request.full_sync is None
    assert parse(full_sync=True).full_sync is True
    assert parse(full_sync=False).full_sync is False
    assert request.charge_type is ChargeType.OVERAGE
    assert request.skip_lower_cost_check
    assert request.rate_plan_sequences == (("B", "A"), ("A",))
    assert request.dry_run
    assert request.additional_data == {"ticket": "A-1", "nested": {"list": [1, None, 2.5]}}


@pytest.mark.parametrize("name", ["service_provider_id", "billing_period_id", "tenant_id"])
@pytest.mark.parametrize("value", [0, -1, "3", 3.0, True, 1 << 63])
def test_an_id_is_a_whole_number_from_1(name, value):
    with pytest.raises(InputError, match=rf"{name} is .*whole number from 1"):
        parse(**{name: value})


def test_the_provider_cannot_be_left_out():
    with pytest.raises(InputError, match="service_provider_id is missing"):
        parse(service_provider_id=None)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("kind", "'m2m', 'mobility', 'customer', 'cross_provider'"),
        ("usage_basis", "'actual', 'projected'"),
        ("charge_type", "'rate_and_overage', 'rate', 'overage'"),
    ],
)
@pytest.mark.parametrize("value", ["nonsense", "", "M2M", 3, ["rate"]])
def test_an_unknown_word_is_named_beside_the_allowed_ones(name, allowed, value):
    with pytest.raises(InputError) as caught:
        parse(**{name: value})
    assert name in str(caught.value)
    assert allowed in str(caught.value)
    assert not isinstance(caught.value, NotAvailableError)


@pytest.mark.parametrize(
    "name", ["has_synced", "full_sync", "skip_lower_cost_check", "apply_changes", "dry_run"]
)
@pytest.mark.parametrize("value", ["true", 1, "no"])
def test_a_flag_is_true_or_false(name, value):
    with pytest.raises(InputError, match=rf"{name} is .*; it must be true or false"):
        parse(**{name: value})


@pytest.mark.parametrize(
    ("given_values", "what"),
    [
        ({"kind": "mobility"}, "kind='mobility'"),
        ({"kind": "customer"}, "kind='customer'"),
        ({"kind": "cross_provider"}, "kind='cross_provider'"),
        ({"customer_id": 4}, "parameter customer_id"),
        ({"usage_basis": "projected"}, "usage_basis='projected'"),
        ({"apply_changes": True}, "apply_changes=true"),
        ({"override": {"token_id": "t", "reason": "r"}}, "parameter override"),
        ({"override": {}}, "parameter override"),
    ],
)
def test_a_part_that_is_not_built_is_refused(given_values, what):
    with pytest.raises(NotAvailableError, match=f"^{what} is not available in this version"):
        parse(**given_values)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("A,B", "rate_plan_sequences is 'A,B'; it must be a list of lists of plan codes"),
        ({"A": 1}, "rate_plan_sequences is of type dict; it must be a list of lists"),
        ([], "rate_plan_sequences has 0 sequences; 1 to 1024 are allowed"),
        ([[f"P{k}"] for k in range(1025)], "rate_plan_sequences has 1025 sequences"),
        ([["A"], "B"], "sequence 2 is 'B'; it must be a list of plan codes"),
        ([["A"], None], "sequence 2 is missing; it must be a list of plan codes"),
        ([["A"], []], "sequence 2 has 0 plans; 1 to 64 are allowed"),
        ([[f"P{k}" for k in range(65)]], "sequence 1 has 65 plans"),
        ([["A", 7]], "sequence 1 names 7; a plan code is a text"),
        ([["A", ""]], "sequence 1 names ''; a plan code is a text and not empty"),
        ([["A", "B", "A"]], "sequence 1 names the plan 'A' twice"),
        ([["A", "B"], ["B"], ["A", "B"]], "sequence 3 is the same as sequence 1"),
    ],
)
def test_sequences_are_lists_of_different_plan_codes_and_the_place_of_an_error_is_named(
    value, words
):
    with pytest.raises(InputError) as caught:
        parse(rate_plan_sequences=value)
    assert words in str(caught.value)
    assert not isinstance(caught.value, NotAvailableError)


def test_as_many_and_as_long_sequences_as_allowed_are_accepted():
    value = [[f"P{k}"] for k in range(1023)] + [[f"P{k}" for k in range(64)]]
    assert len(parse(rate_plan_sequences=value).rate_plan_sequences) == 1024


def test_a_dry_run_cannot_apply_changes():
    with pytest.raises(InputError, match="contradict") as caught:
        parse(dry_run=True, apply_changes=True)
    assert not isinstance(caught.value, NotAvailableError)


def test_a_full_sync_cannot_be_skipped():
    with pytest.raises(InputError, match="has_synced=true and full_sync=true"):
        parse(has_synced=True, full_sync=True)


@pytest.mark.parametrize("value", ["text", 3, ["a"], {1: "a"}])
def test_additional_data_is_a_json_object(value):
    with pytest.raises(InputError, match=r"additional_data is .*; it must be a JSON object"):
        parse(additional_data=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", object()])
def test_additional_data_holds_only_json(value):
    with pytest.raises(InputError, match="JSON cannot express"):
        parse(additional_data={"key": value})


def test_the_callers_totals_would_collide_and_are_refused():
    with pytest.raises(InputError, match="'totals'"):
        parse(additional_data={"totals": 1})


def test_later_changes_of_the_callers_object_do_not_reach_the_request():
    data = {"list": [1]}
    request = parse(additional_data=data)
    data["list"].append(2)
    assert request.additional_data == {"list": [1]}


def test_a_refused_run_echoes_what_can_be_echoed():
    assert echoable({"a": [1]}) == {"a": [1]}
    assert echoable({"totals": 1}) == {"totals": 1}
    assert echoable(None) == {}
    assert echoable("text") == {}
    assert echoable({"a": float("nan")}) == {}


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(InputError) as caught:
        parse(kind="x" * 10_000)
    assert len(str(caught.value)) < 250


@given(
    data=st.dictionaries(
        st.text().filter(lambda key: key != "totals"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
        max_size=4,
    ),
    charge_type=st.sampled_from([member.value for member in ChargeType]),
    full_sync=st.sampled_from([None, True]),
    dry_run=st.booleans(),
    sequences=st.none() | st.lists(
        st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True),
        min_size=1, max_size=4, unique_by=tuple,
    ),
)  # fmt: skip
def test_a_stored_request_reads_back_as_it_was(data, charge_type, full_sync, dry_run, sequences):
    request = parse(
        additional_data=data, charge_type=charge_type, full_sync=full_sync, dry_run=dry_run,
        rate_plan_sequences=sequences,
    ).for_period(9)  # fmt: skip
    stored = json.loads(json.dumps(request.as_json()))
    assert restore_request(stored) == request
    assert request.additional_data == data


def test_a_stored_request_with_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="unheard_of"):
        restore_request({"service_provider_id": 1, "unheard_of": 2})
