"""The same input gives the same bytes, however it is ordered and the work is split (O10)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import optimisation

ROOT = Path(__file__).parents[2]
SCOPES = ("comm_group", "plan")
N_SIMS, N_LISTS = 400, 24


def rows_of(kind):
    """A fleet whose 24 communication plans have lists of their own, all of them with pools."""
    rng = random.Random(11)  # noqa: S311 - test data
    plans = [
        f"P{k:02d},{1 + k * 0.9:.2f},{2 + k * k},{0.11 + k / 100:.2f},{1 + k % 3},{'no' if k % 5 == 4 else 'yes'}"
        for k in range(10)
    ]
    codes = [row.split(",")[0] for row in plans]
    lists = [sorted(rng.sample(codes, 4)) for _ in range(N_LISTS)]
    if kind == "devices":
        return [
            f"{k:05d},C{(c := rng.randrange(N_LISTS)):02d},{rng.choice(lists[c])},"
            f"{rng.choice([0, 0, rng.randint(1, 9), rng.lognormvariate(2, 1.4)]):.3f}"
            for k in range(N_SIMS)
        ]
    if kind == "plans":
        return plans
    return [f"C{k:02d},{';'.join(listed)}" for k, listed in enumerate(lists)]


HEADS = {
    "devices": "iccid,communication_plan,rate_plan,usage_mb",
    "plans": "code,monthly_rate,included_mb,overage_rate,overage_block_mb,is_pooled",
    "lists": "name,rate_plan_codes",
}


def write_files(folder: Path, *, order: int | None) -> None:
    """Write the input, its rows and the codes of its lists in the order of a seed; None leaves them."""
    folder.mkdir()
    rng = random.Random(order)  # noqa: S311 - test data
    for kind, head in HEADS.items():
        rows = rows_of(kind)
        if order is not None:
            rng.shuffle(rows)
        if order is not None and kind == "lists":
            turned = []
            for name, codes in (row.split(",") for row in rows):
                listed = codes.split(";")
                rng.shuffle(listed)
                turned.append(f"{name},{';'.join(listed)}")
            rows = turned
        (folder / f"{kind}.csv").write_text("\n".join([head, *rows, ""]))


def arguments(folder: Path, scope: str, workers: int) -> list[str]:
    return [
        "optimize", "--devices", f"{folder}/devices.csv", "--rate-plans", f"{folder}/plans.csv",
        "--communication-plans", f"{folder}/lists.csv", "--pool-scope", scope,
        "--workers", str(workers), "--out", f"{folder}/out-{scope}",
    ]  # fmt: skip


def answer(folder: Path, scope: str) -> tuple[bytes, bytes, dict]:
    """What must be the same: two files, and the summary less times."""
    out = folder / f"out-{scope}"
    summary = json.loads((out / "summary.json").read_text())
    del summary["elapsed_seconds"]
    rows = (out / "assignments.parquet").read_bytes()
    return rows, (out / "certificate.json").read_bytes(), summary


def in_process(folder: Path, scope: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli.main import main

    monkeypatch.setattr(sys, "argv", ["carrier-opt", *arguments(folder, scope, workers)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Both answers for the input as it was written, one unit after the other."""
    folder = tmp_path_factory.mktemp("plain") / "files"
    write_files(folder, order=None)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for scope in SCOPES:
            in_process(folder, scope, 1, monkeypatch)
    return {scope: answer(folder, scope) for scope in SCOPES}


def test_the_input_is_worth_the_comparison(plain):
    """Many units of which the certified solver wins, and one unit of all groups."""
    of_groups, of_plans = (plain[scope][2] for scope in SCOPES)
    assert len(of_groups["units"]) == N_LISTS
    assert len(of_plans["units"]) == 1
    assert {unit["strategy"] for unit in of_groups["units"]} >= {"certified"}
    assert of_plans["units"][0]["strategy"] == "certified"
    assert of_groups["plan_changes"] > 0 < of_plans["plan_changes"]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_rows_plans_and_lists_makes_no_difference(
    plain, scope, order, tmp_path, monkeypatch
):
    write_files(tmp_path / "files", order=order)
    in_process(tmp_path / "files", scope, 1, monkeypatch)
    assert answer(tmp_path / "files", scope) == plain[scope]


@pytest.mark.parametrize("batches", [1, 7])
def test_the_size_of_batches_makes_no_difference(plain, batches, tmp_path, monkeypatch):
    """Threads in place of processes, for speed: the batches are those of two workers."""
    sizes = []

    def counted(problems, params, solve_units=optimisation.solve_units):
        sizes.append(len(problems))
        return solve_units(problems, params)

    monkeypatch.setattr(optimisation, "solve_units", counted)
    monkeypatch.setattr(optimisation, "process_pool", ThreadPoolExecutor)
    monkeypatch.setattr(optimisation, "_BATCHES_PER_WORKER", batches)
    write_files(tmp_path / "files", order=3)
    in_process(tmp_path / "files", "comm_group", 2, monkeypatch)
    assert len(sizes) >= 2 * batches
    assert answer(tmp_path / "files", "comm_group") == plain["comm_group"]


@pytest.mark.e2e
@pytest.mark.parametrize(("workers", "hash_seed", "scope"), [(4, "1", "comm_group"), (1, "2", "plan")])  # fmt: skip
def test_processes_and_the_seed_of_hashes_make_no_difference(
    plain, workers, hash_seed, scope, tmp_path
):
    write_files(tmp_path / "files", order=4)
    command = [sys.executable, "-m", "cli.main", *arguments(tmp_path / "files", scope, workers)]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    assert answer(tmp_path / "files", scope) == plain[scope]
