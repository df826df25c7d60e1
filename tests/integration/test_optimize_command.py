"""`carrier-opt optimize`, as a user meets it: files in, files out, exit codes and messages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from openpyxl import Workbook, load_workbook

from core.outcome import ASSIGNMENT_SCHEMA

ROOT = Path(__file__).parents[2]

DEVICES = """\
iccid,communication_plan,rate_plan,usage_mb
89014103211118510720,A,P-LARGE,0.5
8991101200003204514,A,P-SMALL,130
S03,A,P-SMALL,2
S04,B,P-SMALL,40
S05,B,P-POOL,900.25
S06,B,P-POOL,10
S07,C,P-SMALL,3
S08,A,P-GONE,3
"""

RATE_PLANS = """\
code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled
P-SMALL,1.00,5,0.10,1,no
P-LARGE,10.00,100,0.05,1,no
P-POOL,6.00,500,0.02,1,yes
"""

COMMUNICATION_PLANS = """\
name,rate_plan_codes
A,P-SMALL;P-LARGE
B,P-SMALL;P-POOL
C,P-LARGE;P-SMALL
"""


@dataclass(frozen=True)
class Run:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the three files, made the current one."""
    (tmp_path / "devices.csv").write_text(DEVICES)
    (tmp_path / "plans.csv").write_text(RATE_PLANS)
    (tmp_path / "comm.csv").write_text(COMMUNICATION_PLANS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def optimize(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command in this process; files and options may be replaced by name."""
    from cli.main import main

    defaults = {
        "devices": "devices.csv", "rate-plans": "plans.csv", "communication-plans": "comm.csv",
        "out": "out",
    }  # fmt: skip

    def run(*flags: str, **options: str | None) -> Run:
        chosen = defaults | {name.replace("_", "-"): value for name, value in options.items()}
        arguments = [part for name, value in chosen.items() if value is not None
                     for part in (f"--{name}", str(value))]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["carrier-opt", "optimize", *arguments, *flags])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Run(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run


def summary_of(folder: Path, out: str = "out") -> dict:
    return json.loads((folder / out / "summary.json").read_text())


def answer_of(folder: Path, out: str) -> tuple[bytes, dict]:
    """What must not depend on the form of the input: the assignments, and the summary less times."""
    found = summary_of(folder, out)
    del found["elapsed_seconds"]
    return (folder / out / "assignments.parquet").read_bytes(), found


def to_parquet(source: Path, target: Path) -> None:
    frame = pl.read_csv(source, infer_schema_length=None)
    frame.sample(fraction=1.0, shuffle=True, seed=1).select(reversed(frame.columns)).write_parquet(
        target
    )


def to_xlsx(source: Path, target: Path) -> None:
    frame = pl.read_csv(source, infer_schema_length=None)
    book = Workbook()
    for row in (frame.columns, *frame.reverse().iter_rows()):
        book.active.append(row)
    book.save(target)


class TestResults:
    def test_the_files_and_their_contents_agree_to_the_micro_unit(self, optimize, folder):
        assert optimize().code == 0
        names = sorted(path.name for path in (folder / "out").iterdir())
        assert names == [
            "assignments.parquet", "certificate.json", "rejects.csv", "report.xlsx", "summary.json",
        ]  # fmt: skip
        summary = summary_of(folder)
        rows = pl.read_parquet(folder / "out/assignments.parquet")
        assert dict(rows.schema) == ASSIGNMENT_SCHEMA
        assert rows["iccid"].is_sorted()
        assert (summary["devices"], summary["unpriced"]) == (rows.height, 1) == (8, 1)

        def micros(text: str) -> int:
            return int(Decimal(text).scaleb(6))

        for cost, sim in [("baseline", "current"), ("optimized", "recommended")]:
            total = micros(summary[f"{cost}_cost"])
            assert total == rows[f"{sim}_cost_micros"].sum()
            assert total == sum(micros(group[f"{cost}_cost"]) for group in summary["groups"])
            assert micros(summary[f"{cost}_rate_cost"]) == rows[f"{sim}_rate_micros"].sum()
            assert micros(summary[f"{cost}_overage_cost"]) == rows[f"{sim}_overage_micros"].sum()
            for group in summary["groups"]:
                sims = rows.filter(pl.col("group_id") == group["group_id"])
                assert micros(group[f"{cost}_cost"]) == sims[f"{sim}_cost_micros"].sum()
        assert micros(summary["optimized_cost"]) == sum(
            micros(unit["optimized_cost"]) for unit in summary["units"]
        )
        assert micros(summary["savings"]) == rows["savings_micros"].sum() > 0
        sheet = load_workbook(folder / "out/report.xlsx")["Groups"]
        headings, *_, total_row = sheet.iter_rows(values_only=True)
        shown = dict(zip(headings, total_row, strict=True))
        assert shown["Baseline cost"] == float(summary["baseline_cost"])
        assert shown["Optimised cost"] == float(summary["optimized_cost"])

    def test_individual_plans_by_hand(self, optimize, folder):
        """3 MB cost 1.00 on P-SMALL and 10.00 on P-LARGE; 130 MB cost 1 + 125 * 0.1 = 13.50 and 11.50."""
        optimize()
        rows = pl.read_parquet(folder / "out/assignments.parquet")
        by_iccid = {row["iccid"]: row for row in rows.iter_rows(named=True)}
        assert by_iccid["S07"]["recommended_cost_micros"] == 1_000_000
        heavy = by_iccid["8991101200003204514"]
        assert heavy["current_cost_micros"] == 13_500_000
        assert heavy["recommended_rate_plan"] == "P-LARGE"  # 10.00 + 30 * 0.05
        assert heavy["recommended_cost_micros"] == 11_500_000
        light = by_iccid["89014103211118510720"]
        assert light["savings_micros"] == 9_000_000
        gone = by_iccid["S08"]
        assert (gone["reason"], gone["recommended_rate_plan"]) == ("unpriced", "P-GONE")
        assert gone["current_cost_micros"] is None

    def test_tiers_and_caps_by_hand(self, optimize, folder):
        """125 MB beyond P-SMALL cost 20 * 0.10 + 105 * 0.01 = 3.05, at most 3.00; P-LARGE costs 11.50."""
        (folder / "plans.csv").write_text(
            "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled,overage_cap,"
            "overage_tiers\nP-SMALL,1.00,5,0.10,1,no,3,20=0.01\nP-LARGE,10.00,100,0.05,1,no,,\n"
            "P-POOL,6.00,500,0.02,1,yes,,100=0.03\n"
        )
        assert optimize().code == 0
        rows = pl.read_parquet(folder / "out/assignments.parquet")
        by_iccid = {row["iccid"]: row for row in rows.iter_rows(named=True)}
        heavy = by_iccid["8991101200003204514"]
        assert (heavy["current_cost_micros"], heavy["recommended_rate_plan"]) == (
            4_000_000,
            "P-SMALL",
        )
        assert by_iccid["S04"]["current_cost_micros"] == 1_000_000 + 2_150_000  # 35 MB beyond

    def test_every_format_and_order_gives_the_same_bytes(self, optimize, folder):
        assert optimize().code == 0
        for suffix, convert in {"parquet": to_parquet, "xlsx": to_xlsx}.items():
            files = {}
            for option, name in [
                ("devices", "devices"), ("rate_plans", "plans"), ("communication_plans", "comm"),
            ]:  # fmt: skip
                convert(folder / f"{name}.csv", folder / f"{name}.{suffix}")
                files[option] = f"{name}.{suffix}"
            assert optimize(**files, out=suffix).code == 0
            assert answer_of(folder, suffix) == answer_of(folder, "out")

    def test_without_communication_plans_every_plan_is_open_to_every_sim(self, optimize, folder):
        assert optimize(communication_plans=None).code == 0
        (group,) = summary_of(folder)["groups"]
        assert group["rate_plans"] == ["P-LARGE", "P-POOL", "P-SMALL"]
        assert group["communication_plans"] == ["A", "B", "C"]

    def test_a_second_run_replaces_the_first_and_leaves_other_files_alone(self, optimize, folder):
        assert optimize().code == 0
        (folder / "out/mine.txt").write_text("keep")
        assert optimize(charge_type="rate").code == 0
        assert summary_of(folder)["charge_type"] == "rate"
        assert sorted(path.name for path in (folder / "out").iterdir()) == [
            "assignments.parquet", "certificate.json", "mine.txt", "rejects.csv", "report.xlsx",
            "summary.json",
        ]  # fmt: skip

    def test_one_strategy_can_be_asked_for(self, optimize, folder):
        assert optimize(strategy="no_grouping_smallest_to_largest").code == 0
        names = {group["strategy"] for group in summary_of(folder)["groups"]}
        walks = {name for name in names if name.startswith(("no_grouping", "group_by"))}
        assert walks <= {"no_grouping_smallest_to_largest"}
        assert "certified" not in names
        assert summary_of(folder)["lower_bound"] is not None

    def test_the_certified_solver_is_what_competes_without_the_option(self, optimize, folder):
        assert optimize(out="one").code == 0
        assert optimize(out="two", strategy="certified").code == 0
        assert answer_of(folder, "one") == answer_of(folder, "two")
        assert "certified" in {unit["strategy"] for unit in summary_of(folder, "one")["units"]}

    def test_a_group_with_too_many_plans_is_skipped(self, optimize, folder):
        assert optimize(communication_plans=None, max_rate_plans="2").code == 0
        (group,) = summary_of(folder)["groups"]
        assert (group["status"], group["strategy"]) == ("skipped", None)
        assert summary_of(folder)["savings"] == "0.000000"

    def test_skipped_groups_are_a_warning_that_names_them_and_the_remedy(self, optimize, folder):
        run = optimize(max_rate_plans="1")
        sentence = (
            "more rate plans than allowed: 2, with 7 SIMs that keep their plans: G0001, G0002."
        )
        assert "warnings: 1\n  Groups skipped" in run.err
        assert f"{sentence} Raise --max-rate-plans (now 1), or" in run.err
        assert "--communication-plans" in run.err
        assert summary_of(folder)["warnings"] == 2  # the other one is about P-GONE
        sheet = load_workbook(folder / "out/report.xlsx")["Summary"]
        texts = [str(cell) for row in sheet.iter_rows(values_only=True) for cell in row if cell]
        assert any("Raise --max-rate-plans (now 1)" in text for text in texts)
        assert "Groups skipped" not in optimize().err

    def test_cycle_dates_prorate_plans_that_say_so(self, optimize, folder):
        (folder / "plans.csv").write_text(
            "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled,is_prorated\n"
            "P,31.00,0,1,1,no,yes\n"
        )
        (folder / "devices.csv").write_text(
            "iccid,communication_plan,rate_plan,usage_mb,activated_date\n"
            "a,A,P,0,2026-01-31\nb,A,P,0,\nc,A,P,0,2026-02-01\n"
        )
        run = optimize(
            communication_plans=None, cycle_start="2026-01-01", cycle_end="2026-01-31"
        )  # fmt: skip
        assert run.code == 0
        assert "activated_after_cycle_end 1" in run.err
        rows = pl.read_parquet(folder / "out/assignments.parquet")
        assert rows["current_cost_micros"].to_list() == [1_000_000, 31_000_000]
        assert rows["active_days"].to_list() == [1, 31]


class TestTaxes:
    @pytest.fixture
    def taxed(self, folder):
        places = {"S03": "NY", "S04": "TX", "S07": "ZZ", "S08": "NY"}
        header, *lines = DEVICES.splitlines()
        lines = [f"{line},{places.get(line.split(',')[0], '')}" for line in lines]
        (folder / "devices.csv").write_text("\n".join([f"{header},jurisdiction", *lines]) + "\n")
        (folder / "taxes.csv").write_text(
            "jurisdiction,name,percent,base\n"
            "NY,Sales,8.25,total\nNY,Fee,0.00005,rate\nTX,Data,10,overage\nTX,Fee,x,rate\n"
        )

    def test_taxes_stand_beside_the_costs_and_add_up(self, optimize, folder, taxed):
        run = optimize(taxes="taxes.csv")
        assert run.code == 0
        assert "rejected rows: 1 (not_a_number 1)" in run.err
        assert "SIMs without a jurisdiction: 4. They bear no tax" in run.err
        assert "jurisdiction 'ZZ' is not in the taxes: its SIMs (1) bear no tax" in run.err
        assert "taxes, in no figure above: baseline 0.43" in run.out
        rows = pl.read_parquet(folder / "out/assignments.parquet")
        taxes = dict(rows.select("iccid", "current_tax_micros").iter_rows())
        assert taxes["S03"] == 82_500  # and of the fee half a micro-unit, which goes to the even 0
        assert taxes["S04"] == 350_000
        assert (taxes["S05"], taxes["S07"], taxes["S08"]) == (0, 0, None)
        summary = summary_of(folder)
        for side, sim in [("baseline", "current"), ("optimized", "recommended")]:
            total = int(Decimal(summary[f"{side}_tax"]).scaleb(6))
            assert total == rows[f"{sim}_tax_micros"].sum()
            assert total == sum(int(Decimal(tax[side]).scaleb(6)) for tax in summary["taxes"])
        assert [(tax["jurisdiction"], tax["name"], tax["devices"]) for tax in summary["taxes"]] == [
            ("NY", "Fee", 1), ("NY", "Sales", 1), ("TX", "Data", 1),
        ]  # fmt: skip
        assert "Taxes" in load_workbook(folder / "out/report.xlsx").sheetnames

    def test_no_other_figure_changes(self, optimize, folder, taxed):
        run = optimize("--json", out="without")
        assert "note: devices.csv: jurisdiction is not used for billing" in run.err
        plain = json.loads(run.out)
        assert (plain["baseline_tax"], plain["optimized_tax"], plain["taxes"]) == (None, None, [])
        found = json.loads(optimize("--json", taxes="taxes.csv").out)
        changed = {name for name in plain if plain[name] != found[name]}
        assert changed <= {
            "baseline_tax", "optimized_tax", "taxes", "elapsed_seconds", "warnings", "rejects",
        }  # fmt: skip

    def test_strict_stops_for_a_rejected_tax(self, optimize, folder, taxed):
        run = optimize("--strict", taxes="taxes.csv")
        assert run.code == 2
        assert "taxes.csv, row 5, column percent: not_a_number: 'x'" in run.err
        assert not (folder / "out").exists()

    def test_the_file_of_taxes_is_never_replaced(self, optimize, folder, taxed):
        (folder / "taxes.csv").rename(folder / "rejects.csv")
        run = optimize(taxes="rejects.csv", out=".")
        assert run.code == 2
        assert "the results would replace the input rejects.csv" in run.err


class TestMessages:
    def test_totals_go_to_stdout_and_problems_to_stderr(self, optimize, folder):
        (folder / "devices.csv").write_text(DEVICES + "S09,A,P-SMALL,many\nS03,A,P-SMALL,1\n")
        run = optimize()
        assert run.code == 0
        assert "rejected rows: 2 (duplicate_iccid 1, not_a_number 1): see rejects.csv" in run.err
        assert "rate plan 'P-GONE' is not in the rate plans" in run.err
        assert "plan changes:" in run.out
        assert "\nno allowed assignment costs less" in run.out
        assert "\nthe legacy method, reconstructed, would cost " in run.out
        assert "report.xlsx" in run.out
        assert "rejected" not in run.out
        rejects = pl.read_csv(folder / "out/rejects.csv")
        assert rejects.columns == ["file", "row", "column", "value", "reason", "raw"]
        assert rejects.select("file", "row", "column", "value", "reason").rows() == [
            ("devices.csv", 10, "usage_mb", "many", "not_a_number"),
            ("devices.csv", 11, "iccid", "S03", "duplicate_iccid"),
        ]
        assert json.loads(rejects["raw"][0])["iccid"] == "S09"
        assert summary_of(folder)["rejects"] == {"duplicate_iccid": 1, "not_a_number": 1}

    def test_without_rejects_the_file_is_written_with_its_header(self, optimize, folder):
        optimize()
        assert (
            folder / "out/rejects.csv"
        ).read_text() == '"file","row","column","value","reason","raw"\n'

    def test_json_prints_the_summary_and_nothing_else(self, optimize, folder):
        run = optimize("--json")
        assert json.loads(run.out) == summary_of(folder)

    def test_many_warnings_are_counted_and_twenty_told(self, optimize, folder):
        lines = [f"{n:019d},A,P-SMALL,1" for n in range(1000, 1100)]
        header = DEVICES.splitlines()[0]
        (folder / "devices.csv").write_text("\n".join([header, *lines]) + "\n")
        run = optimize()
        assert "warnings: 90, the first" in run.err
        assert run.err.count("wrong check digit") == 20
        assert summary_of(folder)["warnings"] == 90

    def test_control_characters_of_a_file_never_reach_the_terminal(self, optimize, folder):
        (folder / "devices.csv").write_text(DEVICES.replace("P-GONE", "\x1b[31mred"))
        (folder / "comm.csv").write_text(COMMUNICATION_PLANS.replace("C,", "C,\x1b[2J;"))
        run = optimize()
        assert run.code == 0
        assert "\x1b" not in run.out + run.err


HEADER = DEVICES.splitlines()[0]
PLAN_HEADER = RATE_PLANS.splitlines()[0]

BAD_INPUTS = {
    "missing file": ({}, {"devices": "no.csv"}, ["no.csv does not exist"]),
    "a folder": ({}, {"devices": "."}, ["is a folder"]),
    "unknown ending": ({"a.txt": HEADER}, {"devices": "a.txt"}, [".txt cannot be read", ".parquet"]),
    "missing column": (
        {"devices.csv": "iccid,communication_plan,rate_plan\nx,A,P-SMALL\n"}, {},
        ["devices.csv: missing columns: usage_mb", "Found: iccid"],
    ),
    "empty file": ({"devices.csv": ""}, {}, ["devices.csv is empty"]),
    "header only": ({"devices.csv": HEADER}, {}, ["nothing usable", "no rows below the header"]),
    "wrong delimiter": (
        {"devices.csv": DEVICES.replace(",", ";")}, {}, ["separated by semicolons", "commas"],
    ),
    "no usable device": (
        {"devices.csv": f"{HEADER}\nx,A,P-SMALL,-1\n"}, {},
        ["nothing usable", "negative 1", "row 2", "'-1'"],
    ),
    "no usable plan": (
        {"plans.csv": f"{PLAN_HEADER}\nP-SMALL,1,1,0,1,no\nP-LARGE,1,1,1,0,no\n"}, {},
        ["plans.csv: nothing usable", "invalid_rate_plan 2"],
    ),
    "a communication plan without plans": (
        {"comm.csv": "name,rate_plan_codes\nA,\n", "devices.csv": f"{HEADER}\nx,A,P-SMALL,1\n"}, {},
        ["no_rate_plan_list 1", "lists no usable rate plan"],
    ),
    "a communication plan that is not in its file": (
        {"comm.csv": "name,rate_plan_codes\nZ,P-SMALL\n"}, {}, ["unknown_communication_plan 8"],
    ),
    "one cycle date": ({}, {"cycle_start": "2026-01-01"}, ["--cycle-end is missing", "neither"]),
    "the other cycle date": ({}, {"cycle_end": "2026-01-31"}, ["--cycle-start is missing"]),
    "a cycle that ends first": (
        {}, {"cycle_start": "2026-02-01", "cycle_end": "2026-01-01"}, ["ends (2026-01-01) before"],
    ),
    "thirty days without a cycle": ({}, {"proration_basis": "thirty"}, ["needs the billing cycle"]),
    "no date": ({}, {"cycle_start": "January", "cycle_end": "2026-01-31"}, ["--cycle-start"]),
    "an unknown strategy": (
        {}, {"strategy": "best"}, ["--strategy best", "no_grouping_largest_to_smallest"],
    ),
    "projected usage": ({}, {"usage_basis": "projected"}, ["projected is not available"]),
    "mobility": ({}, {"portal": "mobility"}, ["mobility is not available"]),
    "taxes that are not there": ({}, {"taxes": "t.csv"}, ["t.csv does not exist"]),
    "no usable tax": (
        {"t.csv": "jurisdiction,name,percent,base\nNY,Sales tax,8.25,fees\n"}, {"taxes": "t.csv"},
        ["t.csv: nothing usable", "unknown_tax_base 1", "row 2, column base: 'fees'"],
    ),
    "constraints for an unknown plan": (
        {"c.yaml": "plans: {P-NONE: {max: 1}}"}, {"constraints": "c.yaml"},
        ["c.yaml, line 1: plans.P-NONE", "not among the usable plans"],
    ),
    "constraints that cannot be kept": (
        {"c.yaml": "plans: {P-LARGE: {min: 5}}"}, {"constraints": "c.yaml"},
        ["'P-LARGE': min is 5, but only 4 SIMs have it or may get it"],
    ),
    "no megabytes": ({}, {"mb_bytes": "0"}, ["--mb-bytes"]),
    "a customer column": (
        {"devices.csv": f"{HEADER},customer\nx,A,P-SMALL,1,Acme\n"}, {},
        ["column customer", "row 2", "'Acme'", "not available"],
    ),
    "pools that cannot be one": (
        {"plans.csv": f"{PLAN_HEADER},pool_group\nP-SMALL,1,1,1,1,yes,G\nP-POOL,1,1,2,1,yes,G\n"},
        {"pool_scope": "pool_group", "communication_plans": None}, ["pool group 'G'"],
    ),
    "a pooled plan with a cap": (
        {"plans.csv": f"{PLAN_HEADER},overage_cap\nP-SMALL,1,1,1,1,no,5\nP-POOL,1,1,2,1,yes,5\n"},
        {"communication_plans": None}, ["plans.csv, row 3: ", "'P-POOL' cannot be priced", "overage cap (5.00)", "is_pooled = no"],
    ),
    "a pooled plan whose tiers fall": (
        {"plans.csv": f"{PLAN_HEADER},overage_tiers\nP-SMALL,1,1,1,1,no,\n"
         "P-POOL,1,1,2,1,yes,0=3;9=2\n"},
        {"communication_plans": None}, ["plans.csv, row 3: ", "'P-POOL' cannot be priced", "price falls (from 3.00 to 2.00 per block)"],
    ),
    "a plan that is refused, and all SIMs on it": (
        {"plans.csv": f'{PLAN_HEADER}\nA,"1,50",1,1,1,no\nB,1,1,1,1,no\n',
         "devices.csv": f"{HEADER}\nx,A,A,1\n", "comm.csv": "name,rate_plan_codes\nA,A;B\n"}, {},
        ["invalid_rate_plan 1", "row is rejected, for whatever reason",
         "plans.csv, row 2, column monthly_rate: not_a_number: '1,50'"],
    ),
    "wrong separators in a list": (
        {"comm.csv": 'name,rate_plan_codes\nA,"P-SMALL,P-LARGE"\n',
         "devices.csv": f"{HEADER}\nx,A,P-SMALL,1\n"}, {},
        ["no_rate_plan_list 1", "'P-SMALL,P-LARGE', which is not", "codes are separated by ';'"],
    ),
    "a name that is too long": (
        {}, {"devices": "x" * 300 + ".csv"}, ["cannot be read: File name too long"],
    ),
    "an out name that is too long": ({}, {"out": "x" * 300}, ["--out", "File name too long"]),
    "a name that is no text": ({}, {"devices": "caf\udce9.csv"}, ["caf\\udce9.csv", "not UTF-8"]),
    "an out name that is no text": ({}, {"out": "o\udce9"}, ["o\\udce9", "not UTF-8"]),
    "an out name that is empty": ({}, {"out": ""}, ["'--out'", "the name is empty"]),
    "a devices name that is empty": ({}, {"devices": " "}, ["'--devices'", "the name is empty"]),
    "out is a file": ({}, {"out": "devices.csv"}, ["devices.csv is a file", "name a folder"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_ends_with_2_a_message_and_no_files(optimize, folder, case):
    files, options, words = BAD_INPUTS[case]
    for name, content in files.items():
        (folder / name).write_text(content)
    run = optimize(**options)
    assert run.code == 2
    message = " ".join(run.err.replace("│", " ").split())
    assert [word for word in words if word not in message] == []
    assert "Traceback" not in run.err
    assert not (folder / "out").exists()


def test_an_input_is_never_replaced_by_a_result(optimize, folder):
    (folder / "rejects.csv").write_text(DEVICES)
    (folder / "link.csv").symlink_to(folder / "rejects.csv")
    for devices in ("rejects.csv", "./rejects.csv", "link.csv"):
        run = optimize(devices=devices, out=".")
        assert run.code == 2
        assert "the results would replace the input" in run.err
    assert (folder / "rejects.csv").read_text() == DEVICES
    assert not (folder / "summary.json").exists()


def test_constraints_hold_and_are_told_in_the_report(optimize, folder):
    (folder / "c.yaml").write_text(
        "locked: [S03, S99]\nplans: {P-LARGE: {max: 2}}\nmin_saving: '1000'\n"
    )
    (folder / "devices.csv").write_text(
        DEVICES.replace("\n", ",no\n").replace("usage_mb,no", "usage_mb,locked")
        .replace("900.25,no", "900.25,yes")
    )  # fmt: skip
    run = optimize(constraints="c.yaml", out="out")
    assert run.code == 0
    assert "c.yaml: locked: no usable device has the ICCID 'S99'" in run.err
    rows = pl.read_parquet(folder / "out" / "assignments.parquet")
    assert rows.filter("locked")["iccid"].to_list() == ["S03", "S05"]
    assert (rows["current_rate_plan"] == rows["recommended_rate_plan"]).all()
    texts = [
        str(cell.value)
        for sheet in load_workbook(folder / "out" / "report.xlsx")
        for row in sheet.iter_rows()
        for cell in row
    ]
    assert any("SIMs per rate plan were limited: P-LARGE at most 2." in text for text in texts)
    assert any("Nothing is changed: the changes found would save" in text for text in texts)


def test_no_problem_of_the_plans_is_told_where_the_devices_are_at_fault(optimize, folder):
    (folder / "devices.csv").write_text(f"{HEADER}\nx,A,P-SMALL,-1\n")
    (folder / "comm.csv").write_text(COMMUNICATION_PLANS + "D,P-NONE\n")
    assert "P-NONE" not in optimize().err


def test_ctrl_c_ends_with_130_and_says_so(optimize, folder, monkeypatch):
    from core.files import inputs

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "read_inputs", interrupt)
    run = optimize()
    assert (run.code, run.err) == (130, "carrier-opt: interrupted\n")
    assert not (folder / "out").exists()


def test_strict_stops_at_any_reject_and_writes_nothing(optimize, folder):
    assert optimize("--strict").code == 0
    before = answer_of(folder, "out")
    (folder / "devices.csv").write_text(DEVICES + "S09,A,P-SMALL,many\n")
    run = optimize("--strict")
    assert run.code == 2
    assert "rejected rows: 1 (not_a_number 1); nothing was written" in run.err
    assert "devices.csv, row 10, column usage_mb: not_a_number: 'many'" in run.err
    assert answer_of(folder, "out") == before
    assert optimize("--strict", out="new").code == 2
    assert not (folder / "new").exists()


@pytest.mark.e2e
def test_the_command_as_a_process_in_a_pipe(folder):
    command = [
        sys.executable, "-m", "cli.main", "optimize", "--devices", "devices.csv", "--rate-plans",
        "plans.csv", "--out", "out", "--workers", "2",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
    assert "\x1b" not in run.stdout + run.stderr
    assert run.stdout.splitlines()[0].startswith("group\tcommunication plans\t")
    bad = subprocess.run(
        [*command[:5], "no.csv", *command[6:]],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert bad.returncode == 2
    assert bad.stderr.strip() == "carrier-opt: no.csv does not exist: check the name and the folder"


@pytest.mark.e2e
@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_stdout_that_cannot_show_or_take_the_text_is_no_reason_for_a_traceback(folder, flag):
    (folder / "comm.csv").write_text(COMMUNICATION_PLANS.replace("C,", "\u0416\U0001f600,"))
    (folder / "devices.csv").write_text(DEVICES.replace(",C,", ",\u0416\U0001f600,"))
    command = [
        sys.executable, "-m", "cli.main", "optimize", "--devices", "devices.csv", "--rate-plans",
        "plans.csv", "--communication-plans", "comm.csv", "--out", "out", *flag,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}

    def run(stdout: int) -> tuple[int, str, bytes]:
        with subprocess.Popen(
            command, stdout=stdout, stderr=subprocess.PIPE, env=environment
        ) as process:
            out, err = process.communicate()
        return process.returncode, err.decode(), out

    code, _, out = run(subprocess.PIPE)
    assert code == 0
    if flag:
        assert json.loads(out) == summary_of(folder)
    else:
        assert b"\\u0416\\U0001f600" in out
    with Path("/dev/full").open("wb") as full:
        code, err, _ = run(full.fileno())
    assert code == 1
    assert err.splitlines()[1:] == [
        "  devices.csv: rate plan 'P-GONE' is not in the rate plans: its SIMs (1) keep it, unpriced",
        "carrier-opt: reading or writing failed: [Errno 28] No space left on device",
    ]
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, env=environment, check=False
    )  # fmt: skip
    assert (closed.returncode, len(closed.stderr.splitlines())) == (0, 2)
    reader, writer = os.pipe()
    os.close(reader)
    code, err, _ = run(writer)
    os.close(writer)
    assert (code, len(err.splitlines())) == (1, 2)


@pytest.mark.e2e
def test_asking_for_help_loads_nothing_heavy(folder):
    script = (
        "import sys; sys.argv = ['carrier-opt', 'optimize', '--help']\n"
        "from cli.optimize import optimize\n"
        "heavy = {'polars', 'numba', 'prefect', 'sqlalchemy', 'openpyxl', 'httpx', 'numpy'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")
