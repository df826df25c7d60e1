"""`carrier-opt verify`: sound files pass, every kind of tampering is found (O3)."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from core import optimisation
from core.optimiser.check import certify
from core.optimiser.solve import solve
from core.reports.certificate_file import INPUT_COLUMNS, fleet_hash

DEVICES = """\
iccid,communication_plan,rate_plan,usage_mb,sms_count,voice_seconds,activated_date
S01,A,P-LARGE,0.5,3,61,2026-01-10
S02,A,P-SMALL,130,0,0,
S03,A,P-SMALL,2,0,0,
S04,B,P-SMALL,40,0,0,
S05,B,P-POOL,900.25,0,0,
S06,B,P-POOL,10,0,0,2026-01-03
S07,C,P-SMALL,3,0,0,
S08,A,P-GONE,3,0,0,
"""

RATE_PLANS = """\
code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled,is_prorated,sms_rate,voice_rate
P-SMALL,1.00,5,0.10,1,no,no,0.05,0.01
P-LARGE,10.00,100,0.05,1,no,yes,0.05,0.01
P-POOL,6.00,500,0.02,1,yes,yes,0.05,0.01
"""

COMMUNICATION_PLANS = """\
name,rate_plan_codes
A,P-SMALL;P-LARGE
B,P-SMALL;P-POOL
C,P-LARGE;P-SMALL
"""


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


def certified_solve(problem, params):
    """The solver's answer with a certificate at half the box, whatever it had."""
    result = solve(problem, params)
    rates, blocks = problem.pool_tier_rate_micros[:, -1].tolist(), problem.pool_block_bytes.tolist()
    half = [(rate << 40) // block // 2 for rate, block in zip(rates, blocks, strict=True)]
    none = [0] * len(problem.tariff.codes)
    certificate = certify(problem, result.assignment, result.cost_micros, 40, half, none, 0)
    bound = certificate.bound_micros
    return replace(result, certificate=certificate, lower_bound_micros=bound)


def command(*arguments):
    from cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["carrier-opt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The files of one run with certificates."""
    folder = tmp_path_factory.mktemp("verify")
    (folder / "devices.csv").write_text(DEVICES)
    (folder / "plans.csv").write_text(RATE_PLANS)
    (folder / "comm.csv").write_text(COMMUNICATION_PLANS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimisation, "solve", certified_solve)
        code = command(
            "optimize", "--devices", folder / "devices.csv", "--rate-plans", folder / "plans.csv",
            "--communication-plans", folder / "comm.csv", "--cycle-start", "2026-01-01",
            "--cycle-end", "2026-01-31", "--out", folder / "out",
        )  # fmt: skip
    assert code == 0
    return folder / "out"


@pytest.fixture
def out(results, tmp_path):
    """A copy that a test may tamper with."""
    return Path(shutil.copytree(results, tmp_path / "out"))


@pytest.fixture
def verify(capsys):
    def run(out, *flags):
        capsys.readouterr()
        code = command("verify", "--out", out, *flags)
        captured = capsys.readouterr()
        return Run(code=code, out=captured.out, err=captured.err)

    return run


def test_the_files_of_a_run_hold(verify, out):
    run = verify(out)
    assert (run.code, run.err) == (0, "")
    lines = [line.split("\t") for line in run.out.splitlines()]
    assert [line[0] for line in lines] == [
        "unit",
        "U0001",
        "U0002",
        "total",
        "SIMs without a price, in no unit: 1 of 8",
    ]
    assert {line[-1] for line in lines[1:-1]} == {"holds"}
    shown = json.loads(verify(out, "--json").out)
    summary = json.loads((out / "summary.json").read_text())
    assert [unit["lower_bound"] for unit in shown] == [
        unit["lower_bound"] for unit in summary["units"]
    ]
    assert None not in [unit["lower_bound"] for unit in shown]


def test_the_summary_may_be_missing_and_a_unit_may_have_no_bound(verify, out):
    (out / "summary.json").unlink()
    change_document(out, lambda document: document["units"][1].update(certificate=None))
    assert "next_best_rate_plan of SIM S04 is P-SMALL, by the multipliers None" in verify(out).err
    columns = ("next_best_rate_plan", "next_best_reduced_cost_micros")
    without = [pl.when(pl.col("unit_id") != "U0002").then(pl.col(name)) for name in columns]
    change_rows(out, lambda rows: rows.with_columns(without))
    run = verify(out)
    assert run.code == 0
    assert run.out.splitlines()[2].split("\t")[3] == "unknown"


def test_without_a_certificate_no_sim_changes_under_a_least_saving_per_change(verify, out):
    change_document(out, lambda document: document["units"][1].update(certificate=None))
    change_document(
        out,
        lambda document: document["units"][1]["constraints"].update(min_saving_per_change_micros=1),
    )
    assert "under a least saving per change, and it has no certificate" in verify(out).err


def test_the_same_run_writes_the_same_bytes(out, results, tmp_path):
    text = (out / "certificate.json").read_text()
    document = json.loads(text)
    assert json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n" == text
    assert "elapsed" not in text


@pytest.fixture(scope="module")
def constrained(tmp_path_factory):
    """The files of one run with locks, limits and taxes."""
    return constrained_run(tmp_path_factory.mktemp("constrained"), min_saving="0.01")


def constrained_run(folder, *, min_saving):
    header, *sims = DEVICES.splitlines()
    own = {"S03": "yes,NY", "S05": "no,NY"}
    lines = [f"{header},locked,jurisdiction", *(f"{sim},{own.get(sim[:3], ',')}" for sim in sims)]
    (folder / "devices.csv").write_text("\n".join(lines))
    (folder / "plans.csv").write_text(RATE_PLANS)
    (folder / "comm.csv").write_text(COMMUNICATION_PLANS)
    (folder / "taxes.csv").write_text(
        "jurisdiction,name,percent,base\nNY,Sales,8.875,total\nNY,Fund,1,rate\nLA,Sales,5,total\n"
    )
    (folder / "constraints.yaml").write_text(
        f"plans: {{P-POOL: {{min: 2}}}}\nmax_changes: 3\nmin_saving: '{min_saving}'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimisation, "solve", certified_solve)
        code = command(
            "optimize", "--devices", folder / "devices.csv", "--rate-plans",
            folder / "plans.csv", "--communication-plans", folder / "comm.csv", "--taxes",
            folder / "taxes.csv", "--constraints", folder / "constraints.yaml",
            "--pool-scope", "comm_group", "--cycle-start", "2026-01-01",
            "--cycle-end", "2026-01-31", "--out", folder / "out",
        )  # fmt: skip
    assert code == 0
    return folder / "out"


@pytest.fixture
def limited_out(constrained, tmp_path):
    """A copy of the run with locks, limits and taxes that a test may tamper with."""
    return Path(shutil.copytree(constrained, tmp_path / "out"))


def test_a_run_with_locks_limits_and_taxes_holds_and_an_opened_lock_is_found(verify, limited_out):
    """The limits join all groups to one unit, though not their pools (B4)."""
    run = verify(limited_out)
    assert (run.code, run.err) == (0, "")
    assert [line.split("\t")[0] for line in run.out.splitlines()[:-1]] == ["unit", "U0001", "total"]
    change_rows(limited_out, with_value("locked", "S03", value=False))
    assert "has the hash" in verify(limited_out).err


def test_a_run_that_dropped_too_small_a_saving_holds(verify, tmp_path):
    out = constrained_run(tmp_path, min_saving="1000")
    assert json.loads((out / "summary.json").read_text())["plan_changes"] == 0
    assert json.loads((out / "certificate.json").read_text())["min_saving_micros"] == 10**9
    run = verify(out)
    assert (run.code, run.err) == (0, "")


def test_changes_that_save_less_than_the_run_has_to_are_found(verify, limited_out):
    savings = int(pl.read_parquet(limited_out / "assignments.parquet")["savings_micros"].sum())
    assert savings > 0
    (limited_out / "summary.json").unlink()
    change_document(limited_out, lambda document: document.update(min_saving_micros=savings))
    assert verify(limited_out).code == 0
    change_document(limited_out, lambda document: document.update(min_saving_micros=savings + 1))
    run = verify(limited_out)
    assert run.code == 1
    assert "its least saving is" in run.err


@pytest.mark.parametrize("column", ["current_tax_micros", "recommended_tax_micros"])
def test_a_tax_of_a_sim_that_its_charges_do_not_give_is_found(verify, limited_out, column):
    change_rows(limited_out, with_sum(column, "S05", "S03"))
    run = verify(limited_out)
    assert run.code == 1
    assert f"{column} of SIM S03" in run.err


@pytest.mark.parametrize(
    "taxes",
    [
        None,
        [],
        [{"jurisdiction": "NY", "name": "Sales", "percent_millionths": 8_875_001, "base": "total"}],
    ],
    ids=["no table", "no taxes", "another rate"],
)
def test_another_table_of_taxes_is_found(verify, limited_out, taxes):
    change_document(limited_out, lambda document: document.update(taxes=taxes))
    run = verify(limited_out)
    assert run.code == 1
    assert "current_tax_micros of SIM S0" in run.err


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("baseline_tax", lambda summary: summary.update(baseline_tax="1.000000")),
        ("optimized_tax", lambda summary: summary.update(optimized_tax=None)),
        ("taxes", lambda summary: summary["taxes"][1].update(devices=3)),
        ("taxes", lambda summary: summary["taxes"][2].update(optimized="1.000000")),
    ],
    ids=["all today", "all recommended", "SIMs", "one tax"],
)
def test_another_tax_in_the_summary_is_found(verify, limited_out, name, change):
    change_summary(limited_out, change)
    run = verify(limited_out)
    assert run.code == 1
    assert f"{name} in summary.json does not hold" in run.err


def test_only_input_is_hashed(out):
    rows = pl.read_parquet(out / "assignments.parquet")
    results = [
        name
        for name in rows.columns
        if name.startswith(("recommended_", "next_best_", "savings_", "reason"))
    ]
    changed = rows.with_columns(
        pl.lit(None).cast(rows.schema[name]).alias(name) for name in results
    )
    assert len(results) == 9
    assert fleet_hash(changed) == fleet_hash(rows)
    assert {"usage_bytes", "current_rate_plan", "jurisdiction", "locked"} <= {*INPUT_COLUMNS}


def change_summary(out, change):
    path = out / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


def change_document(out, change):
    path = out / "certificate.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def change_rows(out, change, *, rehash=True):
    """Change the rows, and by default the hash of the input as well: a careful forger."""
    path = out / "assignments.parquet"
    rows = change(pl.read_parquet(path))
    rows.write_parquet(path)
    if rehash:
        change_document(out, lambda document: document.update(input_hash=fleet_hash(rows)))


def with_value(column, iccid, value):
    changed = pl.when(pl.col("iccid") == iccid).then(pl.lit(value)).otherwise(pl.col(column))

    def change(rows):
        return rows.with_columns(changed.cast(rows.schema[column]).alias(column))

    return change


def with_sum(column, first, second):
    """Move a micro-unit from one SIM to another."""
    step = (pl.col("iccid") == first).cast(pl.Int64) - (pl.col("iccid") == second).cast(pl.Int64)
    return lambda rows: rows.with_columns(pl.col(column) + step)


ROW_TAMPERING = {
    "a recommendation": ("recommended_rate_plan", "S03", "P-LARGE"),
    "a recommendation that is on no list": ("recommended_rate_plan", "S02", "P-POOL"),
    "a recommendation that nobody knows": ("recommended_rate_plan", "S02", "NEW"),
    "a present plan": ("current_rate_plan", "S07", "P-LARGE"),
    "a usage": ("usage_bytes", "S04", 1),
    "a usage out of range": ("usage_bytes", "S04", 1 << 60),
    "an SMS count": ("sms_count", "S01", 4),
    "voice seconds": ("voice_seconds", "S01", 121),
    "an activation date": ("activated_date", "S06", date(2026, 1, 4)),
    "the active days": ("active_days", "S06", 30),
    "a tax without a table of taxes": ("current_tax_micros", "S02", 0),
    "a group": ("group_id", "S07", "G0002"),
    "a group of an unpriced SIM": ("group_id", "S08", "G0001"),
    "a unit": ("unit_id", "S07", "U0002"),
    "a communication plan": ("communication_plan", "S07", "B"),
    "a lock": ("locked", "S07", True),
    "a cost": ("recommended_cost_micros", "S02", 1),
    "a cost of today": ("current_cost_micros", "S02", 1),
    "a part of a cost": ("recommended_rate_micros", "S02", 1),
    "a saving": ("savings_micros", "S02", 1),
    "a reason": ("reason", "S02", "locked"),
    "a next best plan": ("next_best_rate_plan", "S02", "P-POOL"),
    "a reduced cost": ("next_best_reduced_cost_micros", "S02", 1),
    "a next best plan of an unpriced SIM": ("next_best_rate_plan", "S08", "P-SMALL"),
    "a cost of an unpriced SIM": ("current_cost_micros", "S08", 1),
    "a plan of an unpriced SIM": ("recommended_rate_plan", "S08", "P-SMALL"),
}


@pytest.mark.parametrize("tampering", ROW_TAMPERING.values(), ids=ROW_TAMPERING)
def test_a_changed_row_is_found_even_with_a_new_hash(verify, out, tampering):
    change_rows(out, with_value(*tampering))
    run = verify(out)
    assert run.code in (1, 2)
    assert run.err.startswith("carrier-opt: ")
    assert "Traceback" not in run.err


def test_a_changed_row_is_found_by_its_hash(verify, out):
    change_rows(out, with_value("is_usage_reported", "S02", value=False), rehash=False)
    run = verify(out)
    assert run.code == 1
    assert "the hash of the input in assignments.parquet does not hold" in run.err


def test_a_sim_that_is_called_unpriced_though_its_plan_has_a_price_is_found(verify, out):
    for column in ("current_rate_plan", "recommended_rate_plan"):
        change_rows(out, with_value(column, "S08", "P-SMALL"))
    run = verify(out)
    assert run.code == 1
    assert "SIM S08 counts as unpriced" in run.err


@pytest.mark.parametrize("column", ["recommended_cost_micros", "current_overage_micros"])
def test_a_micro_unit_that_moved_to_another_sim_is_found(verify, out, column):
    change_rows(out, with_sum(column, "S05", "S06"))
    run = verify(out)
    assert run.code == 1
    assert f"{column} of SIM S05" in run.err


def test_a_missing_row_is_found(verify, out):
    change_rows(out, lambda rows: rows.filter(pl.col("iccid") != "S03"))
    assert verify(out).code == 1


def test_rows_in_another_order_are_found(verify, out):
    change_rows(out, lambda rows: rows.reverse())
    assert "not sorted by ICCID" in verify(out).err


def unit(document, **changes):
    document["units"][1].update(changes)


def certificate(document, **changes):
    document["units"][1]["certificate"].update(changes)


def plan(document, **changes):
    document["rate_plans"][1].update(changes)


DOCUMENT_TAMPERING = {
    "a bound": (lambda d: certificate(d, bound_micros="15000000"), "not the claimed 15000000"),
    "a cost": (lambda d: certificate(d, cost_micros="1"), "not the claimed 1"),
    "a multiplier": (lambda d: certificate(d, pool_multipliers=["1"]), "prove a bound of"),
    "a multiplier outside the box": (
        lambda d: certificate(d, pool_multipliers=[str(1 << 61)]),
        "outside its box",
    ),
    "a plan's multiplier": (
        lambda d: certificate(d, plan_multipliers={"P-POOL": str(-1 << 60)}),
        "prove a bound of",
    ),
    "a scale": (lambda d: certificate(d, scale_bits=41), "prove a bound of"),
    "a hash": (lambda d: certificate(d, input_hash="0"), "the certificate says 0"),
    "a unit's cost": (lambda d: unit(d, cost_micros="1"), "does not hold: found 1, expected"),
    "a unit's cost today": (lambda d: unit(d, baseline_micros="1"), "does not hold: found 1, expected"),
    "a limit": (lambda d: unit(d, constraints={"plans": {}, "max_changes": 0,
                "min_saving_per_change_micros": 0}), "has the hash"),
    "a fee": (lambda d: plan(d, monthly_rate_micros=5_000_000), "has the hash"),
    "a plan list": (lambda d: d["groups"][1].update(rate_plans=["P-POOL"]), "has the hash"),
    "pools": (lambda d: d.update(pools=[]), "the list of pools does not hold"),
    "a policy": (lambda d: d["policy"].update(charge_type="rate"), "has the hash"),
    "a missing unit": (lambda d: d["units"].pop(), "the list of solve units"),
    "a number of SIMs": (lambda d: d.update(devices=9), "found 8, expected 9"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), DOCUMENT_TAMPERING.values(), ids=DOCUMENT_TAMPERING)
def test_a_changed_certificate_is_found(verify, out, change, words):
    change_document(out, change)
    run = verify(out)
    assert run.code == 1
    assert words in run.err
    assert run.out == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimized_cost", "1.000000"),
        ("optimized_rate_cost", "1.000000"),
        ("baseline_overage_cost", "1.000000"),
        ("lower_bound", None),
        ("gap_percent", 0.0),
        ("savings_percent", 99.0),
        ("plan_changes", 0),
        ("charge_type", "rate"),
        ("pool_scope", "comm_group"),
        ("legacy_best_cost", "1.000000"),
        ("baseline_tax", "0.000000"),
        ("taxes", None),
    ],
)
def test_another_total_in_the_summary_is_found(verify, out, name, value):
    path = out / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    run = verify(out)
    assert run.code == 1
    assert f"{name} in summary.json does not hold" in run.err


