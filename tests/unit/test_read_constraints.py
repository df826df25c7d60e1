"""The constraints file (O8): what it says, and what is refused with line, key and remedy."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from core.domain import MAX_COUNT, Constraints, PlanLimit
from core.errors import InputError
from core.files.constraints import MAX_SAVING_MICROS, locked_warnings, read_constraints
from core.files.yaml_tree import MAX_BYTES

CODES = {"A", "B-1", "007", "NO"}


@pytest.fixture
def read(tmp_path: Path):
    """Read constraints from text or bytes."""

    def read_text(content: str | bytes) -> Constraints:
        path = tmp_path / "c.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_constraints(path, rate_plan_codes=CODES)

    return read_text


def test_every_key_is_read_exactly(read):
    assert read(
        "locked: ['08901', S 1 , \"x\"]\n"
        "plans:\n  A: {min: 1, max: '2'}\n  B-1:\n    max: 0\n  007: {min: 3}\n  NO: {}\n"
        "max_changes: 12\n"
        'min_saving_per_change: "0.25"\n'
        "min_saving: 1000000000\n"
    ) == Constraints(
        locked=frozenset({"08901", "S 1", "x"}),
        plans={
            "A": PlanLimit(min_devices=1, max_devices=2),
            "B-1": PlanLimit(max_devices=0),
            "007": PlanLimit(min_devices=3),
            "NO": PlanLimit(),
        },
        max_changes=12,
        min_saving_per_change_micros=250_000,
        min_saving_micros=MAX_SAVING_MICROS,
    )


def test_json_with_a_byte_order_mark_is_read_as_well(read):
    assert read(b'\xef\xbb\xbf{"max_changes": 0}') == Constraints(max_changes=0)


@pytest.mark.parametrize(
    "content", ["", "# nothing\n", "---\n", "null", "locked:\nplans: ~\nmax_changes: null\n", "{}"]
)
def test_what_says_nothing_constrains_nothing(read, content):
    assert read(content) == Constraints()


def test_limits_are_taken_to_the_largest_number_of_sims(read):
    assert read(f"max_changes: {MAX_COUNT}").max_changes == MAX_COUNT


BAD = {
    "an unknown key": ("lock: []", ["line 1: lock: an unknown key", "locked, plans, max_changes"]),
    "an unknown key of a plan": (
        "plans:\n A: {least: 1}",
        ["plans.A.least", "allowed are min, max"],
    ),
    "a key twice": (
        "max_changes: 1\nmax_changes: 2",
        ["line 2", "'max_changes' stands there twice"],
    ),
    "a plan twice": ("plans:\n  A: {max: 1}\n  A: {max: 2}", ["line 3", "'A' stands there twice"]),
    "an unknown plan": ("plans: {C: {max: 1}}", ["plans.C", "rate plans file"]),
    "a plan without keys": ("plans: {A: 3}", ["plans.A: holds no keys"]),
    "plans as a list": ("plans: [A]", ["plans: holds no keys"]),
    "a list at the top": (
        "- locked",
        ["line 1: holds no keys", "allowed are locked, plans, max_changes"],
    ),
    "a text at the top": ("locked", ["line 1: holds no keys"]),
    "min above max": ("plans: {A: {min: 3, max: 2}}", ["plans.A: min (3) is above max (2)"]),
    "a negative limit": ("plans: {A: {min: -1}}", ["plans.A.min: '-1' is no whole number"]),
    "a limit with decimals": ("plans: {A: {max: 1.5}}", ["plans.A.max: '1.5' is no whole number"]),
    "an octal number": ("max_changes: 010", ["max_changes: '010' is no whole number"]),
    "a limit that is too large": (f"max_changes: {MAX_COUNT + 1}", [f"from 0 to {MAX_COUNT}"]),
    "a limit that is true": ("max_changes: yes", ["'yes' is no whole number"]),
    "several limits": ("max_changes: [1]", ["max_changes: holds several values"]),
    "a float": ("min_saving: 0.1", ["min_saving: 0.1 is neither", 'in quotes, as "0.50"']),
    "a negative amount": (
        "min_saving: '-1'",
        ["the amount -1 is out of range: 0 to 1000000000 are"],
    ),
    "an amount that is none": ("min_saving: '1,5'", ["min_saving: '1,5' is not a number"]),
    "an amount that is too large": ("min_saving: '1e10'", ["min_saving", "out of range"]),
    "locked that is one text": ("locked: x", ["locked: holds no list"]),
    "an ICCID as a number": ("locked:\n- 0890", ["line 2: locked[0]: 0890 is a number", '"0890"']),
    "an ICCID as a float": ("locked: [x, 8.9e18]", ["locked[1]: 8.9e18 is a number"]),
    "an empty ICCID": ("locked: ['']", ["locked[0]: an empty ICCID"]),
    "no ICCID": ("locked:\n-\n", ["locked[0]: an empty ICCID"]),
    "a list of ICCIDs in a list": ("locked: [[x]]", ["locked[0]: holds several values"]),
    "no YAML": ("locked: [\nmax: 1: 2", ["line 2: not valid YAML"]),
    "a tab": ("plans:\n\tA: 1", ["line 2: not valid YAML", "indent with spaces, not tabs"]),
    "a control character": ("locked: [\x01]", ["not valid YAML"]),
    "an alias": ("max_changes: &a 1\nmin_saving: *a", ["line 2: an alias (*a)"]),
    "an alias to itself": ("locked: &a [*a]", ["line 1: an alias"]),
    "a tag": ("max_changes: !!python/object/apply:os.getcwd []", ["line 1: a tag"]),
    "two documents": ("max_changes: 1\n---\nmax_changes: 2", ["line 2: a second document"]),
    "a key that is a list": ("? [a]\n: 1", ["line 1: a key that is no text"]),
    "deep nesting": ("[" * 200_000, ["line 1: nested more than 8 levels deep"]),
    "deep keys": ("{a: " * 200_000, ["line 1: nested more than 8 levels deep"]),
    "another encoding": (b"max_changes: 1\nlocked: [\xe9]", ["line 2: not UTF-8"]),
    "a huge file": (b"#" * (MAX_BYTES + 1), [f"larger than {MAX_BYTES:,} bytes"]),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_refused_with_place_and_remedy(read, case):
    content, words = BAD[case]
    with pytest.raises(InputError) as refused:
        read(content)
    message = str(refused.value)
    assert "c.yaml" in message
    assert [word for word in words if word not in message] == []


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file"):
        read_constraints(tmp_path / "none.yaml", rate_plan_codes=CODES)


@pytest.mark.parametrize("iccid", ["8901F", "0x", "x1", "1.2.3", "89-01", "true", "2026-01-01"])
def test_an_iccid_that_is_no_number_needs_no_quotes(read, iccid):
    assert read(f"locked: [{iccid}]").locked == {iccid}


def test_locked_iccids_that_are_no_device_are_warned_of_in_order(read):
    constraints = read("locked: [c, a, b, a]")
    warnings = locked_warnings("c.yaml", constraints, pl.DataFrame({"iccid": ["b"]}))
    assert warnings.count == 2
    assert [text.split()[-1] for text in warnings.listed] == ["'a'", "'c'"]


def test_the_example_can_be_read():
    path = Path(__file__).parents[2] / "examples" / "fleet-2000" / "constraints.yaml"
    found = read_constraints(path, rate_plan_codes={"FLEX-5MB", "FLEX-50MB"})
    assert len(found.locked) == 2
    assert found.min_saving_per_change_micros == 50_000
