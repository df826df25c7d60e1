"""One small workbook, read back as cell values and compared with what was agreed.

Where a change is meant: run this test with ``--basetemp=/tmp/golden``, look at the
``report_cells.json`` it leaves there, copy it beside this file, and give the reason in the commit.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from openpyxl import load_workbook

from core.domain import BillingCycle, BillingPolicy
from core.files.inputs import read_inputs
from core.optimisation import optimise_fleet
from core.optimiser.result import SolveParams
from core.reports.meta import ReportMeta
from core.reports.workbook import write_workbook

EXPECTED = Path(__file__).with_name("report_cells.json")

DEVICES = """\
iccid,communication_plan,rate_plan,usage_mb,sms_count,activated_date
89014103211118510720,Meters,SMALL,2,0,
8991101200003204514,Meters,SMALL,130.5,0,2026-01-10
T-03,Trackers,LARGE,0.25,4,
T-04,Trackers,LARGE,260,0,
T-05,Trackers,GONE,1,0,
T-06,Trackers,SMALL,many,0,
"""

RATE_PLANS = """\
code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled,sms_rate
SMALL,1.00,5,0.10,1,no,0.01
LARGE,10.00,100,0.05,1,no,0.01
"""

COMMUNICATION_PLANS = """\
name,rate_plan_codes
Meters,SMALL;LARGE
Trackers,LARGE;SMALL
"""


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, list[list[object]]]:
    """Every cell of the workbook, as ``[value, number format]`` or null where it is empty."""
    for name, content in [("d", DEVICES), ("p", RATE_PLANS), ("c", COMMUNICATION_PLANS)]:
        (tmp_path / f"{name}.csv").write_text(content)
    cycle = BillingCycle(start_date=date(2026, 1, 1), end_date=date(2026, 1, 31))
    inputs = read_inputs(
        *(tmp_path / f"{name}.csv" for name in "dpc"), cycle=cycle, mb_bytes=1 << 20
    )
    outcome = optimise_fleet(
        inputs.fleet,
        inputs.rate_plans,
        inputs.communication_plans,
        BillingPolicy(cycle=cycle),
        SolveParams(),
        max_rate_plans=15,
        max_sequences=64,
        workers=1,
    )
    meta = ReportMeta(
        generated_at=datetime(2026, 1, 31, 12, tzinfo=UTC),
        elapsed_seconds=1.0,
        provider="Acme Telematics",
        period="2026-01-01 to 2026-01-31",
        currency="USD",
        cycle=cycle,
        warnings=inputs.warnings,
        notes=inputs.notes,
    )
    path = tmp_path / "report.xlsx"
    write_workbook(path, outcome, inputs.rejects, meta)
    found = {
        sheet.title: [
            [None if cell.value is None else [cell.value, cell.number_format] for cell in row]
            for row in sheet.iter_rows()
        ]
        for sheet in load_workbook(path)
    }
    text = json.dumps(found, indent=1, ensure_ascii=False, default=str)
    (tmp_path / EXPECTED.name).write_text(text + "\n", encoding="utf-8")
    read_back: dict[str, list[list[object]]] = json.loads(text)
    return read_back


def test_the_workbook_holds_what_was_agreed(cells):
    assert cells == json.loads(EXPECTED.read_text(encoding="utf-8"))
