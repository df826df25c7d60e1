"""``usp_Update_Jasper_Device``: the publish of a synchronisation run as a procedure of SQL Server (D2).

It is spelt from the statements of :mod:`core.storage.device_publish`, so that it does what the store
does, for operators and tools that publish a run by hand: one that was staged completely and whose
process died before its publish. The text that a database has stands in a migration; a test holds the
two together, so that a changed step needs a new migration.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from core.storage import device_publish
from core.storage.device_publish import Step
from core.storage.schema import device_sync_run

NAME = "usp_Update_Jasper_Device"

_HEAD = """\
CREATE PROCEDURE usp_Update_Jasper_Device
    @DeviceSyncRunId BIGINT,
    @Today DATE = NULL
AS
BEGIN
SET NOCOUNT ON;
SET XACT_ABORT ON;
DECLARE @run_id BIGINT, @provider_id INT, @period_id INT, @day DATE, @now DATETIME2(6);
DECLARE @kind NVARCHAR(16), @status NVARCHAR(16), @staged_at DATETIME2(6);
DECLARE @devices BIGINT, @usage_rows BIGINT, @kept BIGINT, @removed BIGINT;
SET @run_id = @DeviceSyncRunId;
SET @now = SYSUTCDATETIME();
SET @day = COALESCE(@Today, CAST(@now AS DATE));
SET @usage_rows = 0;
SET @kept = 0;
SET @removed = 0;
BEGIN TRANSACTION;
SELECT @provider_id = ServiceProviderId, @period_id = BillingPeriodId,
    @kind = CASE WHEN ModifiedSince IS NULL THEN Kind ELSE 'incremental' END,
    @status = Status, @staged_at = StagedAt
FROM DeviceSyncRun WITH (UPDLOCK) WHERE Id = @run_id;
IF @status IS NULL
    THROW 50002, 'there is no such synchronisation run', 1;
IF @status = 'failed'
    THROW 50003, 'the synchronisation run has failed: start a new one', 1;
IF @status = 'running' AND @staged_at IS NULL
    THROW 50004, 'the synchronisation run is not staged completely: let it go on first', 1;
IF @status = 'running'
BEGIN
SELECT @devices = COUNT_BIG(*) FROM JasperDeviceStaging WHERE DeviceSyncRunId = @run_id;
IF @kind = 'full' AND @devices = 0 AND EXISTS (
    SELECT * FROM Device WHERE ServiceProviderId = @provider_id AND IsDeleted = 0
)
    THROW 50005, 'the full run staged no device, but some are known: nothing was published', 1;
"""

_TAIL = """\
END;
COMMIT TRANSACTION;
SELECT DeviceCount, DuplicateCount, UsageCount, RemovedCount, KeptCount
FROM DeviceSyncRun WHERE Id = @run_id;
END
"""


def procedure_sql() -> str:
    """Spell the statement that makes the procedure."""
    run = device_sync_run.c
    ending = (
        sa.update(device_sync_run)
        .where(run.Id == sa.bindparam("run_id"))
        .values(
            Status=sa.literal_column("'published'"),
            FinishedAt=sa.literal_column("@now"),
            ListedFrom=device_publish.listed_from(),
            DeviceCount=sa.literal_column("@devices"),
            DuplicateCount=run.StagedCount - sa.literal_column("@devices", sa.BigInteger),
            UsageCount=sa.literal_column("@usage_rows"),
            RemovedCount=sa.literal_column("@removed"),
            KeptCount=sa.literal_column("@kept"),
        )
    )
    body = [
        f"IF EXISTS ({_sql(device_publish.other_forms())})\nBEGIN",
        *_spelt(device_publish.form_steps()),
        "END;",
        *_spelt(device_publish.steps()),
        *_spelt(device_publish.clearing_steps()),
        f"{_sql(ending)};",
    ]
    return _HEAD + "\n".join(body) + "\n" + _TAIL


def _spelt(steps: list[Step]) -> list[str]:
    lines = []
    for step in steps:
        text = f"{_sql(step.statement)};"
        if step.counts_as is not None:
            text += f"\nSET @{step.counts_as} = @{step.counts_as} + @@ROWCOUNT;"
        lines.append(f"IF @kind = 'full'\nBEGIN\n{text}\nEND;" if step.only_full else text)
    return lines


def _sql(statement: sa.ClauseElement) -> str:
    """Spell a statement with T-SQL variables for its parameters."""
    dialect = mssql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    text = re.sub(r":(\w+)", r"@\1", str(statement.compile(dialect=dialect)))
    return "\n".join(line.rstrip() for line in text.splitlines())