@pytest.mark.parametrize(
    "change",
    [
        {"optimized_cost": "1.000000"},
        {"baseline_cost": "1.000000"},
        {"lower_bound": None},
        {"gap_percent": 0.5},
        {"devices": 1},
        {"group_ids": ["G0002"]},
    ],
    ids=["cost", "cost today", "bound", "gap", "SIMs", "groups"],
)
def test_another_figure_of_a_unit_in_the_summary_is_found(verify, out, change):
    path = out / "summary.json"
    summary = json.loads(path.read_text())
    summary["units"][0] |= change
    path.write_text(json.dumps(summary))
    run = verify(out)
    assert run.code == 1
    assert "unit U0001 in summary.json does not hold" in run.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "proven"}, "has the status 'proven'"),
        ({"strategy": "best"}, "has no strategy of a run: 'best'"),
        ({"strategy": "current_assignment"}, "of its SIMs change"),
        ({"legacy_best_cost": "0.000001"}, "cannot cost less than"),
        ({"legacy_best_cost": 7}, "is no amount: 7"),
    ],
    ids=["status", "strategy", "no changes", "too cheap a walk", "no amount"],
)
def test_a_claim_of_a_unit_that_contradicts_the_rest_is_found(verify, out, change, words):
    change_summary(out, lambda summary: summary["units"][1].update(change))
    run = verify(out)
    assert run.code == 1
    assert words in run.err
    assert "U0002" in run.err


