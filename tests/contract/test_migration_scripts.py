"""The script that an administrator runs on SQL Server is T-SQL, batch by batch (D1)."""

from __future__ import annotations

import re
from functools import cache

import pytest

from core.storage import migrate
from tests.contract.tsql_check import check_grammar


@cache
def batches():
    return [
        part.strip() for part in re.split(r"(?m)^GO\s*$", migrate.upgrade_sql()) if part.strip()
    ]


def test_every_batch_of_the_script_is_t_sql():
    assert len(batches()) > 30  # at least one per table
    problems = [problem for batch in batches() if (problem := check_grammar(batch))]
    assert problems == []


@pytest.mark.parametrize("made", ["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION"])
def test_what_has_to_stand_first_in_its_batch_does(made):
    for batch in batches():
        assert not re.search(rf"\S\s*^\s*CREATE\s+{made}\b", batch, re.MULTILINE | re.IGNORECASE)


def test_the_script_needs_nothing_that_a_compatible_server_may_lack():
    script = "\n".join(batches())
    for word in ("MERGE", r"CREATE\s+OR\s+ALTER", "COLUMNSTORE", "SYSTEM_VERSIONING"):
        assert not re.search(rf"\b{word}\b", script, re.IGNORECASE)
