"""What docs/optimiser.md shows: its example, and the check by hand that it invites to (O2, O3)."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from core.optimiser.result import SolveParams

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/optimiser.md").read_text(encoding="utf-8")
FLEET = ROOT / "examples/fleet-2000"

LIMITS = """\
locked: ["89014103270100000058"]
plans:
  FLEX-10MB: {max: 3}
  SHARE-1GB: {min: 2}
max_changes: 35
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def optimise(folder, *options):
    from cli.main import main

    words = ["carrier-opt", "optimize", "--device-sheets", "none", "--out", folder / "my-report"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in (*words, *options)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    return folder


def run_by_hand(folder):
    """Bounds of the units of ``folder/my-report``, as the page's program derives them."""
    (program,) = blocks("python")
    names: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(program, "docs/optimiser.md", "exec"), names)  # noqa: S102 - our own page
    return names["bounds"]


def document_of(folder):
    return json.loads((folder / "my-report/certificate.json").read_text(encoding="utf-8"))


def tampered(folder, tmp_path, change):
    """Copy a result, with one of its units changed."""
    shutil.copytree(folder / "my-report", tmp_path / "my-report")
    document = document_of(tmp_path)
    change(document["units"][0])
    (tmp_path / "my-report/certificate.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Optimise the five SIMs of the page."""
    folder = tmp_path_factory.mktemp("five")
    for name, text in zip(("devices.csv", "rate_plans.csv"), blocks("csv"), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return optimise(
        folder, "--devices", folder / "devices.csv", "--rate-plans", folder / "rate_plans.csv"
    )


@pytest.fixture(scope="module", params=["", LIMITS], ids=["without limits", "with limits"])
def thinned(request, tmp_path_factory):
    """Optimise some SIMs of the example fleet: pools, individual and prorated plans, SMS, voice."""
    folder = tmp_path_factory.mktemp("fleet")
    heading, *lines = (FLEET / "devices.csv").read_text(encoding="utf-8").splitlines()
    talkers = [line.split(",") for line in lines[1:29]]  # beyond what any plan includes
    talkers = [",".join([*cells[:4], "40", "36001", cells[6]]) for cells in talkers]
    text = "\n".join([heading, *lines[::30], *talkers])
    (folder / "devices.csv").write_text(text, encoding="utf-8")
    options = []
    if request.param:
        (folder / "limits.yaml").write_text(request.param, encoding="utf-8")
        options = ["--constraints", folder / "limits.yaml"]
    return optimise(
        folder, "--devices", folder / "devices.csv",
        "--rate-plans", FLEET / "rate_plans.csv",
        "--communication-plans", FLEET / "communication_plans.csv",
        "--cycle-start", "2026-10-01", "--cycle-end", "2026-10-31", *options,
    )  # fmt: skip


def test_the_example_is_what_the_product_writes(example):
    (shown,) = map(json.loads, blocks("json"))
    (written,) = document_of(example)["units"]
    pairs = zip(
        shown["certificate"].pop("pool_multipliers"),
        written["certificate"].pop("pool_multipliers"),
        strict=True,
    )
    assert all(abs(int(ours) - int(theirs)) <= 1000 for ours, theirs in pairs)  # floats, cut off
    assert shown == written
    summary = json.loads((example / "my-report/summary.json").read_text(encoding="utf-8"))
    assert summary["units"][0]["status"] == "optimal"


def test_the_check_by_hand_confirms_the_example(example):
    assert run_by_hand(example) == {"U0001": 12_000_000}


def test_the_check_by_hand_confirms_pools_limits_messages_and_prorated_plans(thinned):
    units = document_of(thinned)["units"]
    claimed = {unit["unit_id"]: int(unit["certificate"]["bound_micros"]) for unit in units}
    assert run_by_hand(thinned) == claimed
    multipliers = [value for unit in units for value in unit["certificate"]["pool_multipliers"]]
    assert any(int(value) for value in multipliers)
    if units[0]["constraints"]["max_changes"] is not None:
        certificate = units[0]["certificate"]
        assert int(certificate["change_multiplier"]) > 0
        assert certificate["plan_multipliers"]


def test_the_check_by_hand_refuses_a_bound_that_is_too_high(example, tmp_path):
    def raise_bound(unit):
        unit["certificate"]["bound_micros"] = "12000001"

    with pytest.raises(AssertionError, match="U0001"):
        run_by_hand(tampered(example, tmp_path, raise_bound))


def test_the_check_by_hand_refuses_a_multiplier_outside_the_box(example, tmp_path):
    def leave_box(unit):
        unit["certificate"]["pool_multipliers"][0] = str(2 * 134217728000000 + 1)

    with pytest.raises(AssertionError, match="outside the box"):
        run_by_hand(tampered(example, tmp_path, leave_box))


def test_the_table_of_budgets_has_the_defaults_and_shares_of_the_product():
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+|true) \|", PAGE, re.MULTILINE))
    params = SolveParams()
    for name, text in rows.items():
        assert str(getattr(params, name)).lower() == text.replace(",", "")
    left_out = set(SolveParams.__dataclass_fields__) - set(rows)
    assert left_out == {"strategies", "skip_lower_cost_check"}
    many = params.for_run(100)
    assert (many.repair_pairs, many.repair_kicks, many.polish_nodes) == (400_000, 30, 20)
    crowded = params.for_run(10_000)
    assert (crowded.repair_pairs, crowded.repair_kicks, crowded.polish_nodes) == (20_000, 0, 0)


def test_every_file_of_the_optimiser_is_in_the_table_of_files():
    files = {path.name for path in (ROOT / "core/optimiser").glob("*.py")} - {"__init__.py"}
    named = set(re.findall(r"`(\w+\.py)`", PAGE.split("## 12. Files")[1]))
    assert files <= named