def test_a_proven_unit_that_is_called_feasible_is_found(verify, out):
    change_summary(out, lambda summary: summary["units"][0].update(status="feasible"))
    run = verify(out)
    assert run.code == 1
    assert "U0001 in summary.json is called feasible, and its cost equals its bound" in run.err


@pytest.mark.parametrize(
    "change",
    [
        {"unit_id": "U0002"},
        {"communication_plans": ["A"]},
        {"devices": 5},
        {"rate_plans": ["P-LARGE"]},
        {"status": "unchanged"},
        {"strategy": None},
        {"strategy": "current_assignment"},
        {"baseline_cost": "1.000000"},
        {"optimized_cost": "1.000000"},
        {"plan_changes": 7},
    ],
    ids=str,
)
def test_another_figure_of_a_group_in_the_summary_is_found(verify, out, change):
    change_summary(out, lambda summary: summary["groups"][0].update(change))
    run = verify(out)
    assert run.code == 1
    assert "group G0001 in summary.json" in run.err


@pytest.mark.parametrize("groups", [None, [], [7]], ids=["none", "too few", "no objects"])
def test_groups_of_another_form_in_the_summary_are_found(verify, out, groups):
    change_summary(out, lambda summary: summary.update(groups=groups))
    assert "the list of groups in summary.json does not hold" in verify(out).err


