"""On SQL Server the procedure that publishes a run, which counts no days of a past cycle any more (U1)."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PROCEDURE = """\
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
IF EXISTS (SELECT [Device].[ICCID]
FROM [Device], [JasperDeviceStaging]
WHERE [Device].[ServiceProviderId] = @provider_id AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND [JasperDeviceStaging].[MatchKey] = substring([Device].[ICCID], 1, 19) AND [JasperDeviceStaging].[ICCID] != [Device].[ICCID])
BEGIN
UPDATE [DeviceUsage] SET [ICCID]=[JasperDeviceStaging].[ICCID] FROM [DeviceUsage], [JasperDeviceStaging] WHERE [DeviceUsage].[ServiceProviderId] = @provider_id AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND [JasperDeviceStaging].[MatchKey] = substring([DeviceUsage].[ICCID], 1, 19) AND [JasperDeviceStaging].[ICCID] != [DeviceUsage].[ICCID] AND [DeviceUsage].[ICCID] IN (SELECT [Device].[ICCID]
FROM [Device], [JasperDeviceStaging]
WHERE [Device].[ServiceProviderId] = @provider_id AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND [JasperDeviceStaging].[MatchKey] = substring([Device].[ICCID], 1, 19) AND [JasperDeviceStaging].[ICCID] != [Device].[ICCID]) AND NOT (EXISTS (SELECT *
FROM [DeviceUsage] AS [DeviceUsage_1]
WHERE [DeviceUsage_1].[ServiceProviderId] = @provider_id AND [DeviceUsage_1].[BillingPeriodId] = [DeviceUsage].[BillingPeriodId] AND [DeviceUsage_1].[ICCID] = [JasperDeviceStaging].[ICCID]));
UPDATE [Device] SET [ICCID]=[JasperDeviceStaging].[ICCID] FROM [Device], [JasperDeviceStaging] WHERE [Device].[ServiceProviderId] = @provider_id AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND [JasperDeviceStaging].[MatchKey] = substring([Device].[ICCID], 1, 19) AND [JasperDeviceStaging].[ICCID] != [Device].[ICCID] AND NOT (EXISTS (SELECT *
FROM [Device] AS [Device_1]
WHERE [Device_1].[ServiceProviderId] = @provider_id AND [Device_1].[ICCID] = [JasperDeviceStaging].[ICCID]));
UPDATE [Device] SET [IsActive]=0, [IsDeleted]=1, [ModifiedDate]=@now FROM [Device], [JasperDeviceStaging] WHERE [Device].[ServiceProviderId] = @provider_id AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND [JasperDeviceStaging].[MatchKey] = substring([Device].[ICCID], 1, 19) AND [JasperDeviceStaging].[ICCID] != [Device].[ICCID];
END;
UPDATE [Device] SET [Status]=[JasperDeviceStaging].[Status], [RatePlan]=[JasperDeviceStaging].[RatePlan], [CommunicationPlan]=[JasperDeviceStaging].[CommunicationPlan], [ActivatedDate]=coalesce([JasperDeviceStaging].[ActivatedDate], [Device].[ActivatedDate]), [IsActive]=1, [IsDeleted]=0, [LastSyncRunId]=@run_id, [ModifiedDate]=@now FROM [Device], [JasperDeviceStaging] WHERE [Device].[ServiceProviderId] = @provider_id AND [Device].[ICCID] = [JasperDeviceStaging].[ICCID] AND [JasperDeviceStaging].[DeviceSyncRunId] = @run_id;
INSERT INTO [Device] ([ICCID], [Status], [RatePlan], [CommunicationPlan], [ActivatedDate], [ServiceProviderId], [LastSyncRunId], [ModifiedDate]) SELECT [JasperDeviceStaging].[ICCID], [JasperDeviceStaging].[Status], [JasperDeviceStaging].[RatePlan], [JasperDeviceStaging].[CommunicationPlan], [JasperDeviceStaging].[ActivatedDate], @provider_id AS anon_1, @run_id AS anon_2, @now AS anon_3
FROM [JasperDeviceStaging]
WHERE [JasperDeviceStaging].[DeviceSyncRunId] = @run_id AND NOT (EXISTS (SELECT *
FROM [Device]
WHERE [Device].[ServiceProviderId] = @provider_id AND [Device].[ICCID] = [JasperDeviceStaging].[ICCID]));
UPDATE [JasperUsageStaging] SET [ICCID]=[Device].[ICCID] FROM [JasperUsageStaging], [Device] WHERE [JasperUsageStaging].[DeviceSyncRunId] = @run_id AND [Device].[ServiceProviderId] = @provider_id AND [Device].[ICCID] BETWEEN [JasperUsageStaging].[MatchKey] AND [JasperUsageStaging].[MatchKey] + '9' AND [Device].[IsDeleted] = 0 AND [JasperUsageStaging].[MatchKey] = substring([Device].[ICCID], 1, 19) AND [JasperUsageStaging].[ICCID] != [Device].[ICCID];
DELETE FROM [JasperUsageStaging] WHERE [JasperUsageStaging].[DeviceSyncRunId] = @run_id AND [JasperUsageStaging].[RatePlan] != '' AND (EXISTS (SELECT *
FROM [JasperUsageStaging] AS [JasperUsageStaging_1]
WHERE [JasperUsageStaging_1].[DeviceSyncRunId] = @run_id AND [JasperUsageStaging_1].[BillingPeriodId] = [JasperUsageStaging].[BillingPeriodId] AND [JasperUsageStaging_1].[MatchKey] = [JasperUsageStaging].[MatchKey] AND [JasperUsageStaging_1].[RatePlan] = ''));
UPDATE [DeviceUsage] SET [UsageBytes]=[Sums].[UsageBytes], [SmsCount]=[Sums].[SmsCount], [VoiceSeconds]=[Sums].[VoiceSeconds], [DaysWithUsage]=CASE WHEN ([Sums].[BillingPeriodId] IN (SELECT [BillingPeriod].[Id]
FROM [BillingPeriod]
WHERE [BillingPeriod].[Id] = @period_id AND [BillingPeriod].[BillingPeriodStart] <= @day AND [BillingPeriod].[BillingPeriodEnd] >= @day) AND [DeviceUsage].[UsageBytes] < [Sums].[UsageBytes] AND ([DeviceUsage].[LastGrowthDate] IS NULL OR [DeviceUsage].[LastGrowthDate] < @day)) THEN [DeviceUsage].[DaysWithUsage] + 1 ELSE [DeviceUsage].[DaysWithUsage] END, [LastGrowthDate]=CASE WHEN ([Sums].[BillingPeriodId] IN (SELECT [BillingPeriod].[Id]
FROM [BillingPeriod]
WHERE [BillingPeriod].[Id] = @period_id AND [BillingPeriod].[BillingPeriodStart] <= @day AND [BillingPeriod].[BillingPeriodEnd] >= @day) AND [DeviceUsage].[UsageBytes] < [Sums].[UsageBytes]) THEN @day ELSE [DeviceUsage].[LastGrowthDate] END, [ReportedAt]=@now FROM [DeviceUsage], (SELECT [JasperUsageStaging].[BillingPeriodId] AS [BillingPeriodId], max([JasperUsageStaging].[ICCID]) AS [ICCID], sum([JasperUsageStaging].[UsageBytes]) AS [UsageBytes], sum([JasperUsageStaging].[SmsCount]) AS [SmsCount], sum([JasperUsageStaging].[VoiceSeconds]) AS [VoiceSeconds]
FROM [JasperUsageStaging]
WHERE [JasperUsageStaging].[DeviceSyncRunId] = @run_id GROUP BY [JasperUsageStaging].[BillingPeriodId], [JasperUsageStaging].[MatchKey]) AS [Sums] WHERE [DeviceUsage].[ServiceProviderId] = @provider_id AND [DeviceUsage].[BillingPeriodId] = [Sums].[BillingPeriodId] AND [DeviceUsage].[ICCID] = [Sums].[ICCID];
SET @usage_rows = @usage_rows + @@ROWCOUNT;
INSERT INTO [DeviceUsage] ([BillingPeriodId], [ICCID], [UsageBytes], [SmsCount], [VoiceSeconds], [ServiceProviderId], [ReportedAt], [DaysWithUsage], [LastGrowthDate]) SELECT [Sums].[BillingPeriodId], [Sums].[ICCID], [Sums].[UsageBytes], [Sums].[SmsCount], [Sums].[VoiceSeconds], @provider_id AS anon_1, @now AS anon_2, CASE WHEN ([Sums].[BillingPeriodId] IN (SELECT [BillingPeriod].[Id]
FROM [BillingPeriod]
WHERE [BillingPeriod].[Id] = @period_id AND [BillingPeriod].[BillingPeriodStart] <= @day AND [BillingPeriod].[BillingPeriodEnd] >= @day) AND [Sums].[UsageBytes] > 0) THEN 1 WHEN ([Sums].[BillingPeriodId] IN (SELECT [BillingPeriod].[Id]
FROM [BillingPeriod]
WHERE [BillingPeriod].[Id] = @period_id AND [BillingPeriod].[BillingPeriodStart] <= @day AND [BillingPeriod].[BillingPeriodEnd] >= @day)) THEN 0 END AS anon_3, CASE WHEN ([Sums].[BillingPeriodId] IN (SELECT [BillingPeriod].[Id]
FROM [BillingPeriod]
WHERE [BillingPeriod].[Id] = @period_id AND [BillingPeriod].[BillingPeriodStart] <= @day AND [BillingPeriod].[BillingPeriodEnd] >= @day) AND [Sums].[UsageBytes] > 0) THEN @day END AS anon_4
FROM (SELECT [JasperUsageStaging].[BillingPeriodId] AS [BillingPeriodId], max([JasperUsageStaging].[ICCID]) AS [ICCID], sum([JasperUsageStaging].[UsageBytes]) AS [UsageBytes], sum([JasperUsageStaging].[SmsCount]) AS [SmsCount], sum([JasperUsageStaging].[VoiceSeconds]) AS [VoiceSeconds]
FROM [JasperUsageStaging]
WHERE [JasperUsageStaging].[DeviceSyncRunId] = @run_id GROUP BY [JasperUsageStaging].[BillingPeriodId], [JasperUsageStaging].[MatchKey]) AS [Sums]
WHERE NOT (EXISTS (SELECT *
FROM [DeviceUsage]
WHERE [DeviceUsage].[ServiceProviderId] = @provider_id AND [DeviceUsage].[BillingPeriodId] = [Sums].[BillingPeriodId] AND [DeviceUsage].[ICCID] = [Sums].[ICCID]));
SET @usage_rows = @usage_rows + @@ROWCOUNT;
IF @kind = 'full'
BEGIN
UPDATE [Device] SET [LastSyncRunId]=@run_id WHERE [Device].[ServiceProviderId] = @provider_id AND [Device].[LastSyncRunId] != @run_id AND [Device].[IsDeleted] = 0 AND substring([Device].[ICCID], 1, 19) IN (SELECT substring([DeviceSyncReject].[ICCID], 1, 19) AS substring_1
FROM [DeviceSyncReject]
WHERE [DeviceSyncReject].[DeviceSyncRunId] = @run_id AND [DeviceSyncReject].[Source] = 'devices' AND [DeviceSyncReject].[ICCID] IS NOT NULL);
SET @kept = @kept + @@ROWCOUNT;
END;
IF @kind = 'full'
BEGIN
UPDATE [Device] SET [IsActive]=0, [IsDeleted]=1, [ModifiedDate]=@now WHERE [Device].[ServiceProviderId] = @provider_id AND [Device].[LastSyncRunId] != @run_id AND [Device].[IsDeleted] = 0;
SET @removed = @removed + @@ROWCOUNT;
END;
DELETE FROM [JasperDeviceStaging] WHERE [JasperDeviceStaging].[DeviceSyncRunId] = @run_id;
DELETE FROM [JasperUsageStaging] WHERE [JasperUsageStaging].[DeviceSyncRunId] = @run_id;
UPDATE [DeviceSyncRun] SET [Status]='published', [ListedFrom]=CASE WHEN ([DeviceSyncRun].[ListedFrom] IS NULL AND [DeviceSyncRun].[Kind] = 'incremental') THEN (SELECT anon_1.[ListedFrom]
FROM (SELECT [DeviceSyncRun_1].[ListedFrom] AS [ListedFrom], ROW_NUMBER() OVER (ORDER BY [DeviceSyncRun_1].[StartedAt] DESC, [DeviceSyncRun_1].[Id] DESC) AS mssql_rn
FROM [DeviceSyncRun] AS [DeviceSyncRun_1]
WHERE [DeviceSyncRun_1].[ServiceProviderId] = @provider_id AND [DeviceSyncRun_1].[Status] = 'published') AS anon_1
WHERE mssql_rn <= 1) ELSE [DeviceSyncRun].[ListedFrom] END, [FinishedAt]=@now, [DeviceCount]=@devices, [DuplicateCount]=([DeviceSyncRun].[StagedCount] - @devices), [UsageCount]=@usage_rows, [RemovedCount]=@removed, [KeptCount]=@kept WHERE [DeviceSyncRun].[Id] = @run_id;
END;
COMMIT TRANSACTION;
SELECT DeviceCount, DuplicateCount, UsageCount, RemovedCount, KeptCount
FROM DeviceSyncRun WHERE Id = @run_id;
END
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "mssql":
        op.execute("DROP PROCEDURE usp_Update_Jasper_Device")
        op.execute(PROCEDURE)
