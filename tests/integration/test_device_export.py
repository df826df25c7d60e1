"""Devices with usage as files that `optimize` reads back, in a folder and on S3 (C7)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest
import sqlalchemy as sa
from moto.server import ThreadedMotoServer

from core.domain import BillingCycle
from core.errors import ExportError, InputError
from core.files.devices import Catalogue, read_devices
from core.stages.exporting import export_provider_devices
from core.storage.audit import Author
from core.storage.catalogue_changes import add_period, add_provider
from core.storage.devices import DEVICE_SCHEMA
from core.storage.engine import insert_row, open_engine, writing
from core.storage.migrate import upgrade
from core.storage.records import ProviderSettings
from core.storage.schema import device, device_sync_run, device_usage
from core.sync.export import export_devices
from core.sync.export_table import EXPORT_SCHEMA

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CYCLE = BillingCycle(start_date=date(2026, 11, 1), end_date=date(2026, 11, 30))
MB = 1 << 20


def devices(*rows):
    """Rows of iccid, rate plan, communication plan, usage; the rest is the same for all."""
    full = [
        (iccid, "ACTIVATED", plan, comm, usage, 1, 61, date(2026, 11, 5), usage is not None)
        for iccid, plan, comm, usage in rows
    ]
    return pl.DataFrame(full, schema=DEVICE_SCHEMA, orient="row")


def read_back(path, mb_bytes, codes=("A",)):
    catalogue = Catalogue(usable_codes=codes, refused_codes=(), communication_plans=None)
    return read_devices(path, catalogue=catalogue, cycle=CYCLE, mb_bytes=mb_bytes)


@pytest.fixture
def bucket(monkeypatch):
    """A server that speaks S3, with the bucket `fleet`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="fleet")
    yield client
    client.close()
    server.stop()


@pytest.mark.parametrize("mb_bytes", [MB, 1_000_000])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_byte_comes_back_through_optimize_s_reader(tmp_path, mb_bytes, kind):
    usages = [0, 1, 3, 7, 99, 1_000_001, MB - 1, MB, MB + 1, 10**12 + 7, (1 << 50) - 1, 1 << 50]
    usages += [(k * 2_654_435_761) % (1 << 41) for k in range(1000)]
    table = devices(*((f"S{k:05d}", "A", "C", usage) for k, usage in enumerate(usages)))
    done = export_devices(table, str(tmp_path), name="fleet", mb_bytes=mb_bytes)
    found = read_back(tmp_path / f"fleet.{kind}", mb_bytes)
    assert found.rejects.is_empty()
    same = ("iccid", "rate_plan", "communication_plan", "usage_bytes", "sms_count")
    same += ("voice_seconds", "activated_date")
    assert found.fleet.select(same).equals(table.select(same))
    assert any("ignored columns: status, usage_bytes" in note for note in found.notes)
    assert (done.rows, done.guarded_values) == (len(usages), 0)
    assert (done.csv, done.parquet) == (
        str(tmp_path / "fleet.csv"),
        str(tmp_path / "fleet.parquet"),
    )


