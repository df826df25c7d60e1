"""Whether the workbook lists every SIM (R2); apart, so that a command line can name it at once."""

from __future__ import annotations

from enum import StrEnum

MAX_AUTO_SIMS = 100_000
"""Most SIMs that ``DeviceSheets.AUTO`` lists."""


class DeviceSheets(StrEnum):
    """Which SIMs the workbook lists."""

    AUTO = "auto"
    """Up to ``MAX_AUTO_SIMS`` SIMs; above, the workbook points to ``assignments.parquet``."""
    ALL = "all"
    """All, over as many sheets as it takes."""
    NONE = "none"
    """None."""
