"""What may follow a synchronisation: devices with usage as files for others (C7)."""

from __future__ import annotations

import sqlalchemy as sa

from core.storage.devices import load_devices
from core.storage.records import PeriodRecord, ProviderRecord
from core.sync.export import DeviceExport, export_devices


def export_provider_devices(
    engine: sa.Engine, provider: ProviderRecord, period: PeriodRecord, url: str
) -> DeviceExport:
    """Export a provider's published devices with their usage of a billing period.

    Files are named by provider and start of the period, so that a repetition replaces them.

    Parameters
    ----------
    url
        A folder or ``s3://bucket/prefix``; the setting ``export_url``.

    Raises
    ------
    InputError
        If the address is neither a folder nor one of S3.
    ExportError
        If the files cannot be written there.
    StorageError
        If the database fails.
    """
    devices = load_devices(engine, provider.id, period.id)
    name = f"devices-{provider.id}-{period.start_date.isoformat()}"
    return export_devices(devices, url, name=name, mb_bytes=provider.mb_bytes)