@pytest.mark.parametrize("units", [None, [], ["U0001", 7]], ids=["none", "too few", "no objects"])
def test_units_of_another_form_in_the_summary_are_found(verify, out, units):
    path = out / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"units": units}))
    assert verify(out).code == 1


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000], ids=["empty", "a list", "deep"])
def test_a_summary_that_is_none_is_named(verify, out, content):
    (out / "summary.json").write_text(content)
    run = verify(out)
    assert run.code == 2
    assert str(out / "summary.json") in run.err


@pytest.mark.parametrize("name", ["certificate.json", "assignments.parquet"])
@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b'{"format": 2}', b'{"format": 3}', b"[1.5]", b"[" * 100_000],
    ids=["missing", "empty", "half", "bare", "newer", "a float", "deep"],
)
def test_a_file_that_is_missing_or_no_such_file_is_named(verify, out, name, content):
    (out / name).unlink()
    if content is not None:
        (out / name).write_bytes(content)
    run = verify(out)
    assert run.code == 2
    assert str(out / name) in run.err
    assert "Traceback" not in run.err


@pytest.mark.parametrize(
    "change",
    [
        lambda d: plan(d, monthly_rate_micros="1"),
        lambda d: plan(d, overage_block_bytes=-1),
        lambda d: plan(d, included_bytes=None),
        lambda d: plan(d, is_pooled="yes"),
        lambda d: plan(d, pool_group=7),
        lambda d: plan(d, max_devices=-1),
        lambda d: plan(d, unknown=1),
        lambda d: d["groups"][0].update(communication_plans=[7]),
        lambda d: d["groups"][0].update(rate_plans=["P-NONE"]),
        lambda d: d["groups"][0].update(unit_id=None),
        lambda d: d["groups"][0].update(devices="3"),
        lambda d: d.pop("min_saving_micros"),
        lambda d: d.update(taxes=[{"jurisdiction": "NY", "name": "Sales", "base": "all"}]),
        lambda d: d["policy"].update(uses_proration="no"),
        lambda d: d["policy"].update(cycle_start="yesterday"),
        lambda d: unit(d, constraints={}),
        lambda d: d.update(groups=None),
    ],
    ids=[
        "a text",
        "a negative number",
        "no number",
        "no flag",
        "a pool group",
        "a limit",
        "an unknown field",
        "a name",
        "an unknown plan",
        "no unit",
        "a number as text",
        "no least saving",
        "a tax",
        "a policy",
        "a date",
        "no limits",
        "no groups",
    ],
)
def test_a_file_of_another_form_is_refused_in_words(verify, out, change):
    change_document(out, change)
    run = verify(out)
    assert run.code == 2
    assert "is not as this version writes it" in run.err