def test_usage_that_was_not_reported_is_empty_and_not_zero(tmp_path):
    table = devices(("1", "A", "C", None), ("2", "A", None, 0), ("3", None, "C", MB // 4))
    export_devices(table, str(tmp_path), name="fleet", mb_bytes=MB)
    lines = (tmp_path / "fleet.csv").read_text().splitlines()
    assert lines[0] == ",".join(EXPORT_SCHEMA)
    assert lines[1:] == [
        "1,ACTIVATED,A,C,,,1,61,2026-11-05",
        "2,ACTIVATED,A,,0,0,1,61,2026-11-05",
        "3,ACTIVATED,,C,262144,0.25,1,61,2026-11-05",
    ]
    parquet = pl.read_parquet(tmp_path / "fleet.parquet")
    assert dict(parquet.schema) == EXPORT_SCHEMA
    assert parquet["usage_mb"].to_list() == [None, "0", "0.25"]


def test_texts_that_a_spreadsheet_would_run_are_guarded_in_csv_only(tmp_path):
    plans = ["=1+1", "+A", "-A", "@A", "\tA", "\rA", "A=1", "'A"]
    table = devices(*((f"S{k}", plan, "C", 5 * MB) for k, plan in enumerate(plans)))
    done = export_devices(table, str(tmp_path), name="fleet", mb_bytes=MB)
    assert done.guarded_values == 6
    found = pl.read_csv(tmp_path / "fleet.csv")
    assert found["rate_plan"].to_list() == [f"'{plan}" for plan in plans[:6]] + plans[6:]
    assert found["usage_mb"].to_list() == [5] * 8
    assert pl.read_parquet(tmp_path / "fleet.parquet")["rate_plan"].to_list() == plans


def test_slices_of_the_csv_are_one_file(tmp_path, monkeypatch):
    table = devices(*((f"S{k}", "A", "C", k) for k in range(10)))
    export_devices(table, str(tmp_path), name="whole", mb_bytes=MB)
    monkeypatch.setattr("core.sync.export.CSV_SLICE_ROWS", 3)
    export_devices(table, str(tmp_path), name="cut", mb_bytes=MB)
    export_devices(table.clear(), str(tmp_path), name="none", mb_bytes=MB)
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert (tmp_path / "none.csv").read_text() == ",".join(EXPORT_SCHEMA) + "\n"


def test_an_export_that_fails_leaves_the_last_one_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "folder"
    export_devices(devices(("1", "A", "C", 1)), str(folder), name="fleet", mb_bytes=MB)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(self, *_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(ExportError, match="cannot be written to: No space left on device"):
        export_devices(devices(("2", "A", "C", 1)), str(folder), name="fleet", mb_bytes=MB)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_an_export_to_s3_is_the_same_files(tmp_path, bucket):
    table = devices(("1", "A", "C", 7), ("2", "=A", None, None))
    export_devices(table, str(tmp_path), name="fleet", mb_bytes=MB)
    done = export_devices(table, "s3://fleet/some/prefix/", name="fleet", mb_bytes=MB)
    assert done.csv == "s3://fleet/some/prefix/fleet.csv"
    assert done.parquet == "s3://fleet/some/prefix/fleet.parquet"
    for kind in ("csv", "parquet"):
        stored = bucket.get_object(Bucket="fleet", Key=f"some/prefix/fleet.{kind}")
        assert stored["Body"].read() == (tmp_path / f"fleet.{kind}").read_bytes()
    with pytest.raises(ExportError, match=r"cannot be written to s3://nowhere/: .*NoSuchBucket"):
        export_devices(table, "s3://nowhere", name="fleet", mb_bytes=MB)


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "s3://", "s3://key:secret-7f@bucket/x", "s3://b/x?token=secret-7f"],
)
def test_other_addresses_are_refused_and_not_repeated(url):
    with pytest.raises(InputError, match="write a folder or s3://bucket/prefix") as refused:
        export_devices(devices(), url, name="fleet", mb_bytes=MB)
    assert "secret-7f" not in str(refused.value)


def test_a_provider_is_exported_with_the_usage_of_the_period(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'fleet.db'}")
    upgrade(engine)
    author = Author(actor="test")
    settings = ProviderSettings(
        name="Acme",
        tenant="T",
        integration="jasper",
        base_url="https://rest.example.com",
        credential_ref="env:ACME",
        time_zone="UTC",
        mb_bytes=1_000_000,
    )
    provider = add_provider(engine, settings, now=NOW, author=author)
    period = add_period(
        engine, provider.id, CYCLE.start_date, CYCLE.end_date, now=NOW, author=author
    )
    sync = {"Kind": "full", "Status": "published", "StartedAt": NOW}
    with writing(engine) as connection:
        run_id = insert_row(connection, device_sync_run, ServiceProviderId=provider.id, **sync)
    common = {"ServiceProviderId": provider.id, "LastSyncRunId": run_id, "ModifiedDate": NOW}
    usage = {"SmsCount": 2, "VoiceSeconds": 3, "ReportedAt": NOW, "UsageBytes": 1_500_000}
    with writing(engine) as connection:
        for iccid, comm, is_deleted in (("1", "C", False), ("2", None, False), ("3", "C", True)):
            row = {"ICCID": iccid, "Status": "ACTIVATED", "CommunicationPlan": comm, **common}
            connection.execute(sa.insert(device).values(**row, IsDeleted=is_deleted))
        connection.execute(
            sa.insert(device_usage).values(
                ServiceProviderId=provider.id, BillingPeriodId=period.id, ICCID="1", **usage
            )
        )
    done = export_provider_devices(engine, provider, period, str(tmp_path / "out"))
    engine.dispose()
    assert done.csv.endswith(f"devices-{provider.id}-2026-11-01.csv")
    assert pl.read_parquet(done.parquet).rows() == [
        ("1", "ACTIVATED", None, "C", 1_500_000, "1.5", 2, 3, None),
        ("2", "ACTIVATED", None, None, None, None, None, None, None),
    ]
