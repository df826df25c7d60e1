"""Which tables a purge empties, in which order, and that it is SQL of both databases (R5)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
import sqlfluff
from sqlalchemy.dialects import mssql, sqlite

from core.storage import purge
from core.storage.purge_tables import KEPT, purge_tables
from core.storage.schema import device_sync_run, metadata, optimization_session

RESULTS = {
    "OptimizationM2MDeviceResult", "OptimizationMobilityDeviceResult", "OptimizationQueue_RatePlan",
    "OptimizationQueue", "OptimizationSimCard", "OptimizationUnit", "OptimizationCommGroup_CommPlan",
    "OptimizationCommGroup_RatePlan", "OptimizationCommGroup", "OptimizationInstance",
}  # fmt: skip
OF_RUNS = {"DeviceSyncReject", "JasperDeviceStaging", "JasperUsageStaging"}
DIALECTS = [mssql.dialect(), sqlite.dialect()]
DIALECTS[0]._supports_offset_fetch = True  # as it finds when it connects to any server since 2012


def names(tables):
    return [one.table.name for one in tables]


def compiled(statement, dialect):
    return str(statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))


def test_the_results_of_a_session_are_exactly_these_tables():
    assert set(names(purge_tables(optimization_session))) == RESULTS
    assert set(names(purge_tables(device_sync_run))) == OF_RUNS


def test_no_table_is_emptied_before_one_that_refers_to_it():
    order = names(purge_tables(optimization_session))
    references = {
        (table.name, key.column.table.name)
        for table in metadata.tables.values()
        for key in table.foreign_keys
        if {table.name, key.column.table.name} <= RESULTS
    }
    assert len(references) > 10
    assert all(order.index(child) < order.index(parent) for child, parent in references)


def test_whatever_refers_to_a_session_or_run_is_purged_or_kept_on_purpose():
    referring = {
        table.name
        for table in metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name in {"OptimizationSession", "DeviceSyncRun"}
    }
    assert referring - KEPT <= RESULTS | OF_RUNS
    assert referring >= KEPT


def test_columns_that_name_an_instance_group_or_queue_without_a_key_stand_in_purged_tables():
    loose = {"InstanceId", "CommGroupId", "CommPlanGroupId", "QueueId", "CommGroup_RatePlanId"}
    having = {t.name for t in metadata.tables.values() if loose & set(t.columns.keys())}
    assert having <= RESULTS


def test_a_table_that_is_added_later_is_emptied_before_what_it_refers_to():
    later = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(later)
    sa.Table(
        "DeviceResultNote", later,
        sa.Column("QueueId", sa.ForeignKey("OptimizationQueue.Id"), primary_key=True),
        sa.Column("Place", sa.Integer, primary_key=True),
    )  # fmt: skip
    found = purge_tables(later.tables["OptimizationSession"])
    assert set(names(found)) == RESULTS | {"DeviceResultNote"}
    assert names(found).index("DeviceResultNote") < names(found).index("OptimizationQueue")


def test_a_table_whose_rows_no_index_finds_is_refused():
    later = sa.MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(later)
    sa.Table(
        "Slow", later,
        sa.Column("Id", sa.Integer, primary_key=True),
        sa.Column("InstanceId", sa.ForeignKey("OptimizationInstance.Id")),
    )  # fmt: skip
    with pytest.raises(ValueError, match="Slow has no index that begins with InstanceId"):
        purge_tables(later.tables["OptimizationSession"])


@pytest.mark.parametrize("root", [optimization_session, device_sync_run], ids=lambda t: t.name)
def test_a_key_is_never_null_and_tells_the_rows_of_an_owner_apart(root):
    for one in purge_tables(root):
        assert one.key
        assert not any(column.nullable for column in one.key)
        unique = [set(one.table.primary_key.columns)]
        unique += [
            set(c.columns) for c in one.table.constraints if isinstance(c, sa.UniqueConstraint)
        ]
        unique += [set(index.columns) for index in one.table.indexes if index.unique]
        assert any(columns <= {one.owner, *one.key} for columns in unique)


def statements():
    """Every shape of statement that a purge runs, by name."""
    found = {}
    for root in (optimization_session, device_sync_run):
        for one in purge_tables(root):
            name, bound = one.table.name, ["b"] * len(one.key)
            found[f"{name} count"] = one.count_by_owner(1)
            found[f"{name} bound"] = one.bound(1, 4000)
            found[f"{name} owned"] = one.delete_owned([1, 2])
            for n, statement in enumerate(one.delete_up_to(1, bound)):
                found[f"{name} up to {n}"] = statement
        found[f"{root.name} old"] = sa.select(root.c.Id).where(purge._has_rows(root))
    cutoff = datetime(2026, 1, 1, tzinfo=UTC)
    found["over"] = sa.select(optimization_session.c.Id).where(purge._is_over(cutoff))
    return found


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_every_statement_is_spelt_for_both_databases_without_limiting_a_delete(dialect):
    for name, statement in statements().items():
        text = compiled(statement, dialect)
        is_delete = text.startswith("DELETE")
        assert is_delete == ("owned" in name or "up to" in name)
        if is_delete:
            assert not {"LIMIT", "TOP", "JOIN", "OFFSET"} & set(text.split())


def test_sql_server_bounds_a_slice_by_offset_and_fetch():
    (sims,) = (
        one for one in purge_tables(optimization_session) if one.table.name.endswith("SimCard")
    )
    text = " ".join(compiled(sims.bound(7, 4000), DIALECTS[0]).split())
    assert "TOP" not in text
    assert re.search(r"ORDER BY \S+\.\[ICCID\] OFFSET :\w+ ROWS FETCH FIRST :\w+ ROWS ONLY$", text)


def test_the_statements_are_t_sql():
    shapes = ("OptimizationM2MDeviceResult", "DeviceSyncReject", "OptimizationSession", "over")
    script = "".join(
        re.sub(r":\w+", "1", compiled(statement, DIALECTS[0])) + ";\n"
        for name, statement in statements().items()
        if name.startswith(shapes)
    )
    assert script.count(";") == 11
    assert sqlfluff.parse(script, dialect="tsql")


def test_the_page_on_maintenance_names_the_tables_in_the_order_in_which_they_are_emptied():
    page = Path("docs/maintenance.md").read_text(encoding="utf-8")
    goes = page.split("**What goes**", 1)[1].split("**What stays**", 1)[0]
    named = [word for word in re.findall(r"\w+", goes) if word in metadata.tables]
    assert named == names((*purge_tables(optimization_session), *purge_tables(device_sync_run)))
    stays = set(re.findall(r"\w+", page.split("**What stays**", 1)[1].split("\n\n", 1)[0]))
    assert stays >= KEPT
