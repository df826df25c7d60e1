"""Many rows at once: what goes in comes out, and merges follow the rules, row by row (D3)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.bulk import (
    MAX_LIST,
    Merge,
    in_lists,
    insert_frame,
    merge_frame,
    read_frame,
    slices,
)
from core.storage.engine import insert_row, reading, writing
from core.storage.schema import device_sync_run, device_usage
from core.storage.schema import jasper_device_staging as staging
from tests.contract.accounts import NOW, accounts_of, add_accounts

MOST, LEAST = (1 << 63) - 1, -(1 << 63)
SCHEMA = {
    "DeviceSyncRunId": pl.Int64(),
    "MatchKey": pl.String(),
    "ICCID": pl.String(),
    "Position": pl.Int64(),
    "Status": pl.String(),
    "RatePlan": pl.String(),
    "CommunicationPlan": pl.String(),
    "ActivatedDate": pl.Date(),
    "AsksActivation": pl.Boolean(),
}
KEYS = ("DeviceSyncRunId", "MatchKey")
REPLACED = {name: Merge.REPLACE for name in SCHEMA if name not in KEYS}
KEPT = {
    **REPLACED,
    "RatePlan": Merge.REPLACE_UNLESS_NULL,
    "ActivatedDate": Merge.REPLACE_UNLESS_NULL,
}
UNICODE = "ü\u6e2c\U0001f4f6 'q' \"d\" %s ? :x [b] \\ ;-- \t\u200b."
STRANGE = [
    ("plain", 0, "A", None, None, False),
    ("Plain", 1, "a", UNICODE, date(1900, 1, 1), True),
    ("PLAIN", MOST, "", "", date(9999, 12, 31), True),
    ("x" * 64, LEAST, "S" * 64, "r" * 128, date(2000, 2, 29), False),
    ("x" * 63 + "X", 1 << 53, "\U0001f4f6" * 32, "\u6e2c" * 128, date(1969, 12, 31), True),
    (UNICODE, (1 << 53) + 1, "None", "NULL", None, False),
]


def frame(run_id, rows):
    """Rows of key, position, status, rate plan, activation date, whether it is asked for."""
    full = [
        (run_id, k, k, n, status, plan, None, day, asks) for k, n, status, plan, day, asks in rows
    ]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


@pytest.fixture
def run_id(engine):
    add_accounts(engine)
    return add_run(engine)


def add_run(engine):
    row = {"Kind": "full", "Status": "running", "StartedAt": NOW}
    row["ServiceProviderId"] = accounts_of(engine).provider(1)
    with writing(engine) as connection:
        return insert_row(connection, device_sync_run, **row)


def insert(engine, table, rows):
    with writing(engine) as connection:
        insert_frame(connection, table, rows)


def merge(engine, rows, rules=None, newest_by=None):
    with writing(engine) as connection:
        merge_frame(
            connection, staging, rows, keys=KEYS, rules=rules or REPLACED, newest_by=newest_by
        )


def stored(engine, run_id):
    statement = sa.select(*(staging.c[name] for name in SCHEMA))
    statement = statement.where(staging.c.DeviceSyncRunId == run_id)
    with reading(engine) as connection:
        return read_frame(connection, statement, SCHEMA).sort("MatchKey")


@pytest.mark.parametrize(
    "how", [lambda e, f: insert(e, staging, f), merge], ids=["insert", "merge"]
)
def test_strange_values_come_back_as_they_were(engine, run_id, how):
    rows = frame(run_id, STRANGE)
    how(engine, rows)
    assert stored(engine, run_id).equals(rows.sort("MatchKey"))
    with reading(engine) as connection:
        for key, position, *_ in STRANGE:
            found = connection.execute(sa.select(staging.c.Position).filter_by(MatchKey=key))
            assert found.scalars().all() == [position]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(
    lambda text: text == text.rstrip()  # SQL pads texts of unequal length with blanks to compare
)
ROWS = st.lists(
    st.tuples(
        TEXT,
        st.integers(LEAST, MOST),
        TEXT,
        st.none() | TEXT,
        st.none() | st.dates(date(1900, 1, 1), date(9999, 12, 31)),
        st.booleans(),
    ),
    max_size=8,
    unique_by=lambda row: row[0],
)


@given(ROWS)
@settings(max_examples=25)
def test_any_values_come_back_as_they_were(databases, rows):
    with databases.fresh() as engine:
        add_accounts(engine)
        run_id = add_run(engine)
        insert(engine, staging, frame(run_id, rows))
        assert stored(engine, run_id).equals(frame(run_id, rows).sort("MatchKey"))


def test_moments_are_stored_in_utc_to_the_microsecond(engine, run_id):
    accounts = accounts_of(engine)
    moments = [
        datetime(2026, 11, 1, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 12, 0, 0, 1, tzinfo=UTC),
    ]
    rows = pl.DataFrame(
        {
            "ServiceProviderId": accounts.provider(1),
            "BillingPeriodId": accounts.period(1),
            "ICCID": ["1", "2", "3"],
            "UsageBytes": [0, MOST, 1],
            "SmsCount": 0,
            "VoiceSeconds": 0,
            "ReportedAt": pl.Series(moments).dt.convert_time_zone("America/New_York"),
        }
    )
    insert(engine, device_usage, rows)
    statement = sa.select(device_usage.c.ReportedAt).order_by(device_usage.c.ICCID)
    with reading(engine) as connection:
        assert connection.execute(statement).scalars().all() == moments


@pytest.mark.parametrize("n_rows", [0, 1, 4, 5])
def test_frames_of_any_number_of_slices_come_back_whole(engine, run_id, monkeypatch, n_rows):
    monkeypatch.setattr("core.storage.bulk.SLICE_ROWS", 2)
    rows = frame(run_id, [(f"{n}", n, "A", None, None, True) for n in range(n_rows)])
    assert sum(part.height for part in slices(rows)) == n_rows
    insert(engine, staging, rows)
    merge(engine, rows.with_columns(Status=pl.lit("B")))
    found = stored(engine, run_id)
    assert found["MatchKey"].to_list() == rows["MatchKey"].to_list()
    assert set(found["Status"]) <= {"B"}


def test_a_key_that_is_there_already_is_refused_and_nothing_is_added(engine, run_id):
    insert(engine, staging, frame(run_id, STRANGE[:1]))
    before = stored(engine, run_id)
    with pytest.raises(sa.exc.IntegrityError):
        insert(engine, staging, frame(run_id, [*STRANGE[1:3], STRANGE[0]]))
    assert stored(engine, run_id).equals(before)


def test_a_row_that_refers_to_nothing_is_refused(engine, run_id):
    with pytest.raises(sa.exc.IntegrityError):
        insert(engine, staging, frame(run_id + 1, STRANGE[:1]))


def test_a_merge_changes_keys_as_they_are_spelt_and_no_other_run(engine, run_id):
    other = add_run(engine)
    for run in (run_id, other):
        insert(engine, staging, frame(run, STRANGE))
    merge(engine, frame(run_id, [("Plain", 7, "new", None, None, False)]))
    assert stored(engine, other).equals(frame(other, STRANGE).sort("MatchKey"))
    changed = {row[0]: row[3] for row in stored(engine, run_id).drop("DeviceSyncRunId").rows()}
    expected = {row[0]: row[2] for row in STRANGE} | {"Plain": "new"}
    assert changed == expected


def test_of_equal_keys_in_one_frame_each_counts_against_those_before_it(engine, run_id):
    day, later = date(2026, 11, 5), date(2026, 11, 6)
    merge(engine, frame(run_id, [("1", 5, "stored", "P", day, True)]), KEPT)
    rows = [
        ("1", 4, "too old", "Q", later, False),
        ("1", 5, "as new", None, None, False),
        ("2", 9, "first", "X", None, True),
        ("1", 8, "newest", None, later, False),
        ("2", 9, "second", None, day, False),
        ("1", 7, "late", "Z", day, True),
    ]
    merge(engine, frame(run_id, rows), KEPT, "Position")
    assert stored(engine, run_id).equals(
        frame(run_id, [("1", 8, "newest", "P", later, False), ("2", 9, "second", "X", day, False)])
    )


SMALL = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["k", "K", "l"]),
            st.integers(0, 3),
            st.sampled_from("AB"),
            st.none() | st.sampled_from(["P", "p"]),
            st.none() | st.sampled_from([date(2026, 11, 5), date(2026, 11, 6)]),
            st.booleans(),
        ),
        max_size=6,
    ),
    min_size=1,
    max_size=3,
)


def merged(known, rows, *, keeps, by_position):
    """The rules of a merge as a loop over plain rows."""
    for key, position, status, plan, day, asks in rows:
        before = known.get(key)
        if before and by_position and position < before[1]:
            continue
        if before and keeps:
            plan, day = plan or before[3], day or before[4]
        known[key] = (key, position, status, plan, day, asks)
    return known


@given(SMALL, st.booleans(), st.booleans())
@settings(max_examples=40)
def test_any_series_of_merges_ends_like_a_plain_loop(databases, batches, keeps, by_position):
    with databases.fresh() as engine:
        add_accounts(engine)
        run_id, known = add_run(engine), {}
        for rows in batches:
            rules = KEPT if keeps else REPLACED
            merge(engine, frame(run_id, rows), rules, "Position" if by_position else None)
            known = merged(known, rows, keeps=keeps, by_position=by_position)
            expected = frame(run_id, known.values()).sort("MatchKey")
            assert stored(engine, run_id).equals(expected)


@pytest.mark.parametrize("n_values", [0, 1, MAX_LIST, MAX_LIST + 1])
def test_long_lists_are_cut_to_what_a_statement_takes(engine, run_id, n_values):
    values = [f"{n:06d}" for n in range(n_values)]
    insert(engine, staging, frame(run_id, [(v, 1, "A", None, None, False) for v in values]))
    found = []
    with reading(engine) as connection:
        for part in in_lists(values):
            statement = sa.select(staging.c.MatchKey).where(staging.c.MatchKey.in_(part))
            found += connection.execute(statement.order_by(staging.c.MatchKey)).scalars()
    assert found == values


def test_what_a_failing_transaction_wrote_in_bulk_is_gone(engine, run_id):
    class DiedError(Exception):
        pass

    def die(connection):
        insert_frame(connection, staging, frame(run_id, STRANGE))
        raise DiedError

    with pytest.raises(DiedError), writing(engine) as connection:
        die(connection)
    assert stored(engine, run_id).is_empty()
