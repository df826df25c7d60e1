"""What a run from the database shows at its end, in a pipe."""

from __future__ import annotations

from cli.run_view import show_summary

SUMMARY = {
    "groups": [
        {
            "group_id": "G0001", "communication_plans": ["[red]East"], "strategy": "certified",
            "status": "optimised", "devices": 2, "baseline_cost": "20.000000",
            "optimized_cost": "10.100000",
        }
    ],
    "unpriced": 0, "devices": 2, "baseline_cost": "20.000000", "optimized_cost": "10.100000",
    "plan_changes": 1, "savings_percent": 49.5, "lower_bound": "10.000000",
    "legacy_best_cost": "12.345678", "units": [{"status": "feasible"}], "rejects": {}, "listed": {},
}  # fmt: skip
RESULT = {"session_id": 7, "state": "COMPLETED"}


def shown(summary, out, capsys):
    show_summary(summary, RESULT, out)
    return capsys.readouterr().out.splitlines()


def test_bound_and_legacy_figure_follow_the_savings_a_line_each(tmp_path, capsys):
    lines = shown(SUMMARY, tmp_path, capsys)
    start = lines.index("session 7 COMPLETED: 1 plan changes save 49.50 %")
    assert lines[start + 1 : start + 3] == [
        "no allowed assignment costs less than 10.00; this one is within 1.0000 %",
        "the legacy method, reconstructed, would cost 12.35",
    ]
    unknown = SUMMARY | {"lower_bound": None, "legacy_best_cost": None}
    assert "not optimised" in shown(unknown, tmp_path, capsys)[start + 1]


def test_the_files_that_are_there_are_named(tmp_path, capsys):
    for name in ("report.xlsx", "certificate.json"):
        (tmp_path / name).touch()
    named = [line.strip() for line in shown(SUMMARY, tmp_path, capsys)[-2:]]
    assert named == [f"{tmp_path / 'report.xlsx'}", f"{tmp_path / 'certificate.json'}"]