def test_an_ineligible_plan_is_told_with_the_sims_iccid(verify, out):
    change_rows(out, with_value("recommended_rate_plan", "S03", value="P-POOL"))
    run = verify(out)
    assert run.code == 1
    assert "may not have rate plan 'P-POOL' (ICCID S03)" in run.err


def test_a_folder_without_results_says_what_to_run(verify, tmp_path):
    run = verify(tmp_path)
    assert run.code == 2
    assert f"run carrier-opt optimize --out {tmp_path} ... first" in run.err


def test_another_reason_of_an_unpriced_sim_is_named(verify, out):
    change_rows(out, with_value("reason", "S08", value="kept"))
    assert "reason of the unpriced SIM S08 is kept" in verify(out).err


def test_skipped_units_have_no_gap_and_no_total_bound(verify, results, tmp_path):
    files = results.parent
    code = command(
        "optimize", "--devices", files / "devices.csv", "--rate-plans", files / "plans.csv",
        "--communication-plans", files / "comm.csv", "--max-rate-plans", "1", "--out",
        tmp_path / "skipped",
    )  # fmt: skip
    assert code == 0
    lines = [line.split("\t") for line in verify(tmp_path / "skipped").out.splitlines()]
    assert {line[4] for line in lines[1:-2]} == {"skipped"}
    assert lines[-2][3:] == ["unknown", "unknown", "holds"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("locked", 2), ("max_changes", None), ("min_saving", None), ("min_saving_per_change", "1")],
)
def test_another_constraint_in_the_summary_is_found(verify, limited_out, name, value):
    change_summary(limited_out, lambda summary: summary["constraints"].update({name: value}))
    assert f"{name} of the constraints in summary.json does not hold" in verify(limited_out).err


def test_savings_cannot_be_dropped_where_sims_change(verify, out):
    change_summary(out, lambda summary: summary.update(dropped_savings="1.000000"))
    assert "has dropped_savings" in verify(out).err


def test_a_summary_without_the_newer_keys_holds(verify, out):
    def drop(summary):
        del summary["constraints"], summary["dropped_savings"]

    change_summary(out, drop)
    assert verify(out).code == 0
