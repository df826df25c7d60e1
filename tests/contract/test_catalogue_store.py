"""The catalogue in the database: providers, periods, plans; changes are idempotent and audited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from core.domain import (
    MAX_PRICE_MICROS,
    MAX_TIERS,
    MAX_USAGE_BYTES,
    CommunicationPlan,
    OverageTier,
    PoolScope,
    Portal,
    ProrationBasis,
    RatePlan,
)
from core.errors import InputError, StorageError
from core.storage import audit
from core.storage.audit import Author
from core.storage.catalogue import (
    current_period,
    find_provider,
    list_periods,
    list_providers,
    load_communication_plans,
    load_period,
    load_provider,
    load_rate_plans,
)
from core.storage.catalogue_changes import add_period, add_provider, import_providers
from core.storage.engine import reading, writing
from core.storage.plan_import import replace_catalogue, replace_rate_plans
from core.storage.records import ProviderSettings
from core.storage.schema import carrier_rate_plan, communication_plan, tenant
from tests.contract.accounts import UNKNOWN

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
AUTHOR = Author(actor="ann", source="cli")
ACME = ProviderSettings(
    name="Acme",
    tenant="T",
    integration="jasper",
    base_url="https://rest.example.com",
    credential_ref="env:ACME",
    time_zone="America/New_York",
)
FULL = ProviderSettings(
    name="Nordic",
    tenant="U",
    integration="rogers",
    base_url="http://127.0.0.1:8080/rws",
    credential_ref="file:/run/secrets/nordic",
    time_zone="Europe/Oslo",
    portal=Portal.M2M,
    start_hour=23,
    billable_statuses=("ACTIVATED", "TEST_READY"),
    uses_proration=False,
    proration_basis=ProrationBasis.THIRTY,
    pool_scope=PoolScope.POOL_GROUP,
    pooling_enabled=False,
    mb_bytes=1_000_000,
    currency="NOK",
    page_size=40,
    requests_per_second=2.5,
)
PLAN_A = RatePlan(
    code="A",
    monthly_rate_micros=1_500_000,
    included_bytes=1 << 20,
    overage_rate_micros=100_000,
    overage_block_bytes=1 << 20,
    is_pooled=True,
)
PLAN_B = RatePlan(
    code="B",
    name="Big",
    monthly_rate_micros=99_999_999_999,
    included_bytes=1 << 49,
    overage_rate_micros=0,  # cannot be billed (V2): stored as it is
    overage_block_bytes=0,
    is_pooled=False,
    is_prorated=True,
    plan_type="data",
    included_sms=10,
    sms_rate_micros=20_000,
    included_voice_minutes=5,
    voice_rate_micros=30_000,
    regulatory_fee_micros=70_000,
    pool_group="north",
    overage_tiers=(
        OverageTier(from_bytes=0, rate_micros=250_000),
        OverageTier(from_bytes=(1 << 50) - 1, rate_micros=99_999_999_999),
    ),
    overage_cap_micros=0,
    min_devices=0,
    max_devices=1 << 31,
)


@pytest.fixture
def provider(engine):
    return add_provider(engine, ACME, now=NOW, author=AUTHOR)


def settings_of(record):
    names = ProviderSettings.__dataclass_fields__
    return ProviderSettings(**{name: getattr(record, name) for name in names})


def actions(engine):
    return [event.action for event in audit.load_events(engine)]


@pytest.mark.parametrize("settings", [ACME, FULL], ids=["defaults", "everything set"])
def test_a_provider_comes_back_as_it_was_stored(engine, settings):
    stored = add_provider(engine, settings, now=NOW, author=AUTHOR)
    assert settings_of(stored) == settings
    assert load_provider(engine, stored.id) == stored
    assert find_provider(engine, settings.name) == stored
    assert actions(engine) == ["tenant.added", "provider.added"]


def test_a_provider_that_is_there_already_is_refused(engine, provider):
    with pytest.raises(
        InputError, match=rf"'Acme' of tenant 'T' is there already \(id {provider.id}\)"
    ):
        add_provider(engine, replace(ACME, start_hour=5), now=NOW, author=AUTHOR)
    assert load_provider(engine, provider.id).start_hour == ACME.start_hour


def test_an_import_adds_changes_and_leaves_alone(engine, provider):
    counts = import_providers(engine, [replace(ACME, start_hour=5), FULL], now=LATER, author=AUTHOR)
    assert (counts.added, counts.changed, counts.unchanged) == (1, 1, 0)
    again = import_providers(engine, [replace(ACME, start_hour=5), FULL], now=LATER, author=AUTHOR)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)
    assert [(p.name, p.start_hour) for p in list_providers(engine)] == [("Acme", 5), ("Nordic", 23)]
    assert actions(engine)[2:] == ["provider.changed", "tenant.added", "provider.added"]


def test_providers_of_one_tenant_share_it(engine, provider):
    add_provider(engine, replace(ACME, name="Other"), now=NOW, author=AUTHOR)
    with reading(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(tenant)).scalar_one() == 1


def test_an_unknown_provider_is_answered_with_the_known_ones(engine, provider):
    with pytest.raises(
        InputError, match=f"provider 'Nope' is unknown; known: {provider.id} 'Acme'"
    ):
        find_provider(engine, "Nope")
    with pytest.raises(InputError, match="provider '7' is unknown"):
        load_provider(engine, 7)


def test_without_providers_the_remedy_is_named(engine):
    with pytest.raises(InputError, match="there are none; see `carrier-opt providers add`"):
        find_provider(engine, "Acme")


def test_a_name_that_two_tenants_use_needs_the_id(engine, provider):
    other = add_provider(engine, replace(ACME, tenant="U"), now=NOW, author=AUTHOR)
    with pytest.raises(InputError, match="several providers are named 'Acme'"):
        find_provider(engine, "Acme")
    assert find_provider(engine, str(other.id)) == other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name: ''"),
        ({"name": " Acme"}, "without blanks at the ends"),
        ({"name": "123"}, "reads like an id"),
        ({"tenant": "x" * 129}, "tenant:"),
        ({"integration": "cisco"}, "allowed: jasper, pod19, tmobile_jasper, rogers"),
        ({"base_url": "rest.example.com"}, "is no address of an API"),
        ({"base_url": "ftp://rest.example.com"}, "is no address of an API"),
        ({"base_url": "https://rest.example.com/?key=1"}, "is no address of an API"),
        ({"base_url": "https://h:99999"}, "cannot be read"),
        ({"time_zone": "Mars/Base"}, "unknown; write an IANA name"),
        ({"time_zone": "../../etc/passwd"}, "unknown; write an IANA name"),
        ({"start_hour": 24}, "start-hour: 24 is not allowed; 0 to 23"),
        ({"page_size": 0}, "page-size: 0 is not allowed"),
        ({"page_size": 1001}, "page-size: 1001 is not allowed"),
        ({"mb_bytes": 1024}, "write 1048576 or 1000000"),
        ({"currency": "usd"}, "not a code of three letters"),
        ({"billable_statuses": ()}, "name at least one status"),
        ({"billable_statuses": ("A;B",)}, "name at least one status"),
        ({"requests_per_second": 0.0}, "above 0"),
        ({"requests_per_second": float("nan")}, "above 0"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(change, message):
    with pytest.raises(InputError, match=message):
        replace(ACME, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"credential_ref": "hunter2"},
        {"credential_ref": "env:hunter2 x"},
        {"credential_ref": "file:hunter2"},
        {"base_url": "https://user:hunter2@rest.example.com"},
    ],
)
def test_a_secret_given_by_mistake_is_refused_and_not_repeated(change):
    with pytest.raises(InputError) as error:
        replace(ACME, **change)
    assert "hunter2" not in str(error.value)


def test_periods_are_kept_in_order_and_found_by_date(engine, provider):
    december = add_period(
        engine, provider.id, date(2026, 12, 1), date(2026, 12, 31), now=NOW, author=AUTHOR
    )
    november = add_period(
        engine, provider.id, date(2026, 11, 1), date(2026, 11, 30), now=NOW, author=AUTHOR
    )
    assert list_periods(engine, provider.id) == [november, december]
    assert load_period(engine, november.id) == november
    assert november.cycle.days == 30
    for day, period in (
        (date(2026, 11, 1), november),
        (date(2026, 11, 30), november),
        (date(2026, 12, 1), december),
    ):
        assert current_period(engine, provider.id, day) == period


def test_the_same_period_again_changes_nothing(engine, provider):
    dates = (date(2026, 11, 1), date(2026, 11, 30))
    first = add_period(engine, provider.id, *dates, now=NOW, author=AUTHOR)
    assert add_period(engine, provider.id, *dates, now=LATER, author=AUTHOR) == first
    assert actions(engine).count("period.added") == 1


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (date(2026, 11, 30), date(2026, 12, 29), r"overlaps 2026-11-01 to 2026-11-30 \(id \d+\)"),
        (date(2026, 10, 2), date(2026, 11, 1), "overlaps"),
        (date(2026, 11, 10), date(2026, 11, 10), "overlaps"),
        (date(2026, 10, 1), date(2026, 12, 31), "overlaps"),
        (date(2026, 12, 2), date(2026, 12, 1), "ends .* before it starts"),
        (date(2026, 12, 1), date(2027, 12, 2), "longer than 366 days"),
    ],
)
def test_a_period_that_cannot_be_is_refused(engine, provider, start, end, message):
    add_period(engine, provider.id, date(2026, 11, 1), date(2026, 11, 30), now=NOW, author=AUTHOR)
    with pytest.raises(InputError, match=message):
        add_period(engine, provider.id, start, end, now=NOW, author=AUTHOR)


def test_a_date_without_a_period_is_answered_with_the_remedy(engine, provider):
    with pytest.raises(InputError, match=r"no billing period that holds 2026-11-20; add one with"):
        current_period(engine, provider.id, date(2026, 11, 20))
    with pytest.raises(InputError, match="billing period 9 is unknown"):
        load_period(engine, 9)


def stored_ids(engine):
    table = carrier_rate_plan.c
    with reading(engine) as connection:
        rows = connection.execute(sa.select(table.RatePlanCode, table.Id)).all()
    return {row.RatePlanCode: row.Id for row in rows}


def test_plans_come_back_as_they_were_imported(engine, provider):
    counts = replace_rate_plans(engine, provider.id, [PLAN_B, PLAN_A], now=NOW, author=AUTHOR)
    assert counts.added == 2
    assert load_rate_plans(engine, provider.id) == [PLAN_A, PLAN_B]
    assert stored_ids(engine).keys() == {"A", "B"}


def test_tiers_are_stored_as_text_that_operators_can_read(engine, provider):
    replace_rate_plans(engine, provider.id, [PLAN_B, PLAN_A], now=NOW, author=AUTHOR)
    with reading(engine) as connection:
        texts = connection.execute(sa.select(carrier_rate_plan.c.OverageTiers)).scalars().all()
    assert texts == ["0=250000;1125899906842623=99999999999", None]


def test_as_many_tiers_as_a_plan_may_have_fit_into_the_column(engine, provider):
    tiers = tuple(
        OverageTier(from_bytes=MAX_USAGE_BYTES - k, rate_micros=MAX_PRICE_MICROS)
        for k in reversed(range(MAX_TIERS))
    )
    plan = replace(PLAN_A, overage_tiers=tiers)
    replace_rate_plans(engine, provider.id, [plan], now=NOW, author=AUTHOR)
    assert load_rate_plans(engine, provider.id) == [plan]
    with reading(engine) as connection:
        (text,) = connection.execute(sa.select(carrier_rate_plan.c.OverageTiers)).scalars()
    assert len(text) <= carrier_rate_plan.c.OverageTiers.type.length


@pytest.mark.parametrize("text", ["0=1;", "5", "1.5=1", "0=1,5=2", "x"])
def test_tiers_that_cannot_be_read_are_refused_with_plan_and_remedy(engine, provider, text):
    replace_rate_plans(engine, provider.id, [PLAN_A], now=NOW, author=AUTHOR)
    with writing(engine) as connection:
        connection.execute(sa.update(carrier_rate_plan).values(OverageTiers=text))
    with pytest.raises(StorageError, match=r"rate plan 'A': OverageTiers .* bytes=micro-units"):
        load_rate_plans(engine, provider.id)


def test_a_change_of_a_tier_or_cap_alone_is_a_change(engine, provider):
    replace_rate_plans(engine, provider.id, [PLAN_B], now=NOW, author=AUTHOR)
    for plan in (
        replace(PLAN_B, overage_tiers=PLAN_B.overage_tiers[:1]),
        replace(PLAN_B, overage_cap_micros=None),
    ):
        counts = replace_rate_plans(engine, provider.id, [plan], now=NOW, author=AUTHOR)
        assert counts.changed == 1
        assert load_rate_plans(engine, provider.id) == [plan]


def test_an_import_of_plans_replaces_the_catalogue_and_keeps_what_is_gone_as_inactive(
    engine, provider
):
    lists = [CommunicationPlan(name="C1", rate_plan_codes=("B", "A"))]
    replace_catalogue(engine, provider.id, [PLAN_A, PLAN_B], lists, now=NOW, author=AUTHOR)
    ids = stored_ids(engine)
    dearer = replace(PLAN_A, monthly_rate_micros=2_000_000)
    plan_c = replace(PLAN_A, code="C")
    new_lists = [
        CommunicationPlan(name="C2", rate_plan_codes=("C", "nowhere", "A", "C")),
        CommunicationPlan(name="C3", rate_plan_codes=()),
    ]
    counts, list_counts = replace_catalogue(
        engine, provider.id, [dearer, plan_c], new_lists, now=LATER, author=AUTHOR
    )
    assert (counts.added, counts.changed, counts.deactivated) == (1, 1, 1)
    assert (list_counts.added, list_counts.deactivated) == (2, 1)
    gone = replace(PLAN_B, is_active=False)
    assert load_rate_plans(engine, provider.id) == [dearer, gone, plan_c]
    assert stored_ids(engine).items() > ids.items()
    assert load_communication_plans(engine, provider.id) == [
        CommunicationPlan(name="C2", rate_plan_codes=("C", "A")),
        CommunicationPlan(name="C3", rate_plan_codes=()),
    ]


def test_the_same_import_twice_changes_nothing(engine, provider):
    lists = [CommunicationPlan(name="C1", rate_plan_codes=("A",))]
    for now in (NOW, LATER):
        counts = replace_catalogue(
            engine, provider.id, [PLAN_A, PLAN_B], lists, now=now, author=AUTHOR
        )
    assert [(c.added, c.changed, c.unchanged, c.deactivated) for c in counts] == [
        (0, 0, 2, 0),
        (0, 0, 1, 0),
    ]


def test_a_plan_that_comes_back_is_active_again_with_its_old_id(engine, provider):
    found = []
    for plans in ([PLAN_A, PLAN_B], [PLAN_A], [PLAN_A, PLAN_B]):
        replace_rate_plans(engine, provider.id, plans, now=NOW, author=AUTHOR)
        found.append(stored_ids(engine))
    assert load_rate_plans(engine, provider.id) == [PLAN_A, PLAN_B]
    assert found[0] == found[1] == found[2]


def test_plan_lists_are_stored_as_ids_as_operators_know_them(engine, provider):
    lists = [CommunicationPlan(name="C1", rate_plan_codes=("B", "A"))]
    replace_catalogue(engine, provider.id, [PLAN_A, PLAN_B], lists, now=NOW, author=AUTHOR)
    with reading(engine) as connection:
        stored = connection.execute(sa.select(communication_plan.c.RatePlanIds)).scalar_one()
    ids = stored_ids(engine)
    assert stored == f"{ids['B']},{ids['A']}"


def set_plan_list(engine, text):
    with writing(engine) as connection:
        connection.execute(sa.update(communication_plan).values(RatePlanIds=text))


@pytest.mark.parametrize("text", ["{A},{none},{B}", " {B} ,, {A} ", "{B},{none}"])
def test_ids_of_deleted_and_unknown_plans_are_left_out_of_a_list_with_a_warning(
    engine, provider, caplog, text
):
    lists = [CommunicationPlan(name="C1", rate_plan_codes=("A", "B"))]
    replace_catalogue(engine, provider.id, [PLAN_A, PLAN_B], lists, now=NOW, author=AUTHOR)
    ids = {**stored_ids(engine), "none": UNKNOWN}
    with writing(engine) as connection:
        connection.execute(
            sa.update(carrier_rate_plan)
            .where(carrier_rate_plan.c.Id == ids["A"])
            .values(IsDeleted=sa.true())
        )
    set_plan_list(engine, text.format(**ids))
    kept = CommunicationPlan(name="C1", rate_plan_codes=("B",))
    assert load_communication_plans(engine, provider.id) == [kept]
    gone = [ids[name] for name in ("A", "none") if f"{{{name}}}" in text]
    assert [record.getMessage() for record in caplog.records] == [
        f"communication plan 'C1' lists rate plan id {number}, which is deleted or unknown: "
        "left out"
        for number in gone
    ]


@pytest.mark.parametrize("text", ["1,A", "1;2", "-1", "1.0", "1_0", "٢"])
def test_a_list_that_holds_anything_but_ids_is_named(engine, provider, text):
    lists = [CommunicationPlan(name="C1", rate_plan_codes=("A",))]
    replace_catalogue(engine, provider.id, [PLAN_A], lists, now=NOW, author=AUTHOR)
    set_plan_list(engine, text)
    with pytest.raises(StorageError, match=r"plan 'C1': RatePlanIds .* which is no id: separate"):
        load_communication_plans(engine, provider.id)


def test_a_code_that_stands_there_twice_is_refused_and_nothing_is_stored(engine, provider):
    with pytest.raises(InputError, match="rate plan 'A' stands there twice"):
        replace_rate_plans(engine, provider.id, [PLAN_A, PLAN_A], now=NOW, author=AUTHOR)
    assert load_rate_plans(engine, provider.id) == []


def test_plans_of_an_unknown_provider_are_refused(engine):
    with pytest.raises(InputError, match="provider 5 is unknown"):
        replace_rate_plans(engine, 5, [PLAN_A], now=NOW, author=AUTHOR)


def test_an_import_of_plans_is_audited_with_what_it_changed(engine, provider):
    replace_rate_plans(engine, provider.id, [PLAN_A, PLAN_B], now=NOW, author=AUTHOR)
    replace_rate_plans(engine, provider.id, [PLAN_A], now=LATER, author=AUTHOR)
    event = audit.load_events(engine)[-1]
    assert (event.action, event.actor, event.occurred_at) == ("rate_plans.imported", "ann", LATER)
    assert event.details == {"added": [], "changed": [], "deactivated": ["B"]}
