"""The clean-up, statistics and index statements that operators have name what is there (D2)."""

from __future__ import annotations

import pytest
import sqlfluff

from core.storage.schema import metadata

OLD = "RunStartTime < DATEADD(DAY, -90, GETUTCDATE())"
RESULT_DELETE = (
    "DELETE FROM {} WHERE QueueId IN (SELECT q.Id FROM OptimizationQueue q "
    f"JOIN OptimizationInstance i ON q.InstanceId = i.Id WHERE i.{OLD})"
)
STATEMENTS = [
    f"DELETE FROM OptimizationInstance WHERE {OLD} AND RunStatusId IN (2, 3)",
    RESULT_DELETE.format("OptimizationM2MDeviceResult"),
    RESULT_DELETE.format("OptimizationMobilityDeviceResult"),
    "UPDATE STATISTICS OptimizationInstance",
    "UPDATE STATISTICS OptimizationQueue",
    "UPDATE STATISTICS OptimizationM2MDeviceResult",
    "UPDATE STATISTICS OptimizationMobilityDeviceResult",
    "UPDATE STATISTICS ServiceProvider WITH FULLSCAN",
    "UPDATE STATISTICS CarrierRatePlan WITH FULLSCAN",
    (
        "CREATE INDEX IX_OptimizationInstance_RunStartTime ON OptimizationInstance (RunStartTime) "
        "INCLUDE (Id, RunStatusId, ServiceProviderId)"
    ),
    (
        "CREATE INDEX IX_OptimizationQueue_CommPlanGroupId ON OptimizationQueue (CommPlanGroupId) "
        "INCLUDE (Id, TotalCost, RunEndTime)"
    ),
    (
        "CREATE INDEX IX_OptimizationSimCard_InstanceId ON OptimizationSimCard (InstanceId) "
        "INCLUDE (Id, ICCID, CycleDataUsageMB)"
    ),
]
NO_COLUMNS = {"DAY"}  # the unit of DATEADD, which the parser takes for one


def texts(tree, wanted):
    """Yield the text of every part of a kind, wherever it stands in a parsed statement."""
    if isinstance(tree, list):
        for part in tree:
            yield from texts(part, wanted)
    elif isinstance(tree, dict):
        for kind, part in tree.items():
            if kind == wanted:
                yield "".join(leaves(part))
            else:
                yield from texts(part, wanted)


def leaves(tree):
    if isinstance(tree, str):
        yield tree
    elif tree is not None:
        for part in tree if isinstance(tree, list) else tree.values():
            yield from leaves(part)


def named(statement):
    """Tables and columns that a statement names, without aliases."""
    tree = sqlfluff.parse(statement + ";", dialect="tsql")
    tables = {*texts(tree, "table_reference"), *texts(tree, "object_reference")}
    columns = {text.rsplit(".", 1)[-1] for text in texts(tree, "column_reference")}
    return tables, columns - NO_COLUMNS


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_operators_names_tables_and_columns_that_are_there(statement):
    tables, columns = named(statement)
    assert tables
    assert tables <= metadata.tables.keys()
    there = {column for table in tables for column in metadata.tables[table].columns.keys()}  # noqa: SIM118 - it is no dict
    assert columns <= there
    assert bool(columns) == ("STATISTICS" not in statement)


def test_a_name_that_is_not_there_is_found():
    tables, columns = named("DELETE FROM Gone WHERE LostColumn = 1 AND g.Other IN (SELECT 1)")
    assert (tables, columns) == ({"Gone"}, {"LostColumn", "Other"})


@pytest.mark.parametrize(
    ("table", "index", "leading"),
    [
        ("OptimizationInstance", "IX_OptimizationInstance_RunStartTime", "RunStartTime"),
        ("OptimizationQueue", "IX_OptimizationQueue_CommPlanGroupId", "CommPlanGroupId"),
        ("OptimizationSimCard", "IX_OptimizationSimCard_InstanceId", "InstanceId"),
    ],
)
def test_the_indexes_that_operators_would_add_are_there(table, index, leading):
    (found,) = (one for one in metadata.tables[table].indexes if one.name == index)
    assert next(iter(found.columns)).name == leading
